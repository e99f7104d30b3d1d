"""The command line: one verb a function, each a thin shell around the module that does it."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
import typer

from cluster.errors import ClusterError
from raypipe import __version__
from raypipe.cli_cluster import clusters
from raypipe.cli_options import (
    AttachedTo,
    Channels,
    ConfigFile,
    Cpus,
    DayPath,
    DayPaths,
    Json,
    Memory,
    NoRaw,
    OnFailure,
    Only,
    Output,
    Replace,
    Skip,
    overridden,
    planned,
)
from raypipe.errors import RaypipeError, Refused, UsageError
from raypipe.events import Event, RunRefused

app = typer.Typer(
    name="raypipe",
    help="A day of hippocampus recordings: from Ripple files to the lab's analysis objects, on Ray.",
    epilog="Exit codes: 0 done, 1 a task failed, 2 usage, 3 refused (memory, disk, lock), 4 cluster or AWS, 5 data not proven safe, 75 out of time, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(clusters, name="cluster")


def main() -> NoReturn:
    """Run the command line; every expected error ends with one message and its exit code."""
    try:
        app(standalone_mode=True)
    except (RaypipeError, ClusterError) as error:
        typer.secho(f"raypipe: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
    sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"raypipe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Examples:\n\n- `raypipe plan data/picasso/20181105`\n\n- `raypipe plan data/picasso/20181105 --only rpllfp --channels 1-32`\n\n"
    "- `raypipe plan data/picasso/20181105 --cluster` tells what it takes on AWS"
)
def plan(
    day: DayPath,
    only: Only = None,
    skip: Skip = None,
    channels: Channels = None,
    output: Output = None,
    config: ConfigFile = None,
    no_raw: NoRaw = False,
    replace: Replace = False,
    cpus: Cpus = None,
    memory: Memory = None,
    json: Json = False,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Instead: which instances of AWS, how many, how long, for how much.")
    ] = False,
) -> None:
    """Show what `run` would do: what is done, what is to do and why, bytes and memory. Changes nothing.

    Exit code 3 if the run would be refused for its memory.
    """
    from raypipe import report

    if cluster:
        from raypipe.cluster_report import cluster_plan

        typer.echo(
            cluster_plan(planned(day, only, skip, channels, output, config, no_raw, replace), json=json), nl=False
        )
        return
    made = planned(day, only, skip, channels, output, config, no_raw, replace, cpus, memory)
    typer.echo(report.plan_json(made) if json else report.plan_text(made), nl=False)
    if refused := report.refusal(made):
        raise typer.Exit(refused.exit_code)


@app.command(
    epilog="Examples:\n\n- `raypipe run data/picasso/20181105`\n\n- `raypipe run data/picasso/20181105 --no-raw --cpus 4 --memory 6GB`\n\n"
    "- `raypipe run data/picasso/20181105 --output results --json`"
)
def run(
    days: DayPaths,
    only: Only = None,
    skip: Skip = None,
    channels: Channels = None,
    output: Output = None,
    config: ConfigFile = None,
    no_raw: NoRaw = False,
    replace: Replace = False,
    cpus: Cpus = None,
    memory: Memory = None,
    json: Json = False,
    attached: AttachedTo = None,
    finalize: Annotated[
        bool,
        typer.Option(
            "--finalize", help="Then end it on AWS, as `raypipe finalize` does.", rich_help_panel="The end on AWS"
        ),
    ] = False,
    on_failure: OnFailure = None,
) -> None:
    """Do what is to be done of a day, or of several together. What is done already stays done: run it again after anything.

    An earlier day goes before a later one. A day that is refused does not hold up the others; the exit code is the worst.
    With channels in [notify] of the settings, people are told when it begins and how it ended; `raypipe notify` tries them.
    """
    from contextlib import nullcontext
    from functools import partial

    from raypipe import api, progress
    from raypipe.config import load_config
    from raypipe.notice import Where
    from raypipe.notify import Notifier
    from raypipe.report import failures_text, kept_text

    _only_with_finalize(on_failure, finalize)
    settings = _ending(overridden(load_config(config), cpus, memory), on_failure=on_failure)
    skipped = [*(skip or ()), *(["rplsplit"] if no_raw else ())]
    if finalize:
        from raypipe.finalize import check

        for note in check(settings):
            typer.echo(note, err=True)
    where = Where.here(days, output, attached)
    place = None
    if attached:
        from raypipe.attached import Attached

        place = Attached(attached, settings)
    several = len(days) > 1
    with (
        Notifier(settings.notify.channels, where=where, region=settings.cluster.region, ends=not attached) as notifier,
        place.joined() if place else nullcontext(),
        progress.shown("json" if json else settings.run.progress, several=several) as listeners,
    ):
        reports = api.run_days(
            days,
            only=only or (),
            skip=skipped,
            channels=channels,
            output=output,
            config=settings,
            replace=replace,
            listeners=[*listeners, partial(_tell_refused, several), notifier],
            place=place,
        )
        ends_here = (
            finalize and any(not ended.refused for ended in reports) and not any(ended.interrupted for ended in reports)
        )
        notifier.ends = not (attached or ends_here)
    for ended in reports:
        name = f"{ended.day}: " if several else ""
        if ended.failures and not json:
            typer.echo(f"\n{name}{failures_text(ended.failures)}", err=True, nl=False)
        if not json and ended.plan and (kept := kept_text(ended.plan)):
            typer.echo(f"{name}{kept}", err=True)
    code = max(ended.exit_code for ended in reports)
    if ends_here:
        from raypipe.submit import Choice

        choice = Choice(tuple(only or ()), tuple(skipped), channels, output, replace)
        code_of_end = _end_behind(days, choice, settings, json)  # also of a run that failed
        code = code or code_of_end
    raise typer.Exit(code)


def _end_behind(days: list[Path], choice: Any, settings: Any, json: bool) -> int:
    """End what was just run on AWS, and return the exit code of that."""
    from raypipe.finalize import Asked
    from raypipe.finalize_words import ended_line, ended_text

    try:
        ended = _finalized(Asked(days, choice, settings, unattended=True))
    except (RaypipeError, ClusterError) as error:
        typer.secho(f"raypipe: {error}", fg="red", err=True)
        return error.exit_code
    typer.echo(ended_line(ended) if json else ended_text(ended), nl=False)
    return int(ended.exit_code)


def _tell_refused(several: bool, event: Event) -> None:
    """Say at once, and however else progress is shown, that a day is refused."""
    if isinstance(event, RunRefused):
        error = event.error + (f"\n  hint: {event.hint}" if event.hint else "")
        typer.secho(f"raypipe: {event.day}: {error}" if several else f"raypipe: {error}", fg="red", err=True)


@app.command(
    epilog="Examples:\n\n- `raypipe status data/picasso/20181105`\n\n- `raypipe status data/picasso/20181105 --json`"
)
def status(
    day: DayPath,
    only: Only = None,
    skip: Skip = None,
    channels: Channels = None,
    output: Output = None,
    config: ConfigFile = None,
    no_raw: NoRaw = False,
    json: Json = False,
) -> None:
    """Show what is there and what is missing, by array and channel. Exit code 1 if anything is missing or damaged."""
    from raypipe import report
    from raypipe.status import status_of

    made = planned(day, only, skip, channels, output, config, no_raw, False, None, None)
    found = status_of(made)
    typer.echo(report.status_json(found, made) if json else report.status_text(found, made), nl=False)
    raise typer.Exit(0 if found.complete else 1)


@app.command(
    epilog="Examples:\n\n- `raypipe verify data/picasso/20181105`\n\n"
    "- `raypipe verify data/picasso/20181105 data/picasso/20181106 --json`"
)
def verify(days: DayPaths, output: Output = None, json: Json = False) -> None:
    """Read all outputs again, from the disk, and compare them with the checksums of when they were written.

    Exit code 1 if one is missing, cannot be read, or has other bytes though nobody wrote to it. What somebody edited
    since is told, and is not wrong. Outputs of versions before checksums are judged by size and time. Exit code 3 for a
    day of which nothing is known to be made.
    """
    from time import monotonic

    from raypipe import verify as verifying
    from raypipe.day import find_day
    from raypipe.progress import simple_bar

    found_days = [find_day(day, output) for day in days]
    verifying.refuse_untold(found_days)
    began, total, n_read = monotonic(), verifying.bytes_of(found_days), 0
    with simple_bar("reading again") as moved:

        def advance(n_bytes: int) -> None:
            nonlocal n_read
            n_read += n_bytes
            moved(n_read, total)

        found = verifying.verify_days(found_days, advance=advance)
    shown = verifying.verified_json(found) if json else verifying.verified_text(found, monotonic() - began)
    typer.echo(shown, nl=False)
    raise typer.Exit(1 if found.wrong else 0)


@app.command(
    epilog="Examples:\n\n- `raypipe clean data/picasso/20181105 --dry-run`\n\n- `raypipe clean data/picasso/20181105 --only rplsplit --yes`"
)
def clean(
    day: DayPath,
    only: Only = None,
    output: Output = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go, and remove nothing.")] = False,
) -> None:
    """Remove what raypipe made (all of it, or of some stages), and nothing else; asks first.

    Raw copies of a session whose .ns5 is gone are kept: they are the recording.
    """
    from raypipe import clean as cleaning
    from raypipe.day import find_day
    from raypipe.memory import in_gb
    from raypipe.stages import choose_stages

    found_day = find_day(day, output)
    stages = [stage.name for stage in choose_stages(tuple(only))] if only else []

    def described(what: cleaning.Leftovers) -> str:
        text = f"{len(what.remove)} files, {in_gb(what.size)}, of {found_day.title}"
        text += f", with {len(what.scraps)} temporary files and logs of runs" if what.scraps else ""
        return text + (f", with {len(what.gone)} lines about files that are gone" if what.gone else "")

    leftovers = cleaning.find_leftovers(found_day, stages)
    for path in leftovers.changed:
        typer.echo(f"kept, changed since raypipe made it: {path}", err=True)
    for path in leftovers.only_copies:
        typer.echo(f"kept, its recording (.ns5) is gone and this is the only copy: {path}", err=True)
    if not leftovers:
        kept = leftovers.changed or leftovers.only_copies
        typer.echo(f"nothing {'else ' if kept else ''}of raypipe's is there")
        return
    if dry_run:
        for path in (*leftovers.remove, *leftovers.scraps):
            typer.echo(str(path))
        typer.echo(f"would remove {described(leftovers)}")
        return
    if not yes and not typer.confirm(f"Remove {described(leftovers)}?"):
        raise typer.Exit(1)
    typer.echo(f"removed {described(cleaning.clean(found_day, leftovers))}")


def _unusual(meaning: str, *names: str) -> Any:
    return typer.Option(*names, help=meaning, rich_help_panel="Eyes, clocks, and what can go wrong")


@app.command(
    epilog="Examples:\n\n- `raypipe simulate data` makes data/picasso/20181105\n\n"
    "- `raypipe simulate data --channels 1-32,40 --seconds 600 --trials 60 --sessions 2 --seed 7`\n"
    "- `raypipe simulate data --lost-messages 3 --cut-last-trial --dummy-sessions 1 --eye-rate 500 --binocular`"
)
def simulate(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder in which the subject's folder is made.")],
    channels: Annotated[str, typer.Option(metavar="LIST", help="How many channels (16), or which (1-32,40).")] = "16",
    seconds: Annotated[float, typer.Option(help="Length of each navigation session.")] = 60.0,
    eye_seconds: Annotated[float, typer.Option(help="Length of the calibration session.")] = 10.0,
    trials: Annotated[int, typer.Option(help="Trials in each navigation session.")] = 10,
    sessions: Annotated[int, typer.Option(help="Navigation sessions.")] = 1,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    spec: Annotated[str, typer.Option(help="Ripple file specification: 2.2 or 2.3.")] = "2.3",
    markers: Annotated[str, typer.Option(help="Word that starts a session: 84, 204 or none.")] = "84",
    subject: Annotated[str, typer.Option(help="Name of the subject.")] = "picasso",
    day: Annotated[str, typer.Option(help="Date of the day, yyyymmdd.")] = "20181105",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a simulated day that is there.")] = False,
    unity_ppm: Annotated[float, _unusual("How much faster than Ripple's clock Unity's runs.")] = 60.0,
    eye_ppm: Annotated[float, _unusual("How much faster than Ripple's clock the eye tracker's runs.")] = -40.0,
    timeouts: Annotated[float, _unusual("Fraction of the trials that end in a time-out; 0: none.")] = 0.1,
    scene: Annotated[
        Literal["A", "C"], _unusual("Revision of the maze that is looked at; a run needs the same raycast.scene.")
    ] = "A",
    eye_rate: Annotated[int, _unusual("Eye samples per second: 500, 1000 or 2000.")] = 1000,
    binocular: Annotated[bool, _unusual("Both eyes are recorded.", "--binocular")] = False,
    pauses: Annotated[int, _unusual("Pauses of the eye recording, between trials of each session.")] = 0,
    lost_messages: Annotated[int, _unusual("Messages of each session that the eye file lacks.")] = 0,
    lost_trials: Annotated[int, _unusual("Trials of each session of which the eye file lacks all messages.")] = 0,
    incomplete_trials: Annotated[int, _unusual("Trials in mid session without an end.")] = 0,
    cut_last_trial: Annotated[bool, _unusual("The last trial of each session has no end.", "--cut-last-trial")] = False,
    incomplete_in: Annotated[
        Literal["all", "unity", "ripple"], _unusual("Which files lack these ends: Unity's log, the .nev, or all three.")
    ] = "all",
    dummy_sessions: Annotated[int, _unusual("Sessions before session01 that only the eye file has.")] = 0,
    fixation_at_end: Annotated[
        bool, _unusual("The last fixation of an eye file ends on its last sample.", "--fixation-at-end")
    ] = False,
    header_lines: Annotated[int, _unusual("Lines of header of Unity's logs: 14 or 15.")] = 15,
    unity_files: Annotated[int, _unusual("Logs into which Unity's log of a session is divided.")] = 1,
) -> None:
    """Make a synthetic day in the lab's file formats, with ground_truth.json beside it."""
    from raypipe.progress import simple_bar
    from raypipe.recording import parse_channels
    from raypipe.simulate import SimulateSettings, simulate_day

    if markers not in ("84", "204", "none"):
        raise UsageError(f"no marker format {markers!r}", hint="--markers is 84, 204 or none")
    settings = SimulateSettings(
        subject=subject,
        day=day,
        channels=int(channels) if channels.isdecimal() else parse_channels(channels).numbers,
        seconds=seconds,
        eye_seconds=eye_seconds,
        trials=trials,
        sessions=sessions,
        seed=seed,
        spec=spec,
        marker_format=None if markers == "none" else int(markers),
        unity_ppm=unity_ppm,
        eye_ppm=eye_ppm,
        timeout_fraction=timeouts,
        scene=scene,
        eye_rate_hz=eye_rate,
        binocular=binocular,
        pauses=pauses,
        lost_messages=lost_messages,
        lost_trials=lost_trials,
        incomplete_trials=incomplete_trials,
        cut_last_trial=cut_last_trial,
        incomplete_in=incomplete_in,
        dummy_sessions=dummy_sessions,
        fixation_at_end=fixation_at_end,
        header_lines=header_lines,
        unity_files=unity_files,
    )
    with simple_bar("writing the day") as advance:
        made = simulate_day(root, settings, overwrite=overwrite, progress=advance)
    typer.echo(str(made))


