"""Every reader, fed with what is nearly right: it reads, or says in one line what is wrong.

A reader's input number n is made of the seed and n alone, so that a failure can be made again. Many inputs are read by
one child process, which has limits of memory and of processor time; when it dies, the next one goes on.
"""

import contextlib
import functools
import itertools
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import torture_mutations as m

ROOM = 3 << 29     # bytes that a reader may take beside what the process has
SECONDS = 20       # of processor time for one input
WAIT = 120         # seconds by the clock, after which a child that says nothing hangs
VALID = 50         # every so many inputs one is as it should be, and must be read
KEPT = 3           # inputs kept of each kind of failure


class Reader(NamedTuple):
    """What is read, how, and how it is spoiled."""
    name: str        # of the file that is read
    samples: list    # valid contents
    read: object     # path → anything
    changes: tuple   # mutations


class Failure(NamedTuple):
    """An input that did harm."""
    reader: str
    number: int
    kind: str   # exception and place, or a signal
    said: str   # the end of the traceback


# Valid samples, by the project's own writers ------------------------------------------------------------------------

def sounds(folder):
    """Short recordings of two readers in four containers."""
    import numpy as np
    import soundfile
    dice = np.random.default_rng(0)
    made = {}
    for suffix, kind in (("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", None), ("ogg", None), ("mp3", None)):
        wave = .1*np.sin(np.arange(22050)/9) + .02*dice.standard_normal(22050)
        path = folder/f"reader{len(made) % 2}"/f"{len(made)}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave.astype("f4"), 22050, kind)
        made.setdefault(suffix, []).append(path.read_bytes())
    return made


def small_model():
    """A model of the dreamer preset that is as small as it can be; nothing is trained."""
    from spectro_dreamer.config import preset
    from spectro_dreamer.model.world_model import build
    cfg = preset("dreamer").override(h_state_size=8, z_state_size=4, embedding_size=8, hidden_size=8, hidden_layers=1,
                                     reward_hidden_size=8, action_size=5, token_frames=8)
    return build(cfg, ["gender=female", "gender=male", "energy", "onset", "pitch"])


def data_sets(folder):
    """Data sets: prepared from recordings, with phones and labels, and written from episodes."""
    from spectro_dreamer.act.dream_sets import write_dataset
    from spectro_dreamer.config import TokenSpec
    from spectro_dreamer.data.preparation import prepare
    paths = sorted(p for p in (folder/"rec").rglob("*") if p.is_file())
    rows = [f"{p.parent.name}\t{p.relative_to(folder/'rec')}\thello\t2\t0\t{'ab'[i % 2]}" for i, p in enumerate(paths)]
    table = "client_id\tpath\tsentence\tup_votes\tdown_votes\tmood\n" + "\n".join(rows) + "\n"
    (folder/"validated.tsv").write_text(table)
    phones = ("SIL\t0.0\t0.1", "AH\t0.1\t0.4", "M\t0.4\t0.7", "IY\t0.7\t0.9", "SIL\t0.9\t1.0")
    said = [f"{p.relative_to(folder/'rec')}\t{phone}" for p in paths for phone in phones]
    (folder/"phones.tsv").write_text("path\tphone\tbegin\tend\n" + "\n".join(said) + "\n")
    prepare(folder/"rec", folder/"told.h5", metadata_file=folder/"validated.tsv", phones_file=folder/"phones.tsv",
            label_columns=("mood",), tokens=TokenSpec(min_tokens=3), progress=False)
    prepare(folder/"rec", folder/"plain.h5", tokens=TokenSpec(min_tokens=3), progress=False)
    write_dataset(episodes(), folder/"episodes.h5")
    return {name: (folder/f"{name}.h5").read_bytes() for name in ("told", "plain", "episodes")}


def episodes():
    """Two small episodes with latent states."""
    import numpy as np
    from spectro_dreamer.data.episodes import Episode
    dice = np.random.default_rng(0)
    return [Episode(f"e{i}", "a", np.arange(30)/10, dice.standard_normal((30, 4)), np.arange(30) % 3, np.ones(30),
                    dict(remark="x", clip=dict(sentence="s")), dice.standard_normal((30, 2)).astype("f4"))
            for i in range(2)]


def written_episodes(folder):
    """Episodes as NPZ, as lines of both levels, and a normaliser."""
    from spectro_dreamer.data.episodes import write_jsonl
    from spectro_dreamer.data.windows import write_folder
    write_folder(episodes(), folder/"npz")
    for level in ("frame", "episode"): write_jsonl(episodes(), folder/f"{level}.jsonl", level)
    write_jsonl(episodes(), folder/"packed.jsonl", packed="float32")
    return {p.name: p.read_bytes() for p in (folder/"npz"/"000000.npz", folder/"npz"/"normaliser.json",
                                             *folder.glob("*.jsonl"))}


