"""Measure whether dreams help:

students trained on recorded and dreamed speech in several proportions, judged on recorded speakers they never heard.

    python experiments/dreams.py --dataset speech.h5 [--work runs/dreams] [--only few grain cross] [--seeds 0 1]

`--dataset` is a data set of `spectro_prepare`. Two situations: `few`, 20 minutes of the training clips, and `all` of
them. In each a teacher is trained, it dreams, and students are trained from scratch on mixtures, all for the same
number of steps. `cross`: students of the few recordings with the dreams of the teacher that heard all of them;
`grain`: dreams with the noise that a mean lacks; `detailed`: dreams of teachers that draw details and have voices, as
the preset `speaker` does; `long`: students of the few recordings for three times as many steps, alone and with
detailed dreams; `directed`: half of the dreams asked for loud onsets. What is done is not done again, so an
interrupted call goes on. Only numbers and a figure of spectrograms are kept in nbs/results/; no sound.
"""

import argparse, json, os, platform, sys, time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import torch

from scoreboard import machine, score, write_scores
from spectro_dreamer.config import SpectroError, preset
from spectro_dreamer.files import write_text
from spectro_dreamer.data.dataset import SpectrogramData
from spectro_dreamer.act.dream_sets import dataset_episodes, write_dataset
from spectro_dreamer.act.written_dreams import generate_dreams
from spectro_dreamer.judge.evaluation import follow_clip, per_band, pool_clips
from spectro_dreamer.judge.open_loop import open_loop
from spectro_dreamer.act.mixing import DIRECTIONS, Mix, directed_dreams, find_rare, onset
from spectro_dreamer.judge.rates import line_at, rate_line
from spectro_dreamer.learn.tracking import history
from spectro_dreamer.learn.training import train
from spectro_dreamer.model.world_model import load

# minutes of training clips, and of validation clips that choose the epoch, in the small data set
FEW, HELD = 20.0, 8.0
EPOCHS = dict(few=20, all=2, long=60)  # about as many steps, 800 and 750; and so many that recordings run dry
HORIZON, CONTEXT, HOURS = 60, 20, 1.5  # tokens of a dream, tokens heard before, hours of dreams from each teacher
# what a teacher has beside those of `dreamer`: details and a voice, at the students' price of a nat
DETAILED = dict(z_state_size=16, detail_size=48, voice_size=16, beta_kl=10.0, beta_detail=2.0, beta_voice=2.0)
LINES = {}  # the Gaussian line of the validation clips, by the statistics that standardise them
SITUATIONS = ("few", "grain", "detailed", "long", "cross", "directed", "all")
SHARES = {
    "0": None,
    "0.25": dict(share=0.25),
    "0.5": dict(share=0.5),
    "0.75": dict(share=0.75),
    "0 to 0.75": dict(share=0.75, start=0.0, steps=600),
}


def few_recordings(dataset, path):
    """A data set with a random 20 minutes of the training clips, and some clips of every validation speaker."""
    if path.is_file():
        return
    data, rng = SpectrogramData(dataset), np.random.default_rng(0)
    minutes = data.lengths / data.front_end.frame_rate / 60
    order = rng.permutation(data.train)
    chosen = order[: 1 + int(np.searchsorted(np.cumsum(minutes[order]), FEW))]
    held, by_speaker = [], {}
    for i in rng.permutation(data.val):
        by_speaker.setdefault(data.speakers[i], []).append(i)
    # in turn
    while any(by_speaker.values()) and (
        minutes[held].sum() < HELD or len({data.speakers[i] for i in held}) < len(by_speaker)
    ):
        held += [clips.pop() for clips in by_speaker.values() if clips]
    write_dataset(dataset_episodes(dataset, sorted([*chosen, *held])), path)
    small = SpectrogramData(path, share_held(path, data))
    if {small.speakers[i] for i in small.val} != {data.speakers[i] for i in data.val}:
        raise SpectroError("the small data set holds back other speakers")


def share_held(path, data):
    """The val_split that holds back the same speakers in a data set with fewer training speakers."""
    speakers = set(SpectrogramData(path, 0.0).speakers)
    return len({data.speakers[i] for i in data.val}) / len(speakers)


