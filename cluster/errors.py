"""What goes wrong between us and a cluster, and the exit code it ends with.

ClusterError                         exit
├── SettingsError (ValueError)          2   the settings of a job ask for something that cannot be meant
├── SlurmMissing (FileNotFoundError)    4   there is no Slurm where this runs
├── SlurmRefused                        4   a command of Slurm's said no
├── SlurmSilent (TimeoutError)          4   the controller does not answer
├── NodeTooSmall (MemoryError)          4   the job's memory does not hold Ray and one task
├── RayNotStarted                       4   the node did not start or join Ray
├── NotDrained                          4   a node of Ray goes on taking tasks
├── PclusterMissing (FileNotFoundError) 4   ParallelCluster's tool is not there
├── ClusterRefused                      4   ParallelCluster's tool said no
├── NotSaved                            3   a cluster is not deleted whose data are in no snapshot
├── ConfigRefused (ValueError)          3   a cluster's configuration cannot be pointed at another snapshot
├── NotOurs                             3   something of this name is somebody else's, or in use
├── FinalizeRefused                     3   the end of a run is not safe to begin
├── FinalizeUnproven                    5   the data are not known to be safe in a snapshot
├── FinalizeLate (TimeoutError)        75   the fleet or another finalizer took too long
├── AwsRefused                          4   AWS said no
└── AwsUnavailable                      4   AWS does not answer

Each message says what, where, and (as `hint`) what mends it.
"""


class ClusterError(Exception):
    """Base of the tree: a message, and a hint that says how to mend it."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class SettingsError(ClusterError, ValueError):
    """The settings of a job ask for something that cannot be meant."""

    exit_code = 2


class SlurmMissing(ClusterError, FileNotFoundError):
    """There is no Slurm where this runs."""


class SlurmRefused(ClusterError):
    """A command of Slurm's said no."""


class SlurmSilent(ClusterError, TimeoutError):
    """The controller does not answer."""


class NodeTooSmall(ClusterError, MemoryError):
    """The job's memory does not hold Ray and one task."""


class RayNotStarted(ClusterError):
    """The node did not start or join Ray."""


class NotDrained(ClusterError):
    """A node of Ray goes on taking tasks."""


class ConfigRefused(ClusterError, ValueError):
    """A cluster's configuration cannot be pointed at another snapshot."""

    exit_code = 3


class NotOurs(ClusterError):
    """Something that would be made or removed is somebody else's, or in use; nothing was changed."""

    exit_code = 3


class FinalizeRefused(ClusterError):
    """The end of a run is not safe to begin; nothing was changed."""

    exit_code = 3


class FinalizeUnproven(ClusterError):
    """The data are not known to be safe in a snapshot; nothing was deleted."""

    exit_code = 5


class FinalizeLate(ClusterError, TimeoutError):
    """Somebody else, or the fleet, kept the end of a run waiting for too long; it can be asked for again."""

    exit_code = 75


class AwsRefused(ClusterError):
    """AWS said no, or the deletion of the cluster did not end."""


class AwsUnavailable(ClusterError):
    """AWS did not answer, or not now; the call may have had its effect."""


class PclusterMissing(ClusterError, FileNotFoundError):
    """ParallelCluster's tool is not there."""


class ClusterRefused(ClusterError):
    """ParallelCluster's tool said no."""


class NotSaved(ClusterError):
    """A cluster is not deleted whose data are in no snapshot."""

    exit_code = 3
