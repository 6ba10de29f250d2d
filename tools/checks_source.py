"""Checks of what is written: notebooks and library in step, imports, lines, types, words that lead somewhere, sizes."""

import ast
import filecmp
import json
import re
import shutil
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from checking import (PACKAGE, Failed, fail_if, imported, library, module_path, modules, ours, requirements, sh,
                      tree_files)
from notebooks import MACHINE_PATH, ROOT, chapters, directives, machine_paths, read, text

PYTHON = sys.executable
HEAVY = ("fastprogress librosa mlflow matplotlib pandas psutil safetensors soundfile soxr scipy threadpoolctl "
         "torchaudio").split()  # what a training machine may not have
LIGHT_PARTS = ("", "data", "model", "learn")  # the folders that such a machine imports, and beside them
LIGHT_TOO = ("act.actor_critic",)
MB = 2 ** 20
IMPORT_LIMIT = 0.1  # processor seconds that `import spectro_dreamer` may take
WEIGHTS = {".pt", ".pth", ".safetensors", ".onnx"}
LINTED = (PACKAGE, "nbs", "tools", "experiments")


# Notebooks, library and README in step ------------------------------------------------------------------------------

def snapshot(folder):
    """Copy the project's files to `folder`, as a clean clone would hold them."""
    for path in tree_files():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return folder


def clean(scratch):
    """Cleaning the notebooks changes nothing."""
    copy = snapshot(scratch / "clean")
    sh(Path(PYTHON).parent / "nbdev_clean", cwd=copy)
    fail_if(f"nbs/{nb.name} is not clean: run nbdev_clean" for nb in chapters()
            if not filecmp.cmp(nb, copy / "nbs" / nb.name, shallow=False))


def exported(root):
    """{path in the package: content} of its Python files."""
    home = root / PACKAGE
    return {p.relative_to(home).as_posix(): p.read_bytes() for p in home.rglob("*.py")}


def export(scratch):
    """Exporting the notebooks gives the library as it stands, no more and no less."""
    copy = snapshot(scratch / "export")
    for module in (copy / PACKAGE).rglob("*.py"):
        if module.name != "__init__.py": module.unlink()
    sh(PYTHON, "tools/export_library.py", cwd=copy)
    here, there = exported(ROOT), exported(copy)
    fail_if(f"{PACKAGE}/{name} is not what the notebooks export: run make export"
            for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name))
    return f"{len(library())} files"


def readme():
    """README.md is what the index gives."""
    sh(PYTHON, ROOT / "tools" / "site" / "make_readme.py", "--check", what="README.md")


# The import rule ----------------------------------------------------------------------------------------------------

def code_cells(path):
    """The sources of a notebook's code cells."""
    return [text(c["source"]) for c in read(path)["cells"] if c["cell_type"] == "code"]


def numbered():
    """The chapters that have a number."""
    return [p for p in chapters() if p.name[:2].isdigit()]


def module_numbers():
    """{module: number} of the chapters; numbers are text, so that 10b lies between 10 and 11."""
    found = {}
    for path in numbered():
        said = [d.split()[1] for cell in code_cells(path) for d in directives(cell) if d.startswith("default_exp ")]
        if said: found[said[0]] = path.name.split("_")[0]
    if len(found) < 10: raise Failed(f"only {len(found)} chapters export a module: the check looks in the wrong place")
    return found


def notebook_imports(path):
    """Our modules that any code cell of a notebook imports, its tests included."""
    found = set()
    for cell in code_cells(path):
        lines = [line for line in cell.splitlines() if not re.match(r"\s*[%!]", line)]
        try: found |= ours(imported(ast.parse("\n".join(lines))))
        except SyntaxError: pass  # not Python: a shell cell or a magic
    return found


EXERCISES = "exercises"  # the checks of what readers answer (01b): chapters before it have questions too


