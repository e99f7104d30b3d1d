"""What was made is read again: whatever is not as it was written is found and named, and nothing else is."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import raypipe
from raypipe.cli import app
from raypipe.day import Day
from raypipe.errors import NotADay, Refused
from raypipe.io.checksum import checksum_of
from raypipe.ledger import FILE_NAME, Entry, append_entries, prepare_state, read_ledger
from raypipe.verify import Verified, bytes_of, verify_days
from tests.io.test_checksum import flip

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LFP = "session01/array01/channel009/rpllfp_6eca.hkl"
CELLS = "session01/array01/channel009/cells.csv"


# Of days that were really run.


@pytest.fixture(scope="module")
def made(another: Path, another_processed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A copy, with the times, of a day's outputs; whoever changes it puts it back."""
    out = tmp_path_factory.mktemp("verified") / "picasso" / another.name
    shutil.copytree(another_processed, out)
    yield Day(another, out)
    shutil.rmtree(out)


def files(day: Day) -> dict[str, Path]:
    """Return all files but raypipe's own, by their path in the day."""
    found = {path.relative_to(day.output).as_posix(): path for path in day.output.rglob("*") if path.is_file()}
    return {name: path for name, path in found.items() if not name.startswith(".raypipe/")}


def flip_unseen(path: Path, place: int) -> None:
    """Change a byte as a failing disk does: without a trace in the time of change."""
    status = path.stat()
    flip(path, place)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_what_a_run_made_is_as_it_was_written(made: Day) -> None:
    told: list[int] = []
    found = verify_days([made], advance=told.append)
    n_bytes = sum(path.stat().st_size for path in files(made).values())
    assert found == Verified(outputs=len(files(made)), bytes=n_bytes, faults=(), unsummed=0)
    assert sum(told) == bytes_of([made]) == n_bytes
    aligned = [entry.checksum for entry in read_ledger(made.state) if entry.output == "session01/unity_71bf.hkl"]
    assert len(set(aligned)) == 2, "two stages wrote it, and the second one's bytes are there"


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), part=st.sampled_from(["head", "anywhere", "end"]))
def test_a_flipped_byte_anywhere_of_any_file_is_found(made: Day, seed: int, part: str) -> None:
    random = Random(seed)
    found = files(made)
    chosen = random.sample(sorted(found), len(found) // 2)
    flipped = []
    for name in chosen:
        size = found[name].stat().st_size
        first, last = {"head": (0, min(size, 40_000)), "anywhere": (0, size), "end": (max(0, size - 100), size)}[part]
        if first < last:  # a cell of which this session has no spikes may have an empty file
            flipped.append((name, random.randrange(first, last)))
    for name, place in flipped:
        flip_unseen(found[name], place)
    try:
        seen = verify_days([made])
    finally:
        for name, place in flipped:
            flip_unseen(found[name], place)
    assert {fault.output for fault in seen.faults} == {name for name, _ in flipped}
    assert {fault.kind for fault in seen.faults} == {"rotten"}
    assert seen.outputs == len(found)


def test_a_rotten_file_that_is_removed_is_made_again(another: Path, another_processed: Path, tmp_path: Path) -> None:
    """As the message says; `run` alone believes size and time."""
    day = Day(another, tmp_path / "picasso" / another.name)
    shutil.copytree(another_processed, day.output)
    lfp = day.output / LFP
    flip_unseen(lfp, 30_000)
    arguments = [str(another), "--output", str(tmp_path)]
    shown = CliRunner().invoke(app, ["verify", *arguments])
    assert shown.exit_code == 1, shown.output
    assert f"{LFP}: its bytes are not those that were written\n" in shown.output
    assert "1 is wrong" in shown.output
    assert "hint: rotten:" in shown.output

    lfp.unlink()
    shown = CliRunner().invoke(app, ["verify", *arguments])
    assert (shown.exit_code, f"{LFP}: it was made, and is gone\n" in shown.output) == (1, True)
    assert raypipe.run_day(another, output=tmp_path, only=["rpllfp"]).done == 1
    shown = CliRunner().invoke(app, ["verify", *arguments])
    assert shown.exit_code == 0, shown.output
    assert "all are as they were written" in shown.output
    shutil.rmtree(day.output)


# Of days with few small files, whose ledger is written as a run does.


@pytest.fixture
def day(tmp_path: Path) -> Day:
    made = Day(folder := tmp_path / "picasso" / "20181105", folder)
    (folder / "session01").mkdir(parents=True)
    prepare_state(made.state)
    return made


def entry(output: str, content: bytes, mtime_ns: int, *, checksum: str | None = None, part: bool = False) -> Entry:
    summed = checksum_of(content) if checksum is None else checksum
    who = "rpllfp", "session01", 9, {} if part else {"code": "a"}
    return Entry(output, *who, len(content), mtime_ns, "2026", "run", "0", summed)


def make(day: Day, output: str = LFP, content: bytes = SIGNATURE + b"made", *, checksum: str | None = None) -> Path:
    """Write an output, and its line."""
    path = write(day, output, content)
    append_entries(day.state, [entry(output, content, path.stat().st_mtime_ns, checksum=checksum)])
    return path


def write(day: Day, output: str, content: bytes) -> Path:
    path = day.output / output
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(1, 10**18))
    return path


