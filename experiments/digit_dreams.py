"""Dreams of spoken digits from nothing, judged by a classifier that was taught on recordings (chapter 64).

    python experiments/digit_dreams.py --digits digits.h5 --labels digits/labels.tsv --output digit_dreams.json \
        --run runs/digits [--speech-run runs/dreamer]

One speaker is held out. On the others a small world model is trained (it is kept in the run's folder) and a classifier;
the classifier's accuracy on the speaker held out stands beside everything it says. With a run on speech, the held-out
speaker's digits are also restyled by it in the ways of chapter 62, and the classifier says how many are still the same
digit.
"""

import argparse, json, os, sys, tempfile, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import h5py
import numpy as np
import torch

from spectro_dreamer.config import SpectroError, preset
from spectro_dreamer.machine import seed_everything
from spectro_dreamer.files import write_text
from spectro_dreamer.data.dataset import Scale, SpectrogramData
from spectro_dreamer.figures import figure_style
from spectro_dreamer.dream.free_dreams import (
    fit_classifier,
    format_scores,
    free_dreams,
    score_dreams,
    shuffled,
    stabilised_var,
    var_dreams,
)
from spectro_dreamer.data.corpus import split_speakers
from spectro_dreamer.dream.restyling import energy_of, gain, energy_contour, restyle, style_of
from spectro_dreamer.dream.restyle_scores import style_shift, warp
from spectro_dreamer.judge.autoregression import fit_var
from spectro_dreamer.learn.tracking import history
from spectro_dreamer.learn.training import train
from spectro_dreamer.model.world_model import load


def labelled(digits, labels):
    """The data, and for each clip its digit and its speaker."""
    head, *rows = [line.split("\t") for line in Path(labels).read_text(encoding="utf-8").splitlines()]
    said = {r[head.index("path")].split("/")[-1]: (int(r[head.index("digit")]), r[head.index("speaker")]) for r in rows}
    data = SpectrogramData(digits, 0.0)
    found = [said[p.split("/")[-1]] for p in data.paths]
    return data, np.array([d for d, _ in found]), np.array([s for _, s in found])


def without(digits, speakers, held, folder):
    """A copy of the prepared file whose table names the real speakers, so that its split can leave one of them out; and
    the seed of that split.
    """
    copy = Path(folder) / "digits.h5"
    copy.write_bytes(Path(digits).read_bytes())
    with h5py.File(copy, "r+") as f:
        f["clips/speaker"][:] = speakers.astype(object)
    names, share = speakers.tolist(), 1 / len(set(speakers))
    for seed in range(1000):
        if set(speakers[split_speakers(names, share, seed)]) == {held}:
            return copy, share, seed
    raise SpectroError(f"no split holds out {held}")


def dreamer(a, speakers):
    """The small world model, trained now or in an earlier call; and the seconds that took."""
    if (Path(a.run) / "checkpoints" / "best_model.pt").is_file():
        return load(a.run), None
    with tempfile.TemporaryDirectory() as folder:
        copy, share, seed = without(a.digits, speakers, a.held_out, folder)
        cfg = preset("dreamer").override(
            h_state_size=256,
            z_state_size=32,
            embedding_size=256,
            hidden_size=256,
            epochs=a.epochs,
            batch_size=16,
            sequence_length=12,
            warmup_steps=100,
            style_parts="none",
            style_dropout=0.0,
            checkpoint_freq=999,
            val_split=share,
            split_seed=seed,
            fresh_starts=0.0,
            beta_kl=a.beta_kl,
            ema=0.995,
            seed=0,
        )
        start = time.time()
        load(train(copy, cfg, a.run, progress=False, use_mlflow=False))
        return load(a.run), time.time() - start


