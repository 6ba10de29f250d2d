"""The body of `make test`: every check by name, one after the other, and at the end `N passed, N failed`.

    python tools/run_tests.py [NAME…]

With names, only the checks whose name contains one of them are run: `run_tests.py 21_rssm`, `run_tests.py wheel`. A check
is a function that returns a remark, or raises `Failed` with what a person needs to see, or `Skipped` with the reason.
"""

import ast, filecmp, hashlib, json, os, re, shutil, subprocess, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from importlib.metadata import packages_distributions
from pathlib import Path

from notebooks import MACHINE_PATH, NBS, ROOT, chapters, directives, machine_paths, read, text

PACKAGE = "spectro_dreamer"
LIGHT = """config figures data.preprocessing data.preparation data.dataset model.encoder model.rssm model.unrolled model.decoder
    model.contrastive model.world_model learn.tracking learn.compute learn.training act.actor_critic""".split()  # all that a training machine imports
HEAVY = "librosa mlflow matplotlib pandas psutil safetensors soundfile soxr scipy threadpoolctl torchaudio".split()  # what it may not have
MB = 2 ** 20
MINUTE = 60.0       # processor seconds that one chapter's tests may take on a quiet machine
BUSY = 4.0          # how many times as long it may take on a slower or busy one before that is called a failure
IMPORT_LIMIT = 0.2  # processor seconds that `import spectro_dreamer` may take
WEIGHTS = {".pt", ".pth", ".safetensors", ".onnx"}
PYTHON = sys.executable
WHEEL_ENV = ROOT / ".venv" / "wheel"  # the environment a wheel is tried in
DATA = "SPECTRO_DREAMER_DATA"  # names a folder of real recordings; tests that use them skip when it is unset


class Failed(Exception):
    """A check that did not hold; its message is what to read."""


class Skipped(Exception):
    """A check that could not be made; its message is why."""


def sh(*command, cwd=ROOT, env=None, what=None):
    """Run a command and return what it printed; `Failed` with the end of that when it does not exit with 0."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, env={**os.environ, **(env or {})}, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode: raise Failed(f"{what or Path(command[0]).name}: exit {done.returncode}\n" + "\n".join(done.stdout.splitlines()[-60:]))
    return done.stdout


def processor_seconds(*command, what):
    """Run a command like `sh`, and return the processor time that it and its children took: on a busy machine the clock says little."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        running = subprocess.Popen([str(c) for c in command], cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if running.returncode: raise Failed(f"{what}: exit {running.returncode}\n" + "\n".join(said.read().splitlines()[-60:]))
    return used.ru_utime + used.ru_stime


def fail_if(problems):
    """`Failed` with one line for each problem, when there are any."""
    problems = list(problems)
    if problems: raise Failed("\n".join(problems))


def tree_files():
    """The project's files: tracked, or new and not ignored."""
    listed = sh("git", "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    return [ROOT / name for name in sorted(set(listed)) if name and (ROOT / name).is_file()]


def snapshot(folder):
    """Copy the project's files to `folder`, as a clean clone would hold them."""
    for path in tree_files():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return folder


# Notebooks, library and README in step ------------------------------------------------------------------------------

def clean(scratch):
    """Cleaning the notebooks changes nothing."""
    copy = snapshot(scratch / "clean")
    sh(Path(PYTHON).parent / "nbdev_clean", cwd=copy)
    fail_if(f"nbs/{nb.name} is not clean: run nbdev_clean" for nb in chapters()
            if not filecmp.cmp(nb, copy / "nbs" / nb.name, shallow=False))


def export(scratch):
    """Exporting the notebooks gives the library as it stands, no more and no less."""
    copy = snapshot(scratch / "export")
    for module in (copy / PACKAGE).rglob("*.py"):
        if module.name != "__init__.py": module.unlink()
    sh(Path(PYTHON).parent / "nbdev_export", cwd=copy)
    ours, theirs = ({p.relative_to(base / PACKAGE).as_posix(): p.read_bytes() for p in (base / PACKAGE).rglob("*.py")} for base in (ROOT, copy))
    fail_if(f"{PACKAGE}/{name} is not what the notebooks export: run nbdev_export"
            for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name))


