"""How a valid file becomes a wrong one: of any bytes, of text, of JSON, of archives, of data sets.

A mutation takes (dice, content) and returns content; the same dice give the same bytes. `dice` is a `random.Random`.
"""

import copy
import io
import json
import re
import struct
import zipfile

LARGE = (0, 1, 2, 127, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
HEAD = 512  # bytes in which most formats say their sizes


# Any bytes ----------------------------------------------------------------------------------------------------------

def place(dice, size):
    """A place in a file, every other time near its beginning."""
    return dice.randrange(min(size, HEAD) if dice.random() < .5 else size) if size else 0


def flip(dice, b):
    """A few bits turned about."""
    b = bytearray(b)
    for _ in range(dice.choice((1, 1, 2, 8, 64)) if b else 0): b[place(dice, len(b))] ^= 1 << dice.randrange(8)
    return bytes(b)


def cut(dice, b):
    """The end is missing."""
    return b[:place(dice, len(b))]


def grow(dice, b):
    """More behind the end."""
    return b + dice.choice((bytes(dice.randrange(4096)), dice.randbytes(dice.randrange(4096)), b, b[:len(b)//2]))


def drop(dice, b):
    """A part is missing."""
    at = place(dice, len(b))
    return b[:at] + b[at + dice.choice((1, 2, 4, 64, 1024)):]


def repeat(dice, b):
    """A part is there twice."""
    at, n = place(dice, len(b)), dice.choice((1, 4, 64, 1024))
    return b[:at + n] + b[at:]


def splice(dice, b):
    """A part in the place of another."""
    source, target, n = place(dice, len(b)), place(dice, len(b)), dice.choice((4, 16, 256, 4096))
    return b[:target] + b[source:source + n] + b[target + n:]


def number(dice, b):
    """A size or an offset that cannot be true."""
    width, order = dice.choice((1, 2, 4, 8)), dice.choice(("little", "big"))
    at, value = place(dice, len(b)), dice.choice(LARGE) % 256**width
    return b[:at] + value.to_bytes(width, order) + b[at + width:]


def blank(dice, b):
    """A part that a disk has lost."""
    at, n = place(dice, len(b)), dice.choice((4, 64, 512, 4096))
    return b[:at] + dice.choice((b"\0", b"\xff"))*min(n, len(b) - at) + b[at + n:]


def swap(dice, b):
    """Two parts in each other's place."""
    n = dice.choice((2, 4, 8, 64))
    i, j = sorted((place(dice, len(b)), place(dice, len(b))))
    if j - i < n: return b[::-1][:len(b)]
    return b[:i] + b[j:j + n] + b[i + n:j] + b[i:i + n] + b[j + n:]


def several(dice, b):
    """Some of these, one after the other."""
    for _ in range(dice.randrange(2, 5)): b = dice.choice(BYTES)(dice, b)
    return b


BYTES = (flip, cut, grow, drop, repeat, splice, number, blank, swap)
ANY = (*BYTES, several)


# Text ---------------------------------------------------------------------------------------------------------------

WORDS = ("", "-1", "0", "1e999", "nan", "NaN", "-Infinity", "9"*30, "9"*5000, "1e308", "0x10", "null", "true", "'", '"',
         "\t", "\n", "\r", "\0", "\ufeff", "\u202e", "\U0001f600", "é", "[", "]", "{", "}", "["*3000, "{\"a\":"*2000,
         "&a", "*a", "!!python/object:os.system", "2020-99-99", "../../etc/passwd", "://", "%s", "sep=;", ",", ";",
         "x"*70000)


def words(dice, b):
    """A number, a word or a place in a text becomes something that nobody expects there."""
    text = b.decode("utf-8", "replace")
    found = list(re.finditer(dice.choice((r"-?\d+\.?\d*(?:e-?\d+)?", r"\w+", r"[^\w\s]", r"(?=.)")), text))
    if not found: return b
    at = dice.choice(found)
    return (text[:at.start()] + dice.choice(WORDS) + text[at.end():]).encode("utf-8", "replace")


def lines(dice, b):
    """Lines that are missing, doubled, joined or in another order."""
    rows = b.splitlines(keepends=True)
    if len(rows) < 2: return b + b
    i, j = dice.randrange(len(rows)), dice.randrange(len(rows))
    how = dice.randrange(4)
    if how == 0: del rows[i]
    elif how == 1: rows.insert(i, rows[j])
    elif how == 2: rows[i] = rows[i].rstrip(b"\r\n")
    else: rows[i], rows[j] = rows[j], rows[i]
    return b"".join(rows)


def encoded(dice, b):
    """The same text in another encoding, with other ends of lines."""
    text = b.decode("utf-8", "replace").replace("\n", dice.choice(("\n", "\r", "\r\n", "\n\n", "\v")))
    return text.encode(dice.choice(("utf-16", "utf-8-sig", "latin-1", "utf-32", "utf-7")), "replace")


TEXT = (words, words, words, lines, encoded, flip, cut, splice)


# JSON ---------------------------------------------------------------------------------------------------------------

STRANGE = (None, True, False, 0, -1, 1, 2, 4096, 16384, 10**5, 10**7, 2**31, 2**63, 10**30, -2**63, 0.5, -0.5, 1e-320,
           1e308, -1e308, float("nan"), float("inf"), "", "x", "1", "nan", "\0", "\ud800", "z"*3000, "../../x", [], {},
           [[]], [None], [0], [-1, 1], {"a": 1}, [1.5, "x"], [[1, 2], [3]], list(range(300)))


def places(tree, at=()):
    """The way to each value of a tree of dictionaries and lists."""
    yield at
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for key, value in inner: yield from places(value, (*at, key))


def changed(tree, at, do):
    """A tree in which `do(container, key)` was done to what holds the value at a place."""
    holder = copy.deepcopy(tree)
    holder = root = [holder]
    key = 0
    for step in at:
        if isinstance(holder[key], tuple): holder[key] = list(holder[key])
        holder, key = holder[key], step
    do(holder, key)
    return root[0] if root else None


def branch(dice, tree, strange=STRANGE):
    """One value of a tree is another, is missing, is doubled, or stands under another name."""
    spots = list(places(tree))
    at, other, how = dice.choice(spots), dice.choice(spots), dice.randrange(6)
    def do(holder, key):
        if how == 0 and holder: del holder[key]
        elif how == 1 and isinstance(holder, dict): holder[dice.choice(("", "x", "config", 5))] = holder.pop(key)
        elif how == 2: holder[key] = copy.deepcopy(value_at(tree, other))
        elif how == 3 and isinstance(holder[key], list): holder[key] = holder[key]*dice.choice((0, 2, 50))
        else: holder[key] = copy.deepcopy(dice.choice(strange))
    return changed(tree, at, do)


def value_at(tree, at):
    """What stands at a place of a tree."""
    for step in at: tree = tree[step]
    return tree


def dumped(tree):
    """A tree as JSON, whatever is in it."""
    def plain(x):
        if isinstance(x, dict): return {str(k): plain(v) for k, v in x.items()}
        return [plain(v) for v in x] if isinstance(x, list | tuple) else x
    return json.dumps(plain(tree)).encode("utf-8", "replace")


def tree(dice, b):
    """JSON with another value somewhere."""
    return dumped(branch(dice, json.loads(b)))


def tree_line(dice, b):
    """Lines of JSON, one of them with another value somewhere."""
    rows = b.splitlines()
    i = dice.randrange(len(rows))
    rows[i] = dumped(branch(dice, json.loads(rows[i])))
    return b"\n".join(rows) + b"\n"


# Archives: checkpoints, NPZ, safetensors -----------------------------------------------------------------------------

def member(dice, b):
    """An archive in which one member has other bytes, with the right sum of them."""
    members = {}
    with zipfile.ZipFile(io.BytesIO(b)) as z:
        for info in z.infolist(): members[info.filename] = z.read(info)
    name, how = dice.choice(sorted(members)), dice.randrange(6)
    if how == 0: del members[name]
    elif how == 1: members[dice.choice(("x", "../x", "/x", name + "/", name.upper()))] = members.pop(name)
    elif how == 2: members[name] = members[dice.choice(sorted(members))]
    else: members[name] = several(dice, members[name])
    out = io.BytesIO()
    kind = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(out, "w", kind) as z:
        for name, content in members.items(): z.writestr(zipfile.ZipInfo(name), content, kind)
    return out.getvalue()


def tensors(dice, b):
    """A checkpoint with another value somewhere: of the configuration, a tensor, a name."""
    import torch
    some = (torch.zeros(0), torch.zeros(3), torch.zeros(2, 2, dtype=torch.int64), torch.tensor(float("nan")),
            torch.zeros(1, dtype=torch.bool), torch.zeros(2, 3).to_sparse(), torch.zeros(4, dtype=torch.complex64))
    out = io.BytesIO()
    torch.save(branch(dice, torch.load(io.BytesIO(b), weights_only=True), (*STRANGE, *some)), out)
    return out.getvalue()


def arrays(dice, b):
    """An NPZ with another array somewhere."""
    import numpy as np
    with np.load(io.BytesIO(b)) as d: held = {k: d[k] for k in d.files}
    name = dice.choice(sorted(held))
    others = (np.zeros(0), np.zeros((0, 3)), np.array("x"), np.array([b"x", b"yy"]), np.array([None], object),
              np.zeros(3, "c16"), np.zeros((2, 2, 2)), np.full(4, np.nan), np.arange(5)[::-1], np.zeros(2, "M8[s]"),
              np.zeros(2, [("a", "i4")]), np.array(5), np.full((30, 4), 1e300), np.array(json.dumps([1])),
              held[dice.choice(sorted(held))])
    if dice.random() < .2: del held[name]
    else: held[name] = dice.choice(others)
    out = io.BytesIO()
    np.savez(out, **held)
    return out.getvalue()


def inner_json(dice, head, key):
    """Text of JSON that stands in a value of a dictionary becomes another."""
    try: head[key] = dumped(branch(dice, json.loads(head[key]))).decode()
    except (ValueError, KeyError, TypeError): head[key] = dice.choice(WORDS)


def header(dice, b):
    """Safetensors whose header says something else: a name, a type, a place, or the configuration in its metadata."""
    n = struct.unpack("<Q", b[:8])[0]
    head, about = json.loads(b[8:8 + n]), "__metadata__"
    if dice.random() < .5 and head.get(about): inner_json(dice, head[about], dice.choice(sorted(head[about])))
    else: head = branch(dice, head)
    text = dumped(head)
    return struct.pack("<Q", len(text)) + text + b[8 + n:]


def sealed(dice, b):
    """A header or a second of a file of bits that says something else, with the right checksum."""
    import binascii
    from spectro_dreamer.judge.bit_files import framed, read_header, seconds_of
    head, at = read_header(b)
    if dice.random() < .6:
        fixed = 3  # letters, which must be there
        told = b[:fixed] + dice.choice(BYTES)(dice, b[fixed:at - 2])
        return told + binascii.crc_hqx(told, 0).to_bytes(2, "big") + b[at:]
    parts = seconds_of(b, at, head.n_seconds)
    k = dice.randrange(len(parts))
    parts[k] = dice.choice((*BYTES, lambda dice, b: dice.randbytes(dice.randrange(400))))(dice, parts[k])
    return b[:at] + b"".join(framed(i, part) for i, part in enumerate(parts))


def graph(dice, b):
    """An ONNX graph that says something else of its model, or that lacks, repeats or changes a part."""
    import onnx
    proto = onnx.load_from_string(b)
    kinds = (proto.graph.node, proto.graph.initializer, proto.graph.input, proto.graph.output, proto.metadata_props)
    part = dice.choice([k for k in kinds if len(k)])
    i, how = dice.randrange(len(part)), dice.randrange(4)
    if how == 0: del part[i]
    elif how == 1: part.append(part[i])
    elif part is proto.metadata_props: part[i].value = dumped(branch(dice, json.loads(part[i].value))).decode()
    elif part is proto.graph.node: part[i].op_type = dice.choice(("Add", "MatMul", "Relu", "Reshape", "Nothing"))
    elif part is proto.graph.initializer and how == 2: part[i].raw_data = several(dice, part[i].raw_data)
    else: part[i].name = dice.choice(("x", "", "h", "token"))
    return proto.SerializeToString()


# HDF5 ---------------------------------------------------------------------------------------------------------------

def members_of(f):
    """The names of all that is in an HDF5 file."""
    names = []
    f.visit(names.append)
    return names


def other_array(dice, f, name):
    """An array, or a group, in the place of another."""
    import h5py
    import numpy as np
    was = f[name]
    shape = getattr(was, "shape", (3,)) or (1,)
    some = (np.zeros(shape, "i8"), np.full(shape, -1, "i8"), np.full(shape, 2**62, "i8"), np.full(shape, np.nan, "f4"),
            np.zeros((0, *shape[1:]), "f4"), np.zeros((*shape, 2), "f4"), np.zeros(shape[:1]), np.float32(0),
            np.full(shape, b"x"), np.zeros(shape, "c8"), np.zeros(shape, [("a", "i4")]), np.zeros(shape, "f2"),
            np.zeros((shape[0] + 1, *shape[1:]), "f4"), h5py.Empty("f4"))
    del f[name]
    how = dice.randrange(5)
    if how == 0: f.create_group(name)
    elif how == 1: f.create_dataset(name, shape, maxshape=(None,)*len(shape), chunks=True, dtype="f4")
    elif how == 2: f.create_dataset(name, (10**8, *shape[1:]), chunks=True, dtype="f4")
    else: f[name] = dice.choice(some)


def shaken(dice, f, name):
    """The values of an array, each a little or altogether another."""
    import numpy as np
    d = f[name]
    if not hasattr(d, "shape") or d.dtype.kind not in "iuf" or not d.size: return other_array(dice, f, name)
    x = d[()].reshape(-1)
    big = (0, -1, 1, 10**6, 2**31 - 1, 100) if d.dtype.itemsize < 8 else (0, -1, 10**6, 2**62, -2**62)
    with np.errstate(all="ignore"):
        for _ in range(dice.choice((1, 2, len(x)))):
            x[dice.randrange(len(x))] = np.array(dice.choice(big)).astype(x.dtype)
    d[()] = x.reshape(d.shape)


def attribute(dice, f, name):
    """An attribute with another value."""
    attrs = f[name].attrs if name in f and len(f[name].attrs) else f.attrs
    if not len(attrs): return
    key = dice.choice(sorted(attrs))
    said = {key: attrs[key]}
    if isinstance(said[key], str) and said[key][:1] in "[{" and dice.random() < .7: inner_json(dice, said, key)
    else: said[key] = dice.choice((0, -1, 1e308, float("nan"), "", "x", "[]", "{}", [1, 2], b"x", 10**9, "9"*50))
    if dice.random() < .1: del attrs[key]
    else: attrs[key] = said[key].encode("utf-8", "replace") if isinstance(said[key], str) and \
        "\ud800" in said[key] else said[key].replace("\0", "?") if isinstance(said[key], str) else said[key]


def link(dice, f, name):
    """A name that leads to somewhere else."""
    import h5py
    del f[name]
    f[name] = dice.choice((h5py.SoftLink("/"), h5py.SoftLink("/nowhere"), h5py.ExternalLink("/etc/passwd", "/"),
                           h5py.ExternalLink("other.h5", "/")))


def hdf5(dice, b):
    """A data set in which one thing is another."""
    import h5py
    held = io.BytesIO(b)
    with h5py.File(held, "r+") as f:
        for _ in range(dice.choice((1, 1, 2))):
            name = dice.choice(members_of(f) or ["x"])
            if name not in f: continue
            how = dice.choice((other_array, other_array, shaken, shaken, shaken, attribute, attribute, attribute, link))
            how(dice, f, name)
    return held.getvalue()
