"""Every setting of raypipe: name, type, range, default and meaning in one place, read from one TOML file.

Each class is a table of the file; an unknown key is an error.
"""

import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from cluster.aws.channels import kind_of
from cluster.errors import SettingsError
from cluster.secrecy import secret_in
from raypipe.errors import UsageError


class RplLfp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Local field potential (the names and their order make the file's hash, as in PyHipp)."""

    ResampleRate: Annotated[int, Meta(ge=1, description="samples per second of the LFP; must divide the raw rate")] = (
        1000
    )
    LFPOrder: Annotated[int, Meta(ge=2, description="order of the band-pass; even, halved for each of two passes")] = 8
    LowPassFrequency: Annotated[
        tuple[float, float], Meta(description="edges of the pass band in Hz, below half of ResampleRate")
    ] = (1, 150)


class RplHighPass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """High-pass for spikes (the names and their order make the file's hash, as in PyHipp)."""

    HighOrder: Annotated[int, Meta(ge=2, description="order of the band-pass; even, halved for each of two passes")] = 8
    HighPassFrequency: Annotated[
        tuple[float, float], Meta(description="edges of the pass band in Hz, below half of the raw rate")
    ] = (500, 7500)


class Unity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Unity's logs (the names and their order make the file's hash, as in PyHipp)."""

    FileLineOffset: Annotated[
        int, Meta(ge=0, description="lines of header; counted in the log itself, kept for the hash")
    ] = 15
    DirName: Annotated[str, Meta(description="folder of the logs in a session, as a pattern")] = "RawData*"
    FileName: Annotated[str, Meta(description="the logs in it, as a pattern")] = "session*"
    TriggerVal1: Annotated[int, Meta(description="cue on: words above this, below TriggerVal2")] = 10
    TriggerVal2: Annotated[int, Meta(description="cue off: words above this, below TriggerVal3")] = 20
    TriggerVal3: Annotated[int, Meta(description="end of a trial: words above this")] = 30
    BinNumberLimit: Annotated[int, Meta(description="of PyHipp's plots; kept for the hash")] = 500


class EdfSplit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Eye data (the names and their order make the file's hash, as in PyHipp's Eyelink)."""

    FileName: Annotated[str, Meta(description="how the names of eye files end; kept for the hash")] = ".edf"
    CalibFileNameChar: Annotated[
        str, Meta(description="what the name of a calibration file has and others have not")
    ] = "P"
    NavDirName: Annotated[str, Meta(description="how the names of navigation sessions begin; kept for the hash")] = (
        "session0"
    )
    DirName: Annotated[str, Meta(description="sessions, as a pattern; kept for the hash")] = "session*"
    CalibDirName: Annotated[str, Meta(description="the calibration session")] = "sessioneye"
    ScreenX: Annotated[int, Meta(gt=0, description="width of the screen in px; gaze beyond is no gaze")] = 1920
    ScreenY: Annotated[int, Meta(gt=0, description="height of the screen in px")] = 1080
    NumTrialMessages: Annotated[int, Meta(description="messages of a trial; kept for the hash")] = 3
    TriggerMessage: Annotated[
        str, Meta(description="message that starts a session, whatever its version; kept for the hash")
    ] = "Trigger Version 84"


class Aligning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Unity and eye data on Ripple's clock."""

    doubtful_ms: Annotated[
        float, Meta(gt=0, description="a trial whose length on two clocks differs by more than this is marked doubtful")
    ] = 20.0


