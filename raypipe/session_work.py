"""Stages of whole sessions as work for a worker: from input files and objects to files under temporary names."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raypipe.config import Config
from raypipe.errors import RaypipeError
from raypipe.io.eye import EyeRecording
from raypipe.io.eye_files import read_eye_file
from raypipe.io.nev import read_nev
from raypipe.io.objects import load_object, normalised_dir, object_image
from raypipe.io.publish import temporary_name, write_unnamed
from raypipe.io.unity_log import read_unity_logs
from raypipe.outcome import Failure, Written, failure
from raypipe.plan import Plan
from raypipe.stages import aligning_objects, edfsplit, picture, raycast, rplparallel, umaze, unity
from raypipe.tasks import ObjectOf, Task, TaskId


@dataclass(frozen=True)
class Made:
    """What became of a task: its file, or why there is none; and what should be said about it."""

    task: Task
    written: Written | None = None
    failed: Failure | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionWork:
    """Tasks of one stage that are done together, in one worker."""

    stage: str
    tasks: tuple[Task, ...]
    config: Config

    @property
    def sessions(self) -> tuple[str, ...]:
        """The sessions that it is for."""
        return tuple(dict.fromkeys(task.session.name for task in self.tasks))

    @property
    def memory(self) -> int:
        """Bytes that it asks for."""
        return max(task.memory for task in self.tasks)

    def without(self, lost: Collection[TaskId]) -> "SessionWork":
        """Return what is left of the work when `lost` could not be made: older files of theirs are not read either."""
        left = [task for task in self.tasks if task.needs.isdisjoint(lost)]
        return replace(self, tasks=tuple(replace(task, objects=_not_lost(task, lost)) for task in left))

    def make(self, token: str) -> list[Made]:
        """Make the files under their temporary names; what goes wrong with one is its alone, where it can be."""
        for folder in {task.output.parent for task in self.tasks}:
            folder.mkdir(parents=True, exist_ok=True)
        return list(_MAKERS[self.stage](self.tasks, self.config, token))


def session_works(plan: Plan) -> list[SessionWork]:
    """Return the plan's tasks for whole sessions as works, in an order in which they could be done."""
    works: dict[tuple[str, object], list[Task]] = {}
    for task in plan.todo:
        if task.channel is None:
            # One reading of the eye files serves all sessions.
            together = task.inputs if task.stage.name == "edfsplit" else task.session.name
            works.setdefault((task.stage.name, together), []).append(task)
    return [SessionWork(stage, tuple(tasks), plan.config) for (stage, _), tasks in works.items()]


def _not_lost(task: Task, lost: Collection[TaskId]) -> dict[ObjectOf, Path]:
    return {place: path for place, path in task.objects.items() if (place[1], path) not in lost}


Maker = Callable[[Sequence[Task], Config, str], Iterator[Made]]


def _rplparallel(tasks: Sequence[Task], _config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    (path,) = task.inputs
    nev = read_nev(path)
    markers = rplparallel.arrange_markers(nev.codes, nev.ticks, nev.timestamp_resolution, where=str(path))
    yield _saved(task, rplparallel.object_fields(markers, _folder(task)), markers.notes, token)


def _unity(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    ripple = _object(task, "rplparallel")
    fields, notes = unity.unity_object(
        read_unity_logs(task.inputs),
        ripple["timeStamps"],
        ripple["markers"],
        config.unity,
        task.stage.arguments(config),
        _folder(task),
    )
    yield _saved(task, fields, notes, token)


def _edfsplit(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    recordings, errors = _readable(tasks[0].inputs)
    said = tuple(note for recording in recordings for note in recording.notes)
    said += tuple(f"left out: {error.message}" for error in errors)
    arguments = tasks[0].stage.arguments(config)
    if not tasks[0].session.is_navigation:
        (task,), (recording,) = tasks, recordings
        beside = [path for path in task.session.input.parent.glob(f"{config.edfsplit.NavDirName}*") if path.is_dir()]
        fields, notes = edfsplit.calibration_object(
            recording, config.edfsplit, arguments, _folder(task), n_navigation=len(beside)
        )
        yield _saved(task, fields, said + notes, token)
        return
    sessions = {session: path for task in tasks for (session, _), path in task.objects.items()}
    markers = {session: _markers(path) for session, path in sorted(sessions.items())}
    folders = {session: normalised_dir(path.parent) for session, path in sessions.items()}
    found = edfsplit.navigation_objects(recordings, markers, config.edfsplit, arguments, folders)
    for number, task in enumerate(tasks):
        result = found[task.session.name]
        if isinstance(result, RaypipeError):
            # What is not in the files that could be read may be in the one that could not.
            yield Made(task, failed=failure(task.stage.name, None, errors[0] if errors else result))
        else:
            yield _saved(task, result[0], result[1] if number else said + result[1], token)


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
    ripple = _object(tasks[0], "rplparallel")
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
        yield _saved(task, fields, () if number else aligned.notes, token)


def _raycast(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    outputs = [tasks[0].output.with_name(name) for name in tasks[0].stage.files]
    temporaries = {path.suffix: temporary_name(path, token) for path in outputs}
    try:
        notes = raycast.cast_session(
            _object(tasks[0], "unity"),
            _object(tasks[0], "edfsplit"),
            config.raycast,
            temporaries[".csv"],
            temporaries[".hdf"],
        )
    except BaseException:
        for path in temporaries.values():
            path.unlink(missing_ok=True)
        raise
    for number, task in enumerate(tasks):
        written = Written.at(temporaries.pop(task.output.suffix), task.stage.name, None, task.output)
        yield Made(task, written, notes=() if number else notes)
    for unwanted in temporaries.values():  # somebody else's is kept in its place
        unwanted.unlink()


def _umaze(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    fields, notes = umaze.umaze_object(_object(task, "unity"), task.stage.arguments(config), _folder(task))
    yield _saved(task, fields, notes, token)


def _picture(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    gaze = _path(task, "raycast")
    image = picture.maze_image(
        _object(task, "umaze"),
        _object(task, "unity"),
        gaze.with_name("binData.hdf") if gaze else None,
        _folder(task),
        revision=config.raycast.scene,
        n_gaze_samples=_lines(gaze) if gaze else None,
    )
    yield Made(task, Written.at(write_unnamed(task.output, image, token=token), task.stage.name, None, task.output))


_MAKERS: Mapping[str, Maker] = {
    "rplparallel": _rplparallel,
    "unity": _unity,
    "edfsplit": _edfsplit,
    "aligning_objects": _aligning_objects,
    "raycast": _raycast,
    "umaze": _umaze,
    "picture": _picture,
}


def _saved(task: Task, fields: Mapping[str, Any], notes: tuple[str, ...], token: str) -> Made:
    temporary = write_unnamed(task.output, object_image(fields), token=token)
    return Made(task, Written.at(temporary, task.stage.name, None, task.output), notes=notes)


def _path(task: Task, stage: str) -> Path | None:
    return task.objects.get((task.session.name, stage))


def _object(task: Task, stage: str) -> dict[str, Any]:
    return load_object(task.objects[task.session.name, stage])


def _folder(task: Task) -> str:
    return normalised_dir(task.output.parent)


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
