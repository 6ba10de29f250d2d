"""Surprise as a meter: of tones that begin to repeat, of machines, of speech. Writes nbs/results/surprise.json.

    python experiments/surprise.py tones [--seeds 0 1 2] [--steps 500]
    python experiments/surprise.py machines [--splits 5]     # engines of SPECTRO_DREAMER_DATA
    python experiments/surprise.py speech [--clips 40]       # LibriSpeech of SPECTRO_DREAMER_DATA, aligned on the way

Each part replaces its own key and its rows of the scoreboard. One core: a minute for each seed of the tones, three
minutes for the machines, one for the speech.
"""

import argparse, json, os
from pathlib import Path
import numpy as np, torch
from scoreboard import machine, rounded, score, write_scores
from spectro_dreamer.config import SpectroError
from spectro_dreamer.data.front_ends import log_spectrogram
from spectro_dreamer.files import write_text
from spectro_dreamer.judge import machines as m, tones as t
from spectro_dreamer.judge.surprise import Marked, onset_test, locked_curve, surprise

RESULTS = Path(__file__).parent.parent/"nbs"/"results"


def short(x):
    """Numbers with four digits after the point, so that the file stays small."""
    if isinstance(x, dict): return {k: short(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)): return [short(v) for v in x]
    return rounded(x) if isinstance(x, float) else x


def keep(part, found, scores):
    """Put one part into the results, and its headlines into the scoreboard."""
    path = RESULTS/"surprise.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_text(path, json.dumps(dict(sorted((old | {part: short(found)}).items())), allow_nan=False) + "\n")
    write_scores(RESULTS/"scoreboard.json", scores)
    print(f"wrote {part} to {path.name} and {len(scores)} rows to scoreboard.json")


def data_folder(*below):
    """A folder of the recordings."""
    root = os.environ.get("SPECTRO_DREAMER_DATA")
    if not root: raise SystemExit("set SPECTRO_DREAMER_DATA to the folder of the recordings")
    return Path(root, *below)


def tones(a):
    """A small model for each seed, on the same 200 sequences."""
    runs = {}
    for seed in a.seeds:
        model = t.train_on_tones(a.steps, seed, progress=True)
        runs[str(seed)] = r = t.tone_results(model)
        odd, ours = r["oddball"]["model"], r["model"]
        print(f"seed {seed}: {ours['random']:.2f} to {ours['regular']:.2f} nats, halved at {ours['halved']}, "
              f"within two tones of the observer {r['within_2']:.2f}, median lag {r['lag']}, "
              f"deviants {odd['deviant']:.2f}, standards {odd['standard']:.2f}", flush=True)
    seeds = " ".join(map(str, a.seeds))
    made = (f"experiments/surprise.py tones, RAND to REG of 5 of 10 tones, 200 sequences of seed 1000, training seeds "
            f"{seeds}, {a.steps} steps, {machine()}")
    within = [r["within_2"] for r in runs.values()]
    n = len(within)
    se = np.std(within, ddof=1)/n**.5 if n > 1 else None
    late = [r["model"]["halved"] or t.AFTER for r in runs.values()]
    keep("tones", dict(runs=runs, steps=a.steps, from_=made), {
        "tones_within_2": score(np.mean(within), se, n, made_by=made),
        "tones_halved_at": score(np.mean(late), np.std(late, ddof=1)/n**.5 if n > 1 else None, n, 5, made)})


def engines(a):
    """Windows of two seconds; of each split some recordists are held out."""
    waves, kinds, who = m.engine_windows(data_folder("engine"))
    found = {}
    for normal in ("helicopter", "chainsaw"):
        found[normal] = judge_engines(waves, kinds, who, normal, a.splits, a.steps)
        print(normal, format_engines(found[normal]), sep="\n", flush=True)
    made = (f"experiments/surprise.py machines, engine windows of 2 s, {a.splits} splits by recordist (seeds 0 to "
            f"{a.splits - 1}), {a.steps} steps, {machine()}")
    scores = {}
    for normal, f in found.items():
        auc = [s["world model"]["all"][0] for s in f["splits"]]
        scores[f"machines_auc_{normal}"] = score(np.mean(auc), np.std(auc, ddof=1)/len(auc)**.5, len(auc), made_by=made)
    keep("machines", found | dict(from_=made), scores)


