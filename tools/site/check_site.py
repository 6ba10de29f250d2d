"""Check the documentation site without rendering it: one line for each problem, exit 1 when there is one.

The sidebar names every notebook, in parts; links, media and cross-references lead somewhere; no cell shows an error;
and nbdev's own processing of the notebooks, which is all that happens before Quarto takes over, has nothing to warn of.
"""

import ast, os, re, shutil, subprocess, sys, tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import yaml

import check_pages, check_sounds, finish_pages, make_pages

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # notebooks.py serves all tools
from notebooks import NBS, ROOT, chapters, directives, read, text

_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)|\b(?:src|href)=[\"']([^\"']+)[\"']")
_MEDIA = re.compile(r"\b(?:url|filename)\s*=\s*[\"']((?:audio|images)/[^\"'{}]+)[\"']")
_SRC = re.compile(r"\bsrc=[\"']([^\"']+)[\"']")
_REF = re.compile(r"(?<![\w@/.])@((?:fig|sec|tbl|eq|lst)-[\w-]*\w)")
_ANCHOR = re.compile(r"\{#((?:fig|sec|tbl|eq|lst)-[\w-]*\w)[^}]*\}")
_HEADING = re.compile(r"^#{1,6} +(.+?) *(?:\{#([\w-]+)[^}]*\})? *$", re.M)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)
_MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.S)
_SLOT = re.compile(r"(?<!\{)\{[A-Za-z]\w*\}")
INCLUDED = ("colab-link.html", "page-script.html", "fold.lua", "site.scss", "dark.scss")  # what pages are made with
_SHOWN = {"image/png", "image/svg+xml", "image/jpeg", "text/html"}

# A hundred notebooks leave a hundred shells behind, and to take these apart at the end takes longer than all the rest:
# so the process ends at once. It does so only when nothing has gone wrong.
_PROCESS = """
import os, sys
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
refresh_quarto_yml()
print(proc_nbs(n_workers=0, force=True))
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
"""


def sidebar_problems(nbs, config):
    """Differences between the sidebar and the notebooks there are."""
    contents = yaml.safe_load(config.read_text(encoding="utf-8"))["website"]["sidebar"]["contents"]
    listed, present = list(check_pages.entries(contents)), [p.name for p in nbs]
    for name in present:
        if name not in listed:
            yield f"{config.name}: the sidebar lacks {name}"
    for name, times in Counter(listed).items():
        if not (NBS / name).is_file():
            yield f"{config.name}: the sidebar names {name}, which is not in nbs/"
        if times > 1:
            yield f"{config.name}: the sidebar names {name} {times} times"
    if listed[:1] != ["index.ipynb"]:
        yield f"{config.name}: the sidebar must begin with index.ipynb"


def cells(nb, kind):
    """The cells of one kind, as (number, cell, source)."""
    return [(i, c, text(c["source"])) for i, c in enumerate(nb["cells"]) if c["cell_type"] == kind]


def targets(nb):
    """(cell, target) of each link and medium: in prose, also where a cell shows it, in players that name a file, and in
    HTML that was shown.
    """
    for i, _, source in cells(nb, "markdown"):
        yield from ((i, a or b) for a, b in _LINK.findall(_CODE.sub("", source)))
    for i, cell, source in cells(nb, "code"):
        yield from ((i, t) for t in _MEDIA.findall(source))
        for out in cell["outputs"]:
            shown = out.get("data", {})
            yield from ((i, t) for t in _SRC.findall(text(shown.get("text/html", ""))))
            yield from ((i, a or b) for a, b in _LINK.findall(_CODE.sub("", text(shown.get("text/markdown", "")))))


def exists(target, folder):
    """Whether a relative link leads to a file; a page of the site is its notebook."""
    path = folder / unquote(re.split(r"[#?]", target)[0])
    return path.exists() or (path.suffix == ".html" and path.with_suffix(".ipynb").exists())


def link_problems(path, nb):
    """Relative links and media files that lead nowhere."""
    for i, target in targets(nb):
        if re.match(r"\w[\w+.-]*:|//|#", target):
            continue
        if target.startswith("/"):
            yield f"{path.name} cell {i}: {target[:80]} is not relative"
        elif target.startswith("../"):
            yield f"{path.name} cell {i}: {target[:80]} leads out of the site; give its web address"
        elif not exists(target, path.parent):
            yield f"{path.name} cell {i}: {target[:80]} does not exist"


