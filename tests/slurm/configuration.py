"""What a cluster of namespaces is to be, and the texts of Slurm's configuration that follow from it; touches nothing."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HEAD = "head"
"""Runs slurmctld and munged; users log in here and submit from here."""
HEAD_ADDRESS = "10.77.0.1"
"""Every cluster has the same addresses: its network is in namespaces of its own."""
SUBNET_BITS = 24
MAX_NODES = 200

SLURMD_TIMEOUT_S = 6
"""How long Slurm waits for a silent node; its own default, 300 s, is too long for a test."""
MESSAGE_TIMEOUT_S = 5
"""How long it waits for a node's answer, which it does once or twice before it takes the node for silent."""
RESUME_TIMEOUT_S = 40
"""How long Slurm waits for a cloud node to boot."""


@dataclass(frozen=True)
class Layout:
    """A cluster of `nodes` equal nodes and a head."""

    directory: Path
    """Everything that the cluster writes; short, for sockets are in it."""
    token: str
    """Part of every node's name, for cgroups are called after nodes and are the machine's, not a namespace's."""
    nodes: int = 3
    cpus: int = 2
    memory_mb: int = 2000
    """What Slurm takes a node to have; nothing but the enforcement of jobs' requests holds a node to it."""
    shm_mb: int = 1000
    """Size of a node's own /dev/shm."""
    memory_scheduling: bool = True
    """Memory is shared out to jobs and enforced. Without, as on a ParallelCluster by default, it is not."""
    cgroups: bool = True
    """Slurm may use the memory and freezer controllers of cgroup v1. Without, it looks at jobs' memory now and then."""
    cloud: bool = False
    """Nodes are off until a job wants them, and go off again when idle for `suspend_s`."""
    boot_delay_s: float = 1.0
    """From the request to boot a cloud node to its boot."""
    suspend_s: int = 20
    shared: tuple[Path, ...] = ()
    """Folders under /tmp that all nodes see, as if by NFS; the rest of a node's /tmp is its own."""

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise ValueError(f"a cluster of {self.nodes} nodes: there can be 1 to {MAX_NODES}")

    @property
    def prefix(self) -> str:
        """What names of nodes have in common."""
        return f"queue1-dy-{self.token}-"

    @cached_property
    def addresses(self) -> dict[str, str]:
        """Address of every node, by name."""
        return {f"{self.prefix}{i}": f"10.77.0.{10 + i}" for i in range(1, self.nodes + 1)}

    @property
    def slurm_conf(self) -> Path:
        """Where Slurm's programs find their configuration."""
        return self.directory / "slurm.conf"

    @property
    def home(self) -> Path:
        """HOME of users on all nodes, and where commands start."""
        return self.directory / "home"

    def of_node(self, name: str) -> Path:
        """Give the folder of a node, or of the head: `tmp` in it is its /tmp."""
        return self.directory / "head" if name == HEAD else self.directory / "nodes" / name


def slurm_conf(layout: Layout) -> str:
    """Render slurm.conf."""
    at = layout.directory
    by_cgroups = layout.cgroups and layout.memory_scheduling
    lines = [
        "ClusterName=raypipe",
        f"SlurmctldHost={HEAD}({HEAD_ADDRESS})",
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={at}/munge.socket",
        "CredType=cred/munge",
        f"StateSaveLocation={at}/state",
        f"SlurmctldPidFile={at}/slurmctld.pid",
        f"SlurmctldLogFile={at}/log/slurmctld.log",
        f"SlurmdSpoolDir={at}/spool/%n",
        f"SlurmdPidFile={at}/spool/%n.pid",
        f"SlurmdLogFile={at}/log/%n.log",
        "MailProg=/bin/true",
        # what jobs get, and what happens when they take more
        "SelectType=select/cons_tres",
        f"SelectTypeParameters={'CR_CPU_Memory' if layout.memory_scheduling else 'CR_CPU'}",
        f"ProctrackType=proctrack/{'cgroup' if layout.cgroups else 'linuxproc'}",
        f"TaskPlugin=task/{'cgroup' if by_cgroups else 'none'}",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=1",
        *(["JobAcctGatherParams=OverMemoryKill"] if layout.memory_scheduling and not by_cgroups else []),
        "SlurmdParameters=config_overrides",  # a node has what is written here, not what the machine has
        "SwitchType=switch/none",
        "MpiDefault=none",
        # no accounting: that needs a database
        "AccountingStorageType=accounting_storage/none",
        "JobCompType=jobcomp/filetxt",
        f"JobCompLoc={at}/log/jobs.txt",
        "MinJobAge=600",
        # soon, where the defaults have minutes
        "SchedulerType=sched/backfill",
        "SchedulerParameters=sched_interval=1,bf_interval=2",
        f"SlurmdTimeout={SLURMD_TIMEOUT_S}",
        "SlurmctldTimeout=60",
        f"MessageTimeout={MESSAGE_TIMEOUT_S}",
        "TCPTimeout=2",
        "KillWait=30",  # its own default: a cancelled driver ends Ray and tidies up on a busy machine too
        "UnkillableStepTimeout=20",
        # as on a ParallelCluster
        "JobRequeue=1",
        "ReturnToService=2",
    ]
    if layout.cloud:
        lines += [
            f"ResumeProgram={at}/bin/resume",
            f"SuspendProgram={at}/bin/suspend",
            f"ResumeFailProgram={at}/bin/suspend",
            f"ResumeTimeout={RESUME_TIMEOUT_S}",
            f"SuspendTime={layout.suspend_s}",
            "SuspendTimeout=2",
            "ResumeRate=0",
            "SuspendRate=0",
            "PrivateData=cloud",  # show nodes that are off, too
            "SlurmctldParameters=idle_on_node_suspend,power_save_interval=1,power_save_min_interval=0",
        ]
    lines += [
        f"NodeName={name} NodeAddr={address} NodeHostname={name} CPUs={layout.cpus} Boards=1 SocketsPerBoard=1"
        f" CoresPerSocket={layout.cpus} ThreadsPerCore=1 RealMemory={layout.memory_mb} Feature=dynamic"
        f" State={'CLOUD' if layout.cloud else 'UNKNOWN'}"
        for name, address in layout.addresses.items()
    ]
    lines.append(f"PartitionName=queue1 Nodes={','.join(layout.addresses)} Default=YES MaxTime=INFINITE State=UP")
    return "\n".join(lines) + "\n"


def cgroup_conf(layout: Layout) -> str:
    """Render cgroup.conf."""
    lines = [
        f"CgroupPlugin={'cgroup/v1' if layout.cgroups else 'autodetect'}",
        "CgroupAutomount=no",
        "CgroupMountpoint=/sys/fs/cgroup",
        f"ConstrainRAMSpace={'yes' if layout.cgroups and layout.memory_scheduling else 'no'}",
        "ConstrainSwapSpace=no",
        "ConstrainCores=no",
        "ConstrainDevices=no",
    ]
    return "\n".join(lines) + "\n"


def hosts(layout: Layout) -> str:
    """Render the /etc/hosts of the head and of all nodes."""
    names = {"localhost": "127.0.0.1", HEAD: HEAD_ADDRESS, **layout.addresses}
    return "".join(f"{address} {name}\n" for name, address in names.items())
