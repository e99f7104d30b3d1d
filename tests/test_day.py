"""Finding a day, its sessions, their files."""

from pathlib import Path

import pytest

from raypipe.day import find_day
from raypipe.errors import InputMissing, NotADay, UsageError


def make(root: Path, *folders: str) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return root


def test_sessions_are_found_in_order_and_others_passed_over(tmp_path: Path) -> None:
    make(
        tmp_path,
        "picasso/20181105/sessioneye",
        "picasso/20181105/session02",
        "picasso/20181105/session01",
        "picasso/20181105/mountains",
    )
    day = find_day(tmp_path / "picasso/20181105")
    assert [session.name for session in day.sessions] == ["session01", "session02", "sessioneye"]
    assert [session.is_navigation for session in day.sessions] == [True, True, False]
    assert day.title == "picasso/20181105"


def test_output_keeps_subject_and_day(tmp_path: Path) -> None:
    make(tmp_path, "picasso/20181105/session01")
    day = find_day(tmp_path / "picasso/20181105", tmp_path / "out")
    assert day.output == tmp_path / "out/picasso/20181105"
    assert day.sessions[0].channel_folder(2, 40) == tmp_path / "out/picasso/20181105/session01/array02/channel040"


@pytest.mark.parametrize(
    ("folder", "message", "hint"),
    [
        ("nothing", "no folder", "give the folder of a day"),
        ("picasso", "is not a day, but holds 1", "picasso/20181105"),
        (".", "is not a day, but holds 1", "picasso/20181105"),
        ("picasso/20181105/session01", "is a session", "give its day"),
        ("picasso/notes", "is not a day", "raypipe simulate"),
        ("picasso/20181106", "holds no session", "sessioneye"),
    ],
)
def test_what_is_not_a_day_says_what_would_be(tmp_path: Path, folder: str, message: str, hint: str) -> None:
    make(tmp_path, "picasso/20181105/session01", "picasso/notes", "picasso/20181106")
    with pytest.raises(NotADay) as error:
        find_day(tmp_path / folder)
    assert message in error.value.message
    assert hint in error.value.hint
    assert error.value.exit_code == 2


def test_a_day_that_is_a_link_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "disk7/recording-a/session01", "picasso", "elsewhere")
    (tmp_path / "picasso/20181105").symlink_to(tmp_path / "disk7/recording-a")
    (tmp_path / "results").symlink_to(tmp_path / "elsewhere")
    day = find_day(tmp_path / "picasso/20181105", tmp_path / "results")
    assert (day.title, [session.name for session in day.sessions]) == ("picasso/20181105", ["session01"])
    assert day.output == tmp_path / "results/picasso/20181105"
    monkeypatch.chdir(tmp_path / "picasso")
    assert find_day(Path("20181105")).input == tmp_path / "picasso/20181105"
    with pytest.raises(NotADay, match="not a day"):
        find_day(tmp_path / "picasso/20181105/../recording-a")


def test_output_is_a_folder(tmp_path: Path) -> None:
    make(tmp_path, "picasso/20181105/session01")
    (tmp_path / "file").touch()
    for output in ("file", "file/below"):
        with pytest.raises(UsageError, match="is a file") as error:
            find_day(tmp_path / "picasso/20181105", tmp_path / output)
        assert error.value.exit_code == 2


def test_one_file_is_meant(tmp_path: Path) -> None:
    make(tmp_path, "picasso/20181105/session01")
    session = find_day(tmp_path / "picasso/20181105").sessions[0]
    with pytest.raises(InputMissing, match=r"no \*\.ns5"):
        session.the_file("*.ns5")
    (session.input / "a.ns5").touch()
    assert session.the_file("*.ns5").name == "a.ns5"
    (session.input / "b.ns5").touch()
    with pytest.raises(InputMissing, match=r"2 files match \*\.ns5 .*a\.ns5, b\.ns5"):
        session.the_file("*.ns5")
