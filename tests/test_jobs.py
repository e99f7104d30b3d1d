"""Runs on a cluster as they are shown, and the logs of their tasks."""

import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from cluster import slurm
from cluster.slurm import Job
from raypipe.day import Day
from raypipe.events import (
    Event,
    FiltersBegun,
    NodesChanged,
    Note,
    PassProgressed,
    PassStarted,
    RunEnded,
    RunStarted,
    TaskDone,
    TaskFailed,
    WorkBegun,
    WorkEnded,
    WorkStarted,
    task_name,
)
from raypipe.jobs import (
    ClusterRun,
    JobRow,
    Progress,
    cluster_runs,
    job_rows,
    nodes_of,
    parse_times,
    progress,
    read_events,
    runs_json,
    runs_text,
)
from raypipe.logs import Log, find_logs, log_text, logs_of, names_text
from raypipe.records import RECORD_FILE, Record, read_record, run_folders
from tests.slurm.configuration import HEAD
from tests.slurm.harness import SlurmCluster, obstacle, wait_until
from tests.test_submit import RAYPIPE, call

RUN = "20181105T093000-1a2b"
STARTED = RunStarted("picasso/20181105", RUN, 12, 10**6, 10**9)
EVENTS = [
    STARTED,
    Note("session01", "a gap"),
    NodesChanged(("node1", "node2", "node3.lab", "node4"), ("node4",)),
    PassStarted("session01", 10, 8),
    FiltersBegun("session01", (1, 2, 3), ("rpllfp", "rplhighpass"), "node1"),
    FiltersBegun("session01", (9, 10), ("rpllfp", "rplhighpass"), "node2"),
    WorkStarted("unity", ("session01",)),
    WorkBegun("unity", ("session01",), None, "node1"),
    TaskDone("unity", "session01", None, "session01/unity_71bf.hkl", 100),
    WorkEnded("unity", ("session01",)),
    PassProgressed("session01", 3, 8, 12.0),
    WorkStarted("edfsplit", ("session01", "sessioneye")),
    WorkBegun("edfsplit", ("session01", "sessioneye"), None, "node9"),
    *(WorkStarted("mountain_batch", ("mountains",), channel, 300_000_000) for channel in (9, 10, 33)),
    *(WorkBegun("mountain_batch", ("mountains",), channel, "node2") for channel in (9, 33)),
    TaskDone("rpllfp", "session01", 9, "session01/array01/channel009/rpllfp_6eca.hkl", 200, "node2"),
    TaskFailed("rplhighpass", "session01", 10, "no room", "make room", "/log"),
]
ENDED = RunEnded("failed", 3, 1, 5.0, 300)
SQUEUE = """\
12|CANCELLED|2018-11-05T09:00:00|2018-11-05T09:01:00|2018-11-05T09:02:00
13_1|RUNNING|2018-11-05T09:00:00|2018-11-05T09:01:00|2018-11-06T09:01:00
13_2|PENDING|2018-11-05T09:00:00|N/A|N/A
14|PENDING|2018-11-05T09:00:03|N/A|N/A
"""


def write_events(path: Path, events: Sequence[Event], rest: bytes = b"") -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events) + rest)


def job(number: int, element: str, name: str, state: str, reason: str = "None", node: str = "") -> Job:
    return Job(f"13_{element}" if element else str(number), number, name, state, reason, node)


@pytest.fixture
def made_up(tmp_path: Path) -> Day:
    """A day of which two runs are told: in the first a task failed, in the second two went well."""
    day = Day(tmp_path / "picasso" / "20181105", tmp_path / "picasso" / "20181105")
    (day.input / "session01").mkdir(parents=True)
    runs = day.state / "runs"
    failed = TaskFailed("raycast", "session01", None, "unity could not be made", "see unity", "")
    write_events(runs / "20181105T080000-0000" / "events.jsonl", [STARTED, failed])
    (runs / "20181105T080000-0000" / "session01-rplhighpass-010.log").write_text("no room\nmake room\n\nTraceback ...")
    write_events(runs / RUN / "events.jsonl", EVENTS, b'{"event": "TaskDo')
    folder = day.state / "cluster" / "20181105T092959-abcd"
    folder.mkdir(parents=True)
    record = Record("pipe2", (str(day.output),), 12, 13, 14, "20181105T092959", "workers: 1 to 3")
    (folder / RECORD_FILE).write_bytes(msgspec.json.encode(record))
    for name, text in {"": "head", "-worker": "worker", "-finish": ""}.items():
        (folder / f"pipe2{name}-slurm.node1.{12 + len(name)}.out").write_text(text)
        (folder / f"pipe2{name}-slurm.node1.{12 + len(name)}.err").write_text(f"{text} err" if text else "")
    return day


