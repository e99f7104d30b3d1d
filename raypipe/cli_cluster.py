"""The verbs of a cluster on AWS, each a thin shell around the module that does it."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from raypipe.cli_options import ConfigFile, Json, planned

clusters = typer.Typer(
    no_args_is_help=True,
    help="A cluster on AWS: make it, look at it, change it, have it end itself, delete it.",
)
ClusterName = Annotated[str, typer.Argument(metavar="NAME", help="What the cluster is called.")]
ClusterFile = Annotated[
    str, typer.Option("--file", metavar="FILE", help="The cluster's configuration: a path, or s3://bucket/key.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Ask AWS about all of it, and make nothing.")]
_CLUSTER_FILE = "cluster-config.yaml"


@clusters.command(
    epilog="Examples:\n\n- `raypipe cluster create pipe --config raypipe.toml --print`\n\n"
    "- `raypipe cluster create pipe --config raypipe.toml --for data/picasso/20181105`"
)
def create(
    name: ClusterName,
    config: ConfigFile = None,
    file: ClusterFile = _CLUSTER_FILE,
    day: Annotated[
        Path | None, typer.Option("--for", metavar="DAY", help="See that workers hold the largest task of this day.")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the configuration, and change nothing.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Make a cluster as the table `cluster` of the settings says, or as FILE says, once it is there.

    FILE is checked without AWS first. Then ParallelCluster's tool takes over, which `raypipe` calls and does not hold.
    """
    from raypipe import cluster_verbs
    from raypipe.config import load_config

    settings = load_config(config).cluster
    largest = max((task.memory for task in planned(day, config=config).todo), default=0) if day else 0
    if show:
        text, notes = cluster_verbs.printed(settings, task_memory=largest)
        typer.echo(text, nl=False)
        for note in notes:
            typer.echo(note, err=True)
        return
    for line in cluster_verbs.create(name, settings, file, task_memory=largest, dry_run=dry_run):
        typer.echo(line)


@clusters.command(epilog="Example: `raypipe cluster update pipe --config raypipe.toml --dry-run`")
def update(
    name: ClusterName, config: ConfigFile = None, file: ClusterFile = _CLUSTER_FILE, dry_run: DryRun = False
) -> None:
    """Change a cluster into what FILE says now. For most changes AWS wants the compute fleet stopped first."""
    from raypipe import cluster_verbs
    from raypipe.config import load_config

    for line in cluster_verbs.update(name, load_config(config).cluster, file, dry_run=dry_run):
        typer.echo(line)


@clusters.command("status", epilog="Example: `raypipe cluster status pipe --config raypipe.toml --json`")
def cluster_status(name: ClusterName, config: ConfigFile = None, json: Json = False) -> None:
    """Show how a cluster stands: stack, compute fleet, head node, data volume and its newest snapshot."""
    from raypipe import cluster_verbs
    from raypipe.config import load_config

    facts, lines = cluster_verbs.status(name, load_config(config).cluster)
    typer.echo(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode() if json else "\n".join(lines))


@clusters.command(epilog="Example: `raypipe cluster delete pipe --config raypipe.toml`")
def delete(
    name: ClusterName,
    config: ConfigFile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    without_snapshot: Annotated[
        str,
        typer.Option(metavar="WORDS", help="'delete NAME without a snapshot': even if its data are not saved."),
    ] = "",
) -> None:
    """Delete a cluster whose data are in a completed snapshot; asks first. Exit code 3 if they are not."""
    from raypipe import cluster_verbs
    from raypipe.config import load_config

    settings = load_config(config).cluster
    for line in cluster_verbs.deletion(name, settings, without_snapshot):
        typer.echo(line, err=True)
    if not yes and not typer.confirm(f"Delete {name}? What was written since then is lost, or in a last snapshot."):
        raise typer.Exit(1)
    typer.echo(cluster_verbs.delete(name, settings))


@clusters.command(
    epilog="Examples:\n\n- `raypipe cluster arm pipe --config raypipe.toml --policies policies`, before there is a cluster\n\n"
    "- `raypipe cluster arm pipe --config raypipe.toml --hours 12 --email me@example.org`"
)
def arm(
    name: ClusterName,
    config: ConfigFile = None,
    hours: Annotated[
        int, typer.Option(min=1, max=168, help="Tell people when the head node runs for so many hours.")
    ] = 24,
    email: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Who is told of alarms, if [notify] has no topic of SNS.")
    ] = "",
    snapshots: Annotated[
        str, typer.Option(metavar="SET", help="The set that runs' snapshots join (default: as [finalize] says).")
    ] = "",
    show: Annotated[
        bool, typer.Option("--print", help="Print what would be made, and the policies; change nothing.")
    ] = False,
    policies: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the policies to DIR, as files for IAM; change nothing else."),
    ] = None,
) -> None:
    """Have AWS end this cluster's runs when no machine of yours waits, and tell when the cluster lives too long.

    Makes a function with its roles, what wakes it (the end of a snapshot; each hour), its log and two alarms. Once more
    mends what is missing or differs. The function points `file` of [finalize], in S3, at new snapshots.
    """
    from functools import partial

    from raypipe import cluster_arm
    from raypipe.config import load_config

    settings, noted = load_config(config), partial(typer.echo, err=True)
    wanted = cluster_arm.Wanted(hours, email, snapshots)
    if not show and not policies:
        cluster_arm.arm_cluster(name, settings, wanted, heard=typer.echo, noted=noted)
        return
    arms, lines, notes = cluster_arm.foreseen(name, settings, wanted)
    for note in notes:
        noted(note)
    if show:
        typer.echo("\n".join(lines) + "\n" + cluster_arm.policies_text(arms), nl=False)
    for line in cluster_arm.write_policies(arms, policies) if policies else ():
        typer.echo(line)


@clusters.command(epilog="Example: `raypipe cluster disarm pipe --config raypipe.toml`")
def disarm(name: ClusterName, config: ConfigFile = None) -> None:
    """Remove what `arm` made; the cluster, its data and its snapshots stay."""
    from raypipe import cluster_arm
    from raypipe.config import load_config

    cluster_arm.disarm_cluster(name, load_config(config).cluster, heard=typer.echo)
