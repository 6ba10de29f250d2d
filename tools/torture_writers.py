"""Every command that writes, killed at a counted call or on a disk that is full: the same command goes on and ends.

A command runs in a forked child, in a folder of its own. The child counts what changes the disk: files that are opened
for writing, writes, flushes, names that are given, moved and removed. At call n it sends itself a signal. What the
command leaves when it was begun again must be what it leaves when nothing happened, but for what differs between two
undisturbed runs.
"""

import builtins
import contextlib
import csv
import ctypes
import hashlib
import importlib
import io
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from multiprocessing import get_context
from typing import NamedTuple

import torture_readers

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 300     # seconds by the clock that a command may take, on a busy machine
FAREWELL = 30      # seconds in which what a killed command has started must be gone
VOLATILE = ("seconds", "memory", "time", "per_second", "percent", "version", "host", "since", "pid")
SECONDS = re.compile(r"history/\d+/1$")  # of a vocoder's lines: (step, seconds, …)


class Writer(NamedTuple):
    """A command, and how it goes on when it says that a run is there already."""
    name: str
    main: str              # module:function
    argv: list
    resume: tuple = ()     # in place of --output-dir RUN


class Done(NamedTuple):
    """How a command ended."""
    code: int    # below zero: the signal
    said: str
    calls: int   # counted
    strays: bool # whether processes were left


class Harm(NamedTuple):
    """What must not happen."""
    writer: str
    how: str
    why: str


# Counting -----------------------------------------------------------------------------------------------------------

class Counter:
    """Counts what changes the disk, and sends a signal at call n."""
    def __init__(self, seen, at=0, what=0):
        self.seen, self.at, self.what = seen, at, what

    def count(self):
        """One more."""
        self.seen.value += 1
        if self.seen.value == self.at: os.kill(os.getpid(), self.what)

    def install(self):
        """Count from now on, in this process."""
        counter, real_open, real_sync = self, builtins.open, os.fsync

        class Raw(io.FileIO):
            """A file whose writes are counted."""
            def write(self, b):
                """As of a file."""
                counter.count()
                return super().write(b)

        def counted_open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True,
                         opener=None):
            """`open`, whose writes are counted."""
            if not set("wax+") & set(mode) or not isinstance(file, str | os.PathLike):
                return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0: return raw
            held = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return held if "b" in mode else io.TextIOWrapper(held, encoding, errors, newline, buffering == 1)

        def fsync(fd):
            """`os.fsync`, counted before and after."""
            counter.count()
            real_sync(fd)
            counter.count()

        builtins.open = io.open = counted_open
        os.fsync = fsync
        sys.addaudithook(self.heard)

    def heard(self, event, args):
        """What Python says of calls to the system."""
        if event == "open":
            path, _, flags = args
            if isinstance(path, str | bytes) and flags and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and \
                    not os.fsdecode(path).startswith(("/dev", "/proc")): self.count()
        elif event in ("os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink"):
            self.count()


# A command in a child -----------------------------------------------------------------------------------------------

DEATH_SIGNAL, ADOPT = 1, 36  # of prctl


def ask_system(what, value):
    """`prctl`, where there is one."""
    with contextlib.suppress(OSError, AttributeError): ctypes.CDLL(None).prctl(what, value, 0, 0, 0)


def adopt():
    """Orphans of our children become our children, so that their end can be waited for."""
    ask_system(ADOPT, 1)


def _child(writer, argv, folder, log, counter):
    """Run a command; does not return."""
    code = 1
    try:
        os.setsid()
        ask_system(DEATH_SIGNAL, signal.SIGKILL)  # if the harness is stopped
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, stream in ((nothing, 0), (out, 1), (out, 2)): os.dup2(fd, stream)
        os.chdir(folder)
        module, name = writer.main.split(":")
        main = getattr(importlib.import_module(module), name)
        counter.install()
        try: main(argv)
        except SystemExit as e: code = e.code if isinstance(e.code, int) else 0
        else: code = 0
    except BaseException: traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _ended(pid, seconds):
    """Wait for a child: its exit code, or None after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found: return os.waitstatus_to_exitcode(status)
        time.sleep(.01)
    return None


def _group_gone(group, seconds):
    """Whether all processes of a group end within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if not os.waitpid(-group, os.WNOHANG)[0]: time.sleep(.02)
        except ChildProcessError:
            try: os.killpg(group, 0)
            except ProcessLookupError: return True
            time.sleep(.05)
    return False


