"""What is left to do when Quarto has rendered the site: to take off scripts of other hosts.

    python tools/site/finish_pages.py _docs

Quarto puts RequireJS and jQuery of another host on every page with an HTML output; they are taken off where nothing
uses them.
"""

import re, sys
from pathlib import Path

FOREIGN = re.compile(r'[ \t]*<script\b[^>]*src="https?://[^"]*(?:require|jquery)[^"]*"[^>]*></script>\n?')
DEFINE = re.compile(r"""[ \t]*<script type="application/javascript">define\('jquery'.*?</script>\n?""", re.S)


def without_foreign(page):
    """A page without the scripts that nothing on it uses."""
    bare = DEFINE.sub("", FOREIGN.sub("", page))
    return page if re.search(r"\brequire(?:js)?[(.]\[?", re.sub(r"<pre.*?</pre>", "", bare, flags=re.S)) else bare


def finish(folder):
    """Do it to all pages in a folder; returns how many were changed."""
    changed = 0
    for path in folder.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        if (new := without_foreign(page)) != page:
            path.write_text(new, encoding="utf-8")
            changed += 1
    return changed


def problems():
    """What this script would get wrong, on the smallest site there is; `check_site.py` asks."""
    foreign = '<script src="https://cdn.example/require.min.js" crossorigin="anonymous"></script>\n'
    if without_foreign(f"<head>\n{foreign}</head>") != "<head>\n</head>":
        yield "finish_pages: RequireJS stays on a page that does not use it"
    if (page := f"<head>\n{foreign}</head><script>require(['a'])</script>") != without_foreign(page):
        yield "finish_pages: RequireJS is taken from a page that uses it"


if __name__ == "__main__":
    print(f"{finish(Path(sys.argv[1]))} pages without scripts of other hosts")
