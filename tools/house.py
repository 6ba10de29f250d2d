"""Measure how a checkout is built, and print one column for each: sizes, lines, complexity, and habits to get rid of.

    python tools/house.py                          # this checkout
    python tools/house.py ../before . -v           # two, side by side, and the places behind each count
    python tools/house.py ../before . --json       # the same as JSON, places included
    python tools/house.py . --seconds test.log     # also the processor seconds in a saved log of tools/run_tests.py

Everything is read as text and as syntax trees; nothing is imported or run, and only the standard library is needed.
"""

import argparse
import ast
import io
import json
import math
import re
import sys
import tokenize
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

PACKAGE = "spectro_dreamer"
GENERATED = {"_modidx.py", "__init__.py"}
KINDS = {"gaussian", "categorical"}
KIND_CLASS = re.compile("Gaussian|Categorical")  # how the names of a latent's classes begin
DATA_CLASS = "SpectrogramData"
PARTIAL = re.compile(r"\.partial$")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.IfExp, ast.ExceptHandler, ast.Assert, ast.comprehension,
            ast.match_case)


@dataclass
class Source:
    """One Python file: where it lies, its text, and its syntax tree."""
    name: str        # path relative to the checkout
    text: str
    tree: ast.Module

    @cached_property
    def lines(self):
        """The lines of the file."""
        return self.text.splitlines()

    @cached_property
    def nodes(self):
        """Every node of the syntax tree."""
        return list(ast.walk(self.tree))

    @property
    def code_lines(self):
        """How many lines hold more than a comment."""
        return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in self.lines)

    def place(self, node):
        """`file:line` of a node, and the name of what is defined there, if any."""
        return f"{self.name}:{node.lineno} {getattr(node, 'name', '')}".rstrip()


class Function(NamedTuple):
    """A function or class, and how a reader would call it."""
    source: Source
    name: str          # qualified: `Class.method`
    node: ast.AST
    public: bool       # no name on the way to it begins with an underscore, and no function encloses it


@dataclass
class Row:
    """One line of the table."""
    label: str
    values: list                               # one number, or several that are shown with slashes between
    unit: str = ""                             # "%" is put behind each number
    places: list = field(default_factory=list) # what was counted, for --json and -v

    def shown(self):
        """The numbers as the table shows them."""
        return " / ".join(brief(value) + self.unit for value in self.values)


def brief(value):
    """A number with one decimal if it has any, a dash for one that is missing, text as it is."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)


def quantile(values, share):
    """The smallest value that at least `share` of all values do not exceed; None of no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share*len(ordered)) - 1)] if ordered else None


def percent(part, whole):
    """How many of a hundred, with one decimal; None of nothing."""
    return round(100*part/whole, 1) if whole else None


def counted(label, places):
    """A row that counts places, and the files in which they stand."""
    files = {place.split(":")[0] for place in places}
    return Row(label, [len(places), len(files)], places=places)


# Reading a checkout --------------------------------------------------------------------------------------------------

def read_sources(root, *folders):
    """Every Python file below some folders of a checkout, without what nbdev generates."""
    paths = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    found = [read_source(root, path) for path in paths if path.name not in GENERATED]
    return [source for source in found if source]