def run(writer, argv, folder, at=0, what=0):
    """A command, with a signal at call n. Returns `Done`."""
    log, seen = folder.parent/"said.txt", get_context("fork").RawValue("i", 0)
    log.unlink(missing_ok=True)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0: _child(writer, argv, folder, log, Counter(seen, at, what))
    code = _ended(pid, PATIENCE)
    strays = not _group_gone(pid, FAREWELL) if code is not None else True
    if strays:
        with contextlib.suppress(ProcessLookupError): os.killpg(pid, signal.SIGKILL)
        if code is None: _ended(pid, FAREWELL)
    said = log.read_text(errors="replace") if log.is_file() else ""
    return Done(-99 if code is None else code, said, seen.value, strays)


# What a command leaves ----------------------------------------------------------------------------------------------

def leaves(tree, at):
    """(path, text) of all that is in a tree of dictionaries and lists; tensors as their bytes."""
    if hasattr(tree, "detach"):
        tree = tree.detach().cpu().contiguous()
        yield at, f"{tree.dtype} {tuple(tree.shape)} {hashlib.sha256(tree.reshape(-1).numpy().tobytes()).hexdigest()}"
    elif isinstance(tree, dict):
        for k, v in tree.items(): yield from leaves(v, f"{at}/{k}")
    elif isinstance(tree, list | tuple):
        for k, v in enumerate(tree): yield from leaves(v, f"{at}/{k}")
    else: yield at, repr(tree)