def _of_end(meaning: str, name: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=meaning, rich_help_panel="The end on AWS", **more)


@app.command(
    epilog="Examples:\n\n- `raypipe finalize data/picasso/20181105 --cluster pipe --file s3://my-bucket/cluster-config.yaml --dry-run`\n\n"
    "- `raypipe finalize data/picasso/20181105 --config raypipe.toml --on-failure teardown --keep 3`"
)
def finalize(
    days: DayPaths,
    only: Only = None,
    skip: Skip = None,
    channels: Channels = None,
    output: Output = None,
    config: ConfigFile = None,
    no_raw: NoRaw = False,
    replace: Replace = False,
    cluster: Annotated[
        str | None, _of_end("The cluster: its name, or its stack's id.", "--cluster", "NAME|ARN")
    ] = None,
    file: Annotated[
        str | None, _of_end("The configuration of the next cluster: a file, or s3://bucket/key.", "--file", "FILE")
    ] = None,
    on_failure: OnFailure = None,
    keep: Annotated[int | None, _of_end("Newest snapshots that stay (2).", "--keep", "N", min=1)] = None,
    keep_cluster: Annotated[
        bool, _of_end("Do not delete the cluster, however well all went.", "--keep-cluster")
    ] = False,
    dry_run: Annotated[
        bool, _of_end("Show what would be done and what it costs; read no outputs, change nothing.", "--dry-run")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    no_wait: Annotated[
        bool, _of_end("Go as far as is possible now; exit code 75 if that is not the end.", "--no-wait")
    ] = False,
    tell_only: Annotated[bool, typer.Option("--tell-only", hidden=True)] = False,
    json: Json = False,
) -> None:
    """End runs on AWS: their outputs read again, people told, the data in a snapshot, the cluster deleted.

    Good is a run of which nothing is left to be done and whose outputs are as they were written. Then the compute nodes
    are stopped, the data volume is kept as a snapshot, the configuration of the next cluster is pointed at it, all but
    the newest snapshots go, and so does the cluster. Of a run that is not good --on-failure says what becomes. Nothing is
    deleted before the new snapshot is completed. To be called again after anything: what is done stays done.
    """
    from raypipe import finalize as finalizing
    from raypipe import finalize_words as words
    from raypipe.config import load_config
    from raypipe.submit import Choice

    settings = _ending(
        load_config(config), cluster=cluster, file=file, on_failure=on_failure, keep=keep,
        delete_cluster=False if keep_cluster else None,
    )  # fmt: skip
    skipped = (*(skip or ()), *(["rplsplit"] if no_raw else ()))
    choice = Choice(tuple(only or ()), skipped, channels, output, replace)
    asked = finalizing.Asked(days, choice, settings, waits=not no_wait, unattended=yes)
    if tell_only:
        for trouble in finalizing.tell_end(asked):
            typer.echo(f"could not tell {trouble}", err=True)
        return
    if dry_run:
        foreseen = finalizing.foresee(asked)
        typer.echo(words.foreseen_json(foreseen) if json else words.foreseen_text(foreseen), nl=False)
        return
    if not yes and (goes := finalizing.foresee(asked).deletions):
        typer.echo("\n".join(goes), err=True)
        if not sys.stdin.isatty():
            raise UsageError("this deletes, and there is no terminal to ask at", hint="--yes, if it is meant")
        if not typer.confirm("Go on?"):
            raise typer.Exit(1)
    ended = _finalized(asked)
    typer.echo(words.ended_json(ended) if json else words.ended_text(ended), nl=False)
    raise typer.Exit(ended.exit_code)


def _finalized(asked: Any) -> Any:
    from raypipe.finalize import finalize
    from raypipe.steps import steps_shown

    with steps_shown() as steps:
        return finalize(asked, steps)


def _only_with_finalize(on_failure: str | None, finalize: bool) -> None:
    if on_failure and not finalize:
        raise UsageError("--on-failure is about the end on AWS", hint="give --finalize, too, or leave it out")


def _ending(config: Any, **changed: Any) -> Any:
    """Return `config` with what the command line says of the end on AWS."""
    told = {name: value for name, value in changed.items() if value is not None}
    return msgspec.structs.replace(config, finalize=msgspec.structs.replace(config.finalize, **told))


def _of_jobs(meaning: str, metavar: str, **more: Any) -> Any:
    return typer.Option(metavar=metavar, help=meaning, rich_help_panel="Jobs", **more)


@app.command(
    epilog="Examples:\n\n- `raypipe submit data/picasso/20181105 --workers 1:8`\n\n"
    "- `raypipe submit data/picasso/20181105 data/picasso/20181106 --partition queue1 --time 12:00:00`\n\n"
    "- `raypipe submit data/picasso/20181105 --fixed 4 --print` shows the scripts and changes nothing"
)
def submit(
    days: DayPaths,
    workers: Annotated[
        str | None, _of_jobs("Nodes that work beside the head's: they come and go with the work (1:8).", "MIN:MAX")
    ] = None,
    fixed: Annotated[
        int | None, _of_jobs("Instead: one job of N nodes, the head's among them, from beginning to end.", "N", min=1)
    ] = None,
    partition: Annotated[str | None, _of_jobs("Partition of the workers; `sinfo` lists them.", "NAME")] = None,
    account: Annotated[str | None, _of_jobs("Account that pays.", "NAME")] = None,
    time: Annotated[str | None, _of_jobs("Walltime: 90 (minutes), 12:00:00 or 2-00:00:00.", "TIME")] = None,
    name: Annotated[str | None, _of_jobs("What the jobs and their output files are called.", "NAME")] = None,
    only: Only = None,
    skip: Skip = None,
    channels: Channels = None,
    output: Output = None,
    config: ConfigFile = None,
    no_raw: NoRaw = False,
    replace: Replace = False,
    show: Annotated[bool, typer.Option("--print", help="Print the jobs' scripts, and change nothing.")] = False,
    finalize: Annotated[
        bool, _of_end("The last job ends it all on AWS, as `raypipe finalize` does.", "--finalize")
    ] = False,
    on_failure: OnFailure = None,
) -> None:
    """Have days done on a Slurm cluster; to be called on its login or head node.

    A small job, the head, plans and hands out the work. Each worker is a job of its own that joins when its node is
    there, so that the run begins with the first. A last job clears up, however the others ended. The days, raypipe and
    its Python must be on disks that all nodes share. What else jobs can ask for (modules, venv, constraint, memory) is
    in the table `slurm` that `raypipe config` prints; give your own with --config. A day that is refused does not hold
    up the others; the exit code is the worst.
    """
    from raypipe import submit as submitting
    from raypipe.config import load_config

    if workers is not None and fixed is not None:
        raise UsageError(
            "--workers and --fixed contradict each other",
            hint="--workers 1:8 for nodes that come and go, --fixed 4 for one job of four nodes",
        )
    _only_with_finalize(on_failure, finalize)
    settings = load_config(config)
    asked = {"workers": workers, "partition": partition, "account": account, "walltime": time, "name": name}
    changed: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    changed |= {"fixed": fixed or 0} if workers is not None or fixed is not None else {}
    slurm = submitting.for_any_folder(msgspec.structs.replace(settings.slurm, **changed))
    settings = _ending(msgspec.structs.replace(settings, slurm=slurm), on_failure=on_failure)
    skipped = (*(skip or ()), *(["rplsplit"] if no_raw else ()))
    choice = submitting.Choice(tuple(only or ()), skipped, channels, output, replace)
    found = submitting.survey(days, settings, choice)
    for note in found.notes:
        typer.echo(note, err=True)
    if finalize and found.exit_code:
        raise Refused(
            "a day is refused: the cluster is not to be ended with it undone",
            hint="mend it or leave it out; without --finalize the others are submitted all the same",
        )
    if not found.plans:
        if finalize:
            raise Refused("there is nothing to do, and so no last job", hint="`raypipe finalize` ends the cluster now")
        raise typer.Exit(int(found.broken))
    last: submitting.Last = "finalize" if finalize else "tell" if settings.notify.channels else ""
    if finalize:
        from raypipe.finalize import check

        for note in check(settings, on_slurm=True, anywhere=show):
            typer.echo(note, err=True)
    made = submitting.new_submission(settings, found, choice, last)
    for note in submitting.room_notes(made, anywhere=show):
        typer.echo(note, err=True)
    if show:
        typer.echo(submitting.printed(made.texts()), nl=False)
    else:
        submitting.refuse_twice(plan.day for plan in made.plans)
        typer.echo(submitting.how_to_follow(made, submitting.submit(made)), nl=False)
    raise typer.Exit(found.exit_code)


@app.command(
    epilog="Examples:\n\n- `raypipe jobs`\n\n- `raypipe jobs data/picasso/20181105 --json`\n\n- `raypipe jobs --watch --every 10`"
)
def jobs(
    days: Annotated[
        list[Path] | None, typer.Argument(metavar="[DAY...]", help="Folders of days (default: all your runs).")
    ] = None,
    output: Output = None,
    json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing until the runs are over.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="With --watch: how often to look.")] = 5.0,
) -> None:
    """Show the runs on this cluster: their jobs, what is done in each or what it waits for, and how far the days are."""
    from raypipe import jobs as running
    from raypipe.day import find_day
    from raypipe.progress import redrawn

    if watch and json:
        raise UsageError("--watch is for people, --json for programs", hint="leave one of them out")
    chosen = [find_day(day, output) for day in days or ()]
    if watch:
        redrawn(running.pictures(chosen, every))
        return
    found = running.cluster_runs(chosen)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    typer.echo(running.runs_json(found) if json else running.runs_text(found, width), nl=False)


