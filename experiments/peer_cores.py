"""Our recurrence beside the cores of others, unmodified, as they are published (chapter 91b).

    git clone https://github.com/jurgisp/pydreamer
    git clone https://github.com/NM512/dreamerv3-torch
    pip install --no-deps --target torchrl torchrl==0.14.1 tensordict==0.14.3 pyvers==0.2.3 hoptorch==0.1.4
    python experiments/peer_cores.py --pydreamer pydreamer --dreamerv3-torch dreamerv3-torch --torchrl torchrl \
        --output peer_cores.json

Each peer may be left out. A step of each: forward, features and KL, backward, Adam; batches of 16, Gaussian states, the
sizes of the report, no layer norm, one thread, processor time, in turns. Everybody has the same optimiser, and
`torch.distributions` does not check its arguments, as in pydreamer's training.

Where the cores differ: all three peers have a layer before the GRU, and one hidden layer in prior and posterior, where
the report has two. So ours is run with two, and with one. torchrl's prior has a hidden layer as wide as h, 200 instead
of 400. torchrl and dreamerv3-torch make the prior within the loop, and draw a sample of it. Weights, operations and
matrix products of each are counted.
"""

import argparse, importlib, json, os, platform, subprocess, sys, types
from dataclasses import replace
from functools import partial
from importlib import metadata, util
from pathlib import Path
from time import process_time
from typing import Callable, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from spectro_dreamer.config import ModelConfig, SpectroError
from spectro_dreamer.files import write_text
from spectro_dreamer.machine import keep_memory
from spectro_dreamer.model.rssm import RSSM
from spectro_dreamer.model.unrolled import supports
from spectro_dreamer.use.benchmark import Bench, Contender, Spread, format_bench, interleave, machine, one_thread
from spectro_dreamer.use.step_benchmark import (Census, census_of, compiled_core, loop_products, products_alone,
                                                readable_core)

CFG = ModelConfig(action_size=21, encoder_sees_h=False)
SHALLOW = replace(CFG, hidden_layers=1)
B, E, A, H, Z, HIDDEN = 16, CFG.embedding_size, CFG.action_size, CFG.h_state_size, CFG.z_state_size, CFG.hidden_size
OURS, ONE_LAYER, PRODUCTS = "ours, compiled", "ours, compiled, one hidden layer", "our matrix products alone"


class Core(NamedTuple):
    """A core with its weights."""
    module: nn.Module
    run: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # embeddings, actions → features (…, H + Z), KL (…)
    time_first: bool = False  # whether its arrays are (T, B, …) rather than (B, T, …)


# The cores of others: each function takes the folder where it lies, and gives one that makes the core ----------------

def from_folder(folder, file, what):
    """The folder, if the file is in it. Raises `SpectroError` if not."""
    if not Path(folder, file).is_file(): raise SpectroError(f"{folder} has no {file}: name {what}")
    return Path(folder).resolve()


def pydreamer(folder):
    """Its module `rssm`. The package is not begun as a whole: it wants games."""
    home = from_folder(folder, "pydreamer/models/rssm.py", "a clone of github.com/jurgisp/pydreamer")
    package = types.ModuleType("their_models")
    package.__path__ = [str(home/"pydreamer"/"models")]
    sys.modules["their_models"] = package
    rssm = importlib.import_module("their_models.rssm")
    def make():
        core = rssm.RSSMCore(E, A, H, Z, 0, HIDDEN, 1, "gru", False)
        def run(e, a):
            prior, posterior, _, features, _, _ = core(e, a, torch.zeros(e.shape[:2], dtype=torch.bool),
                                                       core.init_state(B))
            return features, kl_divergence(core.zdistr(posterior), core.zdistr(prior))
        return Core(core, run, True)
    return make


