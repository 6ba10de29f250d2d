#!/usr/bin/env python3
"""Make the small bundled corpus: synthetic speech laid out like Mozilla Common Voice.

    python tools/corpora/make_corpus.py                        # rewrites spectro_dreamer/corpus
    python tools/corpora/make_corpus.py --output-dir somewhere
    python tools/corpora/make_corpus.py --said-only            # leaves the recordings, writes what is said in them

The result is `clips/*.mp3` (48 kHz, mono, constant 32 kbit/s) and `validated.tsv` with the eight columns of Common
Voice 4. Beside it `phones.tsv` says which phone is spoken when (path, phone, begin, end in seconds), and `words.tsv`
how its words and some two thousand common ones are pronounced. Nobody was recorded: eSpeak NG, loaded with ctypes from
the wheel `espeakng-loader`, reads sentences written for this file. It exists so that every notebook and test runs
offline, on data whose licence is plain (CC0).

Who says what: each voice reads the three SHARED sentences (same words, other voice) and three of its own (OWN, dealt
round the table three times). Five further clips (REJECTED) carry votes that a cleaning step must refuse.

How one clip is made: eSpeak NG (22.05 kHz) -> trim its silence -> resample to 48 kHz -> own silence around it -> a peak
level drawn for this clip -> faint room noise -> MP3. Every draw comes from a generator seeded with the clip's
number. eSpeak NG keeps hidden state from one utterance to the next, so each clip gets a new process and its own seed:
with the same package versions, two runs write the same bytes.

The phones are eSpeak NG's own: it tells when each begins. Its names become those of the ARPAbet; a stop begins with
its closure, the silence before the burst; times are moved by what was trimmed, by the silence that was added, and by
the delay of the MP3 coder.

It ends with a table of what was measured on the clean speech, and fails (exit code 1) if two voices are too alike.
"""

import argparse
import csv
import ctypes
import hashlib
import multiprocessing
import sys
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

try:
    import espeakng_loader
except ImportError:
    print("make_corpus: needs the package espeakng-loader (pip install espeakng-loader)", file=sys.stderr)
    sys.exit(2)

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from spectro_dreamer.data.phones import write_phones  # noqa: E402
from spectro_dreamer.data.pronunciation import espeak_phones, espeak_reads, spoken_words  # noqa: E402

RATE = 48000
MP3_DELAY = 1105  # samples by which LAME and its decoder delay a sound (measured by cross-correlation)
MIN_SECONDS = 2.5
COLUMNS = ["client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent"]

# eSpeak NG voice (language+variant), pitch, pitch range, words per minute; then what validated.tsv says of the speaker,
# in Common Voice's own words ("fourties" is theirs). An empty string is a speaker who did not say.
VOICES = [
    ("en-us", 38, 50, 170, "thirties", "male", "us"),
    ("en-us+f5", 32, 55, 172, "twenties", "female", "us"),
    ("en-gb-x-rp+m1", 70, 70, 180, "twenties", "male", "england"),
    ("en-gb-scotland+aunty", 38, 60, 160, "fifties", "female", "scotland"),
    ("en-029+Nguyen", 62, 65, 175, "twenties", "male", "bermuda"),
    ("en-us+announcer", 38, 60, 165, "fifties", "male", "us"),
    ("en-gb-x-rp+Annie", 60, 40, 185, "twenties", "female", "england"),
    ("en-us+david", 48, 30, 160, "sixties", "male", ""),
    ("en-029+belinda", 58, 60, 178, "thirties", "female", "bermuda"),
    ("en-gb-x-gbclan+m8", 30, 70, 164, "fourties", "male", "england"),
    ("en-us+anika", 52, 55, 168, "teens", "female", "us"),
    ("en-gb-scotland+Alex", 60, 80, 172, "thirties", "male", "scotland"),
    ("en-us+steph", 45, 70, 168, "fourties", "female", "us"),
    ("en-us-nyc+Lee", 68, 60, 190, "twenties", "male", "us"),
    ("en-gb-x-gbcwmd+Michael", 55, 75, 172, "fourties", "male", "england"),
    ("en-us+Alicia", 35, 50, 186, "", "", ""),
    ("en-us+zac", 38, 50, 164, "teens", "male", "us"),
    ("en-gb-x-rp+linda", 28, 45, 165, "fifties", "female", "england"),
    ("en-us+victor", 35, 50, 162, "fourties", "male", "us"),
    ("en-029+ed", 75, 60, 170, "teens", "male", "bermuda"),
    ("en+shelby", 25, 70, 185, "thirties", "female", "england"),
    ("en-us+miguel", 60, 60, 182, "thirties", "male", ""),
    ("en-gb-scotland+f3", 70, 70, 175, "twenties", "female", "scotland"),
    ("en-us+Reed", 92, 75, 196, "", "male", "us"),
    ("en-gb-x-gbclan+Denis", 80, 90, 168, "sixties", "male", "england"),
    ("en-us+grandma", 20, 40, 153, "sixties", "female", "us"),
    ("en-gb-x-rp+boris", 20, 40, 168, "fifties", "", "england"),
    ("en-029+f2", 72, 25, 162, "", "female", ""),
]

