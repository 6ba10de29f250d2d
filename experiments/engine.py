"""WaveGAN and a world model, taught the same recordings of engines and judged on others (chapters 80 and 81).

    python experiments/engine.py train --engines engine --run runs/engine  # the WaveGAN
    python experiments/engine.py world --engines engine --world runs/engine_world                  # the world model
    python experiments/engine.py judge --engines engine --run runs/engine --world runs/engine_world \
        --output wavegan.json --figure wavegan.png

The folder holds `clips/`, `segments_2s.tsv` (path, start_s) and `labels.tsv` (path, class, credit). Windows are split
by who recorded them, as the credits say: nobody is heard on two sides.
"""

import argparse, csv, json, os, re, sys, tempfile, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from spectro_dreamer.config import SpectroError, preset
from spectro_dreamer.files import write_text
from spectro_dreamer.rivals.engine_judges import fad, format_verdicts, judge, usual_sets
from spectro_dreamer.figures import figure_style
from spectro_dreamer.dream.free_dreams import free_dreams
from spectro_dreamer.data.preparation import prepare
from spectro_dreamer.data.front_ends import log_spectrogram
from spectro_dreamer.learn.tracking import history
from spectro_dreamer.learn.training import train
from spectro_dreamer.sound.vocoder import save_audio, vocode
from spectro_dreamer.rivals.wavegan import (
    Critic,
    Generator,
    Parts,
    WaveGANTrainer,
    generate,
    levelled,
    load_wavegan,
    plot_sounds,
    profiles,
    read_csv,
    read_windows,
    set_distance,
    split_windows,
    spread,
    train_wavegan,
    wavegan_config,
)
from spectro_dreamer.model.world_model import load


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


def rows_of(path):
    """The rows of a table divided by tabs."""
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


KINDS = ("helicopter", "chainsaw")  # and all others


def windows_of(a, cfg):
    """The windows in three parts.

    Each part has its share of the recordists of helicopters, of chainsaws, and of other vehicles.
    """
    engines = Path(a.engines).resolve()
    labels, lines, kind = {r["path"]: r for r in rows_of(engines / "labels.tsv")}, [], {}
    for r in rows_of(engines / "segments_2s.tsv"):
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
    going = (Path(a.run) / "checkpoints" / "last.pt").is_file()
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


