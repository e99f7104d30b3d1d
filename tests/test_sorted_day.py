"""Spectra, sorting and cells of a day that ran end to end: values, order, what is made again, what is kept, kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

import raypipe
from raypipe.config import Config, Resources, SortSettings
from raypipe.errors import UsageError
from raypipe.events import Event, Note, PassProgressed, TaskDone, WorkStarted
from raypipe.memory import in_gb
from raypipe.stages.mountain_files import read_firings, read_start_indices, read_templates
from raypipe.status import status_of
from tests.compare import OBJECTS, RIPPLE, datasets, leftovers
from tests.conftest import Processed
from tests.test_faults import workers
from tests.test_run import CHANNELS, SESSIONS, folder

pytestmark = pytest.mark.usefixtures("one_ray")
RATE_HZ = 30000
SOME = "1-3,9,10"
"""Channels of which as many are sorted at a time as of all."""
TIME_ORDER = ("sessioneye", "session01")
SORTING = ("rplhighpass", "mountain_batch", "export_mountain_cells", "waveform")


def mountains(outputs: Path, channel: int) -> Path:
    return outputs / "mountains" / f"channel{channel:03d}"


def cells(outputs: Path, session: str, channel: int) -> dict[int, NDArray[np.float64]]:
    """Return the spike times in ms by the number of the cell, as the lab reads them: from the text."""
    found = {}
    for path in folder(outputs, session, channel).glob("cell*/spiketrain.csv"):
        found[int(path.parent.name.removeprefix("cell"))] = np.array(path.read_text().split(","), np.float64)
    return found


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_spike_is_in_one_cell(processed: Processed, channel: int) -> None:
    _, samples, labels = read_firings(mountains(processed.folder, channel) / "output" / "firings.mda")
    joined = read_start_indices(mountains(processed.folder, channel) / "start_indices.csv")
    assert joined.names == TIME_ORDER, "as they were recorded"
    assert joined.starts == (1, 1 + 4 * RATE_HZ)
    assert labels.size
    exported = []
    for start, session in zip(joined.starts, joined.names, strict=True):
        for label, times_ms in cells(processed.folder, session, channel).items():
            exported += [(label, round(ms * RATE_HZ / 1000) + start - 1) for ms in times_ms]
            fields = raypipe.load(folder(processed.folder, session, channel) / f"cell{label:02d}/spiketrain_d41d.hkl")
            assert [float(text) for text in fields["spiketimes"][0]] == times_ms.tolist()
    assert sorted(exported) == sorted(zip(labels.astype(int), samples.astype(int), strict=True))


def planted(truth: Mapping[str, Any], session: str, channel: int) -> list[tuple[float, NDArray[np.float64]]]:
    units = truth["sessions"][session]["channels"][str(channel)]["units"]
    return [(unit["amplitude_uv"], np.array(unit["spike_samples"], np.float64) / RATE_HZ * 1000) for unit in units]


def test_the_cells_are_the_units_that_were_planted(processed: Processed, simulated: Path) -> None:
    truth = json.loads((simulated / "ground_truth.json").read_text())
    found, there, right, told = 0, 0, 0, 0
    for channel in CHANNELS:
        for session in SESSIONS:
            of_session = cells(processed.folder, session, channel)
            for amplitude_uv, times_ms in planted(truth, session, channel):
                if amplitude_uv < 8 * truth["noise_uv"]:
                    continue
                # The trough lies some samples behind the planted onset: the same for all spikes of a unit.
                best = max((agreeing(times_ms, cell), len(cell)) for cell in of_session.values())
                found, there = found + best[0], there + len(times_ms)
                right, told = right + best[0], told + best[1]
    assert there > 500
    assert found / there > 0.97
    assert right / told > 0.97


def agreeing(truth_ms: NDArray[np.float64], cell_ms: NDArray[np.float64]) -> int:
    """Return how many of the cell's spikes lie within 2 ms of a planted one, each counted once."""
    nearest = np.abs(truth_ms[:, None] - cell_ms[None, :]) < 2
    return int(min(nearest.any(axis=0).sum(), nearest.any(axis=1).sum()))


