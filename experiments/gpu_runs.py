"""The trainings of the GPU day: three precisions, two presets, the WaveGAN and the LSTM; see `gpu_steps.py`."""

import time

import numpy as np
import torch

from gpu_pack import ENGINE_RATE, waves_of
from gpu_steps import batch, ceiling, core, correct, peak_mebibytes, seconds_of, step
from spectro_dreamer.learn.compute import Objective
from spectro_dreamer.learn.recorded import RecordedTrainer
from spectro_dreamer.learn.trainer import Trainer
from spectro_dreamer.rivals.abc_tunes import MusicConfig, read_tunes
from spectro_dreamer.rivals.music_lstm import MusicTrainer, lstm_nats, mean_nats, split_tunes
from spectro_dreamer.rivals.wave_settings import wavegan_config
from spectro_dreamer.rivals.wave_windows import SoundWindows, split_windows
from spectro_dreamer.rivals.wavegan_trainer import WaveGANTrainer

# of an epoch's numbers
KEPT = ("train_loss", "train_recon_loss", "train_kl_loss", "val_loss", "val_recon_loss", "val_kl_loss", "prior_mse",
        "tokens_per_second", "step_seconds_p50", "step_seconds_p90")


def watched(trainer, every, kept):
    """What wraps the batches of an epoch: every so many steps the sums of its losses are kept, with step and epoch."""
    def show(batches):
        for rows in batches:
            yield rows
            if trainer.step % every == 0: kept.append((trainer.step, trainer.epoch, trainer.sums.clone()))
    return show


def losses_between(kept):
    """(step, mean loss since the one before) of what was kept."""
    rows, before, last = [], 0.0, None
    for done, epoch, sums in kept:
        added = sums - before if epoch == last else sums
        rows.append((done, float(added[0]/added[-1])))
        before, last = sums, epoch
    return rows


def curves(day):
    """The losses of the same run in three precisions: every 20 steps, and at the end on other speakers."""
    data, found = day.open(), {}
    steps, every = (3, 1) if day.rehearse else (400, 20)
    for precision in ("float32", "bf16", "tf32"):
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        half = "bf16" if precision == "bf16" else "float32"
        cfg = day.config("dreamer", data, epochs=99, precision=half, lr_decay=False, steps=steps)
        trainer, kept, start = RecordedTrainer(cfg, data), [], time.perf_counter()
        while trainer.steps_left(): trainer.train_epoch(watched(trainer, every, kept))
        found[precision] = dict(losses=losses_between(kept), steps_per_second=steps/(time.perf_counter() - start),
                                **trainer.validate())
        yield found


def epochs(day, name, most, **changes):
    """Epochs of a preset until so many are done or the time is nearly over; each with its losses."""
    data = day.open()
    cfg = day.config(name, data, epochs=most, **changes)
    hours = float(data.lengths[data.train].sum()/data.front_end.frame_rate/3600)
    found = dict(config={k: getattr(cfg.train, k) for k in ("batch_size", "sequence_length", "lr", "epochs")},
                 front_end=cfg.front_end.to_dict(), hours=hours, recorded=True, epochs=[])
    try:
        trainer = RecordedTrainer(cfg, data)
        trainer.cfg = cfg.override(steps=2)
        trainer.train_epoch()  # the recording is made here, or fails here
        trainer.cfg = cfg
    except RuntimeError as e:
        found |= dict(recorded=False, why_not=str(e)[:500])
        trainer = Trainer(cfg, data)
    longest = 0.
    while trainer.epoch < most and trainer.steps_left() != 0 and day.left() > 1.5*longest + 1:
        start = time.perf_counter()
        row = trainer.train_epoch() | trainer.validate()
        longest = time.perf_counter() - start
        found["epochs"].append({k: round(row[k], 6) for k in KEPT if k in row} | dict(seconds=longest))
        found |= dict(done=trainer.epoch, steps=trainer.step, mebibytes=peak_mebibytes(day) or found.get("mebibytes"))
        yield found


