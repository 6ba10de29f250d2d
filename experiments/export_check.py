"""Export trained models to ONNX and measure, on validation clips:

differences from PyTorch, times of single steps beside PyTorch, eight bits.

    python experiments/export_check.py --case mini mini speech256.h5 --case classes runs/classes speech.h5 \
        --machine "2 shared CPU cores" --output export.json

A case is a name, what `load` takes, and the data set whose validation speakers are heard. One thread; contenders take
turns call by call, and times are those that the thread worked, so that other programs on the machine do not count as
waiting (they still share its caches).
"""

import argparse, json, os, sys, tempfile, time
from importlib import metadata
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from spectro_dreamer.config import SpectroError
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import open_split
from spectro_dreamer.use.export import OnnxDreamer, check_export, export_onnx, largest
from spectro_dreamer.use.publishing import format_latency, latency, quantise, redrawing_error
from spectro_dreamer.model.world_model import load


def size(folder):
    """Megabytes (2^20) of the graphs in a folder."""
    return sum(f.stat().st_size for f in folder.glob("*.onnx")) / 2**20


def in_turn(clips, speakers):
    """The clips reordered: one of each speaker, then a second of each."""
    seen, order = {}, []
    for i, s in zip(clips, speakers):
        seen[s] = seen.get(s, -1) + 1
        order.append((seen[s], int(i)))
    return [i for _, i in sorted(order)]


def median_of(rounds):
    """The median of each number over several calls of `latency`."""
    if isinstance(rounds[0], dict):
        return {k: median_of([r[k] for r in rounds]) for k in rounds[0]}
    return float(np.median(rounds))


def measure(checkpoint, dataset, a, folder):
    """All numbers of one case."""
    model = load(checkpoint)
    data, clips = open_split(model, dataset)
    chosen = in_turn(clips, [data.speakers[i] for i in clips])[: a.clips]
    specs = [data.clip(i) for i in chosen]
    start = time.process_time()
    export_onnx(model, folder / "onnx")
    spent = time.process_time() - start
    quantise(folder / "onnx", folder / "int8")
    cfg = model.config
    case = dict(
        latent=cfg.model.latent,
        weights=sum(p.numel() for p in model.parameters()),
        token_seconds=cfg.tokens.seconds(model.front_end),
        export_seconds=spent,
        clips=len(specs),
        speakers=len({data.speakers[i] for i in chosen}),
        tokens=sum(cfg.tokens.n_tokens(len(s)) for s in specs),
        megabytes=dict(onnx=size(folder / "onnx"), int8=size(folder / "int8")),
    )
    case["difference"] = {name: check_export(folder / name, model, specs) for name in ("onnx", "int8")}
    readers = dict(pytorch=model, onnx=OnnxDreamer(folder / "onnx"), int8=OnnxDreamer(folder / "int8"))
    case["mse"] = {name: redrawing_error(r, model.std, specs) for name, r in readers.items()}
    case["latency"] = {
        str(b): {
            name: median_of([latency(folder / name, model, b, steps) for _ in range(a.rounds)])
            for name in ("onnx", "int8")
        }
        for b, steps in ((1, a.steps), (a.batch, max(10, a.steps // 8)))
    }
    return case


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument(
        "--case",
        nargs=3,
        action="append",
        required=True,
        metavar=("NAME", "CHECKPOINT", "DATASET"),
        help="may be given several times",
    )
    p.add_argument(
        "--clips",
        type=int,
        default=27,
        help="validation clips, of as many speakers as there are (default: %(default)s)",
    )
    p.add_argument("--steps", type=int, default=400, help="timed calls of each in a round (default: %(default)s)")
    p.add_argument(
        "--rounds", type=int, default=5, help="rounds of timing, of which the medians are kept (default: %(default)s)"
    )
    p.add_argument("--batch", type=int, default=32, help="streams at a time, beside one (default: %(default)s)")
    p.add_argument("--machine", required=True, help="what it was measured on, in words")
    p.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    a = p.parse_args()
    torch.set_num_threads(1)
    results = dict(
        machine=a.machine,
        clock="seconds that the thread worked",
        threads=1,
        rounds=a.rounds,
        steps=a.steps,
        versions={n: metadata.version(n).split("+")[0] for n in ("torch", "onnx", "onnxscript", "onnxruntime")},
        cases={},
    )
    for name, checkpoint, dataset in a.case:
        with tempfile.TemporaryDirectory() as folder:
            case = measure(checkpoint, dataset, a, Path(folder))
        results["cases"][name] = case
        print(f"{name}: {case['clips']} clips, {case['tokens']} tokens")
        for kind, d in case["difference"].items():
            print(
                f"  {kind}: a step differs by at most {largest(d):.1e}, the loop of 40 by "
                f"{largest(d, stream=True):.1e}; {d['choices']['differ']} of {d['choices']['of']} choices differ; "
                f"MSE {case['mse'][kind]:.4f} (PyTorch {case['mse']['pytorch']:.4f})"
            )
        for b, kinds in case["latency"].items():
            for kind, t in kinds.items():
                print(f"  {kind}, {b} at a time\n{format_latency(t)}")
    write_text(a.output, json.dumps(results, indent=1) + "\n")
    print(f"wrote {a.output}")


if __name__ == "__main__":
    try:
        main()
    except SpectroError as e:
        sys.exit(f"export_check: {e}")
