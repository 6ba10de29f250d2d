"""Models judged on corpora that they have never heard: other rooms, other microphones, other languages, no speech.

    python experiments/across.py --speech clean --languages cv_multi --engine engine --work runs/across [--only RUN …]

SPEECH is a folder of `spectro_clean` with LibriSpeech and English Common Voice, LANGUAGES has a Common Voice of each
language in a folder of its own (clips/, validated.tsv), ENGINE a labels.tsv and clips/. The speakers of each corpus are
three groups: to learn from, to choose the epoch with, and to judge with; who judges decides nothing. Small models learn
from some corpora, with and without rooms and steadied deviations (chapter 24c), and are judged on all. An error is
measured in deviations of the *judged* corpus, a silent band in at least half the median band's, and divided by that of
its Gaussian line at the same nats. --models NAME=RUN judges others, which must not have heard the judges: the shipped
ones are trained by `experiments/mini.py`. The row "mini, first" is the model that was shipped before, on the judges or,
of the corpora that it had learned from, on the speakers whom it had left out.

What is there already is not made again; an interrupted call goes on. Rows go to nbs/results/across.json, and the few
that the project answers for to scoreboard.json beside it.
"""

import argparse, csv, json, os, sys
from itertools import islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT/"experiments")]

import numpy as np
import torch

from scoreboard import machine, rounded, score, write_scores
from spectro_dreamer.config import SpectroError, preset
from spectro_dreamer.data.corpus import split_speakers
from spectro_dreamer.data.dataset import Scale, SpectrogramData
from spectro_dreamer.data.joining import join
from spectro_dreamer.data.preparation import prepare
from spectro_dreamer.data.rooms import steadied
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.across import error_in_units, format_across
from spectro_dreamer.judge.gaussian import gaussian_line, spectral_density
from spectro_dreamer.judge.rates import LINE_ERRORS, line_at
from spectro_dreamer.learn.training import train
from spectro_dreamer.model.world_model import load

RESULTS = ROOT/"nbs"/"results"
JUDGES, CHOOSERS = 0.25, 0.12     # shares of the speakers, the second of those who do not judge
LIBRI_CLIPS, JUDGE_CLIPS = 290, 40 # at most: of LibriSpeech to learn from, an hour; of each corpus to judge with
LINE_FRAMES = 80_000              # of which the Gaussian line of a corpus is made: a quarter of an hour
STEPS = 1500                      # of every training
UNIT_FLOOR = 0.5                  # least deviation of a judged band, in deviations of the corpus's median one

# a `dreamer` of half the width, without what serves prediction and style: about six minutes of one core
SMALL = dict(h_state_size=192, z_state_size=48, embedding_size=192, hidden_size=192, beta_forecast=0.0,
             style_parts="none", style_dropout=0.0, ema=0.995, warmup_steps=100, checkpoint_freq=999, steps=STEPS,
             val_split=CHOOSERS)
ROOMS = dict(heard_rooms=0.7, band_floor=0.5)
SPEECH = ("libri", "common", "languages")
RUNS = {  # name → the corpora that it learns from, changes
    "libri": (("libri",), {}),
    "libri, rooms": (("libri",), ROOMS),
    "common": (("common", "languages"), {}),
    "common, rooms": (("common", "languages"), ROOMS),
    "speech": (SPEECH, {}),
    "speech, rooms": (SPEECH, ROOMS),
    "english": (("libri", "common"), {}),
    "english, rooms": (("libri", "common"), ROOMS),
    "engine": (("engine",), {}),
    "engine, rooms": (("engine",), ROOMS),
    "libri, steadied": (("libri",), dict(band_floor=0.5)),
    "languages": (("languages",), {}),
    "languages, rooms": (("languages",), ROOMS),
}
OWN = dict(libri="libri", common="common", languages="common", engine="engine")  # corpus → whose kind it is


# ---- recordings

def rows_of(speech, languages, engine=None):
    """The rows of each corpus: name → (the folder they lie in, rows as dictionaries)."""
    def read(table): return list(csv.DictReader(open(table, encoding="utf-8", newline=""), delimiter="\t"))
    spoken = read(speech/"validated.tsv")
    others = [r | dict(path=f"{table.parent.name}/clips/{r['path']}")
              for table in sorted(languages.glob("*/validated.tsv")) for r in read(table)]
    out = {name: (speech, [r for r in spoken if r["path"].startswith("librispeech") == (name == "libri")])
           for name in ("libri", "common")} | dict(languages=(languages, others))
    if engine:
        sounds = [dict(client_id=r["path"], path=Path(r["path"]).name) for r in read(engine/"labels.tsv")]
        out["engine"] = (engine, sounds)
    return out


def apart(rows):
    """The rows of a corpus in random order: to learn from, and of the speakers who judge."""
    judges = split_speakers([r["client_id"] for r in rows], JUDGES, seed=19)
    order = np.random.default_rng(19).permutation(len(rows))
    return [[rows[i] for i in order if judges[i] == is_judge] for is_judge in (False, True)]