def models(folder):
    """Checkpoints, folders for others and vocoders."""
    from spectro_dreamer.config import FrontEnd
    from spectro_dreamer.model.world_model import export_safetensors, save
    from spectro_dreamer.sound.neural_vocoder import MagnitudeRefiner, save_vocoder
    from spectro_dreamer.sound.vocoder_settings import RefinerConfig
    from spectro_dreamer.use.publishing import save_pretrained
    model = small_model()
    save(model, folder/"model.pt", epoch=1, step=3)
    export_safetensors(folder/"model.pt", folder/"alone.safetensors")
    save_pretrained(model, folder/"hub")
    net = MagnitudeRefiner(FrontEnd(n_fft=256, hop_length=64, n_mels=16), RefinerConfig(width=8, depth=1, kernel=3))
    save_vocoder(net, folder/"vocoder.safetensors")
    return model


def bit_files(model):
    """A second and a half as bits, with a new beginning each second and with none."""
    import numpy as np
    from spectro_dreamer.judge.bit_files import encode_spec
    spec = np.random.default_rng(0).standard_normal((130, model.front_end.n_mels)).astype("f4") - 4
    return [encode_spec(model, spec, 130*model.front_end.hop_length, restart=k) for k in (1, 0)]


def rivals(folder):
    """Runs of the music LSTM and of the WaveGAN."""
    from spectro_dreamer.rivals.abc_tunes import MusicConfig, read_tunes
    from spectro_dreamer.rivals.music_lstm import split_tunes, train_music
    from spectro_dreamer.rivals.wave_settings import wavegan_config
    from spectro_dreamer.rivals.wavegan import Generator
    from spectro_dreamer.files import write_checkpoint
    cfg = MusicConfig(embedding=4, hidden=4, iterations=1, batch_size=1, length=4)
    train_music(split_tunes(read_tunes()[:40]), cfg, folder/"music", progress=False, use_mlflow=False)
    wave = wavegan_config("test", model_dim=1, latent_dim=2, strides=(2, 2), start=4, phase_shuffle=1)
    write_checkpoint(folder/"wavegan.pt", dict(model_state_dict=Generator(wave).state_dict(), config=wave.to_dict()))


# Readers ------------------------------------------------------------------------------------------------------------

def read_data_set(path):
    """As training does, in memory and mapped, and as joining and converting do."""
    from spectro_dreamer.act.dream_sets import dataset_episodes
    from spectro_dreamer.data.batches import Batches
    from spectro_dreamer.data.dataset import SpectrogramData
    for in_memory in (True, False):
        data = SpectrogramData(path, val_split=0., in_memory=in_memory)
        Batches(data, data.train, 2, 3, seed=0).batch(0)
    for e in dataset_episodes(path): len(e)


def read_prepared(path):
    """As joining does, too."""
    from spectro_dreamer.data.store import read_tables
    read_tables(path)
    read_data_set(path)


def hear(path):
    """As every command does that hears a recording."""
    from spectro_dreamer.config import FrontEnd
    from spectro_dreamer.data.front_ends import log_spectrogram
    from spectro_dreamer.data.preprocessing import read_audio
    log_spectrogram(read_audio(path, 22050), FrontEnd())


def settings_of_training(path):
    """As spectro_train --config does."""
    from spectro_dreamer.config import ModelConfig, TrainConfig, preset
    from spectro_dreamer.settings import read_settings
    said = read_settings(path, dict(model=ModelConfig, train=TrainConfig))
    preset(said.preset or "seed").override(**said.values["model"], **said.values["train"])


def read_settings_file(path):
    """As both commands do that take such a file; one of them must understand it."""
    from spectro_dreamer.config import SpectroError
    from spectro_dreamer.rivals.wave_settings import wavegan_config
    try: wavegan_config(path)
    except SpectroError: settings_of_training(path)
    else:
        with contextlib.suppress(SpectroError): settings_of_training(path)


def read_corpus(path, recordings):
    """As preparing and cleaning read a table."""
    from spectro_dreamer.data.corpus import find_clips, read_labels, read_table
    read_table(path)
    clips, _ = find_clips(recordings, path)
    read_labels(path, ("mood",), [job.clip.path for job in clips])


