"""Do words in noise come out better when a model has been taught to draw clean speech from noisy speech?

    python experiments/heard_noise.py --dataset speech.h5 --clips clean/clips [--work runs/noise] [--output words.json]

`mini` is trained on for some epochs with noise on what it hears (chapter 24b), none on what it is to draw. PocketSphinx
then writes down recordings of speakers whom neither has heard, in white noise and in babble: as they are, copied by the
vocoder, drawn again by `mini` and by the new model, and made softer where these draw less than was heard, by 20 dB or
by 10 at most (`masked`). A training that is there already is not repeated. What the first of these masks changes goes
to the scoreboard beside the output.

The committed numbers are those of the first `mini`, which had heard English alone, on speakers whom it had left out.
"""

import argparse, json, os, sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from scoreboard import machine, score, write_scores
from spectro_dreamer.config import SpectroError, preset
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import open_split
from spectro_dreamer.judge.words_in_noise import format_words, resyntheses, words_in_noise
from spectro_dreamer.learn.training import train
from spectro_dreamer.model.world_model import load
from spectro_dreamer.use.judge_sounds import babble_voices, clip_file, pick_clips, words_as_numbers

SNRS = (10, 5)          # dB
MASKS = (0.1, 0.3)      # least gains of the drawings as masks
TAUGHT = "taught"       # `mini`, taught in noise


def taught(a):
    """The run of `mini` with noise on its input."""
    run = a.work/"mini-noise"
    if not (run/"checkpoints"/"last.pt").is_file():
        cfg = preset("dreamer").override(heard_noise=a.share, epochs=a.epochs, lr=5e-4, reward_lr=5e-4,
                                         checkpoint_freq=100)
        train(a.dataset, cfg, run, init_from="mini", use_mlflow=False)
    return run


def board(found):
    """The rows of the scoreboard: what the mask of 20 dB changes in the share of wrong words; below 0 is better."""
    a, way = found["about"], f"{TAUGHT} as a mask, {MASKS[0]:g}"
    made = (f"experiments/heard_noise.py on {a['data']}, {a['n_clips']} clips of {a['n_speakers']} unheard speakers, "
            f"{a['epochs']} epochs, seed 0, {a['recogniser']}, {a['machine']}")
    return {f"noise.{kind}.{snr}dB": score(row[way]["change"], row[way]["change_se"], row[way]["n_words"], 0.0, made)
            for kind in ("white", "babble") for snr, row in found[kind].items()}


def measure(a):
    """Train, then listen."""
    torch.set_num_threads(1)
    models = {"mini": load("mini"), TAUGHT: load(taught(a))}
    data, clips = open_split(models["mini"], a.dataset)
    seconds = data.lengths/data.front_end.frame_rate
    some = pick_clips(data, [int(i) for i in clips if 2 <= seconds[i] <= 4.5 and data.sentences[i]], a.n)
    about = dict(n_clips=len(some), n_speakers=len({data.speakers[i] for i in some}), data=Path(a.dataset).name,
                 heard_noise=a.share, epochs=a.epochs, recogniser="PocketSphinx, quick", machine=machine())
    found = {}
    def keeping(conditions):
        for condition in conditions:
            yield condition
            write_text(a.output, json.dumps(dict(about=about, **words_as_numbers(found)), indent=1) + "\n")
    words_in_noise(resyntheses(models, MASKS), [clip_file(a.clips, data.paths[i]) for i in some],
                   [data.sentences[i] for i in some], data.front_end.sample_rate, babble_voices(data, a.clips),
                   snrs=SNRS, into=found, show=keeping)
    print(format_words(found))
    write_scores(a.output.with_name("scoreboard.json"), board(dict(about=about, **words_as_numbers(found))))


def main():
    """The command."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="HDF5 file of speech, prepared with --preset dreamer")
    p.add_argument("--clips", required=True, help="the folder of its recordings")
    p.add_argument("--work", type=Path, default=Path("runs/noise"), help="where the training goes")
    p.add_argument("--output", type=Path, default=Path("nbs/results/words_taught_in_noise.json"))
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--share", type=float, default=0.6, help="of the sequences that are heard in noise")
    p.add_argument("--n", type=int, default=22, help="clips to listen to")
    try: measure(p.parse_args())
    except SpectroError as e: sys.exit(f"heard_noise: {e}")


if __name__ == "__main__": main()
