"""The clients of AWS, and what their errors mean to a finalizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from botocore.parsers import ResponseParserError

from cluster.errors import AwsRefused, AwsUnavailable

DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "Forbidden")
_BUSY = (
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "SlowDown",
    "SnapshotCreationPerVolumeRateExceeded",
    "ConcurrentSnapshotLimitExceeded",
)
_SERVER_ERROR = 500


@dataclass(frozen=True)
class Aws:
    """Clients of one region. `ec2_once` tries a call once; the others try again when AWS is busy."""

    region: str
    ec2: Any
    ec2_once: Any
    cloudformation: Any
    dynamodb: Any
    s3: Any
    sns: Any
    functions: Any

    def topics_of(self, region: str) -> Any:
        """Return a client of SNS in a region, which a topic's ARN names."""
        return self.sns if region == self.region else boto3.client("sns", region_name=region)


def connect(region: str | None = None, *, tries: int = 5) -> Aws:
    """Make the clients, with the credentials and the region that boto3 finds (`AWS_ENDPOINT_URL` leads elsewhere).

    Raises `AwsRefused` where it finds no region.
    """
    session = boto3.session.Session(region_name=region)
    again = Config(retries={"mode": "standard", "total_max_attempts": tries}, connect_timeout=10, read_timeout=60)
    # CreateSnapshot has no token that makes a second call harmless, so nobody may repeat it without looking first.
    once = again.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    with calling("connect"):
        names = ("ec2", "cloudformation", "dynamodb", "s3", "sns")
        clients = {name: session.client(name, config=again) for name in names}
        others = {"ec2_once": session.client("ec2", config=once), "functions": session.client("lambda", config=again)}
        return Aws(session.region_name, **clients, **others)


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Turn what a call raises into `AwsRefused`, or `AwsUnavailable` where another try may go better."""
    try:
        yield
    except ClientError as error:
        raise _meaning(what, error) from error
    except (NoCredentialsError, NoRegionError) as error:
        raise AwsRefused(
            f"{what}: {error}", hint="`aws configure` stores keys and a region; on the head node its role is used"
        ) from error
    except (BotoCoreError, ResponseParserError) as error:  # the latter: what came is no answer of AWS
        raise AwsUnavailable(
            f"{what}: {error}", hint="`aws sts get-caller-identity` says whether AWS answers"
        ) from error


def code_of(error: ClientError) -> str:
    """Return AWS's own word for an error, such as InvalidSnapshot.InUse."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _meaning(what: str, error: ClientError) -> AwsRefused | AwsUnavailable:
    code, facts = code_of(error), error.response.get("Error", {})
    said = f"{what}: {code}: {facts.get('Message', '')}"
    if code in _BUSY or int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= _SERVER_ERROR:
        return AwsUnavailable(said, hint="AWS is busy; finalize again in some minutes")
    if code in DENIED:
        return AwsRefused(said, hint="the role or key that this runs with may not do that; add it to its policy")
    return AwsRefused(said, hint="AWS says what is wrong with it; nothing else was changed")