@app.command(
    epilog="Examples:\n\n- `raypipe log data/picasso/20181105` lists what there is\n\n"
    "- `raypipe log data/picasso/20181105 session01-rpllfp-009`\n\n"
    "- `raypipe log data/picasso/20181105 1234` prints what the job 1234 wrote\n\n"
    "- `raypipe log mountain_batch-009` looks at your runs on this cluster"
)
def log(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DAY] [TASK]", help="A day's folder; a task, a part of its name, or a job's id."),
    ] = None,
    output: Output = None,
) -> None:
    """Print the log of a task or a job; without one, list the logs. Exit code 2 if there is no such log, or several."""
    from raypipe import logs

    day, task = _day_and_task(words or [])
    found = logs.logs_of_all(day, output)
    chosen = logs.find_logs(found, task) if task else []
    names = {each.name for each in chosen}
    if len(names) == 1:
        typer.echo("\n".join(map(logs.log_text, chosen)), nl=False)
        return
    typer.echo(logs.names_text(chosen or found), nl=False)
    if task:
        raise UsageError(
            f"{len(names) or 'no'} logs have '{task}' in their name",
            hint="give one of the names above" if found else "nothing of this has run yet",
        )


def _day_and_task(words: list[str]) -> tuple[Path | None, str]:
    """Tell a day's folder, which may be left out, from the task."""
    if len(words) > 2:
        raise UsageError("log takes a day and a task", hint="raypipe log data/picasso/20181105 session01-rpllfp-009")
    if words and (len(words) == 2 or Path(words[0]).is_dir()):
        return Path(words[0]), "".join(words[1:])
    return None, "".join(words)


