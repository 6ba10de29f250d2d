"""Write the pages of the site that no chapter holds: the API, module by module, and the way into Colab.

    python tools/site/make_pages.py [--check]

Everything is read from the source, nothing is imported: signatures, docstrings, and the comment beside each parameter
(docments). `--check` writes nothing and exits 1 when a page is not what would be written.
"""

import argparse, ast, configparser, io, json, re, sys, textwrap, tokenize
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # notebooks.py serves all tools
from notebooks import NBS, ROOT, chapters, read, text

PACKAGE = ROOT / "spectro_dreamer"
HEADER = "<!-- Written by tools/site/make_pages.py; edit the notebooks. -->"
SETUP = """!git clone -q --depth 1 {git_url}
%cd {repo}/nbs
!pip install -q "../.[dev]\""""


def settings():
    """What settings.ini says."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return parser["DEFAULT"]


# Reading a module -----------------------------------------------------------------------------------------------------


class Module:
    """A module's source, its tree, and the comment on each line."""

    def __init__(self, path):
        self.name, self.source = path.stem, path.read_text(encoding="utf-8")
        self.path = path.relative_to(PACKAGE)  # model/rssm.py
        self.place = ".".join(self.path.with_suffix("").parts)  # model.rssm
        self.full_name = f"spectro_dreamer.{self.place}"
        self.tree, self.comments = ast.parse(self.source), {}
        for t in tokenize.generate_tokens(io.StringIO(self.source).readline):
            if t.type == tokenize.COMMENT:
                self.comments[t.start[0]] = t.string.lstrip("# ").rstrip()
        self.notebook = re.search(r"File to edit: (?:\.\./)+nbs/(\S+?\.ipynb)", self.source)[1]

    @property
    def question(self):
        return ast.get_docstring(self.tree) or ""  # the quote line of the chapter

    @property
    def about(self):
        """What the module adds to its docstring after the quote line: purpose, shapes and units, an example."""
        added = [
            n.value.value
            for n in self.tree.body
            if isinstance(n, ast.AugAssign) and ast.unparse(n.target) == "__doc__" and isinstance(n.value, ast.Constant)
        ]
        return "\n\n".join(added)

    @property
    def exported(self):
        """The names in `__all__`, which nbdev writes."""
        values = [
            n.value for n in self.tree.body if isinstance(n, ast.Assign) and "__all__" in map(ast.unparse, n.targets)
        ]
        return set(ast.literal_eval(values[0])) if values else set()

    def symbols(self):
        """(name, node) of each exported definition, as they stand."""
        for node in self.tree.body:
            yield from ((name, node) for name in names_of(node) if name in self.exported)