def import_order():
    """Each module, and each notebook, imports only from lower numbers; every module has its chapter."""
    numbers, wrong = module_numbers(), []
    wrong += [f"{module} has no chapter" for module in modules() if module not in numbers]
    for module, number in numbers.items():
        path = module_path(module)
        if not path.exists():
            wrong.append(f"{path.relative_to(ROOT)} is missing: run make export")
            continue
        for other in ours(imported(path)) & numbers.keys():
            if numbers[other] >= number: wrong.append(f"{module} ({number}) imports {other} ({numbers[other]})")
    for path in numbered():
        number = path.name.split("_")[0]
        for other in notebook_imports(path) & numbers.keys():
            if numbers[other] > number and other != EXERCISES:
                wrong.append(f"{path.name} imports {other} ({numbers[other]})")
    fail_if(sorted(wrong))
    return f"{len(numbers)} modules"


def imports_at_the_top():
    """What a module needs of ours stands at its top. The commands alone import late, so that --help is quick."""
    wrong = []
    for path in library():
        if path.parent.name == "use": continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef): continue
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith(PACKAGE)):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {function.name} imports {node.module}")
    fail_if(wrong)


def declared():
    """Every package that the library imports is among its requirements, or those of an extra."""
    keys = ("requirements", "cluster_requirements", "hearing_requirements", "align_requirements", "onnx_requirements",
            "music_requirements", "codec_requirements")
    allowed = {re.split(r"[<>=!~\[]", r)[0].lower().replace("_", "-") for key in keys for r in requirements(key)}
    owners, names = packages_distributions(), set()
    for path in library(): names |= {n.split(".")[0] for n in imported(path)}
    names -= sys.stdlib_module_names | {PACKAGE, "IPython"}  # IPython comes with ipywidgets
    fail_if(f"{name} is imported but not required in settings.ini" for name in sorted(names)
            if not {o.lower().replace("_", "-") for o in owners.get(name, [name])} & allowed)


# Light imports ------------------------------------------------------------------------------------------------------

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
    light = [m for m in modules() if m.rpartition(".")[0] in LIGHT_PARTS or m in LIGHT_TOO]
    missing = [part for part in LIGHT_PARTS if not any(m.rpartition(".")[0] == part for m in light)]
    fail_if(f"no module in the folder {part or PACKAGE!r}: the check looks in the wrong place" for part in missing)
    sh(PYTHON, "-c", _BLOCK, " ".join(HEAVY), " ".join(light), what="with heavy packages blocked")
    return f"{len(light)} modules"


def lazy_package():
    """`import spectro_dreamer` alone loads nothing heavy and takes no time to speak of."""
    return sh(PYTHON, "-c", _LAZY, IMPORT_LIMIT, what="import spectro_dreamer").strip()


# Lines and types ----------------------------------------------------------------------------------------------------

def lines():
    """Width, one statement a line, and what pyflakes and bugbear find, in library, notebooks and tools."""
    sh(Path(PYTHON).parent / "ruff", "check", "--output-format", "concise", *LINTED, what="ruff")
    return ", ".join(LINTED)


def types():
    """What is annotated is consistent."""
    said = sh(Path(PYTHON).parent / "mypy", "--no-error-summary", "--cache-dir", ROOT / ".venv" / "mypy", PACKAGE,
              what="mypy")
    return said.strip()


def golden():
    """Outputs, steps of training, prepared files and flags are what they were."""
    return sh(PYTHON, ROOT / "tools" / "golden.py", "check", what="golden").strip().splitlines()[-1]


# Site, words and sizes ----------------------------------------------------------------------------------------------

def site():
    """The documentation site holds together."""
    return sh(PYTHON, ROOT / "tools" / "site" / "check_site.py", what="check_site").strip().splitlines()[-1]


_SCRIPT = re.compile(r"\b(?:tools|experiments)/[\w/]+\.(?:py|sh)")


def paragraphs(words):
    """The paragraphs of a piece of prose, and the rows of a table one by one."""
    for block in re.split(r"\n{2,}", words):
        yield from (block.splitlines() if block.lstrip().startswith("|") else [block])


