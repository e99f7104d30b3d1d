"""The folder in S3 that nodes install from: what we put there, and what must be there already."""

from collections.abc import Sequence

import boto3
from botocore.exceptions import ClientError

from cluster.aws.calls import calling, code_of
from cluster.errors import SettingsError


def provide(folder: str, name: str, content: bytes, *, needed: Sequence[str], region: str = "") -> None:
    """Put the file `name` into `folder` (`s3://bucket/path`), once the `needed` ones are there.

    Raises `SettingsError` for one that is missing, `AwsRefused`, `AwsUnavailable`.
    """
    bucket, _, path = folder.removeprefix("s3://").partition("/")
    prefix = f"{path}/" if path else ""
    with calling(f"s3: {folder}"):
        s3 = boto3.Session(region_name=region or None).client("s3")
        for each in needed:
            try:
                s3.head_object(Bucket=bucket, Key=prefix + each)
            except ClientError as error:
                if code_of(error) not in ("404", "NoSuchKey", "NoSuchBucket"):
                    raise
                raise SettingsError(
                    f"{folder} has no {each}, which nodes install",
                    hint="in raypipe's source: `python -m pip wheel --no-deps --wheel-dir dist .`, then"
                    f" `aws s3 cp dist/{each} {folder}/` and `aws s3 cp constraints.txt {folder}/`",
                ) from None
        s3.put_object(Bucket=bucket, Key=prefix + name, Body=content)