def keep_digit(model, ears, specs, digits):
    """Restyle digits with a model of speech: the share recognised and the energy; method → scores."""
    out, g = {}, torch.Generator().manual_seed(0)
    partner = torch.randperm(len(specs), generator=g).tolist()
    said = {}
    for k, x in enumerate(specs):
        e, own = energy_of(x), style_of(model, x, dict(gender="male"))
        tasks = dict(louder=e + 0.5, softer=e - 0.5, contour=energy_contour(x, specs[partner[k]]))
        said.setdefault(("", "recorded"), []).append((x, e, None))
        said.setdefault(("", "reconstruction"), []).append((model.reconstruct(x, own), e, None))
        for task, energy in tasks.items():
            target = style_of(model, x, dict(gender="male"), energy)
            for way, guides in (("hear", (1.0,)), ("keep", (1.0, 3.0)), ("shift", (1.0, 2.0))):
                for w, y in zip(guides, restyle(model, x, target, own, way, guides)):
                    said.setdefault((task, f"{way}, guide {w:g}"), []).append((y, e, energy))
            said.setdefault((task, "rival: gain"), []).append((gain(x, energy), e, energy))
        target = style_of(model, x, dict(gender="female"))
        for w, y in zip((1.0, 2.0, 3.0), restyle(model, x, target, own, "shift", (1.0, 2.0, 3.0))):
            said.setdefault(("voice", f"shift, guide {w:g}"), []).append((y, e, None))
        said.setdefault(("voice", "rival: warped"), []).append((warp(x, model.front_end, 1.2), e, None))
    for (task, method), found in said.items():
        guess = ears.hear([y for y, _, _ in found])[0].argmax(1).numpy()
        moved = [
            style_shift(e[: len(y)], energy_of(y), t[: len(y)])
            for y, e, t in found
            if t is not None and not torch.equal(t, e)
        ]
        out[f"{task}: {method}" if task else method] = dict(
            recognised=float((guess == digits).mean()), moved=float(np.mean(moved)) if moved else None, n=len(found)
        )
    return out


