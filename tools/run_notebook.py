"""Run notebooks from top to bottom, in place, and keep what they show.

    python tools/run_notebook.py nbs/20_encoder.ipynb [--timeout 1800] [--skip-flags gpu,slow]

Cells marked `#| eval: false`, or with a flag named in --skip-flags, are not run and keep the outputs they have. A
notebook that fails, that shows a path of this machine, or that somebody edited meanwhile is left as it was.
"""

import argparse, json, os, sys, tempfile, time
from pathlib import Path

import nbformat
from execnb.nbio import write_nb
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbdev.clean import clean_nb

from notebooks import ROOT, machine_paths, skipped


NOTE = "torchaudio's native part does not load"  # says something of the machine, and nothing that a chapter teaches


class SkippingClient(NotebookClient):
    """A notebook client that passes over flagged cells instead of clearing their outputs."""

    skip_flags = ()

    async def async_execute_cell(self, cell, cell_index, **kwargs):
        if cell.cell_type == "code" and skipped(cell, self.skip_flags):
            return cell
        return await super().async_execute_cell(cell, cell_index, **kwargs)


def kernel_env(scratch):
    """The kernel's environment: one thread, a fresh IPython profile, and figures inline (so no MPLBACKEND)."""
    env = dict(os.environ, OMP_NUM_THREADS="1", IPYTHONDIR=scratch)
    env.pop("MPLBACKEND", None)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    return env


def execute(nb, folder, timeout, skip_flags):
    """Run `nb` in `folder`, as nbdev's own tests do, and leave the outputs in it."""
    client = SkippingClient(
        nb,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.skip_flags = skip_flags
    client.extra_arguments = ["--log-level=ERROR"]  # the kernel's start-up notes are not the notebook's
    with tempfile.TemporaryDirectory() as scratch:
        client.execute(env=kernel_env(scratch))


def without_notes(nb):
    """Leave out of the outputs what `NOTE` begins."""
    for cell in nb.cells:
        for out in cell.get("outputs", []):
            if out.get("name") == "stderr":
                out["text"] = "".join(
                    line for line in out["text"].splitlines(keepends=True) if not line.startswith(NOTE)
                )
        if "outputs" in cell:
            cell["outputs"] = [out for out in cell["outputs"] if out.get("name") != "stderr" or out["text"].strip()]


def run(path, timeout=None, skip_flags=()):
    """Run one notebook and write it back cleaned. Raises `ValueError` when its result must not be kept."""
    before = path.read_bytes()
    nb = nbformat.reads(before.decode("utf-8"), as_version=4)
    execute(nb, path.parent, timeout, skip_flags)
    without_notes(nb)
    plain = json.loads(nbformat.writes(nb))
    found = machine_paths(plain)
    if found:
        raise ValueError("a path of this machine in an output: " + ", ".join(f"cell {i}: {p}" for i, p in found))
    clean_nb(plain)
    if path.read_bytes() != before:
        raise ValueError("the notebook was edited while it ran; not written")
    write_nb(plain, path)


def main(argv=None):
    """Run every notebook named on the command line; exit 1 when any of them fails."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("notebooks", nargs="+", type=Path, metavar="NB")
    p.add_argument("--timeout", type=int, help="seconds that one cell may take (default: no limit)")
    p.add_argument("--skip-flags", default="", help="comma-separated flags whose cells are not run, e.g. gpu,slow")
    args = p.parse_args(argv)
    flags, failed = [f for f in args.skip_flags.split(",") if f], 0
    for nb in args.notebooks:
        start, problem = time.time(), None
        try:
            run(nb.resolve(), args.timeout, flags)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, ValueError, OSError) as e:
            problem = e
        print(f"{nb.name}: {'failed' if problem else 'ran'} in {time.time() - start:.1f} s", flush=True)
        if problem:
            print(problem, file=sys.stderr)
            failed += 1
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