def dreamer(day):
    """24 epochs of our preset."""
    yield from epochs(day, "dreamer", 24)


def seed(day):
    """As many of the original's 100 epochs as fit."""
    yield from epochs(day, "seed", 100)


def windows_of(waves, cfg):
    """Windows end to end of the engines' sounds, split by engine."""
    n = waves.shape[1]//cfg.length
    spans = [(i, k*cfg.length) for i in range(len(waves)) for k in range(n)]
    groups = tuple(f"engine {i}" for i, _ in spans)
    windows = SoundWindows(list(waves), np.array(spans), groups, cfg.length, cfg.level, {})
    return split_windows(windows, cfg)


def wavegan(day):
    """The WaveGAN at the original's full size: losses, speed, and how long its 5000 epochs would take."""
    if day.rehearse: cfg = wavegan_config("test", device=day.device, batch_size=4)
    else: cfg = wavegan_config("production", device=day.device)
    assert cfg.sample_rate == ENGINE_RATE
    trainer, rows, start = WaveGANTrainer(windows_of(waves_of(day.packed), cfg), cfg), [], None
    per_epoch, limit = trainer.steps_per_epoch, 6 if day.rehearse else 10**9
    while trainer.step < limit and day.left() > 0:
        said = trainer.learn()
        if trainer.step == 5: start = time.perf_counter() # the first ones choose their algorithms
        if trainer.step % (20 if not day.rehearse else 2) or trainer.step <= 5: continue
        rows.append({k: round(v, 4) for k, v in said.items() if k.endswith(("loss", "wasserstein", "penalty"))}
                    | dict(step=trainer.step))
        speed = (trainer.step - 5)/(time.perf_counter() - start)
        yield dict(model_dim=cfg.model_dim, batch_size=cfg.batch_size, steps=trainer.step, steps_per_second=speed,
                   hours_of_5000_epochs=5000*per_epoch/speed/3600, steps_per_epoch=per_epoch, losses=rows,
                   mebibytes=peak_mebibytes(day))


def lstm(day):
    """The music LSTM at the original's full size on the tunes that ship: its losses, and nats a symbol of others."""
    small = dict(hidden=16, embedding=8, iterations=4, batch_size=2) if day.rehearse else {}
    trainer = MusicTrainer(split_tunes(read_tunes()), MusicConfig(device=day.device, **small))
    cfg, rows, losses, start = trainer.cfg, [], [], time.perf_counter()
    every = 2 if day.rehearse else 100
    while trainer.step < cfg.iterations and day.left() > 0:
        losses.append(trainer.learn())
        if trainer.step % every: continue
        speed = trainer.step/(time.perf_counter() - start)
        rows.append(dict(step=trainer.step, train_nats=float(np.mean(losses))))
        if trainer.step % (5*every) == 0 or day.rehearse:
            rows[-1]["val_nats"] = mean_nats(lstm_nats(trainer.model, trainer.corpus.val[:2 if day.rehearse else None]))
        losses = []
        yield dict(hidden=cfg.hidden, steps=trainer.step, of=cfg.iterations, steps_per_second=speed, losses=rows,
                   mebibytes=peak_mebibytes(day))


def compiled(day):
    """What `--compile` makes of a step of `dreamer`: seconds before the first one, and of each."""
    data = day.open()
    cfg = day.config("dreamer", data, compile=not day.rehearse)
    trainer = Trainer(cfg, data)
    assert isinstance(trainer.objective, Objective)
    some, start = trainer.batches(0).batch(0), time.perf_counter()
    trainer.train_step(some, trainer.noise)
    day.wait()
    found = dict(seconds_before=time.perf_counter() - start)
    yield found
    yield found | dict(seconds=seconds_of(lambda: trainer.train_step(some, trainer.noise), day))


# in this order; seconds that each may take, its start included
STEPS = {ceiling: 25, correct: 45, core: 40, step: 35, batch: 45, curves: 50, dreamer: 90, seed: 55, wavegan: 72,
         lstm: 72, compiled: 60}