def folder_of(name, work):
    return work / "".join(c if c.isalnum() else "-" for c in name)


def run(name, dataset, cfg, mix, work):
    """Train, or go on, or find it done; the run's folder and the processor time of this call."""
    folder, start = folder_of(name, work), time.process_time()
    if not (folder / "metrics.jsonl").is_file() or history(folder)[-1]["epoch"] < cfg.train.epochs:
        resume = (folder / "checkpoints" / "last.pt").is_file()
        train(
            dataset,
            None if resume else cfg,
            None if resume else folder,
            resume_from=folder if resume else None,
            progress=False,
            use_mlflow=False,
            mix=mix,
        )
    return folder, time.process_time() - start


def dreamed(teacher, dataset, path, seed=0, directed=0.0, grain=False):
    """Dreams of a teacher as a data set; `directed` is the share that begins before a loud onset and is told its style;
    with `grain` each band gets white noise as strong as the teacher's error in redrawing its training clips.
    """
    if path.is_file():
        return
    model = load(teacher)
    n = round(HOURS * 3600 / (model.config.tokens.seconds(model.front_end) * HORIZON))
    k, how = round(directed * n), dict(context=CONTEXT, with_z=False)
    dreams = generate_dreams(model, n - k, HORIZON, data=dataset, seed=seed, **how)
    if k:
        dreams += directed_dreams(model, dataset, k, HORIZON, seed=seed + 500_009, **how)
    if grain:
        data, dice = SpectrogramData(dataset, model.config.train.val_split), np.random.default_rng(seed)
        errors = torch.cat(
            [
                model.reconstruct(data.clip(i))
                - data.clip(i)[: model.config.tokens.n_frames(model.config.tokens.n_tokens(int(data.lengths[i])))]
                for i in data.train[:60]
            ]
        )
        dreams = [
            replace(e, features=e.features + dice.standard_normal(e.features.shape) * errors.std(0).numpy())
            for e in dreams
        ]
    write_dataset(dreams, path)


@torch.no_grad()
def judge(folder, data, clips, rare):
    """Recorded validation speakers: error and rate of reconstructions, error of the token that the prior expects, also
    where a loud onset is, and forecasts.
    """
    model = load(folder)
    data = data.in_units_of(model)
    rows, tokens = [], []
    for i in clips:
        f, spec, cut = follow_clip(model, data, i), data.clip(i), model.config.tokens
        truth, drawn = (per_band(model, x, spec) for x in (f.tokens, model.decode(f.path)))
        # of the new frames
        expected = (
            (model.decoder(torch.cat([f.path.h[:1], f.path.prior.mean[:1]], -1))[0] - f.tokens)[..., -cut.hop :]
            .pow(2)
            .mean(dim=(1, 2))
        )
        event = (
            (rare.measure(spec) > rare.threshold)[: cut.n_frames(len(expected))]
            .unfold(0, cut.frames, cut.hop)[:, -cut.hop :]
            .any(1)
        )
        rows.append(
            dict(
                mse=(drawn[0] - truth).pow(2).mean().item(),
                mse_sampled=(drawn[1] - truth).pow(2).mean().item(),
                kl=f.path.posterior.kl(f.path.prior)[1].sum(-1).mean().item(),
                expected=expected.mean().item(),
                at_onsets=(expected[event].mean().item() if event.any() else None, int(event.sum())),
            )
        )
        tokens.append(len(expected))

    def of(name):
        return pool_clips([r[name] for r in rows], tokens, "", "")

    onsets = pool_clips([r["at_onsets"][0] for r in rows], [r["at_onsets"][1] for r in rows], "", "")
    ahead = open_loop(model, data, clips[::4], context=10, horizons=(1, 5, 10), samples=8)
    key = model.mean.numpy().tobytes()
    if key not in LINES:
        LINES[key] = rate_line(data, clips)
    line = line_at(LINES[key], of("kl").value)
    return dict(
        **{k: of(k).value for k in ("mse", "mse_sampled", "kl", "expected")},
        expected_se=of("expected").se,
        expected_at_onsets=onsets.value,
        onsets=onsets.n_tokens,
        line=line,
        ratio=of("mse_sampled").value / line,
        ahead=dict(zip((1, 5, 10), ahead.errors["prior"])),
        held=dict(zip((1, 5, 10), ahead.errors["last frame held"])),
        band_mean=dict(zip((1, 5, 10), ahead.errors["band mean"])),
    )


