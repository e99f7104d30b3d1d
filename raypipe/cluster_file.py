"""A cluster's configuration where it lies: a file here, or an object in S3, which the end of a run points at its snapshot."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.aws.calls import calling, connect
from cluster.aws.config_store import read_config
from cluster.errors import ConfigRefused, SettingsError


def read(where: str, region: str) -> str | None:
    """Return the configuration; None where there is none. Raises `SettingsError`, `AwsRefused`."""
    try:
        if _in_bucket(where):
            return read_config(where, connect(region).s3).text.decode("utf-8")
        return Path(where).read_text(encoding="utf-8")
    except (ConfigRefused, FileNotFoundError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{where} cannot be read: {error}", hint="--file names a cluster's configuration") from None


def write(where: str, text: str, region: str) -> None:
    """Write a new configuration, under its name only when it is whole. Raises `SettingsError`, `AwsRefused`."""
    if _in_bucket(where):
        bucket, _, key = where.removeprefix("s3://").partition("/")
        with calling(f"s3:PutObject {where}"):
            connect(region).s3.put_object(Bucket=bucket, Key=key, Body=text.encode(), IfNoneMatch="*")
        return
    file = Path(where)
    new = file.with_name(f"{file.name}.new")
    try:
        with new.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(file)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error}", hint="--file names another place") from None


@contextmanager
def as_file(where: str, text: str) -> Iterator[Path]:
    """Give the configuration as a file, which is all that ParallelCluster's tool reads."""
    if not _in_bucket(where):
        yield Path(where)
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "cluster-config.yaml"
        file.write_text(text, encoding="utf-8")
        yield file


def _in_bucket(where: str) -> bool:
    return where.startswith("s3://")