def test_how_far_a_run_is() -> None:
    assert progress(EVENTS) == Progress(
        run=RUN,
        total=12,
        done=2,
        failed=1,
        outcome="",
        now=("session01: 3 of 8 tiles filtered",),
        waiting=1,
        doing={
            "node1": ("filters 3 channels of session01",),
            "node2": ("sorts channels 9, 33",),
            "node9": ("makes edfsplit of session01, sessioneye",),
        },
        nodes=("node1", "node2", "node3.lab", "node4"),
        leaving=("node4",),
    )
    assert progress([*EVENTS, ENDED]) == Progress(RUN, 12, 2, 1, "failed", ())
    assert progress([STARTED, PassStarted("session01", 10, 8)]) == Progress(
        RUN, 12, 0, 0, "", ("session01: 0 of 8 tiles filtered",)
    )
    assert progress([STARTED, PassProgressed("session01", 8, 8, 30.0)]) == Progress(RUN, 12, 0, 0, "", ())
    assert progress([]) is None


def test_lines_that_are_no_events_are_passed_over(made_up: Day) -> None:
    found = read_events(made_up.state / "runs" / RUN / "events.jsonl")
    assert found == [event for event in EVENTS if not isinstance(event, Note)]
    assert read_events(made_up.state / "nowhere") == []


def test_since_when() -> None:
    assert parse_times(SQUEUE) == {
        "12": "2018-11-05T09:02:00",
        "13_1": "2018-11-05T09:01:00",
        "13_2": "2018-11-05T09:00:00",
        "14": "2018-11-05T09:00:03",
    }


def test_jobs_in_their_order_and_those_that_wait_alike_in_one_row() -> None:
    jobs = [
        job(14, "", "pipe2-finish-12", "PENDING", "Dependency"),
        job(13, "3", "pipe2-worker-12", "PENDING", "Resources"),
        job(13, "4", "pipe2-worker-12", "PENDING", "Resources"),
        job(13, "6", "pipe2-worker-12", "PENDING", "ReqNodeNotAvail, May be reserved"),
        job(16, "1", "pipe2-worker-12", "RUNNING", node="node2"),
        job(12, "", "pipe2", "RUNNING", node="node1"),
    ]
    assert job_rows(jobs, {"12": "2018-11-05T09:02:00"}) == [
        JobRow("head", "12", "node1", "runs", "2018-11-05T09:02:00"),
        JobRow("worker", "13_1", "node2", "runs", ""),
        JobRow("worker", "13_3-4", "", "waits for nodes to become free", ""),
        JobRow("worker", "13_6", "", "the nodes that it needs are down, drained or reserved (May be reserved)", ""),
        JobRow("finish", "14", "", "waits for the job that it depends on", ""),
    ]


def test_what_is_done_in_each_job() -> None:
    def doing(*jobs: Job, days: Sequence[Progress | None]) -> list[tuple[str, ...]]:
        return [row.doing for row in job_rows(jobs, {}, days)]

    jobs = [
        job(12, "", "pipe2", "RUNNING", node="node1"),
        *(job(15 + number, str(number), "pipe2-worker-12", "RUNNING", node=f"node{number}") for number in (2, 3, 4, 5)),
        job(20, "6", "pipe2-worker-12", "CONFIGURING", node="node2"),
        job(21, "7", "pipe2-worker-12", "NODE_FAIL", node="node9"),
        job(14, "", "pipe2-finish-12", "PENDING", "Dependency"),
    ]
    busy = progress(EVENTS)
    nothing: list[tuple[str, ...]] = [(), (), ()]
    assert doing(*jobs, days=[None, busy]) == [
        ("filters 3 channels of session01",),
        ("sorts channels 9, 33",),
        ("idle",),
        ("drains",),
        ("joins",),
        *nothing,
    ]
    assert set(doing(*jobs, days=[progress([*EVENTS, ENDED])])) == {()}
    assert set(doing(*jobs, days=[None])) == {()}
    quiet = progress([STARTED, NodesChanged(("node1", "node2"), ("node2",)), WorkStarted("unity", ("session01",))])
    assert doing(*jobs[:3], days=[quiet]) == [(), ("drains",), ("joins",)], "the head's has the driver"
    sorts = progress([*EVENTS, NodesChanged(("node1", "node2"), ("node2",))])
    assert doing(jobs[1], days=[sorts]) == [("drains: sorts channels 9, 33",)]
    together = job(12, "", "pipe2", "RUNNING", node="node[1-3]")
    assert doing(together, days=[busy]) == [
        ("node1: filters 3 channels of session01", "node2: sorts channels 9, 33", "node3: idle")
    ]


