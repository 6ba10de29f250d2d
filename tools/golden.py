"""The golden check: what the library makes of fixed inputs, compared with what it made when the reference was recorded.

    python tools/golden.py check     # compares with tools/golden.npz; exit status 1 if anything differs
    python tools/golden.py record    # writes tools/golden.npz anew: only when a result is meant to change

The reference holds samples of arrays, and they are compared with tolerances that another processor meets. For changes
that may not move a single bit there is a stricter way, on one machine:

    python tools/golden.py record --to before.npz
    python tools/golden.py check --against before.npz --exact

Functions are found by their name, wherever the module that defines them lies in the package.
"""

import argparse
import configparser
import contextlib
import dataclasses
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import traceback
from functools import lru_cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

PACKAGE = "spectro_dreamer"
REFERENCE = ROOT / "tools" / "golden.npz"
STRIDE = 37         # of a long array every so many values are kept ...
MOST = 400          # ... and of a very long one fewer, so that there are about so many
TOLERANCE = 1e-3    # of a value, or of the root mean square of its array where that is larger
CLIPS = "0001 0002 0007 0008 0025 0026 0043 0044".split()   # two each of four speakers of the bundled corpus
CLIP = "sd_en_0102.mp3"         # the recording that the shipped model hears
OTHER_CLIP = "sd_en_0044.mp3"   # the recording whose style is taken
# of a run's record, beside what has to do with memory
TIMES = ("seconds", "tokens_per_second", "x_real_time", "step_seconds", "step_seconds_p50", "step_seconds_p90")
OF_THE_MACHINE = ("versions", "source")  # attributes of a prepared file whose values are not compared


# Finding what is checked --------------------------------------------------------------------------------------------

def defining(name):
    """The files of the package that define `name`."""
    line = re.compile(rf"^(def|class) {name}\b|^{name} = ", re.MULTILINE)
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    return [path for path in files if line.search(path.read_text(encoding="utf-8"))]


def find(name, home):
    """A function or class by name: of the module that is called `home`, or of the only other one that defines it."""
    files = defining(name)
    files = [path for path in files if path.stem == home] or files
    if len(files) != 1:
        places = ", ".join(path.relative_to(ROOT).as_posix() for path in files)
        raise LookupError(f"{name}, once in the module {home}, is defined in {places or 'no module'}")
    parts = files[0].relative_to(ROOT).with_suffix("").parts
    return getattr(importlib.import_module(".".join(parts)), name)


# What the checks share ----------------------------------------------------------------------------------------------

@lru_cache
def scratch():
    """A folder for what is written on the way; `main` removes it."""
    return Path(tempfile.mkdtemp(prefix="golden-"))


@lru_cache
def table():
    """A table of some rows of the bundled corpus, and of a recording that is missing."""
    corpus = find("bundled_corpus", "preprocessing")()
    head, *rows = (corpus / "validated.tsv").read_text(encoding="utf-8").splitlines()
    some = [row for row in rows if any(f"sd_en_{number}." in row for number in CLIPS)]
    path = scratch() / "some.tsv"
    path.write_text("\n".join([head, *some, some[0].replace(CLIPS[0], "9999")]) + "\n", encoding="utf-8")
    return path


@lru_cache
def prepared(name):
    """A small data set with the front end and the tokens of a preset."""
    cfg = find("preset", "config")(name)
    path = scratch() / f"{name}.h5"
    corpus = find("bundled_corpus", "preprocessing")()
    find("prepare", "preparation")(corpus, path, table(), cfg.front_end, cfg.tokens, progress=False)
    return path


@lru_cache
def mini():
    """The shipped model."""
    return find("load", "world_model")("mini")


@lru_cache
def recording(name=CLIP):
    """A bundled recording as a waveform at the shipped model's sample rate."""
    path = find("bundled_corpus", "preprocessing")() / "clips" / name
    return find("read_audio", "preprocessing")(path, mini().front_end.sample_rate)


