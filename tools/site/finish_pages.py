"""What is left to do when Quarto has rendered the site: to take off scripts of other hosts, and to say sizes.

    python tools/site/finish_pages.py _docs

Quarto puts RequireJS and jQuery of another host on every page with an HTML output; they are taken off where nothing
uses them. Pictures are fetched when they come near the screen. They say how large they will be, or the page would jump,
and how many points wide they were drawn: shown in as many pixels, letters of 8 points have 8 (`nbs/page-script.html`).
Those that are mostly white paper say so, and are shown as light on dark in the dark; spectrograms are left as they are.
The empty corner of a table is no header.
"""

import re, struct, sys, tempfile
from pathlib import Path

FOREIGN = re.compile(r'[ \t]*<script\b[^>]*src="https?://[^"]*(?:require|jquery)[^"]*"[^>]*></script>\n?')
DEFINE = re.compile(r"""[ \t]*<script type="application/javascript">define\('jquery'.*?</script>\n?""", re.S)


def without_foreign(page):
    """A page without the scripts that nothing on it uses."""
    bare = DEFINE.sub("", FOREIGN.sub("", page))
    return page if re.search(r"\brequire(?:js)?[(.]\[?", re.sub(r"<pre.*?</pre>", "", bare, flags=re.S)) else bare


IMAGE = re.compile(r'<img (?![^>]*\bwidth=)(?=[^>]*\bsrc="([^":]+\.png)")')


def png_size(path):
    """Width and height of a PNG, and its width in points or None; None if it is no PNG."""
    head = path.read_bytes()[:4096] if path.is_file() else b""
    if not head.startswith(b"\x89PNG") or len(head) < 24:
        return None
    width, height = struct.unpack(">II", head[16:24])
    at = head.find(b"pHYs") + 4
    per_metre, unit = struct.unpack(">I4xB", head[at : at + 9]) if 4 <= at <= len(head) - 9 else (0, 0)
    return width, height, round(width / per_metre / 0.0254 * 72) if unit == 1 and per_metre else None


PAPER = 0.8  # share of white pixels from which on a picture is lines on paper; with a spectrogram in it, it has fewer


def is_paper(path):
    """Whether a PNG is mostly white."""
    from matplotlib.image import imread

    try:
        colours = imread(path)
    except (OSError, SyntaxError, ValueError):  # no whole picture
        return False
    return colours.ndim == 3 and (colours[..., :3].min(-1) > 0.97).mean() > PAPER


def with_sizes(page, folder):
    """A page whose pictures say their width and height, as far as they lie in its folder."""
    def sized(match):
        if not (size := png_size(folder / match[1])):
            return match[0]
        points = f'data-points="{size[2]}" ' if size[2] else ""
        paper = "data-paper " if is_paper(folder / match[1]) else ""
        return f'<img width="{size[0]}" height="{size[1]}" {points}{paper}'
    return IMAGE.sub(sized, page)


def without_empty_headers(page):
    """A page on which an empty header of a table is a plain cell."""
    return re.sub(r"<th((?: [^>]*)?)></th>", r"<td\1></td>", page)


def finished(page, folder):
    """A page of a folder as readers get it."""
    return without_empty_headers(with_sizes(without_foreign(page), folder))


def finish(folder):
    """Do it to all pages in a folder; returns how many were changed."""
    changed = 0
    for path in folder.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        if (new := finished(page, path.parent)) != page:
            path.write_text(new, encoding="utf-8")
            changed += 1
    return changed


def paper_problems(folder):
    """Pictures that would be taken for the other kind."""
    import numpy as np
    from matplotlib.image import imsave

    for dark, paper in ((4, True), (40, False)):  # columns of a hundred that a spectrogram or some lines take
        picture = np.ones((10, 100, 3))
        picture[:, :dark] = 0.1
        imsave(folder / "b.png", picture)
        if is_paper(folder / "b.png") != paper:
            yield f"finish_pages: a picture with {dark} % of ink is {'no ' * paper}paper"


def problems():
    """What this script would get wrong, on the smallest site there is; `check_site.py` asks."""
    foreign = '<script src="https://cdn.example/require.min.js" crossorigin="anonymous"></script>\n'
    if without_foreign(f"<head>\n{foreign}</head>") != "<head>\n</head>":
        yield "finish_pages: RequireJS stays on a page that does not use it"
    if (page := f"<head>\n{foreign}</head><script>require(['a'])</script>") != without_foreign(page):
        yield "finish_pages: RequireJS is taken from a page that uses it"
    if without_empty_headers("<th></th><th a='b'></th><th>c</th>") != "<td></td><td a='b'></td><th>c</th>":
        yield "finish_pages: an empty header of a table stays"
    with tempfile.TemporaryDirectory() as d:
        Path(d, "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 30, 20))
        page = '<img src="a.png" alt="an a"><img src="b.png"><img width="3" src="a.png">'
        if with_sizes(page, Path(d)) != page.replace('<img src="a', '<img width="30" height="20" src="a'):
            yield "finish_pages: a picture does not say its size"
        dots = struct.pack(">I4sIIBI", 9, b"pHYs", 3543, 3543, 1, 0)  # a metre: 90 an inch, so 30 of them are 24 points
        with open(Path(d, "a.png"), "ab") as picture:
            picture.write(dots)
        if 'data-points="24" src="a' not in with_sizes(page, Path(d)):
            yield "finish_pages: a picture does not say how many points wide it was drawn"
        yield from paper_problems(Path(d))


if __name__ == "__main__":
    print(f"{finish(Path(sys.argv[1]))} pages finished")
