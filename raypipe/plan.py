"""What a run would do: every output of the day, whether it is done, and if not why not. See `history` for what counts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from raypipe.config import Config, parse_bytes
from raypipe.day import Day
from raypipe.errors import UsageError
from raypipe.events import Note
from raypipe.history import History
from raypipe.io.eye_choice import find_eye_files
from raypipe.plan_channels import ChannelPlanner
from raypipe.plan_objects import and_their_sources, plan_objects
from raypipe.plan_sessions import plan_sessions
from raypipe.recording import Recording, Selection, ranges
from raypipe.stages import STAGES, Stage
from raypipe.tasks import Problem, State, Task


@dataclass(frozen=True)
class Plan:
    """All that a run of the day comes to."""

    day: Day
    config: Config
    tasks: tuple[Task, ...]
    problems: tuple[Problem, ...]
    recordings: tuple[Recording, ...]
    notes: tuple[Note, ...] = ()
    """What should be said about the inputs, and stops nothing."""

    @property
    def todo(self) -> tuple[Task, ...]:
        """Tasks that a run would do."""
        return tuple(task for task in self.tasks if task.state == "todo")

    @property
    def replaceable(self) -> tuple[Task, ...]:
        """Tasks whose file is kept for being somebody else's, and that a run with `replace_foreign` would do."""
        return tuple(task for task in self.tasks if task.replaceable)

    @property
    def bytes_to_write(self) -> int:
        """Bytes of the outputs that a run would write."""
        return sum(task.size for task in self.todo)

    @property
    def counts(self) -> Counter[State]:
        """Number of tasks in each state."""
        return Counter(task.state for task in self.tasks)


def make_plan(
    day: Day,
    config: Config,
    *,
    stages: Sequence[Stage] = STAGES,
    channels: Selection | None = None,
    replace_foreign: bool = False,
) -> Plan:
    """Plan `stages` for `channels` (all, if None) of every session of `day`.

    With `replace_foreign`, files that raypipe did not make are made again instead of kept. Only headers are read.
    Raises `UsageError` for a channel that no session has and for parameters that cannot be meant; what is wrong with a
    single session or channel becomes a `Problem`.
    """
    if config.run.memory:
        parse_bytes(config.run.memory)  # nonsense is refused, whether or not there is anything to do
    history = History(day, replaced={stage.name for stage in stages} if replace_foreign else ())
    tasks, problems = plan_sessions(day, config, stages, history)
    recordings: list[Recording] = []
    of_channels: list[Task] = []
    unplanned: list[Problem] = []
    wanted = [stage for stage in and_their_sources(stages) if stage.level == "channel"]
    planner = ChannelPlanner(config, wanted, channels, history)
    for session in day.sessions:
        recording, made, hindered = planner.plan(session)
        recordings += [recording] if recording else []
        of_channels += made
        unplanned += hindered
    if channels is not None and recordings:
        _refuse_unknown(channels, recordings)
    found = plan_objects(day, config, stages, recordings, of_channels, unplanned, channels, history)
    tasks += found[0]
    problems += found[1]
    notes = [Note(recording.session.name, text) for recording in recordings for text in recording.notes]
    if any(task.stage.name == "edfsplit" for task in tasks):
        notes += [Note(day.title, text) for text in find_eye_files(day.input, config.edfsplit).notes]
    return Plan(day, config, tuple(tasks), tuple(problems), tuple(recordings), tuple(notes))


def _refuse_unknown(channels: Selection, recordings: Sequence[Recording]) -> None:
    recorded = {number for recording in recordings for number in recording.channels}
    if unknown := channels.unknown(recorded):
        raise UsageError(f"no session has channel {unknown}", hint=f"recorded are {ranges(recorded)}")
