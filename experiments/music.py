"""Measure the music LSTM: on a collection of tunes, and as a prior over a world model's categorical latents.

    python experiments/music.py tunes --abc irish.abc --run runs/irish --output music.json [--hidden 384 …]
    python experiments/music.py latents --dataset speech.h5 --model runs/classes --run runs/reader --output music.json

Each part writes its own entry of the JSON file and leaves the others. A run that was interrupted goes on; one that is
complete is only judged again.
"""

import argparse, json, os, sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from spectro_dreamer.config import SpectroError
from spectro_dreamer.files import write_text
from spectro_dreamer.learn.compute import pick_device
from spectro_dreamer.learn.runs import holds_run
from spectro_dreamer.learn.tracking import history
from spectro_dreamer.model.world_model import load
from spectro_dreamer.progress import show_progress
from spectro_dreamer.rivals.abc_tunes import MusicConfig, read_tunes, title
from spectro_dreamer.rivals.composing import check_tune, compose, format_survey, judge_tunes, survey
from spectro_dreamer.rivals.latent_priors import latent_corpus, rival_priors
from spectro_dreamer.rivals.music_lstm import (
    NGram,
    decode_text,
    load_music,
    lstm_nats,
    mean_nats,
    split_tunes,
    train_music,
)
from spectro_dreamer.rivals.playing import render


def machine_of(model):
    """What a model runs on, in words."""
    if model.out.weight.device.type != "cpu": return torch.cuda.get_device_name()
    return f"a CPU, {torch.get_num_threads()} thread(s)"


def config(a):
    """The run's settings from the flags."""
    return MusicConfig(
        embedding=a.embedding,
        hidden=a.hidden,
        dropout=a.dropout,
        iterations=a.iterations,
        batch_size=a.batch_size,
        length=a.length,
        lr=a.lr,
        lr_decay=True,
        seed=a.seed,
        device=a.device,
    )


def trained(corpus, a):
    """Train, go on, or leave as it is; the run's folder and what it took."""
    run, cfg = Path(a.run), config(a)
    going = holds_run(run)
    train_music(corpus, cfg, run, run if going else None, progress=sys.stderr.isatty(), use_mlflow=False)
    rows, model = history(run), load_music(run, pick_device(a.device))
    best, timed = min(rows, key=lambda r: r["val_loss"]), [r for r in rows if "cpu_seconds" in r]
    return model, dict(
        config=model.config.to_dict()["music"],
        parameters=sum(p.numel() for p in model.parameters()),
        steps=rows[-1]["epoch"],
        best_step=best["epoch"],
        seconds=sum(r["seconds"] for r in rows),
        cpu_seconds=sum(r["cpu_seconds"] for r in timed) / max(1, len(timed)) * len(rows),
        machine=machine_of(model),
        curve=[[r["epoch"], r["train_loss"], r["val_loss"]] for r in rows],
    )


def mixed(ours, theirs, weight):
    """Costs of a mixture of two models, symbol by symbol."""
    return [-np.logaddexp(np.log(weight) - a, np.log1p(-weight) - b) for a, b in zip(ours, theirs)]


def heads(text):
    """Which characters of a tune are header lines, its line breaks included."""
    return np.concatenate(
        [
            np.full(len(line), len(line) > 1 and line[1] == ":" and line[0].isalpha())
            for line in text.splitlines(keepends=True)
        ]
    )


def standard_error(costs):
    """Of the mean per symbol, with sequences as the units of chance."""
    apart = [c.sum() for c in costs] - mean_nats(costs) * np.array([len(c) for c in costs])
    return float(np.std(apart, ddof=1) * len(costs) ** 0.5 / sum(map(len, costs)))