def strings(path):
    """(line, text) of each string of a module that is no docstring: what users may come to read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.FunctionDef, ast.ClassDef))
              and n.body and isinstance(n.body[0], ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.lineno, node.value


def scripts_named():
    """No page and no error sends a user of the wheel to a script that only the repository has.

    Prose may say that numbers were made by one, if it says in the same paragraph that it lies in the repository.
    """
    wrong = [f"{path.relative_to(ROOT)}:{line}: names {hit}" for path in library() for line, said in strings(path)
             for hit in _SCRIPT.findall(said)]
    for path in chapters():
        for i, cell in enumerate(read(path)["cells"]):
            if cell["cell_type"] != "markdown": continue
            for part in paragraphs(text(cell["source"])):
                if "repository" not in part:
                    wrong += [f"{path.name} cell {i}: sends readers to {hit}" for hit in _SCRIPT.findall(part)]
    fail_if(wrong)


def sizes():
    """Notebooks under 2 MB, weights under 20 MB in all, nothing else over 2 MB."""
    files = {p.relative_to(ROOT).as_posix(): p.stat().st_size for p in tree_files()}
    weights = sum(size for name, size in files.items() if Path(name).suffix in WEIGHTS)
    heavy = [f"{name}: {size/MB:.1f} MB" for name, size in files.items()
             if size > 2*MB and Path(name).suffix not in WEIGHTS]
    if weights > 20*MB: heavy.append(f"weights: {weights/MB:.1f} MB in all")
    fail_if(heavy)
    return f"{sum(files.values())/MB:.1f} MB in {len(files)} files"


def in_url(body, at):
    """Whether position `at` is inside a web address or a longer relative path, where such a folder is innocent."""
    return at > 0 and (body[at - 1].isalnum() or body[at - 1] in "._-~}*")


def paths():
    """No folder of one machine is named, neither in what a notebook shows nor in any text."""
    wrong = [f"nbs/{nb.name} cell {i}: shows {hit}" for nb in chapters() for i, hit in machine_paths(read(nb))]
    for path in tree_files():
        try: body = path.read_text(encoding="utf-8")
        except UnicodeDecodeError: continue  # binary
        if path.suffix == ".ipynb": body = "\n".join(text(c["source"]) for c in json.loads(body)["cells"])
        wrong += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in MACHINE_PATH.finditer(body)
                  if not in_url(body, hit.start())]
    fail_if(wrong)


# What `house.py` measures and this project promises ------------------------------------------------------------------

MODULE_LINES, CHAPTER_CELLS = 400, 60


def measures():
    """Rooms that one can read: the lines of a module and the cells of a chapter have limits."""
    long = {p.relative_to(ROOT).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in library()}
    wrong = [f"{name} has {n} lines, {MODULE_LINES} at most" for name, n in long.items() if n > MODULE_LINES]
    cells = {p.name: len(read(p)["cells"]) for p in numbered()}
    wrong += [f"nbs/{name} has {n} cells, {CHAPTER_CELLS} at most" for name, n in cells.items() if n > CHAPTER_CELLS]
    fail_if(wrong)
    return f"{max(long.values())} lines and {max(cells.values())} cells at most"


OPENING = ("- **You need** ", "- **You will be able to** ", "- **Time**: ")  # how a chapter with exercises begins


def lesson(path):
    """What is wrong with a chapter that has exercises: its opening, its solutions, and whether the tests run them."""
    cells = [(cell["cell_type"], text(cell["source"])) for cell in read(path)["cells"]]
    prose = "\n".join(source for kind, source in cells if kind == "markdown")
    hidden = "\n".join(source for kind, source in cells if kind == "code" and "hide" in directives(source))
    solutions = re.findall(r"<details>\n<summary>Solution</summary>\n.*?```python\n(.*?)```\n\n</details>", prose, re.S)
    asked = len(re.findall(r"^\*\*\d\. ", prose.partition("\n## Exercises\n")[2], re.M))
    begins = prose.partition("\n- **You need** ")[0].count("\n") < 5
    if not begins or not all("\n" + line in prose for line in OPENING):
        yield "does not begin with what one needs, what one will be able to do, and the time"
    if "\n## What was found\n" not in "\n" + prose: yield "does not say what was found"
    if not asked == len(solutions) == len(re.findall(r"assert verdict\(", hidden)):
        yield f"has {asked} exercises, {len(solutions)} solutions, and not as many hidden tests"
    yield from (f"has a solution that no hidden cell runs: {s.splitlines()[0]}" for s in solutions if s not in hidden)


def lessons():
    """A chapter that ends with exercises says what it needs, and its tests run the solutions that the page shows."""
    taught = [p for p in numbered() if "\n## Exercises\n" in "\n".join(text(c["source"]) for c in read(p)["cells"])]
    fail_if(f"nbs/{p.name} {wrong}" for p in taught for wrong in lesson(p))
    return f"{len(taught)} chapters"


def public_names(path):
    """The functions, classes and constants that a module defines for others."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): found = [node.name]
        elif isinstance(node, ast.Assign):
            found = [n.id for t in node.targets for n in getattr(t, "elts", [t]) if isinstance(n, ast.Name)]
        else: found = []
        yield from (name for name in found if not name.startswith("_"))


