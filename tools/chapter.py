"""The round of changing one chapter: export, lint, run it with its tests in place, and check that it is clean.

    python tools/chapter.py 21        # or make chapter N=21; any beginning of a chapter's name will do

Cells marked slow or gpu are not run and keep their outputs.
"""

import subprocess
import sys
import time
from pathlib import Path

import run_notebook
from checking import PACKAGE, module_path
from notebooks import NBS, ROOT, directives, read, text

BIN = Path(sys.executable).parent


def chapter(beginning):
    """The notebook whose name begins so: `21` is 21_rssm.ipynb and `10b` 10b_front_ends.ipynb."""
    found = sorted(NBS.glob(f"{beginning}_*.ipynb")) or sorted(NBS.glob(f"{beginning}*.ipynb"))
    if len(found) == 1: return found[0]
    said = ", ".join(p.name for p in found) or "none"
    sys.exit(f"chapter {beginning!r}: {said} found; name one by its number, as in make chapter N=21")


def module_of(path):
    """The file that a chapter is exported to, or None."""
    for cell in read(path)["cells"]:
        for said in directives(text(cell["source"])):
            if said.startswith("default_exp "): return module_path(said.split()[1])
    return None


def step(name, *command):
    """Run one command of the round and say how long it took; the round ends with the first that fails."""
    start = time.time()
    done = subprocess.run([str(c) for c in command], cwd=ROOT)
    print(f"{'done' if not done.returncode else 'failed':>6}  {name:<8} {time.time() - start:5.1f} s", flush=True)
    if done.returncode: sys.exit(1)


def main(argv):
    """The whole round for the chapter that is named."""
    if len(argv) != 1: sys.exit(__doc__)
    start, path = time.time(), chapter(argv[0])
    module = module_of(path)
    step("export", sys.executable, ROOT / "tools" / "export_library.py")
    step("lint", BIN / "ruff", "check", "-q", "--output-format", "concise", path, *([module] if module else []))
    step("run", sys.executable, run_notebook.__file__, "--skip-flags", "gpu,slow", path)
    print(f"{path.relative_to(ROOT)}, {PACKAGE} and its tests in {time.time() - start:.0f} s")


if __name__ == "__main__": main(sys.argv[1:])
