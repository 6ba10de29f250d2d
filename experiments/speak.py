"""Sentences told to a model, in voices that it has not heard: what listeners make of them (chapters 42 and 65).

    python experiments/speak.py --run runs/speaker --dataset speech.h5 --clips speech/clips --output speak.json \
        [--part judge] [--n 24] [--seeds 0 1 2] [--vocoder FILE] [--typed experiments/typed_sentences.txt]

The clips are of validation speakers. Half of these speakers are for choosing (`--part choose`), the other half for
judging. Each sentence is said with the recorded durations and with the model's own, at several temperatures, and once
with its phones in another order. Beside it stand the recording through the same vocoder (copy-synthesis), the model's
drawing of it, and a dream whose frames were shuffled. With `--typed`, sentences of a file are said in the same voices.
"""

import argparse, json, os, sys, time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from scoreboard import machine, score, write_scores
from spectro_dreamer.config import SpectroError
from spectro_dreamer.data.observations import tokens_to_frames
from spectro_dreamer.data.preprocessing import read_audio
from spectro_dreamer.data.pronunciation import sentence_phones, text_to_phones
from spectro_dreamer.data.utterances import clip_plan
from spectro_dreamer.dream.dream_scores import compare_dynamics
from spectro_dreamer.dream.speaking import say_plan
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import clip_inputs, open_split
from spectro_dreamer.model.world_model import load
from spectro_dreamer.progress import show_progress
from spectro_dreamer.sound.listeners import hear_set
from spectro_dreamer.sound.neural_vocoder import sounding

JUDGES = ["signal", "overall", "voice", "word_errors", "phone_errors"]


class Way(NamedTuple):
    """Sets of log-mels that listeners hear, and the sentence of each."""
    specs:list
    sentences:list


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


def shuffled_plan(plan, seed):
    """The same durations and the same phones, but those in another order; silence stays where it is."""
    at = [k for k, (phone, _) in enumerate(plan) if phone != "SIL"]
    order = np.random.default_rng(seed).permutation(at)
    phones = [phone for phone, _ in plan]
    for k, j in zip(at, order): phones[k] = plan[j][0]
    return [(phone, n) for phone, (_, n) in zip(phones, plan)]


@torch.no_grad()
def drawn_again(model, data, i):
    """A clip as the model draws it, told what is said."""
    tokens, actions = clip_inputs(model, data, i, told=True)
    actions = model.with_voice(actions[None], model.voice_of(data.clip(i)))
    frames = tokens_to_frames(model.decode(model.follow(tokens[None], actions)), model.config.tokens.hop)
    return model.scale(data.clip(i)).undo(frames)[0]


def ways(model, data, clips, temperatures, seed):
    """Name → what listeners hear, for one seed of the dreams; all but the first temperature are for a first look."""
    plans, sentences = [clip_plan(data, i) for i in clips], [data.sentences[i] for i in clips]
    voices = [model.voice_of(data.clip(i)) for i in clips]
    def said(plans, temperature):
        return Way([say_plan(model, p, v, 1000*seed + k, temperature)
                    for k, (p, v) in enumerate(zip(plans, voices))], sentences)
    out = {f"told, temperature {t:g}": said(plans, t) for t in temperatures}
    own = [own_plan(model, p, 1000*seed + k) for k, p in enumerate(plans)]
    first = temperatures[0]
    out[f"told, own durations, temperature {first:g}"] = said(own, first)
    out["told its phones in another order"] = said([shuffled_plan(p, k) for k, p in enumerate(plans)], first)
    return out


def once(model, data, clips, dreams):
    """What does not depend on a seed, and one set of dreams with its frames shuffled."""
    sentences = [data.sentences[i] for i in clips]
    mixed = [x[torch.randperm(len(x), generator=torch.Generator().manual_seed(k))] for k, x in enumerate(dreams.specs)]
    return {"recording": Way([data.clip(i) for i in clips], sentences),
            "reconstruction": Way([drawn_again(model, data, i) for i in clips], sentences),
            "frames of the dreams shuffled": Way(mixed, sentences)}


def typed(model, data, clips, texts, temperature, seed):
    """Sentences of a list, in the voices of the clips, with durations of the model's own."""
    voices, specs = [model.voice_of(data.clip(i)) for i in clips], []
    for k, text in enumerate(texts):
        dice = torch.Generator().manual_seed(1000*seed + k)
        plan = model.durations.plan(sentence_phones(text_to_phones(text)), model.front_end, generator=dice)
        specs.append(say_plan(model, plan, voices[k % len(voices)], 1000*seed + k, temperature))
    return {f"typed, temperature {temperature:g}": Way(specs, texts)}


