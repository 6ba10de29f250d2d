"""The live panel in a real browser: what it hears, draws, dreams and says is compared with Python, number by number.

    python tools/site/check_panel.py [PICTURES-FOLDER [PAGE-FOLDER]]   # also keeps the numbers that chapter 90f shows

It needs node, npm and Chromium; the two packages of npm (the panel's runtime, and Playwright to click) are fetched into
build/web, which git ignores. Where something is missing, it says so and checks nothing.
"""

import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT/"tools")]
from checking import Failed, Skipped, last_lines

MODULES = ROOT/"build"/"web"/"node_modules"
PACKAGES = ("onnxruntime-web@1.30.0", "playwright-core@1.65.1", "axe-core@4")
CUT, SECONDS, SEEDS = 1.2, 2.0, (1, 2)   # what `drive_panel.mjs` asks for
SENTENCE, ANOTHER = "The wind has opened the window again.", "The goats went home at noon."


def browser():
    """Chromium's program."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found: raise Skipped("Chromium is not installed")
    return found


def fetch_packages():
    """Put the packages of npm where they are looked for."""
    for program in ("node", "npm"):
        if shutil.which(program) is None: raise Skipped(f"{program} is not installed")
    if all((MODULES/p.split("@")[0]).is_dir() for p in PACKAGES): return
    done = subprocess.run(["npm", "install", "--prefix", str(MODULES.parent), "--no-audit", "--no-fund", "--no-save",
                           "--ignore-scripts", *PACKAGES], capture_output=True, text=True)
    if done.returncode: raise Skipped("npm could not fetch the panel's runtime")


def build(folder):
    """The page of the site."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry
    from spectro_dreamer.use.web_panel import web_files
    # the exporter reads its table of translations, seconds of work, anew for every graph; here it is read once
    with patch.object(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib))):
        web_files(folder, "mini", "speak", MODULES/"onnxruntime-web")


def file_of(name):
    """What Python writes for the first clip of the page as a file of bits, with a shipped model."""
    from spectro_dreamer.data.front_ends import log_spectrogram
    from spectro_dreamer.data.preprocessing import bundled_corpus, read_audio
    from spectro_dreamer.judge.bit_files import encode_spec
    from spectro_dreamer.model.world_model import load
    from spectro_dreamer.use.web_panel import PAGE_CLIPS
    model = load(name)
    wave = read_audio(bundled_corpus()/"clips"/PAGE_CLIPS[0], model.front_end.sample_rate)
    return encode_spec(model, log_spectrogram(wave, model.front_end), len(wave), name=name, worth=0)


def drive(folder, pictures=None):
    """What a browser saw: the answer of `drive_panel.mjs`."""
    import soundfile
    from spectro_dreamer.data.preprocessing import bundled_corpus
    from spectro_dreamer.use.web_panel import PAGE_CLIPS
    wave, rate = soundfile.read(bundled_corpus()/"clips"/PAGE_CLIPS[0], dtype="float32")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as samples:
        samples.write(json.dumps(dict(wave=wave.tolist(), rate=rate, other=file_of("low").hex())))
        samples.flush()
        script = str(ROOT/"tools"/"site"/"drive_panel.mjs")
        done = subprocess.run(["node", script, str(folder), str(MODULES), browser(), samples.name,
                               *([str(pictures)] if pictures else [])], capture_output=True, text=True)
    if done.returncode: raise Failed(f"the visit to the panel failed\n{last_lines(done.stderr)}")
    return json.loads(done.stdout)


def plan_as_page(model, phones, seed, rhythm=.5):
    """How long the page lets phones last: each with its frames."""
    import torch
    from spectro_dreamer.model.durations import ENDS
    from spectro_dreamer.use.web_panel import dice
    net, noise = model.durations, dice(seed + 2, 1 + len(phones))
    pace = float(net.pace[0] + rhythm*net.pace[1]*noise[0])
    with torch.no_grad(): mean, deviation = net(net.inputs(phones, pace))
    seconds = (mean + rhythm*deviation*torch.from_numpy(noise[1:]).float()).exp()
    seconds[0] = seconds[-1] = ENDS
    ends = (seconds.cumsum(0)*model.front_end.frame_rate).round().int()
    return list(zip(phones, ends.diff(prepend=ends.new_zeros(1)).clamp_min(1).tolist()))


