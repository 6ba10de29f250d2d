"""The first steps of the GPU day: what the machine can do, whether a step is right, and how long it takes.

A step is a generator: it gives its findings whenever there are more of them, so that one that is stopped at its limit
of time leaves what it had. `gpu_day.py` runs each in a process of its own. They need only torch, numpy and h5py.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from spectro_dreamer.config import ModelConfig, SpectroError, preset
from spectro_dreamer.data.dataset import SpectrogramData
from spectro_dreamer.learn.compute import pick_device
from spectro_dreamer.learn.recorded import Recorded, RecordedTrainer
from spectro_dreamer.learn.trainer import Trainer, fit_config
from spectro_dreamer.use.step_benchmark import bench_train, census_of, core_step, full_step

PRESETS = ("seed", "dreamer")


SMALL = dict(h_state_size=16, hidden_size=16, embedding_size=16, cnn_depth=4) # of models in a rehearsal


@dataclass
class Day:
    """What a step is told."""
    device: str
    rehearse: bool    # sizes that a processor does in a moment
    data: Path        # unpacked
    packed: Path
    seconds: float    # that this step has, its start not counted
    ceiling: dict     # of `ceiling`: what the machine can do at most; empty before it is known

    def __post_init__(self): self.began = time.monotonic()

    @property
    def place(self):
        """The device."""
        return pick_device(self.device)

    def left(self):
        """Seconds."""
        return self.seconds - (time.monotonic() - self.began)

    def wait(self):
        """Until all that was asked for is done."""
        if self.place.type == "cuda": torch.cuda.synchronize()

    def config(self, name, data, **changes):
        """A preset for the data; in a rehearsal a small one."""
        few = dict(batch_size=6, sequence_length=8, warmup_steps=2, steps=3)
        if self.rehearse: changes = SMALL | few | changes
        return fit_config(preset(name).override(device=self.device, **changes), data)

    def open(self):
        """The data set, on the device."""
        return SpectrogramData(self.data, device=self.place)


def seconds_of(run, day, least=0.3):
    """The median seconds of one call; as many calls as take a moment."""
    def some(n):
        start = time.perf_counter()
        for _ in range(n): run()
        day.wait()
        return (time.perf_counter() - start)/n
    some(2)
    n = 1 if day.rehearse else max(1, int(least/max(some(1), 1e-6)/5))
    return float(np.median([some(n) for _ in range(5 if not day.rehearse else 2)]))


def peak_mebibytes(day):
    """Memory of the device that tensors took at most, since it was asked last; None on a processor."""
    if day.place.type != "cuda": return None
    peak = torch.cuda.max_memory_allocated()/2**20
    torch.cuda.reset_peak_memory_stats()
    return round(peak)


def ceiling(day):
    """What the machine can do at most: products of large matrices, copies, and small operations that are asked for."""
    n, found = 64 if day.rehearse else 8192, dict(cpus=torch.get_num_threads())
    if day.place.type == "cuda":
        about = torch.cuda.get_device_properties(day.place)
        found |= dict(device=about.name, mebibytes=about.total_memory//2**20, cuda=torch.version.cuda,
                      processors=about.multi_processor_count)
    kinds = dict(float32=(torch.float32, "highest"), tf32=(torch.float32, "high"), bf16=(torch.bfloat16, "highest"))
    for kind, (dtype, precision) in kinds.items():
        torch.set_float32_matmul_precision(precision)
        a, b = (torch.randn(n, n, device=day.place, dtype=dtype) for _ in range(2))
        found[f"{kind}_flops_per_second"] = 2*n**3/seconds_of(lambda: a @ b, day)  # noqa: B023
    torch.set_float32_matmul_precision("highest")
    x = torch.empty(n*n*(1 if day.rehearse else 16), device=day.place)
    found["bytes_per_second"] = 2*x.nbytes/seconds_of(x.clone, day)
    y = torch.zeros(8, device=day.place)
    def hundred():
        for _ in range(100): y.add_(1)
    found["seconds_per_operation_asked"] = seconds_of(hundred, day)/100
    found["seconds_per_operation_recorded"] = seconds_of(Recorded(hundred, day.place), day)/100
    yield found


def farthest(ours, theirs):
    """The largest difference of two tensors, as a share of the larger one's largest value."""
    scale = max(float(theirs.abs().max()), 1e-9)
    return float((ours.cpu().double() - theirs.cpu().double()).abs().max())/scale


def gradients_of(trainer, batch, noise, state):
    """Losses and gradients of one batch, copied."""
    trainer.model.zero_grad()
    n = batch.tokens[..., 0, 0].numel() if batch.mask is None else batch.mask.sum()
    losses, norm = trainer.gradient(batch, noise, state, 1.0, n, whole=True)
    grads = [p.grad if p.grad is not None else p.new_zeros(1) for p in trainer.model.parameters()]
    return losses.total.clone(), norm.clone(), [g.clone() for g in grads], losses.last.each(torch.clone)


def correct(day):
    """Whether a recorded step is the step that is asked for one by one, and whether both are a processor's.

    Each number is a largest difference, as a share of the largest value, in float32. `again` is that of the same step
    asked for twice. A recorded one may differ by 1e-5, or by three times that; another device by 1e-2.
    """
    torch.backends.cudnn.allow_tf32 = False
    data, cpu, found = day.open(), SpectrogramData(day.data), {}
    for name in (*PRESETS, "speaker"):
        found[name] = same_steps(day, name, data, cpu)
        yield found
    yield found | {"resumed_exactly": resumed_exactly(day, data)}
    if wrong := [name for name in (*PRESETS, "speaker") if not found[name]["right"]]:
        raise SpectroError(f"a recorded step is not what it should be: {', '.join(wrong)}")