def judge_engines(
    waves,          # (N, S) at 16 kHz
    kinds,          # (N,)
    who,            # (N,) recordists
    normal:str,     # the kind that is normal
    splits:int=5,
    steps:int=300,  # of the world model
    rate:float=.1,  # of false alarms, of the threshold
)->dict:            # for each split: detector → anomaly → (AUC, pAUC); and the alarms' costs
    "Every detector on several splits by recordist: other kinds, and defects of held-out normals."
    front_end, out = m.machine_config().front_end, dict(normal=normal, splits=[], alarms=[])
    def specs_of(some): return [log_spectrogram(w, front_end) for w in some]
    mine, others = np.flatnonzero(kinds == normal), np.flatnonzero(kinds != normal)
    if len(set(who[mine])) < 3: raise SpectroError(f"need three recordists of {normal}, to hold one out")
    strange = {"other kinds": specs_of(waves[others])}
    for seed in range(splits):
        rng = np.random.default_rng(seed)
        people = rng.permutation(sorted(set(who[mine])))
        held = np.isin(who[mine], people[:max(1, len(people)//3)])
        test = mine[held]
        made = {d: specs_of([m.with_defect(waves[k], d, seed=int(k)) for k in test]) for d in m.DEFECTS}
        normals, found = specs_of(waves[test]), {}
        for name, detector in m.detectors(steps, seed).items():
            detector.fit(specs_of(waves[mine[~held]]))
            zero, scores = detector.score(normals), {k: detector.score(x) for k, x in (strange | made).items()}
            found[name] = {k: list(m.areas(zero, x)) for k, x in scores.items()}
            found[name]["all"] = np.mean([v for v in found[name].values()], 0).tolist()
            out["alarms"].append(_alarm_cost(name, zero, who[test], scores, rate))
        out["splits"].append(found)
    return out

def _alarm_cost(name, normal, who, scores, rate):
    "A threshold set by half of the held-out recordists, and what it costs on the others; None with too few."
    half = np.isin(who, sorted(set(who))[::2])
    try: alarm = m.set_alarm(normal[half], rate)
    except SpectroError: return dict(detector=name, cost=None)
    if not (~half).any(): return dict(detector=name, cost=None)
    cost = alarm.cost(normal[~half])
    return dict(detector=name, cost=cost[0], n=int((~half).sum()), set_by=alarm.n,
                caught={k: float((x > alarm.threshold).mean()) for k, x in scores.items()})

def format_engines(
    found:dict, # of `judge_engines`
)->str:
    "Aligned text: AUC and pAUC in percent of each detector, means over splits with standard errors."
    first = found["splits"][0]
    columns = list(next(iter(first.values())))
    rows = [f"{found['normal'] + ' normal':<20}" + "".join(f"{c:>24}" for c in columns)]
    for name in first:
        cells = []
        for c in columns:
            x = 100*np.array([s[name][c] for s in found["splits"]])           # (splits, 2)
            se = x.std(0, ddof=1)/np.sqrt(len(x)) if len(x) > 1 else np.zeros(2)
            cells.append(f"{x[:, 0].mean():.1f} ± {se[0]:.1f} / {x[:, 1].mean():.1f} ± {se[1]:.1f}")
        rows.append(f"{name:<20}" + "".join(f"{c:>24}" for c in cells))
    return "\n".join(rows)


def speech(a):
    """Phones of LibriSpeech by forced alignment; what `mini` does not expect at their onsets."""
    from spectro_dreamer.data.alignment import ALIGN_RATE, Aligner
    from spectro_dreamer.data.preprocessing import read_audio
    from spectro_dreamer.data.tables import read_rows
    from spectro_dreamer.model.world_model import load
    root, mini, aligner = data_folder("speech"), load("mini"), Aligner()
    origin = {Path(r["path"]).name: r["source"] for r in read_rows(root/"sources.tsv", ("path", "source"))}
    rows = read_rows(root/"validated.tsv", ("path", "sentence", "client_id"))
    rows = [r for r in rows if "Libri" in origin.get(r["path"], "")]
    order = np.random.default_rng(0).permutation(len(rows))
    seen, marked = set(), {"words": [], "other phones": [], "all phones": []}
    for k in order:
        r = rows[k]
        if r["client_id"] in seen or len(seen) == a.clips: continue
        file = root/"clips"/r["path"]
        try: said, starts = aligned(aligner, read_audio(file, ALIGN_RATE), r["sentence"])
        except SpectroError: continue
        seen.add(r["client_id"])
        spoken = [s for s in said if s.phone != "SIL"]
        f, span = surprise(mini, file), (spoken[0].begin + .05, spoken[-1].end)
        first = np.array([x for x in starts if x > span[0]])
        rest = np.array([s.begin for s in spoken if s.begin > span[0] and s.begin not in first])
        for name, onsets in (("words", first), ("other phones", rest), ("all phones", np.sort(np.r_[first, rest]))):
            marked[name].append(Marked(f, *span, onsets))
    lags, found = np.arange(-.2, .305, .01), {}
    for name, marks in marked.items():
        test, curve = onset_test(marks), locked_curve(marks, lags)
        found[name] = dict(onsets=len(curve), at=test.at, elsewhere=test.elsewhere, p=test.p,
                           chance=[float(test.chance.mean()), float(test.chance.std())],
                           curve=np.nanmean(curve, 0).tolist(), se=(np.nanstd(curve, 0)/len(curve)**.5).tolist())
        print(f"{name}: {len(curve)} onsets, {test.at:.2f} at them, {test.elsewhere:.2f} elsewhere, p = {test.p:.3f}")
    made = (f"experiments/surprise.py speech, {len(seen)} clips of as many LibriSpeech readers, phones by forced "
            f"alignment, 999 rotations of seed 0, mini, {machine()}")
    t_ = found["all phones"]
    keep("speech", dict(lags=lags.tolist(), clips=len(seen), from_=made, **found), {
        "surprise_at_phones": score(t_["at"] - t_["elsewhere"], t_["chance"][1], t_["onsets"], made_by=made)})


def aligned(aligner, wave, sentence):
    """Phones in time, and the seconds at which words begin: those of the first of their phones that was found."""
    from difflib import SequenceMatcher
    from spectro_dreamer.data.alignment import sentence_words
    from spectro_dreamer.data.pronunciation import word_phones
    said = aligner.align(wave, sentence)
    spoken = [s for s in said if s.phone != "SIL"]
    wanted = [(p, k == 0) for w in sentence_words(sentence) for k, p in enumerate(word_phones(w))]
    blocks = SequenceMatcher(None, [p for p, _ in wanted], [s.phone for s in spoken], False).get_matching_blocks()
    return said, [spoken[b.b + i].begin for b in blocks for i in range(b.size) if wanted[b.a + i][1]]


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("part", choices=("tones", "machines", "speech"))
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--steps", type=int, help="of training (default: 500 for tones, 300 for machines)")
    p.add_argument("--splits", type=int, default=5)
    p.add_argument("--clips", type=int, default=40)
    a = p.parse_args()
    a.steps = a.steps or dict(tones=500, machines=300).get(a.part)
    torch.set_num_threads(1)
    dict(tones=tones, machines=engines, speech=speech)[a.part](a)
