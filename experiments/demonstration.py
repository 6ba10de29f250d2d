"""What can be learned in two minutes: the training of `spectro_demo`, the ways that were tried, and its time.

    python experiments/demonstration.py choose [--work runs/demonstration] [--only NAME …]
    python experiments/demonstration.py judge [--work runs/demonstration]
    python experiments/demonstration.py time [--work runs/demonstration]

`choose` trains the bundled recordings in each way of `WAYS`, one thread, and scores all 18 clips of the three speakers
that split 0 keeps for validation. `judge` does the same for the former way and the chosen one with the speakers of
splits 1 to 3. `time` runs the demonstration with the training of either way, in turns, by the wall and in processor
time, on all cores; the machine should have nothing else to do. What was found goes to nbs/results/demonstration.json
and to the scoreboard, and chapter 92 shows it. A run that is there already is not trained again.
"""

import argparse, json, os, platform, resource, subprocess, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from spectro_dreamer.data.preprocessing import bundled_corpus
from spectro_dreamer.files import write_text
from spectro_dreamer.learn.tracking import history
from scoreboard import machine, score, write_scores

FILE, BOARD = ROOT/"nbs"/"results"/"demonstration.json", ROOT/"nbs"/"results"/"scoreboard.json"
QUICK = ["--lr", "0.002", "--warmup-steps", "50", "--ema", "0.99"]


def of_width(n):
    """Flags of a model whose layers and state are so wide."""
    return ["--h-state-size", n, "--hidden-size", n, "--embedding-size", n]


# the batch size, epochs and flags beside the preset dreamer
WAYS = {
    "before": (8, 24, []),
    "quick": (8, 13, QUICK),
    "quick, rate 0.004": (8, 14, [*QUICK, "--lr", "0.004"]),
    "quick, batch 16": (16, 18, QUICK),
    "quick, batch 16, rate 0.003": (16, 18, [*QUICK, "--lr", "0.003"]),
    "quick, batch 32, rate 0.003": (32, 20, [*QUICK, "--lr", "0.003"]),
    "quick, KL times 1": (8, 14, [*QUICK, "--beta-kl", "1"]),
    "quick, KL times 0.5": (8, 14, [*QUICK, "--beta-kl", "0.5"]),
    "quick, KL times 1, width 256": (8, 24, [*QUICK, "--beta-kl", "1", *of_width("256")]),
    "quick, KL times 1, width 256, rate 0.003": (8, 24, [*QUICK, "--beta-kl", "1", *of_width("256"), "--lr", "0.003"]),
    "quick, KL times 1, width 192": (8, 22, [*QUICK, "--beta-kl", "1", *of_width("192")]),
    "quick, KL times 1, width 192, longer": (8, 24, [*QUICK, "--beta-kl", "1", *of_width("192")]),
    "quick, KL times 1, width 192, longest": (8, 32, [*QUICK, "--beta-kl", "1", *of_width("192")]),
    "quick, KL times 0.5, width 192": (8, 20, [*QUICK, "--beta-kl", "0.5", *of_width("192")]),
    "quick, KL times 0.25, width 192": (8, 20, [*QUICK, "--beta-kl", "0.25", *of_width("192")]),
    "quick, KL times 1, width 128": (8, 30, [*QUICK, "--beta-kl", "1", *of_width("128")]),
}
CHOSEN = "quick, KL times 1, width 192"
SCORES = "stoi", "estoi", "pesq", "mcd"


def call(name, *words, threads=1, **more):
    """Run a command of the library in a process of its own; raises `SystemExit` with what it said if it fails."""
    code = f"from spectro_dreamer.use.making import {name}_main as main; main()"
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)} | more
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], env=env, text=True, capture_output=True)
    if done.returncode: raise SystemExit(f"{name} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")


def data_of(work):
    """The bundled recordings, cleaned and prepared as the demonstration does it."""
    corpus, clean, data = bundled_corpus(), work/"clean", work/"data.h5"
    if not data.is_file():
        call("clean", "--metadata-file", corpus/"validated.tsv", "--clips-dir", corpus/"clips", "--output-dir", clean)
        call("prepare", "--input-dir", clean, "--output-file", data, "--preset", "dreamer")
    return data


def trained(work, way, split):
    """What a way's model scores on the clips of the speakers that a split keeps for validation."""
    data, run = data_of(work), work/f"{way.replace(', ', '-').replace(' ', '_')}-{split}"
    batch_size, epochs, flags = WAYS[way]
    found = run/"evaluation"/"metrics.json"
    if not found.is_file():
        call("train", "--dataset-path", data, "--preset", "dreamer", "--batch-size", batch_size, "--epochs", epochs,
             *flags, "--split-seed", split, "--no-mlflow", "--output-dir", run)
        call("evaluate", "--dataset-path", data, "--checkpoint", run, "--output-dir", found.parent, "--n-audio", 99,
             "--no-words", "--clips-dir", work/"clean"/"clips")
    return scores_of(json.loads(found.read_text(encoding="utf-8")), history(run), epochs)