def names_of(node):
    """The names that a statement of a module defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    # `Class.method = f` defines no name: the method has its own section
    return [n.id for t in targets for n in getattr(t, "elts", [t]) if isinstance(n, ast.Name)]


def starred(a):
    """(stars, parameter, default) of each parameter of `ast.arguments`, in order."""
    positional = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(positional) - len(a.defaults)) + list(a.defaults)
    rows = [("", p, d) for p, d in zip(positional, defaults)]
    rows += [("*", a.vararg, None)] if a.vararg else []
    rows += [("", p, d) for p, d in zip(a.kwonlyargs, a.kw_defaults)]
    return rows + ([("**", a.kwarg, None)] if a.kwarg else [])


def parameters(module, function, skip=()):
    """(name, type, default, comment) of each parameter; the comment belongs to the last parameter on its line."""
    rows = starred(function.args)
    after = function.returns or (function.body[0] if function.body else None)
    ends = [p.lineno for _, p, _ in rows[1:]] + [after.lineno if after else 0]
    for (star, p, d), following in zip(rows, ends):
        line = (d or p.annotation or p).end_lineno
        if p.arg not in skip:
            yield star + p.arg, p.annotation, d, module.comments.get(line, "") if following > line else ""


def returns(module, function):
    """(type, comment) of what a function returns; the comment is on the line that ends its signature."""
    if function.lineno == function.end_lineno:
        return function.returns, module.comments.get(function.lineno, "")
    closing = function.returns.end_lineno if function.returns else None
    if closing is None:  # `): # comment`: the line before the body that begins with a bracket
        lines = module.source.splitlines()
        closing = next(
            (n for n in range(function.lineno, function.body[0].lineno) if lines[n - 1].lstrip().startswith(")")), None
        )
    return function.returns, module.comments.get(closing, "") if closing and closing < function.body[0].lineno else ""


def fields(module, cls):
    """(name, type, default, words) of the fields of a dataclass or named tuple."""
    return [
        (n.target.id, n.annotation, *field_words(module, n))
        for n in cls.body
        if isinstance(n, ast.AnnAssign)
    ]


def field_words(module, node):
    """(default, words) of a field: those that `setting(default, help, …)` gives, or its value and its comment."""
    value = node.value
    if not (isinstance(value, ast.Call) and getattr(value.func, "id", "") == "setting"):
        return value, module.comments.get(node.end_lineno, "")
    given = dict(zip(("default", "help"), value.args)) | {k.arg: k.value for k in value.keywords}
    words = ast.literal_eval(given["help"])
    if isinstance(given.get("choices"), (ast.Tuple, ast.List)):
        words += f" ({', '.join(map(str, ast.literal_eval(given['choices'])))})"
    return given["default"], words


def docstring(node):
    return (ast.get_docstring(node) or "").strip()


def method_of(function):
    """The class that a function is patched onto: its first parameter is `self:Class`."""
    first = next(iter(function.args.args), None)
    return ast.unparse(first.annotation) if first is not None and first.arg == "self" and first.annotation else None


# Writing markdown -----------------------------------------------------------------------------------------------------


def escaped(words):
    """Prose for a markdown table cell: code and formulas stay, and nothing else means anything to Pandoc."""
    parts = re.split(r"(`[^`]+`|\$[^\s$](?:[^$]*[^\s$])?\$(?!\d))", " ".join(words.split()))

    def kept(p):
        return p.replace("|", " or ") if p[0] == "`" else p.replace(r"\|", r"\Vert ").replace("|", r"\vert ")

    return "".join(
        kept(p) if i % 2 else re.sub(r"([\\*_<>$|@~^\[\]{}#]|(?<=-)-)", r"\\\1", p) for i, p in enumerate(parts)
    )


def code(node):
    """A type or a default as code in a table cell; a bar would end the cell."""
    return (
        ""
        if node is None
        else "`"
        + (node if isinstance(node, str) else ast.unparse(node)).replace(" | ", " or ").replace("|", " or ")
        + "`"
    )


@cache
def homes():
    """The page of each class of the library."""
    return {name: m.name for m in modules() for name, node in m.symbols() if isinstance(node, ast.ClassDef)}


def typed(node):
    """A type as code in a table cell; it leads to the first class of ours in it."""
    names = re.findall(r"[A-Za-z_]\w*", "" if node is None else ast.unparse(node))
    own = next((n for n in names if n in homes()), None)
    return f"[{code(node)}]({homes()[own]}.qmd#{own})" if own else code(node)


def table(rows, result=(None, "")):
    """The docments table; nothing when neither parameters nor result say more than the signature."""
    rows = [f"| `{n}` | {typed(t)} | {code(d)} | {escaped(c)} |" for n, t, d, c in rows]
    if result[0] is not None or result[1]:
        rows.append(f"| **returns** | {typed(result[0])} | | {escaped(result[1])} |")
    return "\n".join(["| name | type | default | what it is |", "|---|---|---|---|", *rows]) if rows else ""


def signature(name, function, skip=()):
    """`name(a: T, b=1) -> R` as a block of code, one parameter a line when it is long."""
    copy = ast.parse(ast.unparse(function)).body[0]
    for part in (copy.args.posonlyargs, copy.args.args):
        part[:] = [p for p in part if p.arg not in skip]
    arguments, result = ast.unparse(copy.args), f" -> {ast.unparse(copy.returns)}" if copy.returns else ""
    line = f"{name}({arguments}){result}"
    if len(line) > 100:
        line = f"{name}(\n" + "".join(f"    {ast.unparse(a)},\n" for a in split_arguments(copy.args)) + f"){result}"
    return f"```python\n{line}\n```"


def split_arguments(arguments):
    """One `ast.arguments` for each parameter, so that each can be written on a line of its own."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    nothing = dict(posonlyargs=[], args=[], vararg=None, kwonlyargs=[], kw_defaults=[], kwarg=None, defaults=[])

    def empty(**given):
        return ast.arguments(**{**nothing, **given})

    for p, d in zip(positional, defaults):
        yield empty(args=[p], defaults=[d] if d is not None else [])
    if arguments.vararg:
        yield empty(vararg=arguments.vararg)
    for p, d in zip(arguments.kwonlyargs, arguments.kw_defaults):
        yield empty(args=[p], defaults=[d] if d is not None else [])
    if arguments.kwarg:
        yield empty(kwarg=arguments.kwarg)


