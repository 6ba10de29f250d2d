"""Files that are nearly right, kills at any moment and full disks: nothing may crash, hang, strand or lose a byte.

    python tools/torture.py [--inputs N] [--kills N] [--disks N] [--seed S] [--only readers|kills|disks] [--minutes M]
                            [--readers PART…] [--writers PART…]

Ends with a table of counts, and with status 1 if anything failed. Inputs that did harm stay in `torture/`.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="Agg")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT/"tools")]


def arguments(argv):
    """What is asked for."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--inputs", type=int, default=1000, help="mutated inputs, of all readers together")
    p.add_argument("--kills", type=int, default=60, help="kills, of all writers together")
    p.add_argument("--disks", type=int, default=60, help="small disks, for all writers together")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--only", choices=("readers", "kills", "disks"))
    p.add_argument("--minutes", type=float, default=60, help="by the clock, after which nothing new is begun")
    for what in ("readers", "writers"):
        p.add_argument(f"--{what}", nargs="*", default=[], metavar="PART", help="only those whose names contain it")
    return p.parse_args(argv)


def main(argv=None):
    """Do it; returns the exit status."""
    a = arguments(argv)
    until, rows = time.monotonic() + 60*a.minutes, []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for part, do in (("readers", readers), ("kills", writers), ("disks", writers)):
            if a.only in (None, part): rows.append((part, *do(part, Path(folder)/part, a, until)))
        os.chdir(ROOT)
    print(f"\nseed {a.seed}, processor {processor_seconds():.0f} s")
    for part, times, failed in rows: print(f"{part:<10}{times:>8} tried{failed:>8} failed")
    return int(any(failed or not times for _, times, failed in rows))


def readers(part, scratch, a, until):
    """(inputs, failures) of all readers."""
    from torture_readers import show, torture_readers
    tally = torture_readers(scratch, a.inputs, a.seed, until, ROOT/"torture", a.readers)
    show(tally)
    return tally.inputs, len(tally.failures)


def writers(part, scratch, a, until):
    """(kills or full disks, failures) of all writers."""
    from torture_writers import show, torture_writers
    disks = part == "disks"
    times, harms = torture_writers(scratch, a.disks if disks else a.kills, a.seed, until, a.writers, disks)
    show(harms)
    return times, len(harms)


def processor_seconds():
    """Seconds that this process and its children have worked."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__": sys.exit(main())