def load_module(name, path):
    """A module from a file, entered under a name."""
    spec = util.spec_from_file_location(name, path)
    sys.modules[name] = module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dreamerv3_torch(folder):
    """Its modules `tools` and `networks`. Tensorboard, which is not needed here, may be absent."""
    home = from_folder(folder, "networks.py", "a clone of github.com/NM512/dreamerv3-torch")
    try: importlib.import_module("torch.utils.tensorboard")
    except ImportError: sys.modules["torch.utils.tensorboard"] = types.SimpleNamespace(SummaryWriter=None)
    load_module("tools", home/"tools.py")  # `networks` imports it by this name
    networks = load_module("their_networks", home/"networks.py")
    def make():
        # its "softplus" asks torch for a function that torch has not; "sigmoid2" is what its configuration says
        core = networks.RSSM(Z, H, HIDDEN, act="ELU", norm=False, std_act="sigmoid2", initial="zeros", num_actions=A,
                             embed=E, device="cpu")
        def run(e, a):
            first = torch.zeros(e.shape[:2])
            first[:, 0] = 1
            posterior, prior = core.observe(e, a, first)
            return core.get_feat(posterior), kl_divergence(*(core.get_dist(x)._dist for x in (posterior, prior)))
        return Core(core, run)
    return make


def torchrl(folder):
    """Its modules RSSMPrior, RSSMPosterior and RSSMRollout, put together as in its own Dreamer."""
    home = from_folder(folder, "torchrl/modules/models/model_based.py", "a folder that pip filled with torchrl")
    sys.path.append(str(home))
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule
    from torchrl.modules.models.model_based import RSSMPosterior, RSSMPrior, RSSMRollout
    def after(*names): return [n if n == "_" else ("next", n) for n in names]
    def make():
        prior = RSSMPrior(torch.empty(A), H, H, Z, action_dim=A)  # of the actions it reads the shape
        posterior = RSSMPosterior(HIDDEN, Z, rnn_hidden_dim=H, obs_embed_dim=E)
        core = RSSMRollout(
            TensorDictModule(prior, ["state", "belief", "action"], after("prior_mean", "prior_std", "_", "belief")),
            TensorDictModule(posterior, after("belief", "heard"), after("posterior_mean", "posterior_std", "state")))
        def run(e, a):
            path = core(TensorDict(dict(state=e.new_zeros(*a.shape[:2], Z), belief=e.new_zeros(*a.shape[:2], H),
                                        action=a, next=TensorDict(dict(heard=e), a.shape[:2])), a.shape[:2]))["next"]
            q, p = (Independent(Normal(path[f"{x}_mean"], path[f"{x}_std"]), 1) for x in ("posterior", "prior"))
            return torch.cat([path["belief"], path["state"]], -1), kl_divergence(q, p)
        return Core(core, run)
    return make


PEERS = {"pydreamer": pydreamer, "dreamerv3-torch": dreamerv3_torch, "torchrl": torchrl}


# The measurement ------------------------------------------------------------------------------------------------------

def ours(run, cfg):
    """A core of ours."""
    rssm = RSSM(cfg)
    return Core(rssm, partial(run, rssm))


def step_of(core, T):
    """A step: forward, loss, backward, Adam. Raises `SpectroError` if a weight does not take part."""
    torch.manual_seed(0)
    lead = (T, B) if core.time_first else (B, T)
    e, a = torch.randn(*lead, E, requires_grad=True), torch.randn(*lead, A)
    adam = torch.optim.Adam(core.module.parameters(), 1e-4, fused=True)
    def step():
        features, kl = core.run(e, a)
        assert features.numel() == T*B*(H + Z) and kl.numel() == T*B
        adam.zero_grad()
        e.grad = None
        (features.pow(2).sum(-1) + kl).mean().backward()
        adam.step()
    step()
    idle = [name for name, p in core.module.named_parameters() if p.grad is None or not p.grad.any()]
    if idle: raise SpectroError(f"the loss does not reach {', '.join(idle)}")
    return step


def times(run, n):
    """Run it so many times."""
    for _ in range(n): run()


