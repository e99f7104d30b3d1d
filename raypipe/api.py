"""raypipe from Python: the same verbs as on the command line, with plain arguments."""

from collections.abc import Iterable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from raypipe.config import Config, load_config
from raypipe.day import Day, find_day
from raypipe.events import Listener
from raypipe.plan import Plan, make_plan
from raypipe.recording import parse_channels
from raypipe.stages import choose_stages

if TYPE_CHECKING:
    from raypipe.run import Place, Report

AnyPath = str | PathLike[str]


def plan_day(
    path: AnyPath,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    channels: str | None = None,
    output: AnyPath | None = None,
    config: Config | AnyPath | None = None,
    replace: bool = False,
) -> Plan:
    """Return what `run_day` with the same arguments would do. Raises `UsageError` and its kinds."""
    day, settings = _day_and_config(path, output, config)
    return make_plan(
        day,
        settings,
        stages=choose_stages(tuple(only), tuple(skip)),
        channels=None if channels is None else parse_channels(channels),
        replace_foreign=replace,
    )


def run_day(
    path: AnyPath,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    channels: str | None = None,
    output: AnyPath | None = None,
    config: Config | AnyPath | None = None,
    replace: bool = False,
    listeners: Sequence[Listener] = (),
    place: "Place | None" = None,
) -> "Report":
    """Process the day at `path` on an embedded Ray (or in another `place`), and return how it went.

    `only` and `skip` name stages, `channels` is as '1-32,40', `output` another root for what is made, `config` a
    `Config` or a TOML file, `replace` also makes again what raypipe did not make. Each of `listeners` is called with
    every event. Raises `UsageError` or `Refused` (and their kinds) before anything is written; what goes wrong in
    single tasks is in the report.
    """
    (report,) = run_days(
        [path],
        only=only,
        skip=skip,
        channels=channels,
        output=output,
        config=config,
        replace=replace,
        listeners=listeners,
        place=place,
    )
    if report.refused:
        raise report.refused
    return report


def run_days(
    paths: Iterable[AnyPath],
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    channels: str | None = None,
    output: AnyPath | None = None,
    config: Config | AnyPath | None = None,
    replace: bool = False,
    listeners: Sequence[Listener] = (),
    place: "Place | None" = None,
) -> "list[Report]":
    """Process days together on one Ray, as `run_day` does one; return how each went, in their order.

    A day named twice is done once. A day that is refused does not hold up the others: its report says why (`refused`).
    Raises `UsageError` only for what is wrong with every day.
    """
    from raypipe import run

    settings = config if isinstance(config, Config) else load_config(None if config is None else Path(config))
    chosen = {"stages": choose_stages(tuple(only), tuple(skip)), "replace_foreign": replace}
    chosen["channels"] = None if channels is None else parse_channels(channels)

    def planned(path: Path) -> Plan:
        return make_plan(find_day(path, None if output is None else Path(output)), settings, **cast("Any", chosen))

    once = {path.expanduser().resolve(): path for path in map(Path, paths)}
    wanted = {str(path): partial(planned, path) for path in once.values()}
    return run.run_days(wanted, place or run.ThisMachine(settings), listeners)


def load(path: AnyPath) -> dict[str, Any]:
    """Return the fields of an object that raypipe or PyHipp wrote, with hickle 5 or 4. Raises `FormatError`."""
    from raypipe.io.objects import load_object

    return load_object(Path(path))


def _day_and_config(path: AnyPath, output: AnyPath | None, config: Config | AnyPath | None) -> tuple[Day, Config]:
    day = find_day(Path(path), None if output is None else Path(output))
    return day, config if isinstance(config, Config) else load_config(None if config is None else Path(config))
