"""What several verbs of the command line take: their options, and the plan that these ask for."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer


def _stages(begun: str) -> list[str]:
    """Complete the name of a stage."""
    from raypipe.stages import BY_NAME

    return [name for name in BY_NAME if name.startswith(begun)]


DayPath = Annotated[Path, typer.Argument(metavar="DAY", help="Folder of a day, as data/picasso/20181105.")]
DayPaths = Annotated[list[Path], typer.Argument(metavar="DAY...", help="Folders of days, as data/picasso/20181105.")]
AttachedTo = Annotated[Path | None, typer.Option("--attached", metavar="RUN", hidden=True)]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="STAGE",
        help="Only this stage (may be repeated); `raypipe plan` lists them.",
        autocompletion=_stages,
    ),
]
Skip = Annotated[
    list[str] | None,
    typer.Option("--skip", metavar="STAGE", help="Not this stage (may be repeated).", autocompletion=_stages),
]
Channels = Annotated[str | None, typer.Option("--channels", metavar="LIST", help="Only these channels: 1-32,40.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="DIR", help="Write to DIR/subject/day and leave the recording's folder untouched."
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings as TOML; `raypipe config` prints them all.")
]
NoRaw = Annotated[bool, typer.Option("--no-raw", help="Do not write raw copies (as --skip rplsplit).")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Also make again what raypipe did not make, or others changed.")
]
Cpus = Annotated[int | None, typer.Option("--cpus", min=1, help="CPUs to use (default: all this machine lets us).")]
Memory = Annotated[str | None, typer.Option("--memory", metavar="SIZE", help="Memory to use, as 6GB.")]
OnFailure = Annotated[
    Literal["nothing", "stop-fleet", "snapshot-keep-cluster", "teardown"] | None,
    typer.Option(
        "--on-failure", help="What becomes of the cluster when a task failed.", rich_help_panel="The end on AWS"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable: JSON on standard output.")]


def planned(
    day: Path,
    only: list[str] | None = None,
    skip: list[str] | None = None,
    channels: str | None = None,
    output: Path | None = None,
    config: Path | None = None,
    no_raw: bool = False,
    replace: bool = False,
    cpus: int | None = None,
    memory: str | None = None,
) -> Any:
    """Return the plan of a day."""
    from raypipe import api
    from raypipe.config import load_config

    return api.plan_day(
        day,
        only=only or (),
        skip=[*(skip or ()), *(["rplsplit"] if no_raw else ())],
        channels=channels,
        output=output,
        config=overridden(load_config(config), cpus, memory),
        replace=replace,
    )


def overridden(config: Any, cpus: int | None, memory: str | None) -> Any:
    """Return `config` with what the command line says instead."""
    changed = {name: value for name, value in {"cpus": cpus, "memory": memory}.items() if value is not None}
    return msgspec.structs.replace(config, run=msgspec.structs.replace(config.run, **changed))
