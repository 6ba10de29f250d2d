"""Does a vocoder that has learned from what a model draws make its dreams sound better?

    spectro_vocoder train --dataset speech.h5 --clips clips --init mini --world speak --minutes 15 --lr 2e-4 \
        --output tuned.safetensors
    python experiments/tuned_vocoder.py --tuned tuned.safetensors --dataset speech.h5 --clips clips [--output out.json]

The shipped vocoder and the tuned one make the same log-mels audible: recordings of speakers whom `speak` has not heard,
what `speak` and `mini` draw of them, and what `speak` dreams when it is told their phones. Judges: DNSMOS's signal mark
of everything, and PESQ beside the recording of all but the dreams.
"""

import argparse, json, os, sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from scoreboard import machine
from speak import drawn_again, halves, picked, recordings_of
from spectro_dreamer.config import SpectroError
from spectro_dreamer.data.utterances import clip_plan
from spectro_dreamer.dream.speaking import say_plan
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import open_split
from spectro_dreamer.model.world_model import load
from spectro_dreamer.sound.listeners import hear_set
from spectro_dreamer.sound.metrics import calculate_pesq
from spectro_dreamer.sound.neural_vocoder import sounding

TEMPERATURE = 0.7


def drawings(speak, mini, data, clips):
    """Name → log-mels (N, M) of each clip."""
    plans = [clip_plan(data, i) for i in clips]
    voices = [speak.voice_of(data.clip(i)) for i in clips]
    told = [say_plan(speak, p, v, k, TEMPERATURE) for k, (p, v) in enumerate(zip(plans, voices))]
    return {"recordings": [data.clip(i) for i in clips],
            "drawn again by speak": [drawn_again(speak, data, i) for i in clips],
            "drawn again by mini": [mini.reconstruct(data.clip(i)) for i in clips],
            "dreamed by speak, told": told}


def mean(values):
    """Mean and standard error of some numbers."""
    return dict(mean=float(np.mean(values)), se=float(np.std(values, ddof=1)/len(values)**.5), n=len(values))


def marks(specs, recordings, sound, rate, beside):
    """DNSMOS of a set, and PESQ beside the recordings if they say the same."""
    waves = [np.asarray(sound(np.asarray(x.detach()))) for x in specs]
    out = dict(signal=hear_set(waves, rate, ["signal"])["signal"]._asdict())
    if beside:
        lengths = [min(len(r), len(w)) for r, w in zip(recordings, waves)]
        out["pesq"] = mean([calculate_pesq(r[:n], w[:n], rate) for r, w, n in zip(recordings, waves, lengths)])
    return out


@torch.no_grad()
def measure(a):
    """Everything."""
    torch.set_num_threads(1)
    speak, mini = load("speak"), load("mini")
    data, _ = open_split(speak, a.dataset)
    clips = picked(data, halves(data)["judge"], a.n, most=8.)
    rate, recordings = data.front_end.sample_rate, recordings_of(data, clips, a.clips)
    specs, found = drawings(speak, mini, data, clips), {}
    for name, path in {"shipped": "mini", "tuned": a.tuned}.items():
        sound = sounding(data.front_end, path)
        found[name] = {of: marks(x, recordings, sound, rate, "dreamed" not in of) for of, x in specs.items()}
        for of, m in found[name].items():
            print(f"{name:<9}{of:<26}" + "  ".join(f"{k} {v['mean']:.2f} ± {v['se']:.2f}" for k, v in m.items()),
                  flush=True)
    about = dict(n=len(clips), speakers=len({data.speakers[i] for i in clips}), data=Path(a.dataset).name, part="judge",
                 temperature=TEMPERATURE, tuned=a.how, machine=machine())
    write_text(a.output, json.dumps(dict(about=about, marks=found), indent=1) + "\n")


def main():
    """The command."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--tuned", required=True, help="the vocoder to try")
    p.add_argument("--dataset", required=True)
    p.add_argument("--clips", required=True)
    p.add_argument("--how", default="15 minutes on what speak draws of recordings", help="how it was tuned, in words")
    p.add_argument("--output", type=Path, default=Path("nbs/results/tuned_vocoder.json"))
    p.add_argument("--n", type=int, default=16)
    try: measure(p.parse_args())
    except SpectroError as e: sys.exit(f"tuned_vocoder: {e}")


if __name__ == "__main__": main()