def readme():
    """README.md is what the index gives."""
    sh(PYTHON, ROOT / "tools" / "site" / "make_readme.py", "--check", what="README.md")


def notebook(path):
    """One notebook's own tests, in a process of its own so that no state leaks from another, and within a minute."""
    spent = processor_seconds(Path(PYTHON).parent / "nbdev_test", "--path", path, "--n_workers", "0", what=path.name)
    without = not os.environ.get(DATA) and DATA in path.read_text(encoding="utf-8")
    if not os.environ.get(DATA) and spent > BUSY*MINUTE: raise Failed(f"its tests take {spent:.0f} s of processor time, and a chapter has {MINUTE:.0f}: mark what is heavy as slow, and put a smaller test beside it")
    return f"processor {spent:.0f} s" + (", more than a minute" if spent > MINUTE else "") + (", without real recordings" if without else "")


# The import rule ----------------------------------------------------------------------------------------------------

def module_numbers():
    """{module: number} from the notebooks' names and their `default_exp`; numbers are text, so that 01b lies between 01 and 02."""
    found = {}
    for path in chapters():
        names = [d.split()[1] for c in read(path)["cells"] if c["cell_type"] == "code"
                 for d in directives(text(c["source"])) if d.startswith("default_exp ")]
        if names and path.name[:2].isdigit(): found[names[0]] = path.name.split("_")[0]
    return found


def module_path(module):
    """The file of a module of ours, `model.rssm`."""
    return ROOT / PACKAGE / f"{module.replace('.', '/')}.py"


def library():
    """Every file of the library but the lists that nbdev writes."""
    return sorted(p for p in (ROOT / PACKAGE).rglob("*.py") if p.name != "_modidx.py")


def base_of(node, path):
    """The full name of what a `from … import` reads, whose dots count folders upward from `path`."""
    if not node.level: return node.module
    package = (PACKAGE, *path.relative_to(ROOT / PACKAGE).parent.parts)
    return ".".join([*package[:len(package) - node.level + 1], *filter(None, [node.module])])


def imported(source):
    """The full names of the modules that a file, or the syntax tree of a cell, imports, wherever it does."""
    tree = ast.parse(source.read_text(encoding="utf-8")) if isinstance(source, Path) else source
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = base_of(node, source if isinstance(source, Path) else ROOT / PACKAGE / "cell.py")
            yield base
            if base.split(".")[0] == PACKAGE: yield from (f"{base}.{a.name}" for a in node.names)  # a module of a folder, perhaps


def ours(names):
    """Of full module names, those of this package, without its name: `model.rssm`."""
    return {n.removeprefix(f"{PACKAGE}.") for n in names if n.startswith(f"{PACKAGE}.")}


def import_order():
    """Each module, and each notebook, imports only from lower numbers."""
    numbers, wrong = module_numbers(), []
    for module, number in numbers.items():
        path = module_path(module)
        if not path.exists(): wrong.append(f"{path.relative_to(ROOT)} is missing: run nbdev_export"); continue
        for other in ours(imported(path)) & numbers.keys():
            if numbers[other] >= number: wrong.append(f"{module} ({number}) imports {other} ({numbers[other]})")
    for path in (p for p in chapters() if p.name[:2].isdigit()):
        for other in notebook_imports(path) & numbers.keys():
            if numbers[other] > path.name.split("_")[0]: wrong.append(f"{path.name} imports {other} ({numbers[other]})")
    fail_if(sorted(wrong))


def notebook_imports(path):
    """Our modules that any code cell of a notebook imports, its tests included."""
    found = set()
    for cell in read(path)["cells"]:
        if cell["cell_type"] != "code": continue
        lines = [line for line in text(cell["source"]).splitlines() if not re.match(r"\s*[%!]", line)]
        try: found |= ours(imported(ast.parse("\n".join(lines))))
        except SyntaxError: pass  # not Python: a shell cell or a magic
    return found


