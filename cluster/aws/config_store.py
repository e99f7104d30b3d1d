"""Where a cluster's configuration lies: a file or an object in S3, replaced as a whole and with a copy of what it was."""

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cluster.aws.calls import calling, code_of
from cluster.errors import ConfigRefused

_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict")


@dataclass(frozen=True)
class Content:
    """What was read, and what tells whether it is still the same."""

    text: bytes
    version: str = ""


def read_config(where: str, s3: Any) -> Content:
    """Return the configuration. Raises `ConfigRefused` where there is none, `AwsRefused`."""
    if not where.startswith("s3://"):
        try:
            return Content(Path(where).read_bytes())
        except OSError as error:
            raise ConfigRefused(
                f"the configuration {where} cannot be read: {error.strerror}", hint="give its path, or s3://bucket/key"
            ) from error
    with calling(f"s3:GetObject {where}"):
        try:
            found = s3.get_object(**_object(where))
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "NoSuchBucket"):
                raise ConfigRefused(f"there is no {where}", hint="`aws s3 ls` lists what is there") from error
            raise
        return Content(found["Body"].read(), found["ETag"])


def replace_config(where: str, s3: Any, was: Content, text: bytes, mark: str) -> None:
    """Put `text` in the place of what was read; the old bytes go beside it, under a name that ends in `.before-MARK`.

    Atomic: a reader sees the old or the new. Raises `ConfigRefused` if it was changed since it was read, `AwsRefused`.
    """
    if where.startswith("s3://"):
        _replace_object(where, s3, was, text, mark)
    else:
        _replace_file(Path(where).resolve(), was, text, mark)


def _replace_file(path: Path, was: Content, text: bytes, mark: str) -> None:
    backup = path.with_name(f"{path.name}.before-{mark}")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # closing releases it, also when the process dies
        if not backup.exists():
            _write(backup, was.text, folder, like=path)
        if (now := path.read_bytes()) not in (was.text, text):
            raise _changed(str(path))
        if now != text:  # as another finalizer would have it
            _write(path, text, folder, like=path)
    finally:
        os.close(folder)


def _write(path: Path, text: bytes, folder: int, *, like: Path) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(like, temporary)
    temporary.replace(path)
    os.fsync(folder)


def _replace_object(where: str, s3: Any, was: Content, text: bytes, mark: str) -> None:
    place = _object(where)
    with calling(f"s3:PutObject {where}"):
        _put(s3, place | {"Key": f"{place['Key']}.before-{mark}"}, was.text, IfNoneMatch="*")
        if not _put(s3, place, text, IfMatch=was.version) and read_config(where, s3).text != text:
            raise _changed(where)


def _put(s3: Any, place: dict[str, str], text: bytes, **condition: str) -> bool:
    """Put an object if the condition holds; it also does not hold any more if the answer to an earlier try was lost."""
    try:
        s3.put_object(**place, Body=text, **condition)
    except ClientError as error:
        if code_of(error) in _CHANGED:
            return False
        raise
    return True


def _object(where: str) -> dict[str, str]:
    bucket, _, key = where.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _changed(where: str) -> ConfigRefused:
    return ConfigRefused(f"{where} was changed by somebody else just now", hint="finalize again")
