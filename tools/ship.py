"""Put a trained model into the library: weights in half precision and a card that says what it is.

    python tools/ship.py --run runs/mini/mini --metrics metrics.json --dataset runs/mini/learn.h5

    python tools/ship.py --run runs/speaker --name speak --speech nbs/results/speak.json --dataset speech.h5

The numbers of the card are those that `spectro_evaluate` wrote for the shipped weights themselves: evaluate
`spectro_dreamer/weights/NAME.safetensors`, not the run, and call this again with --metrics, when the row NAME stands in
nbs/results/across.json (`experiments/across.py --models NAME=RUN`). Those of a model that speaks are what
`experiments/speak.py` found (--speech). Called with neither it only writes the weights.
"""

import argparse, json, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from spectro_dreamer.config import SpectroError
from spectro_dreamer.data.dataset import SpectrogramData
from spectro_dreamer.files import write_text
from spectro_dreamer.learn.tracking import history
from spectro_dreamer.model.world_model import export_safetensors, load

CARD = """# {name}

A small world model of read speech ({parameters:.2f} million weights, {size:.1f} MB), made by this project:
`load("{name}")`, or `--checkpoint {name}` of any command.

## What it hears
{mels} mel bands at {rate} Hz, windows of {n_fft} samples, one every {hop}; tokens of {frames} frames, a new one every
{token_ms:.0f} ms. State: h of {h}, Gaussian z of {z}.

## What it learned from
Sentences read aloud: readers of [LibriSpeech](https://www.openslr.org/12) (English, CC BY 4.0, V. Panayotov, G. Chen,
D. Povey and S. Khudanpur; cut and re-encoded), and volunteers of
[Mozilla Common Voice](https://commonvoice.mozilla.org) (CC0) in English and {languages} other languages.
{train_clips:,} clips of {train_speakers} speakers ({train_hours:.1f} hours) were used for training, {val_clips} of
{val_speakers} other speakers to choose the epoch; a quarter of all speakers was kept apart to judge with. Common Voice
makes up half of every epoch; {rooms:.0%} of the sequences are heard in rooms that they were not recorded in, and bands
that are silent count as at least {band_floor:g} times as wide as the median one. {epochs} epochs, seed {seed}, preset
`{preset}`, β {beta:g}, on one CPU core (`experiments/mini.py`).

## How good it is
On the speakers who judge, and on engines, of which it has heard none: nats a token, and its error over that of the
Gaussian line of the corpus at the same nats ([chapter 52b](../../nbs/52b_across.ipynb)); 1 is as good as a code for
Gaussian processes that was made for that corpus.

{across}

On the speakers who chose the epoch, without style; ± is the standard error over clips.

{table}

Sound against the recording, {n_audio} of these clips, made with the vocoder without a network:

{sounds}

## What it is not
It knows nothing of music, and of noise only what stands behind voices. It has heard {train_hours:.1f} hours: what it
*imagines* is babble in the rhythm of speech. It has no text in it and recognises no words. Do not use it to imitate a
person's voice.
"""

SPEAKING_CARD = """# {name}

A small world model of read English speech that is told what to say ({parameters:.2f} million weights, {size:.1f} MB),
made by this project: `spectro_say "A sentence." --checkpoint {name}`, `say("{name}", "A sentence.")`.

## What it is told, and what it hears
Phones (the ARPAbet) of each token of {token_ms:.0f} ms and of the next {ahead}, hidden in {hidden:.0%} of the training
sequences; {mels} mel bands at {rate} Hz. State: h of {h}, Gaussian z of {z}; beside it a detail of {detail} for each
token (its memory of the details before: {memory}) and a voice of {voice} for each clip. A model of durations is part of
it.

## What it learned from
English sentences read aloud: volunteers of [Mozilla Common Voice](https://commonvoice.mozilla.org) (CC0) and readers of
[LibriSpeech](https://www.openslr.org/12) (CC BY 4.0, V. Panayotov, G. Chen, D. Povey and S. Khudanpur; cut and
re-encoded); their phones were found by forced alignment (`spectro_align`). {train_clips:,} clips of {train_speakers}
speakers ({train_hours:.1f} hours) were used for training, {val_clips} of {val_speakers} other speakers for validation
(split by speaker, split seed {split_seed}); {epochs} epochs{courses}, seed {seed}, preset `{preset}`, on one CPU core.

## How it is understood
{n} sentences of {speakers} speakers that it never heard, and that no choice was made on; the voice of each is lent by
its own recording; seeds of the dreams: {seeds}; vocoder `{vocoder}`; measured before the weights were rounded to half
precision. Word errors are those of PocketSphinx, which also found the phones; the signal is DNSMOS P.835 (1 to 5); the
voice is the cosine of Resemblyzer's embeddings with the recording.

{table}

## What it is not
What it says is understood about as well as recordings are by the same recogniser, and it sounds worse than they do. It
knows English only, and only the voices and microphones it was trained on. Do not use it to imitate a person's voice.
"""


