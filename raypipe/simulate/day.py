"""A simulated day of recording, in the folders and files the lab would have, with the truth beside it."""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from raypipe.errors import TooLittleDisk, UsageError
from raypipe.simulate.asc import write_asc
from raypipe.simulate.behaviour import Walk, simulate_walk, write_unity_logs
from raypipe.simulate.clocks import BETWEEN_SESSIONS_SECONDS, Clocks, dummy_clocks, session_clocks
from raypipe.simulate.european_edf import write_european_edf
from raypipe.simulate.eye import EyeRecording, Tracker, simulate_eye
from raypipe.simulate.losses import Losses, plan_losses
from raypipe.simulate.messages import calibration_messages, navigation_messages
from raypipe.simulate.neural import simulate_electrode
from raypipe.simulate.outlook import Outlook, joined, session_outlook
from raypipe.simulate.pauses import plan_pauses, recording_blocks
from raypipe.simulate.recording import write_recording
from raypipe.simulate.settings import SimulateSettings
from raypipe.simulate.sight import scene_boxes
from raypipe.simulate.spikes import SAMPLES_PER_SECOND
from raypipe.simulate.trials import (
    DUMMY_SECONDS,
    Navigation,
    calibration_markers,
    navigation_markers,
    plan_calibration,
    plan_dummy,
    plan_navigation,
)
from raypipe.simulate.truth import (
    calibration_truth,
    day_truth,
    dummy_truth,
    eye_truth,
    navigation_truth,
    recording_truth,
)

TRUTH_FILE = "ground_truth.json"
EYE_LEAD_MS = 526  # the tracker starts this much after Ripple
EYE_BYTES_PER_SAMPLE = 47  # of each eye, text and EDF+ together

Markers = tuple[list[int], list[int]]


