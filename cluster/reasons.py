"""Why a job waits or ended, and why a node cannot be had, in words, from Slurm's one-word reasons and EC2's codes."""

import re

_SENTENCES = {
    "None": "Slurm has not looked at it yet",
    "Resources": "waits for nodes to become free",
    "Priority": "waits for jobs that come first",
    "BeginTime": "may not begin yet; after a node's death Slurm waits two minutes, unless the hold is lifted",
    "Dependency": "waits for the job that it depends on",
    "DependencyNeverSatisfied": "can never begin, since what it depends on ended otherwise; cancel it",
    "ReqNodeNotAvail": "the nodes that it needs are down, drained or reserved",
    "PartitionDown": "its partition takes no jobs now",
    "PartitionInactive": "its partition begins no jobs now",
    "PartitionNodeLimit": "asks for more nodes than its partition has or allows",
    "PartitionTimeLimit": "asks for more walltime than its partition allows",
    "PartitionConfig": "asks for more than its partition allows",
    "NodeDown": "a node that it needs is down",
    "BadConstraints": "no node has what it asks for",
    "Nodes": "the nodes that it needs are down, drained or taken by jobs that come first",
    "Reservation": "waits for its reservation",
    "Licenses": "waits for a licence",
    "JobHeldUser": "held by its owner; `scontrol release` lets it go",
    "JobHeldAdmin": "held by an administrator, or after too many requeues; `scontrol release` lets it go",
    "launch failed requeued held": "could not be launched on its node, and is held; `scontrol release` lets it go",
    "JobArrayTaskLimit": "waits for other elements of its array, of which only some may run at once",
    "JobLaunchFailure": "could not be launched on its node",
    "Cleaning": "waits until its last attempt is cleaned up",
    "Prolog": "its node is being prepared",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its quality of service is not valid",
    "AssocGrpCpuLimit": "its account uses as many CPUs as it may",
    "AssocGrpMemLimit": "its account uses as much memory as it may",
    "AssocGrpNodeLimit": "its account uses as many nodes as it may",
    "AssocMaxJobsLimit": "its account has as many jobs running as it may",
    "QOSMaxCpuPerUserLimit": "its owner uses as many CPUs as one may",
    "QOSMaxJobsPerUserLimit": "its owner has as many jobs running as one may",
    "QOSGrpCpuLimit": "all of this quality of service together use as many CPUs as they may",
    "NonZeroExitCode": "ended with a non-zero exit code",
    "NodeFail": "its node died",
    "OutOfMemory": "was killed for memory",
    "TimeLimit": "reached its walltime",
    "RaisedSignal": "was killed by a signal",
    "SystemFailure": "Slurm failed",
    "FrontEndDown": "a front end of the cluster is down",
    "BurstBufferResources": "waits for room in the burst buffer",
    "MaxMemPerLimit": "asks for more memory than one job may have",
    "AccountingPolicy": "a limit of its account holds it",
}
_STATES = {
    "CONFIGURING": "its node is booting",
    "RUNNING": "runs",
    "COMPLETING": "is being cleaned up",
    "COMPLETED": "done",
    "CANCELLED": "was cancelled",
    "FAILED": "failed",
    "TIMEOUT": "reached its walltime",
    "NODE_FAIL": "its node died",
    "OUT_OF_MEMORY": "was killed for memory",
    "PREEMPTED": "its node was taken away for a job that comes first",
    "BOOT_FAIL": "its node did not boot",
    "DEADLINE": "could not end before its deadline",
    "REQUEUED": "is being queued again",
    "REQUEUE_HOLD": "was queued again, and is held; `scontrol release` lets it go",
    "SUSPENDED": "is suspended",
}


_CODES = {
    "InsufficientInstanceCapacity": "EC2 has no such instance to give now",
    "InsufficientHostCapacity": "EC2 has no such host to give now",
    "InsufficientReservedInstanceCapacity": "the capacity that is reserved is used up",
    "LimitedInstanceCapacity": "EC2 gave fewer instances than were asked for together",
    "UnfulfillableCapacity": "EC2 has no such instance to give now",
    "MaxSpotInstanceCountExceeded": "the account has as many spot instances as it may",
    "VcpuLimitExceeded": "the account has as many vCPUs as it may",
    "InstanceLimitExceeded": "the account has as many instances as it may",
    "SpotMaxPriceTooLow": "the spot price is above the limit of the queue",
    "Unsupported": "EC2 has no such instances in this zone",
}

_TOO_LATE = "ResumeTimeout"
_CODE = re.compile(r"\(Code:\s*(\w+)\)")


def node_in_words(reason: str) -> str:
    """Say why a node cannot be had, from the reason that Slurm was given; ParallelCluster's names a code of EC2's."""
    if reason.startswith(_TOO_LATE):
        return "did not boot in time"
    code = _CODE.search(reason)
    return _CODES.get(code[1], reason) if code else reason


def never_booted(reason: str) -> bool:
    """Whether a node is down, for the reason that Slurm was given, without having been up."""
    return reason.startswith(_TOO_LATE) or _CODE.search(reason) is not None


def in_words(state: str, reason: str) -> str:
    """Say what a job of this state and reason does: 'waits for nodes to become free'.

    A reason that is not known is said in Slurm's own words.
    """
    if state != "PENDING":
        said = _STATES.get(state, state.lower().replace("_", " "))
        why = "" if reason in ("None", "") else _sentence(reason)
        return f"{said}: {why}" if why and why != said else said
    return _sentence(reason)


def _sentence(reason: str) -> str:
    first, _, details = reason.strip("() ").partition(",")
    words = _SENTENCES.get(first) or _limit(first) or f"{first} (Slurm's word)"
    return f"{words} ({details.strip()})" if details.strip() else words


def _limit(reason: str) -> str | None:
    # There are a hundred of these, made of who, what and which: AssocGrpCPURunMinutesLimit, QOSMaxGRESPerNode.
    for start, whose in (("Assoc", "its account"), ("QOS", "its quality of service")):
        if reason.startswith(start):
            return f"a limit of {whose} holds it: {reason}"
    return None
