"""Our recurrence beside pydreamer's own core, unmodified, as its repository has it (chapter 91b).

    git clone https://github.com/jurgisp/pydreamer
    python experiments/pydreamer_core.py --pydreamer pydreamer --output pydreamer_core.json

A step of each: forward, features and KL, backward, Adam; batches of 16, the sizes of the report, one thread, processor
time, in turns. Both have Gaussian states and no layer norm. Their core has a layer before the GRU, and one hidden layer
in prior and posterior. Ours has two there, as in the report, and once one, as theirs; weights are written down.
"""

import argparse, importlib, json, platform, subprocess, sys, time, types
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from spectro_dreamer.config import ModelConfig, SpectroError
from spectro_dreamer.files import write_text
from spectro_dreamer.machine import keep_memory
from spectro_dreamer.model.rssm import RSSM
from spectro_dreamer.model.unrolled import supports
from spectro_dreamer.use.benchmark import Bench, Contender, format_bench, interleave, machine, one_thread
from spectro_dreamer.use.step_benchmark import census_of, core_step, loop_products, products_alone

CFG = ModelConfig(action_size=21, encoder_sees_h=False)
SHALLOW = replace(CFG, hidden_layers=1)
B = 16


def their_core(folder):
    """Their module `rssm`. Their package is not begun as a whole: it wants games."""
    home = Path(folder)/"pydreamer"/"models"
    if not (home/"rssm.py").is_file(): raise SpectroError(f"{home} has no rssm.py: name a clone of jurgisp/pydreamer")
    package = types.ModuleType("their_models")
    package.__path__ = [str(home)]
    sys.modules["their_models"] = package
    return importlib.import_module("their_models.rssm").RSSMCore


def their_step(core_class, T):
    """A step of their core, and how many weights it has."""
    torch.manual_seed(0)
    core = core_class(CFG.embedding_size, CFG.action_size, CFG.h_state_size, CFG.z_state_size, 0, CFG.hidden_size, 1,
                      "gru", False)
    e = torch.randn(T, B, CFG.embedding_size, requires_grad=True)
    a, reset = torch.randn(T, B, CFG.action_size), torch.zeros(T, B, dtype=torch.bool)
    adam = torch.optim.Adam(core.parameters(), 1e-4)
    def step():
        prior, posterior, _, features, _, _ = core(e, a, reset, core.init_state(B))
        kl = torch.distributions.kl_divergence(core.zdistr(posterior), core.zdistr(prior))
        adam.zero_grad()
        e.grad = None
        (features.pow(2).sum(-1) + kl).mean().backward()
        adam.step()
    return step, sum(p.numel() for p in core.parameters())


def times(run, n):
    """Run it so many times."""
    for _ in range(n): run()


def measure(core_class, T, rounds, steps):
    """A benchmark at one length, and the weights of both."""
    theirs, weights = their_step(core_class, T)
    runs = {"pydreamer's core": theirs, "ours, readable": core_step("ours, readable", CFG, B, T),
            "ours, compiled": core_step("ours, compiled", CFG, B, T),
            "ours, compiled, one hidden layer": core_step("ours, compiled", SHALLOW, B, T)}
    census = census_of(runs["ours, compiled"])
    census.products += loop_products(CFG, B, T)
    runs["our matrix products alone"] = products_alone(census)
    for run in runs.values(): run()
    rows = interleave([Contender(name, partial(times, run, steps), steps) for name, run in runs.items()], rounds,
                      time.process_time)
    ours, shallow = (sum(p.numel() for p in RSSM(cfg).parameters()) for cfg in (CFG, SHALLOW))
    notes = [f"weights: theirs {weights:,}, ours {ours:,}, with one hidden layer {shallow:,}", machine()]
    title = f"A step of the recurrence, B = {B}, T = {T}"
    counted = dict(theirs=weights, ours=ours, shallow=shallow)
    return Bench(title, "steps a round", "steps/s", False, rows, notes), counted


def processor():
    """Its name, as Linux says it."""
    said = Path("/proc/cpuinfo")
    names = [x.partition(":")[2] for x in said.read_text().splitlines() if "model name" in x] if said.is_file() else []
    return names[0].strip() if names else platform.processor()


def commit_of(folder):
    """Which version of their repository it is; empty if it does not say."""
    said = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True)
    return said.stdout.strip()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--pydreamer", required=True, help="a clone of github.com/jurgisp/pydreamer")
    p.add_argument("--output", required=True, help="JSON to write")
    p.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    p.add_argument("--commit", help="of the clone, where it is none (default: what git says)")
    a = p.parse_args()
    try: core = their_core(a.pydreamer)
    except SpectroError as e: sys.exit(f"pydreamer_core: {e}")
    if not supports(RSSM(CFG)): sys.exit("pydreamer_core: without a C++ compiler there is nothing to compare")
    keep_memory()
    found = dict(pydreamer=a.commit or commit_of(a.pydreamer), processor=processor(), machine=machine(),
                 rounds=a.rounds, T={})
    with one_thread():
        for T, steps in (20, 3), (200, 1):
            bench, weights = measure(core, T, a.rounds, steps)
            print(format_bench(bench), "\n")
            found["T"][str(T)] = {r.name: dict(ms=round(1e3*bench.each(r)[0], 2), ratio=[
                round(x, 3) for x in bench.ratio(r)]) for r in bench.rows}
            found["weights"] = weights
    write_text(a.output, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__": main()
