"""Threads or processes: the same training on one thread, on two threads, and as two processes of one thread each.

    python experiments/replicas.py [--work runs/replicas] [--rounds 3] [--steps 40] [--batch-sizes 8 32 128]

The three ways take turns, in an order that rotates, each in processes of its own. They are the same run to rounding:
two processes under `torchrun` share each batch. A way's time is the median of its steps, by the wall, so the machine
should have nothing else to do. What two cores of a machine can give at all is measured as well: two trainings that
know nothing of each other run at once, on one thread each, and a step of either is timed. What was measured goes to
nbs/results/replicas.json, and chapter 91bb shows it.
"""

import argparse, json, os, platform, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from spectro_dreamer.data.preparation import prepare
from spectro_dreamer.data.preprocessing import bundled_corpus
from spectro_dreamer.files import write_text
from spectro_dreamer.learn.tracking import history

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WAYS = {"one thread": ([], 1), "two threads": ([], 2), "two processes": (TORCHRUN, 1), # how started, threads of each
        "two trainings at once": ([], 1)}


def begin(way, data, run, batch_size, steps):
    """Start a training that writes to a folder."""
    before, threads = WAYS[way]
    start = run.with_suffix(".py")
    start.write_text("from spectro_dreamer.use.making import train_main\ntrain_main()\n")
    flags = ["--dataset-path", data, "--preset", "dreamer", "--batch-size", batch_size, "--steps", steps, "--jobs",
             threads, "--seed", 3, "--no-mlflow", "--output-dir", run]
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, *before, str(start), *map(str, flags)]
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def step_seconds(way, data, run, batch_size, steps):
    """Seconds of a step, the median; raises `SystemExit` with what was said if training fails."""
    runs = [run, run.with_name(f"{run.name}-beside")][:1 + (way == "two trainings at once")]
    for child in [begin(way, data, r, batch_size, steps) for r in runs]:
        said = child.communicate()[0]
        if child.returncode: raise SystemExit(f"{way} failed:\n{said[-2000:]}")
    found = [row["step_seconds_p50"] for r in runs for row in history(r) if "step_seconds_p50" in row]
    for r in runs: shutil.rmtree(r)
    return float(np.median(found))


def measure(work, batch_sizes, steps, rounds):
    """Seconds of a step by batch size and way, round by round."""
    prepare(bundled_corpus(), work/"data.h5", progress=False)
    found = {str(b): {way: [] for way in WAYS} for b in batch_sizes}
    for k in range(rounds):
        for b in batch_sizes:
            for way in np.roll(list(WAYS), -k):
                run = work/f"{way.replace(' ', '-')}-{b}-{k}"
                found[str(b)][str(way)].append(step_seconds(str(way), work/"data.h5", run, b, steps))
                print(f"batch {b}, {way}: {found[str(b)][str(way)][-1]:.3f} s a step", flush=True)
    return found


def main():
    """Do it and write down what was found."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--work", type=Path, default=Path("runs/replicas"), help="gets data and runs")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=40)
    p.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32, 128])
    a = p.parse_args()
    if a.work.exists(): raise SystemExit(f"{a.work} holds an earlier try: remove it or choose another --work")
    a.work.mkdir(parents=True)
    found = dict(step_seconds=measure(a.work.resolve(), a.batch_sizes, a.steps, a.rounds),
                 about=dict(machine=f"{platform.machine()}, {os.cpu_count()} cores", preset="dreamer", seed=3,
                            steps=a.steps, data="the bundled recordings", torch=torch.__version__))
    write_text(ROOT/"nbs"/"results"/"replicas.json", json.dumps(found, indent=1) + "\n")


if __name__ == "__main__": main()
