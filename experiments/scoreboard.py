"""The scoreboard: the few numbers that this project answers for, in one flat file from which the report's tables come.

    board = {"cas": score(0.83, 0.02, n=498, aim=0.8, made_by="experiments/digits.py, …")}
    write_scores("nbs/results/scoreboard.json", board)      # beside what other experiments wrote there

Each key has value, se (standard error), n (of what chance is made), aim and from: script, data, split, seeds, machine.
"""

import json, os, platform
from pathlib import Path

from spectro_dreamer.config import SpectroError
from spectro_dreamer.files import write_text


def rounded(x, digits=4):
    """A number as it is written down; None stays None."""
    return None if x is None else round(float(x), digits)


def score(value, se=None, n=None, aim=None, made_by=""):
    """One row of the scoreboard. `made_by` names script, data, split, seeds and machine."""
    return {"value": rounded(value), "se": rounded(se), "n": n if n is None else int(n), "aim": aim, "from": made_by}


def read_scores(path):
    """The scoreboard as it stands; empty if there is none. Raises `SpectroError` if the file is none."""
    if not Path(path).is_file(): return {}
    try: board = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError: raise SpectroError(f"{path} is no JSON: mend or remove it") from None
    if not isinstance(board, dict): raise SpectroError(f"{path} is no scoreboard: it holds no keys")
    return board


def write_scores(path, scores):
    """Put rows into the scoreboard and leave the others as they are; keys sorted, written whole or not at all."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(dict(sorted((read_scores(path) | scores).items())), indent=1, allow_nan=False) + "\n")


def machine():
    """What computed, in few words."""
    return f"{platform.machine()}, {os.environ.get('OMP_NUM_THREADS', os.cpu_count())} thread"
