"""The two small models that the library ships of how speech sounds: `mini`, and `low` at about half its rate.

    python experiments/mini.py --speech clean --languages cv_multi --work runs/mini [--only mini|low]

SPEECH is a folder of `spectro_clean` with LibriSpeech and English Common Voice, LANGUAGES has a Common Voice of each
language in a folder of its own (clips/, validated.tsv), as for `experiments/across.py`, whose judging speakers are left
out here: a tenth of the others chooses the epoch. Recordings that are neither LibriSpeech nor engines make up half of
every epoch. Three of ten sequences are heard in a room that they were not recorded in, and a band that the training
speech leaves silent counts as half as wide as the median band (chapter 24c). What is there already is not made again;
an interrupted call goes on.
"""

import argparse, os, sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT/"experiments")]

import torch

from across import apart, prepared, rows_of
from spectro_dreamer.config import SpectroError, preset
from spectro_dreamer.data.joining import join
from spectro_dreamer.learn.training import train

ROOMS = dict(heard_rooms=0.3, band_floor=0.5, corpora="librispeech*=1 *=1")
RUNS = dict(  # name → what differs from the preset `dreamer`
    mini=dict(epochs=24, **ROOMS),
    low=dict(epochs=24, beta_kl=3.0, beta_forecast=0.0, h_state_size=192, z_state_size=48, embedding_size=192,
             hidden_size=192, style_parts="none", style_dropout=0.0, **ROOMS))


def learning(a):
    """One file of all speech whose speakers do not judge."""
    file = a.work/"learn.h5"
    if not file.is_file():
        join([prepared(a.work, f"{name}-learn", folder, apart(rows)[0])
              for name, (folder, rows) in rows_of(a.speech, a.languages).items()], file)
    return file


def main(a):
    torch.set_num_threads(1)
    a.work.mkdir(parents=True, exist_ok=True)
    data = learning(a)
    for name in a.only or RUNS:
        run = a.work/name
        if (run/"done").is_file(): continue
        begin = dict(resume_from=run) if (run/"checkpoints"/"last.pt").is_file() else dict(
            cfg=preset("dreamer").override(**RUNS[name]), run_dir=run)
        train(data, progress=False, use_mlflow=False, **begin)
        (run/"done").touch()


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--speech", type=Path, required=True, help="cleaned LibriSpeech and English Common Voice")
    p.add_argument("--languages", type=Path, required=True, help="a folder of Common Voice for each language")
    p.add_argument("--work", type=Path, default=Path("runs/mini"), help="where data and runs go")
    p.add_argument("--only", nargs="*", choices=RUNS, metavar="RUN", help=f"of {', '.join(RUNS)}")
    try: main(p.parse_args())
    except SpectroError as e: sys.exit(f"mini: {e}")
