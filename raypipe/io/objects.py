"""The lab's objects: how their files are named, what every one of them holds, how they are saved and loaded.

hickle and h5py are slow to import, so only what saves or loads imports them: planning needs the names alone.
"""

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raypipe.errors import FormatError, InputMissing, UsageError
from raypipe.io.publish import write_whole
from raypipe.io.tables import Pickled, Table

# Deepest first; the place in the list is how many components from the subject downwards a path keeps.
_LEVELS = (
    (6, "cell", re.compile(r"cell[0-9]+")),
    (5, "channel", re.compile(r"channel[0-9]+")),
    (4, "array", re.compile(r"array[0-9]+")),
    (3, "session", re.compile(r"session[a-z0-9]+")),
    (2, "day", re.compile(r"[0-9]+$")),
)


def object_hash(args: Mapping[str, object]) -> str:
    """Give the four hex digits that stand for the arguments in a file's name.

    md5 over `str(name)` and `str(value)` of each argument in the order of the mapping, without separators
    (PyHipp's `hashalt`); so 500 and "500" are the same argument, and the order counts.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for name, value in args.items():
        digest.update(f"{name}{value}".encode())
    return digest.hexdigest()[:4]


def object_name(stem: str, args: Mapping[str, object]) -> str:
    """Give the file name of an object, as in `rpllfp_6eca.hkl`."""
    return f"{stem}_{object_hash(args)}.hkl"


def base_fields(
    args: Mapping[str, object], directory_relative: str, level: str, *, setidx: Sequence[int] = ()
) -> dict[str, Any]:
    """Make the fields that every object has, in the order in which PyHipp writes them.

    `directory_relative` is the folder as `normalised_dir` gives it, `level` the folder's level ("session",
    "channel", ...). `args` comes first in every file, so a stage writes `{"args": args, ..., **base_fields(...)}`.
    """
    return {
        "args": dict(args),
        "dirs": [directory_relative],
        "setidx": list(setidx),
        "plotopts": {"indexer": level},
        "current_idx": None,
    }


def level_of(path: Path) -> str:
    """Tell the level of a folder, judged by its last component: day, session, array, channel or cell.

    Raises UsageError for any other name.
    """
    return _level(path)[1]


def normalised_dir(path: Path) -> str:
    """Name a folder from its subject downwards: `picasso/20181105/session01/array01/channel009`.

    Raises UsageError if the last component is of no level.
    """
    return "/".join(path.parts[-_level(path)[0] :])


def save_object(path: Path, fields: Mapping[str, Any], *, token: str = "") -> None:
    """Save the fields as a hickle-5 file: whole and on the disk, or not at all.

    A field that is a `Table` is a pandas Series or DataFrame to whoever loads the file with hickle, be it with pandas 3
    or with 1.5. `Pickled` is written as it is. Raises WriteFailed; UsageError for a table inside a list or dict.
    """
    write_whole(path, object_image(fields), token=token)


def object_image(fields: Mapping[str, Any]) -> bytes:
    """Give the bytes of a hickle-5 file with these fields in their order; the same whichever process makes them."""
    import h5py
    import hickle

    from raypipe.io.hickle_tree import write_pickle
    from raypipe.io.table_pickle import table_parts

    apart = {name: value for name, value in fields.items() if isinstance(value, Table | Pickled)}
    for name in apart:
        if "/" in name or "\\" in name:
            raise UsageError(f"a field with a table in it cannot have the name {name!r}: it has a slash")
    with h5py.File("object.hkl", "w", driver="core", backing_store=False) as file:
        hickle.dump(unshared({**fields, **dict.fromkeys(apart)}), file)
        for name, value in apart.items():
            write_pickle(file, name, table_parts(value) if isinstance(value, Table) else [value])
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def load_object(path: Path) -> dict[str, Any]:
    """Load the fields of an object written by hickle 5 or 4, in their order and with PyHipp's types.

    What hickle had pickled comes as a `Table` if it is a pandas Series or DataFrame of numbers, else as
    `Pickled` bytes; neither needs pandas, and nothing that a pickle names is called.
    Raises InputMissing if there is no such file, FormatError if it is damaged or is no saved object.
    """
    import h5py

    from raypipe.io.hickle_tree import UNREADABLE, read_object

    if not path.is_file():
        raise InputMissing(f"{path} is not there", hint="run the stage that makes it: see `raypipe plan`")
    try:
        with h5py.File(path, "r") as file:
            fields = read_object(file)
    except UNREADABLE as error:
        raise FormatError(
            f"{path} is damaged, or was not written by hickle 4 or 5: {error}",
            hint="restore it from a copy; what raypipe can make again, it makes when the file is gone",
        ) from error
    if not isinstance(fields, dict):
        raise FormatError(f"{path} holds a {type(fields).__name__}, not the fields of an object")
    return fields


def unshared(value: Any) -> Any:
    """Copy a value so that every container is its own and equal strings are one object.

    hickle writes a thing it has met before (by `id`) as a reference to the first. Whether two equal strings are one
    object depends on how they came into this process, and the bytes of a file must not.
    """
    if type(value) is str:
        return sys.intern(value)
    if isinstance(value, Table | Pickled):
        raise UsageError("a table can only be a field of its own, not part of a list or dict")
    if isinstance(value, Mapping):
        return {unshared(key): unshared(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(unshared(item) for item in value)
    return value.view() if hasattr(value, "view") and hasattr(value, "shape") else value


def _level(path: Path) -> tuple[int, str]:
    for depth, level, pattern in _LEVELS:
        if pattern.match(path.name):
            return depth, level
    raise UsageError(f"{path} is not a day, session, array, channel or cell folder")
