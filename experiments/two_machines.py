"""Prepare and train on two machines, once, for real: two network namespaces that know each other by a cable only.

    sudo python experiments/two_machines.py [--work runs/two] [--epochs 2]

A namespace is a machine as far as the network is concerned: an address of its own, a cable (a pair of virtual
interfaces) to the other one, and nothing else. Both see the same disk, as machines with a shared folder do. A Dask
scheduler and a worker stand on the first, another worker on the second, and `spectro_prepare --scheduler` runs; then
`spectro_train` is started on both by `torchrun --nnodes 2`. The same is done by one process, and compared. It needs
Linux, the right to make namespaces (root), `ip` and the packages of `.[cluster]`, and takes a few minutes. What was
measured goes to nbs/results/two_machines.json.
"""

import argparse, json, os, platform, shutil, signal, subprocess, sys, time
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import h5py
import numpy as np
import torch

from spectro_dreamer.files import write_text
from spectro_dreamer.learn.tracking import history

MACHINES = {"spectro-a": "10.77.0.1", "spectro-b": "10.77.0.2"}
FIRST, SECOND = MACHINES
CORPUS = ROOT/"spectro_dreamer"/"corpus"
CABLE = "cable" # the name of the interface on both machines
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": CABLE, "PYTHONPATH": str(ROOT),
               "PYTHONHASHSEED": "0"}


def ip(*words):
    """`ip` with some words; raises `CalledProcessError` if it refuses."""
    subprocess.run(["ip", *words], check=True)


@contextmanager
def two_machines():
    """Two namespaces with a cable between them, which are taken away at the end."""
    try:
        for name in MACHINES: ip("netns", "add", name)
        ip("link", "add", CABLE, "netns", FIRST, "type", "veth", "peer", "name", CABLE, "netns", SECOND)
        for name, address in MACHINES.items():
            ip("-n", name, "addr", "add", f"{address}/24", "dev", CABLE)
            for device in ("lo", CABLE): ip("-n", name, "link", "set", device, "up")
        yield
    finally:
        for name in MACHINES: subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


def on(machine, *words):
    """The words of a command that runs on a machine."""
    return ["ip", "netns", "exec", machine, sys.executable, *map(str, words)]


def begin(stack, machine, log, *words):
    """Start a command on a machine that ends with the stack."""
    out = stack.enter_context(open(log, "ab"))
    child = subprocess.Popen(on(machine, *words), stdout=out, stderr=out, env=os.environ | ENVIRONMENT,
                             start_new_session=True)
    def end():
        if child.poll() is None: os.killpg(child.pid, signal.SIGTERM)
        child.wait(30)
    stack.callback(end)
    return child


def finish(child, log):
    """Wait for a command; raises `SystemExit` with the end of its log if it failed."""
    if child.wait(): raise SystemExit(f"failed with {child.returncode}:\n" + Path(log).read_text()[-2000:])


def carried(machine):
    """Bytes that have gone through a machine's cable, both ways."""
    said = subprocess.run(["ip", "-n", machine, "-s", "-j", "link", "show", CABLE], capture_output=True, check=True)
    counts = json.loads(said.stdout)[0]["stats64"]
    return counts["rx"]["bytes"] + counts["tx"]["bytes"]


def timed(do):
    """(seconds, bytes through the cable) of something that uses the cable."""
    before, start = carried(FIRST), time.monotonic()
    do()
    return time.monotonic() - start, carried(FIRST) - before


def command(name):
    """The script of an installed command."""
    return Path(sys.executable).with_name(name)


def prepare_words(output, *more):
    """The words that prepare the bundled recordings."""
    return (command("spectro_prepare"), "--input-dir", CORPUS, "--output-file", output, "--preset",
            "dreamer", "--no-report", "--shard-clips", 8, *more)


def train_words(data, run, epochs):
    """The words that train a small model for some epochs."""
    return (command("spectro_train"), "--dataset-path", data, "--preset", "dreamer", "--output-dir", run, "--epochs",
            epochs, "--batch-size", 16, "--seed", 3, "--no-mlflow")


