"""Sentences told to a model, in voices that it has not heard: what listeners make of them (chapters 42 and 65).

    python experiments/speak.py --run runs/speaker --dataset speech.h5 --clips speech/clips --output speak.json \
        [--part judge] [--n 60] [--vocoder FILE]

The clips are of validation speakers. Half of these speakers are for choosing (`--part choose`), the other half for
judging. Each sentence is said with the recorded durations and with the model's own, at several temperatures, and once
with the phones of another sentence. Beside it stand the recording through the same vocoder (copy-synthesis) and the
model's drawing of it.
"""

import argparse, json, os, sys, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from spectro_dreamer.config import SpectroError
from spectro_dreamer.data.preprocessing import read_audio
from spectro_dreamer.data.utterances import clip_plan
from spectro_dreamer.dream.dream_scores import compare_dynamics
from spectro_dreamer.dream.speaking import say_plan
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import clip_inputs, open_split
from spectro_dreamer.data.observations import tokens_to_frames
from spectro_dreamer.model.world_model import load
from spectro_dreamer.progress import show_progress
from spectro_dreamer.sound.listeners import hear_set
from spectro_dreamer.sound.neural_vocoder import sounding

JUDGES = ["signal", "overall", "voice", "word_errors", "phone_errors"]


def halves(data):
    """The validation clips of the speakers to choose on, and of those to judge on."""
    speakers = sorted({data.speakers[i] for i in data.val})
    chosen = set(speakers[::2])
    return dict(choose=[int(i) for i in data.val if data.speakers[i] in chosen],
                judge=[int(i) for i in data.val if data.speakers[i] not in chosen])


def picked(data, clips, n, least=3.0, most=13.0):
    """So many of the clips, evenly spread, that are neither short nor long and whose phones are known."""
    rate = data.front_end.frame_rate
    fit = [i for i in clips if least <= data.lengths[i]/rate <= most and data.sentences[i]
           and all(phone for phone, _ in clip_plan(data, i))]
    if not fit: raise SpectroError("no clip of the validation speakers can be told")
    return fit[::max(1, len(fit)//n)][:n]


def own_plan(model, plan, seed):
    """The same phones with durations of the model's own."""
    phones = [phone for phone, _ in plan]
    return model.durations.plan(phones, model.front_end, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def drawn_again(model, data, i):
    """A clip as the model draws it, told what is said."""
    tokens, actions = clip_inputs(model, data, i, told=True)
    actions = model.with_voice(actions[None], model.voice_of(data.clip(i)))
    frames = tokens_to_frames(model.decode(model.follow(tokens[None], actions)), model.config.tokens.hop)
    return model.scale(data.clip(i)).undo(frames)[0]


def ways(model, data, clips, temperatures):
    """Name → a log-mel of each clip."""
    plans = [clip_plan(data, i) for i in clips]
    voices = [model.voice_of(data.clip(i)) for i in clips]
    out = {"recording": [data.clip(i) for i in clips],
           "reconstruction": [drawn_again(model, data, i) for i in clips]}
    def said(plans, temperature):
        return [say_plan(model, p, v, k, temperature) for k, (p, v) in enumerate(zip(plans, voices))]
    for t in temperatures: out[f"told, temperature {t:g}"] = said(plans, t)
    own = [own_plan(model, p, k) for k, p in enumerate(plans)]
    out[f"told, own durations, temperature {temperatures[0]:g}"] = said(own, temperatures[0])
    out["told another sentence"] = said(plans[1:] + plans[:1], temperatures[0])
    return out


def measure(a):
    """Everything."""
    torch.set_num_threads(1)
    model = load(a.run)
    data, _ = open_split(model, a.dataset)
    clips, rate = picked(data, halves(data)[a.part], a.n), data.front_end.sample_rate
    sound, start = sounding(data.front_end, a.vocoder), time.process_time()
    voices = [read_audio(Path(a.clips)/Path(data.paths[i]).name, rate) for i in clips]
    specs, marks = ways(model, data, clips, a.temperatures), {}
    for name, drawn in specs.items():
        waves = [np.asarray(sound(x.cpu().numpy())) for x in show_progress(drawn, name)]
        heard = hear_set(waves, rate, JUDGES, others=voices, sentences=[data.sentences[i] for i in clips])
        marks[name] = {k: m._asdict() for k, m in heard.items()}
        print(f"{name:<40}" + "  ".join(f"{k} {m.mean:.3f} ± {m.se:.3f}" for k, m in heard.items()), flush=True)
    per_second, moves = data.front_end.frame_rate, {}
    for name, drawn in specs.items():
        moves[name] = {k: b._asdict() for k, b in compare_dynamics(drawn, specs["recording"], per_second).items()}
    about = dict(part=a.part, n=len(clips), speakers=len({data.speakers[i] for i in clips}), vocoder=a.vocoder,
                 run=Path(a.run).name, processor_seconds=round(time.process_time() - start))
    write_text(a.output, json.dumps(dict(about=about, marks=marks, dynamics=moves), indent=1) + "\n")


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", required=True)
    p.add_argument("--dataset", required=True)
    p.add_argument("--clips", required=True)
    p.add_argument("--output", required=True)
    p.add_argument("--part", default="choose", choices=("choose", "judge"))
    p.add_argument("--n", type=int, default=24)
    p.add_argument("--temperatures", type=float, nargs="+", default=[0.7, 1.0, 0.0])
    p.add_argument("--vocoder")
    try: measure(p.parse_args())
    except SpectroError as e: sys.exit(f"speak: {e}")
