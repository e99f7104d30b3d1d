"""One scalar of a configuration changes, every other byte stays."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cluster.aws.calls import Aws
from cluster.aws.config_store import read_config, replace_config
from cluster.aws.repoint import named_in, repoint
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import Named
from cluster.errors import ConfigRefused, SettingsError

OLD, NEW = "snap-05c0a250a5fa4d56d", "snap-0ffffffffffffffff"


def entry(mount: str = "/data", snapshot: str = f"SnapshotId: {OLD}") -> str:
    return (
        f"  - MountDir: {mount}\n    Name: d\n    StorageType: Ebs\n    EbsSettings:\n      {snapshot}\n      Size: 5\n"
    )


STRANGE = {
    "plain, with a comment that names it": f"SharedStorage:\n{entry(snapshot=f'SnapshotId: {OLD}  # was {OLD[:-1]}')}",
    "single quotes": "SharedStorage:\n" + entry(snapshot=f"SnapshotId: '{OLD}'"),
    "double quotes": "SharedStorage:\n" + entry(snapshot=f'"SnapshotId" :   "{OLD}"   '),
    "flow style": f"SharedStorage: [{{MountDir: /data, StorageType: Ebs, EbsSettings: {{SnapshotId: {OLD}, Size: 5}}}}]\n",
    "comments before and between": f"# SnapshotId: snap-1\nSharedStorage:\n# SnapshotId: snap-2\n{entry()}# snap-3\n",
    "two mounts": "SharedStorage:\n" + entry("/home2", "SnapshotId: snap-0other") + entry(),
    "two mounts of one snapshot's neighbour": f"SharedStorage:\n{entry()}{entry('/data2', f'SnapshotId: {OLD[:-1]}e')}",
    "beyond ASCII": f"# é 漢 🧠\nTags: [{{Key: ü, Value: 🧠}}]\nSharedStorage:\n{entry()}",
    "no newline at the end": ("SharedStorage:\n" + entry()).rstrip("\n"),
    "mounted without a slash": "SharedStorage:\n" + entry("data"),
    "a byte order mark": "\ufeffSharedStorage:\n" + entry(),
    "other storage beside it": "SharedStorage:\n  - {MountDir: /fsx, StorageType: FsxLustre}\n" + entry(),
}


@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_only_the_snapshot_changes(text: str, ends: str) -> None:
    config = text.replace("\n", ends).encode()
    before, after = config.split(OLD.encode())

    changed = repoint(config, "/data", NEW)

    assert changed == before + NEW.encode() + after
    assert repoint(changed, "/data", NEW) == changed
    assert repoint(changed, "/data/", OLD) == config
    assert [one.snapshot for one in named_in(changed) if one.mount == "/data"] == [NEW]


REFUSED = {
    "no YAML": ("SharedStorage: [", "no YAML"),
    "no UTF-8": ("SharedStorage: \udcff", "no YAML"),
    "a list": ("- 1", "no mapping"),
    "nothing": ("", "no mapping"),
    "no storage": ("Region: x\n", "mounts no volumes at /data"),
    "another mount": ("SharedStorage:\n" + entry("/other"), "mounts no volumes at /data"),
    "twice the mount": ("SharedStorage:\n" + entry() + entry("data/"), "mounts 2 volumes"),
    "no snapshot": ("SharedStorage:\n" + entry(snapshot="Encrypted: true"), "has no SnapshotId"),
    "an empty snapshot": ("SharedStorage:\n" + entry(snapshot="SnapshotId:"), "has no SnapshotId"),
    "two snapshots": ("SharedStorage:\n" + entry(snapshot=f"SnapshotId: {OLD}\n      SnapshotId: x"), "a second Snap"),
    "two storages": ("SharedStorage: []\nSharedStorage:\n" + entry(), "a second SharedStorage"),
    "an anchor": ("SharedStorage:\n" + entry(snapshot=f"SnapshotId: &s {OLD}"), "written as"),
    "a tag": ("SharedStorage:\n" + entry(snapshot=f"SnapshotId: !!str {OLD}"), "written as"),
    "a block": ("SharedStorage:\n" + entry(snapshot=f"SnapshotId: >-\n        {OLD}"), "written as"),
    "an escape": ("SharedStorage:\n" + entry(snapshot=f'SnapshotId: "\\x73{OLD[1:]}"'), "written as"),
    "settings used twice": (
        "SharedStorage:\n  - MountDir: /data\n    StorageType: Ebs\n    EbsSettings: &e {SnapshotId: snap-1}\n"
        "  - MountDir: /two\n    StorageType: Ebs\n    EbsSettings: *e\n",
        "by an alias",
    ),
    "another kind of storage": ("SharedStorage:\n" + entry().replace("Ebs\n", "Efs\n"), "mounts no volumes"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_plain_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigRefused, match=why) as caught:
        repoint(text.encode(errors="surrogateescape"), "/data", NEW)
    assert caught.value.hint


@given(
    mounts=st.lists(st.sampled_from(["/data", "/a", "/b", "/c"]), unique=True, min_size=1),
    styles=st.lists(st.sampled_from([None, "'", '"']), min_size=4, max_size=4),
    flow=st.booleans(),
    width=st.integers(10, 200),
    indent=st.integers(2, 9),
)
def test_the_rest_of_any_configuration_means_what_it_meant(
    mounts: list[str], styles: list[str | None], flow: bool, width: int, indent: int
) -> None:
    storage = [
        {
            "MountDir": mount,
            "StorageType": "Ebs",
            "Name": "é",
            "EbsSettings": {"SnapshotId": f"snap-{number}", "Size": 1},
        }
        for number, mount in enumerate(mounts)
    ]
    text = yaml.safe_dump(
        {"SharedStorage": storage}, default_flow_style=flow, width=width, indent=indent, default_style=styles[0]
    )
    if "/data" not in mounts:
        with pytest.raises(ConfigRefused):
            repoint(text.encode(), "/data", NEW)
        return
    storage[mounts.index("/data")]["EbsSettings"]["SnapshotId"] = NEW
    assert yaml.safe_load(repoint(text.encode(), "/data", NEW)) == {"SharedStorage": storage}


def test_what_a_configuration_names() -> None:
    text = "SharedStorage:\n" + entry() + entry("/b", "SnapshotId: snap-1") + "  - {MountDir: /c, StorageType: Ebs}\n"
    assert named_in(text.encode()) == (Named("/data", "d", OLD), Named("/b", "d", "snap-1"), Named("/c", "", ""))


def test_a_file_is_replaced_with_its_rights_and_through_a_link(tmp_path: Path) -> None:
    folder = tmp_path
    path = folder / "config.yaml"
    path.write_bytes(b"old\r\n")
    path.chmod(0o640)
    link = folder / "link.yaml"
    link.symlink_to(path)
    was = read_config(str(link), None)

    replace_config(str(link), None, was, b"new", "snap-1")

    assert (path.read_bytes(), path.stat().st_mode & 0o777, link.is_symlink()) == (b"new", 0o640, True)
    assert (folder / "config.yaml.before-snap-1").read_bytes() == b"old\r\n"
    with pytest.raises(ConfigRefused, match="changed by somebody else"):
        replace_config(str(link), None, was, b"newer", "snap-2")
    assert path.read_bytes() == b"new"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="cannot be read"):
        read_config(f"{tmp_path}/none.yaml", None)


def test_a_configuration_in_s3(aws: Aws) -> None:
    s3 = aws.s3
    s3.create_bucket(Bucket="lab", CreateBucketConfiguration={"LocationConstraint": "ap-southeast-1"})
    s3.put_object(Bucket="lab", Key="a/config.yaml", Body=b"old")
    was = read_config("s3://lab/a/config.yaml", s3)

    replace_config("s3://lab/a/config.yaml", s3, was, b"new", "snap-1")

    assert read_config("s3://lab/a/config.yaml", s3).text == b"new"
    assert read_config("s3://lab/a/config.yaml.before-snap-1", s3).text == b"old"
    # The answer to the first try was lost: its own work is no change by somebody else.
    replace_config("s3://lab/a/config.yaml", s3, was, b"new", "snap-1")
    with pytest.raises(ConfigRefused, match="changed by somebody else"):
        replace_config("s3://lab/a/config.yaml", s3, was, b"newer", "snap-2")
    with pytest.raises(ConfigRefused, match="there is no"):
        read_config("s3://lab/none.yaml", s3)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"config": "/data/config.yaml"}, "goes with the cluster"),
        ({"keep": 0}, "keep is 0"),
        ({"run": "a b"}, "no name of a run"),
        ({"run": ""}, "no name of a run"),
        ({"attempts": 0}, "attempts is 0"),
        ({"on_failure": "shrug"}, "no policy 'shrug'"),
    ],
)
def test_settings_that_cannot_be_meant(change: dict[str, object], why: str) -> None:
    given_ = {"run": "r", "cluster": "c", "config": "/home/me/c.yaml"}
    with pytest.raises(SettingsError, match=why):
        FinalizeSettings(**(given_ | change))  # type: ignore[arg-type]


def test_settings_travel_as_tags() -> None:
    arn = "arn:aws:cloudformation:eu-west-1:1:stack/pipe/uuid"
    settings = FinalizeSettings("r", arn, "s3://b/k", "/d", "mine", 3, "teardown", delete_cluster=False)
    assert FinalizeSettings.from_tags(settings.as_tags() | {"raypipe:stack": arn}) == settings
    assert (settings.name, FinalizeSettings("r", arn, "c.yaml").set_name) == ("pipe", "pipe")
    with pytest.raises(SettingsError, match="do not say"):
        FinalizeSettings.from_tags({"raypipe:run": "r"})
