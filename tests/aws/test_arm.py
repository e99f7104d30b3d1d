"""What arming makes: once, twice, half, of somebody else's; and that disarming takes away that and nothing else."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cluster.aws.arm import arm, armed, disarm, find_head, find_place, watched_head
from cluster.aws.bundle import bundle
from cluster.aws.parts import Account
from cluster.aws.rights import Place
from cluster.errors import AwsRefused, NotOurs, SettingsError
from raypipe.cli import app
from tests.aws.world import Cluster, arms_of, make_head

_CHANGES = ("Create", "Put", "Update", "Delete", "Add", "Remove", "Subscribe")


@pytest.fixture
def account(cluster: Cluster) -> Account:
    return Account(cluster.aws.region)


def changes(cluster: Cluster) -> list[str]:
    return [entry["action"] for entry in cluster.emulator.log() if entry["action"].startswith(_CHANGES)]


def armed_with(cluster: Cluster, account: Account, **others: Any) -> list[str]:
    heard: list[str] = []
    arm(account, arms_of(cluster, **others), heard.append)
    return heard


def test_once_makes_all_and_twice_nothing(cluster: Cluster, account: Account) -> None:
    assert {line.partition(":")[0] for line in armed_with(cluster, account)} == {"made"}
    cluster.emulator.begin()
    assert {line.partition(":")[0] for line in armed_with(cluster, account)} == {"is there"}
    assert changes(cluster) == []

    name = f"raypipe-{cluster.name}"
    function = account.do("lambda", "GetFunction", FunctionName=name)["Configuration"]
    assert (function["Timeout"], function["MemorySize"], function["Runtime"]) == (900, 256, "python3.13")
    environment = function["Environment"]["Variables"]
    assert environment["RAYPIPE_CLUSTER"] == cluster.name
    assert environment["RAYPIPE_DELETE_ROLE"] == f"arn:aws:iam::123456789012:role/{name}-delete"
    alarms = account.do("cloudwatch", "DescribeAlarms", AlarmNames=[f"{name}-lifetime"])["MetricAlarms"]
    lifetime = {key: alarms[0][key] for key in ("Dimensions", "Statistic", "Period", "EvaluationPeriods")}
    assert lifetime == {
        "Dimensions": [{"Name": "InstanceId", "Value": cluster.head}],
        "Statistic": "SampleCount",
        "Period": 3600,
        "EvaluationPeriods": 24,
    }
    (group,) = account.do("logs", "DescribeLogGroups", logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    assert group["retentionInDays"] == 30


def test_what_differs_is_changed(cluster: Cluster, account: Account) -> None:
    topic = cluster.aws.sns.create_topic(Name="lab")["TopicArn"]
    armed_with(cluster, account)
    account.do("events", "DisableRule", Name=f"raypipe-{cluster.name}-hourly")
    account.do(
        "lambda",
        "RemovePermission",
        FunctionName=f"raypipe-{cluster.name}",
        StatementId=f"raypipe-{cluster.name}-snapshot",
    )
    account.do("iam", "DeleteRolePolicy", RoleName=f"raypipe-{cluster.name}", PolicyName="raypipe")
    cluster.emulator.begin()

    made = [line for line in armed_with(cluster, account, channels=(topic,), hours=12) if line.startswith("made")]

    assert [line.split()[1] for line in made] == ["role", "function", "rule", "rule", "alarm", "alarm"]
    assert sorted(changes(cluster)) == [
        "AddPermission", "PutMetricAlarm", "PutMetricAlarm", "PutRolePolicy", "PutRule", "UpdateFunctionConfiguration",
    ]  # fmt: skip


@pytest.mark.parametrize("action", ["PutRolePolicy", "CreateFunction", "AddPermission", "PutTargets", "PutMetricAlarm"])
def test_half_made_is_mended_and_half_gone_is_removed(cluster: Cluster, account: Account, action: str) -> None:
    cluster.emulator.begin(faults=[{"action": action, "kind": "deny", "after": 1 if action == "PutRolePolicy" else 0}])
    with pytest.raises(AwsRefused, match=action):
        armed_with(cluster, account)
    cluster.emulator.begin()
    there, missing = armed(account, cluster.name)
    assert there
    assert missing or action in ("AddPermission", "PutTargets")

    if action == "CreateFunction":  # disarmed as it is
        disarm(account, cluster.name)
        assert armed(account, cluster.name)[0] == []
    armed_with(cluster, account)
    assert armed(account, cluster.name)[1] == []
    disarm(account, cluster.name)
    assert armed(account, cluster.name)[0] == []


def test_a_process_that_was_killed(cluster: Cluster, account: Account) -> None:
    code = (
        "import os, sys\n"
        "from cluster.aws.arm import Arms, arm\n"
        "from cluster.aws.parts import Account\n"
        "from cluster.aws.rights import Place\n"
        "def heard(line):\n"
        "    if 'function' in line: os.kill(os.getpid(), 9)\n"
        "arm(Account(sys.argv[1]), Arms(Place.of_stack(sys.argv[2]), 'lab/raypipe/*.yaml', sys.argv[3]), heard)\n"
    )
    words = [sys.executable, "-c", code, cluster.aws.region, cluster.stack, cluster.head]
    assert subprocess.run(words, cwd=Path(__file__).parents[2], env=os.environ).returncode == -9
    assert armed(account, cluster.name)[1] != []
    armed_with(cluster, account)
    assert armed(account, cluster.name)[1] == []


def test_lambda_takes_a_while_to_know_a_new_role(cluster: Cluster, account: Account) -> None:
    cluster.emulator.begin(role_looks=2)
    armed_with(cluster, account)
    assert changes(cluster).count("CreateFunction") == 3


def test_what_is_not_ours_is_refused_before_anything_is_made_and_stays(cluster: Cluster, account: Account) -> None:
    name = f"raypipe-{cluster.name}-hourly"
    account.do("events", "PutRule", Name=name, ScheduleExpression="rate(1 day)")
    cluster.emulator.begin()

    with pytest.raises(NotOurs, match=f"there is a rule {name}") as caught:
        armed_with(cluster, account)
    assert (caught.value.exit_code, changes(cluster)) == (3, [])

    account.do("events", "DeleteRule", Name=name)
    armed_with(cluster, account)
    account.do("lambda", "UntagResource", Resource=cluster_arn(cluster), TagKeys=["raypipe:managed"])
    heard: list[str] = []
    disarm(account, cluster.name, heard.append)
    assert [line.split(":")[0] for line in heard].count("stays") == 1
    assert account.find("lambda", "GetFunction", FunctionName=f"raypipe-{cluster.name}") is not None


def cluster_arn(cluster: Cluster) -> str:
    return f"arn:aws:lambda:{cluster.aws.region}:123456789012:function:raypipe-{cluster.name}"


def test_disarmed_the_cluster_and_all_else_stay(cluster: Cluster, account: Account) -> None:
    armed_with(cluster, account)
    snapshots = cluster.snapshots()
    cluster.emulator.begin()
    disarm(account, cluster.name)

    assert armed(account, cluster.name)[0] == []
    assert (cluster.snapshots(), cluster.status(), cluster.fleet()) == (snapshots, "CREATE_COMPLETE", "RUNNING")
    cluster.emulator.begin()
    disarm(account, cluster.name)
    assert changes(cluster) == []


def test_not_while_the_cluster_goes_with_its_role(cluster: Cluster, account: Account) -> None:
    armed_with(cluster, account)
    cluster.emulator.begin(stack_looks=None)
    cluster.aws.cloudformation.delete_stack(StackName=cluster.name)
    with pytest.raises(NotOurs, match="is being deleted"):
        disarm(account, cluster.name)
    assert armed(account, cluster.name)[1] == []


def test_the_head_node_is_found_by_its_tags(cluster: Cluster, account: Account) -> None:
    assert find_place(account, cluster.name) == Place(cluster.name, cluster.aws.region, "123456789012")
    assert find_head(account, cluster.name) == cluster.head
    armed_with(cluster, account)
    assert watched_head(account, cluster.name) == cluster.head
    make_head(cluster.aws, cluster.name)
    with pytest.raises(AwsRefused, match="has 2 head nodes"):
        find_head(account, cluster.name)
    with pytest.raises(AwsRefused, match="no cluster 'nobody'"):
        find_place(account, "nobody")


def test_what_cannot_be_meant(cluster: Cluster) -> None:
    with pytest.raises(SettingsError, match="169 hours"):
        arms_of(cluster, hours=169)
    with pytest.raises(SettingsError, match="too long"):
        Place("a" * 50, "ap-southeast-1", "1")


def test_channels_that_a_function_cannot_use_are_left_out(cluster: Cluster) -> None:
    arms = arms_of(cluster, channels=("mail me", "https://example.org/hook", "ssm:/lab/hook", "file:/etc/hook"))
    assert arms.told == ("https://example.org/hook", "ssm:/lab/hook", arms.own_topic)
    assert arms.untold == ("the command mail", "file:/etc/hook")


def test_the_zip_has_what_is_needed_and_is_always_the_same(tmp_path: Path) -> None:
    packed = bundle()
    assert packed == bundle()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"cluster", "yaml"}
    assert not {"cluster/slurm.py", "cluster/aws/arm.py", "cluster/aws/bundle.py"} & set(names)
    assert len(packed) < 1_000_000
    code = "import sys; sys.path[:0] = [sys.argv[1]]; import cluster.aws.config_store, yaml; print(yaml.__file__)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path))


def called(
    folder: Path, cluster: Cluster, *words: str, name: str = "", file: str = "s3://lab/raypipe/c.yaml"
) -> Result:
    """Call `raypipe cluster` with settings that name the cluster and where its configuration is."""
    settings = folder / "raypipe.toml"
    settings.write_text(
        f'[cluster]\nregion = "{cluster.aws.region}"\n[notify]\nchannels = ["mail me"]\n'
        f'[finalize]\ncluster = "{cluster.name}"\nfile = "{file}"\n'
    )
    verb, *others = words
    return CliRunner().invoke(app, ["cluster", verb, name or cluster.name, "--config", str(settings), *others])


def test_what_is_printed_is_all_and_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    said = called(tmp_path, cluster, "arm", "--print")
    assert (said.exit_code, changes(cluster)) == (0, [])
    assert said.stdout.count("would make: ") == 9
    assert f"the head node ({cluster.head}) runs for 24 hours" in said.stdout
    assert "${" not in said.stdout
    documents = [json.loads(part.partition("\n")[2]) for part in said.stdout.split("\n# ")[1:]]
    assert len(documents) == 5
    assert [line.split(":")[0] for line in said.stderr.splitlines()] == ["note", "note"]
    assert "the command mail" in said.stderr


def test_policies_are_had_before_there_is_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    said = called(tmp_path, cluster, "arm", "--print", "--policies", str(tmp_path / "policies"), name="brandnew")
    assert (said.exit_code, changes(cluster)) == (0, [])
    assert (
        "would make: alarm raypipe-brandnew-lifetime: the head node (not there yet) runs for 24 hours\n" in said.stdout
    )
    assert "note: brandnew has no head node yet" in said.stderr
    assert f"note: [finalize] cluster is {cluster.name}: with these settings runs end that one" in said.stderr
    written = {path.name: json.loads(path.read_text()) for path in (tmp_path / "policies").iterdir()}
    assert set(written) == {"finalize.json", "handover.json", "function.json", "delete-stack.json", "arm.json"}
    (repoint,) = (one for one in written["finalize.json"]["Statement"] if one["Sid"] == "Repoint")
    assert repoint["Resource"] == ["arn:aws:s3:::lab/raypipe/c.yaml", "arn:aws:s3:::lab/raypipe/c.yaml.before-*"]
    (fleet,) = (one for one in written["finalize.json"]["Statement"] if one["Sid"] == "StopNodesAndTakeTurns")
    table = "table/parallelcluster-brandnew"
    assert fleet["Resource"] == f"arn:aws:dynamodb:{cluster.aws.region}:123456789012:{table}"


@pytest.mark.parametrize("file", ["cluster-config.yaml", "s3://lab", "s3://lab/", "s3:///c.yaml"])
def test_a_configuration_that_the_function_cannot_reach_is_refused(cluster: Cluster, tmp_path: Path, file: str) -> None:
    for words in (("arm",), ("arm", "--print"), ("arm", "--policies", str(tmp_path / "p"))):
        error = called(tmp_path, cluster, *words, file=file).exception
        assert isinstance(error, SettingsError)
        assert error.message == f"the function cannot reach [finalize] file {file}"
        assert 'file = "s3://my-bucket/raypipe/pipe.yaml" in [finalize]' in error.hint
    assert (changes(cluster), (tmp_path / "p").exists()) == ([], False)


def test_what_goes_is_named_and_not_what_was_wanted_of_it(cluster: Cluster, tmp_path: Path) -> None:
    made = called(tmp_path, cluster, "arm", "--hours", "12", "--email", "me@example.org").stdout.splitlines()
    gone = called(tmp_path, cluster, "disarm").stdout.splitlines()
    name = f"raypipe-{cluster.name}"
    assert made[-1] == f"made: alarm {name}-lifetime: the head node ({cluster.head}) runs for 12 hours"
    assert made[1] == f"made: role {name}: taken on by lambda.amazonaws.com"
    assert gone == [
        f"removed: alarm {name}-lifetime", f"removed: alarm {name}-errors", f"removed: rule {name}-hourly",
        f"removed: rule {name}-snapshot", f"removed: function {name}", f"removed: log /aws/lambda/{name}",
        f"removed: role {name}-delete", f"removed: role {name}", f"removed: topic {name}",
    ]  # fmt: skip
    assert called(tmp_path, cluster, "disarm").stdout == f"{cluster.name} is not armed\n"
