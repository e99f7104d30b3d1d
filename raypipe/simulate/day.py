"""A simulated day of recording, in the folders and files the lab would have, with the truth beside it."""

from collections.abc import Callable
from pathlib import Path

from raypipe.simulate.neural import simulate_electrode
from raypipe.simulate.recording import write_recording
from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.spikes import SAMPLES_PER_SECOND
from raypipe.simulate.trials import calibration_markers, navigation_markers, plan_calibration, plan_navigation


def simulate_day(
    root: Path,
    settings: SimulateSettings,
    progress: Callable[[int, int], None] | None = None,  # noqa: ARG001
    *,
    overwrite: bool = False,  # noqa: ARG001
) -> Path:
    """Write a day below `root` and return its folder, `root/subject/day`."""
    day = root / settings.subject / settings.day
    for session in range(settings.sessions + 1):
        folder = day / ("sessioneye" if session == 0 else f"session{session:02d}")
        folder.mkdir(parents=True, exist_ok=True)
        seconds = settings.seconds if session else settings.eye_seconds
        n_samples = round(SAMPLES_PER_SECOND * seconds)
        electrodes = [simulate_electrode(settings, session, n, n_samples) for n in settings.channel_numbers]
        if session:
            markers = navigation_markers(plan_navigation(settings, session), settings.marker_format)
        else:
            markers = calibration_markers(plan_calibration(settings))
        stem = folder / f"{settings.day[2:]}_Block{session}"
        write_recording(stem, settings, electrodes, markers, n_samples, lambda _: None)
    return day