def kinds(day: Day) -> dict[str, str]:
    return {fault.output: fault.kind for fault in verify_days([day]).faults}


def test_an_empty_day_has_nothing_to_verify(day: Day) -> None:
    assert verify_days([day]) == Verified(0, 0, (), 0)
    refused = CliRunner().invoke(app, ["verify", str(day.input)]).exception
    assert isinstance(refused, Refused)
    assert (refused.exit_code, refused.message.partition(":")[0]) == (3, day.title)
    assert refused.hint == "`raypipe run` first; --output as it was given there"


@pytest.mark.parametrize("in_its_place", ["nothing", "a dangling link", "a file in its folder's place"])
def test_a_file_that_is_gone(day: Day, in_its_place: str) -> None:
    path = make(day)
    path.unlink()
    if in_its_place == "a dangling link":
        path.symlink_to("nowhere")
    if in_its_place == "a file in its folder's place":
        path.parent.rmdir()
        path.parent.touch()
    assert verify_days([day]).wrong == (f"{LFP}: it was made, and is gone",)


def test_what_is_no_file(day: Day) -> None:
    path = make(day)
    path.unlink()
    path.mkdir()
    assert kinds(day) == {LFP: "damaged"}
    path.rmdir()
    os.mkfifo(path)  # whoever opened it would wait for ever
    assert kinds(day) == {LFP: "damaged"}


def test_what_cannot_be_read(day: Day) -> None:
    path = make(day)
    path.unlink()
    path.symlink_to(path.name)
    (wrong,) = verify_days([day]).wrong
    assert wrong == f"{LFP}: it cannot be read: Too many levels of symbolic links"


def test_a_file_that_was_moved_and_linked_is_read(day: Day, tmp_path: Path) -> None:
    path = make(day)
    path.rename(moved := tmp_path / "archive.hkl")
    path.symlink_to(moved)
    assert verify_days([day]) == Verified(1, 12, (), 0)
    flip_unseen(moved, 9)
    assert kinds(day) == {LFP: "rotten"}


@pytest.mark.parametrize("checksum", [None, ""])
@pytest.mark.parametrize("left", [SIGNATURE + b"mad", SIGNATURE + b"made!", b""])
def test_another_size_that_nobody_made(day: Day, left: bytes, checksum: str | None) -> None:
    path = make(day, checksum=checksum)
    status = path.stat()
    path.write_bytes(left)
    os.utime(path, ns=(1, status.st_mtime_ns))
    assert verify_days([day]).wrong == (f"{LFP}: it has {len(left)} bytes, and 12 were written",)


@pytest.mark.parametrize("checksum", [None, ""])
@pytest.mark.parametrize("edited", [SIGNATURE + b"mine", SIGNATURE + b"mine, longer"])
def test_what_somebody_edited_is_told_and_not_wrong(day: Day, edited: bytes, checksum: str | None) -> None:
    make(day, checksum=checksum).write_bytes(edited)
    found = verify_days([day])
    assert (found.wrong, found.changed) == ((), (f"{LFP}: something else changed it since raypipe made it",))
    shown = CliRunner().invoke(app, ["verify", str(day.input)])
    assert (shown.exit_code, "1 edited since" in shown.stdout) == (0, True)


@pytest.mark.parametrize("left", [b"", b"not HDF5 any more", SIGNATURE[:4]])
def test_what_somebody_broke_is_wrong(day: Day, left: bytes) -> None:
    make(day).write_bytes(left)
    found = verify_days([day])
    assert (kinds(day), len(found.wrong), found.changed) == ({LFP: "damaged"}, 1, ())