def split_of_file(path, cfg):
    """The same of a data set as it is split for a run."""
    data = SpectrogramData(path, cfg.train.val_split, cfg.train.split_seed)
    def about(name, clips):
        hours = float(data.lengths[clips].sum()/data.front_end.frame_rate/3600)
        return {f"{name}_clips": len(clips), f"{name}_speakers": len({data.speakers[i] for i in clips}),
                f"{name}_hours": hours}
    return about("train", data.train) | about("val", data.val)


def speech_table(found):
    """What listeners made of each way to say the sentences, as lines of Markdown."""
    shown = ("word_errors", "signal", "voice")
    def cell(m): return "" if m is None else f"{m['mean']:.3f}" + (f" ± {m['se']:.3f}" if m["se"] else "")
    rows = [[name, *(cell(marks.get(k)) for k in shown)] for name, marks in found["marks"].items()]
    return ["| | word errors | signal | voice |", "|---|---|---|---|", *("| " + " | ".join(r) + " |" for r in rows)]


def courses(past):
    """In words, how a run was prolonged: its epochs in courses, each of which ends with the learning rate low."""
    begins = [i for i in range(1, len(past)) if past[i]["lr"] > 1.5*past[i - 1]["lr"]]
    ends = [*begins, len(past)]
    return f" ({' and '.join(str(b - a) for a, b in zip([0, *begins], ends))})" if begins else ""


def facts(target, name, run, model):
    """What both cards say of a model."""
    c, front_end = model.config, model.front_end
    return dict(name=name, parameters=sum(p.numel() for p in model.parameters()) / 1e6,
                size=target.stat().st_size / 2**20, mels=front_end.n_mels, rate=front_end.sample_rate,
                token_ms=1000 * c.tokens.seconds(front_end), h=c.model.h_state_size, z=c.model.z_state_size,
                split_seed=c.train.split_seed, epochs=len(history(run)), seed=c.train.seed, preset=c.preset)


def write_speaking_card(target, name, run, found, dataset):
    """The model card beside the shipped weights of a model that speaks."""
    model = load(target)
    c, about = model.config, found["about"]
    write_text(
        target.with_suffix(".md"),
        SPEAKING_CARD.format(
            **facts(target, name, run, model),
            ahead=c.train.told_ahead,
            hidden=c.train.told_dropout,
            detail=c.model.detail_size,
            memory=c.model.detail_memory,
            voice=c.model.voice_size,
            n=about["n"],
            speakers=about["speakers"],
            seeds=", ".join(map(str, about["seeds"])),
            vocoder=about["vocoder"],
            table="\n".join(speech_table(found)),
            courses=courses(history(run)),
            **split_of_file(dataset, c),
        ),
    )
    print(f"wrote {target.with_suffix('.md').relative_to(ROOT)}")


def arguments():
    """What is asked for."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--run", required=True, help="the folder of a run")
    p.add_argument("--name", default="mini", help="the name it gets (default: %(default)s)")
    p.add_argument("--metrics", type=Path, help="metrics.json that spectro_evaluate wrote for the shipped weights")
    p.add_argument("--speech", type=Path, help="what experiments/speak.py wrote, for a model that speaks")
    p.add_argument("--dataset", type=Path, help="the data set that the run learned from")
    return p.parse_args()


def reconstruction_row(name, digits, found):
    """A row of the card's table for a number that a reconstruction is judged by."""
    error = f" ± {found['se']:.{digits}f}" if found.get("se") else ""
    return f"| {name} | {found['value']:.{digits}f}{error} | {found['unit']} |"


