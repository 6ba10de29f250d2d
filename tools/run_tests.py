"""The body of `make test`: every check by name, one after the other, and at the end `N passed, N failed`.

    python tools/run_tests.py [NAME…]

With names, only the checks whose name contains one of them are run: `run_tests.py 21_rssm`, `run_tests.py wheel`. A
check is a function that returns a remark, or raises `Failed` with what a person needs to see, or `Skipped` with the
reason.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import checks_source
import checks_wheel
from checking import DATA, PACKAGE, Failed, Skipped, last_lines, modules
from notebooks import NBS, ROOT, chapters

PYTHON = sys.executable
MINUTE = 60.0  # processor seconds that one chapter's tests may take on a quiet machine
BUSY = 4.0     # how many times as long it may take on a slower or busy one before that is called a failure

FORKS = multiprocessing.get_context("forkserver")
THEIRS = ["nbdev.test", "execnb.shell", "h5py", "matplotlib.pyplot", "torch", "torch._dynamo", "scipy.signal",
          "scipy.stats", "pandas", "soundfile", "librosa.filters", "librosa.feature.spectral", "mel_cepstral_distance",
          "pystoi", "onnxscript", "mlflow.store.tracking.sqlalchemy_store"]
FORKS.set_forkserver_preload([*THEIRS, *(f"{PACKAGE}.{module}" for module in modules())])


def draw_plainly():
    """Draw the figures that cells show or save without arranging them first, which takes longer than all the rest."""
    from IPython.core import pylabtools
    from matplotlib.figure import Figure
    draw, save = pylabtools.print_figure, Figure.savefig
    def print_figure(figure, *args, **kwargs):
        """As it is, without a layout and without twice the dots."""
        figure.set_layout_engine("none")
        return draw(figure, *args, **kwargs | {"dpi": 72})
    def savefig(figure, *args, **kwargs):
        """The same into a file."""
        figure.set_layout_engine("none")
        return save(figure, *args, **kwargs | {"dpi": 72})
    pylabtools.print_figure, Figure.savefig = print_figure, savefig


def run_one(path, said, spent):
    """A notebook's own tests, in this process: what they print goes to a file, their processor time into a pipe."""
    os.chdir(ROOT)
    multiprocessing.set_start_method(None, force=True)  # as in any other process: the system's own
    with open(said, "w") as output, open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
        for stream in (1, 2): os.dup2(output.fileno(), stream)
    from nbdev.test import nbdev_test
    draw_plainly()
    try: nbdev_test(path=str(path), n_workers=0)
    finally:
        sys.stdout.flush()
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        spent.send(sum(u.ru_utime + u.ru_stime for u in used))


def in_a_fork(path):
    """Run a notebook's tests in a fork of a process that has only imported what most of them import.

    So no state leaks from one to another, and a hundred chapters do not each pay for torch. Returns the processor time.
    """
    hear, say = FORKS.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile("r", errors="replace") as said:
        running = FORKS.Process(target=run_one, args=(path, said.name, say))
        running.start()
        say.close()
        running.join()
        if running.exitcode:
            raise Failed(f"{path.name}: exit {running.exitcode}\n{last_lines(said.read())}")
        return hear.recv()


def notebook(path):
    """One notebook's own tests, in a process of its own, and within a minute."""
    spent = in_a_fork(path)
    Tally.processor += spent
    without = not os.environ.get(DATA) and DATA in path.read_text(encoding="utf-8")
    if not os.environ.get(DATA) and spent > BUSY*MINUTE:
        raise Failed(f"its tests take {spent:.0f} s of processor time, and a chapter has {MINUTE:.0f}: mark what is "
                     "heavy as slow, and put a smaller test beside it")
    remark = f"processor {spent:.0f} s" + (", more than a minute" if spent > MINUTE else "")
    return remark + (", without real recordings" if without else "")