def test_bytes_count_more_than_time(day: Day) -> None:
    """A copy that has lost its times, as from a bucket."""
    os.utime(make(day))
    assert verify_days([day]) == Verified(1, 12, (), 0)


def test_an_older_ledger_has_no_checksums(day: Day) -> None:
    make(day)
    ledger = day.state / FILE_NAME
    line = json.loads(ledger.read_text())
    assert line.pop("checksum").startswith("xxh3-128 ")
    ledger.write_text(json.dumps(line) + "\n")
    assert [each.checksum for each in read_ledger(day.state)] == [""]
    assert verify_days([day]) == Verified(0, 0, (), 1)
    shown = CliRunner().invoke(app, ["verify", str(day.input)])
    assert (shown.exit_code, "of 1 made by an earlier version only size and time" in shown.stdout) == (0, True)
    os.utime(day.output / LFP)
    assert kinds(day) == {LFP: "changed"}


def test_a_later_versions_checksum_is_none_to_us(day: Day) -> None:
    make(day, checksum=f"xxh4-256 {'0' * 64}")
    assert verify_days([day]) == Verified(0, 0, (), 1)


def test_a_line_of_a_file_that_never_got_its_name(day: Day) -> None:
    """The line is written before the rename, and a crash may come in between."""
    path = make(day)
    newer = entry(LFP, SIGNATURE + b"newer", path.stat().st_mtime_ns + 5)
    append_entries(day.state, [newer])
    assert verify_days([day]) == Verified(1, 12, (), 0)
    flip_unseen(path, 11)
    assert kinds(day) == {LFP: "rotten"}


def cells(day: Day, *names: str, listed: bytes) -> None:
    """Write cells as a run does: their lines, that of the list last."""
    lines = []
    for name in names:
        output = f"{Path(CELLS).parent}/{name}/spiketrain.csv"
        content = f"spikes of {name}".encode()
        lines.append(entry(output, content, write(day, output, content).stat().st_mtime_ns, part=True))
    path = write(day, CELLS, listed)
    append_entries(day.state, [*lines, entry(CELLS, listed, path.stat().st_mtime_ns)])


def test_only_the_cells_of_the_last_sorting_are_missed(day: Day) -> None:
    cells(day, "cell01", "cell02", "cell03", listed=b"three")
    for name in ("cell02", "cell03"):
        shutil.rmtree(day.output / Path(CELLS).with_name(name))
    assert set(kinds(day).values()) == {"missing"}
    cells(day, "cell01", "cell02", listed=b"now two")
    assert verify_days([day]) == Verified(3, 39, (), 0)
    shutil.rmtree(day.output / Path(CELLS).with_name("cell02"))
    assert kinds(day) == {f"{Path(CELLS).parent}/cell02/spiketrain.csv": "missing"}


def test_lines_of_parts_that_a_crash_left_without_their_whole(day: Day) -> None:
    part = msgspec.structs.replace(entry("session01/cell01/x.csv", b"x", 5, part=True), run="a killed one")
    append_entries(day.state, [part])
    make(day)
    assert verify_days([day]) == Verified(1, 12, (), 0)


def test_of_several_days_each_output_is_named_with_its_day(day: Day, tmp_path: Path) -> None:
    next_day = Day(folder := tmp_path / "picasso" / "20181106", folder)
    (folder / "session01").mkdir(parents=True)
    prepare_state(next_day.state)
    flip_unseen(make(day), 8)
    make(next_day).unlink()
    shown = CliRunner().invoke(app, ["verify", str(day.input), str(folder), "--json"])
    assert shown.exit_code == 1
    assert json.loads(shown.stdout) == {
        "outputs": 1,
        "bytes": 12,
        "unsummed": 0,
        "wrong": 2,
        "faults": [
            {
                "output": f"picasso/20181105/{LFP}",
                "kind": "rotten",
                "text": "its bytes are not those that were written",
            },
            {"output": f"picasso/20181106/{LFP}", "kind": "missing", "text": "it was made, and is gone"},
        ],
    }


def test_who_interrupts_is_heard_at_once(day: Day) -> None:
    for number in range(50):
        make(day, f"session01/array01/channel{number:03d}/rpllfp_6eca.hkl")
    told: list[int] = []

    def interrupt(n_read: int) -> None:
        told.append(n_read)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify_days([day], advance=interrupt)
    assert len(told) < 50


def test_what_is_no_day() -> None:
    assert isinstance(CliRunner().invoke(app, ["verify", "nowhere"]).exception, NotADay)
