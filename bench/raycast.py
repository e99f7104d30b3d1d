"""How fast gaze is cast and written, beside trimesh with Embree, and what 100 minutes need: `python -m bench.raycast`."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from trimesh.ray import ray_pyembree

from bench.machine import machine
from kernels.gaze.raycast import Caster, Hits, disc
from kernels.gaze.rows import NUMBERS, pack_names, room_for, write_rows
from raypipe.config import Raycast
from raypipe.io.tables import Table
from raypipe.stages import camera
from raypipe.stages.bins import kernel_scene
from raypipe.stages.raycast import cast_session, kernel_view
from raypipe.stages.scene import boxes

RADIUS_PX, DENSITY = 20.0, 220.0
RATE_HZ = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rays, and 5 minutes")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--session", type=float, metavar="MINUTES", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.session:
        print(json.dumps(session(options.session)))
        return
    n, minutes, pairs = (100_000, 5.0, 3) if options.quick else (1_000_000, 100.0, 5)
    rows: dict[str, Any] = {**rays(n, pairs), "csv rows": text(n, pairs)}
    for length in (minutes / 5, minutes):
        command = [sys.executable, "-m", "bench.raycast", "--session", str(length)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        rows[f"session of {length:g} minutes"] = json.loads(run.stdout)
    for name, row in rows.items():
        print(f"{name:26}", "  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def rays(n: int, pairs: int) -> dict[str, Any]:
    """Cast single rays, and discs of them: trimesh (A) gives triangle and place, we (B) box, place and bin."""
    gaze, poses = walk(n)
    offsets = disc(RADIUS_PX, DENSITY)
    few = n // len(offsets)
    spread = (gaze[:few, None] + offsets).reshape(-1, 2)
    work = {
        "single rays": (gaze, poses, disc(0, DENSITY), gaze, poses),
        f"rays of discs of {len(offsets)}": (gaze[:few], poses[:few], offsets, spread, np.repeat(poses[:few], len(offsets), axis=0)),
    }  # fmt: skip
    mesh = ray_pyembree.RayMeshIntersector(embree_mesh())
    rows = {}
    for name, (ours_gaze, ours_poses, spiral, their_gaze, their_poses) in work.items():
        caster = Caster(kernel_scene("A"), kernel_view(), spiral)
        m = len(ours_gaze)
        hits = Hits(np.empty(m, np.int32), np.empty((m, 3)), np.empty((m * len(spiral), 2)))
        shown, times = np.zeros(m, np.int64), np.zeros(m)
        origins, directions = camera.rays(their_gaze, their_poses)  # not counted for them

        def theirs(origins: Any = origins, directions: Any = directions) -> None:
            mesh.intersects_id(origins, directions, multiple_hits=False, return_locations=True)

        def ours(
            caster: Any = caster, gaze: Any = ours_gaze, poses: Any = ours_poses, rest: Any = (shown, times, hits)
        ) -> None:
            caster.cast(gaze, poses, *rest)

        ours()
        turns = [(clock(theirs), clock(ours)) for _ in range(pairs)]
        rows[name] = {
            "A_million_per_cpu_s": statistics.median(len(origins) / a / 1e6 for a, _ in turns),
            "B_million_per_cpu_s": statistics.median(m * len(spiral) / b / 1e6 for _, b in turns),
            "cpu_ratio": statistics.median(a / b for a, b in turns),
        }
    return rows


def text(n: int, pairs: int) -> dict[str, float]:
    """Write rows of 14 numbers of seven digits: Python's formatting of a hundredth of them (A), ours (B)."""
    labels = pack_names((*boxes("A").names, "Sample Ignored"))
    random = np.random.default_rng(0)
    numbers = random.uniform(-20, 20, (n, NUMBERS)).astype(np.float32)
    objects = random.integers(0, 48, n).astype(np.int32)
    out = np.empty(room_for(n, labels), np.uint8)
    rest = (np.zeros(n, np.int64), np.zeros(n, np.bool_), out)
    some = numbers[: n // 100].tolist()

    def python() -> None:
        "\n".join(",".join(f"{each:.7G}" for each in row) for row in some)

    def ours() -> None:
        write_rows(np.arange(n), labels, objects, numbers, *rest)

    ours()
    turns = [(clock(python), clock(ours)) for _ in range(pairs)]
    return {
        "A_million_per_cpu_s": statistics.median(len(some) / a / 1e6 for a, _ in turns),
        "B_million_per_cpu_s": statistics.median(n / b / 1e6 for _, b in turns),
        "cpu_ratio": statistics.median(a * n / len(some) / b for a, b in turns),
    }


def session(minutes: float) -> dict[str, float]:
    """Cast a session of this length, both files to disk; in a process of its own, because its memory is measured."""
    unity, eyelink = objects(int(60 * minutes * RATE_HZ))
    with tempfile.TemporaryDirectory() as folder:
        csv, bins = Path(folder, "csv"), Path(folder, "hdf")
        short_unity, short_eyelink = objects(2 * RATE_HZ)
        cast_session(short_unity, short_eyelink, Raycast(radius=RADIUS_PX), csv, bins)  # compiles
        del short_unity, short_eyelink
        Path("/proc/self/clear_refs").write_text("5")  # forget what making the objects needed
        before = memory_mb("VmRSS")
        cpu, wall = time.process_time(), time.perf_counter()
        cast_session(unity, eyelink, Raycast(radius=RADIUS_PX), csv, bins)
        return {
            "samples": len(eyelink["timestamps"].values),
            "cpu_s": time.process_time() - cpu,
            "wall_s": time.perf_counter() - wall,
            "peak_mb": memory_mb("VmHWM"),
            "inputs_and_code_mb": before,
            "csv_mb": csv.stat().st_size / 2**20,
            "bins_mb": bins.stat().st_size / 2**20,
        }


def memory_mb(which: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) / 1024


def objects(n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make aligned objects of n samples: gaze of fixations, every tenth without an eye, and trials of ten seconds."""
    gaze, poses = walk(n)
    random = np.random.default_rng(2)
    gaze[np.repeat(random.uniform(size=-(-n // 300)) < 0.1, 300)[:n]] = np.nan
    seconds = 1 + np.arange(n) / RATE_HZ
    frames = poses[::33]
    unity_time = 1 - 2 * 0.033 + 0.033 * np.arange(len(frames) + 1)
    starts = np.arange(0, max(n - 9000, 1), 10_000)
    events = starts[:, None] + (np.array([0, 1000, 8000]) if n > 9000 else np.array([0, 100, 500]))
    unity = {
        "unityData": [np.column_stack([np.zeros((len(frames), 2)), frames, np.zeros((len(frames), 2))])],
        "unityTime": [unity_time],
        "unityTriggers": [np.clip(np.searchsorted(unity_time, seconds[events]) - 1, 0, len(frames) - 1)],
    }
    eyelink = {
        "timestamps": Table(seconds),
        "eye_pos": Table(gaze, ("gx_left", "gy_left")),
        "trial_timestamps": Table(events / RATE_HZ, (0, 1, 2)),
        "trial_codes": Table(np.tile((11, 21, 31), (len(events), 1)), (0, 1, 2)),
        "samplingRate": RATE_HZ,
    }
    return unity, eyelink


def walk(n: int) -> tuple[Any, Any]:
    """Walk along the outer corridor at 5 m/s, with fixations of 300 ms: px (n, 2) and x, z, heading (n, 3)."""
    random = np.random.default_rng(1)
    fixations = np.clip(random.normal((960, 540), (330, 200), (-(-n // 300), 2)), 0, (1920, 1080))
    gaze = np.repeat(fixations, 300, axis=0)[:n] + random.normal(0, 2, (n, 2))
    frame = np.arange(n) // 33
    side, along = np.divmod(frame * 0.165, 20)
    x, z = along - 10, np.full(n, -10.0)
    turns = (side % 4).astype(int)
    corners = np.select([turns == 0, turns == 1, turns == 2], [(x, z), (-z, x), (-x, -z)], (z, -x))
    return gaze, np.column_stack([*corners, 90 - 90 * turns + 40 * np.sin(frame / 50)])


def embree_mesh() -> Any:
    """Make a mesh of the faces of all boxes."""
    table = boxes("A")
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])  # fmt: skip
    vertices = (table.centres[:, None] + table.sizes[:, None] * corners).reshape(-1, 3)
    indices = (8 * np.arange(len(table.names))[:, None, None] + faces).reshape(-1, 3)
    return trimesh.Trimesh(vertices, indices, process=False)


def clock(work: Any) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
