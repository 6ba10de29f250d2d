"""Learn a behaviour (chapter 70b) in trained models and judge it beside policies that learn nothing.

This makes the table of the report. For one model `spectro_behave train` and `spectro_behave judge` do the same.

    python experiments/behave.py --dataset speech.h5 --runs runs/a runs/b runs/c --output behaviour.json

For every model an actor and a critic learn in imagination, as a run that is kept beside the output (OUTPUT.N.run) and
gone on with if the call is interrupted; then all policies dream after the same beginnings towards five targets, and
what the dreams decode to is measured. Written: for each policy the scores by run and by target.
"""

import argparse, json, os, sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def behave(a):
    """Everything; what is slow is said."""
    import torch
    from spectro_dreamer.act.behaviour_settings import BehaviourConfig
    from spectro_dreamer.act.behaviours import learn_behaviour, load_behaviour
    from spectro_dreamer.act.policies import format_policies, judge_behaviour, plain_score
    from spectro_dreamer.config import SpectroError
    from spectro_dreamer.files import write_text
    from spectro_dreamer.judge.evaluation import open_split
    from spectro_dreamer.learn.runs import holds_run
    from spectro_dreamer.model.world_model import load

    torch.set_num_threads(1)
    output, table, about = Path(a.output), {}, None
    for seed, run in enumerate(a.runs):
        model, cfg = load(run), BehaviourConfig(seed=seed, steps=a.steps)
        data, clips = open_split(model, a.dataset)
        folder = output.with_name(f"{output.name}.{seed}.run")
        begun = dict(resume_from=folder) if holds_run(folder) else dict(run_dir=folder)
        behaviour = load_behaviour(learn_behaviour(run, a.dataset, cfg, **begun, use_mlflow=False), model)
        if behaviour.learner["cfg"] != cfg:
            raise SpectroError(f"{folder} was learned with other settings: remove it, or choose another output")
        s = judge_behaviour(model, behaviour, data, clips, horizon=a.horizon, swing_db=a.swing_db, seed=seed)
        if about and about["data_fingerprint"] != s.about["data_fingerprint"]:
            raise SpectroError("the runs share no data set")
        about = s.about
        for policy, row in s.scores.items():
            scores = {target: plain_score(x) for target, x in row.items()}
            table.setdefault(policy, {})[Path(run).name] = scores
        print(f"{Path(run).name}: {format_policies(s)}", flush=True)
    write_text(output, json.dumps(dict(about=about, scores=table), indent=1, allow_nan=False))


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
