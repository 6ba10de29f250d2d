"""Spoken digits, dreamed on command and from nothing, and judged by classifiers of other recordings (chapter 64).

    python experiments/digits.py search --digits digits --work runs/digits [--only SETTING …]
    python experiments/digits.py judge --digits digits --work runs/digits --seeds 0 1 2

`digits` is a folder with labels.tsv (path, digit, speaker, index, duration) and recordings. One speaker is held out. Of
the others every recording's number says what it is for: 28 of 50 to teach the model, 2 to validate it, 20 to teach
the judge. Settings are chosen (`search`) with a judge that was taught on the model's own recordings, so that the
recordings of the last judge and the speaker held out decide nothing. Rows go into nbs/results/digits.json, the
scores also into nbs/results/scoreboard.json. What is there already is not computed again.
"""

import argparse, json, os, shutil, sys, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT/"experiments")]

import numpy as np
import torch

from scoreboard import machine, rounded, score, write_scores
from spectro_dreamer.config import FrontEnd, SpectroError, TokenSpec, preset
from spectro_dreamer.data.tables import read_rows
from spectro_dreamer.data.corpus import split_speakers
from spectro_dreamer.data.dataset import SpectrogramData
from spectro_dreamer.data.observations import tokens_to_frames
from spectro_dreamer.data.preparation import prepare
from spectro_dreamer.data.told import told_of
from spectro_dreamer.data.utterances import label_actions
from spectro_dreamer.dream.dream_scores import class_diversity, classification_accuracy, nearest_training, real_or_dream
from spectro_dreamer.dream.free_dreams import class_voices, fit_classifier, inception_score, shuffled, told_dreams
from spectro_dreamer.files import write_text
from spectro_dreamer.learn.tracking import history
from spectro_dreamer.learn.training import train
from spectro_dreamer.model.world_model import load
from spectro_dreamer.sound.sound_sets import frechet

RESULTS = ROOT/"nbs"/"results"
HELD = "theo"
LABELS = ("digit", "speaker", "length")
LENGTHS = (0.24, 0.30, 0.36, 0.42, 0.48, 0.56, 0.66)  # seconds: where a clip's label of length changes
FRONT_END = FrontEnd(sample_rate=8000, n_fft=384, hop_length=96, n_mels=64, fmax=4000.0)  # the recordings have 8 kHz
TOKENS = TokenSpec(frames=8, hop=4, min_tokens=1)

# what all settings share, over the preset `speaker`: told a digit and a voice instead of phones; small, for minutes
SHARED = dict(told="labels", told_dropout=0.1, h_state_size=256, embedding_size=256, hidden_size=256, z_state_size=16,
              detail_size=32, detail_memory=0, detail_forget=0.5, voice_size=0, beta_kl=30.0, beta_detail=3.0,
              beta_forecast=0.0, fresh_starts=0.0, batch_size=16, sequence_length=20, warmup_steps=50, ema=0.995,
              epochs=25, checkpoint_freq=999)
SMALLER = dict(h_state_size=160, hidden_size=160, embedding_size=160, batch_size=8, epochs=34, voice_size=16,
               beta_voice=2.0, beta_kl=60.0, beta_detail=2.0)
SEARCH = {  # name → how many of LABELS are told, changes
    "digit and voice": (2, {}),
    "and a voice latent": (2, dict(voice_size=16, beta_voice=2.0, beta_kl=60.0)),
    "and the length": (3, dict(beta_kl=60.0, beta_detail=1.5)),
    "length and voice latent": (3, SMALLER),
    "length and voice latent, 70 epochs": (3, SMALLER | dict(epochs=70)),
    "length and voice latent, 140 epochs": (3, SMALLER | dict(epochs=140)),
    "length, voice, details remembered": (3, SMALLER | dict(detail_memory=64)),
}
# the spread of the voices, the temperatures of states and details
TEMPERATURES = ((1, 1, 1), (1, 1, 0.5), (1.3, 0.8, 0.5), (0, 0, 0))
FINAL = "length and voice latent, 70 epochs"
COMMANDED, FREE, STUDENT = (1.3, 0.8, 0.5), (1, 0.8, 0.5), (1, 1, 1)  # of what is asked for


# ---- recordings