def read_bits(model, path):
    """As decoding does, but for the vocoder, and once more with as much as there is."""
    from spectro_dreamer.config import SpectroError
    from spectro_dreamer.judge.bit_files import BitReader
    data = path.read_bytes()
    for partial in (True, False):
        reader = BitReader(model, data, path, partial)
        if not reader.readable: raise SpectroError("not one of its seconds can be read")
        for tokens in itertools.islice(reader.drawn(), 100):
            if not tokens.isfinite().all(): raise ValueError("what is drawn is no number")


def name_machines(path):
    """A list of names becomes a folder of empty files in the layout of DCASE Task 2, which is read."""
    from spectro_dreamer.judge.machines import read_machines
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for name in path.read_text(errors="surrogateescape").splitlines():
            inside = Path(folder, *[part for part in name.split("/")[-3:] if part not in ("", ".", "..")])
            with contextlib.suppress(OSError, ValueError):  # what no file can be called
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.touch()
        read_machines(folder)


MACHINES = "\n".join(f"{machine}/{part}_{k:04d}.wav" for machine in ("fan", "pump") for k in range(2) for part in (
    "train/section_00_source_train_normal", "test/section_00_source_test_normal", "test/section_00_source_test_anomaly",
    "train/normal_id_02", "test/normal_id_02", "test/anomaly_id_02"))


def compose_abc(path):
    """As training on tunes does."""
    from spectro_dreamer.rivals.abc_tunes import read_tunes
    from spectro_dreamer.rivals.composing import bar_lengths
    from spectro_dreamer.rivals.music_lstm import split_tunes
    tunes = read_tunes(path)
    for tune in tunes: bar_lengths(tune)
    split_tunes(tunes)


def readers_of_files(folder, heard, sets, written):
    """Readers of recordings, data sets, episodes and tables."""
    from spectro_dreamer.data.episodes import read_jsonl
    from spectro_dreamer.data.phones import read_phones
    from spectro_dreamer.data.windows import load_normaliser, read_npz
    rows = [(folder/name).read_bytes() for name in ("validated.tsv", "phones.tsv")]
    jsonl = [v for k, v in written.items() if k.endswith(".jsonl")]
    yield from (Reader(f"sound.{suffix}", b, hear, m.ANY) for suffix, b in heard.items())
    yield Reader("prepared.h5", [sets["told"], sets["plain"]], read_prepared, (*m.ANY, *[m.hdf5]*10))
    yield Reader("episodes.h5", [sets["episodes"]], read_data_set, (*m.ANY, *[m.hdf5]*10))
    yield Reader("episode.npz", [written["000000.npz"]], read_npz, (*m.ANY, *[m.arrays]*4, *[m.member]*6))
    yield Reader("episodes.jsonl", jsonl, lambda p: list(read_jsonl(p)), (*m.TEXT, *[m.tree_line]*8))
    yield Reader("normaliser.json", [written["normaliser.json"]], load_normaliser, (*m.TEXT, *[m.tree]*8))
    def corpus(path): read_corpus(path, folder/"rec")
    yield Reader("table.tsv", rows[:1], corpus, m.TEXT)
    yield Reader("table.csv", [rows[0].replace(b"\t", b","), rows[0].replace(b"\t", b";")], corpus, m.TEXT)
    yield Reader("phones.tsv", rows[1:], read_phones, m.TEXT)
    yield Reader("machines.txt", [MACHINES.encode()], name_machines, m.TEXT)


def readers_of_models(folder, model):
    """Readers of checkpoints and of what describes models."""
    from spectro_dreamer.learn.runs import find_checkpoint
    from spectro_dreamer.model.world_model import load
    from spectro_dreamer.rivals.music_lstm import load_music
    from spectro_dreamer.rivals.wavegan_runs import load_wavegan
    from spectro_dreamer.sound.neural_vocoder import load_vocoder
    from spectro_dreamer.use.publishing import from_pretrained
    def checkpoint(path):
        find_checkpoint(path)
        load(path)
    held = (*m.ANY, *[m.tensors]*8, *[m.member]*6)
    yield Reader("model.pt", [(folder/"model.pt").read_bytes()], checkpoint, held)
    yield Reader("music.pt", [(folder/"music"/"checkpoints"/"last.pt").read_bytes()], load_music, held)
    yield Reader("wavegan.pt", [(folder/"wavegan.pt").read_bytes()], load_wavegan, held)
    low = load("low")  # a model of sound, which the small one is not
    yield Reader("bits.sdz", bit_files(low), functools.partial(read_bits, low), (*m.BYTES, *[m.sealed]*6))
    headed = (*m.ANY, *[m.header]*10)
    yield Reader("alone.safetensors", [(folder/"alone.safetensors").read_bytes()], load, headed)
    yield Reader("vocoder.safetensors", [(folder/"vocoder.safetensors").read_bytes()], load_vocoder, headed)
    for name, changes in (("config.json", (*m.TEXT, *[m.tree]*10)), ("model.safetensors", headed)):
        other = {f.name: f.read_bytes() for f in (folder/"hub").iterdir() if f.name != name}
        def hub(path, other=other):
            for file, content in other.items(): (path.parent/file).write_bytes(content)
            from_pretrained(path.parent)
        yield Reader(f"hub/{name}", [(folder/"hub"/name).read_bytes()], hub, changes)