SHARED = [  # spoken by every voice
    "My cousin keeps goats and a goose.",
    "Fresh bread cooled by the back door.",
    "Did you hear that odd noise upstairs?",
]

OWN = [  # voice i speaks i, i + 28 and i + 56
    "The yellow bus never stops here after dark.",
    "Put both boxes under the kitchen table.",
    "I think the cheese has gone off again.",
    "She waved from the top of the ladder.",
    "Where did you park the van this morning?",
    "Our neighbours are painting their fence blue.",
    "He forgot his umbrella at the dentist.",
    "Could we have five more minutes, please?",
    "Nobody noticed the small hole in the roof.",
    "The children built a castle out of cushions.",
    "Turn left where the old cinema used to be.",
    "Oil the hinge before you close that gate.",
    "My phone died halfway through the call.",
    "A thick fog rolled over the harbour.",
    "You should boil those eggs a bit longer.",
    "The judge asked everyone to sit down.",
    "We usually go swimming on Thursday evenings.",
    "That joke was funnier the first time.",
    "Please measure the shelf before you buy it.",
    "The choir sang in a very cold barn.",
    "Grandfather polished his boots every Sunday.",
    "What a huge pumpkin you have grown!",
    "The lift is broken, so take the stairs.",
    "Two foxes crossed the road in front of us.",
    "Leave your wet shoes on the porch.",
    "He whistles whenever he washes the dishes.",
    "The vase on the piano is older than I am.",
    "Rain drummed on the tin roof all night.",
    "Somebody moved the chairs into a circle around the fire.",
    "I would rather walk than wait another hour for the tram.",
    "The engine coughed twice and went quiet.",
    "Is there enough flour left to make a second cake?",
    "Her first job was sorting letters in a village.",
    "They measured the garden with a piece of string.",
    "Which of these keys opens the cupboard in the hall?",
    "The museum is free for students, but only before noon.",
    "He learned to juggle by throwing oranges over his bed.",
    "Just push the button twice and watch for the green light.",
    "A beaver had chewed through the thickest branch.",
    "We cheered so loudly that the keeper turned.",
    "Your jacket is hanging on the hook behind the office door.",
    "The soup needs pepper, lemon and time.",
    'She asked, "Why is the moon so low tonight?"',
    "Every window upstairs was covered in frost.",
    "The pharmacist wrote the dose on the bottle.",
    "I saw a pair of owls asleep above the chapel porch.",
    "He owes me a cup of coffee and an honest answer.",
    "Thunder shook the cups on the shelf and woke the baby.",
    "The ferry was late because of rough weather in the bay.",
    "Choose a colour that will not show the mud.",
    "We found an old map folded inside the dictionary.",
    "The tailor pinned both sleeves and told me to stand still.",
    "Their puppy chewed the corner of my library book.",
    "You could smell the toast burning from across the yard.",
    "Six vans were queueing to cross the narrow bridge.",
    "The nurse drew the curtain and spoke in a gentle voice.",
    "If the weather holds, we could take the little boat out, row round the island, and have a slow lunch on the far "
    "side of the lake.",
    "She keeps a jar of buttons from coats nobody remembers.",
    "The baker gave us a bag of broken biscuits for nothing.",
    "It takes forty minutes to reach the airport.",
    "The path was steep, but we forgot our tired legs.",
    "My uncle fixes clocks, radios, toasters, and anything else that has a screw in it.",
    "After the power cut, every clock was blinking.",
    "The teacher drew a triangle, and half of the class groaned.",
    "We had so many apples that we fed them to the horses.",
    "Would you mind holding this rope while I climb down?",
    "He reads the newspaper from the last page to the first, and only the sports and the weather.",
    "A tall man in a purple scarf was selling hot chestnuts.",
    "I changed the bulb and the fuse, but the hall stayed dark.",
    "The twins argue about everything except who gets the window seat.",
    "Before the storm, the birds went quiet and the air grew thick.",
    "We planted beans and covered them with a net.",
    "Does the shop on the square still sell fishing line and candles?",
    "In August the river is shallow enough to cross on foot.",
    "A short walk each day would do more good than any pill.",
    "Nothing looked fresh, so they shared a tin of peaches.",
    "Her voice was calm, but her fingers kept folding and unfolding the ticket.",
    "The guide showed us how high the flood had once reached.",
    "The treasure is just a story, yet someone digs there each spring.",
    "We counted eleven tractors and one lost camel.",
    "The orchestra was tuning when a phone in the second row played a cheerful march.",
    "Fold the egg whites in slowly, or the whole thing will go flat.",
    "A joiner from the next town made this chest without a single nail.",
    "The last train leaves at ten to twelve, and then nothing until dawn.",
]