@torch.no_grad()
def texture(model, recorded, dreams):
    """How a set of dreams differs from the recordings it is mixed with: variance, how far a frame is from the one
    before, and how well a model draws both again.

    Standardised per band.
    """

    def of(data, clips):
        z = [(data.clip(i) - model.mean) / model.std for i in clips]
        mse = [
            (
                model.reconstruct(data.clip(i))
                - data.clip(i)[: model.config.tokens.n_frames(model.config.tokens.n_tokens(int(data.lengths[i])))]
            )
            .div(model.std)
            .pow(2)
            .mean()
            .item()
            for i in clips[:100]
        ]
        return dict(
            variance=torch.cat(z).var(0).mean().item(),
            step=torch.cat([x.diff(dim=0) for x in z]).pow(2).mean().item(),
            redrawn=float(np.mean(mse)),
            hours=float(data.lengths[clips].sum() / data.front_end.frame_rate / 3600),
        )

    return dict(recorded=of(recorded, recorded.train), dreamed=of(dreams, np.arange(len(dreams))))


def rates(teacher, dataset, n=192, horizon=20):
    """How often a loud onset comes in the recordings and in dreams that were or were not asked for one."""
    model = load(teacher)
    data = SpectrogramData(dataset, model.config.train.val_split, model.config.train.split_seed, model.config.tokens)
    rare, how = find_rare(data, onset), dict(data=data, context=CONTEXT, with_z=False)

    def frames(episodes):
        return [torch.from_numpy(e.features) for e in episodes]

    out = dict(
        threshold=rare.threshold,
        training=rare.share(data.clip(i) for i in data.train),
        held=rare.share(data.clip(i) for i in data.val),
        plain=rare.share(frames(generate_dreams(model, n, horizon, seed=3, **how))),
    )
    directed = {
        way: directed_dreams(model, n=n, horizon=horizon, rare=rare, way=way, seed=4, **how) for way in DIRECTIONS
    }
    paths = {p: i for i, p in enumerate(data.paths)}
    places = [
        (paths[e.meta["context"]["episode"]], e.meta["context"]["frame"] + CONTEXT * data.tokens.hop)
        for e in directed["both"]
    ]
    return out | dict(
        n=n,
        horizon=horizon,
        recorded_there=rare.share(data.clip(c)[f : f + data.tokens.n_frames(horizon)] for c, f in places),
        directed={way: rare.share(frames(d)) for way, d in directed.items()},
    )


