"""How fast the kernels are against the scipy way, in CPU-time ratios of pairs A B A B: `python -m bench.kernels`."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal

from bench.machine import machine
from kernels import LANES, BandPass, Decimator, deinterleave, halo_for, to_microvolts, warm

RATE_HZ, LFP_HZ = 30_000, 1_000
DOWN = RATE_HZ // LFP_HZ
PIECE = 60_000  # samples converted and filtered at a time: their float32 stay in L3
HIGH_SOS = signal.butter(4, [500, 7500], "bandpass", fs=RATE_HZ, output="sos")
HIGH_BA = signal.butter(4, [500, 7500], "bandpass", fs=RATE_HZ)
LFP_SOS = signal.butter(4, [1, 150], "bandpass", fs=LFP_HZ, output="sos")
LFP_BA = signal.butter(4, [1, 150], "bandpass", fs=LFP_HZ)
TAPS = signal.firwin(601, 1 / DOWN, window=("kaiser", 5.0))
GAIN = np.full(LANES, 0.25, np.float32)
OFFSET = np.zeros(LANES, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 s of signal and 3 pairs")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    seconds, pairs = (20, 3) if options.quick else (120, 3)
    warm()
    rows = {**compile_times(), **filters(seconds, pairs), **flat(pairs), **frames(pairs)}
    for name, row in rows.items():
        print(f"{name:34}", "  ".join(f"{key} {value:.3g}" for key, value in row.items()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def filters(seconds: int, pairs: int) -> dict[str, Any]:
    """Eight channels from int16: the scipy way against ours, and ours against a copy of the high-pass output."""
    counts = recording(seconds)
    samples = counts.shape[1]
    high = np.ones((LANES, samples), np.float32)
    copy = np.ones_like(high)
    lfp = np.ones((LANES, -(-samples // DOWN)), np.float32)
    volts = counts * np.float32(0.25)
    kept = np.ones((LANES, samples // DOWN + 9), np.float32)
    work: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "both filters from int16": (lambda: scipy_both(counts, high, lfp), lambda: ours_both(counts, high, lfp)),
        "high-pass": (lambda: scipy_high(volts, high), lambda: ours_high(volts, high)),
        "LFP": (lambda: scipy_lfp(volts, lfp), lambda: ours_lfp(volts, lfp, kept)),
        "decimator alone": (lambda: scipy_decimate(volts, lfp), lambda: ours_decimate(volts, kept)),
        "copy of the high-pass / both": (lambda: ours_both(counts, high, lfp), lambda: np.copyto(copy, high)),
    }
    rows = {name: compare(*pair, pairs) for name, pair in work.items()}
    for name, row in rows.items():
        row["B_ns_per_sample"] = 1e9 * row["B_cpu_s"] / counts.size
        row["A_ns_per_sample"] = 1e9 * row["A_cpu_s"] / counts.size
        if "copy" in name:
            row["times_copy"] = row["cpu_ratio"]
    return rows


def ours_both(counts: Any, high: Any, lfp: Any) -> None:
    band, decimator, slow = high_pass(), Decimator(TAPS, DOWN), low_pass()
    volts = np.empty((LANES, PIECE), np.float32)
    kept = np.empty((LANES, PIECE // DOWN + 32), np.float32)
    ready = done = 0
    for start in range(0, counts.shape[1], PIECE):
        piece = counts[:, start : start + PIECE]
        x = volts[:, : piece.shape[1]]
        to_microvolts(piece, GAIN, OFFSET, x)
        ready += band.push(x, high[:, ready:])
        done += slow.push(kept[:, : decimator.push(x, kept)], lfp[:, done:])
    band.finish(high[:, ready:])
    done += slow.push(kept[:, : decimator.finish(kept)], lfp[:, done:])
    slow.finish(lfp[:, done:])


def ours_high(volts: Any, high: Any) -> None:
    band, ready = high_pass(), 0
    for start in range(0, volts.shape[1], PIECE):
        ready += band.push(volts[:, start : start + PIECE], high[:, ready:])
    band.finish(high[:, ready:])


def ours_decimate(volts: Any, kept: Any) -> int:
    decimator, ready = Decimator(TAPS, DOWN), 0
    for start in range(0, volts.shape[1], PIECE):
        ready += decimator.push(volts[:, start : start + PIECE], kept[:, ready:])
    return ready + decimator.finish(kept[:, ready:])


def ours_lfp(volts: Any, lfp: Any, kept: Any) -> None:
    slow = low_pass()
    done = slow.push(kept[:, : ours_decimate(volts, kept)], lfp)
    slow.finish(lfp[:, done:])


def scipy_both(counts: Any, high: Any, lfp: Any) -> None:
    for channel in range(LANES):
        volts = counts[channel].astype(np.float32) * np.float32(0.25)
        high[channel] = signal.filtfilt(*HIGH_BA, volts, padlen=24)
        lfp[channel] = signal.filtfilt(*LFP_BA, signal.resample_poly(volts, 1, DOWN), padlen=24)


def scipy_high(volts: Any, high: Any) -> None:
    for channel in range(LANES):
        high[channel] = signal.filtfilt(*HIGH_BA, volts[channel], padlen=24)


def scipy_lfp(volts: Any, lfp: Any) -> None:
    for channel in range(LANES):
        lfp[channel] = signal.filtfilt(*LFP_BA, signal.resample_poly(volts[channel], 1, DOWN), padlen=24)


def scipy_decimate(volts: Any, lfp: Any) -> None:
    for channel in range(LANES):
        lfp[channel] = signal.resample_poly(volts[channel], 1, DOWN)


def flat(pairs: int) -> dict[str, Any]:
    """Compare a recording that goes flat after a second (A) against one that does not (B): denormals would show."""
    busy = recording(20) * np.float32(0.25)
    dead = busy.copy()
    dead[:, RATE_HZ:] = dead[:, RATE_HZ : RATE_HZ + 1]
    high = np.ones_like(busy)
    lfp, kept = (np.ones((LANES, busy.shape[1] // DOWN + 9), np.float32) for _ in range(2))
    return {
        "flat / busy, high-pass": compare(lambda: ours_high(dead, high), lambda: ours_high(busy, high), 2 * pairs),
        "flat / busy, LFP": compare(lambda: ours_lfp(dead, lfp, kept), lambda: ours_lfp(busy, lfp, kept), 2 * pairs),
    }


def frames(pairs: int) -> dict[str, Any]:
    """De-interleaving 128 channels: strided copies (A) against transposes (B)."""
    mixed = np.random.default_rng(0).integers(-32768, 32768, (10 * RATE_HZ, 128)).astype(np.int16)
    out = np.ones((128, len(mixed)), np.int16)
    columns = np.arange(128)

    def strided() -> None:
        for channel in range(128):
            out[channel] = mixed[:, channel]

    return {
        "de-interleave": compare(strided, lambda: deinterleave(mixed, columns, out), pairs),
        "de-interleave / copy": compare(
            lambda: deinterleave(mixed, columns, out),
            lambda: np.copyto(out.reshape(-1), mixed.reshape(-1)),
            2 * pairs,
        ),
    }


def compile_times() -> dict[str, Any]:
    """Seconds of `warm` in a new process, with an empty cache and with a full one."""
    script = (
        "import time, kernels; c, w = time.process_time(), time.perf_counter(); kernels.warm();"
        "print(time.process_time() - c, time.perf_counter() - w)"
    )
    with tempfile.TemporaryDirectory() as cache:
        runs = [
            subprocess.run(
                [sys.executable, "-c", script],
                env={**os.environ, "NUMBA_CACHE_DIR": cache},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            for _ in range(2)
        ]
    return {
        name: {"cpu_s": float(cpu), "wall_s": float(wall)}
        for name, (cpu, wall) in zip(("cold compile", "warm load"), runs, strict=True)
    }


def compare(a: Callable[[], Any], b: Callable[[], Any], pairs: int) -> dict[str, float]:
    """Median over pairs of the ratio of A's time to B's."""
    b()
    times = [(*clock(a), *clock(b)) for _ in range(pairs)]
    return {
        "cpu_ratio": statistics.median(a_cpu / b_cpu for a_cpu, _, b_cpu, _ in times),
        "wall_ratio": statistics.median(a_wall / b_wall for _, a_wall, _, b_wall in times),
        "A_cpu_s": statistics.median(each[0] for each in times),
        "B_cpu_s": statistics.median(each[2] for each in times),
    }


def clock(work: Callable[[], Any]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def recording(seconds: int) -> Any:
    """Slow waves, noise and an offset, (8, samples) int16."""
    rng = np.random.default_rng(1)
    samples = seconds * RATE_HZ
    slow = 400 * np.sin(np.arange(samples) * (2 * np.pi * 8 / RATE_HZ))
    return (slow + 100 * rng.standard_normal((LANES, samples), np.float32) + 800).astype(np.int16)


def high_pass() -> BandPass:
    return BandPass(HIGH_SOS[:, 4:], HIGH_SOS[:, 0].prod())


def low_pass() -> BandPass:
    sections = LFP_SOS[:, 4:]
    return BandPass(sections, LFP_SOS[:, 0].prod(), halo=halo_for(sections), block=20_000)


if __name__ == "__main__":
    main()