@lru_cache
def heard(name=CLIP):
    """The same as the model's log-mel, (N, M) in nats."""
    return torch.from_numpy(find("log_mel", "preprocessing")(recording(name), mini().front_end))


def flat(tensors):
    """Many tensors as one row of numbers."""
    return torch.cat([x.detach().flatten() for x in tensors])


def of_weights(model):
    """What is kept of a network after a step: its parameters' names and shapes, its weights and its gradients."""
    named = dict(model.named_parameters())
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in named.values()]
    return {"parameters": {name: list(p.shape) for name, p in named.items()},
            "weights": flat(named.values()),
            "sums of weights": np.array([p.detach().double().sum().item() for p in named.values()]),
            "gradients": flat(gradients),
            "norms of gradients": np.array([g.norm().item() for g in gradients])}


# The shipped model --------------------------------------------------------------------------------------------------

def shipped_model():
    """Its configuration and its weights, to the last bit."""
    model = mini()
    return {"configuration": model.config.to_dict(), "style names": list(model.style_names),
            "fingerprint": find("model_fingerprint", "world_model")(model)}


def front_end():
    """A recording, decoded and as a log-mel."""
    return {"wave": recording(), "log-mel": heard()}


def reconstruct():
    """A recording, heard and drawn again."""
    return {"spec": mini().reconstruct(heard())}


def imagine():
    """Dreams with a seed, after a context and without one."""
    dream = find("imagine", "imagination")
    after = dream(mini(), heard(), context=0.5, seconds=1.0, samples=2, seed=3)
    free = dream(mini(), None, context=0, seconds=0.5, samples=2, seed=3)
    return {"after a context": after.spec, "tokens heard": after.context_tokens, "from nothing": free.spec}


def complete():
    """A gap of a fifth of a second, filled."""
    done = find("complete", "completion")(mini(), heard(), 1.0, 1.2, particles=16, keep=2, seed=1)
    return {"mean": done.mean[done.gap], "kept": done.spec[:, done.gap], "weights": done.weights,
            "gap": [done.start, done.end]}


def restyle():
    """Louder and as another speaker, in every way; and in the style of another recording."""
    model, spec = mini(), heard()
    style_of = find("style_of", "restyling")
    energy = find("energy_of", "restyling")(spec)
    own = style_of(model, spec, dict(gender="female"))
    target = style_of(model, spec, dict(gender="male"), energy + 0.5)
    redraw = find("restyle", "restyling")
    out = {way: redraw(model, spec, target, own, way) for way in ("shift", "keep", "hear")}
    transfer = find("transfer_style", "transfer")
    moved = {f"transfer, {way}": transfer(model, spec, heard(OTHER_CLIP), way=way) for way in ("shift", "states")}
    return {"style": target} | out | moved


def vocoders():
    """What is heard of a reconstruction: how far the sound's log-mel is from it, and how loud it is."""
    fe, spec = mini().front_end, mini().reconstruct(heard())[:80].numpy()
    out = {}
    for name, vocoder in (("without a network", None), ("shipped", "mini")):
        wave = np.asarray(find("sounding", "neural_vocoder")(fe, vocoder, n_iter=8)(spec))
        again = find("log_mel", "preprocessing")(wave, fe)
        out[f"{name}: samples"] = len(wave)
        out[f"{name}: error"] = float(((again[:len(spec)] - spec)**2).mean())
        out[f"{name}: loudness"] = float(np.sqrt((wave.astype(np.float64)**2).mean()))
    return out


def metrics():
    """The numbers of an evaluation on a few clips, without words and sounds."""
    model = mini()
    data, clips = find("open_split", "evaluation")(model, prepared("dreamer"), "all")
    clips = clips[:4]
    plain = {"reconstruction": find("reconstruction_metrics", "evaluation")(model, data, clips),
             "trivial": find("trivial_metrics", "evaluation")(data, clips)}
    out = {}
    for part, found in plain.items():
        for name, metric in found.items():
            metric = dataclasses.asdict(metric)
            out[f"{part}: {name}"] = np.array(metric["value"], float)
            out[f"{part}: {name}, standard error"] = np.array(metric["se"] or 0, float)
            out[f"{part}: {name}, about"] = {k: metric[k] for k in ("unit", "given", "n_clips", "n_tokens")}
    loop = find("open_loop", "evaluation")(model, data, clips, horizons=(1, 5, 10), samples=4)
    return out | {f"open loop: {name}": np.array(errors) for name, errors in loop.errors.items()}


