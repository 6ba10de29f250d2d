"""Everything that a GPU is asked, in one command of at most nine minutes, into one JSON (chapter 91).

    python experiments/gpu_day.py pack --dataset speech.h5 --output gpu_day.h5   # where the data are
    experiments/gpu_day.sh --data gpu_day.h5 --output nbs/results/gpu.json       # where the GPU is
    experiments/gpu_day.sh --device cpu --rehearse --output rehearsed.json       # anywhere, in a minute

Where the GPU is, torch, numpy and h5py are enough. Each step runs in a process of its own and within a limit of its
own; one that fails or is stopped costs only itself, and what it had found stands beside what went wrong. The JSON is
written anew after every step.
"""

import argparse, json, multiprocessing, os, platform, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpu_pack import ENGINE_RATE, pack, unpack
from spectro_dreamer.config import SpectroError
from spectro_dreamer.files import write_text

START = 12.0  # seconds that a process takes until it measures: torch, the device, the data
NOT_THERE = ("fastprogress librosa mlflow matplotlib pandas psutil safetensors scipy soundfile soxr torchaudio "
             "yaml").split()


def engines(n, length):
    """Sounds of engines that never were, twice as long as a window."""
    from spectro_dreamer.rivals.wave_windows import synthetic_engine
    return [synthetic_engine(2*length/ENGINE_RATE, ENGINE_RATE, k) for k in range(n)]


def names_and_limits():
    """The steps in their order, and their seconds. (Not imported above: it takes torch.)"""
    from gpu_runs import STEPS
    return {run.__name__: seconds for run, seconds in STEPS.items()}


def pack_small(output):
    """The bundled corpus, packed, for a rehearsal."""
    from spectro_dreamer.data.samples import small_data
    from spectro_dreamer.rivals.wave_settings import wavegan_config
    pack(small_data(), output, waves=engines(8, wavegan_config("test").length))


def one_step(name, day, output, said):
    """In a process of its own: run a step, and write down what it finds whenever it finds something."""
    with open(said, "w") as out:
        for stream in (1, 2): os.dup2(out.fileno(), stream)
    if day["rehearse"]: only_light()
    from gpu_runs import STEPS
    from gpu_steps import Day
    run = next(run for run in STEPS if run.__name__ == name)
    for found in run(Day(**day)): write_text(output, json.dumps(found))


def only_light():
    """Make the import of what the GPU's machine may lack an error."""
    sys.modules.update(dict.fromkeys(NOT_THERE))


def in_a_process(start_method, limit, target, *args):
    """Run a function in a process of its own, and end it at its limit. Returns its exit code; None if it was ended."""
    child = multiprocessing.get_context(start_method).Process(target=target, args=args)
    child.start()
    child.join(limit)
    if child.is_alive():
        child.kill()
        child.join()
        return None
    return child.exitcode


def run_step(a, name, limit, folder, packed, start_method):
    """A step in a process of its own; what it found, what went wrong, and the seconds."""
    out, said, start = folder/f"{name}.json", folder/f"{name}.txt", time.monotonic()
    ceiling = folder/"ceiling.json"
    day = dict(device=a.device, rehearse=a.rehearse, data=folder/"data.h5", packed=packed,
               seconds=max(1.0, limit - START), ceiling=json.loads(ceiling.read_text()) if ceiling.is_file() else {})
    code = in_a_process(start_method, limit, one_step, name, day, out, said)
    done = dict(limit=round(limit, 1), seconds=round(time.monotonic() - start, 1))
    if code is None: done["error"] = f"stopped at its limit of {limit:.0f} s"
    elif code: done["error"] = said.read_text(errors="replace")[-3000:] or f"exit {code}"
    return done | dict(found=json.loads(out.read_text()) if out.is_file() else None)


def about(a, packed):
    """What is measured, on what, and when."""
    import torch
    return dict(day=time.strftime("%Y-%m-%d"), rehearsal=a.rehearse, device=a.device, machine=platform.machine(),
                cpus=os.cpu_count(), python=platform.python_version(), torch=torch.__version__, data=packed)


def prepared(a, folder):
    """The packed file, and what unpacking it to `data.h5` says."""
    if not a.rehearse and not a.data: raise SpectroError("name the packed data set with --data, or --rehearse")
    packed = Path(a.data) if a.data else folder/"packed.h5"
    if not a.data: in_a_process("fork", None, pack_small, packed)
    if not packed.is_file(): raise SpectroError(f"no such file: {packed}; gpu_day.py pack makes it")
    return packed, unpack(packed, folder/"data.h5")


def run(a):
    """All steps, one after the other; returns whether none failed."""
    with tempfile.TemporaryDirectory() as name:
        folder, until = Path(name), time.monotonic() + 60*a.minutes
        packed, data = prepared(a, folder)
        if a.rehearse: only_light()
        result = dict(about=about(a, data), steps={})
        for k, (step, limit) in enumerate(names_and_limits().items()):
            if a.only and step not in a.only: continue
            left = until - time.monotonic()
            if a.rehearse: limit = left = 600.0 # on a busy machine, too
            limit, done = min(limit, left), dict(error="no time was left for it")
            # forks of a process that knows a GPU cannot use it; a rehearsal has none, and saves the imports
            if limit > START: done = run_step(a, step, limit, folder, packed, "fork" if a.rehearse and k else "spawn")
            result["steps"][step] = done
            a.output.parent.mkdir(parents=True, exist_ok=True)
            write_text(a.output, json.dumps(result, indent=1) + "\n")
            wrong = done.get("error", "").strip().splitlines()[-1:]
            print(f"{step:<9} {done.get('seconds', 0):6.1f} s  {wrong[0] if wrong else 'done'}", flush=True)
        return not any("error" in done for done in result["steps"].values())


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sub = p.add_subparsers(dest="what", required=True)
    q = sub.add_parser("pack", help="make the file that travels")
    q.add_argument("--dataset", required=True, help="HDF5 file from spectro_prepare")
    q.add_argument("--output", required=True, type=Path, help="file to write")
    q.add_argument("--mebibytes", type=float, default=60.0, help="size at most (default: %(default)s)")
    q = sub.add_parser("run", help="measure")
    q.add_argument("--data", help="the packed file; a rehearsal makes one of the bundled corpus")
    q.add_argument("--output", type=Path, required=True, help="JSON to write")
    q.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (default: %(default)s)")
    q.add_argument("--rehearse", action="store_true", help="tiny sizes, to see that every step runs")
    q.add_argument("--minutes", type=float, default=9.0, help="for all steps together (default: %(default)s)")
    q.add_argument("--only", nargs="*", help="steps to run (default: all)")
    a = p.parse_args()
    try:
        if a.what == "pack":
            said = pack(a.dataset, a.output, a.mebibytes, engines(48, 44100))
            print(f"{a.output}: " + ", ".join(f"{k} {v:.5g}" for k, v in said.items()))
        else: sys.exit(0 if run(a) else 1)
    except SpectroError as e: sys.exit(f"gpu_day: {e}")


if __name__ == "__main__": main()
