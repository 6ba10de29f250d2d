"""Draw the site's favicon and its social card, and make the sounds and pictures of its first page.

The card shows a sentence of the bundled corpus, heard up to a line and imagined after it. The first page has a sentence
as it was spoken, drawn again, its beginning imagined further, and a typed sentence said.

    python tools/site/make_art.py [card] [front]

The sentences are synthetic, the models are `mini` and `speak`, which come with the library, and everything drawn and
played is what they give.
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
from spectro_dreamer import imagine as imagine_recording
from spectro_dreamer import reconstruct, say
from spectro_dreamer.config import FrontEnd
from spectro_dreamer.figures import CYCLE, DECIBELS, LEVEL_MAP
from spectro_dreamer.dream.imagination import imagine
from spectro_dreamer.data.front_ends import log_spectrogram
from spectro_dreamer.data.preprocessing import DB_PER_NAT, bundled_corpus, read_audio
from spectro_dreamer.model.world_model import load
from spectro_dreamer.players import save_players

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


SENTENCE = "The wind has opened the window again."
CLIP = "sd_en_0102.mp3"  # a sentence and a voice that `mini` has not heard
HEARD = 1.0  # seconds, before it goes on alone


def front_sounds():
    """The four sounds of the first page, by the names of their files, and their sample rate."""
    clip = bundled_corpus() / "clips" / CLIP
    heard = read_audio(clip, FrontEnd().sample_rate)
    dream = imagine_recording("mini", clip, context=HEARD, seconds=2.5, seed=1)
    said = say("speak", SENTENCE, voice=clip, seed=0)
    return {
        "front_heard": heard,
        "front_again": reconstruct("mini", clip).wave(),
        "front_imagined": dream.wave(),
        "front_said": said.wave(),
    }, FrontEnd().sample_rate


def strip(wave, path, border=None):
    """The spectrogram of a sound from edge to edge, 60 dB down from its loudest; a line where the ears close."""
    front_end = FrontEnd()
    levels = DB_PER_NAT * log_spectrogram(wave, front_end).T
    fig = canvas(1200, 200)
    ax = fig.add_axes((0, 0, 1, 1))
    at = 2 if border is None else border * front_end.sample_rate / len(wave)  # 2 lies outside
    paint(ax, levels - levels.max() + DECIBELS[1] - 15, at, 3)
    save(fig, path, colors=64)


def front():
    """The sounds of the first page, at the level of all players, and their pictures."""
    sounds, rate = front_sounds()
    save_players(sounds, rate, folder=NBS / "audio")
    for name, wave in sounds.items():
        strip(wave, NBS / "images" / f"{name}.png", HEARD if name == "front_imagined" else None)


def main():
    """Write what is asked for, or all."""
    asked = sys.argv[1:] or ["card", "front"]
    if "card" in asked:
        card(*picture(), NBS / "images" / "card.png")
        favicon(NBS / "images" / "favicon.png")
    if "front" in asked:
        front()


if __name__ == "__main__":
    main()
