"""How stages of whole sessions are made, from input files and objects."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from raypipe.config import Config
from raypipe.errors import RaypipeError
from raypipe.io.checksum import checksum_of_file
from raypipe.io.eye import EyeRecording
from raypipe.io.eye_files import read_eye_file
from raypipe.io.nev import read_nev
from raypipe.io.objects import load_object, normalised_dir
from raypipe.io.publish import temporary_name
from raypipe.io.unity_log import read_unity_logs
from raypipe.outcome import Written
from raypipe.stages import aligning_objects, edfsplit, picture, raycast, rplparallel, umaze, unity
from raypipe.tasks import Task
from raypipe.work import Made, Maker, folder_of, loaded, saved, written


def _rplparallel(tasks: Sequence[Task], _config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    (path,) = task.inputs
    nev = read_nev(path)
    markers = rplparallel.arrange_markers(nev.codes, nev.ticks, nev.timestamp_resolution, where=str(path))
    yield saved(task, rplparallel.object_fields(markers, folder_of(task)), markers.notes, token)


def _unity(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    ripple = loaded(task, "rplparallel")
    fields, notes = unity.unity_object(
        read_unity_logs(task.inputs),
        ripple["timeStamps"],
        ripple["markers"],
        config.unity,
        task.stage.arguments(config),
        folder_of(task),
    )
    yield saved(task, fields, notes, token)


def _edfsplit(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    recordings, errors = _readable(tasks[0].inputs)
    said = tuple(note for recording in recordings for note in recording.notes)
    said += tuple(f"left out: {error.message}" for error in errors)
    arguments = tasks[0].stage.arguments(config)
    if not tasks[0].session.is_navigation:
        (task,), (recording,) = tasks, recordings
        beside = [path for path in task.session.input.parent.glob(f"{config.edfsplit.NavDirName}*") if path.is_dir()]
        fields, notes = edfsplit.calibration_object(
            recording, config.edfsplit, arguments, folder_of(task), n_navigation=len(beside)
        )
        yield saved(task, fields, said + notes, token)
        return
    sessions = {session: path for task in tasks for (session, _), path in task.objects.items()}
    markers = {session: _markers(path) for session, path in sorted(sessions.items())}
    folders = {session: normalised_dir(path.parent) for session, path in sessions.items()}
    found = edfsplit.navigation_objects(recordings, markers, config.edfsplit, arguments, folders)
    for number, task in enumerate(tasks):
        result = found[task.session.name]
        if isinstance(result, RaypipeError):
            # What is not in the files that could be read may be in the one that could not.
            yield Made.failure(task, errors[0] if errors else result)
        else:
            yield saved(task, result[0], result[1] if number else said + result[1], token)


def _readable(paths: Sequence[Path]) -> tuple[list[EyeRecording], list[RaypipeError]]:
    """Read eye files; return what could be read, and why others could not. Raises the error of the only one."""
    recordings: list[EyeRecording] = []
    errors: list[RaypipeError] = []
    for path in paths:
        try:
            recordings.append(read_eye_file(path))
        except RaypipeError as error:
            errors.append(error)
    if not recordings:
        raise errors[0]
    return recordings, errors


def _aligning_objects(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    ripple = loaded(tasks[0], "rplparallel")
    outputs = {task.output for task in tasks}
    unity_path, eyelink_path = (_path(tasks[0], stage) for stage in ("unity", "edfsplit"))
    aligned = aligning_objects.align(
        load_object(unity_path) if unity_path in outputs else None,
        load_object(eyelink_path) if eyelink_path in outputs else None,
        ripple,
        config.aligning_objects,
    )
    for number, task in enumerate(tasks):
        fields = aligned.unity if task.output == unity_path else aligned.eyelink
        assert fields is not None
        yield saved(task, fields, () if number else aligned.notes, token)


def _raycast(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    outputs = [tasks[0].output.with_name(name) for name in tasks[0].stage.files]
    temporaries = {path.suffix: temporary_name(path, token) for path in outputs}
    try:
        notes = raycast.cast_session(
            loaded(tasks[0], "unity"),
            loaded(tasks[0], "edfsplit"),
            config.raycast,
            temporaries[".csv"],
            temporaries[".hdf"],
        )
    except BaseException:
        for path in temporaries.values():
            path.unlink(missing_ok=True)
        raise
    for number, task in enumerate(tasks):
        temporary = temporaries.pop(task.output.suffix)
        whole = Written.at(temporary, task.stage.name, None, task.output, checksum_of_file(temporary))
        yield Made(task, whole, notes=() if number else notes)
    for unwanted in temporaries.values():  # somebody else's is kept in its place
        unwanted.unlink()


def _umaze(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    fields, notes = umaze.umaze_object(loaded(task, "unity"), task.stage.arguments(config), folder_of(task))
    yield saved(task, fields, notes, token)


def _picture(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    gaze = _path(task, "raycast")
    image = picture.maze_image(
        loaded(task, "umaze"),
        loaded(task, "unity"),
        gaze.with_name("binData.hdf") if gaze else None,
        folder_of(task),
        revision=config.raycast.scene,
        n_gaze_samples=_lines(gaze) if gaze else None,
    )
    yield written(task, image, (), token)


MAKERS: Mapping[str, Maker] = {
    "rplparallel": _rplparallel,
    "unity": _unity,
    "edfsplit": _edfsplit,
    "aligning_objects": _aligning_objects,
    "raycast": _raycast,
    "umaze": _umaze,
    "picture": _picture,
}


def _path(task: Task, stage: str) -> Path | None:
    return task.objects.get((task.session.name, stage))


def _markers(path: Path) -> edfsplit.SessionMarkers:
    """Return what an `rplparallel` object says of a session."""
    fields = load_object(path)
    first = int(fields["rawMarkers"][0])
    started = first in rplparallel.START_WORDS
    return edfsplit.SessionMarkers(
        fields["markers"],
        fields["timeStamps"],
        first if started else None,
        float(fields["sessionStartTime"]) if started else None,
    )


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