def prepared(work, name, folder, rows):
    """A prepared file of some rows."""
    file, table = work/f"{name}.h5", work/f"{name}.tsv"
    if not file.is_file():
        write_table(table, rows)
        cfg = preset("dreamer")
        prepare(folder, file, table, cfg.front_end, cfg.tokens, progress=False)
        print(f"prepared {file.name}", flush=True)
    return file


def write_table(path, rows):
    """Rows of equal columns as a table of Common Voice."""
    with open(path, "w", encoding="utf-8", newline="") as f:
        out = csv.DictWriter(f, list(rows[0]), delimiter="\t", lineterminator="\n", extrasaction="ignore")
        out.writeheader()
        out.writerows(rows)


def corpus_files(a):
    """Of each corpus the file to learn and choose from and the file to judge with."""
    files = {}
    for name, (folder, rows) in rows_of(a.speech, a.languages, a.engine).items():
        learn, judge = apart(rows)
        if name == "libri": learn, judge = learn[:LIBRI_CLIPS], judge[:2*JUDGE_CLIPS]
        files[name] = (prepared(a.work, f"{name}-learn", folder, learn),
                       prepared(a.work, f"{name}-judge", folder, judge))
    return files


def learned(a, corpora, files):
    """The file that a run learns from."""
    if len(corpora) == 1: return files[corpora[0]][0]
    file = a.work/f"{'+'.join(corpora)}-learn.h5"
    if not file.is_file(): join([files[c][0] for c in corpora], file)
    return file


# ---- training

def trained(a, name, files):
    """A run, made or brought to its end."""
    corpora, changes = RUNS[name]
    run, data = a.work/"runs"/name.replace(", ", "-"), learned(a, corpora, files)
    if (run/"done").is_file(): return run
    if (run/"checkpoints"/"last.pt").is_file(): begin = dict(resume_from=run)
    else:
        seen = SpectrogramData(data, CHOOSERS, in_memory=False)
        cfg = preset("dreamer").override(**SMALL, **changes)
        per_epoch = seen.lengths[seen.train].sum()/seen.tokens.hop/(cfg.train.batch_size*cfg.train.sequence_length)
        mixed = "librispeech*=1 *=1" if "libri" in corpora and len(corpora) > 1 else ""
        begin = dict(cfg=cfg.override(epochs=int(np.ceil(a.steps/per_epoch)), steps=a.steps, corpora=mixed),
                     run_dir=run)
    train(data, progress=False, use_mlflow=False, **begin)
    (run/"done").touch()
    return run


# ---- judging

def units_of(file):
    """The deviations of a corpus, of those who do not judge; a band that is silent there takes half the median one."""
    data = steadied(SpectrogramData(file, 0.0), UNIT_FLOOR)
    return Scale(data.mean, data.std)


def line_of(units, *data):
    """The Gaussian line of a corpus, in its own deviations: of the clips of each part in turn, to `LINE_FRAMES`."""
    clips = (d.clip(i) for d in data for i in range(len(d)))
    frames = np.cumsum([n for d in data for n in d.lengths])
    n = int(np.searchsorted(frames, LINE_FRAMES)) + 1
    nats = gaussian_line(spectral_density(units.apply(x) for x in islice(clips, n)), LINE_ERRORS)
    return dict(mse=[rounded(x, 6) for x in LINE_ERRORS], nats_per_token=[rounded(data[0].tokens.hop*r) for r in nats],
                clips=min(n, len(frames)))


def pooled(x, weights):
    """The mean over tokens and its standard error over clips."""
    x, w = np.asarray(x), np.asarray(weights)
    mean = w @ x/w.sum()
    return float(mean), float(np.sqrt(len(x)/max(1, len(x) - 1)*((w*(x - mean))**2).sum())/w.sum())