class Raycast(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gaze on the maze."""

    radius: Annotated[float, Meta(ge=0, le=1000, description="radius in px of the disc of rays around the gaze")] = 1.0
    density: Annotated[float, Meta(gt=0, description="rays in 100 x 100 px of the disc")] = 220.0
    scene: Annotated[
        Literal["A", "C"], Meta(description="revision of the maze: A walls at -12.67 and 12.23 m, C at 12.5 m")
    ] = "A"


class Umaze(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Occupancy of the maze (the names and their order make the file's hash, as in PyHipp)."""

    GridSteps: Annotated[int, Meta(ge=1, description="bins along each side of the maze")] = 40
    OverallGridSize: Annotated[float, Meta(gt=0, description="side of the maze in Unity's units")] = 25
    MinObs: Annotated[int, Meta(ge=0, description="visits of a bin, from which on it counts as observed")] = 5


class SortSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spike sorting of a channel's high-pass."""

    sorter: Annotated[
        Literal["raypipe", "mountainsort5"],
        Meta(description="who sorts; mountainsort5 (scheme 2) needs raypipe-ephys[sorting]"),
    ] = "raypipe"
    samplerate: Annotated[float, Meta(gt=0, description="samples per second of the high-pass")] = 30000.0
    mask_artifacts: Annotated[bool, Meta(description="leave out stretches of far more power than others")] = True
    mask_threshold: Annotated[
        float, Meta(gt=0, description="standard deviations of stretches' root power above the mean, beyond which")
    ] = 10.0
    mask_chunk_size: Annotated[int, Meta(ge=30, le=1_000_000, description="samples of such a stretch")] = 2000
    noise: Annotated[
        Literal["mad", "std"],
        Meta(
            description="unit of detect_threshold: median absolute deviation / 0.6745, or the lab's standard deviation"
        ),
    ] = "mad"
    detect_sign: Annotated[Literal[-1, 0, 1], Meta(description="-1 troughs, 1 peaks, 0 both are events")] = 0
    detect_interval: Annotated[
        int, Meta(ge=1, le=300, description="samples around an event in which there is no other")
    ] = 30
    detect_threshold: Annotated[float, Meta(gt=0, description="least height of an event, in units of the noise")] = 4.0
    max_events_hz: Annotated[
        float,
        Meta(
            gt=0, description="events per second of the whole series at most; of more (interference) only the highest"
        ),
    ] = 300.0
    adjacency_radius: Annotated[
        float, Meta(ge=0, le=0, description="the lab's: channels are sorted alone, so it is 0")
    ] = 0.0
    clip_size: Annotated[int, Meta(ge=40, le=150, description="samples of a clip that is clustered")] = 50
    num_features: Annotated[int, Meta(ge=2, le=30, description="principal components of clips")] = 10
    max_num_clips_for_pca: Annotated[int, Meta(ge=100, description="clips from which components are found")] = 2000
    isocut_threshold: Annotated[
        float, Meta(gt=0, description="ISO-SPLIT's dip score from which on two clusters are two")
    ] = 1.0
    min_cluster_size: Annotated[int, Meta(ge=2, description="least events of a cluster")] = 10
    parcels: Annotated[int, Meta(ge=2, le=1000, description="parcels that ISO-SPLIT begins with")] = 200
    look_again: Annotated[
        bool,
        Meta(description="look at clusters again without what blurs them, drift and jitter; false: as the lab's"),
    ] = True
    max_clustered: Annotated[
        int,
        Meta(ge=1000, le=200_000, description="events that are clustered, evenly taken; others join their clusters"),
    ] = 20_000
    templates_clip_size: Annotated[int, Meta(ge=60, le=600, description="samples of a template")] = 150
    merge: Annotated[
        bool, Meta(description="join clusters that are one when their spikes are aligned; false: as the lab's")
    ] = True
    merge_shift: Annotated[int, Meta(ge=0, le=40, description="samples by which joined clusters may be apart")] = 30
    merge_similarity: Annotated[
        float, Meta(ge=0, le=1, description="least cosine of templates of clusters that are joined")
    ] = 0.8
    merge_distance: Annotated[
        float, Meta(ge=0, description="largest distance of clusters that are joined, in standard deviations")
    ] = 2.8
    match: Annotated[
        bool, Meta(description="find units' spikes anew by their templates, overlapping ones too; false: as the lab's")
    ] = True
    match_limit: Annotated[
        float, Meta(gt=0, description="spikes are looked for near samples of this size, in units of the noise")
    ] = 3.0
    match_certainty: Annotated[
        float, Meta(gt=0, description="least product of a spike with its template, in standard deviations of noise")
    ] = 5.0
    match_share: Annotated[
        float, Meta(ge=0, le=1, description="least energy of a spike within another, as a share of the other's")
    ] = 0.05
    metrics_clips: Annotated[int, Meta(ge=50, le=5000, description="events of a cluster that metrics look at")] = 500
    noise_overlap_limit: Annotated[
        float, Meta(ge=0, le=1, description="clusters that overlap more with noise are flagged as noise")
    ] = 0.3
    noise_similarity_limit: Annotated[
        float,
        Meta(ge=0, le=1, description="low clusters whose mean is more alike to noise's own shape are flagged as noise"),
    ] = 0.93
    line_locking_limit: Annotated[
        float,
        Meta(ge=0, le=1, description="clusters that keep step with the mains more than this are flagged as noise"),
    ] = 0.5
    isolation_limit: Annotated[
        float, Meta(ge=0, le=1, description="clusters less isolated are flagged as likely multi-unit")
    ] = 0.9
    refractory_ms: Annotated[float, Meta(gt=0, description="intervals shorter than this violate refractoriness")] = 2.0
    violation_limit: Annotated[
        float,
        Meta(ge=0, le=1, description="clusters with a larger share of violations are flagged as likely multi-unit"),
    ] = 0.02


class Spectrum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spectrum of the LFP, of each channel and of the day (part of the file's hash, as in PyHipp)."""

    pointsPerWindow: Annotated[
        int, Meta(ge=2, description="samples of a window; the transform has the next power of two")
    ] = 2000


class HighPassSpectrum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spectrum of the high-pass, of each channel and of the day (part of the file's hash, as in PyHipp)."""

    pointsPerWindow: Annotated[
        int, Meta(ge=2, description="samples of a window; the transform has the next power of two")
    ] = 3000


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How damaged or interrupted recordings are read."""

    accept_truncated: Annotated[
        bool, Meta(description="use what is there of an .ns5 that ends before its header says")
    ] = False
    max_gap_seconds: Annotated[
        float, Meta(gt=0, description="longest pause of a recording that is filled; longer ones are an error")
    ] = 3600.0


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run may use; never changes a result."""

    cpus: Annotated[int, Meta(ge=0, description="CPUs to use; 0: all that this machine lets us use")] = 0
    memory: Annotated[
        str, Meta(description="memory to use, as '6GB' or '500MB'; empty: nine tenths of what there is")
    ] = ""
    tile_seconds: Annotated[
        float, Meta(gt=0, le=600, description="seconds of all channels that are read and handed on at once")
    ] = 4.0
    tiles_in_flight: Annotated[int, Meta(ge=1, le=64, description="tiles that may wait between reader and filters")] = 3
    restarts: Annotated[int, Meta(ge=0, description="how often work is begun again whose worker died")] = 3
    progress: Annotated[
        Literal["auto", "rich", "plain", "json", "none"],
        Meta(description="how progress is shown; auto: bars on a terminal, plain lines elsewhere"),
    ] = "auto"


class Slurm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `submit` asks Slurm for; never changes a result. Empty text, 0 and [] leave a choice to Slurm."""

    workers: Annotated[
        str,
        Meta(description="workers beside the head, MIN:MAX (come and go with the work), or N for as many throughout"),
    ] = "1:8"
    fixed: Annotated[
        int,
        Meta(ge=0, le=1000, description="nodes of one job, the head's among them; 0: workers are jobs of their own"),
    ] = 0
    name: Annotated[str, Meta(description="what the jobs and their output files are called")] = "raypipe"
    partition: Annotated[str, Meta(description="partition of the workers")] = ""
    constraint: Annotated[str, Meta(description="features that workers' nodes have, as 'dynamic&r5.2xlarge'")] = ""
    account: Annotated[str, Meta(description="account that pays")] = ""
    walltime: Annotated[str, Meta(description="as Slurm writes it: 90 (minutes), 12:00:00 or 2-00:00:00")] = ""
    warning_seconds: Annotated[
        int, Meta(ge=0, description="how long before the walltime nothing new is begun any more; 0: until the end")
    ] = 300
    cpus: Annotated[int, Meta(ge=0, description="CPUs of a worker; 0: all of its node, if it is exclusive")] = 0
    memory_mb: Annotated[
        int, Meta(ge=0, description="memory of a worker, MiB; 0: no --mem, as where memory is not scheduled")
    ] = 0
    exclusive: Annotated[bool, Meta(description="a worker has its node for itself")] = True
    head_partition: Annotated[
        str, Meta(description="partition of the head, whose nodes should not be taken away; empty: as the workers'")
    ] = ""
    head_constraint: Annotated[str, Meta(description="features that the head's node has; empty: as the workers'")] = ""
    head_cpus: Annotated[int, Meta(ge=1, description="CPUs of the head")] = 1
    head_memory_mb: Annotated[int, Meta(ge=0, description="memory of the head, MiB; 0: no --mem")] = 0
    requeue: Annotated[bool, Meta(description="a job whose node died is queued again")] = True
    modules: Annotated[tuple[str, ...], Meta(description="modules that every job loads")] = ()
    venv: Annotated[str, Meta(description="virtual environment that every job activates, on a disk that all share")] = (
        ""
    )
    setup: Annotated[tuple[str, ...], Meta(description="further lines of shell, after modules and venv")] = ()
    python: Annotated[
        str, Meta(description="Python of the jobs; empty: the venv's, without one that which runs `submit`")
    ] = ""
    extra_directives: Annotated[
        tuple[str, ...],
        Meta(description="such as '--qos=long', in every job; take the place of those of the same name"),
    ] = ()
    skip_directives: Annotated[tuple[str, ...], Meta(description="such as '--requeue', not written at all")] = ()
    temp: Annotated[str, Meta(description="where Ray keeps its sockets and logs on each node; a short path")] = "/tmp"  # noqa: S108
    scratch: Annotated[
        str, Meta(description="local disk to spill to; empty: SLURM_TMPDIR, TMPDIR, else where temp is")
    ] = ""


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cluster on AWS that `raypipe cluster` makes and `plan --cluster` reckons with; never changes a result."""

    region: Annotated[str, Meta(description="of AWS")] = "ap-southeast-1"
    subnet: Annotated[str, Meta(description="of all machines, as subnet-0123456789abcdef0")] = ""
    key: Annotated[str, Meta(description="name of the key pair that opens the head node by ssh")] = ""
    bucket: Annotated[
        str, Meta(description="folder in S3 with raypipe's wheel and constraints.txt, as s3://my-bucket/raypipe")
    ] = ""
    head_instance: Annotated[
        str, Meta(description="head node: on demand, always there; all data go through its network and its EBS link")
    ] = "m5.large"
    driver_instance: Annotated[str, Meta(description="node of a run's driver: on demand, there while it runs")] = (
        "m5.large"
    )
    workers: Annotated[
        tuple[str, ...],
        Meta(description="instance types of workers, any of which will do: as many vCPUs, one architecture"),
    ] = ("r5.2xlarge",)
    spot: Annotated[bool, Meta(description="workers are spot instances: cheaper, may be taken away")] = False
    min_nodes: Annotated[int, Meta(ge=0, description="workers that are there, and paid for, without work")] = 0
    max_nodes: Annotated[int, Meta(ge=1, le=1000, description="most workers at once")] = 8
    snapshot: Annotated[str, Meta(description="snapshot that the data volume begins as; empty: a new volume")] = ""
    volume_gb: Annotated[int, Meta(ge=1, le=16384, description="GB of a new data volume (gp3)")] = 1000
    iops: Annotated[int, Meta(ge=3000, le=16000, description="of the data volume; above 3000 is paid for")] = 3000
    throughput: Annotated[
        int, Meta(ge=125, le=1000, description="MB/s of the data volume, at most iops / 4; above 125 is paid for")
    ] = 250
    encrypted: Annotated[
        bool, Meta(description="the data volume is encrypted; snapshots to be shared with other accounts must not be")
    ] = True
    mount: Annotated[str, Meta(description="where all nodes see the data volume")] = "/data"
    policies: Annotated[
        tuple[str, ...], Meta(description="further IAM policies (ARN) of the head node and the drivers' nodes")
    ] = ()
    vcpu_quota: Annotated[
        int, Meta(ge=1, description="vCPUs that AWS lets you have at once, the head's among them (Service Quotas)")
    ] = 64
    spot_fraction: Annotated[
        float, Meta(gt=0, le=1, description="what a spot instance is reckoned at, as a part of the price on demand")
    ] = 1.0
    prices: Annotated[
        str, Meta(description="table of instances and prices (TOML); empty: raypipe's own, of its date")
    ] = ""
    tool: Annotated[
        str, Meta(description="ParallelCluster's program; empty: pcluster on PATH, or in raypipe's cache")
    ] = ""


class Notify(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told when a run begins and ends, well or not; `raypipe notify` tries it."""

    channels: Annotated[
        tuple[str, ...],
        Meta(
            description="ARN of an SNS topic, http(s) URL (JSON is posted), or command (text on its input); "
            "one that is a secret is 'ssm:/name' (a parameter of Systems Manager) or 'file:/path'"
        ),
    ] = ()


class Finalize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end of a run on AWS (`raypipe finalize`): what is kept, and what becomes of the cluster; never changes a result."""

    cluster: Annotated[str, Meta(description="the cluster that goes: its name, or its stack's id (an ARN)")] = ""
    file: Annotated[
        str,
        Meta(
            description="configuration that the next cluster is made of: a file off the data volume, or s3://bucket/key"
        ),
    ] = "cluster-config.yaml"
    volume: Annotated[
        str, Meta(description="the data volume, as vol-0123456789abcdef0; empty: the one that the configuration mounts")
    ] = ""
    snapshots: Annotated[
        str, Meta(description="set of snapshots that the run's joins; empty: called like the cluster")
    ] = ""
    keep: Annotated[int, Meta(ge=1, description="newest snapshots of the set that stay")] = 2
    on_failure: Annotated[
        Literal["nothing", "stop-fleet", "snapshot-keep-cluster", "teardown"],
        Meta(description="what becomes of the cluster when a task failed or outputs do not hold"),
    ] = "snapshot-keep-cluster"
    delete_cluster: Annotated[bool, Meta(description="the cluster goes when all went well")] = True
    fleet_minutes: Annotated[float, Meta(gt=0, description="how long the compute nodes may take to stop")] = 30.0
    snapshot_hours: Annotated[float, Meta(gt=0, description="how long a snapshot may take")] = 12.0
    delete_minutes: Annotated[float, Meta(gt=0, description="how long the cluster may take to go")] = 60.0
    settle_seconds: Annotated[
        float, Meta(ge=0, description="how long EC2 may take to list a snapshot that was made")
    ] = 60.0
    patience_minutes: Annotated[float, Meta(ge=0, description="how long AWS may go on not answering")] = 15.0
    poll_seconds: Annotated[float, Meta(gt=0, description="how often is looked at what is waited for")] = 15.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration."""

    rpllfp: RplLfp = RplLfp()
    rplhighpass: RplHighPass = RplHighPass()
    unity: Unity = Unity()
    edfsplit: EdfSplit = EdfSplit()
    aligning_objects: Aligning = Aligning()
    raycast: Raycast = Raycast()
    umaze: Umaze = Umaze()
    mountain_batch: SortSettings = SortSettings()
    freqspectrum: Spectrum = Spectrum()
    freqspectrum_highpass: HighPassSpectrum = HighPassSpectrum()
    input: Input = Input()
    run: Resources = Resources()
    slurm: Slurm = Slurm()
    cluster: Cluster = Cluster()
    notify: Notify = Notify()
    finalize: Finalize = Finalize()


def load_config(path: Path | None) -> Config:
    """Read `path` (TOML); without one, the defaults.

    Raises `UsageError` that names the file and the key for anything unknown, mistyped or out of range, and for secrets:
    a run on a cluster copies its settings to the disk that all share.
    """
    if path is None:
        return Config()
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
        _refuse_secrets(told, str(path))  # first: what else is wrong is said with the value
        return _that_can_be_meant(msgspec.convert(told, Config))
    except FileNotFoundError:
        raise UsageError(f"no configuration file {path}", hint="`raypipe config > raypipe.toml` writes one") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read as TOML: {error}", hint="`raypipe config` prints a valid one"
        ) from None
    except SettingsError as error:
        raise UsageError(f"{path}: [notify] channels: {error.message}", hint=error.hint) from None
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{path}: {error}", hint="`raypipe config` prints every key with its range and meaning"
        ) from None


def _refuse_secrets(value: Any, file: str, key: str = "") -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            _refuse_secrets(each, file, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for each in value:
            _refuse_secrets(each, file, key)
    elif isinstance(value, str) and (kind := secret_in(value)):
        raise UsageError(
            f"{file}: {key} seems to hold {kind}, and settings are copied to disks that others read",
            hint="in [notify] channels write ssm:/name or file:/path of where it is; elsewhere have what needs it read it there",
        )


def _that_can_be_meant(config: Config) -> Config:
    for channel in config.notify.channels:
        kind_of(channel)
    for table in msgspec.structs.fields(config):
        for name, value in msgspec.structs.asdict(getattr(config, table.name)).items():
            if isinstance(value, float) and not math.isfinite(value):  # TOML knows inf
                raise msgspec.ValidationError(f"Expected a finite `float` - at `$.{table.name}.{name}`")
    return config


def config_toml(config: Config | None = None) -> str:
    """Return `config` as TOML, each key under a comment with its meaning."""
    return "\n".join(_toml_lines(config or Config()))


def parse_bytes(text: str) -> int:
    """Return '6GB', '1.5G', '500MB' or '1048576' as bytes (powers of 1024). Raises `UsageError`."""
    number = text.strip().upper().removesuffix("IB").removesuffix("B").strip()
    power = {"K": 10, "M": 20, "G": 30, "T": 40}.get(number[-1:], 0)
    try:
        size = float(number[:-1] if power else number) * 2**power
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise UsageError(f"{text!r} is not an amount of memory", hint="write it as 6GB or 500MB")
    return int(size)


def _toml_lines(config: Config) -> Iterator[str]:
    for table in msgspec.structs.fields(config):
        settings = getattr(config, table.name)
        yield f"# {(type(settings).__doc__ or '').strip()}"
        yield f"[{table.name}]"
        hints = get_type_hints(type(settings), include_extras=True)
        for field in msgspec.structs.fields(settings):
            meaning = next(meta for meta in hints[field.name].__metadata__ if isinstance(meta, Meta))
            yield f"# {meaning.description}"
            yield f"{field.name} = {_toml_value(getattr(settings, field.name))}"
        yield ""


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    # JSON's spelling of booleans, numbers and strings is TOML's too.
    return msgspec.json.encode(value).decode()