def part_of(row):
    """What a recording is for."""
    number = int(row["index"])
    if row["speaker"] == HELD: return "held out"
    if number % 5 in (1, 3): return "judge"
    return "check" if number % 25 == 0 else "learn"


def length_of(row):
    """A recording's length as a label: one of eight classes."""
    return str(sum(float(row["duration"]) >= edge for edge in LENGTHS))


def prepared(a, name, rows, client, labels=()):
    """A prepared file of some rows of the table; `client` says whose voice a recording is for the split."""
    file, table = a.work/f"{name}.h5", a.work/f"{name}.tsv"
    if not file.is_file():
        a.work.mkdir(parents=True, exist_ok=True)
        lines = [("client_id", "path", *LABELS), *((client(r), r["path"], *(r[k] for k in LABELS)) for r in rows)]
        write_text(table, "".join("\t".join(x) + "\n" for x in lines))
        prepare(a.digits, file, table, FRONT_END, TOKENS, progress=False, label_columns=labels)
    return file


def split_seed(file):
    """The seed with which half of the two "speakers" held out are the recordings to check with."""
    names = SpectrogramData(file, 0.0).speakers
    for seed in range(100):
        if {n for n, held in zip(names, split_speakers(names, 0.5, seed)) if held} == {"check"}: return seed
    raise SpectroError(f"no split of {file} holds out the recordings to check with")


class Clips:
    """Recordings of one part: log-mels in nats, digits, voices."""

    def __init__(self, data, rows, part, skip=0):
        usable = [i for i in range(len(data)) if data.lengths[i] >= TOKENS.frames]
        of = {i: rows[Path(data.paths[i]).name] for i in usable}
        self.at = [i for i in usable if part_of(of[i]) == part]
        self.specs = [data.clip(i) for i in self.at]
        self.digits = np.array([int(of[i]["digit"]) for i in self.at])
        self.voices = [of[i]["speaker"] for i in self.at]
        self.lengths = [len(x) for x in self.specs]
        self.classes = list(zip(self.digits.tolist(), self.voices))
        self.said = [{k: str(of[i][k]) for k in LABELS} for i in self.at]


def open_parts(a):
    """The files to train on by number of labels, and the clips of each part."""
    rows = list(read_rows(a.digits/"labels.tsv", ("path", "index", "duration", *LABELS[:2])))
    for r in rows: r["length"] = length_of(r)
    taught = [r for r in rows if part_of(r) in ("learn", "check")]
    learn = {n: prepared(a, f"learn{n}", taught, part_of, LABELS[:n]) for n in (2, 3)}
    data = SpectrogramData(prepared(a, "all", rows, lambda r: r["speaker"]), 0.0)
    named = {Path(r["path"]).name: r for r in rows}
    return learn, {p: Clips(data, named, p) for p in ("learn", "check", "judge", "held out")}


# ---- listening

class Jury:
    """Several classifiers: the mean of what they believe, and all of their features."""

    def __init__(self, clips, epochs, members):
        self.members = [fit_classifier(clips.specs, clips.digits, epochs=epochs, seed=s) for s in range(members)]

    def hear(self, specs):
        """Probabilities (n, C) and features (n, D)."""
        heard = [m.hear(specs) for m in self.members]
        return torch.stack([p for p, _ in heard]).mean(0), torch.cat([f for _, f in heard], 1)

    def right(self, specs, digits):
        """The share of clips whose digit is heard."""
        return float((self.hear(specs)[0].argmax(1).numpy() == digits).mean())


def marks(jury, specs, digits, reference=None):
    """What the jury makes of clips: the digit heard, sure of any, inception; with reference features their distance."""
    p, features = jury.hear(specs)
    out = dict(n=len(specs), heard=float((p.argmax(1).numpy() == digits).mean()),
               sure=(p.amax(1) > 0.9).float().mean().item(), inception=inception_score(p))
    return out if reference is None else out | dict(frechet=frechet(features, reference))


# ---- models

