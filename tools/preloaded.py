"""What most chapters import, loaded once: the processes that test chapters are forked from one that has it.

Nothing of the package is here, so a chapter's own imports are still its own.
"""

import contextlib

import fastcore.test  # noqa: F401
import h5py  # noqa: F401
import IPython  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import nbdev.test  # noqa: F401
import numpy  # noqa: F401
import torch  # noqa: F401

with contextlib.suppress(ImportError):  # optional: a chapter without it says so
    import librosa  # noqa: F401
    import scipy.signal  # noqa: F401
    import soundfile  # noqa: F401
