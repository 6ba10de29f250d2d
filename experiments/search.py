"""Search for the `dreamer` preset:

train variants of it for the same number of epochs, three unless said, and table what they reach.

    python experiments/search.py --dataset speech.h5 --work runs/search
    python experiments/search.py --dataset speech.h5 --work runs/search --epochs 24 --only dreamer "learning rate 3e-3"

Each variant changes one thing (its name says which). Judged on the validation speakers with no style given: error of a
posterior sample per bin, nats per token, the error of the Gaussian line at that rate, the error of forecasts of new
frames one and five tokens ahead (on every fifth clip, the noise of few samples taken off), and the seconds that
training took. A variant whose numbers are there is not trained again; the table is kept in nbs/results/search.json. The
variants with a finer front end need the same corpus prepared once more (`spectro_prepare --n-fft 1024 --hop-length
256`), named with --fine.
"""

import argparse, json, os, shutil, sys, time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import h5py
import numpy as np
from torch.nn.functional import avg_pool2d

from spectro_dreamer.config import SpectroError, TokenSpec, preset
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.gaussian import gaussian_line, spectral_density
from spectro_dreamer.judge.evaluation import open_split, reconstruction_metrics
from spectro_dreamer.judge.forecasts import compare_forecasts
from spectro_dreamer.learn.tracking import history
from spectro_dreamer.learn.training import train
from spectro_dreamer.model.world_model import DreamerModel, load

SHORT = 3  # epochs

VARIANTS = {
    "dreamer": {},
    "no linear path": dict(linear_skip=False),
    "convolutions of depth 8": dict(backbone="cnn", cnn_depth=8),
    "two hidden layers": dict(hidden_layers=2),
    "z of 32": dict(z_state_size=32),
    "z of 128": dict(z_state_size=128),
    "h of 256": dict(h_state_size=256),
    "hidden layers of 256": dict(hidden_size=256, embedding_size=256),
    "hidden layers of 512": dict(hidden_size=512, embedding_size=512),
    "embedding of 128": dict(embedding_size=128),
    "no layer norm": dict(layer_norm=False),
    "encoder sees h": dict(encoder_sees_h=True),
    "16 × 40 tokens": dict(batch_size=16, sequence_length=40),
    "state not carried": dict(carry=False),
    "no fresh starts": dict(fresh_starts=0.0),
    "no forecast term": dict(beta_forecast=0.0),
    "forecast term of 0.3": dict(beta_forecast=0.3),
    "forecast term five tokens ahead": dict(forecast_steps=5),
    "learning rate 3e-3": dict(lr=3e-3),
    "no averaged weights": dict(ema=0.0),
    "style hidden half the time": dict(style_dropout=0.5),
    "β 1": dict(beta_kl=1.0),
    "β 4": dict(beta_kl=4.0),
    "classes: 32 groups of 16": dict(latent="categorical", z_state_size=512, classes=16),
    "σ of 1, β 0.04": dict(likelihood="mse", beta_kl=0.04, beta_forecast=0.08),
    "errors at three resolutions": dict(coarse=True),
    "tokens of 2 frames, one every frame": dict(tokens=TokenSpec(2, 1, 41), sequence_length=40),
    "tokens of 8 frames, one every 4": dict(tokens=TokenSpec(8, 4, 10), sequence_length=10),
    "hop 256, tokens of 8 frames": dict(tokens=TokenSpec(8, 4, 20), fine=True),
    "contrastive, β 0.5": dict(objective="contrastive", beta_kl=0.5, beta_forecast=0.0),
    "contrastive, β 0.1": dict(objective="contrastive", beta_kl=0.1, beta_forecast=0.0),
    "contrastive, β 0.1, classes": dict(
        objective="contrastive", beta_kl=0.1, beta_forecast=0.0, latent="categorical", z_state_size=512, classes=16
    ),
}


def judge(run, dataset):
    """Error and rate of a run on speakers it never heard, and the Gaussian line of the same clips."""
    model = load(run)
    data, clips = open_split(model, dataset)
    scores = reconstruction_metrics(model, data, clips)
    density = spectral_density([data.band_scale.apply(data.clip(i)) for i in clips])
    d = np.geomspace(0.004, 0.95, 100)
    rate = np.array(gaussian_line(density, d)) * data.tokens.hop
    mse, kl = scores["mse_sampled"].value, scores["kl"].value
    usual = data.tokens.hop == TokenSpec().hop  # or a token ahead would be another time
    ahead = (
        [
            m.value
            for m in compare_forecasts(model, data, clips[::5], {}, horizons=(1, 5), samples=8).metric(
                "world model", "mse, unbiased"
            )
        ]
        if usual
        else [None, None]
    )
    return dict(
        ahead_1=ahead[0],
        ahead_5=ahead[1],
        bits_per_second=scores["bits_per_second"].value,
        mse_sampled=mse,
        kl=kl,
        line=float(np.interp(kl, rate[::-1], d[::-1])),
        active=scores["active_units"].value,
        parameters=sum(p.numel() for p in model.world()),
    )