def trained(a, learn, setting, seed=0):
    """The model of a setting, trained now or in an earlier call, and what it cost."""
    folder = a.work/"runs"/f"{setting.replace(' ', '_')}-{seed}"
    if not (folder/"done.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        start, (n_labels, changes) = time.process_time(), SEARCH[setting]
        cfg = preset("speaker").override(**(SHARED | changes), val_split=0.5, split_seed=split_seed(learn[n_labels]),
                                         seed=seed)
        train(learn[n_labels], cfg, folder, progress=False, use_mlflow=False)
        write_text(folder/"done.json", json.dumps(dict(processor_seconds=round(time.process_time() - start))))
    return load(folder), json.loads((folder/"done.json").read_text())


@torch.no_grad()
def heard_again(model, spec, said):
    """A recording drawn again by a model that is told labels, and the nats of state and detail in all its tokens."""
    tokens, told = model.to_tokens(spec)[None], label_actions(model.style_names, known_to(model, [said])[0])
    action = torch.cat([torch.zeros(model.config.model.action_size - len(told)), told])
    path = model.follow(tokens, model.with_voice(action.expand(1, tokens.shape[1], -1), model.voice_of(spec)))
    drawn = model.scale(spec).undo(tokens_to_frames(model.decode(path)[0], model.config.tokens.hop))
    detail = 0.0 if path.detail_nats is None else path.detail_nats.sum().item()
    return drawn, np.array([path.posterior.kl(path.prior).sum().item(), detail, tokens.shape[1]])


def rates(model, clips):
    """Nats a token of the state and of the detail."""
    state, detail, tokens = sum(heard_again(model, x, s)[1] for x, s in zip(clips.specs, clips.said))
    return dict(state_nats=state/tokens, detail_nats=detail/tokens)


def drawn_at_random(clips, seed):
    """Which clip each dream from nothing takes its labels and its length from: the data's frequencies."""
    return np.random.default_rng(seed).integers(len(clips.at), size=len(clips.at))


def known_to(model, said):
    """The labels that a model was taught."""
    known = told_of(model.style_names).labels
    return [{k: v for k, v in labels.items() if k in known} for labels in said]


def drawn_voices(model, clips, said, spread, seed):
    """Voices for dreams, as recordings with the same labels have them; None leaves them to the prior.

    If no recording has the length that is told, it is those of the nearest length.
    """
    if model.voice is None or not said[0]: return None
    def of(labels): return tuple(labels[k] for k in LABELS)
    def apart(a, b): return 99*(a[:2] != b[:2]) + abs(int(a[2]) - int(b[2]))
    classes = [of(s) for s in clips.said]
    known = sorted(set(classes))
    wanted = [min(known, key=lambda c: apart(c, of(s))) for s in said]
    return class_voices(model, clips.specs, classes, wanted, spread=spread, seed=seed + 1000)  # not the dreams' noise


def commanded(model, clips, temperatures, seed=0, said=None, lengths=None):
    """A dream for each clip, of its length, told its labels or others; the spread of the voices and temperatures."""
    said = clips.said if said is None else said
    spread, of_state, of_detail = temperatures
    voices = drawn_voices(model, clips, said, spread, seed)
    lengths = clips.lengths if lengths is None else lengths
    return told_dreams(model, known_to(model, said), lengths, of_state, of_detail, seed, voices)


def diversity(dreams, clips, most=150):
    """Of dreams of one digit and voice, as a share of the recordings'."""
    return class_diversity(dreams, clips.classes, clips.specs, clips.classes, most)


# ---- the search

def search(a):
    """Train each setting once, judge it with the choosing jury, and put rows into the results."""
    learn, parts = open_parts(a)
    clips, rows = parts["learn"], results(a).get("search", {})
    jury = Jury(clips, 20, 2)
    check = parts["check"]
    about = dict(judge=f"taught on the model's own recordings; right about {jury.right(check.specs, check.digits):.3f} "
                       f"of {len(check.at)} others", n=len(clips.at))
    for setting in a.only or SEARCH:
        if setting in rows and not a.again: continue
        model, cost = trained(a, learn, setting)
        n_labels, changes = SEARCH[setting]
        row = dict(labels=LABELS[:n_labels], changes=changes, epochs=model.config.train.epochs, **cost)
        row |= rates(model, parts["check"])
        row |= dict(mse=history(a.work/"runs"/f"{setting.replace(' ', '_')}-0")[-1]["val_recon_loss"])
        for t in TEMPERATURES:
            dreams = commanded(model, clips, t)
            heard = marks(jury, dreams, clips.digits) | dict(diversity=diversity(dreams, clips).share)
            row["told " + "/".join(f"{x:g}" for x in t)] = heard
        dreams = commanded(model, clips, TEMPERATURES[0], said=[{}]*len(clips.at))
        row["hidden"] = marks(jury, dreams, clips.digits)
        rows[setting] = tidy(row)
        print(setting, json.dumps(rows[setting]), flush=True)
        write(a, search=rows, searched=about)


# ---- the judgement

DRAWN = "dreams from nothing, label drawn"

def wrong(clips):
    """Labels of which the digit is another than a clip's, each of nine as often, and those digits."""
    others = (clips.digits + 1 + np.arange(len(clips.digits)) % 9) % 10
    return [s | dict(digit=str(d)) for s, d in zip(clips.said, others)], others


def sets_of(model, clips, unheard, seed):
    """Name → clips to judge and the digit that each should be."""
    digits, some = clips.digits, drawn_at_random(clips, seed)
    said, others = wrong(clips)
    again = [heard_again(model, x, s)[0] for x, s in zip(clips.specs, clips.said)]
    untold = [heard_again(model, x, {})[0] for x in clips.specs]
    told_wrong = [heard_again(model, x, s)[0] for x, s in zip(clips.specs, said)]
    drawn = commanded(model, clips, FREE, seed, [clips.said[i] for i in some], [clips.lengths[i] for i in some])
    return {"recordings": (clips.specs, digits),
            f"recordings of {HELD}": (unheard.specs, unheard.digits),
            "reconstructions": (again, digits),
            "reconstructions, label hidden": (untold, digits),
            "reconstructions told another digit: the clip's own": (told_wrong, digits),
            "reconstructions told another digit: the told one": (told_wrong, others),
            "shuffled frames": (shuffled(clips.specs), digits),
            "dreams told a digit": (commanded(model, clips, COMMANDED, seed), digits),
            "dreams told a digit, temperature 1": (commanded(model, clips, (1, 1, 1), seed), digits),
            "dreams told a digit, temperature 0": (commanded(model, clips, (0, 0, 0), seed), digits),
            "dreams told another digit: the clip's own": (commanded(model, clips, COMMANDED, seed, said), digits),
            "dreams told another digit: the told one": (commanded(model, clips, COMMANDED, seed, said), others),
            DRAWN: (drawn, digits[some]),
            "dreams from nothing, label hidden": (commanded(model, clips, FREE, seed, [{}]*len(clips.at)), digits)}


def judge_seed(a, learn, parts, jury, seed):
    """Everything that is asked of one model."""
    clips, unheard = parts["learn"], parts["held out"]
    model, cost = trained(a, learn, FINAL, seed)
    sets, reference = sets_of(model, clips, unheard, seed), jury.hear(parts["judge"].specs)[1]
    out = {name: marks(jury, specs, digits, reference) for name, (specs, digits) in sets.items()}
    for name in ("reconstructions", *(n for n in sets if n.startswith("dreams told a digit"))):
        d = diversity(sets[name][0], clips)
        out[name] |= dict(diversity=d.share, diversity_se=d.se)
    some = drawn_at_random(clips, seed)
    d = class_diversity(sets[DRAWN][0], [clips.classes[i] for i in some], clips.specs, clips.classes, 150)
    out[DRAWN] |= dict(diversity=d.share, diversity_se=d.se)
    dreams = sets["dreams told a digit"][0]
    near = nearest_training(dreams, parts["judge"].specs, clips.specs, frames=24)
    apart = real_or_dream(clips.specs[::3], dreams[::3], frames=16, starts=[0, 16])
    taught = commanded(model, clips, STUDENT, seed + 100)
    cas = classification_accuracy(taught, clips.digits, clips.specs, clips.digits, unheard.specs, unheard.digits,
                                  seeds=(seed,))
    return dict(**cost, **rates(model, parts["check"]), sets=out, nearest=near._asdict(), cas=cas._asdict(),
                told_apart=[x._asdict() for x in apart])


def judge(a):
    """Judge the chosen setting for each seed with a jury of its own, then fill the scoreboard."""
    learn, parts = open_parts(a)
    rows = results(a).get("seeds", {})
    missing = [seed for seed in a.seeds if a.again or str(seed) not in rows]
    jury = Jury(parts["judge"], 40, 2) if missing else None
    for seed in missing:
        rows[str(seed)] = tidy(judge_seed(a, learn, parts, jury, seed))
        print(seed, json.dumps(rows[str(seed)]), flush=True)
        about = dict(setting=FINAL, held_out=HELD, commanded=COMMANDED, free=FREE, student=STUDENT, machine=machine(),
                     clips={name: len(x.at) for name, x in parts.items()})
        write(a, seeds=rows, about=about)
    write(a, scores=fill_scoreboard(a, rows, parts))


def over_seeds(rows, of, n):
    """Mean of a share over seeds, and its standard error: of the seeds, but not less than that of n clips."""
    found = np.array([of(r) for r in rows.values()])
    seeds = found.std(ddof=1)/len(found)**0.5 if len(found) > 1 else 0.0
    p = min(1.0, max(0.0, found.mean()))
    return found.mean(), max(seeds, (p*(1 - p)/n)**0.5)


def fill_scoreboard(a, rows, parts):
    """The keys of this experiment."""
    n = len(parts["learn"].at)
    def of(name, key): return lambda r: r["sets"][name][key]
    def error(values): return float(np.std(values, ddof=1)/len(values)**0.5) if len(values) > 1 else None
    said, free = "dreams told a digit", DRAWN
    made = (f"experiments/digits.py, setting {FINAL!r}; spoken digits, {n} clips of three voices to learn from; judge "
            f"taught on {len(parts['judge'].at)} others; seeds {', '.join(rows)}; {machine()}")
    heard, sure = (over_seeds(rows, of(*x), n*len(rows)) for x in ((said, "heard"), (free, "sure")))
    spread, inception = ([of(*x)(r) for r in rows.values()] for x in ((said, "diversity"), (free, "inception")))
    cas = [r["cas"]["share"] for r in rows.values()]
    cas_error = max([error(cas) or 0, float(np.mean([r["cas"]["se"] for r in rows.values()]))/len(cas)**0.5])
    drawn = "labels and length drawn by the data's frequencies, then told"
    board = dict(
        digits_commanded_heard=score(*heard, n*len(rows), 0.95, f"{made}; spread, temperatures {COMMANDED}"),
        digits_commanded_diversity=score(np.mean(spread), error(spread), n*len(rows), 0.6, f"{made}; the same dreams"),
        digits_free_sure=score(*sure, n*len(rows), 0.45, f"{made}; spread, temperatures {FREE}; {drawn}"),
        digits_free_inception=score(np.mean(inception), error(inception), n*len(rows), 5.0, f"{made}; {drawn}"),
        cas=score(np.mean(cas), cas_error, len(parts["held out"].at)*len(rows), 0.8,
                  f"{made}; tested on {len(parts['held out'].at)} recordings of {HELD}, whom nobody has heard"))
    write_scores(a.scoreboard, board)
    return board


# ---- files

def tidy(x):
    """The same with rounded numbers, and plain lists."""
    if isinstance(x, dict): return {str(k): tidy(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)): return [tidy(v) for v in x]
    return rounded(x) if isinstance(x, (float, np.floating)) else x


def results(a):
    """What was written before; empty at first."""
    return json.loads(a.output.read_text(encoding="utf-8")) if a.output.is_file() else {}


def write(a, **parts):
    """Put parts into the results."""
    write_text(a.output, json.dumps(results(a) | tidy(parts), indent=1, allow_nan=False) + "\n")


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("search", "judge"))
    p.add_argument("--digits", type=Path, required=True, help="folder with labels.tsv and recordings")
    p.add_argument("--work", type=Path, required=True, help="folder for prepared files and runs")
    p.add_argument("--output", type=Path, default=RESULTS/"digits.json")
    p.add_argument("--scoreboard", type=Path, default=RESULTS/"scoreboard.json")
    p.add_argument("--only", nargs="+", choices=list(SEARCH), help="these settings of the search")
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--again", action="store_true", help="compute what is there already")
    a = p.parse_args()
    torch.set_num_threads(1)
    try: dict(search=search, judge=judge)[a.what](a)
    except SpectroError as e: sys.exit(f"digits: {e}")


if __name__ == "__main__": main()
