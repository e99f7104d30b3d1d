"""How a channel is sorted: from its high-pass of all sessions to the files of its folder in `mountains`."""

from collections.abc import Iterator, Mapping, Sequence

from raypipe.config import Config
from raypipe.errors import FormatError
from raypipe.io.datafield import open_data
from raypipe.stages import mountain_files
from raypipe.stages.mountain_files import Joined
from raypipe.stages.sorting.series import JoinedSeries
from raypipe.stages.sorting.sort import sort_channel
from raypipe.stages.unit_pictures import units_image
from raypipe.tasks import Task
from raypipe.work import Made, Maker, written


def _mountain_batch(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    settings = config.mountain_batch
    names = [session for session, _ in tasks[0].objects]
    parts = [open_data(path) for path in tasks[0].objects.values()]
    for part in parts:
        if part.rate_hz != settings.samplerate:
            raise FormatError(
                f"{part.path} has {part.rate_hz:g} samples per second, and mountain_batch.samplerate is {settings.samplerate:g}",
                hint="set it to what was recorded; all sessions of a channel have the same",
            )
    series = JoinedSeries(parts)
    found = sort_channel(series, settings)
    sessions = Joined(tuple(series.starts), tuple(names))
    contents = {
        "start_indices.csv": mountain_files.start_indices_csv(sessions.starts, sessions.names),
        "firings.mda": mountain_files.firings_mda(found.firings),
        "templates.mda": mountain_files.templates_mda(found.templates),
        "templates.hkl": mountain_files.templates_hkl(found.templates),
        "metrics.json": mountain_files.metrics_json(found.metrics),
        "units.png": units_image(
            found.firings,
            found.templates,
            found.spread,
            found.heights,
            found.metrics,
            sessions,
            found.n_samples,
            _title(tasks[0]),
            noise_uv=found.noise_uv,
            refractory_ms=settings.refractory_ms,
            rate_hz=settings.samplerate,
            notes=found.notes,
        ),
    }
    for number, task in enumerate(tasks):
        yield written(task, contents[task.output.name], () if number else found.notes, token)


def _title(task: Task) -> str:
    assert task.channel
    day = task.session.output.parent
    return f"{day.parent.name}/{day.name}, channel {task.channel.number}"


MAKERS: Mapping[str, Maker] = {"mountain_batch": _mountain_batch}