def read_source(root, path):
    """One Python file; None, and a warning, if it does not parse."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(root).as_posix()
    try:
        return Source(name, text, ast.parse(text))
    except SyntaxError as e:
        print(f"{name} is left out: line {e.lineno} is not Python", file=sys.stderr)
        return None


def functions(source, kinds=FUNCTIONS):
    """Every function of a file, nested ones too, with its qualified name; `kinds` may ask for classes also."""
    yield from _functions(source, source.tree, "", True, kinds)


def _functions(source, parent, prefix, public, kinds):
    """The functions below one node, whose names begin with `prefix`."""
    for node in ast.iter_child_nodes(parent):
        inner, seen = prefix, public
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            open_name = public and not node.name.startswith("_")
            if isinstance(node, kinds):
                yield Function(source, prefix + node.name, node, open_name)
            inner = f"{prefix}{node.name}."
            seen = open_name and isinstance(node, ast.ClassDef)
        yield from _functions(source, node, inner, seen, kinds)


def nodes(sources, *kinds):
    """(source, node) for each node of some kinds, in all files."""
    for source in sources:
        for node in source.nodes:
            if isinstance(node, kinds):
                yield source, node


def name_of(node):
    """The last name of a name or attribute: `f` of `a.b.f`; "" of anything else."""
    return getattr(node, "attr", getattr(node, "id", ""))


def called(node):
    """The last name of what a call calls; "" if the node is no call."""
    return name_of(node.func) if isinstance(node, ast.Call) else ""


def targets(node):
    """What an assignment assigns to, with tuples taken apart."""
    found = list(node.targets) if isinstance(node, ast.Assign) else [node.target]
    flat = []
    while found:
        target = found.pop(0)
        if isinstance(target, (ast.Tuple, ast.List)):
            found = list(target.elts) + found
        else:
            flat.append(target)
    return flat


def pairs(node):
    """(target, value) of an assignment; `a, b = x, y` gives two."""
    for target in getattr(node, "targets", [getattr(node, "target", None)]):
        if parallel(target, node.value):
            yield from zip(target.elts, node.value.elts)
        else:
            yield target, node.value


def parallel(target, value):
    """Whether a tuple of values is assigned to a tuple of as many targets."""
    return isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts)


# Sizes ---------------------------------------------------------------------------------------------------------------

def size_rows(sources):
    """Files, folders, and the lengths of modules, functions and lines."""
    folders = sorted({source.name.rpartition("/")[0] for source in sources})
    return [
        Row("files", [len(sources)]),
        Row("folders that hold modules", [len(folders)], places=folders),
        *module_rows(sources),
        *function_rows(sources),
        *line_rows([line for source in sources for line in source.lines]),
    ]


def module_rows(sources):
    """How long the modules are; the long ones are listed."""
    lengths = [len(source.lines) for source in sources]
    above = [f"{source.name}: {len(source.lines)} lines" for source in sources if len(source.lines) > 300]
    over = [sum(n > limit for n in lengths) for limit in (300, 400)]
    return [Row("module lines: median / longest", [quantile(lengths, .5), max(lengths, default=None)]),
            Row("modules above 300 / 400 lines", over, places=above)]


def function_rows(sources):
    """How long the functions are, from `def` to the last line."""
    spans = [(f.node.end_lineno - f.node.lineno + 1, s.place(f.node)) for s in sources for f in functions(s)]
    lengths = [length for length, _ in spans]
    longest, where = max(spans, default=(None, ""))
    sizes = [quantile(lengths, .5), quantile(lengths, .9), longest]
    return [Row("functions", [len(lengths)]),
            Row("function lines: median / p90 / longest", sizes, places=[where])]


def line_rows(lines):
    """How long the lines are that hold anything."""
    lengths = [len(line) for line in lines if line.strip()]
    over = [percent(sum(n > limit for n in lengths), len(lengths)) for limit in (120, 140)]
    wide = [quantile(lengths, .5), quantile(lengths, .95), max(lengths, default=None)]
    return [Row("lines of text or code", [len(lengths)]),
            Row("line length: median / p95 / longest", wide),
            Row("lines above 120 / 140", over, "%"),
            Row("lines above 120 / 140, number", [sum(n > limit for n in lengths) for limit in (120, 140)])]


def complexity(function):
    """Cyclomatic complexity: one, and one for each branch, loop, condition and `and`/`or`, in inner functions too."""
    total = 1
    for node in ast.walk(function):
        if isinstance(node, BRANCHES):
            total += 1
        if isinstance(node, ast.comprehension):
            total += len(node.ifs)
        if isinstance(node, ast.BoolOp):
            total += len(node.values) - 1
    return total


def complexity_rows(sources):
    """How many ways lead through the functions."""
    found = [(complexity(f.node), s.place(f.node)) for s in sources for f in functions(s)]
    scores = [score for score, _ in found]
    worst, where = max(found, default=(None, ""))
    above = [f"{place} {score}" for score, place in sorted(found, reverse=True) if score > 10]
    return [Row("complexity: p90 / largest", [quantile(scores, .9), worst], places=[where]),
            Row("the most complex function", [where.rpartition(" ")[2]], places=[where]),
            Row("functions of complexity above 10", [len(above)], places=above)]


def docstring_rows(sources):
    """How many public functions, classes and methods say what they are for; `__init__` and its like are not asked."""
    public = [f for s in sources for f in functions(s, (*FUNCTIONS, ast.ClassDef)) if f.public]
    bare = [f"{f.source.name}:{f.node.lineno} {f.name}" for f in public if not ast.get_docstring(f.node)]
    no_class = [f for f in public if isinstance(f.node, FUNCTIONS)]
    said = sum(bool(ast.get_docstring(f.node)) for f in no_class)
    return [Row("public functions, classes, methods", [len(public)]),
            Row("… with a docstring", [percent(len(public) - len(bare), len(public))], "%", bare),
            Row("… with a docstring, classes left out", [percent(said, len(no_class))], "%")]


# Habits --------------------------------------------------------------------------------------------------------------

def joins(source):
    """Where a semicolon separates two statements."""
    tokens = tokenize.generate_tokens(io.StringIO(source.text).readline)
    return [f"{source.name}:{t.start[0]}" for t in tokens if t.type == tokenize.OP and t.string == ";"]


def semicolon_row(sources):
    """Semicolons for a thousand lines of code."""
    found = [place for source in sources for place in joins(source)]
    total = sum(source.code_lines for source in sources)
    rate = round(1000*len(found)/total, 1) if total else None
    return Row("`;` joins: per thousand lines of code / all", [rate, len(found)], places=found)


def crowded_lines(sources):
    """Lines on which two or more assignments stand as statements of their own."""
    seen = defaultdict(int)
    for source, node in nodes(sources, *ASSIGNMENTS):
        seen[f"{source.name}:{node.lineno}"] += 1
    return counted("lines with several assignments / files", [place for place, n in seen.items() if n > 1])


def parallel_assignments(sources):
    """Several assignments written as one: `a, b = x, y`."""
    found = [(len(n.value.elts), s.place(n)) for s, n in nodes(sources, ast.Assign)
             if any(parallel(t, n.value) for t in n.targets)]
    return Row("assignments like `a, b = x, y`: all / of three or more", [len(found), sum(n > 2 for n, _ in found)],
               places=[f"{place} {n}" for n, place in found])


def holds_lambda(value):
    """Whether a value is a lambda, or a choice between some."""
    if isinstance(value, ast.IfExp):
        return holds_lambda(value.body) or holds_lambda(value.orelse)
    return isinstance(value, ast.Lambda)


def named_lambdas(sources):
    """Lambdas that an assignment gives a name."""
    found = [source.place(node) for source, node in nodes(sources, ast.Assign, ast.AnnAssign, ast.NamedExpr)
             for _, value in pairs(node) if holds_lambda(value)]
    return counted("lambdas with a name / files", found)


def hides_none(annotation, default):
    """Whether a default is None although the annotation names a type that does not allow it."""
    if annotation is None or not (isinstance(default, ast.Constant) and default.value is None):
        return False
    return not re.search(r"\bNone\b|\bOptional\b|\bAny\b|\bobject\b", ast.unparse(annotation))


def defaults(arguments):
    """(argument, default) of every argument that has a default."""
    plain = arguments.posonlyargs + arguments.args
    first = len(plain) - len(arguments.defaults)
    yield from zip(plain[first:], arguments.defaults)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults)


def implicit_optionals(sources):
    """Arguments, and fields of classes, that are None without saying so; fields are what ruff's RUF013 leaves out."""
    arguments = [source.place(argument) for source, node in nodes(sources, ast.arguments)
                 for argument, default in defaults(node) if hides_none(argument.annotation, default)]
    fields = [source.place(item) for source, node in nodes(sources, ast.ClassDef) for item in node.body
              if isinstance(item, ast.AnnAssign) and hides_none(item.annotation, item.value)]
    return Row("implicit Optionals: arguments / fields", [len(arguments), len(fields)], places=arguments + fields)


