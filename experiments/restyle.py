"""Restyle clips of a trained run's validation speakers in every way of chapters 62 and 63, and measure what moved and
what stayed.

    python experiments/restyle.py --dataset speech.h5 --run runs/dreamer --output restyle.json --figures figures
    python experiments/restyle.py --dataset speech.h5 --run runs/dreamer --output transfer.json --pairs 40 \
        --clips-dir clean/clips --digits digits.h5 --labels digits/labels.tsv

Without --pairs, styles are written down (10c): every second clip is restyled, the others are what frames are compared
with. The listeners for the voice learn from training speakers. Written: the scores of each clip as JSON and, if a
folder for them is named, restyle.png (moved and kept) and one clip's spectrograms as restyled_*.png.

With --pairs, styles are carried from one clip to another (10e): within so many pairs of speakers never heard. --words
sentences are made audible and heard by PocketSphinx, if it is installed (half as long as they last, for each of seven
versions), and spoken digits by a classifier of chapter 64, if they are named. Written: the scores of each pair, the
word errors of each sentence and the digits recognised, as JSON and, if a folder for them is named, one pair's
spectrograms as transferred.png.
"""

import argparse, json, os, sys, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from spectro_dreamer.config import SpectroError
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import open_split
from spectro_dreamer.figures import figure_style
from spectro_dreamer.dream.free_dreams import fit_classifier
from spectro_dreamer.dream.imagination import imagine
from spectro_dreamer.sound.words import calculate_wer, plain_words, recognise
from spectro_dreamer.sound.metrics import left_out
from spectro_dreamer.data.preprocessing import read_audio
from spectro_dreamer.dream.restyle_scores import (balance, fit_listener, format_restyled, plot_restyled, restyle_scores,
                                                  restyle_tasks, style_shift, texture)
from spectro_dreamer.dream.restyling import energy_of, restyle, show_restyled, style_of
from spectro_dreamer.judge.probes import open_short
from spectro_dreamer.dream.transfer_scores import (fit_voices, format_transfers, speaker_centroid, places,
                                                   transfer_pairs, transfer_scores, transfer_versions)
from spectro_dreamer.sound.vocoder import vocode
from spectro_dreamer.model.world_model import load


def bar(clips, what="clips"):
    """Says now and then how far it is."""
    start, told = time.time(), time.time()
    for k, c in enumerate(clips):
        yield c
        if time.time() - told > 20:
            told = time.time()
            print(f"  {k + 1} of {len(clips)} {what}, {told - start:.0f} s", flush=True)