class Tally:
    """Counts results and says each as it comes."""
    processor = 0.0  # seconds that the notebooks took

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0
        self.failures = []

    def attempt(self, check):
        """Run a check and return (verdict, remark, seconds)."""
        start = time.time()
        try: verdict, remark = "passed", check() or ""
        except Skipped as e: verdict, remark = "skipped", str(e)
        except Failed as e: verdict, remark = "failed", str(e)
        except Exception as e: verdict, remark = "failed", f"{type(e).__name__}: {e}"
        return verdict, remark, time.time() - start

    def report(self, name, result):
        """Count a result and print its line; a failure's output goes below it."""
        verdict, remark, seconds = result
        setattr(self, verdict, getattr(self, verdict) + 1)
        brief = "" if verdict == "failed" else remark
        print(f"{verdict:>7}  {name:<42} {seconds:6.1f} s  {brief}".rstrip(), flush=True)
        if verdict == "failed":
            print("\n".join("         | " + line for line in remark.splitlines()), flush=True)
            self.failures.append((name, remark.splitlines()[-12:]))

    def again(self):
        """The ends of the failures once more, since the first of them may be far above by now."""
        return "".join(f"failed: {name}\n" + "".join(f"         | {line[:300]}\n" for line in end)
                       for name, end in self.failures)

    def line(self):
        """The last line of the run."""
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


def plan(scratch):
    """(name, check) in order, in three groups: before the notebooks, the notebooks, and after them."""
    source, wheel = checks_source, checks_wheel
    before = [
        ("notebooks are clean", partial(source.clean, scratch)),
        ("library in step with notebooks", partial(source.export, scratch)),
        ("README in step with index", source.readme),
        ("imports from lower numbers only", source.import_order),
        ("imports stand at the top", source.imports_at_the_top),
        ("imports are declared", source.declared),
        ("training imports stay light", source.light_imports),
        ("bare import is light", source.lazy_package),
        ("lines", source.lines),
        ("types", source.types),
        ("modules and chapters of a size to read", source.measures),
        ("exercises have tested solutions", source.lessons),
        ("a public name in one module", source.one_home),
        ("classes are whole", source.whole_classes),
        ("module docstrings are kept", source.docstrings),
        ("editors find the methods", source.editors),
        ("no script that the wheel lacks", source.scripts_named),
        ("sizes", source.sizes),
        ("no machine paths", source.paths),
    ]
    during = [("golden outputs", source.golden), ("torture, a minute of it", source.torture),
              ("GPU day, rehearsed", partial(source.gpu_day, scratch)),
              *((f"nbs/{p.name}", partial(notebook, p)) for p in chapters())]
    after = [
        ("site", source.site),
        ("live panel in a browser", live_panel),
        ("wheel: build", partial(wheel.build, scratch)),
        ("wheel: install", partial(wheel.install, scratch)),
        ("wheel: every module imports", partial(wheel.every_module, scratch)),
        ("wheel: every command helps", partial(wheel.every_command, scratch)),
        ("wheel: the README's Python runs", partial(wheel.readme_python, scratch)),
    ]
    return before, during, after


def live_panel():
    """The page in which the shipped models run, in a real browser; it costs a minute and a half of processor."""
    sys.path.insert(0, str(ROOT / "tools" / "site"))
    from check_panel import check_panel
    return check_panel()


class SoundsKept:
    """Puts the sounds of the pages back after the notebooks' tests made them again.

    They differ in a bit from processor to processor.
    """
    def __enter__(self):
        self.before = {p: p.read_bytes() for p in (NBS / "audio").glob("*.mp3")}

    def __exit__(self, *_):
        for path, content in self.before.items():
            if not path.is_file() or path.read_bytes() != content: path.write_bytes(content)


def prepare_environment(scratch):
    """One thread, no display, no leftovers of another IPython; a data folder given relative to here, made absolute."""
    os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg", IPYTHONDIR=str(scratch / "ipython"))
    if os.environ.get(DATA): os.environ[DATA] = str(Path(os.environ[DATA]).resolve())
    print(f"{DATA} is {'set' if os.environ.get(DATA) else 'unset: tests on real recordings skip'}", flush=True)


def chosen(checks, names):
    """The checks whose name contains one of `names`, or all of them."""
    return [(name, check) for name, check in checks if not names or any(part in name for part in names)]


def main(names):
    """Run the checks named; exit 1 when any fails or none was found."""
    tally, start = Tally(), time.time()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        prepare_environment(scratch)
        before, during, after = (chosen(group, names) for group in plan(scratch))
        for name, check in before: tally.report(name, tally.attempt(check))
        with SoundsKept(), ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:  # each waits for a process
            running = {pool.submit(tally.attempt, check): name for name, check in during}
            for done in as_completed(running): tally.report(running[done], done.result())
        for name, check in after: tally.report(name, tally.attempt(check))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = Tally.processor + sum(u.ru_utime + u.ru_stime for u in used)
    print(f"{tally.again()}in {time.time() - start:.0f} s, processor {processor:.0f} s\n{tally.line()}")
    return tally.failed > 0 or tally.passed == 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