def same_steps(day, name, data, cpu):
    """Three batches through a step that is recorded, one that is not, once more, and one on the processor."""
    told = dict(told="nothing", told_dropout=0.0, detail_forget=0.0) if name == "speaker" else {}
    cfg = day.config(name, data, sequence_length=8, **told)
    trainers = dict(plain=Trainer(cfg, data), recorded=RecordedTrainer(cfg, data), again=Trainer(cfg, data),
                    device=Trainer(cfg.override(device="cpu"), cpu))
    found, states = {}, dict.fromkeys(trainers)
    for k in range(3):
        batch, dice, made = trainers["device"].batches(0).batch(k), torch.Generator().manual_seed(k), {}
        noise = torch.randn(*batch.tokens.shape[:2], trainers["plain"].model.noise_size, generator=dice)
        for what, t in trainers.items():
            made[what] = gradients_of(t, batch.to(t.device), noise.to(t.device), states[what])
            if cfg.train.carry: states[what] = made[what][3]
        for what in ("recorded", "again", "device"):
            loss, gradient = f"{what}_loss", f"{what}_gradient"
            found[loss] = max(found.get(loss, 0.0), farthest(made[what][0], made["plain"][0]))
            found[gradient] = max(found.get(gradient, 0.0), *map(farthest, made[what][2], made["plain"][2]))
    found["kinds_recorded"] = len(trainers["recorded"].recordings)
    found["right"] = all((found["recorded_loss"] <= max(1e-5, 3*found["again_loss"]), found["device_loss"] <= 1e-2,
                          found["recorded_gradient"] <= max(1e-5, 3*found["again_gradient"])))
    return found


def resumed_exactly(day, data):
    """Whether a run that goes on from its state after three steps ends with the weights of one that went on itself."""
    cfg = day.config("dreamer", data, sequence_length=8)
    straight, again = RecordedTrainer(cfg.override(steps=6), data), RecordedTrainer(cfg.override(steps=6), data)
    first = RecordedTrainer(cfg.override(steps=3), data)
    first.train_epoch()
    again.restore({**first.state(), "model_state_dict": first.model.state_dict()})
    for t in (straight, again):
        while t.steps_left(): t.train_epoch()
    ends = (t.model.state_dict().values() for t in (straight, again))
    return all(torch.equal(a, b) for a, b in zip(*ends))


def roofline(run, seconds, day):
    """What a step does, and the share of its time in which the machine at its best would do as much.

    Bytes are what the step's operations read and write as it is cut into operations now.
    """
    with FlopCounterMode(display=False) as counted: run()
    moved = census_of(run).moved
    found = dict(seconds=seconds, flops=counted.get_total_flops(), bytes=moved)
    if day.ceiling:
        for what in ("flops", "bytes"):
            rate = day.ceiling["float32_flops_per_second" if what == "flops" else "bytes_per_second"]
            found[f"share_of_{what}"] = found[what]/rate/seconds
        found["share_of_roofline"] = max(found["share_of_flops"], found["share_of_bytes"])
    return found


def as_rows(bench):
    """A benchmark's rows: milliseconds each, and the ratio to the base with its spread."""
    return {r.name: dict(ms=round(1e3*bench.each(r)[0], 4), ratio=[round(x, 3) for x in bench.ratio(r)])
            for r in bench.rows} | dict(notes=bench.notes)


def core(day):
    """The recurrence alone, at the sizes of the report, beside plainly written loops."""
    found = {}
    for length in (20, 200) if not day.rehearse else (3,):
        small = dict(batch_size=2, h_state_size=8) if day.rehearse else {}
        bench = bench_train("core", 1 if day.rehearse else 5, length=length, steps=1, device=day.device, **small)
        found[f"T={length}"] = as_rows(bench)
        yield found
        cfg = ModelConfig(h_state_size=small.get("h_state_size", 200), action_size=21, encoder_sees_h=False)
        run = core_step("ours, readable", cfg, small.get("batch_size", 16), length, day.place)
        found[f"T={length}"]["roofline"] = roofline(run, seconds_of(Recorded(run, day.place), day), day)
        yield found


def step(day):
    """Whole steps of two presets, asked for one by one and recorded."""
    found = {}
    for name in PRESETS:
        cfg = preset(name).override(action_size=21, token_frames=4)
        if day.rehearse: cfg = cfg.override(**SMALL)
        B, T = (2, 3) if day.rehearse else (cfg.train.batch_size, 20)
        run = full_step(cfg, B, T, day.place)
        one_by_one = seconds_of(run, day)
        found[name] = dict(B=B, T=T, seconds_one_by_one=one_by_one)
        yield found
        found[name] |= roofline(run, seconds_of(Recorded(run, day.place), day), day)
        yield found


def batch(day):
    """Tokens a second, and memory, as the batch grows: until it no longer helps, or nothing more fits."""
    found, T = {}, 3 if day.rehearse else 20
    small = SMALL if day.rehearse else {}
    for k, name in enumerate(PRESETS):
        cfg = preset(name).override(action_size=21, token_frames=4, **small)
        rows = found[name] = []
        for B in (2, 4) if day.rehearse else (32, 128, 512, 2048, 8192, 32768):
            if rows and day.left() < day.seconds*(.5 - k/2) + 3: break # half of the time is for each
            try: seconds = seconds_of(Recorded(full_step(cfg, B, T, day.place), day.place), day)
            except RuntimeError as e: # no memory, as a rule
                rows.append(dict(B=B, error=str(e)[:300]))
                yield found
                break
            rows.append(dict(B=B, tokens_per_second=round(B*T/seconds), seconds=seconds, mebibytes=peak_mebibytes(day)))
            yield found
            if len(rows) > 1 and rows[-1]["tokens_per_second"] < 1.05*rows[-2]["tokens_per_second"]: break
