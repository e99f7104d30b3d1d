"""How stages are made from objects of channels: spectra, cells, waveforms."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path

from raypipe.config import Config
from raypipe.errors import FormatError
from raypipe.io.checksum import checksum_of
from raypipe.io.datafield import open_data
from raypipe.io.objects import load_object, normalised_dir, object_name
from raypipe.io.publish import write_unnamed
from raypipe.outcome import Written, cells_in
from raypipe.stages import export_mountain_cells as cells
from raypipe.stages import freqspectrum, mountain_files, spectrum_pictures, waveform
from raypipe.tasks import Task
from raypipe.work import Made, Maker, folder_of, number_of, saved, written


def _freqspectrum(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    (path,) = task.objects.values()
    fields, notes = freqspectrum.channel_spectrum(open_data(path), task.stage.arguments(config), folder_of(task))
    yield saved(task, fields, notes, token)


def _day_spectrum(tasks: Sequence[Task], _config: Config, token: str) -> Iterator[Made]:
    fields = freqspectrum.day_spectrum(map(load_object, tasks[0].objects.values()))
    title = normalised_dir(tasks[0].output.parent)
    kind = "high-pass" if fields["args"]["loadHighPass"] else "LFP"
    for task in tasks:
        if task.output.suffix == ".png":
            yield written(task, spectrum_pictures.spectra_image(fields, title, kind), (), token)
        else:
            yield saved(task, fields, (), token)


def _export_mountain_cells(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    """Write the cells under names beside their folders; the list of them takes the place of whatever cells there were."""
    (task,) = tasks
    path = task.objects["firings.mda", "mountain_batch"]
    sessions = mountain_files.read_start_indices(task.objects["start_indices.csv", "mountain_batch"])
    if task.session.name not in sessions.names:
        raise FormatError(
            f"{path} has no spikes of {task.session.name}: {' and '.join(sessions.names)} were sorted",
            hint="that sorting is older than the session; --replace makes it again",
        )
    found = cells.cells_of(
        mountain_files.read_firings(path),
        sessions.starts,
        sessions.names,
        rate_hz=config.mountain_batch.samplerate,
        where=str(path),
    )[task.session.name]
    folder = task.output.parent
    old = cells_in(folder)
    parts = []
    for label, times_ms in found.items():
        cell = folder / mountain_files.cell_name(label)
        for name, content in (
            (cells.SPIKES_CSV, cells.spiketrain_csv(times_ms)),
            (
                object_name(cells.SPIKES_STEM, {}),
                cells.spiketrain_image(cells.spiketrain_object(times_ms, normalised_dir(cell))),
            ),
        ):
            temporary = write_unnamed(folder / f"{cell.name}.{name}", content, token=token)
            place = task.stage.name, number_of(task), cell / name
            parts.append(Written.at(temporary, *place, checksum_of(content)))
    made = written(task, _list_of(found), tuple(_going_with(old)), token)
    assert made.written
    yield replace(made, written=replace(made.written, parts=tuple(parts), replaces=tuple(old)))


def _going_with(old: Sequence[Path]) -> Iterator[str]:
    """Say which files that others made of the spikes go with the cells that they lie in."""
    files = [
        path
        for cell in old
        if cell.is_dir() and not cell.is_symlink()
        for path in sorted(cell.iterdir())
        if not path.name.startswith(cells.SPIKES_STEM)
    ]
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        yield f"what was made from earlier spikes goes with them: {files[0].parent.name}/{files[0].name}{more}"


def _list_of(found: Mapping[int, Sized]) -> bytes:
    rows = [f"{mountain_files.cell_name(label)},{len(times_ms)}\r\n" for label, times_ms in found.items()]
    return "".join(["cell,spikes\r\n", *rows]).encode()


def _waveform(tasks: Sequence[Task], config: Config, token: str) -> Iterator[Made]:
    (task,) = tasks
    (path,) = task.objects.values()
    templates = mountain_files.read_templates(path)
    yield saved(task, *waveform.waveform_object(templates, task.stage.arguments(config), folder_of(task)), token)


MAKERS: Mapping[str, Maker] = {
    "freqspectrum": _freqspectrum,
    "freqspectrum_highpass": _freqspectrum,
    "day_spectrum": _day_spectrum,
    "day_spectrum_highpass": _day_spectrum,
    "export_mountain_cells": _export_mountain_cells,
    "waveform": _waveform,
}
