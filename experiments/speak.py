"""Sentences told to a model, in voices that it has not heard: what listeners make of them (chapters 42 and 65).

    python experiments/speak.py --run runs/speaker --dataset speech.h5 --clips speech/clips --output speak.json \
        [--part judge] [--n 24] [--seeds 0 1 2] [--vocoder FILE] [--typed experiments/typed_sentences.txt]
    python experiments/speak.py --synthetic --run speak --output nbs/results/speak_bundled.json \
        --typed experiments/typed_sentences.txt --scoreboard nbs/results/scoreboard.json   # minutes of one core

The clips are of validation speakers. Half of these speakers are for choosing (`--part choose`), the other half for
judging. Each sentence is said with the recorded durations and with the model's own, at several temperatures, and once
with its phones in another order. Beside it stand the recording through the same vocoder (copy-synthesis), the model's
drawing of it, and a dream whose frames were shuffled. With `--typed`, sentences of a file are said in the same voices.

With `--synthetic` the voices are those of the bundled corpus, which is prepared if no data are named. PocketSphinx does
not understand them; it hears the copies and the typed sentences only, and a reader of phones (chapter 53b) judges all.
It is taught on the recordings of the training speakers, and hears log-mels of sounds, so that a copy is the same for
all. The clips are of unheard speakers, with sentences that no training speaker says; nothing was chosen on them, so
`--part` is of no matter.
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
from spectro_dreamer.data.dataset import SpectrogramData
from spectro_dreamer.data.front_ends import log_spectrogram
from spectro_dreamer.data.observations import tokens_to_frames
from spectro_dreamer.data.preprocessing import read_audio
from spectro_dreamer.data.pronunciation import sentence_phones, text_to_phones
from spectro_dreamer.data.samples import small_data
from spectro_dreamer.data.utterances import clip_plan, plan_actions
from spectro_dreamer.dream.dream_scores import compare_dynamics
from spectro_dreamer.dream.speaking import say_plan
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import open_split
from spectro_dreamer.judge.phone_reader import fit_phone_reader, score_phones
from spectro_dreamer.model.world_model import load
from spectro_dreamer.progress import show_progress
from spectro_dreamer.sound.listeners import Mark, hear_set
from spectro_dreamer.sound.neural_vocoder import sounding

JUDGES = ["signal", "overall", "voice", "word_errors", "phone_errors"]


class Way(NamedTuple):
    """Sets of log-mels that listeners hear, the sentence of each, and its phones with their frames."""
    specs:list
    sentences:list
    plans:list


class Material(NamedTuple):
    """What is said again, and who judges it."""
    data:SpectrogramData
    clips:list        # numbers
    recordings:list   # (S,) waves of these clips; unused with a reader
    reader:object     # of phones; None: only the listeners judge
    part:str          # which of the unheard speakers


def halves(data):
    """The validation clips of the speakers to choose on, and of those to judge on."""
    speakers = sorted({data.speakers[i] for i in data.val})
    chosen = set(speakers[::2])
    return dict(choose=[int(i) for i in data.val if data.speakers[i] in chosen],
                judge=[int(i) for i in data.val if data.speakers[i] not in chosen])


def unsaid(data):
    """The validation clips whose sentences no training speaker says."""
    known = {data.sentences[i] for i in data.train}
    return [int(i) for i in data.val if data.sentences[i] not in known]


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
    tokens = model.to_tokens(data.clip(i))
    actions = plan_actions(clip_plan(data, i), model.config.tokens, model.style_names).to(model.device)
    actions = model.with_voice(actions[None], model.voice_of(data.clip(i)))
    frames = tokens_to_frames(model.decode(model.follow(tokens[None], actions)), model.config.tokens.hop)
    return model.scale(data.clip(i)).undo(frames)[0]


def ways(model, data, clips, temperatures, seed):
    """Name → what listeners hear, for one seed of the dreams; all but the first temperature are for a first look."""
    plans, sentences = [clip_plan(data, i) for i in clips], [data.sentences[i] for i in clips]
    voices = [model.voice_of(data.clip(i)) for i in clips]
    def said(told, temperature, wanted=None):
        return Way([say_plan(model, p, v, 1000*seed + k, temperature)
                    for k, (p, v) in enumerate(zip(told, voices))], sentences, wanted or told)
    out = {f"told, temperature {t:g}": said(plans, t) for t in temperatures}
    own = [own_plan(model, p, 1000*seed + k) for k, p in enumerate(plans)]
    first = temperatures[0]
    out[f"told, own durations, temperature {first:g}"] = said(own, first)
    out["told its phones in another order"] = said([shuffled_plan(p, k) for k, p in enumerate(plans)], first, plans)
    return out


def once(model, data, clips, dreams):
    """What does not depend on a seed, and one set of dreams with its frames shuffled."""
    sentences, plans = [data.sentences[i] for i in clips], [clip_plan(data, i) for i in clips]
    mixed = [x[torch.randperm(len(x), generator=torch.Generator().manual_seed(k))] for k, x in enumerate(dreams.specs)]
    return {"recording": Way([data.clip(i) for i in clips], sentences, plans),
            "reconstruction": Way([drawn_again(model, data, i) for i in clips], sentences, plans),
            "frames of the dreams shuffled": Way(mixed, sentences, plans)}


def typed(model, data, clips, texts, temperature, seed):
    """Sentences of a list, in the voices of the clips, with durations of the model's own."""
    voices, specs, plans = [model.voice_of(data.clip(i)) for i in clips], [], []
    for k, text in enumerate(texts):
        dice = torch.Generator().manual_seed(1000*seed + k)
        plan = model.durations.plan(sentence_phones(text_to_phones(text)), model.front_end, generator=dice)
        specs.append(say_plan(model, plan, voices[k % len(voices)], 1000*seed + k, temperature))
        plans.append(plan)
    return {f"typed, temperature {temperature:g}": Way(specs, texts, plans)}


