"""Which of a day's files hold eye data, told by their first bytes and their size; cheap, for planning."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from raypipe.config import EdfSplit
from raypipe.errors import FormatError, InputMissing
from raypipe.io.eye import Source
from raypipe.io.natural import natural

HEAD_BYTES = 1 << 16
SUFFIXES = (".edf", ".bdf", ".asc")  # in any case, and in the order in which they are tried
COPY_AGAIN = "copy it again, or write it again with the program that made it"
EYELINK_EXTRA = "raypipe-ephys[eyelink]"

_EYELINK_MAGIC = b"SR_RESEARCH"
# A name, lines of text, and the line that ends them: without that line SR Research's library crashes.
_EYELINK_HEADER = re.compile(rb"SR_RESEARCH_\S+\s.*^ENDP:", re.DOTALL | re.MULTILINE)
_EUROPEAN_HEADER_BYTES = 256
_TEXT_LINE = re.compile(
    rb"\*\*|[0-9]+(\.[0-9]+)?\s|(MSG|START|END|INPUT|BUTTON|PRESCALER|VPRESCALER|PUPIL|EVENTS|SAMPLES"
    rb"|[SE]FIX|[SE]SACC|[SE]BLINK)\s"
)


@dataclass(frozen=True)
class EyeFiles:
    """The files to read, one of each name, in natural order (P9 before P10), and why it is not always the `.edf`."""

    calibration: tuple[Path, ...]
    navigation: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def find_eye_files(day_folder: Path, settings: EdfSplit) -> EyeFiles:
    """Choose among the `.edf`, `.bdf` and `.asc` files of a day (not of its sessions).

    Of files that differ only in their extension the first that can be read on this machine is taken; of files of which
    none can, the first, so that reading it says why. Calibration is what has `settings.CalibFileNameChar` in its name.
    Raises InputMissing if there is no such folder.
    """
    if not day_folder.is_dir():
        raise InputMissing(f"{day_folder}: there is no such folder")
    groups: dict[str, list[Path]] = {}
    for path in sorted(day_folder.iterdir(), key=lambda path: (_preference(path), path.name)):
        # Copies from a Mac bring a hidden `._181105.edf` for every file.
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            groups.setdefault(path.stem, []).append(path)
    notes: list[str] = []
    chosen = [_choose(groups[stem], notes) for stem in sorted(groups, key=natural)]
    is_calibration = [settings.CalibFileNameChar in path.stem for path in chosen]
    return EyeFiles(
        calibration=tuple(path for path, yes in zip(chosen, is_calibration, strict=True) if yes),
        navigation=tuple(path for path, yes in zip(chosen, is_calibration, strict=True) if not yes),
        notes=tuple(notes),
    )


def eye_source(path: Path) -> Source:
    """Tell what kind of eye file this is from its first 64 kB, whatever its name.

    Raises InputMissing if there is no such file, FormatError if it is none of the three kinds, or holds nothing.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise InputMissing(f"{path}: there is no such file") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    hint = "copy it again from the tracker's computer, or put the .asc file that edf2asc makes of it beside it"
    if not head.strip(b" \t\r\n\0"):
        raise FormatError(f"{path}: the file is empty", hint=hint)
    if head.startswith(_EYELINK_MAGIC):
        if not _EYELINK_HEADER.match(head):
            raise FormatError(f"{path}: begins like an EyeLink file, but is a placeholder or cut short", hint=hint)
        return "EyeLink EDF"
    if head.startswith((b"0       ", b"\xffBIOSEMI")):
        if len(head) < _EUROPEAN_HEADER_BYTES:
            raise FormatError(f"{path}: begins like a European EDF file, but its header is cut short", hint=hint)
        return "European EDF"
    lines = (line.strip() for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    first = next((line for line in lines if line), b"")
    if _TEXT_LINE.match(first + b"\n") and b"\0" not in first:
        return "EyeLink text"
    raise FormatError(
        f"{path}: is no EyeLink .edf, no EyeLink .asc and no European EDF/BDF file; it begins with {head[:20]!r}",
        hint=hint,
    )


def check_european_size(path: Path) -> None:
    """Raise FormatError if a European EDF/BDF file is not as long as its header says.

    EDFlib prints its own words about such files, so this is said before.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(256)
        try:
            header_bytes, n_records, n_signals = int(head[184:192]), int(head[236:244]), int(head[252:256])
            file.seek(256 + 216 * n_signals)
            counts = [int(file.read(8)) for _ in range(n_signals)]
        except ValueError:
            raise FormatError(f"{path}: the header of this European EDF/BDF file is damaged", hint=COPY_AGAIN) from None
    expected = header_bytes + n_records * sum(counts) * (3 if head.startswith(b"\xff") else 2)
    if size != expected:
        raise FormatError(
            f"{path}: its header promises {n_records} records, {expected} bytes in all; the file has {size}",
            hint=COPY_AGAIN,
        )


def has_eyelink_library() -> bool:
    """Tell whether the package that carries SR Research's library is installed, without importing it."""
    return importlib.util.find_spec("eyelinkio") is not None


def _choose(candidates: list[Path], notes: list[str]) -> Path:
    why_not: list[str] = []
    for path in candidates:
        reason = _unreadable(path)
        if reason:
            why_not.append(reason)
            continue
        if why_not:
            notes.append(f"{path.name} is read instead: {'; '.join(why_not)}")
        return path
    return candidates[0]


def _unreadable(path: Path) -> str:
    try:
        source = eye_source(path)
        if source == "European EDF":
            check_european_size(path)
    except (FormatError, InputMissing) as error:
        return error.message
    if source == "EyeLink EDF" and not has_eyelink_library():
        return f"{path}: needs `pip install '{EYELINK_EXTRA}'`"
    return ""


def _preference(path: Path) -> int:
    suffix = path.suffix.lower()
    return SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES)
