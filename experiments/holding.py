"""Do dreams hold what a second of listening gave them: voice, movement, pauses? And do they forecast well?

    python experiments/holding.py --run runs/speaker --rival mini --unheard speakers.json \
        --dataset speech.h5 --output holding.json [--part judge] [--n 24]

The clips are of validation speakers whom neither model learned from. After one second each model goes on for three. The
speaker model is told a sentence that another speaker said, with durations of its own; the rival is told nothing.
Beside their voices stand another recording of the same speaker and one of another. The energy score is that of chapter
51: what is forecast 1 to 40 tokens ahead, text not given, and once with the text given.
"""

import argparse, json, os, sys, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from scoreboard import machine, score, write_scores
from speak import halves, own_plan, picked
from spectro_dreamer.config import SpectroError
from spectro_dreamer.data.dataset import Scale
from spectro_dreamer.data.observations import frames_to_tokens
from spectro_dreamer.data.utterances import clip_plan, plan_actions
from spectro_dreamer.dream.dream_scores import compare_dynamics
from spectro_dreamer.dream.imagination import dream_frames, imagine
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import clip_inputs, clip_noise, open_split
from spectro_dreamer.judge.forecasts import Forecast, Question, forecast_windows, score_forecast, tokens_at
from spectro_dreamer.judge.open_loop import rollouts
from spectro_dreamer.judge.rates import rate_distortion
from spectro_dreamer.model.world_model import load
from spectro_dreamer.progress import show_progress
from spectro_dreamer.sound.listeners import hear_set
from spectro_dreamer.sound.neural_vocoder import sounding

CONTEXT, SECONDS = 1.0, 3.0
JUDGES = ["voice", "signal", "pauses", "speech"]
HORIZONS = (1, 2, 5, 10, 20, 40) # tokens
NEVER = "" # a phone that is not known, for the time that is heard


def apart(data, clips, rival):
    """Those of some clips whose speakers the rival did not learn from, and of whom there is another clip."""
    if rival is not None:
        unheard = set(json.loads(Path(rival).read_text()))
        clips = [i for i in clips if data.speakers[i] in unheard]
    return [i for i in clips if data.speakers.count(data.speakers[i]) > 1]  # so that another recording is there


def same_and_other(data, clips):
    """For each clip another of its speaker, and one of another speaker."""
    of = {}
    for i, speaker in enumerate(data.speakers): of.setdefault(speaker, []).append(i)
    same = [next(j for j in of[data.speakers[i]] if j != i) for i in clips]
    other = [next(j for j in clips[k:] + clips[:k] if data.speakers[j] != data.speakers[i])
             for k, i in enumerate(clips)]
    return same, other


