"""Check what the site plays: every sound at the level of all, none cut off, none silent, each with a name.

A player may differ from that level where level is its point: then the page says by how much, and that is compared with
the file. Each check yields one line for each problem; `check_site.py` runs them all.
"""

import re, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # notebooks.py serves all tools
from notebooks import NBS, ROOT, chapters, read, text

sys.path.insert(0, str(ROOT))
from spectro_dreamer.players import LEVEL, PEAK, level_words, measure_sound

NEAR = 1.0  # LU: so far may a file be from the level of all
FIGURE = re.compile(r"<figure\b.*?</figure>", re.S)
AUDIO = re.compile(r"<audio\b.*?</audio>", re.S)
SOUND = re.compile(r"""src=["'](audio/[^"']+)["']""")


def shown(nb):
    """Each piece of HTML or Markdown that the code of a notebook shows."""
    for cell in nb["cells"]:
        for out in cell.get("outputs", []):
            for kind in ("text/html", "text/markdown"):
                yield text(out.get("data", {}).get(kind, ""))


def file_problems(path):
    """What is wrong with a sound: its peak, or that nothing is heard."""
    level, peak = measure_sound(path)
    if peak > PEAK:
        yield f"audio/{path.name}: its peak is {peak:.1f} dBFS, more than {PEAK:g}"
    if level < -60:
        yield f"audio/{path.name} is silent"


def level_problems(path, pages):
    """A sound that is not at the level of all, on a page that does not say by how much."""
    level = measure_sound(path)[0]
    if abs(level - LEVEL) <= NEAR:
        return
    for name, figure in pages:
        said = re.search(r"(\d+\.\d) dB (?:louder|softer) than the other players", figure)
        wanted = re.search(r"\d+\.\d", level_words(level))
        if not said or not wanted or abs(float(said[1]) - float(wanted[0])) > 0.5:
            yield f"{name}: audio/{path.name} has {level:.1f} LUFS, and its player does not say {level_words(level)!r}"
    if not pages:
        yield f"audio/{path.name} has {level:.1f} LUFS instead of {LEVEL:g}, and no page says why"


def name_problems(name, html):
    """Players that have no name: outside a figure with a caption."""
    named = sum(len(AUDIO.findall(f)) for f in FIGURE.findall(html) if re.search(r"<figcaption>\s*\S", f))
    without = len(AUDIO.findall(html)) - named
    if without > 0:
        yield f"{name}: {without} player{'s' if without > 1 else ''} without a name (show them with `players` of 02d)"


def problems():
    """All of them."""
    players = {}  # file → the figures that play it
    for path in chapters():
        for html in shown(read(path)):
            if "audio/" in html:
                yield from name_problems(path.name, html)
            for figure in FIGURE.findall(html):
                for file in SOUND.findall(figure):
                    players.setdefault(file, []).append((path.name, figure))
    for path in sorted((NBS / "audio").glob("*.mp3")):
        yield from file_problems(path)
        yield from level_problems(path, players.get(f"audio/{path.name}", []))


if __name__ == "__main__":
    found = list(problems())
    print(*found, sep="\n")
    sys.exit(bool(found))
