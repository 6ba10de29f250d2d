"""A data set that travels: log-mels as bytes, and sounds of engines for the WaveGAN, in one file of at most 64 MiB.

    python experiments/gpu_day.py pack --dataset speech.h5 --output gpu_day.h5

Each mel band of the clips that fit is divided into 255 equal steps from its least to its largest value. What that costs
is written into the file: the error in nats, and as MSE of log-mels standardised per band, the unit of chapter 25.
Unpacked, it is a prepared file of chapter 10d again, in half precision. That needs only numpy and h5py.
"""

from pathlib import Path

import h5py
import numpy as np

from spectro_dreamer.config import SpectroError
from spectro_dreamer.data.observations import local_style
from spectro_dreamer.files import atomic_write

TABLES = ("quiet", "global_styles")  # a row for each clip; what else is needed is computed again
WORDS = ("path", "speaker", "sentence")
ABOUT = ("format", "front_end", "tokens", "style_names")
ENGINE_RATE = 22050


def chosen(lengths, most, seed=0):
    """Clips at random until they hold as many frames as are allowed, in the order of the file."""
    order = np.random.default_rng(seed).permutation(len(lengths))
    taken = order[np.cumsum(lengths[order]) <= most]
    if not len(taken): raise SpectroError("no clip fits: allow more mebibytes")
    return np.sort(taken)


def quantised(rows, low, step):
    """Log-mels (N, M) as bytes."""
    return np.clip(np.rint((rows - low)/step), 0, 255).astype(np.uint8)


def pack(dataset, output, mebibytes=60.0, waves=()):
    """Write the file; returns what is said of it. `waves`: sounds (S,) float32 of one length, for the WaveGAN."""
    waves = np.array([np.rint(32767*w) for w in waves], np.int16)
    most = int(mebibytes*2**20) - waves.nbytes
    with h5py.File(dataset) as f, atomic_write(Path(output)) as part, h5py.File(part, "w") as out:
        offsets = f["offsets"][:]
        clips = chosen(np.diff(offsets), most//f["spectrograms"].shape[1])
        def rows(i): return f["spectrograms"][offsets[i]:offsets[i + 1]].astype(np.float32)
        low, high = (end.reduce([end.reduce(rows(i)) for i in clips]) for end in (np.minimum, np.maximum))
        step = np.maximum(high - low, 1e-3)/255
        lengths = np.diff(offsets)[clips]
        packed = out.create_dataset("packed", (lengths.sum(), len(low)), np.uint8)
        at, error, worst, sums = 0, 0.0, 0.0, np.zeros((2, len(low)))
        for i in clips:
            x = rows(i)
            packed[at:at + len(x)] = q = quantised(x, low, step)
            off = q*step + low - x
            at, error, worst = at + len(x), error + (off.astype(float)**2).sum(0), max(worst, float(np.abs(off).max()))
            sums += x.sum(0), (x.astype(float)**2).sum(0)
        variance = sums[1]/at - (sums[0]/at)**2
        out["low"], out["step"], out["lengths"], out["waves"] = low, step, lengths, waves
        for name in TABLES: out[name] = f[name][:][clips]
        for name in WORDS:
            out.create_dataset(f"clips/{name}", data=[f[f"clips/{name}"].asstr()[i] for i in clips],
                               dtype=h5py.string_dtype())
        said = dict(clips=len(clips), of_clips=len(offsets) - 1, frames=int(at), rms_error_nats=float(
            np.sqrt((error/at).mean())), worst_error_nats=worst, z_mse=float((error/at/variance).mean()))
        out.attrs.update({name: f.attrs[name] for name in ABOUT})
        out.attrs.update(said, fingerprint=f"{f.attrs['fingerprint']}-{len(clips)}-bytes")
    return said


def unpack(packed, output):
    """The packed file as a prepared one, in half precision."""
    with h5py.File(packed) as f, h5py.File(output, "w") as out:
        low, step, lengths = f["low"][:], f["step"][:], f["lengths"][:]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        shape = (int(offsets[-1]), len(low))
        frames, local = (out.create_dataset(name, (shape[0], n), np.float16)
                         for name, n in (("spectrograms", shape[1]), ("local_styles", 3)))
        sums, squares = np.zeros((2, len(lengths), shape[1]), np.float32)
        for i, (a, b) in enumerate(zip(offsets, offsets[1:])):
            x = (f["packed"][a:b]*step + low).astype(np.float32)
            frames[a:b], local[a:b] = x, local_style(x)
            sums[i], squares[i] = x.sum(0, dtype=float), (x**2).sum(0, dtype=float)
        out["offsets"], out["sums"], out["squares"] = offsets, sums, squares
        for name in TABLES: out[name] = f[name][:]
        for name in WORDS: out.create_dataset(f"clips/{name}", data=f[f"clips/{name}"][:], dtype=h5py.string_dtype())
        for name in (*ABOUT, "fingerprint"): out.attrs[name] = f.attrs[name]
        return {k: v.item() if hasattr(v, "item") else v for k, v in f.attrs.items() if k not in ABOUT}


def waves_of(packed):
    """The engines' sounds (n, S) float32 of a packed file."""
    with h5py.File(packed) as f: return f["waves"][:].astype(np.float32)/32767