def told_dream(model, data, i, sentence, seed, temperature):
    """(N, M) nats: three seconds after one that was heard, told the phones of another sentence."""
    rate, cut, plan = model.front_end.frame_rate, model.config.tokens, own_plan(model, sentence, seed)
    while sum(k for _, k in plan) < (SECONDS + 1)*rate: plan = plan + plan
    actions = plan_actions([(NEVER, round(CONTEXT*rate)), *plan], cut, model.style_names)
    total = -(-dream_frames(model, len(data.clip(i)), CONTEXT, SECONDS)[1]//cut.hop)
    dream = imagine(model, data.clip(i), CONTEXT, SECONDS, 1, temperature, seed, styles=actions[:total])
    return dream.spec[0, dream.context_frames:]


def free_dream(model, data, i, seed, temperature=1.0):
    """The same told nothing."""
    dream = imagine(model, data.clip(i), CONTEXT, SECONDS, 1, temperature, seed)
    return dream.spec[0, dream.context_frames:]


def recorded(data, i):
    """The three seconds that a dream stands in for."""
    rate = data.front_end.frame_rate
    return data.clip(i)[round(CONTEXT*rate):round((CONTEXT + SECONDS)*rate)]


def hold(model, rival, data, clips, sound, temperatures):
    """Voices and movement of dreams beside recordings."""
    rate = data.front_end.sample_rate
    plans = [[(p, n) for p, n in clip_plan(data, i) if p] for i in clips]
    plans = plans[1:] + plans[:1]
    specs = {"recording": [recorded(data, i) for i in clips]}
    for t in temperatures:
        specs[f"speaker, told, temperature {t:g}"] = [told_dream(model, data, i, p, k, t)
                                                     for k, (i, p) in enumerate(zip(clips, plans))]
    specs["speaker, told nothing"] = [free_dream(model, data, i, k) for k, i in enumerate(clips)]
    if rival: specs["rival"] = [free_dream(rival, data, i, k) for k, i in enumerate(clips)]
    same, other = same_and_other(data, clips)
    def wave(spec): return np.asarray(sound(np.asarray(spec)))
    against = [wave(data.clip(j)) for j in same]
    waves = {name: [wave(x) for x in drawn] for name, drawn in specs.items()}
    waves["another speaker"] = [wave(recorded(data, j)) for j in other]
    heard = {name: hear_set(w, rate, JUDGES, against) for name, w in waves.items()}
    moved = {name: compare_dynamics(x, specs["recording"], data.front_end.frame_rate) for name, x in specs.items()}
    for name in heard:
        said = [f"{k} {m.mean:.3f}" for k, m in heard[name].items() if m.mean is not None]
        said += [f"{k} {b.share:.2f}" for k, b in moved.get(name, {}).items()]
        print(f"{name:<34}" + "  ".join(said), flush=True)
    plain = [{name: {k: x._asdict() for k, x in row.items()} for name, row in rows.items()} for rows in (heard, moved)]
    return dict(marks=plain[0], dynamics=plain[1])


@torch.no_grad()
def forecast(model, data, clip, windows, ask, told, state=1.0, detail=1.0):
    """Samples (n, S, K, M, F) in deviations of the data's bands, of windows (n, N, M) in nats.

    `state` and `detail` are temperatures of the two latents.
    """
    heard, length, cut = windows[:, :ask.heard], ask.context + ask.ahead, ask.cut
    own = Scale(model.mean, model.std)
    tokens = frames_to_tokens(own.apply(heard.to(model.device)), cut.frames, cut.hop)
    actions = model.no_style(len(tokens), length)
    if told:
        whole = clip_inputs(model, data, clip, told=True)[1]
        actions = torch.stack([whole[k*ask.ahead:k*ask.ahead + length] for k in range(len(tokens))])
    noise = clip_noise(model, clip, len(tokens)*ask.samples, length, ask.seed).unflatten(0, (len(tokens), ask.samples))
    noise[..., :model.config.model.z_state_size] *= state
    noise[..., model.config.model.z_state_size:] *= detail
    few = zip(tokens.split(4), actions.split(4), noise.split(4))
    drawn = torch.cat([rollouts(model, x, a, e, ask.horizons) for x, a, e in few])
    return data.band_scale.apply(own.undo(drawn.mT).cpu()).mT


def energies(models, data, clips):
    """name → (clips, K) energy scores over the square root of the bins, and the windows of each clip.

    `models` has name → (model, told) or (model, told, temperature of the states, that of the details).
    """
    ask, rows, counts = Question(data.tokens, 10, HORIZONS, 32, 0), {name: [] for name in models}, []
    for i in show_progress(clips, "forecasts"):
        windows = forecast_windows(data.clip(i).cpu(), ask)
        if not len(windows): continue
        counts.append(len(windows))
        truth = tokens_at(data.band_scale.apply(windows), ask)
        for name, (model, *how) in models.items():
            samples = forecast(model, data, i, windows, ask, *how)
            rows[name].append(score_forecast(Forecast(samples=samples), truth)["energy"])
    return {name: np.stack(r) for name, r in rows.items()}, np.array(counts, dtype=float)


def ratio(a, b, counts):
    """Ratio of two means over windows at each horizon, and its standard error over clips (the delta method)."""
    w = counts/counts.sum()
    x, y = (w[:, None]*a).sum(0), (w[:, None]*b).sum(0)
    r = x/y
    error = np.sqrt(len(w)/(len(w) - 1)*((w[:, None]*(a - r*b))**2).sum(0))/y
    return dict(zip(map(str, HORIZONS), zip(r.tolist(), error.tolist())))


def scores_of(found, way):
    """The rows of the scoreboard that this run answers for, of dreams at one temperature."""
    about, marks, moves = found["about"], found["hold"]["marks"], found["hold"]["dynamics"]
    made_by = (f"experiments/holding.py on {about['data']}, unheard speakers ({about['speakers']}), part "
               f"{about['part']}, seed 0, {machine()}")
    def row(value, se, n, aim): return score(value, se, n, aim, made_by)
    def moved(name, aim): return row(moves[way][name]["share"], moves[way][name]["se"], moves[way][name]["n"], aim)
    voice, real = marks[way]["voice"], marks["recording"]["voice"]
    share = voice["mean"]/real["mean"]
    error = share*float(np.hypot(voice["se"]/voice["mean"], real["se"]/real["mean"]))
    out = {"dream_voice": row(share, error, voice["n"], 0.85), "dream_variance": moved("variance", 0.95),
           "dream_modulation": moved("modulation", 0.9)}
    if "energy_ratio" in found:
        out["energy_ratio_max"] = row(*max(found["energy_ratio"]["speaker"].values()), about["n"], 1.0)
        out["energy_ratio_max_told"] = row(*max(found["energy_ratio"]["speaker, told"].values()), about["n"], 1.0)
    return out


def measure(a):
    """Everything."""
    torch.set_num_threads(1)
    start, model = time.process_time(), load(a.run)
    rival = load(a.rival) if a.rival else None
    data, _ = open_split(model, a.dataset)
    clips = apart(data, halves(data)[a.part], a.unheard)
    some = picked(data, clips, a.n, least=CONTEXT + SECONDS + .5, most=30.)
    out = dict(about=dict(part=a.part, run=Path(a.run).name, rival=a.rival, n=len(some), vocoder=a.vocoder,
                          data=Path(a.dataset).name, speakers=len({data.speakers[i] for i in some}), context=CONTEXT,
                          seconds=SECONDS))
    out["hold"] = hold(model, rival, data, some, sounding(data.front_end, a.vocoder), a.temperatures)
    models = {"speaker": (model, False), "speaker, told": (model, True)} | ({"rival": (rival, False)} if rival else {})
    scores, counts = energies(models, data, some)
    out["energy"] = {k: dict(zip(map(str, HORIZONS), (counts/counts.sum() @ x).tolist())) for k, x in scores.items()}
    if rival:
        out["energy_ratio"] = {name: ratio(scores[name], scores["rival"], counts) for name in scores if name != "rival"}
        print(json.dumps(out["energy_ratio"], indent=1))
    out["rates"] = {"told nothing": rate_distortion({"speaker": model}, data, clips),  # all: the line needs them
                    "told": rate_distortion({"speaker": model}, data, clips, told=True)}
    for name, r in out["rates"].items():
        r.pop("line")
        print(name, json.dumps(r["points"]))
    out["about"]["processor_seconds"] = round(time.process_time() - start)
    write_text(a.output, json.dumps(out, indent=1) + "\n")
    if a.scoreboard: write_scores(a.scoreboard, scores_of(out, f"speaker, told, temperature {a.temperatures[-1]:g}"))


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", required=True)
    p.add_argument("--rival", help="a model that is told nothing, such as mini")
    p.add_argument("--unheard", help="JSON list of the speakers that the rival did not learn from")
    p.add_argument("--dataset", required=True)
    p.add_argument("--output", required=True)
    p.add_argument("--part", default="choose", choices=("choose", "judge"))
    p.add_argument("--n", type=int, default=24)
    p.add_argument("--temperatures", type=float, nargs="+", default=[0.7, 1.0])
    p.add_argument("--vocoder")
    p.add_argument("--scoreboard", help="JSON of the headline numbers, to which these are added")
    try: measure(p.parse_args())
    except SpectroError as e: sys.exit(f"holding: {e}")
