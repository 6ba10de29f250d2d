"""Judge vocoders (chapter 43) beside Griffin-Lim on speakers that were not trained on: PESQ, STOI, multi-resolution STFT and MCD against the recordings.

    python experiments/judge_vocoder.py --dataset speech.h5 --clips clean/clips --vocoders refined=voice.safetensors --output vocoder.json
    python experiments/judge_vocoder.py … --vocoders refined=voice.safetensors tuned=tuned.safetensors --world runs/dreamer

Written: for the recordings' own log-mels, and with --world for what that model draws of them, each way's mean, standard error over clips and n, the differences
from Griffin-Lim clip by clip, and the scores of every clip. All sounds are made from the same log-mels; "true magnitudes" is the ceiling that the phase sets.
"""

import argparse, json, os, sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def judge(a):
    """Everything; what is slow is said."""
    import torch
    from spectro_dreamer.config import SpectroError
    from spectro_dreamer.files import write_text
    from spectro_dreamer.sound.metrics import PAIR_METRICS, left_out
    from spectro_dreamer.sound.neural_vocoder import HOLD, compare_vocoders, format_vocoders, load_vocoder, vocoder_ways
    from train_vocoder import bar, material, opened
    torch.set_num_threads(1)
    files = dict(v.split("=", 1) if "=" in v else (Path(v).stem, v) for v in a.vocoders)
    if len(files) < len(a.vocoders): raise SpectroError("two vocoders have one name: write NAME=FILE")
    model, data, _, clips = opened(a)
    if not len(clips):
        raise SpectroError(f"{a.dataset} has no speakers that were left out of training: try another --val-split")
    front_end = data.front_end
    vocoders = {n: load_vocoder(f, front_end) for n, f in files.items()}
    if a.max_clips: clips = clips[:: max(1, -(-len(clips) // a.max_clips))]
    for package, what in left_out().items(): print(f"without {what}")
    about = dict(dataset=Path(a.dataset).name, data_fingerprint=data.fingerprint, front_end=f"{front_end.n_fft}/{front_end.hop_length}", n_clips=len(clips),
                 n_speakers=len({data.speakers[i] for i in clips}), n_iter=a.n_iter, hold=HOLD if a.hold is None else a.hold,
                 vocoders={n: dict(learned_from=v.about, n_parameters=sum(p.numel() for p in v.parameters())) for n, v in vocoders.items()})
    result, ways = dict(about=about), vocoder_ways(front_end, vocoders, a.n_iter, about["hold"])
    for name, world in [("recorded", None)] + ([("drawn", model)] if model else []):
        result[name] = compare_vocoders(ways, material(world, data, clips, a.clips), front_end, show=bar(name))
        print(f"log-mels {'of the recordings' if world is None else 'drawn by ' + Path(a.world).name}: "
              f"{format_vocoders(result[name])}\n", flush=True)
        about["units"] = {n: PAIR_METRICS[n].unit for n in next(iter(result[name]["scores"].values()))}
        if world is not None: about["world"] = Path(a.world).name
        text = json.dumps(result, allow_nan=False)
        write_text(a.output, json.dumps(json.loads(text, parse_float=lambda x: round(float(x), 4))) + "\n")


def main():
    """Parse and run; a mistake of input is one line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--dataset", required=True, help="the HDF5 file the vocoders were trained on")
    p.add_argument("--clips", required=True, help="the folder of its recordings")
    p.add_argument("--vocoders", required=True, nargs="+", metavar="[NAME=]FILE", help="what experiments/train_vocoder.py wrote")
    p.add_argument("--output", required=True, help="the JSON file to write")
    p.add_argument("--world", help="a world model (checkpoint, run's folder, or mini): judge what it draws as well; "
                                   "its split is used")
    p.add_argument("--max-clips", type=int, default=0, help="judge about so many clips, evenly spread; 0 for all "
                                                            "(default: %(default)s)")
    p.add_argument("--n-iter", type=int, default=32, help="iterations of Griffin-Lim (default: %(default)s)")
    p.add_argument("--hold", type=float, help="share of the networks' magnitudes where they are held (default: the "
                                              "library's)")
    p.add_argument("--val-split", type=float, default=.1, help="share of the speakers that were left out; a world "
                                                               "model brings its own (default: %(default)s)")
    p.add_argument("--split-seed", type=int, default=0, help="which speakers these are (default: %(default)s)")
    a = p.parse_args()
    from spectro_dreamer.config import SpectroError
    try: judge(a)
    except SpectroError as e: sys.exit(f"judge_vocoder: {e}")
    except OSError as e: sys.exit(f"judge_vocoder: {e.strerror or e}: {e.filename or ''}")


if __name__ == "__main__": main()