def test_spectra_of_channels_and_of_the_day(processed: Processed) -> None:
    for name, source, points in (
        ("freqspectrum_9c80", "rpllfp_6eca", 2000),
        ("freqspectrum_660e", "rplhighpass_b59f", 3000),
    ):
        day = raypipe.load(processed.folder / f"{name}.hkl")
        assert day["numSets"] == len(CHANNELS), "the calibration is not among them"
        for number, channel in enumerate(CHANNELS):
            place = folder(processed.folder, "session01", channel)
            samples = raypipe.load(place / f"{source}.hkl")["data"].astype(np.float64)
            windows = np.pad(samples, (0, -len(samples) % points)).reshape(-1, points)
            n_fft = 1 << (points - 1).bit_length()
            expected = np.abs(np.fft.rfft(windows - windows.mean(axis=1, keepdims=True), n_fft)).mean(axis=0)
            fields = raypipe.load(place / f"{name}.hkl")
            np.testing.assert_allclose(fields["magnitude"][0], expected, rtol=1e-5, atol=1e-5 * expected.max())
            np.testing.assert_array_equal(day["magnitude"][number], fields["magnitude"][0])
            assert day["dirs"][number] == fields["dirs"][0]
            assert fields["dirs"][0].endswith(f"channel{channel:03d}")


def test_the_waveform_is_the_templates(processed: Processed) -> None:
    for channel in CHANNELS:
        fields = raypipe.load(folder(processed.folder, "session01", channel) / "waveform_ed79.hkl")
        templates = read_templates(mountains(processed.folder, channel) / "output" / "templates.hkl")
        np.testing.assert_array_equal(fields["data"][0], np.squeeze(templates))


def test_the_lab_would_count_a_complete_day(processed: Processed, simulated: Path) -> None:
    status = status_of(raypipe.plan_day(simulated, output=processed.folder.parents[1]))
    n = len(CHANNELS)
    assert (status.complete, status.lab_count, status.sorted_channels) == (True, (5 + 6 * n,) * 2, (n, n))
    assert len(list(processed.folder.rglob("firings.mda"))) == n


def test_a_channel_is_sorted_while_others_are_filtered(simulated: Path, tmp_path: Path) -> None:
    raypipe.run_day(simulated, output=tmp_path, only=["rplhighpass"], channels="1")
    events: list[Event] = []
    config = Config(run=Resources(tile_seconds=0.5))
    report = raypipe.run_day(
        simulated, output=tmp_path, channels=SOME, only=SORTING, config=config, listeners=[events.append]
    )
    assert report.exit_code == 0
    begun = [n for n, each in enumerate(events) if isinstance(each, WorkStarted) and each.stage == "mountain_batch"]
    filtered = [n for n, each in enumerate(events) if isinstance(each, PassProgressed)]
    first = events[begun[0]]
    assert isinstance(first, WorkStarted)
    assert first.channel == 1, "both its high-passes were there"
    assert begun[0] < filtered[0]


def test_with_little_memory_it_is_sorted_after_the_filters(
    own_ray: None, processed: Processed, simulated: Path, tmp_path: Path
) -> None:
    from raypipe.run import budget_of

    out = tmp_path / "out"
    plan = raypipe.plan_day(simulated, output=out, channels="1,2", only=SORTING)
    ample = budget_of(plan)
    least = (
        ample.total - ample.asked_for + max(ample.reader + ample.filter_actors * ample.filter_actor, ample.object_task)
    )
    config = Config(run=Resources(cpus=2, memory=str(least)))
    assert (
        budget_of(raypipe.plan_day(simulated, output=out, channels="1,2", only=SORTING, config=config)).total == least
    )
    assert raypipe.run_day(simulated, output=out, channels="1,2", only=SORTING, config=config).exit_code == 0
    made = datasets(out / "picasso" / "20181105")
    assert made == {name: digest for name, digest in datasets(processed.folder).items() if name in made}
    assert any("firings.mda" in name for name in made)


