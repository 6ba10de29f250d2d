"""Train a magnitude refiner (chapter 43) on the training speakers of a prepared data set, or tune one to what a world
model draws of them.

    python experiments/train_vocoder.py --dataset speech.h5 --clips clean/clips --minutes 60 --output voice.safetensors
    python experiments/train_vocoder.py --dataset speech.h5 --clips clean/clips --minutes 15 \
        --output tuned.safetensors --init voice.safetensors --world runs/dreamer --lr 3e-4

A checkpoint lies beside the output (voice.ckpt) until you delete it: after a stop the same command with --resume goes
on from it. Magnitudes are kept in a temporary file of about 0.4 GB for an hour of speech at hop 256 (TMPDIR says
where).
"""

import argparse, os, sys, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def bar(what):
    """Wraps what there is much of: a line on the console now and then."""

    def show(items):
        start, told = time.time(), time.time()
        for k, c in enumerate(items):
            yield c
            if time.time() - told > 20:
                told = time.time()
                print(f"  {what}: {k + 1} clips, {told - start:.0f} s", flush=True)

    return show


def opened(a):
    """The world model or None, the data set, and its training and validation clips."""
    from spectro_dreamer.data.dataset import SpectrogramData
    from spectro_dreamer.judge.evaluation import open_split
    from spectro_dreamer.model.world_model import load

    model = load(a.world) if a.world else None
    data = open_split(model, a.dataset)[0] if model else SpectrogramData(a.dataset, a.val_split, a.split_seed)
    return model, data, data.train, data.val


def material(model, data, clips, folder):
    """Recordings with their log-mels, or with what a model draws of them."""
    from spectro_dreamer.data.corpus import clip_file
    from spectro_dreamer.data.preprocessing import read_audio

    for i in clips:
        spec = data.clip(i)
        yield (
            read_audio(clip_file(folder, data.paths[i]), data.front_end.sample_rate),
            (model.reconstruct(spec) if model else spec).cpu().numpy(),
        )


def train(a):
    """Everything; what is slow is said."""
    from spectro_dreamer.config import SpectroError
    from spectro_dreamer.machine import keep_memory
    from spectro_dreamer.sound.neural_vocoder import (
        FitConfig,
        FramePairs,
        RefinerConfig,
        fit_refiner,
        load_vocoder,
        magnitude_error,
        refiner_for,
        save_vocoder,
    )

    keep_memory()
    cfg = FitConfig(steps=a.steps, minutes=a.minutes, lr=a.lr, seed=a.seed)
    output = Path(a.output)
    checkpoint = output.with_suffix(".ckpt")
    if checkpoint.exists() and not a.resume:
        raise SpectroError(f"{checkpoint} is of an earlier training: go on from it with --resume, or delete it")
    if a.resume and not checkpoint.exists():
        raise SpectroError(f"nothing to resume: there is no {checkpoint}")
    model, data, clips, held = opened(a)
    net = load_vocoder(a.init, data.front_end) if a.init else None
    every = max(1, -(-len(clips) // a.max_clips)) if a.max_clips else 1
    pairs = FramePairs(material(model, data, clips[::every], a.clips), data.front_end, bar("magnitudes"))
    about = f"{len(pairs)} clips of {len({data.speakers[i] for i in clips[::every]})} speakers" + (
        f", as {Path(a.world).name} draws them" if model else ""
    )
    if net:
        net.about += f"; then {about}"
    else:
        net = refiner_for(pairs, RefinerConfig(a.width, a.depth, updates=a.updates), a.seed, about)
    print(
        f"{about}, {pairs.seconds / 3600:.2f} hours; {sum(p.numel() for p in net.parameters()) / 1e6:.2f} M weights",
        flush=True,
    )
    net.drawn = bool(model)  # what it learned from last decides how it is used
    net = net.to(a.device)
    line = lambda h: print(
        f"step {h.step}, {h.seconds:.0f} s: log magnitude {h.l1:.4f} nats, compressed {h.compressed:.4f}", flush=True
    )
    record = fit_refiner(net, pairs, cfg, checkpoint, a.resume, show=True if sys.stdout.isatty() else line)
    save_vocoder(net.cpu(), output, half=a.half)
    print(f"wrote {output}, {record[-1].step} steps in {record[-1].seconds / 60:.1f} minutes")
    if len(held):
        new = FramePairs(material(model, data, held[:: max(1, len(held) // 60)], a.clips), data.front_end)
        print(
            f"{len(new)} clips of other speakers, nats a bin: smooth inversion "
            f"{magnitude_error(net.base, new):.4f}, refined {magnitude_error(net, new):.4f}"
        )


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="HDF5 file from spectro_prepare; its front end is the vocoder's")
    p.add_argument("--clips", required=True, help="the folder of its recordings")
    p.add_argument("--output", required=True, help="the vocoder to write, a .safetensors file")
    p.add_argument("--minutes", type=float, default=0.0, help="how long to train, by the clock")
    p.add_argument("--steps", type=int, default=0, help="how long to train, in steps: can be repeated exactly")
    p.add_argument("--width", type=int, default=256, help="channels (default: %(default)s)")
    p.add_argument("--depth", type=int, default=6, help="blocks (default: %(default)s)")
    p.add_argument(
        "--updates",
        type=int,
        default=0,
        help="updates of the mel inversion that the network begins "
        "with; a few make a step slower and a small network better "
        "(default: %(default)s)",
    )
    p.add_argument("--lr", type=float, default=1e-3, help="highest learning rate (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of weights and batches (default: %(default)s)")
    p.add_argument("--resume", action="store_true", help="go on from the checkpoint beside the output")
    p.add_argument("--init", help="a vocoder to begin with instead of a fresh one (its shape is kept)")
    p.add_argument(
        "--world",
        help="a world model (checkpoint, run's folder, or mini): learn from what it draws of "
        "the recordings, without style",
    )
    p.add_argument(
        "--max-clips",
        type=int,
        default=0,
        help="train on about so many clips, evenly spread; 0 for all (default: %(default)s)",
    )
    p.add_argument(
        "--val-split",
        type=float,
        default=0.1,
        help="share of the speakers left out; a world model brings its own (default: %(default)s)",
    )
    p.add_argument("--split-seed", type=int, default=0, help="which speakers these are (default: %(default)s)")
    p.add_argument("--half", action="store_true", help="write matrices in half precision")
    p.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    a = p.parse_args()
    if not (a.steps > 0 or a.minutes > 0):
        p.error("give --minutes or --steps")
    if Path(a.output).suffix != ".safetensors":
        p.error("the name of --output must end in .safetensors")
    from spectro_dreamer.config import SpectroError

    try:
        train(a)
    except SpectroError as e:
        sys.exit(f"train_vocoder: {e}")
    except OSError as e:
        sys.exit(f"train_vocoder: {e.strerror or e}: {e.filename or ''}")
    except KeyboardInterrupt:
        sys.exit("train_vocoder: stopped; go on with --resume")


if __name__ == "__main__":
    main()
