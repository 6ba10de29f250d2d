"""What is left to do when Quarto has rendered the site: the order of the search, and scripts of other hosts.

    python tools/site/finish_pages.py _docs

The search lists chapters before entries of the API: an entry of the API is found by its text, which counts less than a
title. Quarto puts RequireJS and jQuery of another host on every page with an HTML output; they are taken off where
nothing uses them.
"""

import json, re, sys
from pathlib import Path

FOREIGN = re.compile(r'[ \t]*<script\b[^>]*src="https?://[^"]*(?:require|jquery)[^"]*"[^>]*></script>\n?')
DEFINE = re.compile(r"""[ \t]*<script type="application/javascript">define\('jquery'.*?</script>\n?""", re.S)


def ordered(entries):
    """The entries of the search, those of chapters first; an entry of the API has its names in its text."""

    def entry(e):
        if not e["href"].startswith("api/"):
            return e
        names = " · ".join(filter(None, (e.get("section"), e.get("title"))))
        return e | {"title": "API", "section": "", "text": f"{names} · {e.get('text', '')}"}

    return sorted(map(entry, entries), key=lambda e: e["href"].startswith("api/"))


def without_foreign(page):
    """A page without the scripts that nothing on it uses."""
    bare = DEFINE.sub("", FOREIGN.sub("", page))
    return page if re.search(r"\brequire(?:js)?[(.]\[?", re.sub(r"<pre.*?</pre>", "", bare, flags=re.S)) else bare


def finish(folder):
    """Do it to all pages in a folder; returns how many were changed."""
    search, changed = folder / "search.json", 0
    if search.is_file():
        entries = ordered(json.loads(search.read_text(encoding="utf-8")))
        search.write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")
    for path in folder.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        if (new := without_foreign(page)) != page:
            path.write_text(new, encoding="utf-8")
            changed += 1
    return changed


def problems():
    """What this script would get wrong, on the smallest site there is; `check_site.py` asks."""
    api = {"href": "api/vocoder.html#griffin_lim", "title": "vocoder", "section": "griffin_lim", "text": "Phases."}
    book = {"href": "vocoder.html#phases", "title": "Vocoder", "section": "Phases", "text": "Griffin and Lim …"}
    first, last = ordered([api, book])
    if first != book or last["section"] or "griffin_lim" not in last["text"]:
        yield "finish_pages: the API stands before the book in the search"
    foreign = '<script src="https://cdn.example/require.min.js" crossorigin="anonymous"></script>\n'
    if without_foreign(f"<head>\n{foreign}</head>") != "<head>\n</head>":
        yield "finish_pages: RequireJS stays on a page that does not use it"
    if (page := f"<head>\n{foreign}</head><script>require(['a'])</script>") != without_foreign(page):
        yield "finish_pages: RequireJS is taken from a page that uses it"


if __name__ == "__main__":
    print(f"{finish(Path(sys.argv[1]))} pages without scripts of other hosts")
