"""The input files of stages that are made of whole sessions."""

from pathlib import Path

from raypipe.config import Config
from raypipe.day import Day, Session
from raypipe.errors import InputMissing, RaypipeError
from raypipe.io.eye_choice import eye_source, find_eye_files
from raypipe.io.natural import in_natural_order
from raypipe.memory import Extent
from raypipe.stages import without

_BYTES_PER_SAMPLE = {"EyeLink text": 30, "EyeLink EDF": 15, "European EDF": 6}
"""At least so many; of two eyes it is more."""


def session_inputs(stage: str, day: Day, session: Session, config: Config) -> tuple[Path, ...]:
    """Return the files that a stage reads of a session; none for what is made from objects. Raises `InputMissing`."""
    match stage:
        case "rplparallel":
            return (session.the_file("*.nev"),)
        case "unity":
            return _required_unity_logs(session, config)
        case "edfsplit":
            return _required_eye_files(day, session, config)
        case _:
            return ()


def session_extent(day: Day, session: Session, config: Config) -> Extent:
    """Return how long the session's behaviour is, judged by the sizes of its files."""
    logs = _unity_logs(session, config) if session.is_navigation else ()
    eyes = sum(path.stat().st_size // _bytes_per_sample(path) for path in _eye_files(day, session, config))
    return Extent(sum(path.stat().st_size for path in logs if path.exists()), eyes)  # the key tells of dead links


def _eye_files(day: Day, session: Session, config: Config) -> tuple[Path, ...]:
    """Return the day's calibration file for sessioneye, the files of navigation for all other sessions."""
    found = find_eye_files(day.input, config.edfsplit)
    return found.navigation if session.is_navigation else found.calibration


def _unity_logs(session: Session, config: Config) -> tuple[Path, ...]:
    folders = in_natural_order(path for path in session.input.glob(config.unity.DirName) if path.is_dir())
    return in_natural_order(folders[0].glob(config.unity.FileName)) if folders else ()


def _required_unity_logs(session: Session, config: Config) -> tuple[Path, ...]:
    logs = _unity_logs(session, config)
    if not logs:
        pattern = f"{config.unity.DirName}/{config.unity.FileName}"
        raise InputMissing(
            f"{session.name}: no Unity log {pattern} in {session.input}",
            hint=f"copy the folder of the logs into the session's folder, or go without them: {without('unity')}",
        )
    return logs


def _required_eye_files(day: Day, session: Session, config: Config) -> tuple[Path, ...]:
    files = _eye_files(day, session, config)
    kind = "navigation" if session.is_navigation else "calibration"
    if not files:
        raise InputMissing(
            f"{session.name}: no eye file of the {kind} in {day.input}",
            hint=f"copy the .edf or .asc there (a calibration's name has {config.edfsplit.CalibFileNameChar!r} in it),"
            f" or go without eye data: {without('edfsplit')}",
        )
    if len(files) > 1 and not session.is_navigation:
        raise InputMissing(
            f"{session.name}: {len(files)} eye files of a calibration in {day.input}: {', '.join(f.name for f in files)}",
            hint="a day has one: move the others away",
        )
    return files


def _bytes_per_sample(path: Path) -> int:
    try:
        return _BYTES_PER_SAMPLE[eye_source(path)]
    except RaypipeError:  # whoever reads it will say what is wrong with it
        return max(_BYTES_PER_SAMPLE.values())