def readers_of_graphs(folder, model):
    """Readers of exported graphs, each beside two that are as they should be; none where ONNX is not installed."""
    from spectro_dreamer.config import SpectroError
    from spectro_dreamer.use.export import GRAPHS, OnnxDreamer, export_onnx
    try: export_onnx(model, folder/"onnx")
    except SpectroError: return
    graphs = {name: (folder/"onnx"/f"{name}.onnx").read_bytes() for name in GRAPHS}
    for name, content in graphs.items():
        other = {k: v for k, v in graphs.items() if k != name}
        def run(path, other=other):
            for k, v in other.items(): (path.parent/f"{k}.onnx").write_bytes(v)
            OnnxDreamer(path.parent).reconstruct([[-1.0]*80]*40, dream=4)
        yield Reader(f"onnx/{name}.onnx", [content], run, (*m.BYTES, *[m.graph]*20))


def readers_of_settings():
    """Readers of what a person or a run wrote down."""
    from spectro_dreamer.config import preset
    from spectro_dreamer.learn.tracking import history
    from spectro_dreamer.rivals.abc_tunes import read_tunes
    from spectro_dreamer.rivals.wavegan_runs import read_csv
    from spectro_dreamer.settings import settings_template
    from spectro_dreamer.use.judging import finished_parts
    presets = {p: {"seed": getattr(preset("seed"), p)} for p in ("model", "train")}
    template = settings_template(presets, "seed").encode()
    run = json.dumps({p: preset("dreamer").to_dict()[p] for p in presets}, indent=1).encode()
    wave = b"preset: test\nmodel_dim: 4\nstrides: [3, 3]\nlevel: 0.1\n"
    yield Reader("settings.yaml", [template, run, wave], read_settings_file, m.TEXT)
    yield Reader("settings.json", [run], read_settings_file, (*m.TEXT, *[m.tree]*10))
    tunes = "\n".join(read_tunes()[:8]).encode()
    yield Reader("tunes.abc", [tunes], compose_abc, m.TEXT)
    rows = b'{"epoch": 1, "loss": 2.5}\n{"epoch": 2, "loss": 1.5}\n'
    yield Reader("metrics.jsonl", [rows], lambda p: history(p.parent), (*m.TEXT, *[m.tree_line]*6))
    yield Reader("epoch_statistics.csv", [b"epoch,loss\n1,2.5\n2,1.5\n"], read_csv, m.TEXT)
    done = b'{"forecast": {"key": "0123", "files": ["a.json"]}}'
    yield Reader("judged.json", [done], lambda p: finished_parts(p.parent), (*m.TEXT, *[m.tree]*8))


def all_readers(folder, graphs=True):
    """Every reader, with samples that are written to a folder; those of graphs take a quarter of a minute to make."""
    heard = sounds(folder/"rec")
    sets, written = data_sets(folder), written_episodes(folder)
    model = models(folder)
    rivals(folder)
    return [*readers_of_files(folder, heard, sets, written), *readers_of_models(folder, model),
            *(readers_of_graphs(folder, model) if graphs else ()), *readers_of_settings()]


# Reading in a child -------------------------------------------------------------------------------------------------

def spoiled(reader, seed, number):
    """Input number n of a reader. Number 0 and every `VALID`th is as it should be."""
    dice = random.Random(f"{seed} {reader.name} {number}")
    content = dice.choice(reader.samples)
    return content if number % VALID == 0 else dice.choice(reader.changes)(dice, content)