# voice number, up votes, down votes, sentence: a filter for two up votes and more up than down drops these
REJECTED = [
    (3, 1, 0, "I can never remember which bin is for glass."),
    (9, 1, 1, "The puzzle was missing its very last piece."),
    (14, 0, 2, "Hurry up, or the shops will be shut."),
    (20, 2, 2, "There is a spider in the bath again."),
    (26, 2, 3, "Both brothers became beekeepers in the end."),
]


class EventId(ctypes.Union):
    """What an event of eSpeak NG is about."""
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    """An event of eSpeak NG, as `speak_lib.h` has it."""
    _fields_ = [("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
                ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
                ("user_data", ctypes.c_void_p), ("id", EventId)]


END, PHONEME = 0, 7  # types of events
STOPS = {"P", "T", "K", "CH", "B", "D", "G", "JH"}  # begin with a closure


def synthesise(sentence, voice, pitch, pitch_range, speed, seed):
    """Speech as float64, its sampling rate, and when each phone begins: (sample, eSpeak NG's name of it).

    Call it once per process: eSpeak NG does not forget.
    """
    lib, pieces, events = ctypes.CDLL(espeakng_loader.get_library_path()), [], []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
    def collect(samples, count, found):
        for event in found:
            if event.type == END:
                break
            if event.type == PHONEME:
                events.append((event.sample, event.id.string.decode("utf-8", "replace")))
        if count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    # 2: synchronous, to the callback; 1: with events for phonemes, which change no sample
    rate = lib.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 1)
    if rate <= 0:
        raise RuntimeError("eSpeak NG did not start")
    lib.espeak_SetSynthCallback(collect)
    lib.espeak_ng_SetRandSeed(ctypes.c_long(seed))
    if lib.espeak_SetVoiceByName(voice.encode()) != 0:
        raise RuntimeError(f"eSpeak NG has no voice {voice!r}")
    # 1 rate, 2 volume, 3 pitch, 4 range; a low volume because several variants clip at the default of 100
    for parameter, value in ((1, speed), (2, 40), (3, pitch), (4, pitch_range)):
        lib.espeak_SetParameter(parameter, value, 0)
    text = sentence.encode()
    # 1: positions in characters; 1: UTF-8
    lib.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, 1, None, None)
    lib.espeak_Synchronize()
    return np.concatenate(pieces) / 32768.0, rate, events


def trimmed(wave):
    """Where speech begins and ends in a wave: the first sample that is loud enough, and the one after the last."""
    loud = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())
    return loud[0], loud[-1] + 1


def closure(wave, begin, earliest, rate):
    """Where the silence before the burst of a stop begins: at most 120 ms back, in steps of 5 ms."""
    step, threshold, at = rate // 200, 0.025 * np.abs(wave).max(), begin
    while begin - at < 0.12 * rate and at - step >= earliest and np.abs(wave[at - step : at]).max() < threshold:
        at -= step
    return at


