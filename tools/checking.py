"""What all checks share: their three endings, running a command, and the project's files."""

import ast
import os
import re
import subprocess
from pathlib import Path

from notebooks import ROOT

PACKAGE = "spectro_dreamer"
DATA = "SPECTRO_DREAMER_DATA"  # names a folder of real recordings; tests that use them skip when it is unset
END = 60                       # lines of a command's output that a failure shows


class Failed(Exception):
    """A check that did not hold; its message is what to read."""


class Skipped(Exception):
    """A check that could not be made; its message is why."""


def fail_if(problems):
    """`Failed` with one line for each problem, when there are any."""
    problems = list(problems)
    if problems: raise Failed("\n".join(problems))


def last_lines(text, n=END):
    """The end of an output, where its reason stands."""
    return "\n".join(text.splitlines()[-n:])


def sh(*command, cwd=ROOT, env=None, what=None):
    """Run a command and return what it printed; `Failed` with the end of that when it does not exit with 0."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, env={**os.environ, **(env or {})}, text=True,
                          errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failed(f"{what or Path(command[0]).name}: exit {done.returncode}\n{last_lines(done.stdout)}")
    return done.stdout


def tree_files():
    """The project's files: tracked, or new and not ignored."""
    listed = sh("git", "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    return [ROOT / name for name in sorted(set(listed)) if name and (ROOT / name).is_file()]


def module_path(module):
    """The file of a module of ours, `model.rssm`."""
    return ROOT / PACKAGE / f"{module.replace('.', '/')}.py"


def library():
    """Every file of the library but the lists that nbdev writes; an empty library is a failure of the check itself."""
    found = sorted(p for p in (ROOT / PACKAGE).rglob("*.py") if p.name != "_modidx.py")
    modules = [p for p in found if p.name != "__init__.py"]
    if len(modules) < 10: raise Failed(f"only {len(modules)} modules in {PACKAGE}/: the check looks in the wrong place")
    return found


def modules():
    """The library's modules by name, `model.rssm`."""
    files = [p.relative_to(ROOT / PACKAGE).with_suffix("") for p in library() if p.name != "__init__.py"]
    return [".".join(p.parts) for p in files]


def base_of(node, path):
    """The full name of what a `from … import` reads, whose dots count folders upward from `path`."""
    if not node.level: return node.module
    package = (PACKAGE, *path.relative_to(ROOT / PACKAGE).parent.parts)
    return ".".join([*package[:len(package) - node.level + 1], *filter(None, [node.module])])


def imported(source):
    """The full names of the modules that a file, or the syntax tree of a cell, imports, wherever it does."""
    tree = ast.parse(source.read_text(encoding="utf-8")) if isinstance(source, Path) else source
    place = source if isinstance(source, Path) else ROOT / PACKAGE / "cell.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = base_of(node, place)
            yield base
            # `from spectro_dreamer.model import rssm` names a module of a folder
            if base.split(".")[0] == PACKAGE: yield from (f"{base}.{a.name}" for a in node.names)


def ours(names):
    """Of full module names, those of this package, without its name: `model.rssm`."""
    return {n.removeprefix(f"{PACKAGE}.") for n in names if n.startswith(f"{PACKAGE}.")}


def setting(key):
    """The value of a line of settings.ini, with the lines that continue it."""
    text = (ROOT / "settings.ini").read_text(encoding="utf-8")
    return re.search(rf"^{key} = (.*(?:\n[ \t]+.*)*)$", text, re.M)[1]


def requirements(key="requirements"):
    """What settings.ini says the library needs at run time, or for an extra."""
    return setting(key).split()