def function_section(module, name, node):
    """A function, or a method that is patched on."""
    owner = method_of(node)
    full, skip = (f"{owner}.{name}", ("self",)) if owner else (name, ())
    return section(
        full,
        signature(full, node, skip),
        escaped(docstring(node)),
        table(parameters(module, node, skip), returns(module, node)),
    )


def class_section(module, name, node):
    """A class: how it is made, and its public methods."""
    methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
    init = next((n for n in methods if n.name == "__init__"), None)
    if init:
        rows, head = list(parameters(module, init, ("self",))), signature(name, init, ("self",))
    else:
        bases = ", ".join(ast.unparse(b) for b in node.bases)
        rows, head = fields(module, node), f"```python\nclass {name}{f'({bases})' if bases else ''}\n```"
    lines = [method_line(module, n) for n in methods if not n.name.startswith("_")]
    return section(name, head, escaped(docstring(node)), table(rows), "\n".join(lines))


def method_line(module, method):
    """A method as an item of a list: how it is called, and what it does."""
    given = "" if property_like(method) else f"({ast.unparse(without_self(method))})"
    what = docstring(method) or line_comment(module, method)
    return f"- `{method.name}{given}`" + (f": {escaped(what)}" if what else "")


def property_like(function):
    return any(ast.unparse(d).endswith(("property", "cached_property")) for d in function.decorator_list)


def without_self(function):
    """The arguments of a method as they are given to it."""
    args = ast.parse(ast.unparse(function)).body[0].args
    if args.args and args.args[0].arg in ("self", "cls"):
        del args.args[0]
    return args


def line_comment(module, function):
    """The comment of a method, on the line of its signature."""
    return module.comments.get(function.lineno, "")


def constant_section(module, name, node):
    """A constant: its value, cut where it is long, and its comment."""
    value = ast.unparse(node)
    value = value if len(value) < 300 else value[:300].rsplit(" ", 1)[0] + " …"
    return section(name, f"```python\n{value}\n```", escaped(module.comments.get(node.end_lineno, "")))


def section(name, *parts):
    return "\n\n".join([f"## {name} {{#{name.replace('.', '-')}}}", *(p for p in parts if p)])


def front(title, description, image="images/card.png"):
    """The page's head. The card's path is said from the page: Quarto looks for the site's own beside each page."""
    said = {"title": title, "description": description, "image": image}
    return "\n".join(
        ["---", *(f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in said.items()), "---", "", HEADER, ""]
    )


def full_name(name, node):
    return f"{owner}.{name}" if isinstance(node, ast.FunctionDef) and (owner := method_of(node)) else name


def block(words):
    """A paragraph of a module's docstring; its indented lines are an example."""
    return f"```python\n{textwrap.dedent(words)}\n```" if words.startswith("    ") else escaped(words)


def module_page(module, s):
    """The page of one module."""
    kinds = {
        ast.FunctionDef: function_section,
        ast.ClassDef: class_section,
        ast.Assign: constant_section,
        ast.AnnAssign: constant_section,
    }
    source = f"{s['git_url']}/blob/{s['branch']}/spectro_dreamer/{module.path.as_posix()}"
    where = f"[{chapter_title(NBS / module.notebook)}](../{module.notebook}) · [source]({source})"
    about = "\n\n".join(block(b) for b in re.split(r"\n{2,}", module.about.strip("\n")))
    return (
        "\n\n".join(
            p
            for p in [
                front(module.full_name, module.question, "../images/card.png"),
                where,
                about,
                *(kinds[type(n)](module, name, n) for name, n in module.symbols()),
            ]
            if p
        )
        + "\n"
    )


def index_page(modules):
    """All modules, and all symbols."""
    rows = [
        f"| [`{m.place}`]({m.name}.qmd) | [{chapter_title(NBS / m.notebook)}](../{m.notebook}) "
        f"| {escaped(m.question)} |"
        for m in modules
    ]
    names = sorted(
        {(full_name(name, node), m.name) for m in modules for name, node in m.symbols()},
        key=lambda x: (x[0].lower(), x),
    )
    links = [f"[`{n}`]({m}.qmd#{n.replace('.', '-')})" for n, m in names]
    return "\n".join(
        [
            front("API", "Every exported name, with its signature and what its parameters are.", "../images/card.png"),
            "What the chapters explain, to look up. Shapes are written (B, T, …): B batch, T tokens in time, "
            "M mel bands, F frames in a token.\n",
            "## Modules\n",
            "| module | chapter | its question |",
            "|---|---|---|",
            *rows,
            "",
            f"## All {len(links)} names\n",
            " · ".join(links),
            "",
        ]
    )