def label_of(source):
    """The label a code cell's directives give it, if any."""
    return next((d.split(": ", 1)[1].strip() for d in sorted(directives(source)) if d.startswith("label: ")), None)


def labels(nb):
    """Every label a notebook defines, in code directives and in `{#…}` attributes."""
    found = [label for _, _, source in cells(nb, "code") if (label := label_of(source))]
    return found + [a for _, _, source in cells(nb, "markdown") for a in _ANCHOR.findall(_CODE.sub("", source))]


def place_of(heading):
    """The name that Pandoc gives the place of a heading."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", ""))
    words = re.sub(r"[^\w\s.-]", "", words).lower()
    return re.sub(r"^[\W\d_]+", "", re.sub(r"\s+", "-", words.strip()))


@cache
def places(path):
    """What a link into a notebook can name: its headings and its labels."""
    nb = read(path)
    prose = [check_pages.FENCE.sub("", source) for _, _, source in cells(nb, "markdown")]
    return {given or place_of(words) for p in prose for words, given in _HEADING.findall(p)} | set(labels(nb))


def place_problems(path, nb):
    """Links to a place in a notebook that has no such heading and no such label."""
    for i, target in targets(nb):
        file, _, place = target.partition("#")
        there = path.parent / unquote(file) if file else path
        if place and there.suffix == ".ipynb" and there.is_file() and place not in places(there):
            yield f"{path.name} cell {i}: {target[:80]} leads to no place on that page"


def reference_problems(path, nb):
    """Labels used but not defined, or defined twice. Quarto resolves them within one page only."""
    known = Counter(labels(nb))
    for label, times in known.items():
        if times > 1:
            yield f"{path.name}: {label} is defined {times} times"
    for i, _, source in cells(nb, "markdown"):
        for ref in _REF.findall(_CODE.sub("", source)):
            if ref not in known:
                yield f"{path.name} cell {i}: @{ref} has no label"


def figure_problems(path, nb):
    """Labelled figures that Quarto could not number: without a caption, or without a picture."""
    for i, cell, source in cells(nb, "code"):
        label = label_of(source) or ""
        if not label.startswith("fig-"):
            continue
        if not any(d.startswith(("fig-cap:", "fig-subcap:")) for d in directives(source)):
            yield f"{path.name} cell {i}: {label} has no fig-cap"
        shown = [bool(_SHOWN & o["data"].keys()) for o in cell["outputs"] if "data" in o]
        if not any(shown):
            yield f"{path.name} cell {i}: {label} shows no picture"
        elif not all(shown):
            yield (
                f"{path.name} cell {i}: {label} shows text beside its picture, which Quarto makes a figure of its own "
                "(end the last line with `;`)"
            )


def error_problems(path, nb):
    """Outputs that are tracebacks."""
    for i, cell, _ in cells(nb, "code"):
        for out in cell["outputs"]:
            if out["output_type"] == "error":
                yield f"{path.name} cell {i}: shows {out['ename']}: {out['evalue'][:80]}"


def slot_problems(path, nb):
    """Places in braces that an f-string would have filled, in prose."""
    for i, cell in enumerate(nb["cells"]):
        said = (
            [text(cell["source"])]
            if cell["cell_type"] == "markdown"
            else [text(o.get("data", {}).get("text/markdown", "")) for o in cell.get("outputs", [])]
        )
        for words in said:
            for slot in _SLOT.findall(_MATH.sub("", _CODE.sub("", words))):
                yield f"{path.name} cell {i}: {slot} stands in the prose unfilled"


def parsed(source):
    """A code cell's syntax tree, without magics; `None` when it is not Python."""
    try:
        return ast.parse("\n".join(line for line in source.splitlines() if not re.match(r"\s*[%!]", line)))
    except SyntaxError:
        return None


def flags_of(source):
    """The words that a cell's directives begin with."""
    return {d.split()[0] for d in directives(source)}


