"""Check what the site has beside its chapters:

parts, pictures, words for figures, code, the page for wrong addresses, glossary, API, Colab, publishing.

Each check yields one line for each problem; `check_site.py` runs them all. Nothing is rendered and nothing imported.
"""

import ast, json, re, struct, sys
from pathlib import Path
from urllib.parse import unquote

import yaml

import make_pages

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # notebooks.py serves all tools
from notebooks import NBS, ROOT, chapters, directives, read, text

PARTS = [
    "The ground",
    "The data",
    "The model",
    "Learning",
    "Sound",
    "Judging",
    "Dreaming",
    "Acting",
    "Rivals",
    "Use",
    "The report",
    "Reference",
]
WORDS = [
    w.strip()
    for w in """
    clip, frame, token, style, deterministic state, stochastic state, feature, prior, posterior, rollout,
    horizon, rate, distortion, mel band, log-mel, standardised, nats, KL, ELBO, RSSM, vocoder, copy-synthesis,
    FAD, MCD, STOI, PESQ, VAR, Griffin–Lim, straight through, unimix, free nats, β, BPTT, teacher forcing,
    energy score, temperature, top-p, context, world model, front end, preset, seed, encoder, decoder, λ-return,
    codec""".split(",")
]
ENTRY = re.compile(r"^- \*\*(.+?)\*\*(?: \(([^)]*)\))?\. (.+) \[([^\]]+)\]\(([^)\s]+)\)$")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SMALL = re.compile(r"""(?:font|label|title)_?size["']?\s*[=:]\s*(["']xx?-small["']|[0-7](?:\.\d+)?(?![\d.]))""")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def configuration():
    return yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))


def entries(contents):
    """The files a part of the sidebar lists, sections flattened, in order."""
    for item in contents:
        if isinstance(item, str):
            yield item
        elif "contents" in item:
            yield from entries(item["contents"])
        elif "href" in item:
            yield item["href"]


def named(contents):
    """(file, words) of each part of the sidebar that gives its own words."""
    for item in contents:
        if isinstance(item, dict):
            yield from named(item["contents"]) if "contents" in item else [(item["href"], item["text"])]


def order_problems(contents):
    """Chapters stand in their order, each by the name that the prose counts it by; no page is left out."""
    listed, words = list(entries(contents)), dict(named(contents))
    numbered = [name for name in listed if name[:2].isdigit()]
    for a, b in zip(numbered, numbered[1:]):
        if a > b:
            yield f"_quarto.yml: {a} stands before {b}"
    for name in numbered:
        if words.get(name) != (title := make_pages.chapter_title(NBS / name)):
            yield f"_quarto.yml: {name} must be called `{title}`, as the prose counts chapters"
    for name in ("99_report.ipynb", "glossary.ipynb", "api/index.qmd", "colab.qmd"):
        if name not in listed:
            yield f"_quarto.yml: the sidebar lacks {name}"


def theme_problems(html):
    """Two themes, made of files that there are, and what every page includes."""
    if not {"light", "dark"} <= set(html["theme"]):
        yield "_quarto.yml: needs a light and a dark theme"
    files = [f for layers in html["theme"].values() for f in layers if f.endswith(".scss")]
    yield from (f"_quarto.yml: there is no {f}" for f in files if not (NBS / f).is_file())
    for key in ("include-after-body", "filters"):
        named_files = html.get(key) or ["-"]
        yield from (f"_quarto.yml: {key} names no file {f}" for f in named_files if not (NBS / f).is_file())


def part_problems():
    """The sidebar's parts by name, chapters in their order, both themes, the search, and what every page includes."""
    site, html = configuration()["website"], configuration()["format"]["html"]
    contents = site["sidebar"]["contents"]
    parts = [item["section"] for item in contents if isinstance(item, dict) and "section" in item]
    if parts != PARTS:
        yield f"_quarto.yml: the parts are {parts}, not {PARTS}"
    yield from order_problems(contents)
    yield from theme_problems(html)
    if not site.get("search"):
        yield "_quarto.yml: needs a search"