def open_keywords(sources):
    """Public functions and methods that take any keyword, without `@delegates` to say which."""
    found = []
    for source in sources:
        for f in functions(source):
            marks = {called(d) or name_of(d) for d in f.node.decorator_list}
            if f.public and f.node.args.kwarg and "delegates" not in marks:
                found.append(f"{source.name}:{f.node.lineno} {f.name}")
    return counted("public functions with `**kwargs` / files", found)


def lone_texts(source):
    """The texts that stand alone as statements: docstrings, and strings that are discarded."""
    return {id(n.value) for n in source.nodes if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}


def partial_files(sources):
    """Where a file is written beside its place first: a text that ends in `.partial`, patterns of cleaners left out."""
    found = []
    for source in sources:
        prose = lone_texts(source)
        for node in source.nodes:
            text = node.value if isinstance(node, ast.Constant) and id(node) not in prose else None
            if isinstance(text, str) and PARTIAL.search(text) and "*" not in text:
                found.append(source.place(node))
    return counted("places that write `.partial` / files", found)


# Classes altered from outside ----------------------------------------------------------------------------------------

def class_names(sources):
    """The names of all classes of some files."""
    return {node.name for _, node in nodes(sources, ast.ClassDef)}


def attached_methods(sources):
    """Methods that a class is given outside its body, by assignment or by `setattr`, at module level."""
    known, found = class_names(sources), []
    for source in sources:
        for statement in source.tree.body:
            found += [f"{source.name}:{statement.lineno} {name}" for name in attached(statement, known)]
    return counted("methods attached from outside / files", found)


