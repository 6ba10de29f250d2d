"""WaveGAN and a world model, taught the same recordings of engines and judged on others (chapters 80b to 81b).

For recordings of your own: `spectro_wavegan train` and `spectro_engines judge`. This script makes the report's numbers.

    python experiments/engine.py train --engines engine --run runs/engine  # the WaveGAN
    python experiments/engine.py world --engines engine --world runs/engine_world                  # the world model
    python experiments/engine.py judge --engines engine --run runs/engine --world runs/engine_world \
        --output wavegan.json --figure wavegan.png

The folder holds `clips/`, `segments_2s.tsv` (path, start_s) and `labels.tsv` (path, class, credit). Windows are split
by who recorded them, as the credits say: nobody is heard on two sides.
"""

import argparse, json, os, re, sys, tempfile, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from spectro_dreamer.config import SpectroError, preset
from spectro_dreamer.data.tables import read_rows
from spectro_dreamer.data.preparation import prepare
from spectro_dreamer.figures import figure_style
from spectro_dreamer.files import write_text
from spectro_dreamer.learn.runs import holds_run
from spectro_dreamer.learn.tracking import history
from spectro_dreamer.learn.training import train
from spectro_dreamer.model.world_model import load
from spectro_dreamer.progress import show_progress
from spectro_dreamer.rivals.engine_judges import format_verdicts, judge
from spectro_dreamer.rivals.engine_sets import describe_run, draw_again, engine_sets, random_makers, write_set_sounds
from spectro_dreamer.rivals.wave_settings import wavegan_config
from spectro_dreamer.rivals.wave_windows import (
    Parts,
    levelled,
    profiles,
    read_windows,
    set_distance,
    split_windows,
    spread,
)
from spectro_dreamer.rivals.wavegan_runs import generate, load_wavegan, plot_sounds, read_csv, train_wavegan
from spectro_dreamer.rivals.wavegan_trainer import WaveGANTrainer
from spectro_dreamer.sound.vocoder import save_audio


def recordist(credit):
    """Who recorded a sound, of a credit like `Helicopter by somebody http://…` or `"Truck".

    Original "x.wav" by "somebody". Edited by …`.
    """
    found = (
        re.search(r'Original .*? by "?([^"]+?)"?\. ', credit)
        or re.search(r"\bby (\S+) https?:", credit, re.I)
        or re.search(r"\bBy ([^.]+)\.", credit)
    )
    if not found:
        raise SpectroError(f"nobody is named in the credit {credit!r}")
    return found[1]


KINDS = ("helicopter", "chainsaw")  # and all others


def windows_of(a, cfg):
    """The windows in three parts.

    Each part has its share of the recordists of helicopters, of chainsaws, and of other vehicles.
    """
    engines = Path(a.engines).resolve()
    labels, lines, kind = {r["path"]: r for r in read_rows(engines / "labels.tsv", ("path", "class", "credit"))}, [], {}
    for r in read_rows(engines / "segments_2s.tsv", ("path", "start_s")):
        who = recordist(labels[r["path"]]["credit"])
        kind.setdefault(who, labels[r["path"]]["class"] if labels[r["path"]]["class"] in KINDS else "other")
        lines.append(f"{engines / r['path']}\t{r['start_s']}\t{who}\n")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "windows.tsv"
        table.write_text("path\tstart_s\tgroup\n" + "".join(lines), encoding="utf-8")
        windows = read_windows(table, cfg)
    split = [
        split_windows(windows.part(np.array([kind[g] == k for g in windows.groups])), cfg) for k in (*KINDS, "other")
    ]
    side = [set(g for part in parts for g in part.groups) for parts in zip(*split)]
    return Parts(*(windows.part(np.array([g in names for g in windows.groups])) for names in side))


def config(a):
    """The run's settings: small enough for one core of a CPU."""
    return wavegan_config(
        "production",
        model_dim=8,
        batch_size=8,
        learning_rate=3e-4,
        average=0.99,
        emphasis=0.95,
        epochs=a.epochs,
        checkpoint_epochs=25,
        lr_plateau=30,
        patience=0,
        val_split=0.2,
        test_split=0.25,
        seed=a.seed,
        device="cpu",
    )