def png_problems(path, size, limit):
    """A picture is a PNG of a size and not too large a file."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n" or struct.unpack(">II", data[16:24]) != size:
        yield f"{path.name} is not a PNG of {size[0]} x {size[1]}"
    if len(data) > limit:
        yield f"{path.name} has {len(data) / 1000:.0f} kB, more than {limit / 1000:.0f}"


def card_problems(site):
    """The social card is named by the first page and shown by Open Graph and Twitter."""
    raw = [text(c["source"]) for c in read(NBS / "index.ipynb")["cells"] if c["cell_type"] == "raw"]
    if not any(f"image: {site.get('image')}\n" in source for source in raw):
        yield "index.ipynb: its raw cell must name the card, or Quarto shows the page's first picture instead"
    if not site.get("open-graph") or site.get("twitter-card", {}).get("card-style") != "summary_large_image":
        yield "_quarto.yml: the card is not shown: open-graph, twitter-card"


def picture_problems():
    """Favicon and social card: named in the configuration, there, of the right shape, and small."""
    site = configuration()["website"]
    for key, size, limit in (("favicon", (64, 64), 10_000), ("image", (1200, 630), 300_000)):
        path = NBS / site.get(key, "-")
        if path.is_file():
            yield from png_problems(path, size, limit)
        else:
            yield f"_quarto.yml: {key} names no picture"
    yield from card_problems(site)


def figure_problems():
    """A cell that shows one picture says in words what it looks like, for readers who cannot see it."""
    for path in chapters():
        for i, cell in enumerate(read(path)["cells"]):
            pictures = sum(
                any(mime.startswith("image/") for mime in out.get("data", {})) for out in cell.get("outputs", [])
            )
            said = next(
                (
                    d.removeprefix("fig-alt: ").strip("\"' ")
                    for d in directives(text(cell["source"]))
                    if d.startswith("fig-alt: ")
                ),
                "",
            )
            if pictures == 1 and not said:
                yield f"{path.name} cell {i}: a figure without fig-alt, the words for readers who cannot see it"


def letter_problems():
    """No figure has letters under 8 points: the page shows those with 8 px or more (`nbs/page-script.html`)."""
    for path in chapters():
        for i, cell in enumerate(read(path)["cells"]):
            for size in SMALL.findall(text(cell["source"]) if cell["cell_type"] == "code" else ""):
                yield f"{path.name} cell {i}: letters of {size} in a figure: write 8 or more, and make them fit"
    for path in sorted((ROOT / "experiments").glob("*.py")):
        for size in SMALL.findall(path.read_text(encoding="utf-8")):
            yield f"experiments/{path.name}: letters of {size} in a figure: write 8 or more, and make them fit"


def source_problems():
    """A page shows the code of what it defines: nbdev hides a cell of `export`, and shows one of `exports`."""
    for path in chapters():
        for i, cell in enumerate(read(path)["cells"]):
            if "export" not in directives(text(cell["source"])):
                continue
            if any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.parse(text(cell["source"])).body):
                yield f"{path.name} cell {i}: a definition in a cell of `export`, which no page shows: use `exports`"


def missing_page_problems(s):
    """The page for wrong addresses is shown at any depth, so its links are whole addresses, and lead to pages that
    there are.
    """
    path, home = NBS / "404.qmd", s["doc_host"] + s["doc_baseurl"]
    if not path.is_file():
        yield "404.qmd is missing"
        return
    there = {f"{make_pages.page_name(p)}.html" for p in chapters()} | {
        p.relative_to(NBS).with_suffix(".html").as_posix() for p in NBS.rglob("*.qmd")
    }
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        if not target.startswith(home):
            yield f"404.qmd: {target} is not under {home}"
        elif target.removeprefix(home) not in there:
            yield f"404.qmd: there is no page {target.removeprefix(home)}"


def glossary_entries():
    """(group, names, definition, file) of each word, and the lines that are no entries."""
    group, found, odd = "", [], []
    for line in "\n\n".join(text(c["source"]) for c in read(NBS / "glossary.ipynb")["cells"]).splitlines():
        if line.startswith("## "):
            group = line
        elif m := ENTRY.match(line):
            found.append((group, [m[1], *filter(None, (m[2] or "").split(", "))], m[3], m[5]))
        elif line.startswith("-"):
            odd.append(line)
    return found, odd


def prose_of(path):
    """The prose of a chapter in small letters."""
    return " ".join(text(c["source"]) for c in read(path)["cells"] if c["cell_type"] == "markdown").lower()


def word_problems(found):
    """Each word has two sentences, and a link to a chapter whose prose uses it."""
    prose = {}
    for _, names, words, file in found:
        if not (NBS / file).is_file():
            yield f"glossary: {names[0]} leads to {file}, which does not exist"
            continue
        if file not in prose:
            prose[file] = prose_of(NBS / file)
        if not any(re.search(rf"(?<!\w){re.escape(n.lower())}", prose[file]) for n in names):
            yield f"glossary: {file} does not speak of {' or '.join(names)}"
        if len(re.findall(r"[.?!](?= |$)", words)) != 2:
            yield f"glossary: {names[0]} has not two sentences"


def alphabetical(name):
    """What a word is sorted by."""
    return name.lower().replace("β", "beta").replace("λ", "lambda")


def list_problems(found):
    """Words stand in order within their group; none is missing, none twice."""
    known = [n for _, names, *_ in found for n in names]
    yield from (f"glossary: lacks {w}" for w in WORDS if w not in known)
    yield from (f"glossary: {n} stands twice" for n in sorted({n for n in known if known.count(n) > 1}))
    for (g, a, *_), (h, b, *_) in zip(found, found[1:]):
        if g == h and alphabetical(a[0]) > alphabetical(b[0]):
            yield f"glossary: {a[0]} stands before {b[0]}"


def glossary_problems():
    """Each word has two sentences and a link to a chapter whose prose uses it; words stand in order, none is missing,
    none twice.
    """
    if not (NBS / "glossary.ipynb").is_file():
        yield "glossary.ipynb is missing"
        return
    found, odd = glossary_entries()
    yield from (f"glossary: not `- **word**. Two sentences. [chapter](file)`: {line[:60]}" for line in odd)
    yield from word_problems(found)
    yield from list_problems(found)


def page_text(name):
    """A page of ours, or "" where it is missing."""
    return (NBS / name).read_text(encoding="utf-8") if (NBS / name).is_file() else ""


def colab_problems(s):
    """Every chapter opens in Colab, from the list and from its own page, and nothing that is not there does."""
    wanted, page, script = {p.name for p in make_pages.numbered()}, page_text("colab.qmd"), page_text("colab-link.html")
    base = make_pages.colab_url(NBS / "X", s)[:-1]
    listed = set(re.findall(re.escape(base) + r"(\S+?\.ipynb)", page))
    mapped = re.search(r"chapters = (\{.*?\});", script)
    by_page = {f"{stem}.ipynb" for stem in json.loads(mapped[1]).values()} if mapped else set()
    for what, names in (("colab.qmd", listed), ("colab-link.html", by_page)):
        yield from (f"{what}: {n} does not exist" for n in sorted(names - wanted))
        yield from (f"{what}: lacks {n}" for n in sorted(wanted - names))
    if base not in script:
        yield "colab-link.html: does not lead to Colab"
    if f"git clone -q --depth 1 {s['git_url']}" not in page or "pip install" not in page:
        yield "colab.qmd: does not say what to run first"


def symbol_problems(module):
    """Every exported name is on its module's page, once, and says what it is for."""
    symbols = list(module.symbols())
    if missing := module.exported - {name for name, _ in symbols}:
        yield f"api/{module.name}.qmd lacks {', '.join(sorted(missing))}"
    full = [make_pages.full_name(name, node) for name, node in symbols]
    yield from (f"api/{module.name}.qmd has {n} twice" for n in sorted({n for n in full if full.count(n) > 1}))
    for name, node in symbols:
        if isinstance(node, ast.FunctionDef) and not make_pages.docstring(node):
            yield f"{module.notebook}: {name} has no docstring, and its page would say `Call self as a function`"


