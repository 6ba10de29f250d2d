"""The tests of one notebook, in a process of its own: nbdev's own test run, begun with the heavy imports done.

A hundred chapters that each load torch anew would spend more on that than many of them on their tests. A server process
that never runs a test loads `preloaded` once; each chapter's process is forked from it, so no state leaks from another.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
from pathlib import Path

from checking import Failed, last_lines
from notebooks import ROOT

SERVER = multiprocessing.get_context("forkserver")


def _test(path, said, spent):
    """In the new process: run the notebook's tests; write what they print and the processor seconds they take."""
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2): os.dup2(out, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)
    from nbdev.config import get_config
    from nbdev.test import test_nb

    os.chdir(ROOT / "nbs")
    passed, _ = test_nb(path, skip_flags=get_config().tst_flags.split(), basepath=ROOT)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    Path(spent).write_text(str(sum(u.ru_utime + u.ru_stime for u in used)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(not passed)  # what a test has left running must not keep the process


def run(path):
    """Run a notebook's tests; the processor seconds that it and its children took. `Failed` with the end of its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        said, spent = Path(folder) / "said", Path(folder) / "spent"
        process = SERVER.Process(target=_test, args=(path, said, spent))
        process.start()
        process.join()
        if process.exitcode:
            text = said.read_text(encoding="utf-8", errors="replace") if said.is_file() else ""
            raise Failed(f"{path.name}: exit {process.exitcode}\n{last_lines(text)}")
        return float(spent.read_text())


def preload():
    """Let the server load what chapters share; call it once, before the first `run`."""
    SERVER.set_forkserver_preload(["preloaded"])
