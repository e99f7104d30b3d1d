"""What is wanted of the end of a run, as values that go with its snapshot as tags."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, get_args

from cluster.errors import SettingsError

OnFailure = Literal["nothing", "stop-fleet", "snapshot-keep-cluster", "teardown"]

# On a snapshot.
RUN, SET, STACK, OUTCOME = "raypipe:run", "raypipe:set", "raypipe:stack", "raypipe:outcome"
CREATED, TOLD, PINNED = "raypipe:created", "raypipe:told", "raypipe:pinned"
SWEPT = "raypipe:swept"
# On the volume, and never on a snapshot that we make: CloudFormation copies a volume's tags to its own snapshot of it
# (documentation of AWS::EC2::Volume), and that one must not be taken for ours.
INTENT, REQUEST, SPOILED = "raypipe:intent", "raypipe:request", "raypipe:spoiled"
# On the stack.
MANAGED = "raypipe:managed"
_WANTED = "raypipe:wanted-"
_WANTED_WORDS = ("config", "mount", "keep", "on-failure", "delete")
WANTED_CONFIG, WANTED_MOUNT = f"{_WANTED}config", f"{_WANTED}mount"
REQUEST_TAGS = (RUN, SET, STACK, OUTCOME, CREATED, REQUEST, SPOILED, SWEPT, *(_WANTED + word for word in _WANTED_WORDS))
"""All that a request is written with; see `FinalizeSettings.as_request`."""
_VALUE = 255
"""The longest value that a tag takes, less one."""
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CLUSTER = re.compile(
    r"([A-Za-z][A-Za-z0-9-]*|arn:[a-z-]+:cloudformation:[a-z0-9-]+:\d+:stack/[A-Za-z][A-Za-z0-9-]*/[^/]+)"
)


def wanted_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return of tags those that say what is wanted; see `FinalizeSettings.wanted`."""
    return {key: value for key, value in tags.items() if key.startswith(_WANTED)}


@dataclass(frozen=True)
class FinalizeSettings:
    """What to end, and how. Durations are in seconds."""

    run: str
    """The run's id: the set has one snapshot of it, however often this is asked for. A run taken up again is another one."""
    cluster: str
    """The cluster's name, or its stack's id (an ARN), which is proof against a name that was used again."""
    config: str
    """The configuration that the next cluster is made of: a path, or `s3://bucket/key`."""
    mount: str = "/data"
    """Where the volume with the data is mounted, as the configuration says it."""
    snapshots: str = ""
    """The set that this run's snapshot joins, of which the newest `keep` stay; the cluster's name without it."""
    keep: int = 2
    on_failure: OnFailure = "snapshot-keep-cluster"
    delete_cluster: bool = True
    """Whether the cluster goes after a good run."""
    volume: str = ""
    """The volume's id, where the cluster has several and their names do not tell."""
    attempts: int = 2
    """How many snapshots of the run may end in an error before this gives up."""
    fleet_seconds: float = 1800.0
    snapshot_seconds: float = 12 * 3600.0
    delete_seconds: float = 3600.0
    settle_seconds: float = 60.0
    """How long EC2 may take to list a snapshot that was made."""
    lease_seconds: float = 180.0
    """How long a finalizer that was killed keeps others waiting."""
    patience_seconds: float = 900.0
    """How long AWS may go on being unavailable."""
    poll_seconds: float = 15.0

    def __post_init__(self) -> None:
        if not _CLUSTER.fullmatch(self.cluster):
            raise SettingsError(
                f"'{self.cluster}' is neither a cluster's name nor its stack's id",
                hint="a name, or arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/UUID",
            )
        for what, word in (("run", self.run), ("set of snapshots", self.set_name)):
            if not _WORD.fullmatch(word):
                raise SettingsError(
                    f"'{word}' is no name of a {what}",
                    hint="letters, digits, dots, dashes and underscores, at most a hundred",
                )
        if self.keep < 1:
            raise SettingsError(f"keep is {self.keep}", hint="keep one snapshot at least: it is the data")
        if self.attempts < 1:
            raise SettingsError(f"attempts is {self.attempts}", hint="one attempt at least")
        if self.on_failure not in get_args(OnFailure):
            raise SettingsError(f"no policy '{self.on_failure}'", hint=f"one of {', '.join(get_args(OnFailure))}")
        if len(self.config) > _VALUE or len(self.mount) > _VALUE:
            raise SettingsError(
                f"the path of the configuration or of the mount has more than {_VALUE} characters",
                hint="they go with the snapshot as tags, which take no more",
            )
        if not self.in_bucket and PurePosixPath(self.config).is_relative_to(self.mount):
            raise SettingsError(
                f"{self.config} is on {self.mount}, which goes with the cluster",
                hint="keep the configuration outside, such as s3://bucket/cluster-config.yaml",
            )

    @property
    def in_bucket(self) -> bool:
        """Whether the configuration is in S3."""
        return self.config.startswith("s3://")

    @property
    def name(self) -> str:
        """The cluster's name, also where its stack's id was given."""
        # arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/UUID
        return self.cluster.split("/")[1] if self.cluster.startswith("arn:") else self.cluster

    @property
    def set_name(self) -> str:
        """The set of snapshots."""
        return self.snapshots or self.name

    @property
    def wanted(self) -> dict[str, str]:
        """What people may change their minds about, as tags."""
        delete = "yes" if self.delete_cluster else "no"
        values = (self.config, self.mount, str(self.keep), self.on_failure, delete)
        return {_WANTED + word: value for word, value in zip(_WANTED_WORDS, values, strict=True)}

    def as_tags(self) -> dict[str, str]:
        """Return what a finalizer elsewhere needs to go on from the snapshot alone; see `from_tags`."""
        return {RUN: self.run, SET: self.set_name} | self.wanted

    def as_request(self, stack: str, good: bool, text: str, asked: str, spoiled: str) -> dict[str, str]:
        """Return what asks a finalizer elsewhere for the end of the run, from its beginning; see `from_tags`.

        `asked` is when (ISO 8601), `spoiled` another run that failed (see `state.Request`). Of the outcome's text as much as a tag takes, in the characters that all of AWS takes.
        """
        words = " ".join(re.sub(r"[^\w+\-=.:/@]", " ", text).split())[:_VALUE]
        outcome = "good" if good else "failed"
        rest = {CREATED: asked, REQUEST: words, SPOILED: spoiled, SWEPT: ""}
        return self.as_tags() | {STACK: stack, OUTCOME: outcome} | rest

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "FinalizeSettings":
        """Return the settings that a run's snapshot, or a request on its volume, carries. Raises `SettingsError` where they are not its tags."""
        try:
            return cls(
                run=tags[RUN],
                cluster=tags[STACK],
                snapshots=tags[SET],
                config=tags[_WANTED + "config"],
                mount=tags[_WANTED + "mount"],
                keep=int(tags[_WANTED + "keep"]),
                on_failure=tags[_WANTED + "on-failure"],  # type: ignore[arg-type]  # looked at by __post_init__
                delete_cluster=tags[_WANTED + "delete"] == "yes",
            )
        except (KeyError, ValueError) as error:
            if isinstance(error, SettingsError):
                raise
            raise SettingsError(
                f"the tags of run {tags.get(RUN, '')} do not say what is wanted ({error})",
                hint="run the finalizer by hand",
            ) from error
