"""Write the tunes that ship with the library: `python tools/corpora/make_tunes.py [--check]`.

Nothing here is taken from a collection. Each tune is composed by rule from a seed of its own: two parts of eight bars,
each repeated; a chord for every bar; the notes that begin a beat belong to the chord, those between lead to the next;
bars 1 and 2 come back as 5 and 6; bar 4 rests on the dominant (or the flat seventh), bar 8 on the tonic. `--check`
compares and writes nothing.
"""

import random, sys
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "spectro_dreamer" / "tunes" / "tunes.abc"
N_TUNES = 108

# A metre: eighths in each group of a bar, what kind of dance it is, the rhythms of a group, the last bar, and the
# eighths of a pick-up.
METRES = {
    "6/8": ((3, 3), "Jig", [[1, 1, 1]] * 4 + [[2, 1], [2, 1], [3]], [[1, 1, 1], [3]], 1),
    "4/4": ((4, 4), "Reel", [[1, 1, 1, 1]] * 4 + [[2, 1, 1], [2, 2], [3, 1]], [[1, 1, 1, 1], [4]], 2),
    "3/4": ((6,), "Waltz", [[2, 2, 2], [2, 2, 2], [4, 2], [2, 1, 1, 2], [3, 1, 2]], [[6]], 2),
    "9/8": ((3, 3, 3), "Slip Jig", [[1, 1, 1]] * 4 + [[2, 1], [2, 1], [3]], [[1, 1, 1], [1, 1, 1], [3]], 1),
}
# A key: the letter of its tonic (C is 0, the C above is 7), whether its chords are those of major or of a mode with a
# flat seventh.
KEYS = {
    "G Major": (4, "major"),
    "D Major": (1, "major"),
    "A Major": (-2, "major"),
    "E Dorian": (2, "modal"),
    "A Dorian": (-2, "modal"),
    "E Minor": (2, "modal"),
    "D Mixolydian": (1, "modal"),
    "A Mixolydian": (-2, "modal"),
    "B Minor": (-1, "modal"),
}
# Chords by the degree of their root, one for each bar of a part.
CHORDS = {
    "major": [
        (0, 0, 3, 4, 0, 0, 4, 0),
        (0, 3, 0, 4, 0, 3, 4, 0),
        (0, 4, 3, 4, 0, 4, 4, 0),
        (5, 3, 0, 4, 5, 3, 4, 0),
        (0, 5, 3, 4, 0, 5, 4, 0),
    ],
    "modal": [(0, 0, 6, 6, 0, 0, 6, 0), (0, 6, 0, 6, 0, 6, 6, 0), (0, 2, 6, 6, 0, 2, 6, 0), (0, 3, 0, 6, 0, 3, 6, 0)],
}
FIRST = """Slow Quick Quiet Bright Broken Wooden Silver Patient Crooked Hollow Early Windy Narrow Borrowed Folded
    Northern Sleeping Humming""".split()
SECOND = """Formant Window Lattice Carrier Harmonic Octave Spindle Lantern Kettle Resistor Comb Filter Envelope
    Membrane Ledger Antenna Turbine Pebble""".split()


def letter(step):
    """The ABC name of a step of the staff: 0 is C, 7 the c above, -1 the B, below."""
    octave, name = divmod(step, 7)
    if octave <= 0:
        return "CDEFGAB"[name] + "," * -octave
    return "cdefgab"[name] + "'" * (octave - 1)


def chord_tones(root, tonic, low, high):
    """The steps between `low` and `high` that belong to the triad on a degree."""
    return [s for s in range(low, high + 1) if (s - tonic - root) % 7 in (0, 2, 4)]


def between(dice, a, b, n, tones):
    """`n` notes that lead from one step to the next: a walk where it fits, else a turn or the chord."""
    if n == 0:
        return []
    gap = b - a
    way = 1 if gap > 0 else -1
    if abs(gap) == n + 1:
        return [a + way * (k + 1) for k in range(n)]
    if n == 1:
        return [dice.choice([a + 1, a - 1, *(t for t in tones if 0 < abs(t - a) <= 4)])]
    if n == 2:
        return dice.choice([[a + 1, a], [a - 1, a], [a + 2, a + 1], [b + way, b - way], [a + way, b - way]])
    inner = dice.choice([a + 2, a - 2, *[t for t in tones if 0 < abs(t - a) <= 5]])
    return [inner, *between(dice, inner, b, n - 1, tones)]