@pytest.fixture(scope="module")
def sorted_once(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of all that leads to the cells of channel 9; not to be changed."""
    out = tmp_path_factory.mktemp("sorted")
    assert raypipe.run_day(simulated, output=out, channels="9", only=SORTING).exit_code == 0
    return out / "picasso" / "20181105"


@pytest.fixture
def one(sorted_once: Path, tmp_path: Path) -> Path:
    """A copy of them that the test may change."""
    copy = tmp_path / "picasso" / "20181105"
    shutil.copytree(sorted_once, copy)
    return copy


def again(simulated: Path, outputs: Path, **options: Any) -> raypipe.run.Report:
    return raypipe.run_day(simulated, output=outputs.parents[1], channels="9", only=SORTING, **options)


def test_another_threshold_makes_new_cells_and_leaves_nothing_of_the_old(one: Path, simulated: Path) -> None:
    place = folder(one, "session01", 9)
    (place / "cell77").mkdir()
    (place / "cell01" / "vmplacecell_d41d.hkl").write_bytes(b"made from the old spikes")
    before = {path: path.stat().st_mtime_ns for path in one.rglob("rplhighpass*")}
    config = Config(mountain_batch=SortSettings(detect_threshold=9.0))
    plan = raypipe.plan_day(simulated, output=one.parents[1], channels="9", only=SORTING, config=config)
    assert {task.stage.name for task in plan.todo} == {"mountain_batch", "export_mountain_cells", "waveform"}
    why = {task.stage.name: task.why for task in plan.todo}
    assert why["mountain_batch"] == "parameter detect_threshold: 4 -> 9"
    assert why["waveform"] == "parameter detect_threshold of mountain_batch: 4 -> 9"
    assert again(simulated, one, config=config).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in one.rglob("rplhighpass*")} == before
    labels = set(read_firings(mountains(one, 9) / "output" / "firings.mda")[2].astype(int))
    there = {path.name for session in SESSIONS for path in folder(one, session, 9).glob("cell[0-9]*")}
    assert there == {f"cell{label:02d}" for label in labels}
    assert not list(one.rglob("vmplacecell*"))
    listed = (place / "cells.csv").read_text().split()
    assert listed == ["cell,spikes", *(f"cell{k:02d},{len(t)}" for k, t in sorted(cells(one, "session01", 9).items()))]
    assert again(simulated, one, config=config).done == 0


def test_a_cell_that_is_gone_is_made_again(one: Path, simulated: Path) -> None:
    expected = datasets(one)
    for path in (folder(one, "session01", 9) / "cell01").iterdir():
        path.unlink()
    plan = raypipe.plan_day(simulated, output=one.parents[1], channels="9", only=SORTING)
    assert [(task.session.name, task.why) for task in plan.todo] == [("session01", "cell01 is gone")]
    assert not status_of(plan).complete
    assert again(simulated, one).done == 1
    assert datasets(one) == expected


def test_one_is_told_what_goes_with_old_cells(one: Path, simulated: Path) -> None:
    first, second = (folder(one, "session01", 9) / name for name in ("cell01", "cell02"))
    for cell in (first, second):
        (cell / "vmplacecell_d41d.hkl").write_bytes(b"made from the spikes")
    (second / "spiketrain_d41d.hkl").unlink()
    events: list[Event] = []
    assert again(simulated, one, listeners=[events.append]).done == 1
    assert not list(one.rglob("vmplacecell*"))
    said = [event.text for event in events if isinstance(event, Note) and "goes with them" in event.text]
    what = "cell01/vmplacecell_d41d.hkl and 1 more"
    assert said == [f"channel 9: what was made from earlier spikes goes with them: {what}"]


@pytest.mark.parametrize("what", ["a file", "a link", "a link to nothing"])
def test_what_is_in_a_cells_place_gives_way_when_one_asks(
    one: Path, simulated: Path, tmp_path: Path, what: str
) -> None:
    expected = datasets(one)
    cell = folder(one, "session01", 9) / "cell01"
    elsewhere = tmp_path / "elsewhere"
    shutil.move(cell, elsewhere)
    if what == "a file":
        cell.write_bytes(b"notes")
    else:
        cell.symlink_to(elsewhere if what == "a link" else "nothing")
    (elsewhere / "spiketrain.csv").write_bytes(b"1.0\r\n")
    assert again(simulated, one).done == 0
    assert again(simulated, one, replace=True).done == 1
    assert datasets(one) == expected
    assert (elsewhere / "spiketrain.csv").read_bytes() == b"1.0\r\n"
    assert not again(simulated, one, replace=True).plan.todo


def test_cells_of_something_else_are_kept_until_one_asks(one: Path, simulated: Path) -> None:
    edited = folder(one, "session01", 9) / "cell01" / "spiketrain.csv"
    edited.write_bytes(b"1.0,2.0\r\n")
    config = Config(mountain_batch=SortSettings(detect_threshold=9.0))
    report = again(simulated, one, config=config)
    assert report.exit_code == 0
    assert edited.read_bytes() == b"1.0,2.0\r\n"
    plan = report.plan
    (kept,) = [task for task in plan.tasks if task.state == "kept"]
    assert kept.why == "cell01 was changed by something else since; --replace makes all cells again"
    assert status_of(plan).rows
    assert again(simulated, one, config=config, replace=True).done == 1
    assert len(cells(one, "session01", 9)[1]) > 2


def test_a_sorting_of_something_else_is_used_as_it_is(one: Path, simulated: Path) -> None:
    """A folder as PyHipp leaves it: another order of sessions, fewer files; its cells are exported."""
    from raypipe.stages.mountain_files import firings_mda, start_indices_csv

    out = one.parents[1] / "other"
    theirs = out / "picasso" / "20181105"
    place = mountains(theirs, 9)
    (place / "output").mkdir(parents=True)
    (place / "start_indices.csv").write_bytes(start_indices_csv([1, 375_001], ["session01", "sessioneye"]))
    (place / "output" / "firings.mda").write_bytes(
        firings_mda(np.array([[1.0, 1.0, 1.0], [0.0, 374_999.0, 375_000.0], [2.0, 2.0, 2.0]]))
    )
    (place / "output" / "templates.hkl").write_bytes((mountains(one, 9) / "output" / "templates.hkl").read_bytes())
    before = {path: path.read_bytes() for path in place.rglob("*.*")}
    report = raypipe.run_day(simulated, output=out, channels="9", only=SORTING)
    assert report.exit_code == 0
    assert {path: path.read_bytes() for path in place.rglob("*.*")} == before
    assert cells(theirs, "session01", 9)[2].tolist() == [0.0, 374_999 / 30]
    assert cells(theirs, "sessioneye", 9)[2].tolist() == [0.0]


def test_sorting_that_cannot_be_meant_is_refused_before_anything_runs(
    one: Path, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="samplerate is 20000, and the recording has 30000 samples per second"):
        again(simulated, one, config=Config(mountain_batch=SortSettings(samplerate=20000.0)))
    monkeypatch.setattr("raypipe.stages.parameters.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="mountainsort5 and spikeinterface are not installed") as refused:
        again(simulated, one, config=Config(mountain_batch=SortSettings(sorter="mountainsort5")))
    assert "raypipe-ephys[sorting]" in refused.value.hint
    assert again(simulated, one).done == 0


def test_a_sorting_that_fails_costs_its_channel_and_leaves_what_was_there(one: Path, simulated: Path) -> None:
    """The file of a high-pass that was changed by something else is used, and this one is cut."""
    cut = folder(one, "session01", 9) / "rplhighpass_b59f.hkl"
    os.truncate(cut, cut.stat().st_size // 2)
    expected = {path: path.read_bytes() for path in (one / "mountains").rglob("*.*")}
    report = again(simulated, one)
    assert report.exit_code == 1
    errors = {each.stage: each.error for each in report.failures}
    assert str(cut) in errors["mountain_batch"]
    assert "needs mountain_batch, which failed" in errors["waveform"]
    assert "needs mountain_batch, which failed" in errors["export_mountain_cells"]
    assert {path: path.read_bytes() for path in (one / "mountains").rglob("*.*")} == expected
    assert leftovers(one) == []


def test_a_worker_that_is_killed_while_it_sorts_is_begun_again(
    processed: Processed, simulated: Path, tmp_path: Path
) -> None:
    victims: list[int] = []
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, TaskDone) and event.stage == "mountain_batch" and not victims:
            for victim in workers("_do_work"):
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
                    victims.append(victim.pid)

    report = raypipe.run_day(simulated, output=tmp_path, channels=SOME, only=SORTING, listeners=[listen])
    assert victims
    assert report.exit_code == 0
    asked = next(task.memory for task in report.plan.tasks if task.stage.name == "mountain_batch")
    assert any(
        event.text.endswith(f"is begun again with {in_gb(2 * asked)} of memory")
        for event in events
        if isinstance(event, Note)
    )
    handed_out = [each for each in events if isinstance(each, WorkStarted) and each.stage == "mountain_batch"]
    more = [each.channel for each in handed_out if each.memory == 2 * asked]
    assert more
    for channel in more:
        assert [each.memory for each in handed_out if each.channel == channel] == [asked, 2 * asked]
    made = datasets(tmp_path / "picasso" / "20181105")
    assert made == {name: digest for name, digest in datasets(processed.folder).items() if name in made}
    assert leftovers(tmp_path) == []


def sorted_folder(name: str) -> str:
    """Return `mountains/channelNNN` of the file of a sorting."""
    return "/".join(name.split("/")[:2])


@pytest.mark.parametrize("stage", ["mountain_batch", "export_mountain_cells"])
def test_a_driver_that_is_killed_loses_nothing(
    processed: Processed, simulated: Path, tmp_path: Path, stage: str
) -> None:
    command: list[str | Path] = [Path(sys.executable).parent / "raypipe", "run", simulated, "--output", tmp_path]
    command += ["--json", f"--channels={SOME}"]
    command += [f"--only={each}" for each in (*SORTING, "freqspectrum_highpass")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        finished = []
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "TaskDone":
                finished.append(event["output"])
                if event["stage"] == stage and len(finished) % 3 == 0:
                    os.kill(process.pid, signal.SIGKILL)
                    break
    assert process.returncode == -signal.SIGKILL
    outputs = tmp_path / "picasso" / "20181105"
    expected = datasets(processed.folder)
    now = datasets(outputs)
    assert {name: expected[name] for name in now} == now, "what has its name is whole"
    # What is made together is made again together, if one of it was not yet there.
    folders = Counter(sorted_folder(name) for name in finished)
    before = {
        name: (outputs / name).stat().st_mtime_ns
        for name in finished
        if not name.startswith("mountains") or folders[sorted_folder(name)] == 6
    }
    stages = (*SORTING, "freqspectrum_highpass")
    assert raypipe.run_day(simulated, output=tmp_path, channels=SOME, only=stages).exit_code == 0
    assert {name: (outputs / name).stat().st_mtime_ns for name in before} == before, "nothing is done twice"
    made = datasets(outputs)
    assert made == {name: digest for name, digest in expected.items() if name in made}
    assert sum("firings.mda" in name for name in made) == 5
    assert leftovers(tmp_path) == []


def test_a_session_without_spikes_has_an_empty_list(simulated: Path, tmp_path: Path) -> None:
    """Nothing is as high as a threshold of a thousand."""
    config = Config(mountain_batch=SortSettings(detect_threshold=1000.0))
    report = raypipe.run_day(simulated, output=tmp_path, channels="9", only=SORTING, config=config)
    assert report.exit_code == 0
    outputs = tmp_path / "picasso" / "20181105"
    for session in SESSIONS:
        assert (folder(outputs, session, 9) / "cells.csv").read_text().split() == ["cell,spikes"]
        assert not list(folder(outputs, session, 9).glob("cell[0-9]*"))
    assert read_firings(mountains(outputs, 9) / "output" / "firings.mda").shape == (3, 0)
    assert json.loads((mountains(outputs, 9) / "output" / "metrics.json").read_text()) == {"clusters": []}


def test_cleaning_takes_cells_and_sorting_too(one: Path, simulated: Path) -> None:
    from raypipe.clean import clean, find_leftovers
    from raypipe.day import find_day

    day = find_day(simulated, one.parents[1])
    clean(day, find_leftovers(day))
    assert not one.exists() or not [path for path in one.rglob("*") if path.is_file()]


def test_the_published_sorter_makes_the_same_files(one: Path, simulated: Path) -> None:
    pytest.importorskip("mountainsort5")
    config = Config(mountain_batch=SortSettings(sorter="mountainsort5"))
    assert again(simulated, one, config=config).exit_code == 0
    truth = json.loads((simulated / "ground_truth.json").read_text())
    for amplitude_uv, times_ms in planted(truth, "session01", 9):
        if amplitude_uv >= 12 * truth["noise_uv"]:
            best = max(agreeing(times_ms, cell) for cell in cells(one, "session01", 9).values())
            assert best > 0.9 * len(times_ms)
    assert read_firings(mountains(one, 9) / "output" / "firings.mda").shape[1] == sum(
        len(each) for session in SESSIONS for each in cells(one, session, 9).values()
    )


def test_stages_of_objects_are_named_by_what_they_lack(simulated: Path, tmp_path: Path) -> None:
    plan = raypipe.plan_day(simulated, output=tmp_path, only=["export_mountain_cells", "freqspectrum"])
    said = {(problem.session, problem.stages): problem.error for problem in plan.problems}
    assert set(said) == {
        ("session01", ("export_mountain_cells",)),
        ("sessioneye", ("export_mountain_cells",)),
        ("session01", ("freqspectrum",)),
        ("sessioneye", ("freqspectrum",)),
    }
    cells_error = said["session01", ("export_mountain_cells",)]
    assert cells_error.message == (
        "session01: export_mountain_cells needs rplhighpass and mountain_batch, not up to date and left out"
    )
    assert "--only rplhighpass --only mountain_batch" in cells_error.hint
    assert all(len(problem.tasks) == len(CHANNELS) for problem in plan.problems)
    assert plan.todo == ()


def test_objects_of_the_day_are_of_all_channels(simulated: Path, tmp_path: Path) -> None:
    plan = raypipe.plan_day(simulated, output=tmp_path, channels="1,9", only=(*RIPPLE, *OBJECTS))
    assert not {task.stage.name for task in plan.tasks} & {"day_spectrum", "day_spectrum_highpass"}
    assert {task.channel.number for task in plan.tasks if task.channel} == {1, 9}


def test_settings_of_sorting_come_from_the_file(tmp_path: Path) -> None:
    from raypipe.config import config_toml, load_config

    path = tmp_path / "raypipe.toml"
    path.write_text(config_toml(Config(mountain_batch=SortSettings(detect_sign=-1, noise="std"))))
    assert load_config(path).mountain_batch == SortSettings(detect_sign=-1, noise="std")
    assert msgspec.structs.asdict(load_config(None).mountain_batch)["detect_interval"] == 30