def train_part(a):
    """The WaveGAN: begun, gone on with, or left as it is."""
    cfg = config(a)
    going = holds_run(a.run)
    train_wavegan(windows_of(a, cfg), cfg, a.run, a.run if going else None, progress=False, use_mlflow=False)


def world_part(a):
    """A small world model of the same training recordings: prepared and trained, or left as it is.

    Nothing is chosen on other recordings.
    """
    run, cfg = Path(a.world), config(a)
    if (run / "checkpoints" / "best_model.pt").is_file() and history(run)[-1]["epoch"] >= a.world_epochs:
        return
    learned = windows_of(a, cfg).train
    with tempfile.TemporaryDirectory() as folder:
        for number in sorted(set(learned.spans[:, 0].tolist())):
            group = learned.groups[learned.spans[:, 0].tolist().index(number)]
            save_audio(
                Path(folder) / "clips" / re.sub(r"\W", "_", group) / f"{number}.wav",
                levelled(learned.waves[number], cfg.level),
                cfg.sample_rate,
            )
        base = preset("dreamer").override(
            h_state_size=256,
            z_state_size=32,
            embedding_size=256,
            hidden_size=256,
            epochs=a.world_epochs,
            batch_size=8,
            sequence_length=20,
            warmup_steps=100,
            style_parts="none",
            style_dropout=0.0,
            fresh_starts=0.3,
            val_split=0.0,
            ema=0.995,
            checkpoint_freq=999,
            seed=a.seed,
            device="cpu",
        )
        data, spent = run.with_suffix(".h5"), time.process_time()
        prepare(folder, data, front_end=base.front_end, tokens=base.tokens, num_workers=0, progress=False)
        start = time.time()
        train(data, base, run, progress=False, use_mlflow=False)
        write_text(
            run / "cost.json", json.dumps(dict(cpu_seconds=time.process_time() - spent, seconds=time.time() - start))
        )


def speeds(parts, sizes=((4, 8), (8, 8), (8, 16), (16, 8), (32, 8))):
    """CPU seconds of a step of the critic with its share of the generator's, by model_dim and batch."""
    out = []
    for d, B in sizes:
        trainer = WaveGANTrainer(parts, wavegan_config("production", model_dim=d, batch_size=B, device="cpu"))
        for _ in range(5):
            trainer.learn()
        start = time.process_time()
        for _ in range(10):
            trainer.learn()
        out.append(
            dict(
                model_dim=d,
                batch_size=B,
                seconds=(time.process_time() - start) / 10,
                parameters=sum(p.numel() for m in (trainer.generator, trainer.critic) for p in m.parameters()),
            )
        )
        print(out[-1], flush=True)
    return out


def tried(a, parts, curve):
    """What came of earlier attempts, by their last checkpoints, on the windows to choose by; and of this run after
    about as many steps.
    """
    there, out = profiles(parts.val.all()), []
    for name, folder in (t.split("=", 1) for t in a.tried):
        saved = torch.load(Path(folder) / "checkpoints" / "last.pt", weights_only=True)
        made = profiles(generate(load_wavegan(Path(folder) / "checkpoints" / "last.pt"), 64, a.seed + 1))
        out.append(
            dict(
                name=name,
                steps=saved["step"],
                distance=set_distance(made, there),
                diversity=spread(made) / spread(there),
            )
        )
    if out:
        at = min(curve, key=lambda r: abs(r["step"] - out[-1]["steps"]))
        out.append(dict(name="this run", steps=int(at["step"]), distance=at["distance"], diversity=at["diversity"]))
    return out


SHOWN = (
    "recorded, training",
    "recorded, held out",
    "phases drawn anew",
    "noise, mean spectrum",
    "recorded, vocoded",
    "WaveGAN, best",
    "world model, dreams",
)