def dreamed(model, data, clips, context=1.0, seconds=2.0):
    """Way c: how far the energy of a dream goes when the style asks for another one after the context, with the same
    dice; task → (n,).
    """
    out = {}
    for task, _, spec, own, target, energy, _ in restyle_tasks(model, data, clips):
        rate, cut = model.front_end.frame_rate, model.config.tokens
        if task == "voice" or len(spec) < (context + seconds + 0.3) * rate:
            continue
        heard = cut.n_tokens(round(context * rate))
        n = -(-(cut.n_frames(heard) + round(seconds * rate)) // cut.hop)
        styles = [own[:n], torch.cat([own[:heard], target[heard:n]])]
        a, b = (imagine(model, spec, context, seconds, samples=4, styles=s) for s in styles)
        after = slice(a.context_frames, None)
        e = torch.stack([energy_of(x)[after] for x in a.spec]), torch.stack([energy_of(x)[after] for x in b.spec])
        way = (energy - energy_of(spec))[a.context_frames : a.context_frames + e[0].shape[1]]
        own_way = energy_of(spec)[a.context_frames : a.context_frames + e[0].shape[1]]
        out.setdefault(task, []).append(style_shift(e[0], e[1], e[0] + way))
        if task == "louder":
            out.setdefault("follows its own contour (correlation)", []).append(
                float(np.corrcoef(e[0].mean(0), own_way)[0, 1])
            )
    return out


def measure(a):
    """Everything; what is slow is said."""
    torch.set_num_threads(1)
    model = load(a.run)
    data, clips = open_split(model, a.dataset)
    clips, others = clips[::2], clips[1::2]
    if a.max_clips:
        clips = clips[:: max(1, -(-len(clips) // a.max_clips))]
    listeners, f = (
        {g.__name__: fit_listener(data, data.train, g) for g in (balance, texture)},
        data.style_names.index("gender=female"),
    )
    known = [i for i in others if data.global_styles[i, data.style_names.index("gender=unknown")] == 0]
    accuracy = {
        n: float(np.mean([(ear.score(data.clip(i)) > 0) == bool(data.global_styles[i, f]) for i in known]))
        for n, ear in listeners.items()
    }
    print(
        f"{len(clips)} clips; listeners right: "
        + ", ".join(f"{n} {v:.3f}" for n, v in accuracy.items())
        + f" of {len(known)} clips",
        flush=True,
    )
    scores = restyle_scores(model, data, clips, others, listeners, show=bar)
    print(format_restyled(scores))
    dreams = dreamed(model, data, clips)
    for task, v in dreams.items():
        print(f"dreamed, {task}: {np.mean(v):.2f} ± {np.std(v, ddof=1) / len(v) ** 0.5:.2f} ({len(v)} clips)")
    about = dict(
        dataset=Path(a.dataset).name,
        data_fingerprint=data.fingerprint,
        n_clips=len(clips),
        n_others=len(others),
        speakers=len({data.speakers[i] for i in clips}),
        listeners=accuracy,
        listened_to=len(known),
        style_dropout=model.config.train.style_dropout,
        step=0.5,
    )
    text = json.dumps(dict(about=about, scores=scores, dreams=dreams), allow_nan=False)
    write_text(a.output, json.dumps(json.loads(text, parse_float=lambda x: round(float(x), 4))) + "\n")
    if a.figures:
        figures(model, data, clips, scores, Path(a.figures))


def figures(model, data, clips, scores, folder):
    """restyle.png, and one clip's spectrograms for each task."""
    from spectro_dreamer.dream.restyle_scores import restyled_versions

    folder.mkdir(parents=True, exist_ok=True)
    plot_restyled(scores).savefig(folder / "restyle.png", dpi=110)
    drawn = {}
    for task, i, spec, own, target, energy, partner in restyle_tasks(model, data, clips[:6]):
        drawn[task] = (
            spec,
            own,
            target,
            energy,
            partner,
            bool(data.global_styles[i, data.style_names.index("gender=female")]),
        )
    for task, (spec, own, target, energy, partner, female) in drawn.items():
        said = restyled_versions(model, spec, own, target, energy, partner, not female, (1.0, 3.0))
        rows = {
            k: v
            for k, v in said.items()
            if k in ("nothing done", "hear, guide 1", "keep, guide 1", "shift, guide 1", "shift, guide 3")
            or k.startswith("rival")
        }
        show_restyled(model.front_end, rows, {} if energy is None else {"asked for": energy}).savefig(
            folder / f"restyled_{task}.png", dpi=90
        )


def transferred(a):
    """The second part: styles carried within pairs, and whether the words are still there."""
    torch.set_num_threads(1)
    model = load(a.run)
    data, clips = open_split(model, a.dataset)
    clips = [int(i) for i in clips]
    ears = {f.__name__: fit_voices(data, data.train, f) for f in (balance, texture)}
    nearer = {name: hits(places(ear, data, clips), data.speakers, clips) for name, ear in ears.items()}
    pairs = transfer_pairs(data, clips, a.pairs, a.seed)
    print(
        f"{len(pairs)} pairs of {len({data.speakers[i] for p in pairs for i in p})} speakers; nearer to one's own "
        "home than to another's: " + ", ".join(f"{n} {v:.3f}" for n, v in nearer.items()),
        flush=True,
    )
    start, scores = time.time(), transfer_scores(model, data, pairs, clips, ears, show=lambda x: bar(x, "pairs"))
    print(format_transfers(scores) + f"\n{time.time() - start:.0f} s", flush=True)
    about = dict(
        dataset=Path(a.dataset).name,
        data_fingerprint=data.fingerprint,
        n_pairs=len(pairs),
        speakers=len({data.speakers[i] for p in pairs for i in p}),
        seed=a.seed,
        nearer_home=nearer,
        style_dropout=model.config.train.style_dropout,
    )
    out = dict(about=about, transfer=scores)

    def keep(x):
        rounded = json.loads(json.dumps(x, allow_nan=False), parse_float=lambda v: round(float(v), 4))
        write_text(a.output, json.dumps(rounded) + "\n")

    keep(out)  # what is there is there, if somebody loses patience with the recogniser
    if a.digits:
        out["digits"] = digits(a, model)
        keep(out)
    if a.words:
        out["words"] = words(a, model, data, clips)
        keep(out)
    if a.figures:
        pair_figure(model, data, pairs[0], Path(a.figures))


def hits(where, speakers, clips):
    """How often a clip lies nearer to the home of its own speaker than to that of another one."""
    owner = {speakers[i]: i for i in clips}

    def near(i):
        return (where[i] - speaker_centroid(where, speakers, i)).norm()

    usable = [i for i in clips if sum(speakers[j] == speakers[i] for j in clips) > 1]
    homes = {s: torch.stack([where[i] for i in clips if speakers[i] == s]).mean(0) for s in owner}
    return float(np.mean([near(i) < (where[i] - homes[s]).norm() for i in usable for s in owner if s != speakers[i]]))


KEYS = {
    "reconstruction": "reconstruction",
    "rival: matched bands": "rival: matched bands, then gain",
    "transferred by the style": "style, both, guide 1",
    "transferred by the states": "states, both",
}


def words(a, model, data, clips):
    """Word errors in the sentences of pairs, in every version; `None` where the recogniser is missing."""
    if missing := left_out().keys() & {"pocketsphinx", "jiwer"}:
        print(f"no word errors: {', '.join(sorted(missing))} not installed")
        return None
    front_end, sounds, said = model.front_end, {}, []
    pairs = [
        (i, j)
        for i, j in transfer_pairs(data, clips, seed=a.seed)
        if plain_words(data.sentences[i]) and int(data.lengths[i]) < a.longest * front_end.frame_rate
    ]
    for i, j in bar(pairs[: a.words], "sentences"):
        spec, who = data.clip(i).cpu(), data.global_styles[i]
        versions = transfer_versions(model, spec, data.clip(j).cpu(), who, data.global_styles[j])
        n, louder = len(versions["reconstruction"]), style_of(model, spec, who, energy_of(spec) + 0.5)
        specs = {
            "recording, vocoded": spec[:n],
            **{name: versions[key][:n] for name, key in KEYS.items()},
            "restyled: 8.7 dB louder": restyle(model, spec, louder, style_of(model, spec, who)),
        }
        waves = {name: vocode(x.numpy(), front_end) for name, x in specs.items()}
        if a.clips_dir:
            waves = {"recording": read_audio(Path(a.clips_dir) / data.paths[i], front_end.sample_rate)} | waves
        for name, wave in waves.items():
            sounds.setdefault(name, []).append(recognise(wave, front_end.sample_rate))
        said.append(data.sentences[i])
    if not said:
        print("no word errors: no clip of the pairs has a sentence and is short enough")
        return None
    found = {name: calculate_wer(said, heard) for name, heard in sounds.items()}
    for name, w in found.items():
        print(f"{name:<28} {w.rate:.3f} word errors in {len(said)} sentences of {sum(w.words)} words", flush=True)
    return {name: dict(rate=w.rate, errors=w.errors, words=w.words) for name, w in found.items()}


def digits(a, model):
    """The digits of a speaker held out, in the style of five digits of another: how many a classifier of the other
    speakers still recognises; method → share.
    """
    data = open_short(model, a.digits)
    head, *rows = [line.split("\t") for line in Path(a.labels).read_text(encoding="utf-8").splitlines()]
    told = {r[head.index("path")].split("/")[-1]: (int(r[head.index("digit")]), r[head.index("speaker")]) for r in rows}
    digit, speaker = (np.array(x) for x in zip(*(told[p.split("/")[-1]] for p in data.paths)))
    usable, rng = np.flatnonzero(data.lengths >= model.config.tokens.frames), np.random.default_rng(a.seed)
    inside, outside = usable[speaker[usable] != a.held_out], usable[speaker[usable] == a.held_out]
    if not len(inside) or not len(outside):
        raise SpectroError(f"no digits of {a.held_out}, or of nobody else")
    start, ear = time.time(), fit_classifier([data.clip(i).cpu() for i in inside], digit[inside])
    print(f"classifier of digits: {time.time() - start:.0f} s", flush=True)
    some, found = rng.permutation(outside)[: a.digit_pairs], {}
    for i in bar(some, "digits"):
        other = torch.cat(
            [
                data.clip(j).cpu()
                for j in rng.choice(inside[speaker[inside] == rng.choice(sorted(set(speaker[inside])))], 5)
            ]
        )
        man = dict(gender="male")  # all of them are men
        for name, x in transfer_versions(model, data.clip(i).cpu(), other, man, man).items():
            found.setdefault(name, []).append(x)
    share = {name: float((ear.hear(x)[0].argmax(1).numpy() == digit[some]).mean()) for name, x in found.items()}
    for name, v in share.items():
        print(f"{name:<42} {v:.3f} of {len(some)} digits of {a.held_out} recognised")
    return dict(held_out=a.held_out, n=len(some), recognised=share)


def pair_figure(model, data, pair, folder):
    """transferred.png: the two clips and what became of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    a, b = (data.clip(i)[:400].cpu() for i in pair)
    said = transfer_versions(model, a, b, *(data.global_styles[i] for i in pair))
    rows = {"A": a, "B": b} | {
        k: said[k]
        for k in ("reconstruction", "rival: matched bands, then gain", "style, both, guide 1", "states, both")
    }
    show_restyled(model.front_end, rows).savefig(folder / "transferred.png", dpi=90)


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="the HDF5 file the run was trained on")
    p.add_argument("--run", required=True, help="folder of a run (its best model), or a checkpoint")
    p.add_argument("--output", required=True, help="the JSON file to write")
    p.add_argument("--figures", help="a folder for figures")
    p.add_argument(
        "--max-clips", type=int, default=0, help="restyle about so many clips; 0 for all (default: %(default)s)"
    )
    p.add_argument(
        "--pairs",
        type=int,
        default=0,
        help="carry styles from one clip to another within so many pairs, instead (default: no)",
    )
    p.add_argument("--seed", type=int, default=0, help="of the choice of pairs (default: %(default)s)")
    p.add_argument(
        "--words", type=int, default=24, help="sentences for a recogniser; 0 for none (default: %(default)s)"
    )
    p.add_argument(
        "--longest",
        type=float,
        default=10.0,
        help="only sentences that last no longer, in seconds (default: %(default)s)",
    )
    p.add_argument("--clips-dir", help="folder of the recordings, to recognise them too")
    p.add_argument("--digits", help="spoken digits from spectro_prepare, to see how many are still recognised")
    p.add_argument("--labels", help="their table: columns path, digit and speaker")
    p.add_argument(
        "--held-out", default="theo", help="the speaker whose digits are given another style (default: %(default)s)"
    )
    p.add_argument("--digit-pairs", type=int, default=100, help="so many digits (default: %(default)s)")
    a = p.parse_args()
    if a.digits and not a.labels:
        p.error("--digits needs --labels")
    import matplotlib

    matplotlib.use("Agg")
    figure_style()
    try:
        (transferred if a.pairs else measure)(a)
    except SpectroError as e:
        sys.exit(f"restyle: {e}")
    except OSError as e:
        sys.exit(f"restyle: {e.strerror or e}: {e.filename or ''}")


if __name__ == "__main__":
    main()
