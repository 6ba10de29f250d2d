"""World models for sound: encode, predict, complete and imagine spectrograms.

    from spectro_dreamer import load, imagine
    model = load("mini")
    dream = imagine(model, "clip.mp3", context=.5, seconds=2)
    dream.save("dream.wav")

The names below are imported when they are first asked for, so `import spectro_dreamer` loads nothing else.
"""

import importlib

__version__ = "0.1.0"

__all__ = ["load", "imagine", "reconstruct", "complete", "restyle", "say", "surprise", "prepare", "train",
           "evaluate", "calculate_mcd", "calculate_fad"]

_HOMES = {  # name: the module that defines it, and what it is called there
    "load": "model.world_model:load",
    "imagine": "use.face:imagine_recording",
    "reconstruct": "use.face:reconstruct_recording",
    "complete": "use.face:complete_recording",
    "restyle": "use.face:restyle_recording",
    "say": "use.face:say_sentence",
    "surprise": "judge.surprise:surprise",
    "prepare": "data.preparation:prepare",
    "train": "learn.training:train",
    "evaluate": "judge.reports:evaluate",
    "calculate_mcd": "sound.metrics:calculate_mcd",
    "calculate_fad": "sound.sound_sets:calculate_fad",
}

TYPE_CHECKING = False  # editors and type checkers take it for true, and so find the names
if TYPE_CHECKING:
    from .data.preparation import prepare
    from .judge.reports import evaluate
    from .judge.surprise import surprise
    from .learn.training import train
    from .model.world_model import load
    from .sound.metrics import calculate_mcd
    from .sound.sound_sets import calculate_fad
    from .use.face import complete_recording as complete
    from .use.face import imagine_recording as imagine
    from .use.face import reconstruct_recording as reconstruct
    from .use.face import restyle_recording as restyle
    from .use.face import say_sentence as say


def __getattr__(name):
    """A name of the table, from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    module, inside = _HOMES[name].split(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), inside)


def __dir__():
    """What is there already, and the names of the table."""
    return sorted({*globals(), *__all__})