def phones_read(reader, waves, plans, front_end):
    """What the reader makes of sounds: frames that are right, and wrong phones per phone told."""
    found = score_phones([reader.read(log_spectrogram(w, front_end)) for w in waves], plans)
    return dict(phones_right=Mark(found.right, found.right_se, found.n),
                phones_wrong=Mark(found.wrong, found.wrong_se, found.n))


def marks_of(name, way, m, sound):
    """Marks of a set; the recordings beside it are of the same voices."""
    rate = m.data.front_end.sample_rate
    waves = [np.asarray(sound(x.cpu().numpy())) for x in show_progress(way.specs, "vocoder")]
    if m.reader is not None:
        words = name == "recording" or name.startswith("typed")  # slow, and no measure of these voices
        heard = hear_set(waves, rate, ["word_errors"], sentences=way.sentences) if words else {}
        return heard | phones_read(m.reader, waves, way.plans, m.data.front_end)
    others = [m.recordings[k % len(m.recordings)] for k in range(len(waves))]
    same = way.sentences == [m.data.sentences[i] for i in m.clips]  # else the recordings' phones are others
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


def bundled_scores(found, first, made_by):
    """The rows of the scoreboard for the bundled voices."""
    typed, words = f"typed, temperature {first:g}", found["marks"]["recording"]["word_errors"]["mean"]
    n = found["marks"][typed]["word_errors"]["n"]
    doubt = f"{made_by}; PocketSphinx gets {words:.0%} of the copies' own words wrong, so this says little"
    return {"typed_bundled_wer_over_copy": score(*found["over_copies"][typed], n=n, aim=0.20, made_by=doubt),
            "typed_bundled_phones_over_copy": score(*found["phones_over_copies"][typed], n=n, aim=0.20,
                                                    made_by=f"{made_by}; phones read by the judge of chapter 53b")}


def scores_of(found, first, synthetic):
    """The rows of the scoreboard that this run answers for."""
    about, more, marks = found["about"], found["over_copies"], found["marks"]
    made_by = (f"experiments/speak.py on {about['data']}, {about['run']}, unheard speakers ({about['speakers']}), part "
               f"{about['part']}, seeds {about['seeds']}, {machine()}")
    def row(way, aim): return score(*more[way], n=marks[way]["word_errors"]["n"], aim=aim, made_by=made_by)
    if synthetic: return bundled_scores(found, first, made_by)
    dreamed = marks[f"told, temperature {first:g}"]["signal"]
    return {"told_real_wer_over_copy": row(f"told, temperature {first:g}", 0.15),
            "told_real_wer_own_durations_over_copy": row(f"told, own durations, temperature {first:g}", 0.20),
            "dnsmos_imagined": score(dreamed["mean"], dreamed["se"], dreamed["n"], 2.2, made_by)}