# The way into Colab ---------------------------------------------------------------------------------------------------


def chapter_title(path):
    """`04 RSSM` of a chapter: its number and its title."""
    first = next(text(c["source"]) for c in read(path)["cells"] if c["cell_type"] == "markdown")
    title = re.match(r"# (.+)", first)[1]
    return f"{number} {title}" if (number := path.stem.split("_")[0])[:2].isdigit() else title


def page_name(path):
    """The page that nbdev makes of a chapter: its name without the number."""
    return re.sub(r"^\d+[a-zA-Z0-9]*_", "", path.stem.lower())


def numbered():
    return [p for p in chapters() if p.name[:2].isdigit()]


def colab_url(path, s):
    return f"https://colab.research.google.com/github/{s['user']}/{s['repo']}/blob/{s['branch']}/nbs/{path.name}"


def colab_page(s):
    """How to run a chapter in Colab, and a link to each."""
    setup = SETUP.format(git_url=s["git_url"], repo=s["repo"])
    links = [f"| {chapter_title(p)} | [open]({colab_url(p, s)}) |" for p in numbered()]
    return "\n".join(
        [
            front("Open in Colab", "Run a chapter in the browser, with nothing installed."),
            "Every chapter is a notebook, and Google Colab runs notebooks from GitHub. Under the title of each chapter "
            "stands a link that opens it there; all of them are below.\n",
            "A machine there knows nothing of this library. So before the first cell, add one with this, and run "
            "it once:\n",
            f"```python\n{setup}\n```\n",
            "It fetches the project (the chapters read their results and sounds from it), goes to the folder of the "
            "notebooks, and installs the library with what the tests need. No GPU is asked for: the chapters run on a "
            "CPU. "
            "Cells marked `slow` take minutes to hours, and some of them need recordings that are not bundled; their "
            "outputs are in the notebook.\n",
            "| chapter | |",
            "|---|---|",
            *links,
            "",
        ]
    )


def colab_script(s):
    """The piece of HTML that puts the link under each chapter's title."""
    pages = {page_name(p): p.stem for p in numbered()}
    base = colab_url(Path("X"), s)[:-1]
    return f"""{HEADER}
<script>
(() => {{
  const chapters = {json.dumps(pages)};
  const folders = location.pathname.split("/");
  const name = folders.at(-2) === "api" ? undefined : chapters[folders.at(-1).replace(/\\.html$/, "")];
  const title = document.querySelector("#title-block-header");
  if (!name || !title) return;
  const line = document.createElement("p");
  line.className = "colab";
  line.innerHTML = `<a href="{base}${{name}}.ipynb">Open in Colab</a> · <a href="colab.html">what to run first</a>`;
  title.append(line);
}})();
</script>
"""


# All of it ------------------------------------------------------------------------------------------------------------


def modules():
    """Every module of the library, in the order of the chapters."""
    return sorted((Module(p) for p in PACKAGE.rglob("*.py") if not p.name.startswith("_")), key=lambda m: m.notebook)


def pages():
    """{path: content} of everything that this script writes."""
    s, found = settings(), modules()
    api = {NBS / "api" / f"{m.name}.qmd": module_page(m, s) for m in found}
    return {
        **api,
        NBS / "api" / "index.qmd": index_page(found),
        NBS / "colab.qmd": colab_page(s),
        NBS / "colab-link.html": colab_script(s),
    }


def stale(wanted):
    """Paths whose content is not what is wanted, or that nothing writes any more."""
    old = {p for p in (NBS / "api").glob("*") if p not in wanted}
    return sorted(old | {p for p, body in wanted.items() if not p.exists() or p.read_text(encoding="utf-8") != body})


def main(argv=None):
    """Write the pages, or with --check compare them."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--check", action="store_true", help="compare instead of writing")
    check, wanted = p.parse_args(argv).check, pages()
    wrong = stale(wanted)
    if check:
        for path in wrong:
            print(f"{path.relative_to(ROOT)} is not what the library gives: run tools/site/make_pages.py")
        return bool(wrong)
    for path in wrong:
        if path not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    print(f"{len(wanted)} pages, {len(wrong)} written anew")


if __name__ == "__main__":
    sys.exit(main())