def attempt(read, path, valid=False):
    """("read" or "refused", "") or (kind of failure, the end of its traceback)."""
    from spectro_dreamer.config import SpectroError
    try: read(path)
    except SpectroError as e:
        said = str(e)
        if valid: return "a valid file is refused", said
        return ("refused", "") if "\n" not in said and len(said) < 1500 else ("no single line", said[:300])
    except BaseException as e:
        ours = [f for f in traceback.extract_tb(e.__traceback__) if "spectro_dreamer" in f.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "outside"
        return f"{type(e).__name__} in {where}", "".join(traceback.format_exception(e, limit=-3))[-1200:]
    return "read", ""


def serve(reader, seed, numbers, folder, say):
    """A child: read inputs and say what became of each."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2): os.dup2(nowhere, stream)
    memory = int(Path("/proc/self/statm").read_text().split()[0])*resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory + ROOM,)*2)
    path = folder/reader.name
    path.parent.mkdir(parents=True, exist_ok=True)
    for n in numbers:
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SECONDS, -1))
        say.send((n, "", ""))
        try: path.write_bytes(spoiled(reader, seed, n))
        except Exception as e:
            say.send((n, "no input", f"{type(e).__name__}: {e}"))  # a change that this sample cannot have
            continue
        say.send((n, *attempt(reader.read, path, n % VALID == 0)))
    say.close()
    os._exit(0)


class Tally:
    """What became of all inputs."""
    def __init__(self, keep=None):
        self.counts, self.failures, self.keep = {}, [], keep

    def add(self, reader, seed, number, kind, said):
        """Count an outcome; a failure's input is kept."""
        outcome = kind if kind in ("read", "refused", "no input") else "failed"
        row = self.counts.setdefault(reader.name, {})
        row[outcome] = row.get(outcome, 0) + 1
        if outcome != "failed": return
        alike = sum(f.reader == reader.name and f.kind == kind for f in self.failures)
        self.failures.append(Failure(reader.name, number, kind, said))
        if self.keep and alike < KEPT:
            self.keep.mkdir(parents=True, exist_ok=True)
            (self.keep/f"{seed}-{number}-{reader.name.replace('/', '-')}").write_bytes(spoiled(reader, seed, number))

    @property
    def inputs(self):
        """How many were read or refused or failed."""
        return sum(n for row in self.counts.values() for k, n in row.items() if k != "no input")


def watch(child, hear):
    """What a child says until it ends: (number, kind, said); at last how it ended, if not well."""
    current = None
    while True:
        try: ready = hear.poll(WAIT)
        except OSError: ready = False
        if not ready:
            child.kill()
            child.join()
            yield current, "hang", f"nothing for {WAIT} s"
            return
        try: number, kind, said = hear.recv()
        except EOFError:
            child.join()
            if child.exitcode: yield current, _ended(child.exitcode), ""
            return
        current = number
        if kind: yield number, kind, said


def _ended(code):
    """The words for a child's end."""
    if code == -24: return "hang (processor time)"
    return f"killed by signal {-code}" if code < 0 else f"ended with {code}"


def try_reader(reader, seed, numbers, folder, tally, until):
    """Read all inputs of some numbers, with as many children as that takes."""
    fork, numbers = multiprocessing.get_context("fork"), list(numbers)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    while numbers and time.monotonic() < until:
        hear, say = fork.Pipe(duplex=False)
        child = fork.Process(target=serve, args=(reader, seed, numbers[:200], folder, say), daemon=True)
        child.start()
        say.close()
        last = None
        for number, kind, said in watch(child, hear):
            if number is None: raise RuntimeError(f"a child that reads {reader.name} does not start: {kind}")
            tally.add(reader, seed, number, kind, said)
            last = number
        hear.close()
        numbers = [n for n in numbers if last is not None and n > last]


def torture_readers(scratch, inputs, seed, until, keep=None, names=()):
    """About so many inputs, evenly among the readers. Returns the `Tally`."""
    (scratch/"samples").mkdir(parents=True)
    everything = all_readers(scratch/"samples", graphs=inputs >= 1000 or any("onnx" in n for n in names))
    readers = [r for r in everything if not names or any(n in r.name for n in names)]
    tally = Tally(keep)
    each = max(1, -(-inputs//len(readers)))
    for reader in readers:
        before = time.monotonic()
        try_reader(reader, seed, range(each), scratch/"work", tally, until)
        row = tally.counts.get(reader.name, {})
        print(f"{reader.name:<22}" + "".join(f"{row.get(k, 0):>9}" for k in ("read", "refused", "failed"))
              + f"{time.monotonic() - before:9.1f} s", flush=True)
    return tally


def show(tally):
    """Kinds of failures, with one input of each."""
    kinds = {}
    for f in tally.failures: kinds.setdefault((f.reader, f.kind), []).append(f)
    for (reader, kind), some in sorted(kinds.items()):
        print(f"\n{reader}: {kind}: {len(some)} times, first input {some[0].number}\n{some[0].said.rstrip()}",
              file=sys.stderr)