def api_problems():
    """The pages are what the library gives, and every exported name is on its module's page."""
    for path in make_pages.stale(make_pages.pages()):
        yield f"{path.relative_to(ROOT)} is not what the library gives: run tools/site/make_pages.py"
    for module in make_pages.modules():
        yield from symbol_problems(module)


def anchors_of(path):
    """The places on a page that a link can name; None for a notebook, whose headings Quarto names."""
    if path.suffix != ".qmd":
        return None
    return set(re.findall(r"\{#([^}\s]+)\}", path.read_text(encoding="utf-8")))


def leads_nowhere(path, target):
    """What is wrong with a link of a page, or ""."""
    if re.match(r"\w+:", target):
        return ""
    file, _, place = unquote(target).partition("#")
    there = (path.parent / file).resolve()
    if not there.is_file() or NBS.resolve() not in there.parents:
        return f"{path.relative_to(NBS)}: {target} leads nowhere"
    anchors = anchors_of(there) if place else None
    if anchors is None or place in anchors:
        return ""
    return f"{path.relative_to(NBS)}: {target} leads to no place on that page"


def page_problems():
    """Links of the pages that are no notebooks lead to files and places that exist, and no page takes the name of an
    included file.
    """
    made = {make_pages.page_name(p) for p in chapters()} | {p.stem for p in NBS.glob("*.qmd")}
    yield from (f"{p.name} would be overwritten by the page of that name" for p in NBS.glob("*.html") if p.stem in made)
    for path in sorted(NBS.rglob("*.qmd")):
        targets = LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
        yield from filter(None, (leads_nowhere(path, target) for target in targets))


def step_problems(name, step):
    """An action, and Quarto itself, is pinned to one version."""
    uses = step.get("uses", "")
    if uses and not re.search(r"@(v\d+\.\d+\.\d+|[0-9a-f]{40})$", uses):
        yield f"{name}: {uses} is not pinned"
    quarto = str(step.get("with", {}).get("version"))
    if "quarto-actions/setup" in uses and not re.fullmatch(r"\d+\.\d+\.\d+", quarto):
        yield f"{name}: Quarto has no version"


def workflow_problems():
    """Every action and Quarto itself are pinned to one version, and the site is published from `make docs`."""
    folder = ROOT / ".github" / "workflows"
    for path in sorted(folder.glob("*.yml")):
        for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items():
            for step in job["steps"]:
                yield from step_problems(path.name, step)
            if not job.get("timeout-minutes"):
                yield f"{path.name}: {name} has no time limit"
    docs = folder / "docs.yml"
    said = docs.read_text(encoding="utf-8") if docs.is_file() else ""
    parts = ("quarto-dev/quarto-actions/setup", "make docs", "actions/upload-pages-artifact", "path: _docs")
    yield from (f"docs.yml: lacks {part}" for part in parts if part not in said)


def problems():
    """All of them."""
    s = make_pages.settings()
    for check in (
        part_problems,
        picture_problems,
        figure_problems,
        letter_problems,
        source_problems,
        lambda: missing_page_problems(s),
        glossary_problems,
        lambda: colab_problems(s),
        api_problems,
        page_problems,
        workflow_problems,
    ):
        yield from check()