def marks_of(way, clips, data, sound, recordings):
    """Marks of a set; the recordings beside it are of the same voices."""
    rate = data.front_end.sample_rate
    waves = [np.asarray(sound(x.cpu().numpy())) for x in show_progress(way.specs, "vocoder")]
    others = [recordings[k % len(recordings)] for k in range(len(waves))]
    same = way.sentences == [data.sentences[i] for i in clips]  # else the recordings' phones are others
    judges = [j for j in JUDGES if same or j != "phone_errors"]
    return hear_set(waves, rate, judges, others=others, sentences=way.sentences)


def pooled(found):
    """Marks of several seeds: the mean, its standard error over sounds, and how far the seeds are apart."""
    out = {}
    for name in found[0]:
        means = [m[name].mean for m in found]
        if None in means: continue
        out[name] = dict(mean=float(np.mean(means)), se=found[0][name].se, n=found[0][name].n, by_seed=means)
    return out


def over(marks, name, measure="word_errors", beside="recording"):
    """How much more a set has of something than copies of the recordings, and the standard error of that."""
    a, b = marks[name][measure], marks[beside][measure]
    return a["mean"] - b["mean"], float(np.hypot(a["se"], b["se"]))


def scores_of(found, first, synthetic):
    """The rows of the scoreboard that this run answers for."""
    about, more, marks = found["about"], found["over_copies"], found["marks"]
    made_by = (f"experiments/speak.py on {about['data']}, unheard speakers ({about['speakers']}), part "
               f"{about['part']}, seeds {about['seeds']}, {machine()}")
    def row(way, aim): return score(*more[way], n=marks[way]["word_errors"]["n"], aim=aim, made_by=made_by)
    if synthetic: return {"typed_bundled_wer_over_copy": row(f"typed, temperature {first:g}", 0.20)}
    dreamed = marks[f"told, temperature {first:g}"]["signal"]
    return {"told_real_wer_over_copy": row(f"told, temperature {first:g}", 0.15),
            "told_real_wer_own_durations_over_copy": row(f"told, own durations, temperature {first:g}", 0.20),
            "dnsmos_imagined": score(dreamed["mean"], dreamed["se"], dreamed["n"], 2.2, made_by)}


def measure(a):
    """Everything."""
    torch.set_num_threads(1)
    model = load(a.run)
    data, _ = open_split(model, a.dataset)
    clips, rate = picked(data, halves(data)[a.part], a.n), data.front_end.sample_rate
    sound, start = sounding(data.front_end, a.vocoder), time.process_time()
    recordings = [read_audio(Path(a.clips)/Path(data.paths[i]).name, rate) for i in clips]
    texts = [t for t in Path(a.typed).read_text().splitlines() if t.strip()] if a.typed else []
    sets, found = {}, {}
    for seed in a.seeds:
        new = ways(model, data, clips, a.temperatures if seed == a.seeds[0] else a.temperatures[:1], seed)
        if texts: new |= typed(model, data, clips, texts, a.temperatures[0], seed)
        if seed == a.seeds[0]: new |= once(model, data, clips, new[f"told, temperature {a.temperatures[0]:g}"])
        for name, way in new.items():
            found.setdefault(name, []).append(marks_of(way, clips, data, sound, recordings))
            sets.setdefault(name, way)
            print(f"seed {seed}  {name:<40}" + "  ".join(f"{k} {m.mean:.3f} ± {m.se:.3f}" for k, m in
                                                        found[name][-1].items() if m.mean is not None), flush=True)
    marks = {name: pooled(rows) for name, rows in found.items()}
    moves = {name: {k: b._asdict() for k, b in compare_dynamics(way.specs, sets["recording"].specs,
                                                               data.front_end.frame_rate).items()}
             for name, way in sets.items()}
    more = {name: over(marks, name) for name in marks if name != "recording"}
    for name, (value, se) in more.items(): print(f"{name:<48}{value:+.3f} ± {se:.3f} word errors over copies")
    about = dict(part=a.part, n=len(clips), speakers=len({data.speakers[i] for i in clips}), vocoder=a.vocoder,
                 run=Path(a.run).name, seeds=a.seeds, data=Path(a.dataset).name,
                 processor_seconds=round(time.process_time() - start))
    out = dict(about=about, marks=marks, dynamics=moves, over_copies=more)
    write_text(a.output, json.dumps(out, indent=1) + "\n")
    if a.scoreboard: write_scores(a.scoreboard, scores_of(out, a.temperatures[0], a.synthetic))


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", required=True)
    p.add_argument("--dataset", required=True)
    p.add_argument("--clips", required=True)
    p.add_argument("--output", required=True)
    p.add_argument("--part", default="choose", choices=("choose", "judge"))
    p.add_argument("--n", type=int, default=24)
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--temperatures", type=float, nargs="+", default=[0.7, 1.0, 0.0])
    p.add_argument("--typed", help="a file with a sentence on each line")
    p.add_argument("--vocoder")
    p.add_argument("--scoreboard", help="JSON of the headline numbers, to which these are added")
    p.add_argument("--synthetic", action="store_true", help="the data are the bundled corpus")
    try: measure(p.parse_args())
    except SpectroError as e: sys.exit(f"speak: {e}")