@app.command(
    epilog="Examples:\n\n- `raypipe notify 'a try' --config raypipe.toml` before a night's run\n\n"
    "Channels are in the settings:\n\n```\n[notify]\nchannels = [\n"
    "  # an SNS topic: e-mail, SMS\n"
    '  "arn:aws:sns:ap-southeast-1:123456789012:lab",\n'
    "  # a URL: JSON with run, event, subject and text is posted\n"
    '  "https://ntfy.example/raypipe",\n'
    "  # a command: the text is its input\n"
    '  "mail -s raypipe me@example.org",\n'
    "  # a URL or command that is a secret: the first line of a file\n"
    '  "file:~/.raypipe-hook",\n'
    "  # or a SecureString of Systems Manager\n"
    '  "ssm:/raypipe/hook",\n'
    "]\n```"
)
def notify(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to tell.")],
    config: ConfigFile = None,
) -> None:
    """Tell a text to all channels of [notify] in the settings, as runs tell their begin and end.

    Exit code 4 if any of them could not be told; what went wrong is said, a line for each.
    """
    from raypipe.config import load_config
    from raypipe.notify import try_channels

    settings = load_config(config)
    told, troubles = try_channels(settings.notify.channels, text, region=settings.cluster.region)
    for name in told:
        typer.echo(f"told {name}")
    for trouble in troubles:
        typer.secho(f"raypipe: could not tell {trouble}", fg="red", err=True)
    raise typer.Exit(4 if troubles else 0)


@app.command()
def config(config: ConfigFile = None) -> None:
    """Print all settings as TOML, each with its meaning; a start for a file of one's own."""
    from raypipe.config import config_toml, load_config

    typer.echo(config_toml(load_config(config)), nl=False)
