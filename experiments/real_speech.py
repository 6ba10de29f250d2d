"""Redo the report's results on real speech:

clean, prepare, train, evaluate, and copy numbers and figures to nbs/results/.

    python experiments/real_speech.py \
        --data DIR [--work runs/real_speech] [--epochs dreamer=24 dreamer:1=24 dreamer:2=24 seed=5]

DIR holds `clips/` and `validated.tsv` in the shape of Common Voice. Each step is one of the console commands and is
left out when its product is there, so an interrupted run goes on; each run takes about half an hour on one core.
`dreamer:1` is the preset with seed 1: of such a run only the curves are kept here, and `spectro_judge` compares
it with the first. Sound made from the recordings stays in the work folder: only numbers and figures of spectrograms are
copied.
"""

import argparse, json, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ("open_loop.png", "reconstructions.png", "kl_per_dimension.png")


def call(name, *words):
    """Run a console command of this environment; stop when it fails."""
    print("$", f"spectro_{name}", *words, flush=True)
    subprocess.run([str(Path(sys.executable).parent / f"spectro_{name}"), *map(str, words)], check=True)


def epochs_done(run):
    """How many epochs a run has finished."""
    file = run / "metrics.jsonl"
    return (
        max((json.loads(line)["epoch"] for line in file.read_text().splitlines()), default=0) if file.is_file() else 0
    )


def data(source, work):
    """Clean and prepare the recordings, and say what was kept."""
    if not (work / "clean" / "validated.tsv").is_file():
        call(
            "clean",
            "--metadata-file",
            source / "validated.tsv",
            "--clips-dir",
            source / "clips",
            "--output-dir",
            work / "clean",
            "--min-votes",
            2,
        )
    if not (work / "speech.h5").is_file():
        call("prepare", "--input-dir", work / "clean", "--output-file", work / "speech.h5")


def train(preset, seed, epochs, run, work):
    """Train a preset, or go on with it, for `epochs` in all."""
    if epochs_done(run) >= epochs:
        return
    how = (
        ["--resume-from", run]
        if (run / "checkpoints" / "last.pt").is_file()
        else ["--preset", preset, "--seed", seed, "--output-dir", run]
    )
    call("train", "--dataset-path", work / "speech.h5", "--epochs", epochs, "--experiment-name", "real speech", *how)


def evaluate(run, work):
    """Judge the best checkpoint on the speakers it never heard."""
    call(
        "evaluate",
        "--dataset-path",
        work / "speech.h5",
        "--checkpoint",
        run,
        "--output-dir",
        run / "artifacts",
        "--clips-dir",
        work / "clean" / "clips",
        "--n-audio",
        8,
    )


def keep(run, judged):
    """Copy what the report reads; the command line stays out, since it names folders of one machine."""
    sys.path.insert(0, str(ROOT))
    from spectro_dreamer.learn.tracking import history

    target = ROOT / "nbs" / "results" / run.name
    target.mkdir(parents=True, exist_ok=True)
    # each epoch once, also if it was killed and repeated
    (target / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history(run)))
    for name in ("metrics.json", *FIGURES) if judged else ():
        shutil.copy2(run / "artifacts" / name, target / name)
    about = json.loads((run / "manifest.json").read_text()) | dict(config=json.loads((run / "config.yaml").read_text()))
    about.pop("argv")
    (target / "run.json").write_text(json.dumps(about, indent=2) + "\n")


def describe(source, work):
    """What went in: clips, hours, speakers, how they were split, and why clips were left out."""
    sys.path.insert(0, str(ROOT))
    from spectro_dreamer.data.dataset import SpectrogramData

    d = SpectrogramData(work / "speech.h5")

    def part(clips):
        hours = float(d.lengths[clips].sum() / d.front_end.frame_rate / 3600)
        return dict(clips=len(clips), hours=hours, speakers=len({d.speakers[i] for i in clips}))

    rejected = [line.split("\t")[1] for line in (work / "clean" / "rejected.tsv").read_text().splitlines()[1:]]
    about = dict(
        rows=len((source / "validated.tsv").read_text().splitlines()) - 1,
        rejected=len(rejected),
        prepared=len(d),
        train=part(d.train),
        val=part(d.val),
        fingerprint=d.fingerprint,
    )
    (ROOT / "nbs" / "results" / "data.json").write_text(json.dumps(about, indent=2) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--data", type=Path, required=True, help="a folder with clips/ and validated.tsv")
    p.add_argument("--work", type=Path, default=Path("runs/real_speech"), help="where data and runs go")
    p.add_argument(
        "--epochs",
        nargs="+",
        default=["dreamer=24", "dreamer:1=24", "dreamer:2=24", "seed=5"],
        metavar="PRESET[:SEED]=N",
        help="which presets, with which seed, and how long (default: %(default)s)",
    )
    a = p.parse_args()
    if not (a.data / "validated.tsv").is_file():
        sys.exit(f"no validated.tsv in {a.data}")
    data(a.data, a.work)
    for what, epochs in (e.split("=") for e in a.epochs):
        preset, _, seed = what.partition(":")
        run = a.work / (f"{preset}-seed{seed}" if seed else preset)
        train(preset, seed or 0, int(epochs), run, a.work)
        if not seed:
            evaluate(run, a.work)
        keep(run, judged=not seed)
    describe(a.data, a.work)


if __name__ == "__main__":
    main()