def say_as_page(model, text, seed, like=None):
    """What the page makes of a sentence, (N, M): in a voice that is drawn, or that of a log-mel."""
    import torch
    from spectro_dreamer.data.pronunciation import sentence_phones, text_to_phones
    from spectro_dreamer.dream import speaking
    from spectro_dreamer.use.web_panel import dice, dice_noise
    plan = plan_as_page(model, sentence_phones(text_to_phones(text)), seed)
    voice = torch.from_numpy(dice(seed + 1, model.voice.size)).float() if like is None else model.voice_of(like)
    with patch.object(speaking, "dream_noise", dice_noise): return speaking.say_plan(model, plan, voice, seed)


def expected():
    """The same in Python, with the noise that the page draws: name → (N, M)."""
    import torch
    from spectro_dreamer.data.front_ends import log_spectrogram
    from spectro_dreamer.data.preprocessing import bundled_corpus, read_audio
    from spectro_dreamer.dream import imagination
    from spectro_dreamer.model.world_model import load
    from spectro_dreamer.use.web_panel import PAGE_CLIPS, dice_noise
    mini, speak = load("mini"), load("speak")
    wave = read_audio(bundled_corpus()/"clips"/PAGE_CLIPS[0], mini.front_end.sample_rate)
    spec = torch.from_numpy(log_spectrogram(wave, mini.front_end))
    found = dict(heard=spec, again=mini.reconstruct(spec))
    with patch.object(imagination, "dream_noise", dice_noise):
        for name, seed in zip(("dream", "another"), SEEDS):
            dream = imagination.imagine(mini, spec, context=CUT, seconds=SECONDS, samples=1, seed=seed)
            found[name] = dream.spec[0]
    found["said"] = say_as_page(speak, SENTENCE, seed=1)
    found["sharp"] = say_as_page(speak, ANOTHER, seed=1, like=spec)
    return {name: x.numpy() for name, x in found.items()}


def picture_of(part):
    """A picture that came as JSON, (N, M)."""
    import numpy as np
    return np.array(part["data"], np.float32).reshape(part["frames"], part["bands"])


def sound_error(samples, spec):
    """The error of a sound's log-mel (N, M), in variances of it; the page brought the sound to another level."""
    import numpy as np
    from spectro_dreamer.data.front_ends import log_spectrogram
    from spectro_dreamer.model.world_model import load
    heard = log_spectrogram(np.array(samples, np.float32)/32767, load("mini").front_end)
    n = min(len(heard), len(spec))
    loud = spec[:n] > spec.max() - 9 # nats: what is not near the floor
    heard = heard[:n] - np.median((heard[:n] - spec[:n])[loud])
    return float(((heard - spec[:n])[loud]**2).mean()/spec[:n][loud].var())


def compare(found, wanted):
    """Numbers of the comparison; raises `Failed` with what is wrong."""
    import numpy as np
    from spectro_dreamer.judge.bit_files import decode_spec
    from spectro_dreamer.model.world_model import load
    said = {}
    for name, x in wanted.items():
        got = picture_of(found[name])
        if got.shape != x.shape: raise Failed(f"{name}: {got.shape} frames and bands in the browser, {x.shape} here")
        said[name] = float(np.abs(got - x).max())
    off = np.abs(picture_of(found["same_samples"]) - wanted["heard"])
    said["log-mel of the same samples"] = float(off.max())
    said["heard, 99 % of bins"] = float(np.quantile(np.abs(picture_of(found["heard"]) - wanted["heard"]), .99))
    canvas = found["canvas"]
    read = decode_spec(load("mini"), bytes(found["bits"])).numpy()
    got = picture_of(found["from_file"])
    said["read in the file"] = float(np.abs(got - read).max()) if got.shape == read.shape else np.inf
    drawn = np.array(canvas["light"]).reshape(canvas["height"], canvas["width"])[::-1].T
    seen = wanted["heard"] > wanted["heard"].max() - 13.8 # the 60 dB that are shown
    said["the drawn picture, correlation"] = float(np.corrcoef(drawn[seen], wanted["heard"][seen])[0, 1])
    for name, spec in (("again", "again"), ("said", "said"), ("sharp", "sharp")):
        said[f"sound of {name}, z-MSE"] = sound_error(found[f"{name}_wave"], wanted[spec])
    return said


def written(found):
    """The file of bits that the page wrote, beside the one of Python: bytes, and how many of them are others."""
    page, here = bytes(found["bits"]), file_of("mini")
    others = sum(a != b for a, b in zip(page, here)) + abs(len(page) - len(here))
    return dict(page=len(page), python=len(here), others=others, said=found["bits_said"].strip())