def bundled_material(model, dataset):
    """Unheard speakers of the bundled corpus, and a reader taught on the others; one reader for one front end."""
    dataset = dataset or small_data(front_end=model.front_end)
    data, _ = open_split(model, dataset)
    t = model.config.train
    own = SpectrogramData(dataset, t.val_split, t.split_seed, model.config.tokens)  # in its own units, of any model
    clips = picked(data, unsaid(data), 1000, least=1.0)
    return Material(data, clips, [], fit_phone_reader(own), "sentences that nobody in training says")


def recordings_of(data, clips, folder):
    """The sounds of clips."""
    return [read_audio(Path(folder)/Path(data.paths[i]).name, data.front_end.sample_rate) for i in clips]


def material_of(model, a):
    """What the arguments ask for."""
    if a.synthetic: return bundled_material(model, a.dataset)
    if not (a.dataset and a.clips): raise SpectroError("name --dataset and --clips, or take --synthetic")
    data, _ = open_split(model, a.dataset)
    clips = picked(data, halves(data)[a.part], a.n)
    return Material(data, clips, recordings_of(data, clips, a.clips), None, a.part)


def hear_seeds(model, m, a, sound):
    """Name → marks of each seed, and name → what was heard of the first seed."""
    texts = [t for t in Path(a.typed).read_text().splitlines() if t.strip()] if a.typed else []
    sets, found = {}, {}
    for seed in a.seeds:
        new = ways(model, m.data, m.clips, a.temperatures if seed == a.seeds[0] else a.temperatures[:1], seed)
        if texts: new |= typed(model, m.data, m.clips, texts, a.temperatures[0], seed)
        if seed == a.seeds[0]: new |= once(model, m.data, m.clips, new[f"told, temperature {a.temperatures[0]:g}"])
        for name, way in new.items():
            marks = marks_of(name, way, m, sound)
            found.setdefault(name, []).append(marks)
            sets.setdefault(name, way)
            said = [f"{k} {x.mean:.3f} ± {x.se:.3f}" for k, x in marks.items() if x.mean is not None]
            print(f"seed {seed}  {name:<40}" + "  ".join(said), flush=True)
    return found, sets


def measure(a):
    """Everything."""
    torch.set_num_threads(1)
    if not a.temperatures: a.temperatures = [0.7] if a.synthetic else [0.7, 1.0, 0.0]
    start, model = time.process_time(), load(a.run)
    m = material_of(model, a)
    rate = m.data.front_end.frame_rate
    found, sets = hear_seeds(model, m, a, sounding(m.data.front_end, a.vocoder))
    marks = {name: pooled(rows) for name, rows in found.items()}
    moves = {name: {k: b._asdict() for k, b in compare_dynamics(way.specs, sets["recording"].specs, rate).items()}
             for name, way in sets.items()}
    beside = [name for name in marks if name != "recording"]
    more = {name: over(marks, name) for name in beside if "word_errors" in marks[name]}
    for name, (value, se) in more.items(): print(f"{name:<48}{value:+.3f} ± {se:.3f} word errors over copies")
    about = dict(part=m.part, n=len(m.clips), speakers=len({m.data.speakers[i] for i in m.clips}), vocoder=a.vocoder,
                 run=Path(a.run).name, seeds=a.seeds, data=Path(a.dataset).name if a.dataset else "the bundled corpus",
                 processor_seconds=round(time.process_time() - start))
    out = dict(about=about, marks=marks, dynamics=moves, over_copies=more)
    if a.synthetic: out["phones_over_copies"] = {name: over(marks, name, "phones_wrong") for name in beside}
    write_text(a.output, json.dumps(out, indent=1) + "\n")
    if a.scoreboard: write_scores(a.scoreboard, scores_of(out, a.temperatures[0], a.synthetic))


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", required=True)
    p.add_argument("--dataset", help="HDF5 file; not needed with --synthetic")
    p.add_argument("--clips", help="folder of the recordings; not needed with --synthetic")
    p.add_argument("--output", required=True)
    p.add_argument("--part", default="choose", choices=("choose", "judge"))
    p.add_argument("--n", type=int, default=24)
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--temperatures", type=float, nargs="+", help="0.7 1 0, with --synthetic 0.7")
    p.add_argument("--typed", help="a file with a sentence on each line")
    p.add_argument("--vocoder")
    p.add_argument("--scoreboard", help="JSON of the headline numbers, to which these are added")
    p.add_argument("--synthetic", action="store_true", help="the voices are those of the bundled corpus")
    try: measure(p.parse_args())
    except SpectroError as e: sys.exit(f"speak: {e}")