def picture(teacher, dataset, path):
    """Two training recordings and how the teacher dreamed them on, in one figure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from spectro_dreamer.figures import figure_style
    from spectro_dreamer.data.front_ends import plot_log_mel

    figure_style()
    model = load(teacher)
    data = SpectrogramData(dataset, model.config.train.val_split, model.config.train.split_seed, model.config.tokens)
    long = [i for i in data.train if data.lengths[i] > 200][:2]
    dreams = generate_dreams(model, 2, HORIZON, data=data, context=2 * CONTEXT, starts=[[i, 0] for i in long], seed=5)
    k, rate = 2 * CONTEXT * data.tokens.hop, data.front_end.frame_rate
    fig, axs = plt.subplots(2, 2, figsize=(11, 4.6), layout="constrained", sharex=True, sharey=True)
    for column, (i, dream) in zip(axs.T, zip(long, dreams)):
        ears = data.clip(i)[: k + len(dream)].numpy()
        for ax, name, spec in zip(
            column, ("recorded", "heard, then dreamed"), (ears, np.concatenate([ears[:k], dream.features]))
        ):
            plot_log_mel(spec, data.front_end, ax, name, bar=False)
            ax.axvline(k / rate, color="w", ls="--", lw=1.2)
            ax.label_outer()
    fig.colorbar(axs[0, 0].images[0], ax=axs, label="dB", pad=0.01)
    fig.savefig(path, dpi=90)


def students(only, seeds):
    """(name, situation, whose dreams, mix, seed) in the order in which they matter."""
    for seed in seeds:
        for share, mix in SHARES.items():
            if "few" in only:
                yield f"few, {share}, seed {seed}", "few", "few", mix, seed
        if "grain" in only and seed == seeds[0]:
            yield f"grain, 0.5, seed {seed}", "few", "few grain", SHARES["0.5"], seed
            yield f"cross with grain, 0.25, seed {seed}", "few", "all grain", SHARES["0.25"], seed
        if "detailed" in only:
            for whose, name in (("few detailed", "detailed"), ("all detailed", "cross with details")):
                yield f"{name}, 0.5, seed {seed}", "few", whose, SHARES["0.5"], seed
        if "long" in only:
            yield f"long, 0, seed {seed}", "long", "few", None, seed
            for whose, name in (("all detailed", "long cross with details"), ("few detailed", "long detailed")):
                yield f"{name}, 0.5, seed {seed}", "long", whose, SHARES["0.5"], seed
        if "cross" in only and seed == seeds[0]:
            for share in ("0.5", "0.75"):
                yield f"cross, {share}, seed {seed}", "few", "all", SHARES[share], seed
    for share, mix in SHARES.items() if "all" in only else ():
        yield f"all, {share}, seed {seeds[0]}", "all", "all", mix, seeds[0]
    if "directed" in only:
        yield f"directed, 0.5, seed {seeds[0]}", "few", "few directed", SHARES["0.5"], seeds[0]


def scores_of(table, dataset):
    """The row of the scoreboard: the loss of long students with half of dreams minus that of those without."""
    pairs = [
        (table["runs"].get(f"long cross with details, 0.5, seed {s}"), table["runs"].get(f"long, 0, seed {s}"))
        for s in range(10)
    ]
    gaps = [a["val_loss"] - b["val_loss"] for a, b in pairs if a and b]
    if not gaps:
        return {}
    error = float(np.std(gaps, ddof=1) / len(gaps) ** 0.5) if len(gaps) > 1 else None
    made_by = (
        f"experiments/dreams.py on {Path(dataset).name}, validation loss of students of {FEW:g} minutes after "
        f"{EPOCHS['long']} epochs, half of each batch dreamed by the detailed teacher of all clips, minus that of "
        f"students without dreams; nats a token; {len(gaps)} seeds, unheard speakers, {machine()}"
    )
    return {"dreams_in_training": score(np.mean(gaps), error, len(gaps), 0.0, made_by)}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="HDF5 file from spectro_prepare")
    p.add_argument(
        "--work", type=Path, default=Path("runs/dreams"), help="where data sets and runs go (default: %(default)s)"
    )
    p.add_argument(
        "--only",
        nargs="+",
        default=list(SITUATIONS),
        choices=SITUATIONS,
        help="which situations (default: all of them)",
    )
    p.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[0, 1],
        help="of the students; all but `few` are done with the first alone (default: 0 1)",
    )
    p.add_argument(
        "--table", type=Path, default=ROOT / "nbs" / "results" / "dreams.json", help="file to keep the numbers in"
    )
    p.add_argument("--scoreboard", type=Path, help="JSON of the headline numbers, to which these are added")
    a = p.parse_args()
    torch.set_num_threads(1)
    a.work.mkdir(parents=True, exist_ok=True)

    def keep():
        write_text(a.table, json.dumps(table, indent=1) + "\n")

    table = json.loads(a.table.read_text()) if a.table.is_file() else dict(runs={}, teachers={}, rates={})
    data, small = SpectrogramData(a.dataset), a.work / "few.h5"
    few_recordings(a.dataset, small)
    held, rare = share_held(small, data), find_rare(data, onset)
    sets = dict(few=small, long=small, all=Path(a.dataset))
    alone = preset("dreamer").override(epochs=EPOCHS["few"], checkpoint_freq=10_000, val_split=held)
    base = dict(
        few=alone,
        long=alone.override(epochs=EPOCHS["long"]),
        all=preset("dreamer").override(epochs=EPOCHS["all"], checkpoint_freq=10_000, checkpoint_steps=200),
    )

    def hours(d, clips):
        return float(d.lengths[clips].sum() / d.front_end.frame_rate / 3600)

    opened = SpectrogramData(small, held)
    table["about"] = dict(
        front_end=vars(data.front_end),
        tokens=vars(data.tokens),
        fingerprint=data.fingerprint,
        few=dict(
            train_hours=hours(opened, opened.train), train_clips=len(opened.train), val_hours=hours(opened, opened.val)
        ),
        all=dict(
            train_hours=hours(data, data.train),
            train_clips=len(data.train),
            val_hours=hours(data, data.val),
            val_clips=len(data.val),
            val_speakers=len({data.speakers[i] for i in data.val}),
        ),
        epochs=EPOCHS,
        dream_hours=HOURS,
        horizon=HORIZON,
        context=CONTEXT,
        machine=f"{platform.machine()}, one thread of {os.cpu_count()} shared cores",
        torch=torch.__version__,
    )

    def taught(which):  # the teacher's dreams as a data set
        who, *how = which.split()
        path = a.work / f"dreams_{'_'.join([who, *how])}.h5"
        teacher = f"{who} detailed" if "detailed" in how else who
        cfg = base[who].override(seed=100, **(DETAILED if "detailed" in how else {}))
        folder, spent = run(f"teacher {teacher}", sets[who], cfg, None, a.work)
        start = time.process_time()
        dreamed(folder, sets[who], path, directed=0.5 if "directed" in how else 0.0, grain="grain" in how)
        if teacher not in table["teachers"]:
            table["teachers"][teacher] = dict(
                train_seconds=round(spent),
                dream_seconds=round(time.process_time() - start),
                **judge(folder, data, data.val, rare),
            )
            keep()
        return path

    for name, situation, whose, mix, seed in students(a.only, a.seeds):
        if name in table["runs"]:
            print(f"{name}: kept from an earlier call")
            continue
        folder, spent = run(
            name,
            sets[situation],
            base[situation].override(seed=seed),
            Mix(taught(whose), **mix) if mix else None,
            a.work,
        )
        start, past = time.process_time(), history(folder)
        r = table["runs"][name] = dict(
            train_seconds=round(spent),
            val_loss=min(h["val_loss"] for h in past),
            best_epoch=min(past, key=lambda h: h["val_loss"])["epoch"],
            **judge(folder, data, data.val, rare),
        )
        r["judge_seconds"] = round(time.process_time() - start)
        print(
            f"{name:<28} {r['train_seconds']:4d} s + {r['judge_seconds']} s  best epoch {r['best_epoch']:2d}  MSE "
            f"{r['mse_sampled']:.4f} at {r['kl']:.1f} nats, {r['ratio']:.2f} of the line; expected "
            f"{r['expected']:.4f}, at onsets {r['expected_at_onsets']:.3f}; ahead "
            + ", ".join(f"{v:.3f}" for v in r["ahead"].values()),
            flush=True,
        )
        keep()
    for name, r in table["runs"].items():
        # the mean over recorded and dreamed sequences; runs of an earlier call elsewhere keep theirs
        if folder_of(name, a.work).is_dir():
            r["train_mse"] = history(folder_of(name, a.work))[-1]["train_recon_loss"]
    for who in ("few", "all"):
        if not (a.work / f"teacher-{who}").is_dir():
            continue
        if who in table["teachers"] and who not in table["rates"]:
            table["rates"][who] = rates(a.work / f"teacher-{who}", sets[who])
            keep()
            print(who, table["rates"][who], flush=True)
        if who in table["teachers"]:
            table["teachers"][who]["val_loss"] = min(h["val_loss"] for h in history(a.work / f"teacher-{who}"))
            opened = SpectrogramData(sets[who], base[who].train.val_split)
            table.setdefault("texture", {})[who] = texture(
                load(a.work / f"teacher-{who}"), opened, SpectrogramData(a.work / f"dreams_{who}.h5", 0.0)
            )
            keep()
    if (a.work / "teacher-few").is_dir():
        picture(a.work / "teacher-few", small, a.table.with_suffix(".png"))
    if a.scoreboard:
        write_scores(a.scoreboard, scores_of(table, a.dataset))


if __name__ == "__main__":
    try:
        main()
    except SpectroError as e:
        sys.exit(f"dreams: {e}")
