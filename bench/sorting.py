"""How well and how fast spikes are sorted, beside MountainSort 5, on channels of known truth: `python -m bench.sorting`.

All channels are of BENCH_SEEDS. Methods and settings are chosen on TUNING_SEEDS, and tests have TEST_SEEDS: the three ranges
(tests/synthetic_spikes.py) have no seed in common, and nothing is chosen by what is printed here.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.machine import machine
from raypipe.config import SortSettings
from raypipe.stages.sorting import events
from raypipe.stages.sorting.clusters import clustered
from raypipe.stages.sorting.memory import memory_needed
from raypipe.stages.sorting.merging import joined
from raypipe.stages.sorting.series import ArraySeries, prepared
from raypipe.stages.sorting.sizes import CLIP
from raypipe.stages.sorting.sort import sort_channel
from tests.synthetic_spikes import (
    BENCH_SEEDS,
    DISTURBANCES,
    RATE_HZ,
    Channel,
    SimulatedUnit,
    add,
    band_noise,
    distance,
    disturbance,
    poisson_times,
    random_channel,
    random_pair,
    random_shape,
    score,
    unit_of,
)

SORTERS = {
    "raypipe": SortSettings(),
    "raypipe, the lab's settings": SortSettings(noise="std", look_again=False, merge=False, match=False),
    "mountainsort5 scheme 2, noise by MAD": SortSettings(sorter="mountainsort5"),
    "mountainsort5 scheme 2, noise by std": SortSettings(sorter="mountainsort5", noise="std"),
}
WANTED_SNR = 6.0
APART = 10.0
"""Units of which the spikes are this far apart, in units of the noise, can be told apart; nobody can do with all."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer channels, and 600 s instead of 5000 s")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--length", type=int, metavar="SECONDS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.length:
        print(json.dumps(length(options.length)))
        return
    short, long, pairs, empty, seconds = (6, 1, 20, 2, 600) if options.quick else (40, 16, 120, 10, 5000)
    for settings in SORTERS.values():
        sort_channel(ArraySeries(random_channel(BENCH_SEEDS[0], 10).samples), settings)  # compiles
    rows: dict[str, Any] = truth(BENCH_SEEDS[1000 : 1000 + short], 60)
    rows |= truth(BENCH_SEEDS[2000 : 2000 + long], 600)
    rows["joining clusters, held-out pairs"] = merges(BENCH_SEEDS[3000 : 3000 + pairs])
    for kind in DISTURBANCES:
        rows[f"no unit: {kind}, 60 s"] = flags(BENCH_SEEDS[4000 : 4000 + empty], kind)
    run = subprocess.run(
        [sys.executable, "-m", "bench.sorting", "--length", str(seconds)], check=True, capture_output=True, text=True
    )
    rows[f"a channel of {seconds} s"] = json.loads(run.stdout)
    for name, row in rows.items():
        print(f"{name:50}", "  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def truth(seeds: range, seconds: float) -> dict[str, Any]:
    """Sort the same channels with each sorter: recall and precision of units of SNR 6 and more, CPU per minute."""
    found: dict[str, list[tuple[float, float, bool]]] = {name: [] for name in SORTERS}
    spent = dict.fromkeys(SORTERS, 0.0)
    false_units, called_noise = dict.fromkeys(SORTERS, 0), dict.fromkeys(SORTERS, 0)
    for seed in seeds:
        channel = random_channel(seed, seconds)
        apart = [
            min([distance(unit, other) for other in channel.units if other is not unit], default=np.inf)
            for unit in channel.units
        ]
        for name, settings in SORTERS.items():
            began = time.process_time()
            sorting = sort_channel(ArraySeries(channel.samples), settings)
            spent[name] += time.process_time() - began
            scores = score(channel.units, sorting.firings[1], sorting.firings[2].astype(np.int64))
            true_labels = {each.label for each in scores}
            false_units[name] += sum(
                each["label"] not in true_labels and not each["metrics"]["is_noise"]
                for each in sorting.metrics["clusters"]
            )
            for each, gap in zip(scores, apart, strict=True):
                if each.snr >= WANTED_SNR:
                    called_noise[name] += bool(
                        each.label and sorting.metrics["clusters"][each.label - 1]["metrics"]["is_noise"]
                    )
                    found[name].append((each.recall, each.precision, gap >= APART))
    rows = {}
    for name, all_units in found.items():
        values = np.array(all_units)
        for which, some in (("all", values), ("apart", values[values[:, 2] == 1])):
            rows[f"{seconds:g} s, {name}, {which}"] = {
                "units": len(some),
                "recall": float(some[:, 0].mean()),
                "precision": float(some[:, 1].mean()),
                "units_with_both_097": float((some[:, :2].min(axis=1) >= 0.97).mean()),
                "units_below_090": int((some[:, :2].min(axis=1) < 0.9).sum()),
            }
        rows[f"{seconds:g} s, {name}, all"] |= {
            "clusters_of_no_unit_not_flagged": false_units[name],
            "units_flagged_as_noise": called_noise[name],
            "cpu_s_per_minute": spent[name] / (len(seeds) * seconds / 60),
        }
    return rows


def merges(seeds: range) -> dict[str, int]:
    """Count pairs of clusters of two units (of one unit) that were joined, and that were not."""
    settings = SortSettings()
    count = dict.fromkeys(("two_units_joined", "two_units_kept", "one_unit_joined", "one_unit_kept_split"), 0)
    for seed in seeds:
        channel = random_pair(seed, 60)
        ready = prepared(ArraySeries(channel.samples), settings)
        times, _ = events.detected(ready, settings)
        clips = events.clips(ready, times, CLIP)
        start = events.middle(CLIP) - events.middle(settings.clip_size)
        labels, clusters = clustered(np.ascontiguousarray(clips[:, start : start + settings.clip_size]), settings)
        units = joined(clips, labels, clusters, settings)
        kinds = []
        for label in range(clusters):
            tally = np.bincount(unit_of(channel, times[labels == label]) + 1, minlength=3)
            is_clear = tally.sum() >= 20 and tally.max() > 0.8 * tally.sum()
            kinds.append(int(tally.argmax()) - 1 if is_clear else -1)
        for a in range(clusters):
            for b in range(a + 1, clusters):
                if min(kinds[a], kinds[b]) < 0:
                    continue
                is_joined = units.labels[a] == units.labels[b]
                which = "one_unit" if kinds[a] == kinds[b] else "two_units"
                count[f"{which}_{'joined' if is_joined else 'kept_split' if which == 'one_unit' else 'kept'}"] += 1
    return count


def flags(seeds: range, kind: str) -> dict[str, int]:
    """Count the clusters of channels without a unit, and what flags they have."""
    count = dict.fromkeys(("channels", "clusters", "not_flagged_as_noise", "of_those_flagged_as_multi_unit"), 0)
    for seed in seeds:
        count["channels"] += 1
        for each in sort_channel(ArraySeries(disturbance(seed, kind, 60)), SortSettings()).metrics["clusters"]:
            count["clusters"] += 1
            count["not_flagged_as_noise"] += not each["metrics"]["is_noise"]
            count["of_those_flagged_as_multi_unit"] += each["metrics"]["is_likely_multi_unit"]
    return count


@dataclass(frozen=True)
class FileSeries:
    """A series in a file of float32."""

    path: Path
    n_samples: int

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read samples [start, stop)."""
        return np.fromfile(self.path, np.float32, stop - start, offset=4 * start)


def length(seconds: int) -> dict[str, float]:
    """Sort a long channel from a file; in a process of its own, because its memory is measured."""
    settings = SortSettings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "series")
        with path.open("wb") as file:
            for part in range(0, seconds, 250):
                file.write(busy(BENCH_SEEDS[8], part).samples.tobytes())
        series = FileSeries(path, path.stat().st_size // 4)
        Path("/proc/self/clear_refs").write_text("5")  # forget what making the file needed
        before = memory("VmRSS")  # code, and what making the file left
        cpu, wall = measured(lambda: sort_channel(series, settings))
        return {
            "minutes": series.n_samples / RATE_HZ / 60,
            "cpu_s": cpu,
            "wall_s": wall,
            "cpu_s_per_minute": cpu / (series.n_samples / RATE_HZ / 60),
            "peak_mb": (memory("VmHWM") - before) / 2**20,
            "peak_of_process_mb": memory("VmHWM") / 2**20,
            "promised_mb_with_code": memory_needed(series.n_samples, settings) / 2**20,
        }


def busy(seed: int, part: int) -> Any:
    """Make 250 s of four units, the same in every part."""
    shapes, random = np.random.default_rng(seed), np.random.default_rng((seed, part))
    samples = band_noise(random, 250 * RATE_HZ)
    for snr in (18.0, 12.0, 8.0, 6.0):
        unit = SimulatedUnit(snr, False, 12.0, 0.0, random_shape(shapes), poisson_times(random, 12.0, 250))
        add(samples, unit)
    return Channel(samples, ())


def measured(work: Callable[[], Any]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def memory(which: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which)) * 1024


if __name__ == "__main__":
    main()