def attached(statement, known):
    """A text for each method that one statement attaches; a loop attaches one for each item of its tuple."""
    if isinstance(statement, ast.Assign):
        return [ast.unparse(t) for t in targets(statement) if is_attribute(t, known)]
    if isinstance(statement, (ast.Expr, ast.For)):
        return [ast.unparse(item)[:60] for item in items_set(statement, known)]
    return []


def items_set(statement, known):
    """What `setattr` hangs on a class: the items that a loop goes through, or the statement itself."""
    calls = [node for node in ast.walk(statement) if called(node) == "setattr" and node.args]
    items = getattr(getattr(statement, "iter", None), "elts", [statement])
    return [item for call in calls if name_of(call.args[0]) in known for item in items]


def is_attribute(target, known):
    """Whether a target is an attribute of one of the names that are known."""
    return isinstance(target, ast.Attribute) and name_of(target.value) in known


def scopes(source):
    """The outermost functions of a file and of its classes: what is named in one is known in its inner functions."""
    stack = [source.tree]
    while stack:
        for node in ast.iter_child_nodes(stack.pop()):
            if isinstance(node, FUNCTIONS):
                yield node
            elif isinstance(node, (ast.ClassDef, ast.If, ast.Try)):
                stack.append(node)


def is_data(value, known):
    """Whether an expression gives a data set: one that is known, one made here, or a copy; in a choice, either."""
    if isinstance(value, ast.IfExp):
        return is_data(value.body, known) or is_data(value.orelse, known)
    if called(value) in ("copy", "deepcopy", "replace"):
        return bool(value.args) and is_data(value.args[0], known)
    if called(value) == DATA_CLASS:
        return True
    return name_of(value) in known


def data_names(function):
    """Names that hold a `SpectrogramData` in a function: `data`, what is annotated so, what is assigned from one."""
    known = {"data"} | {n.arg for n in ast.walk(function) if isinstance(n, ast.arg) and says_data(n.annotation)}
    assigned = [n for n in ast.walk(function) if isinstance(n, ast.Assign)]
    for node in sorted(assigned, key=lambda n: n.lineno):
        known |= {name_of(t) for t, value in pairs(node) if name_of(t) and is_data(value, known)}
    return known


def says_data(annotation):
    """Whether an annotation names the data set's class."""
    return annotation is not None and DATA_CLASS in ast.unparse(annotation)


def alterations(function):
    """Statements of a function that assign to an attribute of a data set, or call `setattr` on one."""
    known = data_names(function)
    for node in ast.walk(function):
        if isinstance(node, ASSIGNMENTS):
            if any(is_attribute(t, known) for t in targets(node)):
                yield node
        elif called(node) in ("setattr", "__setattr__") and node.args and name_of(node.args[0]) in known:
            yield node


def data_altered(sources):
    """Where a `SpectrogramData` is altered outside the module that defines it."""
    homes = {source.name for source, node in nodes(sources, ast.ClassDef) if node.name == DATA_CLASS}
    found = [f"{source.name}:{node.lineno} {ast.unparse(node)[:60]}" for source in sources if source.name not in homes
             for function in scopes(source) for node in alterations(function)]
    return counted(f"{DATA_CLASS} altered from outside / files", found)


# A latent's kind -----------------------------------------------------------------------------------------------------

