"""What the scripts in this folder share: reading notebooks, their flags, and the machine paths they must not show."""

import json, re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"

# An output that names a folder of one machine is noise in every diff and tells a reader nothing.
MACHINE_PATH = re.compile(r"/(?:work|tmp|root|home)/[a-z][^\s\"'<>]*")
_BASE64 = re.compile(r"base64,[A-Za-z0-9+/=\s]+")  # embedded media may spell anything
_DIRECTIVE = re.compile(r"^\s*#\s*\|\s*(.+?)\s*$", re.M)


def read(path):
    """The notebook at `path` as plain dictionaries."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def text(lines):
    """A notebook field, which may be one string or a list of lines, as one string."""
    return lines if isinstance(lines, str) else "".join(lines)


def chapters(folder=NBS):
    """Every notebook of the book, in reading order: the index, then by number."""
    found = [p for p in Path(folder).glob("*.ipynb") if not p.name.startswith(("_", "."))]
    return sorted(found, key=lambda p: (p.stem != "index", p.name))


def directives(source):
    """The nbdev directives of a cell, such as {'export', 'eval: false', 'slow'}."""
    return {re.sub(r"\s*:\s*", ": ", d) for d in _DIRECTIVE.findall(source)}


def skipped(cell, flags):
    """Whether a run leaves this cell alone: never evaluated, or flagged as one of `flags`."""
    found = directives(text(cell["source"]))
    return "eval: false" in {d.lower() for d in found} or bool({d.split()[0] for d in found} & set(flags))


def output_texts(cell):
    """Every piece of text among a code cell's outputs; embedded images and sounds are left out."""
    for out in cell.get("outputs", []):
        if "text" in out:
            yield text(out["text"])
        if out["output_type"] == "error":
            yield "\n".join(out.get("traceback", []))
        for mime, data in out.get("data", {}).items():
            if mime.startswith(("image/", "audio/", "video/")) and mime != "image/svg+xml":
                continue
            yield _BASE64.sub("", text(data) if isinstance(data, (str, list)) else json.dumps(data))


def machine_paths(nb):
    """(cell number, path) for each path of this machine that an output of `nb` shows."""
    return [
        (i, hit.group())
        for i, cell in enumerate(nb["cells"])
        if cell["cell_type"] == "code"
        for t in output_texts(cell)
        for hit in MACHINE_PATH.finditer(t)
    ]
