"""The preset `speaker` at other rates: does it stay below the Gaussian line, and what helps it as a forecaster?

    python experiments/speaker_rates.py --run runs/speaker --rival mini --unheard speakers.json \
        --dataset speech.h5 --work runs/rates [--only NAME …] [--scoreboard nbs/results/scoreboard.json]

A trained model goes on for a few epochs with another weight of its details, and so spends more nats or fewer. Each is
judged on both halves of the unheard speakers, as in holding.py: on one half settings were chosen, on the other nothing
was. Without more training the model forecasts with its states drawn more widely or more narrowly (on the half to choose
with). What is there already is not made again; an interrupted call goes on. The table goes to
nbs/results/speaker_rates.json.
"""

import argparse, json, os, sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT/"experiments")]

import torch

from holding import CONTEXT, SECONDS, apart, energies, ratio
from scoreboard import machine, rounded, score, write_scores
from speak import halves, picked
from spectro_dreamer.config import SpectroError, preset
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import open_split
from spectro_dreamer.judge.rates import rate_distortion
from spectro_dreamer.learn.training import train
from spectro_dreamer.model.world_model import load

RESULTS = ROOT/"nbs"/"results"
FINE = dict(lr=5e-4, reward_lr=5e-4, checkpoint_freq=1)
RUNS = {  # name → epochs, changes of the preset
    "as shipped": (0, {}),
    "text hidden more often": (4, dict(told_dropout=0.4)),
    "details at 8": (3, dict(told_dropout=0.4, beta_detail=8.0)),
    "details at 1.5": (3, dict(told_dropout=0.4, beta_detail=1.5)),
}
WIDTHS = ((1.0, 1.0), (0.8, 1.0), (1.2, 1.0), (1.4, 1.0), (1.6, 1.0), (1.0, 0.8), (1.0, 0.6)) # of state and detail
LEAST, MOST = 20, 75  # nats a token, between which the aim holds


def trained(a, name):
    """The model of a row, trained or brought to its end."""
    epochs, changes = RUNS[name]
    if not epochs: return load(a.run)
    run = a.work/name.replace(",", "").replace(" ", "-")
    cfg = preset("speaker").override(epochs=epochs, **FINE, **changes)
    begun = (run/"metrics.jsonl").is_file()
    if not (run/"done").is_file():
        how = dict(resume_from=run) if begun else dict(run_dir=run, init_from=a.run)
        train(a.dataset, cfg, progress=False, use_mlflow=False, **how)
        (run/"done").touch()
    return load(run)


def point(model, data, clips, told):
    """One point of a model's curve."""
    found = rate_distortion({"model": model}, data, clips, told=told)["points"]["model"]
    names = ("nats_per_token", "nats_se", "mse_sampled", "mse_sampled_se", "line", "ratio", "ratio_frames")
    return {k: rounded(found[k]) for k in names}


def judged(a, name, data, parts):
    """What a row of the table says, on both halves, told nothing and told."""
    model, (epochs, changes) = trained(a, name), RUNS[name]
    row = dict(epochs=epochs, changes=changes)
    for part, clips in parts.items():
        row[part] = {key: point(model, data, clips, told) for key, told in (("told nothing", False), ("told", True))}
        print(f"{name:<24} {part:<7}", *(f"{k}: {p['ratio']:.3f} at {p['nats_per_token']:.1f} nats;"
                                         for k, p in row[part].items()), flush=True)
    return row


def spreads(a, data, clips):
    """Energy scores over the rival's, told nothing, the states' and the details' noise made wider or narrower."""
    model, some = load(a.run), picked(data, clips, a.n, least=CONTEXT + SECONDS + .5, most=30.)
    models = {"rival": (load(a.rival), False)} | {w: (model, False, *w) for w in WIDTHS}
    scores, counts = energies(models, data, some)
    rows = []
    for state, detail in WIDTHS:
        found = ratio(scores[state, detail], scores["rival"], counts)
        rows.append(dict(state=state, detail=detail, n=len(some),
                         energy={k: [rounded(x) for x in v] for k, v in found.items()}))
        print(f"states at {state}, details at {detail}:", {k: v[0] for k, v in rows[-1]["energy"].items()}, flush=True)
    return rows


def line_score(table):
    """The row of the scoreboard: the largest ratio between the rates of the aim, told nothing, on the judging half."""
    points = [row["judge"]["told nothing"] for row in table["rows"].values()]
    inside = [p for p in points if LEAST <= p["nats_per_token"] <= MOST]
    worst, about = max(inside, key=lambda p: p["ratio"]), table["about"]
    rates = ", ".join(f"{p['nats_per_token']:.0f}" for p in sorted(inside, key=lambda p: p["nats_per_token"]))
    made_by = (f"experiments/speaker_rates.py on {about['data']}, unheard speakers, part judge, seed 0, told nothing, "
               f"at {rates} nats a token, {about['machine']}")
    se = worst["ratio"]*worst["mse_sampled_se"]/worst["mse_sampled"]
    return {"line_ratio_max": score(worst["ratio"], se, about["clips"]["judge"], 0.8, made_by)}


def measure(a):
    """Everything that is not in the table yet."""
    torch.set_num_threads(1)
    table = json.loads(a.output.read_text()) if a.output.is_file() else dict(rows={})
    data, _ = open_split(load(a.run), a.dataset)
    parts = {part: apart(data, halves(data)[part], a.unheard) for part in ("choose", "judge")}
    table["about"] = dict(data=Path(a.dataset).name, machine=machine(), base=Path(a.run).stem, rival=a.rival,
                          clips={k: len(v) for k, v in parts.items()})
    for name in a.only or RUNS:
        if name in table["rows"]: continue
        table["rows"][name] = judged(a, name, data, parts)
        write_text(a.output, json.dumps(table, indent=1) + "\n")
    if "spreads" not in table: table["spreads"] = spreads(a, data, parts["choose"])
    write_text(a.output, json.dumps(table, indent=1) + "\n")
    if a.scoreboard: write_scores(a.scoreboard, line_score(table))


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", required=True, help="the trained model: a run or a checkpoint")
    p.add_argument("--rival", default="mini", help="a model that is told nothing")
    p.add_argument("--unheard", help="JSON list of the speakers that the rival did not learn from")
    p.add_argument("--dataset", required=True)
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--output", type=Path, default=RESULTS/"speaker_rates.json")
    p.add_argument("--only", nargs="+", choices=RUNS)
    p.add_argument("--n", type=int, default=16, help="clips to forecast")
    p.add_argument("--scoreboard", help="JSON of the headline numbers, to which one is added")
    try: measure(p.parse_args())
    except SpectroError as e: sys.exit(f"speaker_rates: {e}")