def declared():
    """Every package that the library imports is among its requirements, or those of an extra."""
    wanted = [r for key in ("requirements", "cluster_requirements", "hearing_requirements", "onnx_requirements", "music_requirements") for r in requirements(key)]
    allowed = {re.split(r"[<>=!~\[]", r)[0].lower().replace("_", "-") for r in wanted}
    owners, names = packages_distributions(), set()
    for path in library(): names |= {n.split(".")[0] for n in imported(path)}
    names -= sys.stdlib_module_names | {PACKAGE, "IPython"}  # IPython comes with ipywidgets
    fail_if(f"{name} is imported but not required in settings.ini" for name in sorted(names)
            if not {o.lower().replace("_", "-") for o in owners.get(name, [name])} & allowed)


_BLOCK = """
import sys
blocked, modules = sys.argv[1].split(), sys.argv[2].split()
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in blocked: raise ModuleNotFoundError('blocked for this test: ' + name, name=name)
sys.meta_path.insert(0, Blocker())
import importlib
for name in modules: importlib.import_module('spectro_dreamer.' + name)
"""

_LAZY = """
import sys, time
start = time.process_time()
import spectro_dreamer
spent = time.process_time() - start
assert spectro_dreamer.__version__
heavy = {'torch', 'numpy', 'librosa', 'mlflow'} & sys.modules.keys()
assert not heavy, f'import spectro_dreamer loads {heavy}'
assert spent < float(sys.argv[1]), f'import spectro_dreamer takes {spent:.2f} s'
print(f'{1000*spent:.1f} ms')
"""


def light_imports():
    """What training needs imports where only torch, numpy and h5py are present."""
    sh(PYTHON, "-c", _BLOCK, " ".join(HEAVY), " ".join(LIGHT), what="with heavy packages blocked")


def lazy_package():
    """`import spectro_dreamer` alone loads nothing heavy and takes no time to speak of."""
    return sh(PYTHON, "-c", _LAZY, IMPORT_LIMIT, what="import spectro_dreamer").strip()


# Site and sizes -----------------------------------------------------------------------------------------------------

def site():
    """The documentation site holds together."""
    return sh(PYTHON, ROOT / "tools" / "site" / "check_site.py", what="check_site").strip().splitlines()[-1]


def sizes():
    """Notebooks under 2 MB, weights under 20 MB in all, nothing else over 2 MB."""
    files = {p.relative_to(ROOT).as_posix(): p.stat().st_size for p in tree_files()}
    weights = sum(size for name, size in files.items() if Path(name).suffix in WEIGHTS)
    heavy = [f"{name}: {size/MB:.1f} MB" for name, size in files.items() if size > 2*MB and Path(name).suffix not in WEIGHTS]
    if weights > 20*MB: heavy.append(f"weights: {weights/MB:.1f} MB in all")
    fail_if(heavy)
    return f"{sum(files.values())/MB:.1f} MB in {len(files)} files"


def paths():
    """No folder of one machine is named, neither in what a notebook shows nor in any text."""
    wrong = [f"nbs/{nb.name} cell {i}: shows {hit}" for nb in chapters() for i, hit in machine_paths(read(nb))]
    for path in tree_files():
        try: body = path.read_text(encoding="utf-8")
        except UnicodeDecodeError: continue  # binary
        if path.suffix == ".ipynb": body = "\n".join(text(c["source"]) for c in json.loads(body)["cells"])
        wrong += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in MACHINE_PATH.finditer(body) if not in_url(body, hit.start())]
    fail_if(wrong)


def in_url(body, at):
    """Whether position `at` is inside a web address or a longer relative path, where such a folder is innocent."""
    return at > 0 and (body[at - 1].isalnum() or body[at - 1] in "._-~}*")


# The wheel, in an empty environment ---------------------------------------------------------------------------------