def judged(model, data, clips, units, line):
    """Where a model stands on some clips of a corpus."""
    clips = [int(i) for i in clips][::max(1, -(-len(clips)//JUDGE_CLIPS))]
    data = data.in_units_of(model)
    nats, errors = zip(*(error_in_units(model, data, i, units) for i in clips))
    tokens = [data.tokens.n_tokens(int(data.lengths[i])) for i in clips]
    (rate, rate_se), (mse, mse_se) = pooled(nats, tokens), pooled([e.mean() for e in errors], tokens)
    at = line_at(line, rate)
    levels = [float(data.clip(i).exp().mean().log()) for i in clips]
    tops = [int((data.clip(i).quantile(0.95, dim=0) > np.log(data.front_end.floor) + 1).nonzero().max()) + 1
            for i in clips]
    each = dict(nats=nats, mse=[e.mean() for e in errors], level=levels, top=tops)
    return dict(nats=rounded(rate), nats_se=rounded(rate_se), mse=rounded(mse), mse_se=rounded(mse_se),
                line=rounded(at), ratio=rounded(mse/at), ratio_se=rounded(mse_se/at), n_clips=len(clips),
                by_band=[rounded(v) for v in np.average(errors, axis=0, weights=tokens)],
                clips={k: [rounded(v) for v in x] for k, x in each.items()})


def all_judged(model, corpora, chosen=()):
    """A model on the judging speakers of each corpus; `chosen` has others beside: name → (data, clips, corpus)."""
    out = {name: judged(model, c["data"], c["data"].train, c["units"], c["line"]) for name, c in corpora.items()}
    return out | {name: judged(model, d, clips, corpora[c]["units"], corpora[c]["line"])
                  for name, (d, clips, c) in dict(chosen).items()}


def opened(files, lines):
    """The corpora with what judging needs; lines that are there already are not made again."""
    out = {}
    for name, (learn, judge) in files.items():
        units, data = units_of(learn), SpectrogramData(judge, 0.0)
        line = lines.get(name) or line_of(units, data, SpectrogramData(learn, 0.0))
        out[name] = dict(data=data, units=units, line=line)
        said = (f"{line_at(line, n):.3f} at {n} nats" for n in (10, 30, 60))
        print(f"line of {name}:", ", ".join(said), flush=True)
    return out


def about(a, corpora):
    """What was done with what."""
    sizes = {name: dict(judge_clips=len(c["data"]), judge_speakers=len(set(c["data"].speakers)),
                        judge_minutes=rounded(c["data"].lengths.sum()/c["data"].front_end.frame_rate/60, 1))
             for name, c in corpora.items()}
    return dict(settings=SMALL | dict(steps=a.steps), rooms=ROOMS, corpora=sizes, own=OWN, machine=machine(),
                unit="MSE per bin of a token, in deviations of the judged corpus, of a band at least half the median "
                     "one; nats per token")


def read_results(file):
    """What earlier calls have found."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else dict(runs={})


def board(found):
    """The rows of the scoreboard: the ratio to the line on what was never heard, with rooms and without."""
    made, rows = "experiments/across.py, judging speakers of each corpus, seed 0, " + machine(), {}
    for run, corpus in (("libri", "common"), ("libri", "languages"), ("common", "libri")):
        for kind, suffix in (("plain", ""), ("rooms", ", rooms")):
            if r := found["runs"].get(run + suffix, {}).get(corpus):
                row = score(r["ratio"], r["ratio_se"], r["n_clips"], 1.1, made)
                rows[f"across.{run}_to_{corpus}.{kind}.ratio"] = row
    for name in ("mini", "low"):
        for corpus, r in found["runs"].get(name, {}).items():
            if corpus == "engine": continue  # too few clips
            rows[f"across.{name}.{corpus}.ratio"] = score(r["ratio"], r["ratio_se"], r["n_clips"], 1.1, made)
    return rows


def keep(file, found):
    """Write what is found so far."""
    write_text(file, json.dumps(found, indent=1, allow_nan=False) + "\n")
    if rows := board(found): write_scores(file.with_name("scoreboard.json"), rows)


def main(a):
    torch.set_num_threads(1)
    a.work.mkdir(parents=True, exist_ok=True)
    a.output.parent.mkdir(parents=True, exist_ok=True)
    files = corpus_files(a)
    found = read_results(a.output)
    corpora = opened(files, found.get("lines", {}))
    found |= dict(about=about(a, corpora), lines={name: c["line"] for name, c in corpora.items()})
    keep(a.output, found)
    for name, run in (given.split("=", 1) for given in a.models):
        if name in found["runs"]: continue
        rows = all_judged(load(run), corpora)
        found["runs"][name] = {c: {k: v for k, v in r.items() if k != "clips"} for c, r in rows.items()}
        keep(a.output, found)
    for name in RUNS if a.only is None else a.only:
        if name in found["runs"]: continue
        run = trained(a, name, files)
        learn = SpectrogramData(learned(a, RUNS[name][0], files), CHOOSERS, in_memory=False)
        chosen = {} if len(RUNS[name][0]) > 1 else dict(chosen=(learn, learn.val, RUNS[name][0][0]))
        rows = all_judged(load(run), corpora, chosen)
        found["runs"][name] = {c: {k: v for k, v in r.items() if k != "clips"} for c, r in rows.items()}
        keep(a.output, found)
        print(format_across(found), flush=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--speech", type=Path, required=True, help="cleaned LibriSpeech and English Common Voice")
    p.add_argument("--languages", type=Path, required=True, help="a folder of Common Voice for each language")
    p.add_argument("--engine", type=Path, required=True, help="a folder with labels.tsv and clips/")
    p.add_argument("--work", type=Path, default=Path("runs/across"), help="where data and runs go")
    p.add_argument("--output", type=Path, default=RESULTS/"across.json", help="the table (default: %(default)s)")
    p.add_argument("--models", nargs="*", default=[], metavar="NAME=RUN", help="trained models of this front end")
    p.add_argument("--only", nargs="*", choices=RUNS, metavar="RUN", help=f"of {', '.join(RUNS)}")
    p.add_argument("--steps", type=int, default=STEPS, help="gradient steps of each run (default: %(default)s)")
    try: main(p.parse_args())
    except SpectroError as e: sys.exit(f"across: {e}")
