"""Render nbs/index.ipynb as README.md without Quarto: its prose, its code, and what that code printed.

    python tools/site/make_readme.py [--check]

`--check` writes nothing and exits 1 when README.md is not what the index would give.
"""

import argparse, difflib, re, sys
from html import unescape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # notebooks.py serves all tools
from notebooks import NBS, ROOT, directives, read, text

HEADER = "<!-- Written from nbs/index.ipynb by tools/site/make_readme.py; edit the notebook. -->\n\n"
_LINK = re.compile(r"(\]\(|\b(?:src|href)=\")(?!\w+:|[#/])([^)\"\s]+)")
_FIGURE = re.compile(r'<figure class="player".*?</figure>', re.S)


def from_root(markdown):
    """Links of the index are relative to nbs/, those of the README to the root."""
    return _LINK.sub(lambda m: m[1] + (m[2][3:] if m[2].startswith("../") else f"nbs/{m[2]}"), markdown)


def prose(source):
    """A markdown cell without what only Quarto understands: fences of divs and attribute lists."""
    lines = [line for line in source.splitlines() if not re.match(r"\s*:::", line)]
    return from_root(re.sub(r" *\{(?:[#.][a-zA-Z][\w\s.#=-]*|fig-alt=\"[^\"]*\")\}", "", "\n".join(lines)).strip())


def printed(output):
    """What one output says in text, or nothing: pictures and sounds stay in the notebook."""
    data = output.get("data", {})
    if output["output_type"] == "stream":
        return fence(text(output["text"]), "")
    if "text/markdown" in data:
        return from_root(still(text(data["text/markdown"]).strip()))
    if data.keys() - {"text/plain"} or "text/plain" not in data:
        return ""
    return fence(text(data["text/plain"]), "")


def still(markdown):
    """Players as pictures and words that lead to their sounds: where a README is shown, nothing can be played."""
    lines = [line for line in _FIGURE.sub(_still_figure, markdown).splitlines() if not re.match(r"</?div\b", line)]
    return "\n".join(lines).strip()


def _still_figure(found):
    """One player's picture, name and hint; the picture and the words `listen` are links to the sound."""
    figure = found[0]
    sound = re.search(r'<audio [^>]*src="([^"]+)"', figure)[1]
    words = re.search(r"<figcaption>(.*)</figcaption>", figure, re.S)[1]
    words = unescape(re.sub(r"</?strong>", "**", words))
    picture = re.search(r'<img src="([^"]+)" alt="([^"]*)"', figure)
    shown = f"[![{unescape(picture[2])}]({picture[1]})]({sound})\n\n" if picture else ""
    return f"{shown}{words} [Listen]({sound})\n"


def fence(body, language):
    """`body` as a fenced block."""
    return f"```{language}\n{body.strip(chr(10))}\n```"


def code(cell):
    """A code cell and its text outputs, as its directives say."""
    source, flags = text(cell["source"]), directives(text(cell["source"]))
    if flags & {"hide", "include: false"}:
        return ""
    body = "\n".join(line for line in source.splitlines() if not re.match(r"\s*#\s*\|", line))
    parts = [fence(body, "python")] if body.strip() and not flags & {"echo: false", "hide_input"} else []
    if not flags & {"output: false", "hide_output"}:
        parts += [printed(o) for o in cell["outputs"]]
    return "\n\n".join(p for p in parts if p)


def render(nb):
    """The README's text for the notebook `nb`."""
    kinds = {"markdown": lambda c: prose(text(c["source"])), "code": code}
    parts = [kinds[c["cell_type"]](c) for c in nb["cells"] if c["cell_type"] in kinds]
    return HEADER + "\n\n".join(p for p in parts if p) + "\n"


def main(argv=None):
    """Write README.md, or with --check compare it."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--check", action="store_true", help="compare instead of writing")
    check = p.parse_args(argv).check
    index, readme = NBS / "index.ipynb", ROOT / "README.md"
    if not index.exists():
        sys.exit("nbs/index.ipynb is missing: there is nothing to make README.md from")
    new, old = render(read(index)), readme.read_text(encoding="utf-8") if readme.exists() else ""
    if not check:
        readme.write_text(new, encoding="utf-8")
    elif new != old:
        print(
            *difflib.unified_diff(old.splitlines(), new.splitlines(), "README.md", "nbs/index.ipynb", lineterm=""),
            sep="\n",
        )
        sys.exit("README.md is not in step with nbs/index.ipynb: run `make export`")


if __name__ == "__main__":
    main()
