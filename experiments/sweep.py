"""Rate and distortion: train a model at several weights of the KL, each begun with the weights of the one before.

    python experiments/sweep.py --dataset speech.h5 --betas 2 4 6 10 36 80 --work runs/sweep

The first is the `dreamer` preset without its forecast term and fresh starts, which serve prediction; or, with --init-
from, a model of yours. Each is kept in WORK/beta_<β>, with the settings of the one before but for β and the epochs. An
interrupted sweep goes on. What comes out is judged by `spectro_judge --parts rates`, beside the Gaussian line of
the same clips.
"""

import argparse, os, sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from spectro_dreamer.config import SpectroError, preset
from spectro_dreamer.learn.tracking import history
from spectro_dreamer.learn.training import train
from spectro_dreamer.model.world_model import load


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="HDF5 file from spectro_prepare")
    p.add_argument(
        "--init-from", type=Path, help="a run whose model the first one begins with (default: random weights)"
    )
    p.add_argument("--betas", type=float, nargs="+", required=True, help="weights of the KL, nearest first")
    p.add_argument(
        "--epochs", type=int, default=5, help="for each that begins with trained weights (default: %(default)s)"
    )
    p.add_argument(
        "--first-epochs", type=int, default=20, help="for one that begins with random weights (default: %(default)s)"
    )
    p.add_argument("--work", type=Path, default=Path("runs/sweep"), help="where the runs go (default: %(default)s)")
    a = p.parse_args()
    source = a.init_from
    for beta in a.betas:
        run = a.work / f"beta_{beta:g}"
        if (run / "checkpoints" / "last.pt").is_file():
            begin = dict(resume_from=run)
        else:
            base = (
                load(source).config.override(epochs=a.epochs)
                if source
                else preset("dreamer").override(epochs=a.first_epochs, beta_forecast=0.0, fresh_starts=0.0)
            )
            cfg = base.override(beta_kl=beta, checkpoint_freq=10_000)
            begin = dict(cfg=cfg, run_dir=run, init_from=source)
        train(a.dataset, progress=False, use_mlflow=False, **begin)
        last = history(run)[-1]
        print(
            f"β {beta:g}: epoch {last['epoch']}, validation MSE {last['val_recon_loss']:.4f} at "
            f"{last['val_kl_loss']:.1f} nats/token, {last['seconds']:.0f} s an epoch",
            flush=True,
        )
        source = run


if __name__ == "__main__":
    try:
        main()
    except SpectroError as e:
        sys.exit(f"sweep: {e}")
