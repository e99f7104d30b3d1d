"""One reader for the three kinds of eye files, told apart by what is in them."""

from pathlib import Path

from raypipe.io.eye import EyeRecording
from raypipe.io.eye_choice import eye_source


def read_eye_file(path: Path) -> EyeRecording:
    """Read an EyeLink `.edf`, an EyeLink `.asc` or a European EDF+/BDF+ file, whatever its name.

    Raises InputMissing if there is no such file, FormatError if it is no eye file, is damaged, or needs what is not
    installed.
    """
    source = eye_source(path)
    # Each reader is loaded only for its own files: pyedflib and the extra are slow, or not there.
    if source == "EyeLink EDF":
        from raypipe.io.eyelink_edf import read_eyelink_edf

        return read_eyelink_edf(path)
    if source == "EyeLink text":
        from raypipe.io.eyelink_text import read_eyelink_text

        return read_eyelink_text(path)
    from raypipe.io.european_edf import read_european_edf

    return read_european_edf(path)
