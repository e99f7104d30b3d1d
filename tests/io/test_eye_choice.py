"""Which files of a day are read: told by what is in them, whatever they are called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raypipe.config import EdfSplit
from raypipe.errors import FormatError, InputMissing
from raypipe.io import eye_choice
from raypipe.io.eye_choice import eye_source, find_eye_files
from raypipe.io.eye_files import read_eye_file

EYELINK = (
    b"SR_RESEARCH_1000FILE\nDATE: Sun Aug  4 17:35:18 2013\nTYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED\nENDP:\n\x18~!"
)
EUROPEAN = (
    b"0       " + b" " * 176 + b"256     " + b" " * 44 + b"0       " + b" " * 8 + b"0   "
)  # of no record and signal
TEXT = b"** CONVERTED FROM 181105.edf\n**\nMSG\t998 RECCFG CR 1000 2 1 L\n"
PLACEHOLDER = b"SR_RESEARCH placeholder; see .asc\n"
GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared/golden"))


@pytest.fixture(autouse=True)
def with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eye_choice, "has_eyelink_library", lambda: True)


def day(folder: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


@pytest.mark.parametrize(
    ("head", "source"),
    [
        (EYELINK, "EyeLink EDF"),
        (EUROPEAN, "European EDF"),
        (b"\xffBIOSEMI" + b" " * 248, "European EDF"),
        (TEXT, "EyeLink text"),
        (b"\r\n\r\n" + TEXT.replace(b"\n", b"\r\n"), "EyeLink text"),
        (b"\xef\xbb\xbf" + TEXT, "EyeLink text"),
        (b"START\t1 \tLEFT\tSAMPLES\n", "EyeLink text"),
        (b"1000\t  959.7\t  542.5\t 1190.4\t...\n", "EyeLink text"),
        (b"1000.5\t  959.7\t  542.5\t 1190.4\t...\n", "EyeLink text"),
    ],
)
@pytest.mark.parametrize("name", ["a.edf", "a.asc", "a.EDF", "a"])
def test_the_content_tells(tmp_path: Path, head: bytes, source: str, name: str) -> None:
    (tmp_path / name).write_bytes(head)
    assert eye_source(tmp_path / name) == source


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file is empty"),
        (b"\0" * 1000, "the file is empty"),
        (b"\n \n", "the file is empty"),
        (PLACEHOLDER, "is a placeholder or cut short"),
        (EYELINK[:60], "is a placeholder or cut short"),
        (EUROPEAN[:200], "its header is cut short"),
        (b"trial,x,y\n1,2,3\n", r"begins with b'trial,x,y"),
        (b"MSG\0\0\0\0\0", "begins with"),
        (b"\x89HDF\r\n\x1a\n", "begins with"),
        (b"12 monkeys\n", None),
        (b"10000000 ", None),
    ],
)
def test_what_is_no_eye_file(tmp_path: Path, content: bytes, complaint: str | None) -> None:
    path = tmp_path / "181105.edf"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=complaint) as raised:
        read_eye_file(path)
    assert str(path) in raised.value.message
    if complaint:
        assert "edf2asc" in raised.value.hint


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match=r"181105\.edf: there is no such file"):
        read_eye_file(tmp_path / "181105.edf")
    with pytest.raises(FormatError, match="cannot be read: Is a directory"):
        read_eye_file(tmp_path)
    with pytest.raises(InputMissing, match="no such folder"):
        find_eye_files(tmp_path / "20181105", EdfSplit())


def test_calibration_has_a_letter_in_its_name(tmp_path: Path) -> None:
    day(tmp_path, P11_5__edf=EYELINK, n181105__edf=EYELINK, p3__edf=EYELINK, notes__txt=TEXT, P1__hkl=b"")
    (tmp_path / "session01.asc").mkdir()
    found = find_eye_files(tmp_path, EdfSplit())
    assert (names(found.calibration), names(found.navigation), found.notes) == (
        ["P11_5.edf"],
        ["n181105.edf", "p3.edf"],
        (),
    )
    other = find_eye_files(tmp_path, EdfSplit(CalibFileNameChar="n1"))
    assert (names(other.calibration), names(other.navigation)) == (["n181105.edf"], ["P11_5.edf", "p3.edf"])
    assert find_eye_files(tmp_path, EdfSplit(CalibFileNameChar="edf")).calibration == (), (
        "of the name, not its extension"
    )


def test_none_is_an_answer(tmp_path: Path) -> None:
    found = find_eye_files(tmp_path, EdfSplit())
    assert (found.calibration, found.navigation, found.notes) == ((), (), ())


def test_several_files_come_in_natural_order(tmp_path: Path) -> None:
    day(tmp_path, n10__edf=EYELINK, n9__edf=EYELINK, n9b__edf=EYELINK, P10__asc=TEXT, P9__asc=TEXT)
    found = find_eye_files(tmp_path, EdfSplit())
    assert names(found.navigation) == ["n9.edf", "n9b.edf", "n10.edf"]
    assert names(found.calibration) == ["P9.asc", "P10.asc"]


@pytest.mark.parametrize("suffix", ["edf", "EDF", "bdf", "asc", "ASC"])
def test_every_extension(tmp_path: Path, suffix: str) -> None:
    day(tmp_path, **{f"181105__{suffix}": TEXT})
    assert names(find_eye_files(tmp_path, EdfSplit()).navigation) == [f"181105.{suffix}"]


def test_the_edf_before_the_asc_if_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day(tmp_path, n1__asc=TEXT, n1__edf=EYELINK, P1__ASC=TEXT, P1__EDF=EUROPEAN)
    found = find_eye_files(tmp_path, EdfSplit())
    assert (names(found.navigation), names(found.calibration), found.notes) == (["n1.edf"], ["P1.EDF"], ())
    monkeypatch.setattr(eye_choice, "has_eyelink_library", lambda: False)
    found = find_eye_files(tmp_path, EdfSplit())
    assert (names(found.navigation), names(found.calibration)) == (["n1.asc"], ["P1.EDF"])
    assert found.notes == (f"n1.asc is read instead: {tmp_path}/n1.edf: needs `pip install 'raypipe-ephys[eyelink]'`",)


@pytest.mark.parametrize("content", [PLACEHOLDER, b"", b"rubbish"])
def test_the_asc_stands_in_for_a_placeholder(tmp_path: Path, content: bytes) -> None:
    day(tmp_path, n1__asc=TEXT, n1__edf=content)
    found = find_eye_files(tmp_path, EdfSplit())
    assert names(found.navigation) == ["n1.asc"]
    assert len(found.notes) == 1 and found.notes[0].startswith(f"n1.asc is read instead: {tmp_path}/n1.edf")


@pytest.mark.parametrize("content", [EUROPEAN + b"\0\0", EUROPEAN.replace(b"256 ", b"2x6 ")])
def test_the_asc_stands_in_for_a_file_cut_short(tmp_path: Path, content: bytes) -> None:
    found = find_eye_files(day(tmp_path, a__edf=content, a__asc=TEXT), EdfSplit())
    assert names(found.navigation) == ["a.asc"]
    assert len(found.notes) == 1 and found.notes[0].startswith("a.asc is read instead: ")
    (tmp_path / "a.asc").unlink()
    assert names(find_eye_files(tmp_path, EdfSplit()).navigation) == ["a.edf"]
    with pytest.raises(FormatError, match=r"a\.edf: (its header promises|the header of)"):
        read_eye_file(tmp_path / "a.edf")


def test_if_none_can_be_read_reading_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day(tmp_path, n1__asc=b"", n1__edf=PLACEHOLDER, n2__edf=EYELINK)
    monkeypatch.setattr(eye_choice, "has_eyelink_library", lambda: False)
    found = find_eye_files(tmp_path, EdfSplit())
    assert (names(found.navigation), found.notes) == (["n1.edf", "n2.edf"], ())
    with pytest.raises(FormatError, match="is a placeholder"):
        read_eye_file(found.navigation[0])


def test_hidden_files_are_none(tmp_path: Path) -> None:
    day(tmp_path, **{"._181105__edf": b"\0\5\26\7Mac OS X", "181105__edf": EYELINK})
    assert names(find_eye_files(tmp_path, EdfSplit()).navigation) == ["181105.edf"]


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden day is not here")
def test_the_golden_day(tmp_path: Path) -> None:
    """Its .edf files are one line of text."""
    found = find_eye_files(GOLDEN / "picasso" / "20181105", EdfSplit())
    assert (names(found.calibration), names(found.navigation)) == (["P11_5.asc"], ["181105.asc"])
    assert len(found.notes) == 2 and all("placeholder" in note for note in found.notes)
    calibration, navigation = (read_eye_file(path) for path in (*found.calibration, *found.navigation))
    assert (calibration.ms.size, navigation.ms.size) == (4000, 17_473)
    assert (calibration.ms[0], navigation.ms[0]) == (1_000_000, 4_000_526)
    assert sum(text.startswith("Trigger Version") for text in navigation.message_texts) == 1
    assert calibration.notes == navigation.notes == ()


def test_planning_loads_nothing_slow() -> None:
    """Choosing files must not load pyedflib, the library, or eyelinkio."""
    program = (
        "import sys, pathlib; from raypipe.io.eye_choice import find_eye_files; from raypipe.config import EdfSplit;"
        "find_eye_files(pathlib.Path('.'), EdfSplit());"
        "print(sorted({'pyedflib', 'eyelinkio', 'raypipe.io.eyelink_text', 'h5py', 'numba'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_nothing_but_blanks_is_no_eye_file(tmp_path: Path) -> None:
    (path := tmp_path / "181105.asc").write_bytes(b"\f\f\n\v\n")
    with pytest.raises(FormatError, match=r"181105\.asc"):
        eye_source(path)
