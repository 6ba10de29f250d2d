"""Draw the report's figures that come from numbers alone again, in the house's style:

`nbs/results/*.png` from the JSON files beside them.

    python experiments/redraw.py [NAME…]

With names, only those that contain one of them: `redraw.py dreamer/`, `redraw.py codecs forecasts`. Figures of
spectrograms need the model and the recordings, and are drawn by the tools that made them.
"""

import json, os, sys
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import matplotlib

from spectro_dreamer.config import FrontEnd
from spectro_dreamer.judge.evaluation import Metric, plot_bands, plot_kl
from spectro_dreamer.judge.open_loop import OpenLoop, plot_open_loop
from spectro_dreamer.figures import styled_figures
from spectro_dreamer.judge.readers import ProbeScore
from spectro_dreamer.judge.words_in_noise import WordsHeard, plot_words
from spectro_dreamer.judge.noise import plot_noise
from spectro_dreamer.dream.restyle_scores import plot_restyled
from spectro_dreamer.judge.forecasts import FRAME_SETS, plot_forecasts
from spectro_dreamer.judge.probes import Probe
from spectro_dreamer.use.judge_parts import draw_gaps
from spectro_dreamer.use.judge_sounds import draw_codecs

RESULTS = Path(__file__).resolve().parent.parent / "nbs" / "results"


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def conditions(run):
    """What a run was told → its numbers of reconstruction, as `reconstruction_metrics` gives them."""
    return {
        f"style: {c}": {k: Metric(**m) for k, m in row.items()}
        for c, row in read(f"{run}/metrics")["reconstruction"].items()
    }


def bands(run):
    return plot_bands(conditions(run), FrontEnd(**read(f"{run}/run")["config"]["front_end"]))


def open_loop(run):
    """A condition but "none" tells the model what it is asked for."""
    return plot_open_loop(
        {
            f"style: {c}" + ("" if c == "none" else " (a leak)"): OpenLoop(**r)
            for c, r in read(f"{run}/metrics")["open_loop"].items()
        }
    )


def forecasts():
    """Values and errors as they are in the file, in the place of those that `Forecasts` takes over clips."""
    told = read("forecasts")
    rows = told["value_and_se"]

    def metric(name, measure, part):
        return [SimpleNamespace(value=v, se=se) for v, se in rows[part][measure][name]]

    return plot_forecasts(
        SimpleNamespace(
            models=list(told["against_best_rival"][FRAME_SETS[0]]["mse"]),
            forecasters=list(rows[FRAME_SETS[0]]["mse"]),
            horizons=told["horizons"],
            metric=metric,
        )
    )


def gaps(kind):
    """The same for `GapErrors`."""
    rows = read("completion")[kind]["scores"]
    lengths = {float(l): l for l in next(iter(rows["mse"].values()))}

    def metric(name, length, measure):
        return SimpleNamespace(**rows[measure][name][lengths[length]])

    return draw_gaps(SimpleNamespace(names=list(rows["mse"]), n_gaps=lengths, metric=metric), kind)


def noise():
    """Probes of clean clips whole, in noise only how often they are right."""

    def levels(row):
        return {n: {int(snr): ProbeScore(**v) for snr, v in by.items()} for n, by in row.items()}

    return plot_noise(
        {
            task: {
                kind: {n: Probe(**p) for n, p in row.items()} if kind == "clean" else levels(row)
                for kind, row in r.items()
            }
            for task, r in read("latent_space")["noise"].items()
        }
    )


def words():
    """Word errors by kind of noise and level."""
    told = read("words_in_noise")

    def heard(row):
        return {n: WordsHeard(**w) for n, w in row.items()}

    return plot_words(
        {"clean": heard(told["clean"])}
        | {kind: {int(snr): heard(row) for snr, row in told[kind].items()} for kind in ("white", "babble")}
    )


FIGURES = {
    "dreamer/bands": lambda: bands("dreamer"),
    "forecasts": forecasts,
    "codecs": lambda: draw_codecs(read("codecs")),
    "completion_sound": lambda: gaps("gaps in the sound"),
    "latent_noise": noise,
    "restyle": lambda: plot_restyled(read("restyle")["scores"]),
    "words_in_noise": words,
}
FIGURES |= {f"{run}/kl_per_dimension": lambda run=run: plot_kl(conditions(run)) for run in ("dreamer", "seed")}
FIGURES |= {f"{run}/open_loop": lambda run=run: open_loop(run) for run in ("dreamer", "seed")}


def main(names):
    matplotlib.use("Agg")
    for name, draw in FIGURES.items():
        if names and not any(n in name for n in names):
            continue
        with styled_figures():
            draw().savefig(RESULTS / f"{name}.png")
        print(f"nbs/results/{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