def errors_at_three_resolutions(self, h, zs, seen):
    """Squared errors of a token and of its means over 2 × 2 and 4 × 4 bins, each with a third of the weight and on one
    scale: in place of `DreamerModel.drawing_errors`.
    """

    def at(error, size):
        return avg_pool2d(error.flatten(0, 1), size).pow(2).mean((1, 2)).unflatten(0, error.shape[:2]) * size**2

    return [sum(at(drawn - seen, size) for size in (1, 2, 4)) / 3 for drawn in self.decoder.for_each(h, zs)]


def cut_otherwise(dataset, tokens, work):
    """A copy of the data set whose clips are cut into other tokens."""
    path = work / f"{Path(dataset).stem}_{tokens.frames}_{tokens.hop}.h5"
    if path.is_file():
        return path
    part = path.with_suffix(".partial")
    shutil.copy(dataset, part)
    with h5py.File(part, "a") as f:
        f.attrs["tokens"] = json.dumps(asdict(tokens))
    return part.rename(path)


def arguments():
    """What is asked for."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="HDF5 file from spectro_prepare")
    p.add_argument("--fine", help="the same corpus prepared with --n-fft 1024 --hop-length 256")
    p.add_argument(
        "--epochs",
        type=int,
        default=SHORT,
        help="for each variant; a row of the table says so if it is not the default (default: %(default)s)",
    )
    p.add_argument("--work", type=Path, default=Path("runs/search"), help="where the runs go (default: %(default)s)")
    p.add_argument("--only", nargs="+", metavar="NAME", help="only these variants")
    p.add_argument(
        "--table", type=Path, default=ROOT / "nbs" / "results" / "search.json", help="file to keep the numbers in"
    )
    return p.parse_args()


def chosen(only, fine):
    """The names of the variants to train: those asked for, or all that the data allow."""
    if unknown := set(only or ()) - set(VARIANTS):
        sys.exit(f"no such variant: {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    refused = {name for name, change in VARIANTS.items() if change.get("fine") and not fine}
    if lack := refused.intersection(only or ()):
        sys.exit(f"{', '.join(sorted(lack))}: needs --fine")
    return only or [name for name in VARIANTS if name not in refused]


def trained(name, run, a):
    """Train a variant, or go on where it stopped: its data set and the processor time that this took."""
    change = dict(VARIANTS[name])
    tokens, coarse = change.pop("tokens", None), change.pop("coarse", False)
    source = a.fine if change.pop("fine", False) else a.dataset
    cfg = preset("dreamer").override(epochs=a.epochs, checkpoint_freq=10_000, **change)
    a.work.mkdir(parents=True, exist_ok=True)
    dataset = cut_otherwise(source, tokens, a.work) if tokens else source
    start = time.process_time()
    with patch.object(DreamerModel, "drawing_errors", errors_at_three_resolutions) if coarse else nullcontext():
        if (run / "checkpoints" / "last.pt").is_file():
            train(dataset, progress=False, use_mlflow=False, resume_from=run)
        else:
            train(dataset, cfg, run, progress=False, use_mlflow=False)
    return dataset, time.process_time() - start


def judged(name, run, a):
    """The row of a variant: what it changes, what it cost, and how good it is."""
    dataset, seconds = trained(name, run, a)
    last = history(run)[-1]
    return dict(
        change={k: asdict(v) if k == "tokens" else v for k, v in VARIANTS[name].items()},
        epochs=a.epochs,
        processor_seconds=round(seconds),
        **judge(run, dataset),
        **{k: last[k] for k in ("train_loss", "val_loss")},
    )


def said(row, r):
    """A row as a line of text."""
    ahead = f"; ahead {r['ahead_1']:.3f}, {r['ahead_5']:.3f}" if r["ahead_1"] else ""
    return (
        f"{row:<28} {r['parameters'] / 1e6:4.1f} M  {r['processor_seconds']:5d} s  MSE {r['mse_sampled']:.4f} at "
        f"{r['kl']:5.1f} nats/token, {r['mse_sampled'] / r['line']:.2f} of the line{ahead}"
    )


def main():
    """Train and judge the variants that the table lacks."""
    a = arguments()
    table = json.loads(a.table.read_text()) if a.table.is_file() else {}
    for name in chosen(a.only, a.fine):
        row = name if a.epochs == SHORT else f"{name}, {a.epochs} epochs"
        if row in table:
            print(f"{row}: kept from an earlier call")
            continue
        run = a.work / "".join(c if c.isalnum() else "-" for c in row)
        table[row] = judged(name, run, a)
        print(said(row, table[row]), flush=True)
        write_text(a.table, json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except SpectroError as e:
        sys.exit(f"search: {e}")
