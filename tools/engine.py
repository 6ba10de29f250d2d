"""WaveGAN and a world model, taught the same recordings of engines and judged on others (chapter 14).

    python tools/engine.py train --engines engine --run runs/engine                          # the WaveGAN; interrupted, it goes on
    python tools/engine.py world --engines engine --world runs/engine_world                  # the world model
    python tools/engine.py judge --engines engine --run runs/engine --world runs/engine_world --output wavegan.json --figure wavegan.png

The folder holds `clips/`, `segments_2s.tsv` (path, start_s) and `labels.tsv` (path, class, credit). Windows are split by who recorded
them, as the credits say: nobody is heard on two sides.
"""

import argparse, csv, json, os, re, sys, tempfile, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from spectro_dreamer.config import SpectroError, preset, write_text
from spectro_dreamer.wavegan import read_windows, split_windows, train_wavegan, wavegan_config


def recordist(credit):
    """Who recorded a sound, of a credit like `Helicopter by somebody http://…` or `"Truck". Original "x.wav" by "somebody". Edited by …`."""
    found = re.search(r'Original .*? by "?([^"]+?)"?\. ', credit) or re.search(r"\bby (\S+) https?:", credit, re.I) or re.search(r"\bBy ([^.]+)\.", credit)
    if not found: raise SpectroError(f"nobody is named in the credit {credit!r}")
    return found[1]


def rows_of(path):
    """The rows of a table divided by tabs."""
    with open(path, newline="", encoding="utf-8") as f: return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


def windows_of(a, cfg):
    """The windows in their three parts; and the class of each file."""
    engines = Path(a.engines).resolve()
    labels = {r["path"]: r for r in rows_of(engines / "labels.tsv")}
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"{engines / r['path']}\t{r['start_s']}\t{recordist(labels[r['path']]['credit'])}\n" for r in rows_of(engines / "segments_2s.tsv")]
        table = Path(folder) / "windows.tsv"
        table.write_text("path\tstart_s\tgroup\n" + "".join(lines), encoding="utf-8")
        windows = read_windows(table, cfg)
    return split_windows(windows, cfg)


def config(a):
    """The run's settings: small enough for one core of a CPU."""
    return wavegan_config("production", model_dim=8, batch_size=8, learning_rate=4e-4, average=.995, epochs=a.epochs, checkpoint_epochs=25, lr_plateau=30, patience=0, val_split=.2, test_split=.25, seed=a.seed, device="cpu")


def train_part(a):
    """The WaveGAN: begun, gone on with, or left as it is."""
    cfg = config(a)
    going = (Path(a.run) / "checkpoints" / "last.pt").is_file()
    train_wavegan(windows_of(a, cfg), cfg, a.run, a.run if going else None, progress=False, use_mlflow=False)


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = p.add_subparsers(dest="part", required=True)
    train = which.add_parser("train")
    for q in (train,):
        q.add_argument("--engines", required=True, help="folder of the recordings")
        q.add_argument("--run", help="folder of the WaveGAN's run")
        q.add_argument("--seed", type=int, default=0)
        q.add_argument("--epochs", type=int, default=3000, help="(default: %(default)s)")
    a = p.parse_args()
    torch.set_num_threads(1)
    try: dict(train=train_part)[a.part](a)
    except SpectroError as e: sys.exit(f"engine: {e}")


if __name__ == "__main__": main()
