"""Restyle clips of a trained run's validation speakers in every way of chapter 10c, and measure what moved and what stayed.

    python tools/restyle.py --dataset speech.h5 --run runs/dreamer --output restyle.json --figures figures

Every second clip is restyled, the others are what frames are compared with. The listeners for the voice learn
from training speakers. Written: the scores of each clip as JSON and, if a folder for them is named, restyle.png (moved and
kept) and one clip's spectrograms as restyled_*.png.
"""

import argparse, json, os, sys, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from spectro_dreamer.config import SpectroError, write_text
from spectro_dreamer.evaluation import open_split
from spectro_dreamer.imagination import imagine
from spectro_dreamer.restyling import TASKS, balance, energy_of, fit_listener, format_restyled, plot_restyled, restyle_scores, restyle_tasks, show_restyled, style_shift, texture
from spectro_dreamer.world_model import load


def bar(clips):
    """Says now and then how far it is."""
    start, told = time.time(), time.time()
    for k, c in enumerate(clips):
        yield c
        if time.time() - told > 20: told = time.time(); print(f"  {k + 1} of {len(clips)} clips, {told - start:.0f} s", flush=True)


def dreamed(model, data, clips, context=1., seconds=2.):
    """Way c: how far the energy of a dream goes when the style asks for another one after the context, with the same dice; task → (n,)."""
    out = {}
    for task, i, spec, own, target, energy, _ in restyle_tasks(model, data, clips):
        rate, cut = model.front_end.frame_rate, model.config.tokens
        if task == "voice" or len(spec) < (context + seconds + .3) * rate: continue
        heard = cut.n_tokens(round(context * rate))
        n = -(-(cut.n_frames(heard) + round(seconds * rate)) // cut.hop)
        styles = [own[:n], torch.cat([own[:heard], target[heard:n]])]
        a, b = (imagine(model, spec, context, seconds, samples=4, styles=s) for s in styles)
        after = slice(a.context_frames, None)
        e = torch.stack([energy_of(x)[after] for x in a.spec]), torch.stack([energy_of(x)[after] for x in b.spec])
        way = (energy - energy_of(spec))[a.context_frames:a.context_frames + e[0].shape[1]]
        own_way = energy_of(spec)[a.context_frames:a.context_frames + e[0].shape[1]]
        out.setdefault(task, []).append(style_shift(e[0], e[1], e[0] + way))
        if task == "louder": out.setdefault("follows its own contour (correlation)", []).append(float(np.corrcoef(e[0].mean(0), own_way)[0, 1]))
    return out


def measure(a):
    """Everything; what is slow is said."""
    torch.set_num_threads(1)
    model = load(a.run)
    data, clips = open_split(model, a.dataset)
    clips, others = clips[::2], clips[1::2]
    if a.max_clips: clips = clips[:: max(1, -(-len(clips) // a.max_clips))]
    listeners, f = {g.__name__: fit_listener(data, data.train, g) for g in (balance, texture)}, data.style_names.index("gender=female")
    known = [i for i in others if data.global_styles[i, data.style_names.index("gender=unknown")] == 0]
    accuracy = {n: float(np.mean([(ear.score(data.clip(i)) > 0) == bool(data.global_styles[i, f]) for i in known])) for n, ear in listeners.items()}
    print(f"{len(clips)} clips; listeners right: " + ", ".join(f"{n} {v:.3f}" for n, v in accuracy.items()) + f" of {len(known)} clips", flush=True)
    scores = restyle_scores(model, data, clips, others, listeners, show=bar)
    print(format_restyled(scores))
    dreams = dreamed(model, data, clips)
    for task, v in dreams.items(): print(f"dreamed, {task}: {np.mean(v):.2f} ± {np.std(v, ddof=1)/len(v)**.5:.2f} ({len(v)} clips)")
    about = dict(dataset=Path(a.dataset).name, data_fingerprint=data.fingerprint, n_clips=len(clips), n_others=len(others), speakers=len({data.speakers[i] for i in clips}), listeners=accuracy, listened_to=len(known),
                 style_dropout=model.config.train.style_dropout, step=0.5)
    text = json.dumps(dict(about=about, scores=scores, dreams=dreams), allow_nan=False)
    write_text(a.output, json.dumps(json.loads(text, parse_float=lambda x: round(float(x), 4))) + "\n")
    if a.figures: figures(model, data, clips, scores, Path(a.figures))


def figures(model, data, clips, scores, folder):
    """restyle.png, and one clip's spectrograms for each task."""
    from spectro_dreamer.restyling import restyled_versions
    folder.mkdir(parents=True, exist_ok=True)
    plot_restyled(scores).savefig(folder / "restyle.png", dpi=110)
    drawn = {}
    for task, i, spec, own, target, energy, partner in restyle_tasks(model, data, clips[:6]): drawn[task] = (spec, own, target, energy, partner, bool(data.global_styles[i, data.style_names.index("gender=female")]))
    for task, (spec, own, target, energy, partner, female) in drawn.items():
        said = restyled_versions(model, spec, own, target, energy, partner, not female, (1., 3.))
        rows = {k: v for k, v in said.items() if k in ("nothing done", "hear, guide 1", "keep, guide 1", "shift, guide 1", "shift, guide 3") or k.startswith("rival")}
        show_restyled(model.front_end, rows, {} if energy is None else {"asked for": energy}).savefig(folder / f"restyled_{task}.png", dpi=90)


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="the HDF5 file the run was trained on")
    p.add_argument("--run", required=True, help="folder of a run (its best model), or a checkpoint")
    p.add_argument("--output", required=True, help="the JSON file to write")
    p.add_argument("--figures", help="a folder for figures")
    p.add_argument("--max-clips", type=int, default=0, help="restyle about so many clips; 0 for all (default: %(default)s)")
    a = p.parse_args()
    import matplotlib
    matplotlib.use("Agg")
    try: measure(a)
    except SpectroError as e: sys.exit(f"restyle: {e}")
    except OSError as e: sys.exit(f"restyle: {e.strerror or e}: {e.filename or ''}")


if __name__ == "__main__": main()
