"""Speech in files: the size of the files of `spectro_encode` beside codec2 and Opus, and how what comes back is heard.

    python experiments/coded.py --speech clean --table validated.tsv [--only NAME …] [--time-again]
        [--scoreboard nbs/results/scoreboard.json]

SPEECH is a folder of `spectro_clean` with LibriSpeech and English Common Voice, TABLE the table that it was made of.
There is one clip of each speaker from whom no shipped model has learned: judging speakers of experiments/across.py who
are among the unheard ones of `speak`, too. (Half of these had a say in how `speak` dreams, none in how it is coded. The
speaker of a clip on which the steps were chosen is left out.) Sizes are those of whole files: headers, checksums and
containers count; codec2's is that of its frames and the seven bytes that c2enc puts before them. Beside each file of
ours stands the KL that promised it. Sounds are made without a trained vocoder unless a row says so. What is there
already is not made again. The table goes to nbs/results/coded.json.
"""

import argparse, csv, io, json, math, os, sys, time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT/"experiments")]

import numpy as np
import torch

from across import apart
from scoreboard import machine, rounded, score, write_scores
from spectro_dreamer.config import SpectroError
from spectro_dreamer.data.corpus import split_speakers
from spectro_dreamer.data.front_ends import log_spectrogram
from spectro_dreamer.data.preprocessing import read_audio, resample
from spectro_dreamer.files import write_text
from spectro_dreamer.judge.bit_files import decode_spec, encode_spec
from spectro_dreamer.judge.codecs import HEARD, OPUS_RATE, codec2, copy_synthesis, heard_scores, opus, realigned, \
    world_coded
from spectro_dreamer.machine import keep_memory
from spectro_dreamer.model.world_model import load
from spectro_dreamer.sound.listeners import hear_set
from spectro_dreamer.sound.neural_vocoder import sounding
from spectro_dreamer.use.coding import ROUNDS

RESULTS = ROOT/"nbs"/"results"
SHORTEST, LONGEST = 3.0, 15.0      # seconds of a clip
CHOSEN_ON = "librispeech_en_7367-"  # what the clips of the speaker begin with on whom the steps were chosen
LATE = {700: .03}                  # seconds that codec2 is late, as measured in codecs.json; its other modes
USUALLY_LATE = .02
LISTENERS = ["word_errors", "signal", "overall"]
OURS = {  # row → model, what differs from the usual
    "speak": ("speak", {}),
    "low": ("low", {}),
    "mini": ("mini", {}),
    "speak, never anew": ("speak", dict(restart=0)),
    "low, never anew": ("low", dict(restart=0)),
    "low, coarse": ("low", dict(step=5.0)),
    "speak, coarse": ("speak", dict(step=5.0)),
    "speak, coarsest": ("speak", dict(step=7.9, restart=0)),
    "speak, errors worth a sixth": ("speak", dict(step=7.9, restart=0, worth=1/6)),
    "speak, each by itself": ("speak", dict(worth=0)),
    "speak, 32 rounds": ("speak", dict(n_iter=32)),
    "speak, vocoder mini": ("speak", dict(vocoder="mini")),
}
OTHERS = ["recording", "copy-synthesis", "codec2, 700", "codec2, 1300", "codec2, 2400", "codec2, 3200", "Opus, 6 k"]


def rows_of(table):
    """The lines of a table as dictionaries."""
    return list(csv.DictReader(open(table, encoding="utf-8", newline=""), delimiter="\t", quoting=csv.QUOTE_NONE))


def unheard(speech, table):
    """The rows of the clips that nobody learned from or chose on."""
    clean, whole = rows_of(speech/"validated.tsv"), [r["client_id"] for r in rows_of(table)]
    judges = [r for libri in (True, False) for r in
              apart([r for r in clean if r["path"].startswith("librispeech") == libri])[1]]
    held = {s for s, is_held in zip(whole, split_speakers(whole, .1, 0)) if is_held}
    return sorted((r for r in judges if r["client_id"] in held and not r["path"].startswith(CHOSEN_ON)),
                  key=lambda r: r["path"])


def some_clips(a):
    """Waves and sentences: of each speaker the shortest clip that is long enough."""
    found = {}
    for row in unheard(a.speech, a.table):
        wave = read_audio(a.speech/"clips"/row["path"], 22050)
        if not SHORTEST <= len(wave)/22050 <= LONGEST: continue
        if len(wave) < len(found.get(row["client_id"], (range(10**9),))[0]):
            found[row["client_id"]] = wave, row["sentence"]
    return list(found.values())


def ours(name):
    """A coder of ours: wave → wave, bits of the file, bits of the KL, seconds of processor time there and back."""
    model_name, how = OURS[name]
    model, how = load(model_name), dict(how)
    sound = sounding(model.front_end, how.pop("vocoder", None), how.pop("n_iter", ROUNDS))
    def code(wave):
        begin = time.process_time()
        spec = log_spectrogram(wave, model.front_end)
        data = encode_spec(model, spec, len(wave), name=model_name, **how)
        between = time.process_time()
        out = np.asarray(sound(decode_spec(model, data)), np.float32)
        took = between - begin, time.process_time() - between
        out = np.pad(out, (0, max(0, len(wave) - len(out))))[:len(wave)]
        return out, 8*len(data), world_coded(model, spec)[1], took
    return code


