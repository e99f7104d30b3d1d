"""A day of 32 channels on three nodes of a Slurm on this machine, beside the same day on the machine: `python -m bench.cluster`.

The nodes are namespaces that share this machine's cores, so the times say what a cluster costs, not what it gains: with the
cores of three machines the work itself would take a third. What is compared is what came out, dataset by dataset; and the
trace shows which node made what when. `--faults` has the core stages of a smaller day made once for everything that can happen to it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.machine import machine, take
from tests.cluster.faults import FAULTS, Fault
from tests.cluster.test_day_on_slurm import DAY, events, has_begun, logs_of, submit
from tests.cluster.test_on_slurm import strays
from tests.compare import datasets, leftovers
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster, obstacle, wait_until

RAYPIPE = [sys.executable, "-m", "raypipe"]
LIMIT_SECONDS = 1200


@dataclass(frozen=True)
class Size:
    """Of a day."""

    channels: int
    seconds: int


LARGE, SMALL = Size(32, 30), Size(16, 30)
CORE = ("rplparallel", "rplsplit", "rpllfp", "rplhighpass", "unity", "edfsplit", "aligning_objects")
"""Stages of the days under faults."""
COLOURS = "tab20"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", action="store_true", help="the table of faults instead, on a smaller day")
    parser.add_argument("--json", type=Path, default=Path("bench/results/cluster.json"), help="what is in it is kept")
    parser.add_argument("--picture", type=Path, default=Path("bench/results/cluster.png"))
    options = parser.parse_args()
    if reason := obstacle():
        sys.exit(reason)
    known = json.loads(options.json.read_text()) if options.json.exists() else {}
    work = Path(tempfile.mkdtemp(prefix="raypipe-bench-", dir="/tmp"))  # nodes share what is in /tmp only if told so
    (work / "kernels").symlink_to(Path.home() / ".cache")  # what this machine has compiled; it should have, before
    try:
        figures = known | (under_faults(work, SMALL, FAULTS) if options.faults else measure(work, LARGE))
    finally:
        shutil.rmtree(work)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(as_json(figures))
    if not options.faults:
        draw(figures["trace"], options.picture)


def measure(work: Path, size: Size) -> dict[str, Any]:
    """Have a day made here and on the nodes."""
    day = simulated(work / "large", size)
    wall, expected = local(work, day)
    figures: dict[str, Any] = {"machine": machine(), "load_before": round(os.getloadavg()[0], 1), **asdict(size)}
    figures |= {"datasets": len(expected), "local": round(wall, 1)}
    row = on_nodes(work, day, expected, None)
    return figures | {"trace": row.pop("trace"), "cluster": row}


def under_faults(work: Path, size: Size, faults: Iterable[Fault]) -> dict[str, Any]:
    """Have a day made on the nodes, undisturbed and then under each fault."""
    only = [word for stage in CORE for word in ("--only", stage)]
    day = simulated(work / "small", size)
    _, expected = local(work, day, *only)
    rows: list[dict[str, Any]] = []
    for fault in (None, *faults):
        load = round(os.getloadavg()[0], 1)
        row = on_nodes(work, day, expected, fault, *only)
        row.pop("trace")
        longer = {"longer": round(row["wall"] - rows[0]["wall"], 1)} if rows else {}
        rows.append({"fault": fault.name if fault else "none", **row, **longer, "load_before": load})
    return {"faults": {"machine": machine(), **asdict(size), "stages": CORE, "datasets": len(expected), "rows": rows}}


def simulated(root: Path, size: Size) -> Path:
    """Simulate a day."""
    options = ["--channels", str(size.channels), "--seconds", str(size.seconds), "--trials", "3", "--eye-seconds", "4"]
    subprocess.run([*RAYPIPE, "simulate", str(root), *options], check=True, stdout=subprocess.DEVNULL)
    return root / DAY


def local(work: Path, day: Path, *only: str) -> tuple[float, dict[str, str]]:
    """Have a day made on this machine; return the seconds it took, and its datasets."""
    command = [*RAYPIPE, "run", str(day), "--output", str(work / "local"), *only]
    taken = take(command, RAYPIPE_CACHE_DIR=str(work / "kernels"))
    made = datasets(work / "local" / DAY)
    _free(work / "local")
    print(f"{day.parent.parent.name} here: {taken.wall:.1f} s", flush=True)
    return taken.wall, made


def on_nodes(work: Path, day: Path, expected: dict[str, str], fault: Fault | None, *only: str) -> dict[str, Any]:
    """Have the day made on three of four nodes, one to spare, and say what became of it."""
    out = work / "out"
    with SlurmCluster(nodes=4, cpus=2, memory_mb=4000, shared=[work]) as slurm:
        began = time.time()
        run, jobs = submit(slurm, [day], out, "2:2", *only)
        row: dict[str, Any] = {}
        if fault:
            wait_until(lambda: has_begun(out, fault.tiles), LIMIT_SECONDS, "the first tiles")
            struck = time.time()
            fault.strike(slurm, jobs)
            if fault.ends_the_run:
                _wait_for_end(slurm, run, jobs)
                run, jobs = submit(slurm, [day], out, "2:2", *only)
        _wait_for_end(slurm, run, jobs)
        ended = [each for each in events(out) if each["event"] == "RunEnded"][-1]
        if ended["outcome"] != "done":
            sys.exit(f"{fault.name if fault else 'undisturbed'}: {ended}\n{logs_of(run)}")
        row["wall"] = round(_last(out) - began, 1)
        found = datasets(out / DAY)
        row["differing"] = sum(found.get(key) != expected.get(key) for key in found.keys() | expected.keys())
        row["redone"] = sum(times - 1 for times in Counter(_made(out)).values())
        row["left"] = len(leftovers(out)) + sum(bool(text) for text in _strays(slurm).values())
        if fault:
            row["recovered"] = round(min(each["ended"] for each in _done(out) if each["ended"] > struck) - struck, 1)
        row["trace"] = trace(_done(out), began)
    _free(out)
    print(
        fault.name if fault else "undisturbed",
        {name: value for name, value in row.items() if name != "trace"},
        flush=True,
    )
    return row


def trace(done: Sequence[dict[str, Any]], began: float) -> list[list[Any]]:
    """Return what was made together as (node, stage, from, to, how many outputs), in seconds since `began`."""
    nodes = {name: f"node {number}" for number, name in enumerate(sorted({each["node"] for each in done}), 1)}
    together: dict[tuple[str, str, float], list[float]] = {}
    for each in done:
        place = (nodes[each["node"]], each["stage"], round(each["began"] - began, 2))
        together.setdefault(place, []).append(each["ended"] - began)
    rows = [[*place, round(max(ends), 2), len(ends)] for place, ends in together.items()]
    return sorted(rows, key=lambda row: (row[0], row[2], row[1]))


def draw(rows: Sequence[Sequence[Any]], path: Path) -> None:
    """Draw a trace: a row a node, a bar for what was made together, coloured by stage."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stages = list(dict.fromkeys(row[1] for row in sorted(rows, key=lambda row: row[2])))
    colours = dict(zip(stages, mpl.colormaps[COLOURS].colors, strict=False))  # type: ignore[attr-defined]
    nodes = sorted({row[0] for row in rows})
    figure = Figure(figsize=(10, 1.2 + 1.1 * len(nodes)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, node in enumerate(nodes):
        bars = [row for row in rows if row[0] == node]
        lanes: list[float] = []  # where each ends
        places = []
        for _, _, start, stop, _ in bars:
            lane = next((number for number, end in enumerate(lanes) if end <= start), len(lanes))
            lanes[lane : lane + 1] = [stop]
            places.append(lane)
        height = 0.8 / len(lanes)
        for (_, stage, start, stop, _), lane in zip(bars, places, strict=True):
            bottom = place - 0.4 + lane * height
            axes.barh(bottom, max(stop - start, 0.1), height, start, align="edge", color=colours[stage], label=stage)
    axes.set_yticks(range(len(nodes)), nodes)
    axes.invert_yaxis()
    axes.set_xlabel("seconds since the submission")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend([handles[stage] for stage in stages], stages, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def as_json(figures: dict[str, Any]) -> str:
    """Return figures as JSON, a row of the trace on a line."""
    rows = ",\n  ".join(json.dumps(row) for row in figures.get("trace", ()))
    text = json.dumps(figures | ({"trace": "ROWS"} if rows else {}), indent=1)
    return text.replace('"ROWS"', f"[\n  {rows}\n ]") + "\n"


def _wait_for_end(slurm: SlurmCluster, run: Path, jobs: dict[str, int]) -> None:
    try:
        slurm.wait_job(jobs["finish"], "COMPLETED", seconds=LIMIT_SECONDS)
    except TimeoutError as error:
        error.add_note(logs_of(run))
        raise
    wait_until(lambda: not slurm.run_on(HEAD, ["squeue", "--noheader"]).stdout, 120, "the end of all jobs")


def _done(out: Path) -> list[dict[str, Any]]:
    return [each for each in events(out) if each["event"] == "TaskDone"]


def _made(out: Path) -> list[tuple[str, str]]:
    return [(each["stage"], each["output"]) for each in _done(out)]


def _last(out: Path) -> float:
    """Return when the last driver ended: it writes its log's last line then."""
    return max(log.stat().st_mtime for log in (out / DAY / ".raypipe" / "runs").glob("*/events.jsonl"))


def _strays(slurm: SlurmCluster) -> dict[str, str]:
    """Return what is left on the nodes; one that is off has lost all."""
    for node in slurm.nodes:
        slurm.boot(node)  # does nothing to one that is on
    return strays(slurm)


def _free(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