_EVERY_MODULE = """
import importlib, importlib.resources, importlib.util, pkgutil, sys
import spectro_dreamer
for extra in ('nbdev', 'execnb', 'nbclient', 'jupytext', 'espeakng_loader', 'distributed', 's3fs', 'torchmetrics', 'auraloss', 'pocketsphinx', 'jiwer', 'pesq', 'pycodec2', 'onnx', 'onnxscript', 'onnxruntime', 'music21'):
    assert not importlib.util.find_spec(extra), extra + ' is present: the library must not need it'
assert 'site-packages' in spectro_dreamer.__file__, spectro_dreamer.__file__
names = [m.name for m in pkgutil.walk_packages(spectro_dreamer.__path__, 'spectro_dreamer.')]
assert len(names) == int(sys.argv[2]), f'{len(names)} modules of {sys.argv[2]}'
for name in names: importlib.import_module(name)
corpus = importlib.resources.files('spectro_dreamer') / 'corpus'
clips = [p for p in (corpus / 'clips').iterdir() if p.name.endswith('.mp3')]
rows = (corpus / 'validated.tsv').read_text(encoding='utf-8').splitlines()[1:]
assert clips and len(rows) == len(clips) == int(sys.argv[1]), f'{len(clips)} clips and {len(rows)} rows of {sys.argv[1]}'
tunes = (importlib.resources.files('spectro_dreamer') / 'tunes' / 'tunes.abc').read_text(encoding='utf-8').count('X:')
assert tunes, 'the tunes are missing'
print(f'{len(names)} modules, {len(clips)} clips, {tunes} tunes')
"""


def venv_python(scratch):
    """The Python of the wheel's own environment; `Skipped` while the wheel is not in it."""
    if not (scratch / "empty").exists(): raise Skipped("the wheel is not installed")
    return WHEEL_ENV / "bin" / "python"


def bare(scratch):
    """Settings that keep the checkout out of the wheel's environment."""
    return {"cwd": scratch / "empty", "env": {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}}


def wheel_build(scratch):
    """A wheel builds from a clean copy."""
    copy = snapshot(scratch / "wheel")
    sh(PYTHON, "-m", "build", "--wheel", "--outdir", scratch / "dist", copy, cwd=scratch, what="build")
    wheel = next((scratch / "dist").glob("*.whl"))
    return f"{wheel.name}, {wheel.stat().st_size/MB:.1f} MB"


def requirements(key="requirements"):
    """What settings.ini says the library needs at run time, or for an extra."""
    return re.search(rf"^{key} = (.*)$", (ROOT / "settings.ini").read_text(encoding="utf-8"), re.M)[1].split()


