"""Draw the site's favicon and its social card:

a sentence of the bundled corpus, heard up to a line and imagined after it.

    python tools/site/make_art.py

The sentence is synthetic, the model is `mini`, which comes with the library, and everything drawn is what it gives.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # notebooks.py serves all tools
from notebooks import NBS, ROOT

sys.path.insert(0, str(ROOT))
from spectro_dreamer.figures import CYCLE, DECIBELS, LEVEL_MAP
from spectro_dreamer.dream.imagination import imagine
from spectro_dreamer.data.preprocessing import DB_PER_NAT, bundled_corpus
from spectro_dreamer.model.world_model import load

GROUND = "#0b0714"  # nearly the dark end of the map of levels


def picture(context=1.6, seconds=2.4, seed=4):
    """Decibels (M, N) of what was heard and then imagined, and the share of it that was heard."""
    torch.set_num_threads(1)
    dream = imagine(
        load("mini"),
        bundled_corpus() / "clips" / "sd_en_0001.mp3",
        context,
        seconds,
        samples=1,
        temperature=0.8,
        seed=seed,
    )
    return DB_PER_NAT * dream.spec[0].numpy().T, dream.context_frames / dream.spec.shape[1]


def paint(ax, levels, heard, width):
    """The spectrogram from edge to edge, and the line where the ears close."""
    ax.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap=LEVEL_MAP,
        vmin=DECIBELS[0],
        vmax=DECIBELS[1] - 15,
        interpolation="nearest",
        extent=(0, 1, 0, 1),
    )
    ax.axvline(heard, color="w", lw=width, ls=(0, (3, 2)))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.axis("off")


def canvas(width, height, dpi=100):
    """A dark figure of that many pixels, without margins."""
    return plt.figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor=GROUND)


def card(levels, heard, path):
    """1200 x 630 pixels, as those who show links ask for."""
    fig = canvas(1200, 630)
    paint(fig.add_axes((0, 0, 1, 0.62)), levels[:68], heard, 3)
    fig.text(0.055, 0.80, "Spectro Dreamer", color="w", fontsize=54, weight="bold", family="DejaVu Sans")
    fig.text(
        0.058,
        0.695,
        "a world model of sound: heard up to the line, imagined after it",
        color="#d8d2e0",
        fontsize=20.5,
        family="DejaVu Sans",
    )
    save(fig, path, colors=96)


def favicon(path):
    """64 x 64 pixels: eight bars of a spectrum; the last three, imagined, in another colour."""
    fig = canvas(64, 64, dpi=64)
    ax = fig.add_axes((0.08, 0.08, 0.84, 0.84))
    heights = np.array([0.35, 0.75, 1.0, 0.6, 0.85, 0.7, 0.45, 0.25])
    ax.bar(range(8), heights, bottom=-heights / 2, width=0.66, color=[CYCLE[5]] * 5 + [CYCLE[3]] * 3)
    ax.set(xlim=(-0.5, 7.5), ylim=(-0.55, 0.55))
    ax.axis("off")
    save(fig, path, colors=32)


def save(fig, path, colors):
    """A PNG with a palette, small."""
    from io import BytesIO
    from PIL import Image

    raw = BytesIO()
    fig.savefig(raw, format="png", dpi=fig.dpi, facecolor=GROUND)
    plt.close(fig)
    path.parent.mkdir(exist_ok=True)
    Image.open(raw).convert("RGB").quantize(colors).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.1f} kB")


def main():
    """Write both."""
    card(*picture(), NBS / "images" / "card.png")
    favicon(NBS / "images" / "favicon.png")


if __name__ == "__main__":
    main()