def test_names_of_nodes() -> None:
    assert nodes_of("node1") == ["node1"]
    assert nodes_of("queue1-dy-c5-[09-11,14],other,a[1-2]b") == [
        *(f"queue1-dy-c5-{number}" for number in ("09", "10", "11", "14")), "other", "a1b", "a2b",
    ]  # fmt: skip
    assert nodes_of("") == []


def test_runs_as_text_and_as_json() -> None:
    rows = (
        JobRow("head", "12", "node1", "runs", "2018-11-05T09:02:00", ("filters 3 channels of session01",)),
        JobRow("worker", "13_1", "node2", "runs", "2018-11-05T09:02:01", ("sorts channels 9, 33", "makes a thing")),
        JobRow("worker", "13_3-4", "", "waits for nodes to become free", "2018-11-05T09:02:01"),
        JobRow("finish", "14", "", "waits for the job that it depends on", ""),
    )
    days = {"picasso/20181105": progress(EVENTS), "picasso/20181106": None}
    runs = [ClusterRun("pipe2", 12, Path("/data/run"), rows, days), ClusterRun("old", 3, None, (), {})]
    assert runs_text(runs) == (
        "pipe2 12  /data/run\n"
        "  picasso/20181105: 2 of 12 outputs made, 1 failed\n"
        "    session01: 3 of 8 tiles filtered\n"
        "    1 task waits for a worker\n"
        "    on node9: makes edfsplit of session01, sessioneye\n"
        "  picasso/20181106: not begun\n"
        "  head    12      node1  runs, since 05 Nov 09:02:00\n"
        "                         filters 3 channels of session01\n"
        "  worker  13_1    node2  runs, since 05 Nov 09:02:01\n"
        "                         sorts channels 9, 33\n"
        "                         makes a thing\n"
        "  worker  13_3-4         waits for nodes to become free, since 05 Nov 09:02:01\n"
        "  finish  14             waits for the job that it depends on\n"
        "\n"
        "old 3\n"
        "  its jobs are over, and Slurm has forgotten them\n"
    )
    found = json.loads(runs_json(runs))
    assert (found[0]["head"], found[0]["jobs"][0]["state"], found[0]["folder"]) == (12, "runs", "/data/run")
    assert (found[0]["days"]["picasso/20181105"]["done"], found[0]["days"]["picasso/20181106"]) == (2, None)
    assert found[0]["jobs"][1]["doing"] == ["sorts channels 9, 33", "makes a thing"]
    assert found[0]["days"]["picasso/20181105"]["waiting"] == 1
    assert runs_text([]) == "no runs on this cluster\n"
    assert runs_text(runs, 200) == runs_text(runs)
    narrow = runs_text(runs, 40).splitlines()
    assert narrow[5:14] == [
        "    on node9: makes edfsplit of",
        "      session01, sessioneye",
        "  picasso/20181106: not begun",
        "  head    12      node1  runs, since 05",
        "    Nov 09:02:00",
        "    filters 3 channels of session01",
        "  worker  13_1    node2  runs, since 05",
        "    Nov 09:02:01",
        "    sorts channels 9, 33",
    ]
    assert max(map(len, narrow)) <= 40