def measure(cores, T, rounds, steps):
    """The benchmark at one length, against our compiled core, and what each core asks for."""
    runs = {name: step_of(core, T) for name, core in cores.items()}
    asked: dict[str, Census] = {name: census_of(run) for name, run in runs.items()}
    for name, cfg in (OURS, CFG), (ONE_LAYER, SHALLOW): asked[name].products += loop_products(cfg, B, T)
    runs[PRODUCTS] = products_alone(asked[OURS])
    rows = interleave([Contender(name, partial(times, run, steps), steps) for name, run in runs.items()], rounds,
                      process_time)
    notes = [f"{name}: {c.operations:,} operations dispatched, {c.flops/1e9:.2f} GFLOP in {len(c.products):,} matrix "
             "products" for name, c in asked.items()]
    return Bench(f"A step of the recurrence, B = {B}, T = {T}", "steps a round", "steps/s", True, rows, notes), asked


def within_rounds(row, base):
    """How many times as long as the base a contender took, as [median, lowest, highest]."""
    return [round(x, 3) for x in Spread.of([a/b for a, b in zip(row.seconds, base.seconds)])]


def told(bench, asked):
    """The rows of a benchmark, for JSON."""
    found = {}
    for row in bench.rows:
        found[row.name] = dict(ms=round(1e3*bench.each(row)[0], 2), ratio=within_rounds(row, bench.row(OURS)),
                               ratio_one_layer=within_rounds(row, bench.row(ONE_LAYER)))
        if row.name in asked:
            counted = asked[row.name]
            found[row.name] |= dict(operations=counted.operations, gflop=round(counted.flops/1e9, 3),
                                    moved_gb=round(counted.moved/1e9, 3))
    return found


def processor():
    """Its name, as Linux says it."""
    said = Path("/proc/cpuinfo")
    names = [x.partition(":")[2] for x in said.read_text().splitlines() if "model name" in x] if said.is_file() else []
    return names[0].strip() if names else platform.processor()


def version_of(name, folder):
    """Which version a peer is: of a package its number, of a clone its commit; empty if neither is known."""
    if name == "torchrl": return metadata.version("torchrl")
    said = subprocess.run(["git", "-C", str(folder), "rev-parse", "--show-prefix", "HEAD"], capture_output=True,
                          text=True)
    inside, _, commit = said.stdout.partition("\n")
    return "" if inside else commit.strip()  # a folder inside another repository has no commit of its own


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, text in zip(PEERS, ("a clone of github.com/jurgisp/pydreamer", "a clone of github.com/NM512/"
                                  "dreamerv3-torch", "a folder that pip filled with torchrl (--target)")):
        p.add_argument(f"--{name}", metavar="FOLDER", help=text)
    p.add_argument("--output", required=True, help="JSON to write")
    p.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    p.add_argument("--lengths", type=int, nargs="+", default=[20, 200], help="T (default: %(default)s)")
    a = p.parse_args()
    given = {name: folder for name in PEERS if (folder := getattr(a, name.replace("-", "_")))}
    if min(a.rounds, *a.lengths) < 1: sys.exit("peer_cores: --rounds and --lengths must be at least 1")
    keep_memory()
    Distribution.set_default_validate_args(False)
    try:
        if not supports(RSSM(CFG)): raise SpectroError("without a C++ compiler there is nothing to compare")
        cores = {OURS: ours(compiled_core, CFG), ONE_LAYER: ours(compiled_core, SHALLOW),
                 "ours, readable": ours(readable_core, CFG),
                 "ours, readable, one hidden layer": ours(readable_core, SHALLOW)}
        cores |= {f"{name}'s core": PEERS[name](folder)() for name, folder in given.items()}
        left_out = [name for name in PEERS if name not in given]
        if left_out: print(f"left out, since no folder was given: {', '.join(left_out)}\n")
        found = dict(peers={name: version_of(name, folder) for name, folder in given.items()}, processor=processor(),
                     machine=machine(), load=round(os.getloadavg()[0], 1), rounds=a.rounds, T={},
                     weights={name: sum(p.numel() for p in core.module.parameters()) for name, core in cores.items()})
        print(*(f"{name}: {n:,} weights" for name, n in found["weights"].items()), "", sep="\n")
        with one_thread():
            for T in a.lengths:
                bench, asked = measure(cores, T, a.rounds, max(1, 60//T))
                print(format_bench(bench), "\n", flush=True)
                found["T"][str(T)] = told(bench, asked)
    except SpectroError as e: sys.exit(f"peer_cores: {e}")
    write_text(a.output, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__": main()
