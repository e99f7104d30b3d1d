"""What boto3 raises, as one error of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.errors import AwsRefused


@contextmanager
def told() -> Iterator[None]:
    """Raise `AwsRefused` for whatever AWS, or the way to it, said no to."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise AwsRefused(
            f"AWS could not be asked: {error}",
            hint="`aws sts get-caller-identity` tells whether AWS knows you; [cluster] region which region is meant",
        ) from error