def asks_kind(node):
    """Whether a node asks a latent's kind: compares it, tests a class or its fields, or looks something up by kind."""
    if isinstance(node, ast.Compare):
        return any(is_kind(part) for side in [node.left, *node.comparators] for part in getattr(side, "elts", [side]))
    if isinstance(node, ast.Dict):
        return KINDS <= {str(getattr(key, "value", name_of(key))).lower() for key in node.keys}
    if isinstance(node, ast.Call):
        return tests_class(node)
    return isinstance(node, ast.Match) and is_kind(node.subject)


def tests_class(call):
    """Whether a call asks if something is a distribution of one kind, or has the logits that only one kind has."""
    if len(call.args) < 2:
        return False
    if called(call) == "isinstance":
        return any(is_kind(n) for n in ast.walk(call.args[1]))
    return called(call) in ("hasattr", "getattr") and getattr(call.args[1], "value", "") == "logits"


def is_kind(node):
    """Whether a node is a kind's name as a text, a class of a kind, or a `.latent` that holds one."""
    if isinstance(node, ast.Constant):
        return node.value in KINDS
    return getattr(node, "attr", "") == "latent" or bool(KIND_CLASS.match(name_of(node)))


def declares_latent(node):
    """Whether a class has a field `latent`: the settings, which say what the kinds are."""
    return isinstance(node, ast.ClassDef) and any(
        isinstance(item, ast.AnnAssign) and name_of(item.target) == "latent" for item in node.body)


def kind_asked(sources):
    """Where a latent's kind is asked, outside the settings that declare it."""
    found = []
    for source in sources:
        own = {id(n) for c in source.nodes if declares_latent(c) for n in ast.walk(c)}
        found += [source.place(n) for n in source.nodes if id(n) not in own and asks_kind(n)]
    return counted("places that ask a latent's kind / files", found)


# Names ---------------------------------------------------------------------------------------------------------------

def public_names(source):
    """What a module defines at its top for others: functions, classes and constants in capitals."""
    found = set()
    for node in source.tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            found |= {t.id for t in targets(node) if isinstance(t, ast.Name) and t.id.isupper()}
    return {name for name in found if not name.startswith("_")}


def shared_names(sources):
    """Public names that two modules define."""
    homes = defaultdict(list)
    for source in sources:
        for name in public_names(source):
            homes[name].append(source.name)
    found = [f"{name}: {', '.join(where)}" for name, where in sorted(homes.items()) if len(where) > 1]
    return Row("public names in two modules", [len(found)], places=found)


# Chapters ------------------------------------------------------------------------------------------------------------