def contents(path):
    """What is in a file: a tree, or its bytes' fingerprint."""
    if path.suffix == ".pt":
        import torch
        return torch.load(path, weights_only=True)
    if path.suffix == ".json": return json.loads(path.read_text())
    if path.suffix == ".jsonl": return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv": return list(csv.DictReader(path.read_text().splitlines()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state(folder):
    """{path: text} of all that a command has left."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.name in ("manifest.json", "previous.pt"): found[name] = ""
        else: found.update(leaves(contents(path), name))
    return {k: v for k, v in found.items() if not any(word in k for word in VOLATILE) and not SECONDS.search(k)}


def differences(found, right):
    """The first things that are not as they should be."""
    return [k for k in right if found.get(k) != right[k]] + [k for k in found if k not in right]


# Writers ------------------------------------------------------------------------------------------------------------

TINY = ("--h-state-size 4 --z-state-size 4 --embedding-size 4 --hidden-size 4 --hidden-layers 1 --reward-hidden-size 4 "
        "--batch-size 2 --sequence-length 6 --val-split 0.5 --no-mlflow --device cpu").split()
MODES = {  # data set and flags
    "train": ("told.h5", "--preset seed --backbone mlp --epochs 2"),
    "train within epochs": ("told.h5", "--preset seed --backbone mlp --epochs 2 --checkpoint-steps 1 "
                                       "--checkpoint-freq 1"),
    "train carried": ("spoken.h5", "--preset dreamer --epochs 2 --warmup-steps 2"),
    "train speaker": ("spoken.h5", "--preset speaker --epochs 2 --warmup-steps 2 --detail-size 3 --detail-memory 3 "
                                   "--voice-size 3"),
    "train contrastive": ("told.h5", "--preset seed --backbone mlp --epochs 2 --objective contrastive "
                                     "--contrastive-steps 1"),
    "train to a step": ("told.h5", "--preset seed --backbone mlp --epochs 9 --steps 3 --ema 0.9 --patience 3 "
                                   "--lr-plateau 1"),
    "train with dreams": ("told.h5", "--preset seed --backbone mlp --epochs 2 --dreams dreams.h5"),
}


def trainings(base):
    """All ways to train a world model."""
    for name, (data, flags) in MODES.items():
        said = ["--dataset-path", str(base/data)]
        words = [str(base/word) if word == "dreams.h5" else word for word in flags.split()]
        again = words[words.index("--dreams"):] if "--dreams" in words else []
        yield Writer(name, "spectro_dreamer.use.making:train_main", [*said, *words, *TINY, "--output-dir", "run"],
                     (*said, "--no-mlflow", "--resume-from", "run", *again))


def rivals(base):
    """The other trainings."""
    use = "spectro_dreamer.use"
    yield Writer("music", f"{use}.rivalling:music_main", ["train", *MUSIC.split(), "--tunes", str(base/"tunes.abc"),
                 "--output-dir", "run"], ("train", "--tunes", str(base/"tunes.abc"), "--no-mlflow", "--resume-from",
                                          "run"))
    data = ["--data", str(base/"engines")]
    yield Writer("wavegan", f"{use}.rivalling:wavegan_main", ["train", *data, "--config", str(base/"wave.json"),
                 "--no-mlflow", "--output-dir", "run"], ("train", *data, "--no-mlflow", "--resume-from", "run"))
    yield Writer("behave", f"{use}.behaving:behave_main", ["train", "--checkpoint", str(base/"run"), "--dataset-path",
                 str(base/"told.h5"), "--steps", "3", "--keep-every", "1", "--horizon", "3", "--ahead", "1", "--starts",
                 "2", "--no-mlflow", "--output-dir", "run"],
                 ("train", "--checkpoint", str(base/"run"), "--dataset-path", str(base/"told.h5"), "--keep-every", "1",
                  "--no-mlflow", "--resume-from", "run"))
    fit = ["train", "--dataset", str(base/"spoken.h5"), "--clips", str(base/"rec"), "--output", "v.safetensors",
           "--steps", "3", "--every", "1", "--width", "4", "--depth", "1", "--length", "8", "--batch-size", "2"]
    yield Writer("vocoder", f"{use}.voicing:vocoder_main", fit, (*fit, "--resume"))


MUSIC = "--embedding 4 --hidden 4 --iterations 4 --batch-size 2 --length 8 --checkpoint-steps 2 --no-mlflow"


def makers(base):
    """What makes files of recordings and of models."""
    use = "spectro_dreamer.use"
    heard = ["--input-dir", str(base/"rec"), "--metadata-file", str(base/"validated.tsv"), "--output-file", "d.h5",
             "--shard-clips", "2", "--min-tokens", "3", "--num-workers"]
    for n in "012": yield Writer(f"prepare, {n} workers", f"{use}.making:prepare_main", [*heard, n])
    yield Writer("clean", f"{use}.making:clean_main", ["--metadata-file", str(base/"validated.tsv"), "--clips-dir",
                 str(base/"rec"), "--output-dir", "clean"])
    yield Writer("join", f"{use}.making:join_main", [str(base/"reader0.h5"), str(base/"reader1.h5"),
                 "--output-file", "j.h5"])
    model = ["--checkpoint", str(base/"run")]
    yield Writer("export", f"{use}.making:export_main", [*model, "--no-onnx", "--output-dir", "out"])
    yield Writer("artifacts", f"{use}.making:export_main", [*model, "--no-onnx", "--artifacts", "--output-dir", "out"])
    yield Writer("evaluate", f"{use}.making:evaluate_main", ["--dataset-path", str(base/"told.h5"), *model, "--n-audio",
                 "1", "--no-words", "--output-dir", "out"])
    make = ["generate", *model, "--dataset-path", str(base/"told.h5"), "--n", "3", "--horizon", "4", "--context", "3"]
    yield Writer("dreams, data set", f"{use}.dreaming:dreams_main", [*make, "--output", "d.h5"])
    yield Writer("dreams, lines", f"{use}.dreaming:dreams_main", [*make, "--output", "d.jsonl"])
    yield Writer("dreams, NPZ", f"{use}.dreaming:dreams_main", [*make, "--output", "d"])
    sound, meter, coder = str(base/"rec"/"reader0"/"0.wav"), f"{use}.surprising:surprise_main", f"{use}.coding"
    yield Writer("surprise", meter, [str(base/"rec"), "--checkpoint", *model[1:], "--output-dir", "out"])
    yield Writer("surprise, alarm", meter, [sound, "--train-on", str(base/"normal"), "--steps", "2", "--device",
                                            "cpu", "--output-dir", "out"])
    yield Writer("encode", f"{coder}:encode_main", [sound, "a.sdz"])
    yield Writer("decode", f"{coder}:decode_main", [str(base/"bits.sdz"), "a.wav"])
    yield Writer("convert", f"{use}.dreaming:dreams_main", ["convert", str(base/"told.h5"), "c.h5"])
    yield Writer("mix", f"{use}.dreaming:dreams_main", ["mix", "--recorded", str(base/"told.h5"), "--dreams",
                 str(base/"dreams.h5"), "--share", "0.2", "--output", "m.h5"])


LOADED = ("scipy.signal", "scipy.stats", "librosa.filters", "librosa.feature.spectral", "matplotlib.pyplot",
          "mel_cepstral_distance", "pystoi", "spectro_dreamer.use.making", "spectro_dreamer.use.dreaming",
          "spectro_dreamer.use.publishing", "spectro_dreamer.judge.evaluation", "spectro_dreamer.judge.sounds",
          "spectro_dreamer.judge.reports", "spectro_dreamer.act.written_dreams", "spectro_dreamer.rivals.wavegan_runs",
          "spectro_dreamer.rivals.music_lstm", "spectro_dreamer.act.behaviours", "spectro_dreamer.learn.training",
          "spectro_dreamer.sound.vocoder_training", "spectro_dreamer.use.surprising", "spectro_dreamer.use.coding",
          "spectro_dreamer.judge.bit_files", "spectro_dreamer.judge.surprise", "spectro_dreamer.judge.machines")


def normal_recordings(folder):
    """Three seconds each, as a meter of what is normal needs them."""
    import numpy as np
    import soundfile
    folder.mkdir()
    for k in range(4): soundfile.write(folder/f"{k}.wav", .1*np.random.default_rng(k).standard_normal(48000), 16000)


def set_up(base):
    """Inputs of all writers, and what they import, once for all."""
    for name in LOADED: importlib.import_module(name)
    from spectro_dreamer.config import TokenSpec, preset
    from spectro_dreamer.data.preparation import prepare
    from spectro_dreamer.rivals.abc_tunes import read_tunes
    torture_readers.sounds(base/"rec")
    torture_readers.data_sets(base)
    front_end = preset("dreamer").front_end
    prepare(base/"rec", base/"spoken.h5", metadata_file=base/"validated.tsv", phones_file=base/"phones.tsv",
            front_end=front_end, tokens=TokenSpec(8, 4, 3), progress=False)
    for half in ("reader0", "reader1"):
        prepare(base/"rec"/half, base/f"{half}.h5", tokens=TokenSpec(min_tokens=3), speaker_from="one", progress=False)
    (base/"tunes.abc").write_text("\n".join(read_tunes()[:30]))
    (base/"wave.json").write_text(json.dumps(dict(preset="test", model_dim=1, latent_dim=2, strides=[4, 5], start=25,
                                                  epochs=2, checkpoint_epochs=1, batch_size=4, phase_shuffle=1)))
    shutil.copytree(base/"rec", base/"engines")
    normal_recordings(base/"normal")
    train = next(w for w in trainings(base) if w.name == "train")
    dream = next(w for w in makers(base) if w.name == "dreams, data set")
    encode = next(w for w in makers(base) if w.name == "encode")
    for writer, output in ((train, "run"), (dream, "dreams.h5"), (encode, "bits.sdz")): # which others need
        argv = ["8" if word == "4" and before == "--horizon" else word for before, word in
                zip(["", *writer.argv], writer.argv)]  # dreams long enough to be trained on
        done = run(writer, [*argv[:-1], str(base/output)], fresh(base/"here"))
        if done.code: raise RuntimeError(f"{writer.name} does not work: {done.said[-2000:]}")


# Kills --------------------------------------------------------------------------------------------------------------

def fresh(folder):
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def go_on(writer, folder):
    """The same command again, or the one that it asks for. Returns `Done`."""
    done = run(writer, writer.argv, folder)
    if done.code and writer.resume and "--resume" in done.said: return run(writer, list(writer.resume), folder)
    return done


def verdict(writer, done, folder, right):
    """What is wrong with how a command went on, or nothing."""
    left = [p.name for p in folder.rglob("*") if p.name.endswith((".partial", ".lock"))]
    wrong = differences(state(folder), right)
    refused = done.code == 2 and not wrong  # what is complete need not be made again
    if done.code and not refused or "Traceback" in done.said or done.strays:
        return f"does not go on ({done.code}): {done.said[-1500:]}"
    if left: return f"leaves {left[:3]}"
    return f"{len(wrong)} things differ: {wrong[:6]}" if wrong else ""


def after_kill(done, what):
    """What is wrong with how a command ended, or nothing."""
    if done.strays: return "leaves processes"
    if what == signal.SIGINT and (done.code not in (0, 130) or "Traceback" in done.said):
        return f"Ctrl-C ends with {done.code}: {done.said[-1500:]}"
    return ""


def undisturbed(writer, folder):
    """(what the command leaves each time, calls that it makes)."""
    states, calls = [], 0
    for _ in range(2):
        done = run(writer, writer.argv, fresh(folder))
        if done.code: raise RuntimeError(f"{writer.name} does not work: {done.said[-3000:]}")
        states.append(state(folder))
        calls = done.calls
    return {k: v for k, v in states[0].items() if states[1].get(k) == v}, calls


def kill_writer(writer, folder, kills, seed, until):
    """Kill a command so many times, spread over its calls. Returns (kills made, harms)."""
    dice, harms, made = random.Random(f"{seed} {writer.name}"), [], 0
    right, calls = undisturbed(writer, folder)
    for i, what in zip(range(kills), itertools.cycle(SIGNALS)):
        if time.monotonic() > until: break
        at = 1 + min(calls - 1, int((i + dice.random())*calls/kills))
        done, made = run(writer, writer.argv, fresh(folder), at, what), made + 1
        how = f"{signal.Signals(what).name} at call {at} of {calls}"
        why = after_kill(done, what) or verdict(writer, go_on(writer, folder), folder, right)
        if why: harms.append(Harm(writer.name, how, why))
    return made, harms


# Small disks --------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def small_disk(folder, size):
    """A folder with room for so many bytes; yields a function that gives it all the room there is."""
    fresh(folder)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "torture", str(folder)], capture_output=True)
    if mount.returncode:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # of one file, where disks cannot be made
        def more(): resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        try: yield more
        finally: more()
        return
    def more(): subprocess.run(["mount", "-o", "remount,size=256m", str(folder)], check=True)
    try: yield more
    finally: subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(writer, folder, share, right, size):
    """A command on a disk that is too small, and once more with room. Returns `Harm` or None."""
    room = max(4096, int(size*share))
    with small_disk(folder, room) as more:
        done = run(writer, writer.argv, folder)
        last = done.said.strip().splitlines()[-1:] or [""]
        more()
        if done.code not in (0, 2) or "Traceback" in done.said or done.strays:
            why = f"ends with {done.code}: {done.said[-1500:]}"
        elif done.code == 2 and not any(word in last[0].lower() for word in ("space", "full", "room", "large")):
            why = f"does not say that the disk is full: {last[0][:300]}"
        else: why = verdict(writer, done if done.code == 0 else go_on(writer, folder), folder, right)
    return Harm(writer.name, f"room for {room} of {size} bytes", why) if why else None


def fill_disks(writer, folder, disks, until):
    """A command on so many disks that are too small. Returns (disks filled, harms)."""
    right, _ = undisturbed(writer, folder)
    size, harms, made = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()), [], 0
    for k in range(disks):
        if time.monotonic() > until: break
        share, made = (k + .5)/disks, made + 1  # of the bytes that it writes
        if harm := fill_disk(writer, folder.parent/"disk", share, right, size): harms.append(harm)
    return made, harms


# All ----------------------------------------------------------------------------------------------------------------

def all_writers(base):
    """Every writer, the quick ones first."""
    return [*makers(base), *rivals(base), *trainings(base)]


def named(writers, names):
    """Those whose name contains one of some words, or all."""
    return [w for w in writers if not names or any(n in w.name for n in names)]


def torture_writers(scratch, kills, seed, until, names=(), disks=False):
    """Kill all writers, or let them fill disks. Returns (times, harms)."""
    adopt()
    base, total, harms = scratch/"base", 0, []
    base.mkdir(parents=True)
    set_up(base)
    writers = named(all_writers(base), names)
    each = [kills*(i + 1)//len(writers) - kills*i//len(writers) for i in range(len(writers))]  # evenly spread
    for writer, n in zip(writers, each):
        begin = time.monotonic()
        if not n or begin > until: continue
        try:
            if disks: made, found = fill_disks(writer, scratch/"here"/"work", n, until)
            else: made, found = kill_writer(writer, scratch/"here"/"work", n, seed, until)
        except RuntimeError as e: made, found = 1, [Harm(writer.name, "undisturbed", str(e))]
        total, harms = total + made, harms + found
        print(f"{writer.name:<22}{made:>9}{len(found):>9}{time.monotonic() - begin:9.1f} s", flush=True)
    return total, harms


def show(harms):
    """What went wrong."""
    for h in harms: print(f"\n{h.writer}, {h.how}: {h.why}", file=sys.stderr)