def measure(a):
    """Everything."""
    torch.set_num_threads(1)
    seed_everything(0)
    data, digits, speakers = labelled(a.digits, a.labels)
    usable = np.flatnonzero(data.lengths >= data.tokens.frames)

    def specs(which):
        return [data.clip(i) for i in which]

    start, accuracy = time.time(), {}
    for held in sorted(set(speakers)) if a.all_speakers else [a.held_out]:
        inside, outside = usable[speakers[usable] != held], usable[speakers[usable] == held]
        listener = fit_classifier(specs(inside), digits[inside], a.classifier_epochs)
        accuracy[held] = float((listener.hear(specs(outside))[0].argmax(1).numpy() == digits[outside]).mean())
        print(
            f"classifier: {accuracy[held]:.3f} of the digits of {held}, never heard ({time.time() - start:.0f} s)",
            flush=True,
        )
        if held == a.held_out:
            ears, train_clips, unheard = listener, inside, outside
    model, seconds = dreamer(a, speakers)
    last = history(a.run)[-1]
    print(
        f"world model: {last['epoch']} epochs"
        + (f" in {seconds:.0f} s" if seconds else ", from an earlier call")
        + f"; MSE {last['val_recon_loss']:.3f} per bin, KL {last['val_kl_loss']:.1f} nats per token on {a.held_out}",
        flush=True,
    )
    order = np.random.default_rng(0).permutation(train_clips)
    n = min(a.n, len(order) // 2, len(unheard))
    reference, second, heldout = (
        specs(order[n:]),
        specs(order[:n]),
        specs(np.random.default_rng(1).permutation(unheard)[:n]),
    )
    lengths = [len(x) for x in second]
    var = fit_var(Clips(reference, model))[0]

    def fill(x):
        return model.reconstruct(x).cpu()

    sets = {
        "recorded, speakers of training": second,
        f"recorded, {a.held_out}": heldout,
        "reconstructed, of training": [fill(x) for x in second],
        f"reconstructed, {a.held_out}": [fill(x) for x in heldout],
    }
    for t in a.temperatures:
        sets[f"dreamed, temperature {t:g}"] = free_dreams(model, lengths, t)
    sets |= {
        "rival: shuffled frames": shuffled(second),
        "rival: VAR(5)": var_dreams(stabilised_var(var), second, model.mean, model.std),
    }
    scores = score_dreams(ears, sets, reference)
    print(format_scores(scores))
    about = dict(
        held_out=a.held_out,
        accuracy=accuracy,
        n=n,
        epochs=last["epoch"],
        beta_kl=model.config.train.beta_kl,
        mse=last["val_recon_loss"],
        kl=last["val_kl_loss"],
        n_train=len(train_clips),
        n_parameters=sum(p.numel() for p in model.world()),
    )
    result = dict(about=about, scores=scores)
    if a.speech_run:
        some = np.random.default_rng(2).permutation(unheard)[: a.restyled]
        result["restyled"] = keep_digit(load(a.speech_run), ears, specs(some), digits[some])
        for name, s in result["restyled"].items():
            print(
                f"{name:<28} recognised {s['recognised']:.3f}"
                + (f", moved {s['moved']:.2f}" if s["moved"] is not None else "")
            )
    write_text(a.output, json.dumps(result, indent=1, allow_nan=False))
    if a.figure:
        figure(sets, model, a.figure)


class Clips:
    """Standardised clips, as `fit_var` wants them."""

    def __init__(self, specs, model):
        self.z = [Scale(model.mean, model.std).apply(x) for x in specs] if model is not None else specs

    def __iter__(self):
        return iter(self.z)

    def divide(self, share=0.1):
        k = max(1, round(share * len(self.z)))
        return Clips(self.z[k:], None), Clips(self.z[:k], None)


def figure(sets, model, path):
    """Six of each set beside each other."""
    import matplotlib.pyplot as plt
    from spectro_dreamer.data.front_ends import plot_log_mel

    fig, axs = plt.subplots(len(sets), 6, figsize=(11, 1.5 * len(sets)), layout="constrained", sharey=True)
    for row, (name, specs) in zip(axs, sets.items()):
        for ax, x in zip(row, specs):
            plot_log_mel(x, model.front_end, ax, "", bar=False)
            ax.label_outer()
        row[0].set_title(name, fontsize=8, loc="left")
    fig.colorbar(axs[0, 0].images[0], ax=axs, label="dB", pad=0.01)
    fig.savefig(path, dpi=90)


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--digits", required=True, help="HDF5 file of spoken digits, prepared with --min-tokens 1 or so")
    p.add_argument("--labels", required=True, help="their labels.tsv, with columns path, digit and speaker")
    p.add_argument("--run", required=True, help="folder of the world model's run: used if it is there, else trained")
    p.add_argument("--output", required=True, help="the JSON file to write")
    p.add_argument("--figure", help="a PNG to write")
    p.add_argument("--speech-run", help="also restyle digits with this run of a model of speech")
    p.add_argument(
        "--held-out", default="theo", help="speaker that neither model nor classifier hears (default: %(default)s)"
    )
    p.add_argument(
        "--all-speakers", action="store_true", help="the classifier's accuracy with each speaker held out in turn"
    )
    p.add_argument("--epochs", type=int, default=30, help="of the world model (default: %(default)s)")
    p.add_argument("--classifier-epochs", type=int, default=15, help="(default: %(default)s)")
    p.add_argument("--beta-kl", type=float, default=2.0, help="(default: %(default)s)")
    p.add_argument(
        "--temperatures", type=float, nargs="+", default=[0.5, 0.8, 1.0], help="of the dreams (default: 0.5 0.8 1)"
    )
    p.add_argument("--n", type=int, default=500, help="clips in each set (default: %(default)s)")
    p.add_argument("--restyled", type=int, default=100, help="digits to restyle (default: %(default)s)")
    a = p.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    figure_style()
    try:
        measure(a)
    except SpectroError as e:
        sys.exit(f"digit_dreams: {e}")
    except OSError as e:
        sys.exit(f"digit_dreams: {e.strerror or e}: {e.filename or ''}")


if __name__ == "__main__":
    main()
