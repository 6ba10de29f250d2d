"""Checks of the wheel, in an environment that holds nothing but what it requires."""

import hashlib
import importlib.util
import re
import shutil
import sys
import time

from checking import PACKAGE, Failed, Skipped, fail_if, library, requirements, setting, sh
from checks_source import MB, PYTHON, snapshot
from notebooks import ROOT

WHEEL_ENV = ROOT / ".venv" / "wheel"  # the environment a wheel is tried in
NOT_NEEDED = ("nbdev execnb nbclient jupytext espeakng_loader distributed s3fs torchmetrics auraloss pocketsphinx "
              "jiwer pesq pycodec2 onnx onnxscript onnxruntime music21 constriction ruff mypy").split()

_EVERY_MODULE = """
import importlib, importlib.resources, importlib.util, pkgutil, sys
import spectro_dreamer
clips_wanted, modules_wanted, *extras = sys.argv[1:]
for extra in extras:
    assert not importlib.util.find_spec(extra), extra + ' is present: the library must not need it'
assert 'site-packages' in spectro_dreamer.__file__, spectro_dreamer.__file__
names = [m.name for m in pkgutil.walk_packages(spectro_dreamer.__path__, 'spectro_dreamer.')]
assert len(names) == int(modules_wanted), f'{len(names)} modules of {modules_wanted}'
for name in names: importlib.import_module(name)
home = importlib.resources.files('spectro_dreamer')
assert (home / 'py.typed').is_file(), 'py.typed is missing'
clips = [p for p in (home / 'corpus' / 'clips').iterdir() if p.name.endswith('.mp3')]
rows = (home / 'corpus' / 'validated.tsv').read_text(encoding='utf-8').splitlines()[1:]
assert clips and len(rows) == len(clips) == int(clips_wanted), f'{len(clips)} clips, {len(rows)} rows of {clips_wanted}'
tunes = (home / 'tunes' / 'tunes.abc').read_text(encoding='utf-8').count('X:')
assert tunes, 'the tunes are missing'
print(f'{len(names)} modules, {len(clips)} clips, {tunes} tunes')
"""

_EVERY_COMMAND = """
import contextlib, importlib.metadata, io, sys
wanted = sys.argv[1:]
found = importlib.metadata.entry_points(group='console_scripts')
points = {p.name: p for p in found if p.value.startswith('spectro_dreamer.')}
assert points.keys() == set(wanted), f'installed {sorted(points)}, declared {sorted(wanted)}'
for name in wanted:
    said, sys.argv = io.StringIO(), [name, '--help']
    with contextlib.redirect_stdout(said):
        try: points[name].load()()
        except SystemExit as e: assert not e.code, f'{name} --help: exit {e.code}'
    assert 'usage' in said.getvalue().lower(), f'{name} --help shows no usage'
"""


def venv_python(scratch):
    """The Python of the wheel's own environment; `Skipped` while the wheel is not in it."""
    if not (scratch / "empty").exists(): raise Skipped("the wheel is not installed")
    return WHEEL_ENV / "bin" / "python"


def bare(scratch):
    """Settings that keep the checkout out of the wheel's environment."""
    return {"cwd": scratch / "empty", "env": {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}}


def build(scratch):
    """A wheel builds from a clean copy."""
    copy = snapshot(scratch / "wheel")
    at_hand = ["--no-isolation"] if importlib.util.find_spec("setuptools") else []  # else it is fetched for the build
    sh(PYTHON, "-m", "build", "--wheel", *at_hand, "--outdir", scratch / "dist", copy, cwd=scratch, what="build")
    wheel = next((scratch / "dist").glob("*.whl"))
    return f"{wheel.name}, {wheel.stat().st_size/MB:.1f} MB"


def environment_key():
    """What decides the wheel's environment: the Python, the requirements and the pins."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return hashlib.sha256("\n".join([sys.version, str(WHEEL_ENV), *requirements(), pins]).encode()).hexdigest()


def install(scratch):
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


def every_module(scratch):
    """Every module imports there without nbdev, and the bundled corpus is there."""
    clips = len(list((ROOT / PACKAGE / "corpus" / "clips").glob("*.mp3")))
    wanted = len([p for p in library() if p != ROOT / PACKAGE / "__init__.py"]) + 1  # _modidx is one too
    said = sh(venv_python(scratch), "-c", _EVERY_MODULE, clips, wanted, *NOT_NEEDED, what="importing every module",
              **bare(scratch))
    return said.strip()


def commands():
    """The console commands that settings.ini declares."""
    return re.findall(r"(spectro_\w+)\s*=\s*spectro_dreamer\.", setting("console_scripts"))


def every_command(scratch):
    """Every console command answers `--help` there: one as a user starts it, then all in one process."""
    found, python = commands(), venv_python(scratch)
    if not found: raise Failed("settings.ini declares no command")
    fail_if(f"{name} is not installed" for name in found if not (python.parent / name).is_file())
    start = time.time()
    said = sh(python.parent / found[0], "--help", what=f"{found[0]} --help", **bare(scratch))
    if "usage" not in said.lower(): raise Failed(f"{found[0]} --help shows no usage")
    first = time.time() - start
    sh(python, "-c", _EVERY_COMMAND, *found, what="--help of every command", **bare(scratch))
    return f"{len(found)} commands, {found[0]} in {first:.1f} s"


def readme_python(scratch):
    """The README's Python runs as printed, beside a recording called clip.mp3."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    if not blocks: raise Failed("README.md shows no Python")
    python, where = venv_python(scratch), bare(scratch)
    clip = sorted((ROOT / PACKAGE / "corpus" / "clips").glob("*.mp3"))[0]
    shutil.copy(clip, where["cwd"] / "clip.mp3")
    where["env"] |= {"MPLBACKEND": "Agg"}
    for block in blocks: sh(python, "-c", block, what=f"README.md: {block.splitlines()[0]}", **where)
    return f"{len(blocks)} pieces"