def scores_of(metrics, rows, epochs):
    """The numbers that are kept of an evaluation and of a run."""
    mean = next(m for m in metrics["audio"]["mean"]
                if m["what"] == "reconstruction, style: none" and m["against"] == "recording")
    clips = [[s for s in c["scores"] if s["what"] == mean["what"] and s["against"] == "recording"][0]
             for c in metrics["audio"]["clips"]]
    about, last = metrics["about"], rows[-1]
    ahead = metrics["open_loop"]["none"]["errors"]["prior"]
    return dict(parameters=about["n_parameters"], clips=about["n_clips"], speakers=about["n_speakers"], epochs=epochs,
                kl=last["val_kl_loss"], mse=metrics["reconstruction"]["none"]["mse"]["value"], prior=ahead,
                scores={s: dict(value=mean[s]["value"], se=mean[s]["se"]) for s in SCORES},
                by_clip={s: [c[s] for c in clips] for s in SCORES})


def choose(work, only):
    """Every way on the speakers of split 0."""
    return {way: trained(work, way, 0) for way in only}


def judge(work):
    """The former way and the chosen one on the speakers of other splits; the differences are within clips."""
    found = {}
    for split in (1, 2, 3):
        pair = {way: trained(work, way, split) for way in ("before", CHOSEN)}
        found[str(split)] = pair
        print(split, {way: round(p["scores"]["stoi"]["value"], 3) for way, p in pair.items()}, flush=True)
    return found


def gains(judged, name):
    """What the chosen way scores above the former one on a clip: the mean over all splits, its standard error, and the
    clips."""
    pairs = [np.subtract(pair[CHOSEN]["by_clip"][name], pair["before"]["by_clip"][name]) for pair in judged.values()]
    differences = np.concatenate(pairs)
    return float(differences.mean()), float(differences.std(ddof=1)/np.sqrt(len(differences))), len(differences)


def demonstrated(work, way, k):
    """Seconds of the demonstration by the wall, step by step, and of processor time in all."""
    batch_size, epochs, flags = WAYS[way]
    out = work/f"demo-{'before' if way == 'before' else 'chosen'}-{k}"
    code = ("from spectro_dreamer.use import cli\n"
            f"cli.DEMO_TRAINING = {['--batch-size', str(batch_size), *flags]!r}\n"
            f"cli.demo_main(['--output-dir', {str(out)!r}, '--epochs', '{epochs}'])")
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    env.pop("OMP_NUM_THREADS", None)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    steps, last, name = {}, start, "start"
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if not line.startswith(("$ spectro_", "Look and listen")): continue
            now = time.perf_counter()
            steps[name], last = now - last, now
            name = line.split()[1].removeprefix("spectro_") if line.startswith("$") else "end"
    if child.returncode: raise SystemExit(f"the demonstration failed: {child.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    work_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return dict(steps=steps, wall=time.perf_counter() - start, processor=work_seconds)


def timed(work, rounds=2):
    """Both ways, taking turns."""
    found = {"before": [], CHOSEN: []}
    for k in range(rounds):
        for way in (list(found) if k % 2 else list(found)[::-1]):
            found[way].append(demonstrated(work, way, k))
            print(f"{way}: {found[way][-1]['wall']:.0f} s", flush=True)
    return found


def put_on_board(found):
    """The rows of the scoreboard."""
    rows = {}
    if "judge" in found:
        better, error, n = found["gains"]["stoi"]
        rows["demo.stoi_gain"] = score(better, error, n, 0., "experiments/demonstration.py judge, clips of 8 speakers "
                                       f"unheard in splits 1 to 3 of the bundled recordings, seed 0, {machine()}")
    if "time" in found:
        walls = [r["wall"]/60 for r in found["time"][CHOSEN]]
        rows["demo.minutes"] = score(np.median(walls), None, len(walls), 2., "experiments/demonstration.py time, "
                                     f"`spectro_demo` by the wall, {os.cpu_count()} cores")
    write_scores(BOARD, rows)


def main():
    """Do one part and write down what was found."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("part", choices=["choose", "judge", "time"])
    p.add_argument("--work", type=Path, default=Path("runs/demonstration"), help="gets data and runs")
    p.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="NAME",
                   help="ways to choose from")
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    work = a.work.resolve()
    part = choose(work, a.only) if a.part == "choose" else judge(work) if a.part == "judge" else timed(work)
    found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    found[a.part] = (found.get("choose", {}) | part) if a.part == "choose" else part
    if a.part == "judge": found["gains"] = {name: gains(part, name) for name in SCORES}
    found["about"] = dict(machine=f"{platform.machine()}, {os.cpu_count()} cores", data="the bundled recordings",
                          seed=0)
    write_text(FILE, json.dumps(found, indent=1) + "\n")
    put_on_board(found)


if __name__ == "__main__": main()