def alone(work, epochs):
    """The same by one process on this machine: (seconds of preparing, of training)."""
    took = []
    for words in (prepare_words(work/"one.h5", "--num-workers", 0), train_words(work/"one.h5", work/"one", epochs)):
        start = time.monotonic()
        done = subprocess.run([sys.executable, *map(str, words)], env=os.environ | ENVIRONMENT, capture_output=True,
                              text=True)
        if done.returncode: raise SystemExit(done.stdout[-1000:] + done.stderr[-2000:])
        took.append(time.monotonic() - start)
    return took


def prepare_on_two(work):
    """Prepare with a scheduler and a worker on the first machine and a worker on the second."""
    address, log = f"tcp://{MACHINES[FIRST]}:8786", work/"prepare.log"
    with ExitStack() as stack:
        begin(stack, FIRST, work/"scheduler.log", "-m", "distributed.cli.dask_scheduler", "--host", MACHINES[FIRST],
              "--port", "8786", "--no-dashboard")
        for machine, place in MACHINES.items():
            begin(stack, machine, work/f"{machine}.log", "-m", "distributed.cli.dask_worker", address, "--host", place,
                  "--nthreads", "1", "--no-dashboard", "--local-directory", work/machine)
        wait_for_workers(work, 2)
        finish(begin(stack, FIRST, log, *prepare_words(work/"two.h5", "--scheduler", address)), log)
    return {m: (work/f"{m}.log").read_text() for m in MACHINES}


def wait_for_workers(work, n, seconds=120):
    """Until so many workers have registered with the scheduler."""
    end = time.monotonic() + seconds
    while (work/"scheduler.log").read_text(errors="replace").count("Register worker") < n:
        if time.monotonic() > end: raise SystemExit("the workers did not find the scheduler; see scheduler.log")
        time.sleep(.2)


def train_on_two(work, epochs):
    """Train under torchrun on both machines."""
    with ExitStack() as stack:
        nodes = [begin(stack, machine, work/f"train-{machine}.log", "-m", "torch.distributed.run", "--nnodes", 2,
                       "--node-rank", rank, "--nproc-per-node", 1, "--master-addr", MACHINES[FIRST], "--master-port",
                       29500, *train_words(work/"two.h5", work/"two", epochs))
                 for rank, machine in enumerate(MACHINES)]
        for machine, node in zip(MACHINES, nodes): finish(node, work/f"train-{machine}.log")


def same_data(a, b):
    """Whether two data sets hold the same, clip by clip."""
    with h5py.File(a) as f, h5py.File(b) as g:
        arrays = [name for name in f if isinstance(f[name], h5py.Dataset)]
        return set(f) == set(g) and all(np.array_equal(f[name][:], g[name][:]) for name in arrays)


def largest_difference(one, two):
    """The largest relative difference of any loss of any epoch."""
    pairs = zip(history(one), history(two), strict=True)
    return max(abs(a[k] - b[k])/abs(a[k]) for a, b in pairs for k in a if k.endswith("loss") and a[k])


def measure(work, epochs):
    """Everything once; returns what is written down."""
    prepared_alone, trained_alone = alone(work, epochs)
    with two_machines():
        prepared, prepare_bytes = timed(lambda: prepare_on_two(work))
        trained, train_bytes = timed(lambda: train_on_two(work, epochs))
    steps = sum(1 for _ in history(work/"two"))
    return {"same_data": same_data(work/"one.h5", work/"two.h5"),
            "largest_difference_of_losses": largest_difference(work/"one", work/"two"),
            "epochs": steps, "prepare_seconds": {"one process": prepared_alone, "two machines": prepared},
            "train_seconds": {"one process": trained_alone, "two machines": trained},
            "prepare_bytes": prepare_bytes, "train_bytes": train_bytes,
            "about": {"machine": f"{platform.machine()}, {os.cpu_count()} cores, two namespaces of one computer",
                      "data": "the bundled recordings", "seed": 3, "torch": torch.__version__}}


def main():
    """Do it and write down what was found."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--work", type=Path, default=Path("runs/two"), help="gets data sets, runs and logs")
    p.add_argument("--epochs", type=int, default=2)
    a = p.parse_args()
    if os.geteuid() or not shutil.which("ip"): raise SystemExit("namespaces need Linux, root and the command ip")
    if (a.work/"two").exists(): raise SystemExit(f"{a.work} holds an earlier try: remove it or choose another --work")
    a.work.mkdir(parents=True, exist_ok=True)
    found = measure(a.work.resolve(), a.epochs)
    write_text(ROOT/"nbs"/"results"/"two_machines.json", json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__": main()