def errors_table(m):
    """Reconstruction and prediction, from metrics.json, as lines of Markdown."""
    rec, ahead = m["reconstruction"]["none"], m["open_loop"]["none"]
    digits = dict(mse=4, mse_sampled=4, correlation=3, kl=1, bits_per_second=0)
    rows = [reconstruction_row(name, d, rec[name]) for name, d in digits.items()]
    how = f"{ahead['unit']}, mean of {ahead['samples']} rollouts after {ahead['context']} tokens"
    held = zip(ahead["seconds"], ahead["errors"]["prior"], ahead["errors"]["last frame held"])
    rows += [f"| prediction, {s:.2f} s ahead | {e:.3f} (last frame held {h:.3f}) | {how} |" for s, e, h in held]
    return ["| | value | what |", "|---|---|---|", *rows]


def sounds_table(sounds):
    """What is measured of sounds against the recordings, as lines of Markdown; and the names of the measures."""
    names = [k for k in sounds[0] if k not in ("what", "against")]
    labels = [sounds[0][n].get("label", n) if isinstance(sounds[0][n], dict) else n for n in names]
    rows = [[s["what"], *(f"{s[n]['value']:.3f}" if s[n] else "" for n in names)] for s in sounds]
    lines = ["| | " + " | ".join(labels) + " |", "|---|" + "---|" * len(names)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows], names


CORPORA = dict(libri="LibriSpeech", common="Common Voice, English", languages="Common Voice, other languages",
               engine="engines")


def across_table(name):
    """Where a model stands on each corpus, as lines of Markdown, from what `experiments/across.py` found."""
    found = json.loads((ROOT/"nbs"/"results"/"across.json").read_text(encoding="utf-8"))["runs"]
    if name not in found: sys.exit(f"ship: {name} was not judged: experiments/across.py --models {name}=RUN")
    rows = [(said, found[name][key]) for key, said in CORPORA.items()]
    lines = [f"| {said} | {r['nats']:.1f} ± {r['nats_se']:.1f} | {r['ratio']:.2f} ± {r['ratio_se']:.2f} | "
             f"{r['n_clips']} |" for said, r in rows]
    return ["| | nats a token | over the line | clips |", "|---|---|---|---|", *lines]


def languages_of(path):
    """How many folders of languages a data set has."""
    data = SpectrogramData(path, 0.0, in_memory=False)
    return len({Path(p).parts[0] for p in data.paths if len(Path(p).parts) > 1})


def write_card(target, name, run, m, dataset):
    """The model card beside shipped weights: what the model is, and how good."""
    model = load(target)
    c, front_end = model.config, model.front_end
    split = split_of_file(dataset, c)
    if (m["about"]["n_clips"], m["about"]["n_speakers"]) != (split["val_clips"], split["val_speakers"]):
        sys.exit("ship: the metrics were not measured on the validation part of the data set")
    sounds = [s for s in m["audio"]["mean"] if s["against"] == "recording"]
    heard, names = sounds_table(sounds)
    write_text(
        target.with_suffix(".md"),
        CARD.format(
            **facts(target, name, run, model),
            **split,
            n_fft=front_end.n_fft,
            hop=front_end.hop_length,
            frames=c.tokens.frames,
            languages=languages_of(dataset),
            rooms=c.train.heard_rooms,
            band_floor=c.train.band_floor,
            beta=c.train.beta_kl,
            across="\n".join(across_table(name)),
            table="\n".join(errors_table(m)),
            sounds="\n".join(heard),
            n_audio=sounds[0][names[0]]["n_clips"],
        ),
    )
    print(f"wrote {target.with_suffix('.md').relative_to(ROOT)}")


def main():
    """Ship the weights, and with metrics their card."""
    a = arguments()
    target = ROOT / "spectro_dreamer" / "weights" / f"{a.name}.safetensors"
    export_safetensors(a.run, target, half=True)
    print(f"wrote {target.relative_to(ROOT)}, {target.stat().st_size / 2**20:.1f} MB")
    if a.speech:
        write_speaking_card(target, a.name, a.run, json.loads(a.speech.read_text()), a.dataset)
    if a.metrics:
        write_card(target, a.name, a.run, json.loads(a.metrics.read_text()), a.dataset)


if __name__ == "__main__":
    try:
        main()
    except SpectroError as e:
        sys.exit(f"ship: {e}")