def environment_key():
    """What decides the wheel's environment: the Python, the requirements and the pins."""
    parts = [sys.version, str(WHEEL_ENV), *requirements(), (ROOT / "constraints.txt").read_text(encoding="utf-8")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def wheel_install(scratch):
    """The wheel installs, with what it requires and nothing else, into an environment of its own.

    Filling that environment takes minutes, so it is kept for the next run, and made anew when its key changes.
    """
    wheel = next((scratch / "dist").glob("*.whl"), None)
    if not wheel: raise Skipped("there is no wheel")
    python, key = WHEEL_ENV / "bin" / "python", WHEEL_ENV / ".key"
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-c", ROOT / "constraints.txt"]
    kept = key.exists() and key.read_text() == environment_key()
    if kept: sh(*pip, "--force-reinstall", "--no-deps", wheel, cwd=scratch, what="pip install")
    else:
        shutil.rmtree(WHEEL_ENV, ignore_errors=True)
        sh(PYTHON, "-m", "venv", WHEEL_ENV, what="venv")
        sh(*pip, wheel, cwd=scratch, what="pip install")
        key.write_text(environment_key())
    sh(python, "-m", "pip", "check", "--disable-pip-version-check", what="pip check")
    (scratch / "empty").mkdir()
    return "its requirements kept from an earlier run" if kept else "with all its requirements"


def wheel_imports(scratch):
    """Every module imports there without nbdev, and the bundled corpus is there."""
    clips = len(list((ROOT / PACKAGE / "corpus" / "clips").glob("*.mp3")))
    modules = len([p for p in library() if p != ROOT / PACKAGE / "__init__.py"]) + 1  # _modidx is one too
    return sh(venv_python(scratch), "-c", _EVERY_MODULE, clips, modules, what="importing every module", **bare(scratch)).strip()


def commands():
    """The console commands that settings.ini declares."""
    return re.findall(r"(spectro_\w+)\s*=\s*spectro_dreamer\.use\.cli:", (ROOT / "settings.ini").read_text())


def wheel_commands(scratch):
    """Every console command answers `--help` there."""
    bin, slowest = venv_python(scratch).parent, 0.0
    for name in commands():
        start = time.time()
        if "usage" not in sh(bin / name, "--help", what=f"{name} --help", **bare(scratch)).lower(): raise Failed(f"{name} --help shows no usage")
        slowest = max(slowest, time.time() - start)
    return f"{len(commands())} commands, the slowest in {slowest:.1f} s"


# Running them -------------------------------------------------------------------------------------------------------

class Tally:
    """Counts results and says each as it comes."""
    def __init__(self): self.passed, self.failed, self.skipped, self.failures = 0, 0, 0, []

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
        return "".join(f"failed: {name}\n" + "".join(f"         | {line[:300]}\n" for line in end) for name, end in self.failures)

    def line(self):
        """The last line of the run."""
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


def plan(scratch):
    """(name, check) in order, in three groups: before the notebooks, the notebooks, and after them."""
    before = [("notebooks are clean", partial(clean, scratch)), ("library in step with notebooks", partial(export, scratch)),
              ("README in step with index", readme), ("imports from lower numbers only", import_order),
              ("imports are declared", declared), ("training imports stay light", light_imports),
              ("bare import is light", lazy_package), ("sizes", sizes), ("no machine paths", paths)]
    during = [(f"nbs/{p.name}", partial(notebook, p)) for p in chapters()]
    after = [("site", site), ("wheel: build", partial(wheel_build, scratch)), ("wheel: install", partial(wheel_install, scratch)),
             ("wheel: every module imports", partial(wheel_imports, scratch)), ("wheel: every command helps", partial(wheel_commands, scratch))]
    return before, during, after


class SoundsKept:
    """Puts the sounds of the pages back after the notebooks' tests made them again: they differ in a bit from processor to processor."""
    def __enter__(self): self.before = {p: p.read_bytes() for p in (NBS / "audio").glob("*.mp3")}

    def __exit__(self, *_):
        for path, content in self.before.items():
            if not path.is_file() or path.read_bytes() != content: path.write_bytes(content)


def prepare_environment(scratch):
    """One thread, no display, no leftovers of another IPython; a data folder given relative to here, made absolute."""
    os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg", IPYTHONDIR=str(scratch / "ipython"))
    if os.environ.get(DATA): os.environ[DATA] = str(Path(os.environ[DATA]).resolve())
    print(f"{DATA} is {'set' if os.environ.get(DATA) else 'unset: tests on real recordings skip'}", flush=True)


def main(names):
    """Run the checks named; exit 1 when any fails or none was found."""
    tally, start = Tally(), time.time()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        prepare_environment(scratch)
        before, during, after = ([(n, c) for n, c in group if not names or any(w in n for w in names)] for group in plan(scratch))
        for name, check in before: tally.report(name, tally.attempt(check))
        with SoundsKept(), ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:  # each waits for a process of its own
            running = {pool.submit(tally.attempt, check): name for name, check in during}
            for done in as_completed(running): tally.report(running[done], done.result())
        for name, check in after: tally.report(name, tally.attempt(check))
    print(f"{tally.again()}in {time.time() - start:.0f} s\n{tally.line()}")
    return tally.failed > 0 or tally.passed == 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