def mixes_imports(source):
    """Whether a cell that is run to build the site holds an import beside other code."""
    if flags_of(source) & {"export", "exports", "exporti", "exec_doc"} or "eval: false" in directives(source):
        return False
    tree = parsed(source)
    kinds = {type(node) for node in ast.walk(tree)} if tree else set()
    return bool(kinds & {ast.Import, ast.ImportFrom} and kinds & {ast.Expr, ast.Assign})


def import_problems(path, nb):
    """Cells that mix imports with other code: building the site runs each cell that holds an import, whole."""
    code = [(i, source) for i, _, source in cells(nb, "code")]
    if not any(flags_of(source) & {"export", "exports"} for _, source in code):
        return  # without a module nothing is run
    for i, source in code:
        if mixes_imports(source):
            yield f"{path.name} cell {i}: an import beside other code (put imports in a cell of their own)"


def title_problems(path, nb):
    """nbdev takes the page's title from the first `# …` line and its description from the quote below."""
    first = next((source for _, _, source in cells(nb, "markdown")), "")
    if not re.match(r"# \S[^\n]*\n+> \S", first):
        yield f"{path.name}: does not begin with a `# title` and a `> quote` line"
    if first.count("\n>") > 1:
        yield f"{path.name}: the quote has several lines; nbdev takes the first alone for the page's description"


def process(copy):
    """Let nbdev prepare the pages in `copy`, a folder of its own so that nothing here is touched."""
    for folder in ("nbs", "spectro_dreamer"):  # with what Python has compiled, which would else be done again
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns(".*"))
    for name in ("settings.ini", "_quarto.yml"):
        shutil.copy(ROOT / name, copy)
    env = dict(
        os.environ, PYTHONPATH=str(copy), IPYTHONDIR=str(copy / ".ipython"), MPLBACKEND="Agg", OMP_NUM_THREADS="1"
    )
    return subprocess.run([sys.executable, "-c", _PROCESS], cwd=copy, env=env, capture_output=True, text=True)


def prepared_problems(made):
    """Pages, media and includes are all among what nbdev prepared, and pages have the names that links give them."""
    media = [p for d in ("audio", "images") for p in (NBS / d).glob("*") if p.is_file()]
    for path in [*chapters(), *(NBS / name for name in INCLUDED), *NBS.rglob("*.qmd"), *media]:
        name = path.relative_to(NBS)
        if not (made / name).exists():
            yield f"nbdev did not take {name} along"
    for path in chapters(made):
        page = f"{make_pages.page_name(path)}.html"
        if f"output-file: {page}\n" not in text(read(path)["cells"][0]["source"]):
            yield f"nbdev does not make {page} of {path.name}, where its link to Colab looks for it"


def processing_problems():
    """What nbdev has to say when it prepares the pages; mixed imports are named, by cell, elsewhere."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "repo"
        done = process(copy)
        lines = done.stderr.replace(scratch, "").splitlines()
        if done.returncode:
            where = [line for line in lines if re.match(r"\w*(Error|Exception)\b", line)]
            yield f"nbdev could not process the notebooks: {'; '.join(where) or lines[-1:]}"
            return
        for line in lines:
            if "Warning: " in line and "imports and other code" not in line:
                yield f"nbdev: {line.strip()}"
        yield from prepared_problems(copy / "_proc")


def problems():
    """Every problem of the site, the cheap checks first."""
    nbs = chapters()
    if not nbs:
        yield "nbs/ holds no notebooks"
        return
    yield from sidebar_problems(nbs, ROOT / "_quarto.yml")
    for path in nbs:
        nb = read(path)
        for check in (
            title_problems,
            link_problems,
            place_problems,
            reference_problems,
            figure_problems,
            error_problems,
            slot_problems,
            import_problems,
        ):
            yield from check(path, nb)
    for part in (check_pages, check_sounds, finish_pages):
        yield from part.problems()
    yield from processing_problems()


def main():
    """Print the problems; exit 1 when there is one."""
    found = 0
    for problem in problems():
        print(problem, flush=True)
        found += 1
    print(f"site: {len(chapters())} notebooks, {found or 'no'} problem{'' if found == 1 else 's'}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