def test_of_several_days_a_job_says_of_which(made_up: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = run_folders(made_up)
    record = read_record(folder)
    assert record
    other = made_up.output.with_name("20181106")
    write_events(other / ".raypipe" / "runs" / RUN / "events.jsonl", EVENTS)
    jobs = [job(12, "", "pipe2", "RUNNING", node="node1"), job(14, "", "pipe2-finish-12", "PENDING", "Dependency")]
    monkeypatch.setattr(slurm, "jobs", lambda *_, **__: jobs)
    monkeypatch.setattr(slurm, "run", lambda *_: "")
    sentence = "filters 3 channels of session01"
    for days, said in {
        (made_up.output,): (sentence,),
        (made_up.output, other): (f"picasso/20181105: {sentence}", f"picasso/20181106: {sentence}"),
    }.items():
        told = msgspec.structs.replace(record, days=tuple(map(str, days)))
        (folder / RECORD_FILE).write_bytes(msgspec.json.encode(told))
        (run,) = cluster_runs([made_up])
        assert run.jobs[0].doing == said
    assert "    on node9: makes edfsplit of session01, sessioneye\n" in runs_text([run]), "below its day's line"


def test_logs_of_a_day(made_up: Day) -> None:
    logs = logs_of(made_up)
    assert [log.name for log in logs] == [
        "session01-raycast",
        "session01-rplhighpass-010",
        "session01-unity",
        "session01-rpllfp-009",
        *(f"session01-{stage}-{number:03d}" for number in (1, 2, 3) for stage in ("rpllfp", "rplhighpass")),
        "session01-edfsplit",
        "sessioneye-edfsplit",
        "mountains-mountain_batch-009",
        "mountains-mountain_batch-010",
        "mountains-mountain_batch-033",
        "pipe2-slurm.node1.12",
        "pipe2-slurm.node1.12",
        "pipe2-worker-slurm.node1.19",
        "pipe2-worker-slurm.node1.19",
    ]
    (failed,) = find_logs(logs, "session01-rplhighpass-010")
    assert log_text(failed) == f"== {failed.path} ==\nno room\nmake room\n\nTraceback ...\n"
    (sorts,) = find_logs(logs, "mountain_batch-033")
    assert log_text(sorts).splitlines()[1:] == ["is being made on node2"]
    (waits,) = find_logs(logs, "mountain_batch-010")
    assert log_text(waits).splitlines()[1:] == ["waits for a worker that has 300 MB of memory free"]
    (done,) = find_logs(logs, "rpllfp-009")
    assert log_text(done).splitlines()[1:] == [
        "done: session01/array01/channel009/rpllfp_6eca.hkl, 200 bytes, on node2"
    ]
    (not_begun,) = find_logs(logs, "session01-raycast")
    assert log_text(not_begun).splitlines()[1:] == ["unity could not be made", "see unity"]
    assert [log.path.suffix for log in find_logs(logs, "12")] == [".err", ".out"]
    assert find_logs([Log("x-slurm.node12.3", Path()), Log("x-slurm.node1.12", Path())], "12")[0].job == "12"
    assert find_logs(logs, "19") == find_logs(logs, "worker")
    assert find_logs(logs, "rplsplit") == []
    assert names_text(logs) == (
        "session01-rplhighpass-010\npipe2-slurm.node1.12\npipe2-worker-slurm.node1.19\n"
        "and a line about each of 14 tasks, such as mountains-mountain_batch-009\n"
    )
    kept = made_up.state / "cluster" / "20181105T092959-abcd" / "pipe2-ray.node2.19.log"
    kept.write_text("== raylet.out ==\nno room\n")
    assert kept in [log.path for log in find_logs(logs_of(made_up), "19")]
    assert "pipe2-ray.node2.19\n" in names_text(logs_of(made_up))


def test_a_tasks_log_is_called_as_the_run_calls_it(made_up: Day) -> None:
    assert task_name("session01", "rplhighpass", 10) == "session01-rplhighpass-010"
    assert task_name("", "day_spectrum", None) == "day_spectrum"


def test_log_on_the_command_line(made_up: Day, tmp_path: Path) -> None:
    shown = call("log", made_up.input, "rplhighpass-010", path=tmp_path)
    assert (shown.returncode, shown.stdout.splitlines()[1:]) == (0, ["no room", "make room", "", "Traceback ..."])
    shown = call("log", made_up.input, "12", path=tmp_path)
    assert [line for line in shown.stdout.splitlines() if "==" not in line] == ["head err", "", "head"]
    shown = call("log", made_up.input, path=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, names_text(logs_of(made_up)))
    shown = call("log", made_up.input, "rplsplit", path=tmp_path)
    assert (shown.returncode, shown.stdout) == (2, names_text(logs_of(made_up)))
    assert "no logs have 'rplsplit' in their name" in shown.stderr
    shown = call("log", made_up.input, "session01", path=tmp_path)
    assert (shown.returncode, "11 logs have 'session01'" in shown.stderr) == (2, True)
    assert "leave one of them out" in call("jobs", "--watch", "--json", path=tmp_path).stderr
    assert "log takes a day and a task" in call("log", made_up.input, "a", "b", path=tmp_path).stderr


@pytest.fixture(scope="module")
def on_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """Two nodes; pytest's temporary folders are on both."""
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    with SlurmCluster(nodes=2, cpus=2, memory_mb=400, shared=[tmp_path_factory.getbasetemp()]) as cluster:
        yield cluster


@pytest.mark.slurm
def test_jobs_of_a_real_slurm(on_slurm: SlurmCluster, made_up: Day, tmp_path: Path) -> None:
    folder = next((made_up.state / "cluster").iterdir())

    def submit(script: str, name: str, *options: str) -> int:
        return on_slurm.submit(script, f"--job-name={name}", f"--output={folder}/{name}-slurm.%N.%j.out", *options)

    def shown(*words: object) -> subprocess.CompletedProcess[str]:
        return on_slurm.run_on(HEAD, [RAYPIPE, *map(str, words)], check=False)

    assert shown("jobs").stdout == "no runs on this cluster\n"
    other = on_slurm.submit("sleep 300", "--job-name=somebody-elses")
    head = submit("echo of the head; sleep 300", "pipe2", "--cpus-per-task=1", "--mem=100")
    workers = submit("sleep 300", f"pipe2-worker-{head}", "--array=1-3", "--exclusive", f"--dependency=after:{head}")
    finish = submit("true", f"pipe2-finish-{head}", f"--dependency=afterany:{head}")
    record = msgspec.json.decode((folder / RECORD_FILE).read_bytes(), type=Record)
    record = msgspec.structs.replace(record, head=head, worker=workers, finish=finish)
    (folder / RECORD_FILE).write_bytes(msgspec.json.encode(record))
    on_slurm.wait_job(head, "RUNNING")
    on_slurm.run_on(HEAD, ["scancel", str(other)])
    at_work = {
        "node1": on_slurm.job(head)["NodeList"],
        "node2": on_slurm.wait_job(f"{workers}_1", "RUNNING", seconds=100)["NodeList"],
    }
    told = made_up.state / "runs" / RUN / "events.jsonl"
    for node, name in at_work.items():
        told.write_bytes(told.read_bytes().replace(f'"{node}"'.encode(), f'"{name}"'.encode()))

    said = shown("jobs", made_up.input)
    assert said.returncode == 0, said.stderr
    assert said.stdout == shown("jobs").stdout
    lines = said.stdout.splitlines()
    assert lines[:5] == [
        f"pipe2 {head}  {folder}",
        "  picasso/20181105: 2 of 12 outputs made, 1 failed",
        "    session01: 3 of 8 tiles filtered",
        "    1 task waits for a worker",
        "    on node9: makes edfsplit of session01, sessioneye",
    ]
    does = {line.split()[2]: below.strip() for line, below in itertools.pairwise(lines) if below.startswith(" " * 8)}
    assert does == {at_work["node1"]: "filters 3 channels of session01", at_work["node2"]: "sorts channels 9, 33"}
    rows = [line.split(maxsplit=2) for line in lines[5:] if not line.startswith(" " * 8)]
    assert [row[:2] for row in rows] == [
        ["head", str(head)], ["worker", f"{workers}_1"], ["worker", f"{workers}_2-3"], ["finish", str(finish)],
    ]  # fmt: skip
    assert " runs, since " in rows[0][2]
    assert rows[2][2].startswith("waits for nodes to become free, since ") or "come first" in rows[2][2]
    assert rows[3][2].startswith("waits for the job that it depends on, since ")
    assert "somebody" not in said.stdout

    assert wait_until(lambda: shown("log", head).stdout.splitlines()[1:], 20, "the head's output") == ["of the head"]
    assert shown("log", "rplhighpass").stdout == shown("log", made_up.input, "rplhighpass").stdout
    on_slurm.run_on(HEAD, ["scancel", str(head), str(workers)])
    watched = shown("jobs", made_up.input, "--watch", "--every", "1").stdout
    assert on_slurm.job(finish)["JobState"] == "COMPLETED", "it ends with the last job"
    ended = [line.split(maxsplit=3) for line in watched.split("\n\n")[-1].splitlines()[5:]]
    assert [words[3].partition(",")[0] for words in ended if words[0] == "head"] == ["was cancelled"]
    assert [words[3].partition(",")[0] for words in ended if words[0] == "finish"] == ["done"]
