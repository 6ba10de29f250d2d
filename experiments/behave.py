"""Learn a behaviour (chapter 70) in trained models and judge it on speakers that were not trained on, beside policies
that learn nothing.

    python experiments/behave.py --dataset speech.h5 --runs runs/a runs/b runs/c --output behaviour.json

For every model an actor and a critic learn in imagination; then all policies dream after the same beginnings, with the
same noise, towards five targets of energy, and what the dreams decode to is measured. The behaviours are kept beside
the output (OUTPUT.N.behaviour) and used again when they fit the model. Written: for each policy the measured reward and
its parts, by run and by target, each a mean over beginnings with its standard error, and what was predicted.
"""

import argparse, json, math, os, sys, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

HEARD = 20  # tokens before a plan begins


def targets(energy, swing):
    """Five things to ask for, made of the recorded contours (B, T)."""
    import torch

    swell = torch.linspace(-swing, swing, energy.shape[1])
    return {
        "louder": energy + swing * 2 / 3,
        "softer": energy - swing * 2 / 3,
        "swell": energy + swell,
        "fade": energy - swell,
        "another's": energy.roll(len(energy) // 2, 0),
    }


def learned(model, data, cfg, file):
    """The behaviour kept in `file` if it was learned in this model with these settings, or a new one, kept there."""
    from spectro_dreamer.act.actor_critic import load_behaviour, save_behaviour, train_behaviour
    from spectro_dreamer.config import SpectroError

    try:
        kept = load_behaviour(file, model)
    except SpectroError:
        kept = None
    if kept and kept.learner["cfg"] == cfg:
        print(f"{file.name}: kept from an earlier call")
        return kept
    start = time.time()

    def show(steps):
        for k in steps:
            yield k
            if k % 50 == 49:
                print(f"  step {k + 1} of {cfg.steps}, {time.time() - start:.0f} s", flush=True)

    behaviour = train_behaviour(model, data, cfg, show)
    save_behaviour(behaviour, model, file)
    return behaviour


def judged(model, actor, ctx, target, seed):
    """For each policy (B, 6): quality, timbre and minus the distance measured, and the same as predicted."""
    import torch
    from spectro_dreamer.act.actor_critic import dream_with, measured_terms, reward_terms, rival_actions

    g = torch.Generator().manual_seed(seed)
    noise = torch.randn(*target.shape, model.rssm.z_size, generator=g)
    given = ctx.given[:, None].expand(-1, target.shape[1], -1)
    with torch.no_grad():
        paths = {
            n: model.imagine(ctx.start, torch.cat([given, a], -1), 1.0, noise).feature
            for n, a in rival_actions(ctx, target, actor, g, model.config.tokens.hop).items()
        }
        paths["learned"] = dream_with(actor, model, ctx.start, ctx.given, target, noise=noise).path
        return {
            n: torch.cat(
                [measured_terms(model, p, target, ctx.quiet, ctx.voice), reward_terms(model, p, target)], -1
            ).mean(1)
            for n, p in paths.items()
        }


def behave(a):
    """Everything; what is slow is said."""
    import torch
    from spectro_dreamer.act.actor_critic import DB_PER_UNIT, BehaviourConfig, contexts
    from spectro_dreamer.config import SpectroError
    from spectro_dreamer.files import write_text
    from spectro_dreamer.judge.evaluation import open_split
    from spectro_dreamer.model.world_model import load

    torch.set_num_threads(1)
    output, scores = Path(a.output), {}
    output.parent.mkdir(parents=True, exist_ok=True)
    mean = lambda x: dict(mean=x.mean().item(), se=x.std().item() / math.sqrt(len(x)))
    fingerprint = None
    for seed, run in enumerate(a.runs):
        model = load(run)
        data, clips = open_split(model, a.dataset)
        if fingerprint not in (None, data.fingerprint):
            raise SpectroError("the runs share no data set")
        fingerprint, cfg = data.fingerprint, BehaviourConfig(seed=seed, steps=a.steps)
        ctx = contexts(model, data, clips, HEARD, a.horizon)
        print(
            f"{Path(run).name}: {len(ctx.given)} beginnings of {len({data.speakers[i] for i in clips})} speakers",
            flush=True,
        )
        behaviour = learned(model, data, cfg, output.with_name(f"{output.name}.{seed}.behaviour"))
        for name, target in targets(ctx.energy, a.swing_db / DB_PER_UNIT).items():
            by = judged(model, behaviour.actor, ctx, target, seed)
            for policy, x in by.items():
                row = dict(
                    reward=mean(x[:, :3].sum(1)),
                    quality=mean(x[:, 0]),
                    timbre=mean(x[:, 1]),
                    miss_db=mean(-x[:, 2] * cfg.tolerance_db),
                    predicted=mean(x[:, 3:].sum(1)),
                    less_copied=mean((x - by["copied"])[:, :3].sum(1)),
                    behind_learned=(x[:, :3].sum(1) < by["learned"][:, :3].sum(1)).float().mean().item(),
                )
                scores.setdefault(policy, {}).setdefault(Path(run).name, {})[name] = row
    about = dict(
        dataset=Path(a.dataset).name,
        data_fingerprint=fingerprint,
        n_beginnings=len(ctx.given),
        n_speakers=len({data.speakers[i] for i in clips}),
        heard=HEARD,
        horizon=a.horizon,
        seconds=a.horizon * data.tokens.seconds(data.front_end),
        swing_db=a.swing_db,
        steps=a.steps,
        style_dropout=model.config.train.style_dropout,
    )
    write_text(output, json.dumps(dict(about=about, scores=scores), indent=1, allow_nan=False))
    for policy, runs in scores.items():
        rewards = [sum(t["reward"]["mean"] for t in r.values()) / len(r) for r in runs.values()]
        misses = [sum(t["miss_db"]["mean"] for t in r.values()) / len(r) for r in runs.values()]
        print(
            f"{policy:<10} reward "
            + " ".join(f"{r:+.3f}" for r in rewards)
            + "   miss (dB) "
            + " ".join(f"{m:.2f}" for m in misses)
        )


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="the HDF5 file the runs were trained on")
    p.add_argument(
        "--runs",
        nargs="+",
        required=True,
        help="folders of runs (their best model), or checkpoints, of different seeds",
    )
    p.add_argument("--output", required=True, help="the JSON file to write")
    p.add_argument("--steps", type=int, default=250, help="gradient steps of actor and critic (default: %(default)s)")
    p.add_argument("--horizon", type=int, default=30, help="tokens that are planned (default: %(default)s)")
    p.add_argument(
        "--swing-db",
        type=float,
        default=9.0,
        help="how far targets are from what was recorded, dB (default: %(default)s)",
    )
    a = p.parse_args()
    from spectro_dreamer.config import SpectroError

    try:
        behave(a)
    except SpectroError as e:
        sys.exit(f"behave: {e}")
    except OSError as e:
        sys.exit(f"behave: {e.strerror or e}: {e.filename or ''}")


if __name__ == "__main__":
    main()
