"""What is known about a simulated day and an analysis may be judged by: `ground_truth.json`."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from raypipe.simulate.behaviour import NO_ROW, Walk
from raypipe.simulate.clocks import Clocks
from raypipe.simulate.eye import MISSING, EyeRecording, PlantedFixation
from raypipe.simulate.losses import EVENTS, Losses, Missing
from raypipe.simulate.messages import trial_texts
from raypipe.simulate.neural import UV_PER_COUNT, Electrode
from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.spikes import SAMPLES_PER_SECOND, TROUGH_SAMPLE
from raypipe.simulate.trials import Navigation, Trial


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
        "scene": settings.scene,
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


def navigation_truth(
    navigation: Navigation,
    clocks: Clocks,
    walk: Walk,
    losses: Losses,
    planted: Sequence[PlantedFixation],
) -> dict[str, Any]:
    """Tell the trials of a navigation session on the three clocks, what is missing of them, and what was looked at.

    Times of events are when they took place, also of those that a file lacks; `unity_rows` are null without a trigger.
    """
    return {
        "trigger_ticks": navigation.trigger_ticks,
        "eye_offset_ms": clocks.eye_offset_ms,
        "unity_rows": walk.seconds.size,
        "trials": [
            _trial_times(trial, clocks)
            | {"unity_rows": [None if row == NO_ROW else row for row in rows]}
            | {"unity_seconds": [clocks.unity_seconds(t) for t in trial.ticks]}
            for trial, rows in zip(navigation.trials, walk.event_rows.tolist(), strict=True)
        ],
        "incomplete_trials": losses.incomplete,
        "unity_log_is_cut": losses.is_cut,
        "missing_in_unity": _missing(losses.unity),
        "missing_in_ripple": _missing(losses.ripple),
        "missing_in_eye": _missing(losses.eye),
        "lost_messages": [
            {
                "trial": trial,
                "event": EVENTS[event],
                "text": trial_texts(navigation.trials[trial])[event],
                "eye_ms": clocks.eye_ms(navigation.trials[trial].ticks[event]),
            }
            for trial, event in sorted(losses.lost)
        ],
        "planted_fixations": list(planted),
    }


def dummy_truth(navigation: Navigation, clocks: Clocks) -> dict[str, Any]:
    """Tell the trials of a dummy session, which only the eye file has."""
    return {
        "trigger_eye_ms": clocks.eye_ms(navigation.trigger_ticks),
        "trials": [
            {"poster": trial.poster, "codes": trial.codes, "eye_ms": [clocks.eye_ms(t) for t in trial.ticks]}
            for trial in navigation.trials
        ],
    }


def calibration_truth(trials: Sequence[tuple[int, int, int]], clocks: Clocks) -> dict[str, Any]:
    """Tell the calibration trials on Ripple's and the eye tracker's clock."""
    return {
        "eye_offset_ms": clocks.eye_offset_ms,
        "trials": [{"ripple_ticks": trial, "eye_ms": [clocks.eye_ms(t) for t in trial]} for trial in trials],
    }


def eye_truth(recording: EyeRecording) -> dict[str, Any]:
    """Sum up an eye file. `n_samples`, `n_missing_samples` (blinks) and events are those of each eye."""
    stays = np.concatenate([recording.tracks[0, 0, low:high] for low, high in recording.blocks])
    summary: dict[str, Any] = {
        "rate_hz": recording.rate_hz,
        "eyes": recording.eyes,
        "first_ms": recording.first_ms,
        "last_ms": recording.end_ms,
        "blocks_ms": [(recording.ms(low), recording.ms(high - 1)) for low, high in recording.blocks],
        "n_samples": stays.size,
        "n_missing_samples": int(np.count_nonzero(stays == MISSING)),
        "n_messages": len(recording.messages),
    }
    for kind in ("fixation", "saccade", "blink"):
        durations = [event.duration_ms for event in recording.events if event.kind == kind and event.eye == "L"]
        summary[f"{kind}s"] = {"n": len(durations), "total_ms": sum(durations)}
    return summary


def _trial_times(trial: Trial, clocks: Clocks) -> dict[str, Any]:
    return {
        "poster": trial.poster,
        "codes": trial.codes,
        "timeout": trial.timeout,
        "route": trial.route,
        "ripple_ticks": trial.ticks,
        "eye_ms": [clocks.eye_ms(t) for t in trial.ticks],
    }


def _missing(events: Missing) -> list[tuple[int, str]]:
    return [(trial, EVENTS[event]) for trial, event in sorted(events)]


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
