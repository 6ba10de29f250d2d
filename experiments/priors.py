"""How many nats would a richer prior save? Autoregressive mixtures in the place of a trained model's Gaussians.

    python experiments/priors.py --run speak --dataset speech.h5 --output priors.json [--clips 500] [--steps 2400]

The states and details of a trained model are taken as they are (it is told what is said), and the prior of the details
is learned anew from what the model's own prior reads: as a Gaussian, and as a masked autoregression over the dimensions
(MADE, Germain et al., ICML 2015) with one or several Gaussians for each. What a sample of the posterior costs under
each of them, beyond the posterior's entropy, is a rate: nats per token, on training clips and on speakers never heard.
"""

import argparse, json, math, os, sys, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from scoreboard import machine
from spectro_dreamer.config import SpectroError
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.evaluation import clip_inputs, open_split
from spectro_dreamer.model.world_model import load

KINDS = {  # name → Gaussians a dimension, groups of dimensions that are drawn one after the other
    "a Gaussian, learned anew": (1, 1),
    "autoregressive over 8 groups": (1, 8),
    "autoregressive over all dimensions": (1, None),
    "the same, mixtures of 4": (4, None),
}
WIDTH, BATCH, CHUNK = 384, 512, 4096


@torch.no_grad()
def heard(model, data, clips):
    """What the details' prior reads of each token (n, C); mean and deviation (n, D) of what was heard; nats (n,)."""
    out = []
    for i in map(int, clips):
        tokens, actions = clip_inputs(model, data, i, told=True)
        actions = model.with_voice(actions[None], model.voice_of(data.clip(i)))
        path = model.observe(tokens[None], actions, generator=torch.Generator().manual_seed(i))
        detail = model.decoder.detail
        q = detail.posterior(path.feature, model.encoder.embed(model.encoder.features(tokens[None]), path.h))
        reads = torch.cat([path.feature, path.detail[..., detail.size:]], -1)
        out.append([x[0] for x in (reads, q.mean, q.std, path.detail_nats)])
    return [torch.cat(x) for x in zip(*out)]


class Mixtures(nn.Module):
    """p(x | c) as a product over the dimensions of mixtures, each given c and the groups before its own."""
    def __init__(self, c, d, k, groups):
        super().__init__()
        self.k, self.d = k, d
        group = torch.arange(d)//math.ceil(d/groups)
        hidden, out = torch.arange(WIDTH) % groups, group.repeat_interleave(3*k)
        self.register_buffer("sees", (hidden[:, None] > group).float())   # hidden units: groups before their own
        self.register_buffer("hears", (out[:, None] >= hidden).float())
        self.register_buffer("skips", (out[:, None] > group).float())
        self.given = nn.Sequential(nn.Linear(c, WIDTH), nn.LayerNorm(WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.first, self.last = nn.Linear(d, WIDTH, bias=False), nn.Linear(WIDTH, 3*k*d, bias=False)
        self.skip, self.direct = nn.Linear(d, 3*k*d, bias=False), nn.Linear(WIDTH, 3*k*d)
        for layer, scale in ((self.first, 0.05), (self.last, 0.01), (self.skip, 0.0)):
            nn.init.normal_(layer.weight, std=scale)

    def nll(self, c, x): # (n, C), (n, D) → (n,)
        h = self.given(c)
        a = F.silu(h + F.linear(x, self.first.weight*self.sees))
        o = F.linear(a, self.last.weight*self.hears) + F.linear(x, self.skip.weight*self.skips)
        weight, mean, std = (o + self.direct(F.silu(h))).unflatten(-1, (self.d, 3, self.k)).unbind(-2)
        mean, std = mean + torch.linspace(-1, 1, self.k)*(self.k > 1), F.softplus(std + 0.5) + 0.05
        each = -((x[..., None] - mean)/std).square()/2 - std.log() - math.log(2*math.pi)/2
        return -(each + weight.log_softmax(-1)).logsumexp(-1).sum(-1)


@torch.no_grad()
def rate(net, tokens):
    """Nats a token: what a sample of the posterior costs, less the posterior's entropy."""
    reads, mean, std, _ = tokens
    x = mean + std*torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    nll = torch.cat([net.nll(c, y) for c, y in zip(reads.split(CHUNK), x.split(CHUNK))])
    return (nll - (std.log() + math.log(2*math.pi*math.e)/2).sum(-1)).mean().item()


def fit(learn, k, groups, steps, seed=0):
    """A prior learned from so many batches of samples of the posterior."""
    torch.manual_seed(seed)
    reads, mean, std, _ = learn
    net = Mixtures(reads.shape[1], mean.shape[1], k, groups or mean.shape[1])
    adam = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, steps)
    for _ in range(steps):
        i = torch.randint(len(reads), (BATCH,))
        loss = net.nll(reads[i], mean[i] + std[i]*torch.randn(BATCH, mean.shape[1])).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        plan.step()
    return net


def main(a):
    torch.set_num_threads(1)
    model = load(a.run).eval()
    if model.decoder.detail is None: raise SpectroError(f"{a.run} draws no details, so it has no prior of them")
    data, _ = open_split(model, a.dataset)
    learn = heard(model, data, np.random.default_rng(0).permutation(data.train)[:a.clips])
    judge = heard(model, data, data.val)
    centre, scale = learn[0].mean(0), learn[0].std(0) + 0.01
    learn[0], judge[0] = (learn[0] - centre)/scale, (judge[0] - centre)/scale
    rows = {"the model's own": dict(learned=learn[3].mean().item(), unheard=judge[3].mean().item())}
    for name, (k, groups) in KINDS.items():
        start = time.process_time()
        net = fit(learn, k, groups, a.steps)
        rows[name] = dict(learned=rate(net, learn), unheard=rate(net, judge), seconds=time.process_time() - start)
        print(f"{name:<36}" + "  ".join(f"{key} {v:.2f}" for key, v in rows[name].items()), flush=True)
    about = dict(run=Path(a.run).name, dataset=Path(a.dataset).name, fingerprint=data.fingerprint, steps=a.steps,
                 tokens=dict(learned=len(learn[0]), unheard=len(judge[0])), unit="nats per token, details only",
                 machine=machine())
    write_text(a.output, json.dumps(dict(about=about, rows=rows), indent=1) + "\n")


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--run", required=True, help="a model with details: a run, a checkpoint, or a shipped one")
    p.add_argument("--dataset", required=True, help="HDF5 file from spectro_prepare, with phones")
    p.add_argument("--output", type=Path, required=True)
    p.add_argument("--clips", type=int, default=500, help="training clips to learn from (default: %(default)s)")
    p.add_argument("--steps", type=int, default=2400, help="batches of 512 tokens (default: %(default)s)")
    try: main(p.parse_args())
    except SpectroError as e: sys.exit(f"priors: {e}")