def simulate_day(
    root: Path,
    settings: SimulateSettings,
    progress: Callable[[int, int], None] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a day below `root` and return its folder, `root/subject/day`.

    The same settings give the same samples, words and times on every machine. `progress(done, total)` is called after
    every recorded second. Memory stays below 1 GB for 128 channels of an hour; a sample of an eye takes 6 bytes of it.

    Raises UsageError if the day is not empty (with `overwrite`: if it was not simulated; else the whole folder is
    replaced), and TooLittleDisk if it would not fit; nothing is written then.
    """
    day = root / settings.subject / settings.day
    _check_free(day, overwrite)
    _check_disk(root, settings)
    if day.exists():
        shutil.rmtree(day)
    day.mkdir(parents=True)
    (day / TRUTH_FILE).touch()  # from here on the folder is known to be simulated
    truth = day_truth(settings)
    advance = _counter(settings, progress)
    _write_calibration(day, settings, truth, advance)
    _write_navigation(day, settings, truth, advance)
    (day / TRUTH_FILE).write_bytes(msgspec.json.encode(truth))
    advance()
    return day


def session_name(session: int) -> str:
    """Name the folder of a session; 0 is the calibration."""
    return f"session{session:02d}" if session else "sessioneye"


def _check_free(day: Path, overwrite: bool) -> None:
    if day.exists() and not day.is_dir():
        raise UsageError(f"{day} is a file, not a folder")
    if not day.exists() or not any(day.iterdir()):
        return
    if not overwrite:
        raise UsageError(f"{day} is not empty", hint="choose another folder or day, or overwrite")
    if not (day / TRUTH_FILE).exists():
        raise UsageError(f"{day} holds data that were not simulated (no {TRUTH_FILE}); they are not overwritten")


def _check_disk(root: Path, settings: SimulateSettings) -> None:
    raw = 2 * SAMPLES_PER_SECOND * (len(settings.channel_numbers) + 1)
    eye = EYE_BYTES_PER_SAMPLE * settings.eye_rate_hz * (1 + settings.binocular)
    unrecorded = settings.dummy_sessions * (DUMMY_SECONDS + BETWEEN_SESSIONS_SECONDS)
    needed = round((raw + eye) * (settings.eye_seconds + settings.sessions * settings.seconds) + eye * unrecorded)
    there = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise TooLittleDisk(f"the day needs {needed / 1e9:.1f} GB, {there} has {free / 1e9:.1f} GB left")


def _counter(settings: SimulateSettings, progress: Callable[[int, int], None] | None) -> Callable[[], None]:
    """Count recorded seconds, and the files at the end as one more."""
    total = _seconds(settings, 0) + settings.sessions * _seconds(settings, 1) + 1
    done = count(1)

    def advance() -> None:
        if progress is not None:
            progress(next(done), total)

    return advance


def _seconds(settings: SimulateSettings, session: int) -> int:
    return -(-_n_samples(settings, session) // SAMPLES_PER_SECOND)


def _n_samples(settings: SimulateSettings, session: int) -> int:
    return round(SAMPLES_PER_SECOND * (settings.seconds if session else settings.eye_seconds))


def _write_calibration(
    day: Path, settings: SimulateSettings, truth: dict[str, Any], advance: Callable[[], None]
) -> None:
    trials = plan_calibration(settings)
    clocks = session_clocks(settings, 0)
    recorded = _write_ripple(day, settings, 0, calibration_markers(trials), advance)
    truth["sessions"][session_name(0)] = calibration_truth(trials, clocks) | recorded
    name = f"P{settings.date.month}_{settings.date.day}"
    whole = (clocks.eye_offset_ms, clocks.eye_ms(_n_samples(settings, 0)))
    blocks = recording_blocks(settings, whole, ())
    eye = simulate_eye(settings.seed, 0, _tracker(settings), blocks, calibration_messages(trials, clocks))
    truth["eye_files"][name] = _write_eye(day / name, settings, eye)


def _write_navigation(
    day: Path, settings: SimulateSettings, truth: dict[str, Any], advance: Callable[[], None]
) -> None:
    messages: list[tuple[int, str]] = []
    outlooks: list[Outlook] = []
    pauses: list[tuple[int, int]] = []
    made: list[tuple[Navigation, Clocks, Walk, Losses, dict[str, Any]]] = []
    dummies = []
    for dummy in range(settings.dummy_sessions):
        navigation = plan_dummy(settings, dummy)
        clocks = dummy_clocks(settings, dummy, navigation.trigger_ticks)
        messages += navigation_messages(navigation, clocks, settings.marker_format)
        dummies.append(dummy_truth(navigation, clocks))
    for session in range(1, settings.sessions + 1):
        navigation = plan_navigation(settings, session)
        losses = plan_losses(settings, session)
        clocks = session_clocks(settings, session, navigation.trigger_ticks)
        markers = navigation_markers(navigation, settings.marker_format, losses.ripple)
        recorded = _write_ripple(day, settings, session, markers, advance)
        walk = simulate_walk(settings, navigation, clocks, losses)
        write_unity_logs(_unity_logs(day, settings, session), walk, settings.header_lines)
        messages += navigation_messages(navigation, clocks, settings.marker_format, losses.eye)
        outlooks.append(session_outlook(walk, navigation, clocks, losses.incomplete))
        pauses += plan_pauses(settings, navigation, clocks)
        made.append((navigation, clocks, walk, losses, recorded))
    begin = dummy_clocks(settings, 0).eye_offset_ms + EYE_LEAD_MS
    whole = (begin, made[-1][1].eye_ms(_n_samples(settings, settings.sessions)))
    blocks = recording_blocks(settings, whole, pauses)
    eye = simulate_eye(
        settings.seed, 1, _tracker(settings), blocks, messages, joined(outlooks), scene_boxes(settings.scene)
    )
    name = settings.day[2:]
    truth["eye_files"][name] = _write_eye(day / name, settings, eye) | {"dummy_sessions": dummies}
    for session, (navigation, clocks, walk, losses, recorded) in enumerate(made, start=1):
        end_ms = clocks.eye_ms(_n_samples(settings, session))
        planted = [look for look in eye.planted if clocks.eye_offset_ms <= look.start_ms < end_ms]
        told = navigation_truth(navigation, clocks, walk, losses, planted)
        truth["sessions"][session_name(session)] = told | recorded


def _tracker(settings: SimulateSettings) -> Tracker:
    return Tracker(settings.eye_rate_hz, settings.binocular, settings.fixation_at_end)


def _write_ripple(
    day: Path, settings: SimulateSettings, session: int, markers: Markers, advance: Callable[[], None]
) -> dict[str, Any]:
    folder = day / session_name(session)
    folder.mkdir()
    n_samples = _n_samples(settings, session)
    electrodes = [simulate_electrode(settings, session, n, n_samples) for n in settings.channel_numbers]
    write_recording(folder / f"{settings.day[2:]}_Block{session}", settings, electrodes, markers, n_samples, advance)
    return recording_truth(n_samples, markers, electrodes)


def _unity_logs(day: Path, settings: SimulateSettings, session: int) -> list[Path]:
    """Name Unity's logs: by the session if there is one, else counted from 1, in natural order."""
    folder = day / session_name(session) / f"RawData_T1-{settings.trials}"
    folder.mkdir()
    when = settings.date
    numbers = [session] if settings.unity_files == 1 else range(1, settings.unity_files + 1)
    return [folder / f"session_{number}_{when.day}{when.month}{when:%Y%H%M%S}.txt" for number in numbers]


def _write_eye(stem: Path, settings: SimulateSettings, eye: EyeRecording) -> dict[str, Any]:
    write_asc(stem.with_suffix(".asc"), eye, f"{stem.name}.edf")
    write_european_edf(stem.with_suffix(".edf"), eye, settings.date)
    return eye_truth(eye)