def tunes_part(a):
    """Held-out nats beside n-grams, validity by temperature and nucleus, two tunes as in the original."""
    tunes = read_tunes(a.abc)
    corpus = split_tunes(tunes)
    V, end, counts = len(corpus.symbols), corpus.end, {}
    for n in (1, 2, 3, 5, 6, 8):
        counts[n] = NGram(n, V).fit(corpus.train, end)
    print(f"{len(tunes)} tunes, {V} symbols, {len(corpus.train)} + {len(corpus.val)} + {len(corpus.test)}", flush=True)
    model, said = trained(corpus, a)
    costs = {f"{n}-gram": g.nats(corpus.test, end) for n, g in counts.items()} | {"LSTM": lstm_nats(model, corpus.test)}
    val = lstm_nats(model, corpus.val), counts[5].nats(corpus.val, end)
    weight = max(np.arange(0.5, 1, 0.05), key=lambda w: -mean_nats(mixed(*val, w)))
    costs[f"LSTM and 5-gram mixed ({weight:.2f} : {1 - weight:.2f})"] = mixed(costs["LSTM"], costs["5-gram"], weight)
    text = [decode_text(s.tolist(), corpus.symbols) for s in corpus.test]
    music = [~heads(t) for t in text]
    nats = {
        name: dict(nats=mean_nats(c), se=standard_error(c), music_only=mean_nats([x[m] for x, m in zip(c, music)]))
        for name, c in costs.items()
    }
    for name, v in nats.items():
        print(
            f"{name:<36} {v['nats']:.3f} ± {v['se']:.3f} nats per character; of the music alone {v['music_only']:.3f}",
            flush=True,
        )
    known = [decode_text(s.tolist(), corpus.symbols) for s in corpus.train]
    rows, real = survey(model, known, n=a.samples, show=show_progress), judge_tunes(text, known)
    print(format_survey(rows))
    print("held out:", real, flush=True)
    songs = []
    for tempo, seed in ((120, 11), (60, 12)):
        made = next(
            (t for t in compose(model, 64, temperature=0.8, top_p=0.95, seed=seed) if check_tune(t).whole), None
        )
        if made and a.songs:
            songs.append(
                dict(tempo=tempo, title=title(made), abc=made)
                | render(made, Path(a.songs) / f"song_{tempo}.wav", tempo)
            )
            print(songs[-1], flush=True)
    split = dict(
        tunes=len(tunes),
        symbols=V,
        train=len(corpus.train),
        val=len(corpus.val),
        test=len(corpus.test),
        test_characters=sum(map(len, corpus.test)),
        train_characters=sum(map(len, corpus.train)),
    )
    return dict(split=split, training=said, nats=nats, survey=rows, held_out=real, songs=songs)


def latents_part(a):
    """The rival prior over latent tokens."""
    world = load(a.model)
    corpus, text = latent_corpus(
        world,
        a.dataset,
        max_clips=tuple(max(1, a.max_clips // k) if a.max_clips else None for k in (1, 10, 3)),
        show=show_progress,
    )
    print(
        f"{len(corpus.train)} + {len(corpus.val)} + {len(corpus.test)} clips, {sum(map(len, corpus.train)):,} classes",
        flush=True,
    )
    model, said = trained(corpus, a)
    rates = rival_priors(world, corpus, text, model)
    for name, v in rates.items():
        print(f"{name:<36} {v:8.1f} bit/s", flush=True)
    m = world.config.model
    about = dict(
        groups=m.z_state_size // m.classes,
        classes=m.classes,
        seconds_per_token=world.config.tokens.seconds(world.config.front_end),
        test_tokens=sum(map(len, text.kl)),
        clips=dict(train=len(corpus.train), val=len(corpus.val), test=len(corpus.test)),
        train_classes=sum(map(len, corpus.train)),
        world_parameters=sum(p.numel() for p in world.parameters()),
    )
    return dict(about=about, training=said, bits_per_second=rates)


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = p.add_subparsers(dest="part", required=True)
    tunes, latents = which.add_parser("tunes"), which.add_parser("latents")
    tunes.add_argument("--abc", required=True, help="an ABC file")
    tunes.add_argument("--songs", help="a folder for two tunes as sound")
    tunes.add_argument(
        "--samples", type=int, default=32, help="tunes for each pair of temperature and nucleus (default: %(default)s)"
    )
    latents.add_argument("--dataset", required=True, help="HDF5 file from spectro_prepare")
    latents.add_argument("--model", required=True, help="run of a world model with categorical states")
    latents.add_argument(
        "--max-clips",
        type=int,
        default=0,
        help="to learn from; a tenth as many to choose by, a third to be judged on; 0 for all (default: %(default)s)",
    )
    for q in (tunes, latents):
        q.add_argument("--run", required=True, help="folder of the LSTM's run")
        q.add_argument("--output", required=True, help="the JSON file to write into")
        q.add_argument("--device", default="auto")
        for name, value in dict(
            embedding=256, hidden=1024, dropout=0.0, iterations=6000, batch_size=32, length=200, lr=2e-3, seed=0
        ).items():
            q.add_argument(
                f"--{name.replace('_', '-')}", type=type(value), default=value, help="(default: %(default)s)"
            )
    a = p.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    try:
        part = dict(tunes=tunes_part, latents=latents_part)[a.part](a)
        out = Path(a.output)
        old = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
        text = json.dumps(old | {a.part: part}, allow_nan=False)
        write_text(out, json.dumps(json.loads(text, parse_float=lambda x: round(float(x), 4)), indent=1) + "\n")
    except SpectroError as e:
        sys.exit(f"music: {e}")
    except OSError as e:
        sys.exit(f"music: {e.strerror or e}: {e.filename or ''}")


if __name__ == "__main__":
    main()