def compose_bar(dice, rhythm, tones, here, goal=None):
    """One bar: (step, eighths) for each note. `here` is the note before, `goal` the last beat's note."""
    beats, near = [], here
    for k in range(len(rhythm)):
        close = [t for t in tones if abs(t - near) <= 4 and (t != near or dice.random() < 0.2)] or tones
        near = goal if goal is not None and k == len(rhythm) - 1 else dice.choice(close)
        beats.append(near)
    after = [*beats[1:], dice.choice([t for t in tones if abs(t - near) <= 3] or tones)]
    bar = []
    for a, b, lengths in zip(beats, after, rhythm):
        steps = [a, *between(dice, a, b, len(lengths) - 1, tones)]
        bar.append(list(zip((min(max(s, -3), 13) for s in steps), lengths)))
    return bar


def compose_part(dice, metre, key, high, ending):
    """Eight bars; `ending` gives bars 7 and 8 of an earlier part to end alike, or None."""
    groups, _, rhythms, last, pickup = METRES[metre]
    tonic, mode = KEYS[key]
    chords = dice.choice(CHORDS[mode])
    low, top = (tonic + 2, min(tonic + 11, 13)) if high else (max(tonic - 2, -3), tonic + 8)
    shapes = [[dice.choice(rhythms) for _ in groups] for _ in range(3)]
    bars, here = [], tonic + (7 if high else 0)
    for k in range(6):
        if k in (4, 5):
            bars.append(bars[k - 4])
            continue
        tones = chord_tones(chords[k], tonic, low, top)
        goal = min(tones, key=lambda t: abs(t - tonic - 4)) if k == 3 else None
        bars.append(compose_bar(dice, shapes[k % 2] if k < 3 else shapes[2], tones, here, goal))
        here = bars[-1][-1][-1][0]
    if ending:
        return bars + ending
    home = tonic + 7 * high
    bars.append(compose_bar(dice, shapes[0], chord_tones(chords[6], tonic, low, top), here))
    return bars + [compose_bar(dice, last, chord_tones(0, tonic, low, top), bars[-1][-1][-1][0], home)]


def spell(bar, drop=0):
    """A bar as ABC; `drop` eighths are left off its last note, for the pick-up that follows."""
    groups = [list(g) for g in bar]
    step, length = groups[-1][-1]
    groups[-1][-1] = (step, length - drop)
    words = [[letter(s) + (str(n) if n > 1 else "") for s, n in g if n] for g in groups]
    return " ".join((" " if len(words) == 1 else "").join(w) for w in words)


def compose(number):
    """Tune `number` as ABC text."""
    dice = random.Random(7_000 + number)
    metre, key = dice.choice(["6/8"] * 4 + ["4/4"] * 4 + ["3/4"] * 2 + ["9/8"]), dice.choice(list(KEYS))
    groups, dance, _, _, pickup = METRES[metre]
    pickup = pickup if dice.random() < 0.6 else 0
    first = compose_part(dice, metre, key, False, None)
    second = compose_part(dice, metre, key, True, first[6:] if dice.random() < 0.6 else None)
    name = f"The {FIRST[number % len(FIRST)]} {SECOND[(number + number // len(FIRST)) % len(SECOND)]}"
    lines = [
        f"X:{number}",
        f"T:{name}" + (f" {dance}" if dice.random() < 0.3 else ""),
        f"R:{dance.lower()}",
        f"M:{metre}",
        "L:1/8",
        f"K:{key}",
    ]
    for part in (first, second):
        lead = part[0][0][0][0]
        before = (
            "".join(letter(s) for s in ([lead - 1] if pickup == 1 else [lead - 2, lead - 1])) + "|" if pickup else "|:"
        )
        bars = [spell(b, pickup if k == 7 else 0) for k, b in enumerate(part)]
        lines += [before + "|".join(bars[:4]) + "|", "|".join(bars[4:]) + ":|"]
    return "\n".join(lines) + "\n"


def main():
    """Write the tunes, or with --check compare them with what is there."""
    text = "\n".join(compose(k) for k in range(1, N_TUNES + 1))
    if "--check" in sys.argv[1:]:
        sys.exit(0 if TARGET.read_text(encoding="utf-8") == text else f"{TARGET.name} is not what make_tunes.py writes")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text, encoding="utf-8")
    print(f"{N_TUNES} tunes, {len(text):,} characters, {len(set(text))} symbols")


if __name__ == "__main__":
    main()