def phones_of(wave, rate, events):
    """Phones with their first sample and the one after their last: [[name, begin, end], ...] without gaps."""
    ends = [begin for begin, _ in events[1:]] + [len(wave)]
    out = []
    for (begin, name), end in zip(events, ends):
        if end <= begin:
            continue  # nothing is heard of it
        names = ("SIL",) if name.startswith("_") else espeak_phones(name)
        if not names:  # a mark, such as the one for palatal sounds
            if out:
                out[-1][2] = end
            continue
        if names[0] == "R" and out and out[-1][0] == "R":  # as in "air" before a vowel
            out[-1][2] = end
            continue
        if names[0] in STOPS and out and out[-1][0] != "SIL":
            begin = out[-1][2] = closure(wave, begin, out[-1][1] + rate // 200, rate)
        share = 0.6 if names[-1] == "R" else 0.5  # of a vowel before an r, or of two phones
        cuts = [begin, begin + share * (end - begin), end] if len(names) == 2 else [begin, end]
        out += [[name, a, b] for name, a, b in zip(names, cuts, cuts[1:])]
    return out


def segments_of(phones, first, last, rate, before, seconds):
    """The phones in seconds of the recording, with silence at both ends; silences that meet are one."""
    start = (int(before * RATE) + MP3_DELAY) / RATE
    rows = [["SIL", 0.0, start]]
    for name, begin, end in phones:
        begin, end = (start + (min(max(x, first), last) - first) / rate for x in (begin, end))
        if end <= begin:
            continue
        if name == rows[-1][0] == "SIL":
            rows[-1][2] = end
        else:
            rows.append([name, begin, end])
    if rows[-1][0] == "SIL":
        rows[-1][2] = seconds
    else:
        rows.append(["SIL", rows[-1][2], seconds])
    return [tuple(row) for row in rows]


def measure(speech, rate):
    """Median F0 in Hz (autocorrelation), spectral centroid in Hz, long-term spectrum in dB in 24 bands from 100 Hz to
    10 kHz.
    """
    size, hop = 2048, 512
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(speech, size), size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, 2 * size)) ** 2
    keep = power.sum(1) > 0.05 * power.sum(1).max()
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size), 2 * size)) ** 2)  # undo the taper of the window
    correlation = np.fft.irfft(power[keep])[:, : rate // 55] / window[: rate // 55]
    correlation /= correlation[:, :1]
    pitches, shortest = [], rate // 500
    for row in correlation:
        peaks = np.flatnonzero((row[1:-1] > row[:-2]) & (row[1:-1] >= row[2:])) + 1
        peaks = peaks[peaks >= shortest]
        if len(peaks) and row[peaks].max() > 0.6:  # the first peak nearly as high as the highest is the period
            pitches.append(rate / peaks[row[peaks] > 0.9 * row[peaks].max()][0])
    spectrum, freqs = power[keep].sum(0), np.fft.rfftfreq(2 * size, 1 / rate)
    edges = np.geomspace(100, 10000, 25)
    bands = np.array([spectrum[(freqs >= a) & (freqs < b)].mean() for a, b in zip(edges, edges[1:])])
    bands = 10 * np.log10(bands + 1e-6 * bands.max())
    f0 = float(np.median(pitches)) if pitches else float("nan")
    return f0, float((spectrum * freqs).sum() / spectrum.sum()), bands - bands.mean()


def make_clip(job):
    """Write one MP3, or leave the one that is there.

    Returns its length in seconds; what `measure` and the words per minute say of the speech; phones.
    """
    number, voice, sentence, path, writes = job
    whole, rate, events = synthesise(sentence, *VOICES[voice][:4], seed=number)
    first, last = trimmed(whole)
    speech = whole[first:last]
    seconds = len(speech) / rate
    rng = np.random.default_rng(number)
    before, after = np.maximum(rng.uniform(0.2, 0.37, 2), min(0.5, (MIN_SECONDS - seconds) / 2 + 0.005))
    if writes:
        write_clip(path, speech, rate, before, after, rng)
    heard = len(sf.read(path)[0]) / RATE
    said = segments_of(phones_of(whole, rate, events), first, last, rate, before, heard)
    measured = measure(speech, rate) if writes else ()
    return sf.info(path).duration, 60 * len(sentence.split()) / seconds, *measured, said


def write_clip(path, speech, rate, before, after, rng):
    """The recording: speech between two silences, at a level of its own, in a faint room, as MP3."""
    wave = soxr.resample(speech, rate, RATE)
    wave = np.pad(wave / np.abs(wave).max(), (int(before * RATE), int(after * RATE)))
    wave *= 10 ** (rng.uniform(-5.0, -1.5) / 20)
    hiss = rng.standard_normal(len(wave) + 31)
    hiss = np.convolve(hiss, 0.85 ** np.arange(32), "valid")  # duller than white, like a room
    wave += hiss / np.sqrt(np.mean(hiss**2)) * 10 ** (rng.uniform(-65.0, -55.0) / 20)
    sf.write(path, wave, RATE, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=0.99)


def write_said(folder, clips, results):
    """Write phones.tsv and words.tsv: what is said when, and how words are pronounced by eSpeak NG's American voice.

    The words are those of the sentences and the common ones of words.txt.
    """
    write_phones(folder / "phones.tsv", {Path(clip[3]).name: result[-1] for clip, result in zip(clips, results)})
    words = set(Path(__file__).with_name("words.txt").read_text(encoding="utf-8").split())
    words |= {word.lower() for clip in clips for word in spoken_words(clip[2]) if word[0].isalpha()}
    known = {word: espeak_reads(word) for word in sorted(words)} | {"a": ("AH",)}
    with open(folder / "words.tsv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["word", "phones"])
        writer.writerows([word, " ".join(phones)] for word, phones in known.items() if phones)


def votes(number):
    """Mostly 2 to 4 up and none down; the same for a clip in every run."""
    digest = hashlib.sha256(f"spectro_dreamer:votes:{number}".encode()).digest()
    return 2 + digest[0] % 3, int(digest[1] % 16 == 0 and digest[0] % 3 > 0)


def report(clips, results):
    """Print a line per voice, measured on the three shared sentences; return the distance of the two closest voices.

    One unit of distance is 3 semitones of F0, 3 dB (rms over bands) of long-term spectrum, or 15 % of speaking rate.
    """
    rows = []
    for voice in range(len(VOICES)):
        own = [r for c, r in zip(clips, results) if c[1] == voice and c[2] in SHARED]
        rows.append([np.mean([r[k] for r in own], axis=0) for k in (1, 2, 3, 4)])
    wpm, f0, centroid, bands = (np.array(column) for column in zip(*rows))

    def spread(x):
        return x[:, None] - x[None]

    distance = np.sqrt(
        (spread(np.log2(f0)) * 4) ** 2 + (spread(bands) ** 2).mean(-1) / 9 + (spread(np.log(wpm)) / 0.15) ** 2
    )
    np.fill_diagonal(distance, np.inf)
    print(
        f"{'voice':>5}  {'eSpeak NG voice':24}{'F0 Hz':>6}{'centroid Hz':>13}{'words/min':>11}"
        f"{'nearest voice':>15}{'at':>6}"
    )
    for i, voice in enumerate(VOICES):
        print(
            f"{i:5}  {voice[0]:24}{f0[i]:6.0f}{centroid[i]:13.0f}{wpm[i]:11.0f}"
            f"{distance[i].argmin():15}{distance[i].min():6.2f}"
        )
    return distance.min()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[2] / "spectro_dreamer" / "corpus"
    parser.add_argument("--output-dir", type=Path, default=default, help="default: spectro_dreamer/corpus")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--said-only", action="store_true", help="leave the clips, write phones.tsv and words.tsv")
    args = parser.parse_args()
    folder = args.output_dir / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("sd_en_*.mp3") if not args.said_only else ():
        old.unlink()

    spoken = [(v, s, None) for v in range(len(VOICES)) for s in SHARED + OWN[v :: len(VOICES)]]
    spoken += [(v, s, (up, down)) for v, up, down, s in REJECTED]
    clips = [(n, v, s, str(folder / f"sd_en_{n:04}.mp3"), poll) for n, (v, s, poll) in enumerate(spoken, 1)]
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    with multiprocessing.get_context(method).Pool(args.jobs, maxtasksperchild=1) as pool:  # a new process per clip
        results = pool.map(make_clip, [(*clip[:4], not args.said_only) for clip in clips], chunksize=1)
    write_said(args.output_dir, clips, results)
    if args.said_only:
        return 0

    with open(args.output_dir / "validated.tsv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, voice, sentence, path, poll in clips:
            client = hashlib.sha512(f"spectro_dreamer:voice:{voice}".encode()).hexdigest()
            writer.writerow([client, Path(path).name, sentence, *(poll or votes(number)), *VOICES[voice][4:]])

    closest = report(clips, results)
    seconds, size = sum(r[0] for r in results), sum(p.stat().st_size for p in args.output_dir.rglob("*") if p.is_file())
    print(
        f"{len(clips)} clips, {len(VOICES)} voices, {len({c[2] for c in clips})} sentences, {seconds / 60:.2f} "
        "minutes, "
        f"{min(r[0] for r in results):.2f} to {max(r[0] for r in results):.2f} s each, {size} bytes in all"
    )
    if closest < 1:
        print(f"make_corpus: two voices are too alike ({closest:.2f} < 1)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