def write_figure(path, sets, n, sample_rate):
    """The sets of the report, five sounds of each."""
    figure_style()
    shown = {name: sets[name][:: max(1, n // 5)][:5] for name in SHOWN}
    plot_sounds(shown, sample_rate).savefig(path, dpi=70)


def about_of(a, parts, cfg):
    """Which windows were judged, and how."""
    return dict(
        windows=dict(zip(("train", "val", "test"), map(len, parts))),
        recordists=dict(zip(("train", "val", "test"), (len(set(p.groups)) for p in parts))),
        left_out=len(parts.train.left_out),
        split_seed=cfg.split_seed,
        seed=a.seed,
        draws=a.draws,
        machine=f"a CPU, {torch.get_num_threads()} thread, on a machine that others used too",
    )


def world_of(a, world):
    """What the world model was and took."""
    cost = json.loads((Path(a.world) / "cost.json").read_text(encoding="utf-8"))
    last = history(a.world)[-1]
    return dict(
        parameters=sum(p.numel() for p in world.world()),
        epochs=last["epoch"],
        mse=last["train_recon_loss"],
        kl=last["train_kl_loss"],
        **cost,
    )


def judge_part(a):
    """All sets in one table, with what making them took."""
    cfg = load_wavegan(a.run).config
    parts, world = windows_of(a, cfg), load(a.world)
    sets = engine_sets(a.run, parts, world, seed=a.seed)
    if a.sounds:
        write_set_sounds(sets, a.sounds, cfg.sample_rate)
    if a.figure:
        write_figure(a.figure, sets, len(parts.test), cfg.sample_rate)
    verdicts = judge(sets, parts, cfg.sample_rate, show=lambda names: show_progress(names, "sets"))
    print(format_verdicts(verdicts), flush=True)
    draws = draw_again(random_makers(a.run, parts, world, a.seed), parts, a.draws, cfg.sample_rate)
    print(draws, flush=True)
    result = dict(
        about=about_of(a, parts, cfg),
        wavegan=describe_run(a.run),
        world=world_of(a, world),
        verdicts={k: v._asdict() for k, v in verdicts.items()},
        again=draws,
        speeds=speeds(parts),
    )
    result["tried"] = tried(a, parts, read_csv(Path(a.run) / "epochs_statistics" / "checkpoint_metrics.csv"))
    text = json.dumps(result, allow_nan=False)
    write_text(a.output, json.dumps(json.loads(text, parse_float=lambda x: round(float(x), 4)), indent=1) + "\n")


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = p.add_subparsers(dest="part", required=True)
    parts = {name: which.add_parser(name) for name in ("train", "world", "judge")}
    for name, q in parts.items():
        q.add_argument("--engines", required=True, help="folder of the recordings")
        q.add_argument("--seed", type=int, default=0)
        q.add_argument("--epochs", type=int, default=3000, help="of the WaveGAN (default: %(default)s)")
        if name != "world":
            q.add_argument("--run", required=True, help="folder of the WaveGAN's run")
        if name != "train":
            q.add_argument("--world", required=True, help="folder of the world model's run")
            q.add_argument("--world-epochs", type=int, default=120, help="(default: %(default)s)")
    parts["judge"].add_argument("--output", required=True, help="the JSON file to write")
    parts["judge"].add_argument("--figure", help="a picture to write")
    parts["judge"].add_argument("--sounds", help="a folder for some of the sounds")
    parts["judge"].add_argument(
        "--tried", nargs="*", default=[], metavar="NAME=RUN", help="earlier attempts, to be set beside this one"
    )
    parts["judge"].add_argument(
        "--draws", type=int, default=5, help="times that the random sets are drawn again (default: %(default)s)"
    )
    a = p.parse_args()
    torch.set_num_threads(1)
    try:
        dict(train=train_part, world=world_part, judge=judge_part)[a.part](a)
    except SpectroError as e:
        sys.exit(f"engine: {e}")


if __name__ == "__main__":
    main()