def file_problems(found):
    """Whatever is not right about the file of bits that the page wrote, showed and saved."""
    data, file = bytes(found["bits"]), written(found)
    if abs(file["page"]/file["python"] - 1) > .03: # two runtimes may choose another symbol, and then walk elsewhere
        yield f"the page's file has {file['page']} bytes, and Python's {file['python']}"
    if f"As a file: {len(data):,} bytes" not in found["bits_said"]: yield f"the page says: {found['bits_said']}"
    if bytes.fromhex(" ".join(found["bits_shown"])) != data: yield "the bytes shown are not those of the file"
    if found["bits_saved"] != ["sentence.sdz", list(data)]: yield "the file that is saved is another"
    if "the browser's recording" not in found["microphone_said"]: yield "what was said has no size"
    if not found["damaged_named"][-1].startswith("Second"): yield "the damaged file is not shown"


def problems(found, said):
    """Whatever is not as it should be, a line each."""
    # two decoders of MP3 differ where there is next to no sound
    limits = {"log-mel of the same samples": 1e-3, "heard, 99 % of bins": .05, "heard": .3, "again": .1, "dream": .1,
              "another": .1, "said": .05, "sharp": .1, "read in the file": .01}
    for name, most in limits.items():
        if said[name] > most: yield f"{name} differs from Python by {said[name]:.3f} nats, more than {most}"
    if said["the drawn picture, correlation"] < .95: yield "the drawn spectrogram is not the one that was heard"
    for name, most in (("again", .05), ("said", .05), ("sharp", .3)):
        if said[f"sound of {name}, z-MSE"] > most: yield f"the sound of {name} is not of its spectrogram"
    yield from file_problems(found)
    early = [p for p in found["before_click"] if p.endswith((".onnx", ".wasm", ".mp3"))]
    if early: yield f"fetched before a click: {', '.join(early)}"
    again = [p for p in found["second_visit"] if p.endswith((".onnx", ".wasm"))]
    if again: yield f"fetched again at a second visit: {', '.join(again)}"
    for what in ("other_hosts", "complaints"):
        if found[what]: yield f"{what}: {found[what][0]}"
    grave = [v for v in found["axe"] or [] if v.startswith(("serious", "critical"))]
    if grave: yield f"axe: {grave[0]}"
    if found.get("overflow", 0) > 0: yield "the page is wider than a phone"
    if found["played"] < .2 or found["sought"] > .2: yield "a player does not play, or cannot be set by the keyboard"


def megabytes(folder):
    """What a visitor fetches, by kind: megabytes as they are, and compressed."""
    kinds = {"the page itself": lambda p: p.parent == folder and p.suffix != ".onnx" or p.parent.name == "clips",
             "the runtime": lambda p: p.parent.name == "runtime", "mini, hears": lambda p: p.parent.name == "hears",
             "speak, speaks": lambda p: p.parent.name in ("says", "speech"),
             "the vocoder": lambda p: p.name == "vocoder.onnx"}
    files = [p for p in folder.rglob("*") if p.is_file()]
    packed = {p: len(gzip.compress(p.read_bytes(), 6)) for p in files}
    return {kind: [sum(p.stat().st_size for p in files if of(p))/1e6, sum(packed[p] for p in files if of(p))/1e6]
            for kind, of in kinds.items()}


def visit(pictures=None, page=None):
    """Build the page (or take one), visit it and compare; what chapter 90f shows. Raises `Failed` or `Skipped`."""
    browser()
    fetch_packages()
    with tempfile.TemporaryDirectory() as folder:
        if page is None: build(folder)
        sizes, found = megabytes(Path(page or folder)), drive(page or folder, pictures)
    said = compare(found, expected())
    if wrong := list(problems(found, said)): raise Failed("\n".join([*wrong, json.dumps(said)]))
    return dict(differences=said, steps=found["steps"], megabytes=sizes, file=written(found))


def check_panel():
    """The check of `make test`; returns a remark."""
    kept = visit()
    said, file = kept["differences"], kept["file"]
    return (f"log-mel within {said['log-mel of the same samples']:.4f}, dreams within {said['dream']:.4f} nats of "
            f"Python; a file of {file['page']:,} bytes, {file['others'] or 'none'} of them other than Python's")


def main(pictures=ROOT/"build"/"web"/"pictures", page=None):
    """Visit, keep the pictures in a folder, and the numbers for the chapter."""
    Path(pictures).mkdir(parents=True, exist_ok=True)
    kept = visit(pictures, page)
    (ROOT/"nbs"/"results"/"live_panel.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(kept, indent=1))


if __name__ == "__main__":
    try: main(*sys.argv[1:])
    except Skipped as e: print(f"skipped: {e}")
    except Failed as e: sys.exit(str(e))