def chapters(root):
    """{name: cells} of each numbered notebook; a cell is (kind, text)."""
    found = {}
    for path in sorted((root / "nbs").glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found[path.name] = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return found


def calls_in(text):
    """The names that a cell calls; none of a cell that is not Python."""
    lines = [line for line in text.splitlines() if not re.match(r"\s*[%!]", line)]
    try:
        return {called(node) for node in ast.walk(ast.parse("\n".join(lines)))}
    except SyntaxError:
        return set()


def repeats_preparation(cells):
    """Whether a chapter has a cell that calls `clean` and `prepare`, apart from what it exports to the library."""
    own = [text for kind, text in cells if kind == "code" and not re.search(r"^#\s*\|\s*export", text, re.M)]
    return any({"clean", "prepare"} <= calls_in(text) for text in own)


def chapter_rows(root):
    """Sizes of the chapters, and how many of them make the data anew."""
    book = chapters(root)
    cells = {name: len(found) for name, found in book.items()}
    code = [(len(text.splitlines()), f"{name}: cell {i}") for name, found in book.items()
            for i, (kind, text) in enumerate(found) if kind == "code"]
    longest = max(code, default=(None, ""))
    large = [f"{name}: {n}" for name, n in cells.items() if n > 60]
    again = [name for name, found in book.items() if repeats_preparation(found)]
    most = max(cells, key=cells.get, default="")
    return [Row("chapters", [len(book)]),
            Row("cells per chapter: median / largest", [quantile(cells.values(), .5), cells.get(most)], places=[most]),
            Row("chapters above 60 cells", [len(large)], places=large),
            Row("longest code cell, lines", [longest[0]], places=[longest[1]]),
            Row("chapters that clean and prepare in a cell", [len(again)], places=again)]


def seconds_rows(log):
    """Processor seconds that the notebooks' tests took, from a saved log of `tools/run_tests.py`."""
    found = re.findall(r"^\s*passed\s+(\S+).*processor (\d+(?:\.\d+)?) s", log, re.M)
    spent = sorted(((float(seconds), name) for name, seconds in found), reverse=True)
    total = sum(seconds for seconds, _ in spent)
    return [Row("tests, processor seconds: all / largest", [total, spent[0][0] if spent else None],
                places=[f"{name}: {seconds:g}" for seconds, name in spent]),
            Row("tests that said their seconds", [len(spent)])]


# The table -----------------------------------------------------------------------------------------------------------

def code_rows(sources):
    """The rows that are measured of the library and of the tools."""
    return [*size_rows(sources), *docstring_rows(sources), *complexity_rows(sources), semicolon_row(sources),
            crowded_lines(sources), parallel_assignments(sources), named_lambdas(sources), implicit_optionals(sources),
            attached_methods(sources), data_altered(sources), kind_asked(sources), partial_files(sources)]


def measure(root, log=None):
    """{section: rows} of one checkout."""
    library = read_sources(root, PACKAGE)
    if not library:
        sys.exit(f"{root} holds no {PACKAGE}/: name the folder of a checkout")
    sections = {"library": [*code_rows(library), open_keywords(library), shared_names(library)],
                "tools": code_rows(read_sources(root, "tools", "experiments")),
                "chapters": chapter_rows(root)}
    if log:
        sections["tests"] = seconds_rows(log.read_text(encoding="utf-8", errors="replace"))
    return sections


def labels(houses):
    """(section, label) of every row that any checkout has, in order."""
    found = {}
    for house in houses.values():
        for section, rows in house.items():
            found |= {(section, row.label): None for row in rows}
    return list(found)


def find(house, section, label):
    """The row of a checkout, or None."""
    return next((row for row in house.get(section, []) if row.label == label), None)


def table(houses):
    """The table as text: a line for each row, a column for each checkout."""
    lines = [["", *houses]]
    section = None
    for at, label in labels(houses):
        if at != section:
            lines += [[""], [at]]
            section = at
        rows = [find(house, at, label) for house in houses.values()]
        lines.append(["  " + label, *(row.shown() if row else "–" for row in rows)])
    widths = [max(len(line[i]) for line in lines if len(line) > i) for i in range(len(houses) + 1)]
    return "\n".join(aligned(line, widths) for line in lines)


def aligned(line, widths):
    """One line of the table, the label to the left and the numbers to the right."""
    label, *numbers = line
    return (label.ljust(widths[0]) + "".join(f"  {n:>{w}}" for n, w in zip(numbers, widths[1:]))).rstrip()


def places(houses):
    """What was counted, row by row, as text."""
    lines = []
    for root, house in houses.items():
        for section, rows in house.items():
            for row in rows:
                if row.places:
                    lines += ["", f"{root}, {section}: {row.label} ({row.shown()})"]
                    lines += [f"  {place}" for place in row.places]
    return "\n".join(lines)


def as_json(houses):
    """The same for a machine."""
    plain = {root: {section: {row.label: {"values": row.values, "places": row.places} for row in rows}
                    for section, rows in house.items()} for root, house in houses.items()}
    return json.dumps(plain, indent=1, ensure_ascii=False)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the structure of checkouts and print one column for each.")
    parser.add_argument("roots", nargs="*", metavar="ROOT", help="folder of a checkout (default: this one)")
    parser.add_argument("--json", action="store_true", help="print JSON, with the places behind each count")
    parser.add_argument("-v", "--verbose", action="store_true", help="list the places behind each count")
    parser.add_argument("--seconds", action="append", type=Path, default=[], metavar="LOG",
                        help="saved log of tools/run_tests.py; once for each ROOT, in their order")
    return parser.parse_args()


def column_names(roots):
    """The name of each column: the last part of a path where these differ, else the path as it was given."""
    last = [root.resolve().name for root in roots]
    return last if len(set(last)) == len(last) else [str(root) for root in roots]


def main():
    """Measure the checkouts that are named, and print them."""
    options = arguments()
    roots = [Path(root) for root in options.roots] or [Path(__file__).resolve().parent.parent]
    logs = options.seconds + [None]*len(roots)
    houses = {name: measure(root, log) for name, root, log in zip(column_names(roots), roots, logs)}
    print(as_json(houses) if options.json else table(houses))
    if options.verbose and not options.json:
        print(places(houses))


if __name__ == "__main__":
    main()
