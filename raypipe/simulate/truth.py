"""What is known about a simulated day and an analysis may be judged by: `ground_truth.json`."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from raypipe.simulate.behaviour import Walk
from raypipe.simulate.clocks import Clocks
from raypipe.simulate.eye import MISSING, EyeRecording
from raypipe.simulate.neural import UV_PER_COUNT, Electrode
from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.spikes import SAMPLES_PER_SECOND, TROUGH_SAMPLE
from raypipe.simulate.trials import Navigation


def day_truth(settings: SimulateSettings) -> dict[str, Any]:
    """Tell what holds for the whole day; the sessions and eye files are added to it."""
    return {
        "subject": settings.subject,
        "day": settings.day,
        "seed": settings.seed,
        "spec": settings.spec,
        "channels": settings.channel_numbers,
        "sampling_rate_hz": SAMPLES_PER_SECOND,
        "uv_per_count": UV_PER_COUNT,
        "marker_format": settings.marker_format,
        "clocks": {"unity_ppm": settings.unity_ppm, "eye_ppm": settings.eye_ppm},
        "line": {"frequency_hz": settings.line_hz, "amplitude_uv": settings.line_uv},
        "noise_uv": settings.noise_uv,
        "sessions": {},
        "eye_files": {},
    }


def recording_truth(
    n_samples: int, markers: tuple[list[int], list[int]], electrodes: Sequence[Electrode]
) -> dict[str, Any]:
    """Tell what was put into a session's Ripple files."""
    ticks, codes = markers
    return {
        "n_samples": n_samples,
        "marker_ticks": ticks,
        "marker_codes": codes,
        "channels": {str(electrode.channel): _electrode(electrode) for electrode in electrodes},
    }


def navigation_truth(navigation: Navigation, clocks: Clocks, walk: Walk) -> dict[str, Any]:
    """Tell the trials of a navigation session on the three clocks."""
    return {
        "trigger_ticks": navigation.trigger_ticks,
        "eye_offset_ms": clocks.eye_offset_ms,
        "unity_rows": walk.seconds.size,
        "trials": [
            {
                "poster": trial.poster,
                "codes": trial.codes,
                "timeout": trial.timeout,
                "route": trial.route,
                "ripple_ticks": trial.ticks,
                "unity_rows": rows,
                "unity_seconds": [clocks.unity_seconds(t) for t in trial.ticks],
                "eye_ms": [clocks.eye_ms(t) for t in trial.ticks],
            }
            for trial, rows in zip(navigation.trials, walk.event_rows.tolist(), strict=True)
        ],
    }


def calibration_truth(trials: Sequence[tuple[int, int, int]], clocks: Clocks) -> dict[str, Any]:
    """Tell the calibration trials on Ripple's and the eye tracker's clock."""
    return {
        "eye_offset_ms": clocks.eye_offset_ms,
        "trials": [{"ripple_ticks": trial, "eye_ms": [clocks.eye_ms(t) for t in trial]} for trial in trials],
    }


def eye_truth(recording: EyeRecording) -> dict[str, Any]:
    """Sum up an eye file."""
    summary: dict[str, Any] = {
        "first_ms": recording.first_ms,
        "last_ms": recording.end_ms,
        "n_samples": recording.x.size,
        "n_missing_samples": int(np.count_nonzero(recording.x == MISSING)),
        "n_messages": len(recording.messages),
    }
    for kind in ("fixation", "saccade", "blink"):
        durations = [event.duration_ms for event in recording.events if event.kind == kind]
        summary[f"{kind}s"] = {"n": len(durations), "total_ms": sum(durations)}
    return summary


def _electrode(electrode: Electrode) -> dict[str, Any]:
    return {
        "offset_uv": electrode.offset_uv,
        "lfp": electrode.lfp,
        "line": electrode.line,
        "units": [
            {
                "unit": number,
                "rate_hz": unit.rate_hz,
                "amplitude_uv": unit.amplitude_uv,
                "template_uv": unit.template_uv.tolist(),
                "trough_sample": TROUGH_SAMPLE,
                # As text at once: an hour of 128 channels has millions of spikes.
                "spike_samples": msgspec.Raw(msgspec.json.encode(unit.spike_samples.tolist())),
            }
            for number, unit in enumerate(electrode.units, start=1)
        ],
    }