def dreams(model, n, cfg, seed, temperature=1.0):
    """Sounds of the world model out of nothing, as long and as loud as the windows."""
    front_end = model.front_end
    frames = -(-cfg.length // front_end.hop_length) + 1
    specs = free_dreams(model, [frames] * n, temperature, seed)
    return levelled(
        np.stack([np.asarray(vocode(np.asarray(x), front_end, seed=k))[: cfg.length] for k, x in enumerate(specs)]),
        cfg.level,
    )


def revoiced(waves, front_end, level):
    """What the vocoder makes of the log-mels of recordings: no dream can sound better."""
    return levelled(
        np.stack(
            [
                np.pad(y := vocode(log_spectrogram(w, front_end), front_end, seed=k)[: len(w)], (0, len(w) - len(y)))
                for k, w in enumerate(waves)
            ]
        ),
        level,
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


def training_of(run):
    """What a run of the WaveGAN was and took."""
    epochs, checks = (
        read_csv(Path(run) / "epochs_statistics" / f"{t}.csv") for t in ("epoch_statistics", "checkpoint_metrics")
    )
    model = load_wavegan(run)
    cfg, best = model.config, min(checks, key=lambda r: r["distance"])
    keys = (
        "epoch",
        "distance",
        "diversity",
        "train_wasserstein",
        "val_wasserstein",
        "critic_grad",
        "generator_grad",
        "critic_loss",
        "generator_loss",
        "learning_rate",
    )
    return dict(
        config=cfg.to_dict()["wavegan"],
        parameters=dict(
            generator=sum(p.numel() for p in model.parameters()),
            critic=sum(p.numel() for p in Critic(cfg).parameters()),
        ),
        epochs=int(epochs[-1]["epoch"]),
        steps=int(epochs[-1]["step"]),
        generator_steps=int(epochs[-1]["step"]) // cfg.n_critic,
        best_epoch=int(best["epoch"]),
        best_step=int(best["step"]),
        seconds=sum(r["seconds"] for r in epochs),
        cpu_seconds=sum(r["cpu_seconds"] for r in epochs),
        converged_at=next((int(r["epoch"]) for r in checks if r["converged"]), None),
        curve=[[r[k] for k in keys] for r in checks],
        columns=keys,
    )


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


def judge_part(a):
    """All sets in one table, with what making them took."""
    model = load_wavegan(a.run)
    cfg = model.config
    parts = windows_of(a, cfg)
    world, n = load(a.world), len(parts.test)
    untrained = Generator(cfg)
    untrained.load_state_dict(WaveGANTrainer(parts, cfg).generator.state_dict())
    final = load_wavegan(Path(a.run) / "checkpoints" / "final_model.pt")
    sets = usual_sets(parts, a.seed, cfg.sample_rate)
    sets |= {
        "recorded, vocoded": revoiced(sets["recorded, training"], world.front_end, cfg.level),
        "WaveGAN, untrained": levelled(generate(untrained, n, a.seed), cfg.level),
        "WaveGAN, best": generate(model, n, a.seed),
        "WaveGAN, last": generate(final, n, a.seed),
        "world model, dreams": dreams(world, n, cfg, a.seed),
    }
    if a.sounds:
        for name, waves in sets.items():
            for k in range(6):
                save_audio(
                    Path(a.sounds) / f"{re.sub(r'[^a-z]+', '_', name.lower())}_{k}.wav", waves[k], cfg.sample_rate
                )
    if a.figure:
        figure_style()
        shown = {
            name: sets[name][:: max(1, n // 5)][:5]
            for name in (
                "recorded, training",
                "recorded, held out",
                "phases drawn anew",
                "noise, mean spectrum",
                "recorded, vocoded",
                "WaveGAN, best",
                "world model, dreams",
            )
        }
        fig = plot_sounds(shown, cfg.sample_rate)
        fig.savefig(a.figure, dpi=70)

    def told(names):
        for name in names:
            print(f"  {name} …", flush=True)
            yield name

    verdicts = judge(sets, parts, cfg.sample_rate, show=told)
    print(format_verdicts(verdicts), flush=True)
    held, there, rng = parts.test.all(), profiles(parts.test.all(), cfg.sample_rate), np.random.default_rng(a.seed)
    again = {
        "recorded, training": lambda k: parts.train.some(rng.permutation(len(parts.train))[:n]),
        "WaveGAN, best": lambda k: generate(model, n, a.seed + k),
        "world model, dreams": lambda k: dreams(world, n, cfg, a.seed + k),
    }
    draws = {}
    for name, make in again.items():
        found = [
            (
                fad(w, held, cfg.sample_rate),
                set_distance(p := profiles(w, cfg.sample_rate), there),
                spread(p) / spread(there),
            )
            for w in map(make, range(1, 1 + a.draws))
        ]
        draws[name] = {
            key: dict(mean=float(np.mean(v)), std=float(np.std(v, ddof=1)))
            for key, v in zip(("frechet", "distance", "diversity"), zip(*found))
        }
        print(name, draws[name], flush=True)
    cost = json.loads((Path(a.world) / "cost.json").read_text(encoding="utf-8"))
    last = history(a.world)[-1]
    about = dict(
        windows=dict(zip(("train", "val", "test"), map(len, parts))),
        recordists=dict(zip(("train", "val", "test"), (len(set(p.groups)) for p in parts))),
        left_out=len(parts.train.left_out),
        split_seed=cfg.split_seed,
        seed=a.seed,
        draws=a.draws,
        machine=f"a CPU, {torch.get_num_threads()} thread, on a machine that others used too",
    )
    result = dict(
        about=about,
        wavegan=training_of(a.run),
        world=dict(
            parameters=sum(p.numel() for p in world.world()),
            epochs=last["epoch"],
            mse=last["train_recon_loss"],
            kl=last["train_kl_loss"],
            **cost,
        ),
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