def scores_of_sounds():
    """The metrics of two sounds whose libraries are always there."""
    rate = mini().front_end.sample_rate
    wave = recording()[:2 * rate]
    echo = (wave + np.roll(wave, rate // 50)) / 2
    names = ("calculate_mcd", "calculate_stoi", "calculate_log_mel_mse")
    return {name: float(find(name, "metrics")(wave, echo, rate)) for name in names}


def dreams():
    """Dreams as episodes, written as lines of JSON and as a data set, and read again."""
    dream = find("dream_set", "mixing")
    made = dream(small_run(), prepared("dreamer"), 2, 5, seed=1, context=8)
    out = {}
    for suffix in ("jsonl", "h5"):
        path = scratch() / f"dreams.{suffix}"
        find("write_episodes", "dreams")(made, path)
        for k, episode in enumerate(find("read_episodes", "dreams")(path)):
            for name in ("timestamp", "features", "action", "reward", "z"):
                out[f"{suffix}, {k}: {name}"] = np.asarray(getattr(episode, name))
            kind, _, *number = episode.episode_id.split()  # what is left out changes with any bit of the weights
            out[f"{suffix}, {k}: about"] = [kind, number, episode.agent_id.split()[0], sorted(episode.meta)]
    return out


# Prepared files -----------------------------------------------------------------------------------------------------

def cleaned():
    """What the votes accept of the whole bundled corpus."""
    corpus = find("bundled_corpus", "preprocessing")()
    kept, rejected = find("clean", "preparation")(corpus / "validated.tsv", corpus / "clips", scratch() / "clean", 3)
    rows = (scratch() / "clean" / "validated.tsv").read_bytes()
    return {"kept": kept, "rejected": rejected, "table": hashlib.sha256(rows).hexdigest()}


def prepared_file(name):
    """Everything in a prepared file."""
    import h5py
    out = {}

    def visit(path, item):
        for key, value in item.attrs.items():
            out[f"{path} @{key}"] = "there" if key in OF_THE_MACHINE else np.asarray(value).tolist()
        if isinstance(item, h5py.Dataset):
            out[f"{path}: type and shape"] = [str(item.dtype), list(item.shape)]
            out[path] = item.asstr()[:].tolist() if item.dtype == object else item[:]
    with h5py.File(prepared(name)) as f:
        visit("file", f)
        f.visititems(visit)
    return out


def batches(name):
    """The first batches of training and of validation: what is cut out of a prepared file."""
    make = trainer(name, 2)
    out = {}
    for part, found in (("training", make.batches(0)), ("validation", make.batches(None))):
        out[f"{part}: number"] = len(found)
        for field, value in found.batch(0)._asdict().items():
            if value is not None:
                out[f"{part}: {field}"] = value
    return out


# Training -----------------------------------------------------------------------------------------------------------

def trainer(name, seed, **changes):
    """A `Trainer` of a preset on the small data set."""
    cfg = find("preset", "config")(name).override(device="cpu", seed=seed, **changes)
    t = cfg.train
    open_data = find("SpectrogramData", "dataset")
    data = open_data(prepared(name), t.val_split, t.split_seed, None, t.standardise, torch.device("cpu"))
    cfg = cfg.override(action_size=len(data.style_names), n_mels=data.front_end.n_mels, token_frames=data.tokens.frames)
    return find("Trainer", "training")(cfg, data)


def training_step(name, **changes):
    """One step from a seed: losses, gradients and weights."""
    one = trainer(name, 5, **changes)
    before = {key: p.detach().clone() for key, p in one.model.named_parameters()}
    one.model.train()
    losses = one.train_step(one.batches(0).batch(0), one.generator(0))
    out = {f"loss: {key}": value.item() for key, value in losses.average().items()}
    out["gradient"] = one.norms.numpy()
    out["learning rate"] = one.optimizer.param_groups[0]["lr"]
    moved = {}
    for key, p in one.model.named_parameters():
        moved.setdefault(key.split(".")[0], []).append(p.detach() - before[key])
    out |= {f"step of {part}": flat(steps).norm().item() for part, steps in moved.items()}
    if one.average:
        out["averaged weights"] = flat(one.average.parameters())
    return out | of_weights(one.model)


@lru_cache
def small_run():
    """The folder of a run of two epochs with a small model, the second one resumed."""
    train = find("train", "training")
    cfg = find("preset", "config")("dreamer").override(
        device="cpu", epochs=1, h_state_size=32, z_state_size=8, embedding_size=32, hidden_size=32,
        reward_hidden_size=16)
    data, quiet = prepared("dreamer"), dict(progress=False, use_mlflow=False)
    with contextlib.redirect_stderr(io.StringIO()):
        run = train(data, cfg, scratch() / "run", **quiet)
        return train(data, cfg.override(epochs=2), resume_from=run, **quiet)


def training_run():
    """A whole run: its files, its record, and what its best model hears."""
    run = small_run()
    out = {"files": sorted(p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file())}
    for line in find("history", "tracking")(run):
        for key, value in line.items():
            if key not in TIMES and "memory" not in key:
                out[f"epoch {line['epoch']}: {key}"] = value
    out["configuration"] = json.loads((run / "config.yaml").read_text(encoding="utf-8"))
    out["manifest"] = sorted(json.loads((run / "manifest.json").read_text(encoding="utf-8")))
    kept = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    out["checkpoint"] = sorted(kept)
    return out | {"reconstruction": find("load", "world_model")(run).reconstruct(heard())}


def behaviour_step():
    """One step of an actor and its critic in the small run's model."""
    model = find("load", "world_model")(small_run())
    data, _ = find("open_split", "evaluation")(model, prepared("dreamer"), "train")
    cfg = find("BehaviourConfig", "actor_critic")(steps=1, starts=8, horizon=5, seed=1)
    learned = find("train_behaviour", "actor_critic")(model, data, cfg)
    out = dict(learned.history[0])
    for name, net in (("actor", learned.actor), ("critic", learned.critic)):
        out |= {f"{name}: {key}": value for key, value in of_weights(net).items()}
    return out


def wavegan_step():
    """One step of a small WaveGAN's critic and one of its generator."""
    cfg = find("wavegan_config", "wavegan")("test", n_critic=1, batch_size=2, device="cpu", seed=3)
    engine = find("synthetic_engine", "wavegan")
    waves = [engine(4.0, cfg.sample_rate, k) for k in range(2)]
    spans = np.array([[0, 0], [0, cfg.length], [1, 0], [1, cfg.length]])
    windows = find("SoundWindows", "wavegan")(waves, spans, ("a", "a", "b", "b"), cfg.length, cfg.level, {})
    gan = find("WaveGANTrainer", "wavegan")(find("Parts", "wavegan")(windows, windows, windows), cfg)
    out = {"engine": waves[0], "configuration": cfg.to_dict()} | gan.learn()
    for name, net in (("generator", gan.generator), ("critic", gan.critic)):
        out |= {f"{name}: {key}": value for key, value in of_weights(net).items()}
    return out | {"sound": find("sound_out", "wavegan")(gan.generator, 1)}


def music_step():
    """Two steps of a small music LSTM, and what the tunes cost it then."""
    cfg = find("MusicConfig", "music_lstm")(embedding=16, hidden=32, batch_size=4, length=50, device="cpu", seed=3)
    corpus = find("split_tunes", "music_lstm")(find("read_tunes", "music_lstm")())
    music = find("MusicTrainer", "music_lstm")(corpus, cfg)
    losses = [music.learn(), music.learn()]
    costs = find("lstm_nats", "music_lstm")(music.model, corpus.val[:2])
    return {"symbols": "".join(corpus.symbols), "tunes": [len(corpus.train), len(corpus.val), len(corpus.test)],
            "losses": np.array(losses), "costs": np.concatenate(costs)} | of_weights(music.model)


# The commands' flags ------------------------------------------------------------------------------------------------

class Caught(Exception):
    """Carries a command's parser out of the command."""


def parser_of(main):
    """The parser that a command makes, caught when it is about to parse."""
    parse = argparse.ArgumentParser.parse_args

    def caught(self, *_, **__):
        raise Caught(self)
    argparse.ArgumentParser.parse_args = caught
    try:
        main([])
    except Caught as found:
        return found.args[0]
    finally:
        argparse.ArgumentParser.parse_args = parse
    raise LookupError(f"{main.__name__} parses nothing")


def flags_of(parser, command):
    """Yields each flag and argument of a parser and of those below it: its name, and what is expected of it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield f"{command} {name}", "a command"
                yield from flags_of(below, f"{command} {name}")
            continue
        about = dict(default=action.default, required=action.required, nargs=action.nargs,
                     type=getattr(action.type, "__name__", None), choices=action.choices and sorted(action.choices))
        for spelling in action.option_strings or [action.dest]:
            yield f"{command} {spelling}", about


@lru_cache
def commands():
    """Every console command: {name: its function}."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    out = {}
    for line in settings["DEFAULT"]["console_scripts"].split():
        name, place = line.split("=")
        where, function = place.split(":")
        out[name] = getattr(importlib.import_module(where), function)
    return out


def flags():
    """Every flag of every console command, and what each expects."""
    out = {}
    for name, main in commands().items():
        out[name] = "a command"
        out |= flags_of(parser_of(main), name)
    return out


def files_of_commands():
    """What some commands write: names of files, and the lengths of sounds."""
    import soundfile
    clip = scratch() / "short.wav"
    soundfile.write(clip, recording()[:round(1.6 * mini().front_end.sample_rate)], mini().front_end.sample_rate)
    hear = ["--audio-path", clip, "--checkpoint", "mini"]
    words = {"infer": hear,
             "imagine": [*hear, "--seconds", 0.5, "--samples", 1],
             "complete": [*hear, "--gap", 0.8, 0.9, "--samples", 1, "--particles", 8],
             "restyle": [*hear, "--louder", 3],
             "evaluate": ["--dataset-path", prepared("dreamer"), "--checkpoint", small_run(), "--n-audio", 0]}
    out = {}
    for name, arguments in words.items():
        folder = scratch() / name
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            commands()[f"spectro_{name}"]([str(word) for word in [*arguments, "--output-dir", folder]])
        out[name] = {path.name: soundfile.info(path).frames if path.suffix == ".wav" else "there"
                     for path in sorted(folder.iterdir())}
    return out


CHECKS = {
    "flags of the commands": flags,
    "files of the commands": files_of_commands,
    "shipped model": shipped_model,
    "front end": front_end,
    "reconstruct": reconstruct,
    "imagine": imagine,
    "complete": complete,
    "restyle": restyle,
    "vocoders": vocoders,
    "metrics": metrics,
    "scores of sounds": scores_of_sounds,
    "dreams": dreams,
    "cleaned corpus": cleaned,
    "prepared file, seed": lambda: prepared_file("seed"),
    "prepared file, dreamer": lambda: prepared_file("dreamer"),
    "batches, seed": lambda: batches("seed"),
    "batches, dreamer": lambda: batches("dreamer"),
    "training step, seed": lambda: training_step("seed"),
    "training step, dreamer": lambda: training_step("dreamer"),
    "training step, categorical": lambda: training_step("dreamer", latent="categorical"),
    "training step, contrastive": lambda: training_step("dreamer", objective="contrastive"),
    "training run": training_run,
    "behaviour step": behaviour_step,
    "WaveGAN step": wavegan_step,
    "music step": music_step,
}
MAY_GROW = ("flags of the commands",)  # what is new there is no difference


# Recording and comparing --------------------------------------------------------------------------------------------

def is_inexact(value):
    """Whether a value is compared with a tolerance: floating-point numbers and arrays of them."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return np.asarray(value).dtype.kind == "f"
    return isinstance(value, float)


def sample(array):
    """Some of an array's values, and if they are not all of them also its mean and its standard deviation."""
    step = STRIDE * max(1, array.size // (STRIDE * MOST)) if array.size > MOST else 1
    some = array.ravel()[::step].astype(np.float64)
    if step > 1:
        some = np.append(some, [array.mean(dtype=np.float64), array.std(dtype=np.float64)])
    return some.astype(np.float32)


def packed(value):
    """What is kept of a value: its sample or None, and what must be equal: of an inexact value only its shape."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if not is_inexact(value):
        value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        return None, {"value": json.loads(json.dumps(value, default=str))}
    array = np.ascontiguousarray(value)
    bits = hashlib.sha256(array.tobytes()).hexdigest()[:16]
    return sample(array), {"type": str(array.dtype), "shape": list(np.shape(value)), "bits": bits}


def made_by(check):
    """Run a check: {item: (sample or None, facts)}."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {item: packed(value) for item, value in check().items()}


def write(path, results):
    """Write {check: {item: (sample, facts)}} as one file."""
    samples, facts = {}, {}
    for name, items in results.items():
        facts[name] = {item: fact for item, (_, fact) in items.items()}
        samples |= {f"{name}/{item}": some for item, (some, _) in items.items() if some is not None}
    names = list(samples)
    ends = np.cumsum([len(samples[key]) for key in names])
    text = json.dumps(dict(facts=facts, names=names, ends=ends.tolist()), separators=(",", ":"))
    with open(path, "wb") as f:
        about = np.frombuffer(text.encode(), np.uint8)
        np.savez_compressed(f, samples=np.concatenate(list(samples.values())), about=about)


def read(path):
    """What `write` wrote."""
    with np.load(path) as f:
        about, samples = json.loads(f["about"].tobytes()), f["samples"]
    parts = dict(zip(about["names"], np.split(samples, about["ends"])))
    return {name: {item: (parts.get(f"{name}/{item}"), fact) for item, fact in items.items()}
            for name, items in about["facts"].items()}


def agreeing(want, have):
    """The flags of now, made to agree with those of the reference where a command line means the same.

    A default may have gone to the preset and choices to the configuration, which then has them and checks them; a
    switch that says nothing is as good as one that is off; and text is text.
    """
    out = dict(have)
    for item, (_, was) in want.items():
        old, new = was["value"], have[item][1]["value"] if item in have else None
        if not isinstance(old, dict) or not isinstance(new, dict):
            continue
        same = {"choices": old["choices"]}
        if new["default"] is None or old["default"] in (None, False):
            same["default"] = old["default"]
        if {old["type"], new["type"]} == {None, "str"}:
            same["type"] = old["type"]
        out[item] = None, {"value": new | same}
    return out


def brief(value):
    """A value in few words."""
    text = json.dumps(value)
    return text if len(text) < 90 else text[:87] + "..."


def changed(want, have):
    """Where two exact values differ: the first place inside if they are dictionaries or lists of one length."""
    if isinstance(want, dict) and isinstance(have, dict):
        return changed_key(want, have)
    if isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        k = next(k for k, (a, b) in enumerate(zip(want, have)) if a != b)
        return f"entry {k}: {changed(want[k], have[k])}"
    return f"is {brief(have)}, was {brief(want)}"


def changed_key(want, have):
    """Where two dictionaries differ first; in their order only, if they hold the same."""
    key = next((k for k in [*want, *have] if k not in have or k not in want or want[k] != have[k]), None)
    if key is None:
        return f"is {brief(have)}, was {brief(want)}"
    if key not in have:
        return f"{key} is gone"
    return f"{key}: {changed(want[key], have[key])}" if key in want else f"{key} is new"


def difference(want, have, exact):
    """How an item differs from the reference, in words; None if it does not."""
    (old, was), (new, now) = want, have
    said = {key: value for key, value in was.items() if key != "bits"}
    says = {key: value for key, value in now.items() if key != "bits"}
    if said != says:
        return changed(said.get("value", said), says.get("value", says))
    if old is None or was["bits"] == now["bits"]:
        return None
    return away_by(old, new) or (exact and nearly_so(old, new)) or None


def away_by(old, new):
    """How many kept values lie beyond the tolerance, and the worst of them, in words; "" if none does."""
    away = np.abs(new.astype(np.float64) - old)
    allowed = TOLERANCE * np.maximum(np.abs(old), np.sqrt(np.mean(np.square(old, dtype=np.float64))))
    beyond = ~(away <= allowed) & ~(np.isnan(old) & np.isnan(new))
    if not beyond.any():
        return ""
    k = int(np.argmax(np.where(beyond, np.nan_to_num(away, nan=np.inf), -1)))
    which = f"{beyond.sum()} of {len(old)} kept values differ, the worst " if len(old) > 1 else ""
    return f"{which}is {new[k]:.6g}, was {old[k]:.6g}"


def nearly_so(old, new):
    """How far values are away that differ in bits alone, in words."""
    away = np.abs(new.astype(np.float64) - old)
    return f"not the same bits, at most {away.max():.2g} away in what is kept"


def differences(name, want, have, exact):
    """One line for each item of a check that is gone, is new or differs."""
    for item in want:
        if item not in have:
            yield f"{name}: {item} is gone"
        elif said := difference(want[item], have[item], exact):
            yield f"{name}: {item}: {said}"
    if name not in MAY_GROW:
        yield from (f"{name}: {item} is new" for item in have if item not in want)


def record(path):
    """Run every check and write what it made."""
    write(path, {name: made_by(check) for name, check in CHECKS.items()})
    print(f"golden: {len(CHECKS)} recorded in {path.name}, {path.stat().st_size / 1000:.0f} kB")


def compared(name, reference, exact):
    """The lines to print of a check: none if it passes."""
    if name not in reference:
        return [f"{name}: is not in the reference"]
    try:
        have = made_by(CHECKS[name])
    except Exception as e:
        place = traceback.extract_tb(e.__traceback__)[-1]
        return [f"{name}: {type(e).__name__}: {e} ({Path(place.filename).name}, line {place.lineno})"]
    if name == "flags of the commands":
        have = agreeing(reference[name], have)
    return list(differences(name, reference[name], have, exact))


def compare(path, exact):
    """Run every check and say what differs; returns how many failed."""
    reference, failed = read(path), 0
    for name in dict.fromkeys([*CHECKS, *reference]):
        lines = compared(name, reference, exact) if name in CHECKS else [f"{name}: is no longer checked"]
        failed += bool(lines)
        for line in lines:
            print(line, flush=True)
    print(f"golden: {len(CHECKS) - failed} passed, {failed} failed")
    return failed


def main():
    """Parse and run."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = p.add_subparsers(required=True, dest="do")
    write_it = which.add_parser("record", help="write the reference")
    write_it.add_argument("--to", type=Path, default=REFERENCE, help="the file to write (default: tools/golden.npz)")
    check_it = which.add_parser("check", help="compare with the reference")
    check_it.add_argument("--against", type=Path, default=REFERENCE, help="the reference (default: tools/golden.npz)")
    check_it.add_argument("--exact", action="store_true", help="to the last bit, for a reference of this machine")
    a = p.parse_args()
    torch.set_num_threads(1)
    try:
        if a.do == "record":
            return record(a.to)
        sys.exit(1 if compare(a.against, a.exact) else 0)
    finally:
        shutil.rmtree(scratch(), ignore_errors=True)


if __name__ == "__main__":
    main()