def one_home():
    """A public name stands in one module only."""
    homes = {}
    for path in library():
        if path.name == "__init__.py": continue
        for name in set(public_names(path)): homes.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    fail_if(f"{name} stands in {' and '.join(where)}" for name, where in sorted(homes.items()) if len(where) > 1)
    return f"{len(homes)} names"


def targets(node):
    """What the assignments within a statement assign to."""
    found = [t for n in ast.walk(node) if isinstance(n, ast.Assign) for t in n.targets]
    return [u for t in found for u in getattr(t, "elts", [t])]


def attached(path):
    """(line, what) of each method that is hung on a class from outside."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)): continue
        for t in targets(node):
            if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name) and t.value.id[:1].isupper():
                yield t.lineno, ast.unparse(t)
        for n in ast.walk(node):
            if isinstance(n, ast.Call) and ast.unparse(n.func) == "setattr": yield n.lineno, ast.unparse(n)


def whole_classes():
    """Methods stand in the bodies of their classes, where an editor, `help()` and a reader find them."""
    fail_if(f"{path.relative_to(ROOT)}:{line}: {what}" for path in library() for line, what in attached(path))


_COMPLETE = """
import jedi, sys
wanted = {'spectro_dreamer.model.world_model:DreamerModel': 'loss reconstruct observe follow to_tokens scale',
          'spectro_dreamer.model.rssm:RSSM': 'observe imagine',
          'spectro_dreamer.learn.training:Trainer': 'train_step train_epoch validate'}
for place, names in wanted.items():
    module, name = place.split(':')
    script = jedi.Script(f'from {module} import {name}\\ndef f(x:{name}):\\n    x.')
    found = {c.name for c in script.complete(3, 6)}
    missing = set(names.split()) - found
    assert not missing, f'an editor does not find {sorted(missing)} of {name}'
"""


def editors():
    """An editor's completion finds the methods that people call."""
    sh(PYTHON, "-c", _COMPLETE, what="completion")


def docstrings():
    """`help(module)` shows the purpose and an example: the second string of a module is lost unless it is added."""
    wrong = []
    for path in library():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lost = [n for n in tree.body[1:] if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)
                and isinstance(n.value.value, str)]
        wrong += [f"{path.relative_to(ROOT)}:{n.lineno}: a string that Python throws away: begin it with __doc__ +="
                  for n in lost]
    fail_if(wrong)


# What is prepared for a GPU -----------------------------------------------------------------------------------------

def gpu_day(scratch):
    """What will be measured on a GPU runs through on the processor, at tiny sizes, with torch, numpy and h5py alone."""
    out = scratch / "gpu.json"
    sh(ROOT / "experiments" / "gpu_day.sh", "--device", "cpu", "--rehearse", "--output", out,
       env={"PYTHON": PYTHON, "OMP_NUM_THREADS": "1"}, what="the rehearsal of the GPU day")
    steps = json.loads(out.read_text(encoding="utf-8"))["steps"]
    fail_if(f"{name}: {step.get('error', 'it found nothing')}" for name, step in steps.items()
            if "error" in step or not step.get("found"))
    return f"{len(steps)} steps"


# Files that are nearly right, kills, full disks ----------------------------------------------------------------------

def torture():
    """Readers take what is nearly right, writers are killed and fill small disks: a short run with a fixed seed."""
    said = sh(PYTHON, "tools/torture.py", "--inputs", 280, "--kills", 6, "--disks", 3, "--seed", 19, "--writers",
              "prepare, 0", "dreams, NPZ", "music", "train within", "train speaker", "export", what="torture")
    rows = [line.split() for line in said.splitlines() if line.endswith("failed")]
    return ", ".join(f"{row[0]} {row[1]}" for row in rows)