def rival(name):
    """Another coder: wave → wave, bits of the file or None, None, None."""
    if name == "recording": return lambda wave: (wave, None, None, None)
    if name == "copy-synthesis":
        code = copy_synthesis(load("low").front_end)
        return lambda wave: (code(wave, 22050).wave, None, None, None)
    if name.startswith("Opus"):
        code = opus(1.)
        return lambda wave: (code(wave, 22050).wave, ogg_file_bits(wave), None, None)
    mode = int(name.split()[-1])
    code, late = codec2(mode), round(LATE.get(mode, USUALLY_LATE)*22050)
    def coded(wave):
        out, bits = code(np.pad(wave, (0, late)), 22050)
        return realigned(out, late)[:len(wave)], bits + 56, None, None
    return coded


def ogg_file_bits(wave):
    """Bits of a whole Opus file."""
    import soundfile
    file = io.BytesIO()
    soundfile.write(file, resample(np.clip(wave, -1, 1), 22050, OPUS_RATE), OPUS_RATE, format="OGG", subtype="OPUS",
                    compression_level=1.)
    return 8*len(file.getvalue())


def mean_and_error(values):
    """The mean over clips and its standard error."""
    x = np.array([v for v in values if v is not None], float)
    return [rounded(x.mean()), rounded(x.std(ddof=1)/math.sqrt(len(x)))] if len(x) > 1 else None


def speeds(seconds, took):
    """How many times real time a coder is, there and back."""
    return {f"times_real_{way}": rounded(seconds/sum(t), 1) for way, t in zip(("there", "back"), zip(*took))}


def timed_again(row, name, clips):
    """A row with the speeds of another pass, where that is faster: other work on a machine makes a pass slower."""
    code = ours(name)
    found = speeds(row["seconds"], [code(wave)[3] for wave, _ in clips])
    return row | {k: max(v, row[k]) for k, v in found.items()}


def judged(name, clips):
    """What a row of the table says."""
    code = ours(name) if name in OURS else rival(name)
    waves, bits, promised, took = zip(*(code(wave) for wave, _ in clips))
    seconds = [len(wave)/22050 for wave, _ in clips]
    row = dict(clips=len(clips), seconds=rounded(sum(seconds)))
    if bits[0] is not None:
        row["bits_per_second"] = rounded(sum(bits)/sum(seconds), 1)
    if promised[0] is not None:
        row |= dict(promised=rounded(sum(promised)/sum(seconds), 1), over_promise=rounded(sum(bits)/sum(promised)))
        row["over_promise_se"] = mean_and_error([b/p for b, p in zip(bits, promised)])[1]
        row |= speeds(sum(seconds), took)
    pairs = [heard_scores(wave, out, 22050) for (wave, _), out in zip(clips, waves)]
    return row | {k: mean_and_error([p[k] for p in pairs]) for k in HEARD}


def listened(name, clips):
    """What listeners add to a row: words and the judge of signals."""
    code = ours(name) if name in OURS else rival(name)
    marks = hear_set([code(wave)[0] for wave, _ in clips], 22050, LISTENERS, sentences=[said for _, said in clips])
    return {k: [rounded(m.mean), rounded(m.se)] for k, m in marks.items()}


def scores(table):
    """The rows of the scoreboard."""
    rows, n = table["rows"], table["about"]["clips"]
    by = f"experiments/coded.py, one clip of each of {n} speakers unheard by all models, " + machine()
    worst = max(("speak", "low", "mini"), key=lambda k: rows[k]["over_promise"])
    speak = rows["speak"]
    return {
        "coded.file_over_kl": score(rows[worst]["over_promise"], rows[worst]["over_promise_se"], n, 1.15,
                                    f"{by}; the worst of three models, {worst}"),
        "coded.stoi": score(*speak["stoi"], n, .87, f"{by}; speak, files of {speak['bits_per_second']:.0f} bit/s"),
        "coded.word_errors": score(*speak["word_errors"], n, None, f"{by}; speak, at the same bits; recordings "
                                   f"{rows['recording']['word_errors'][0]:.2f}"),
        "coded.bits_per_second": score(speak["bits_per_second"], None, n, 1300, f"{by}; speak"),
        "coded.times_real": score(min(speak["times_real_there"], speak["times_real_back"]), None, n, 10,
                                  f"{by}; speak, processor time of one core, the slower way"),
    }


def main(a):
    torch.set_num_threads(1)
    keep_memory() # as the commands do
    table = json.loads(a.output.read_text()) if a.output.is_file() else dict(rows={})
    clips = some_clips(a)
    table["about"] = dict(clips=len(clips), shortest=SHORTEST, longest=LONGEST, machine=machine())
    for what in (judged, listened):
        for name in a.only or [*OURS, *OTHERS]:
            row = table["rows"].setdefault(name, {})
            if ("stoi" if what is judged else "word_errors") in row: continue
            row |= what(name, clips)
            write_text(a.output, json.dumps(table, indent=1) + "\n")
            print(name, row, flush=True)
    for name in OURS if a.time_again else []:
        table["rows"][name] = timed_again(table["rows"][name], name, clips)
        write_text(a.output, json.dumps(table, indent=1) + "\n")
        print(name, {k: v for k, v in table["rows"][name].items() if k.startswith("times")}, flush=True)
    if a.scoreboard: write_scores(a.scoreboard, scores(table))


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--speech", type=Path, required=True, help="cleaned LibriSpeech and English Common Voice")
    p.add_argument("--table", type=Path, required=True, help="the table before it was cleaned")
    p.add_argument("--only", nargs="+", help="rows to make")
    p.add_argument("--time-again", action="store_true", help="take the speeds of rows again, and keep the better ones")
    p.add_argument("--output", type=Path, default=RESULTS/"coded.json")
    p.add_argument("--scoreboard", type=Path, help="the file that gets the numbers that the project answers for")
    try: main(p.parse_args())
    except SpectroError as e: sys.exit(str(e))
