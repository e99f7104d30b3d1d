"""One scalar of a configuration changes, every other byte stays."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
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
    "an end of the document": f"%YAML 1.1\n---\nSharedStorage:\n{entry()}...\n",
    "a key twice elsewhere": f"Region: a\nRegion: b\nSharedStorage:\n{entry()}",
    "an anchor elsewhere": f"Tags: &t [1]\nMore: *t\nSharedStorage:\n{entry()}",
    "entries that are none": f"SharedStorage:\n  -\n  - 5\n{entry()}",
    "another kind of storage at the mount": f"SharedStorage:\n  - {{MountDir: /data, StorageType: Efs}}\n{entry()}",
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
    "no settings": ("SharedStorage:\n  - {MountDir: /data, StorageType: Ebs}\n", "has no EbsSettings"),
    "empty settings": (
        "SharedStorage:\n  - MountDir: /data\n    StorageType: Ebs\n    EbsSettings:\n",
        "no EbsSettings",
    ),
    "a volume of its own": ("SharedStorage:\n" + entry(snapshot="VolumeId: vol-1"), "stays without it"),
    "settings without a plain line": (
        "SharedStorage:\n  - MountDir: /data\n    StorageType: Ebs\n    EbsSettings:\n      Raid:\n        Type: 1\n",
        "no plain place",
    ),
    "a key without a value": (
        "SharedStorage: [{MountDir: /data, StorageType: Ebs, EbsSettings: {SnapshotId, Size: 5}}]\n",
        "without something else",
    ),
    "an unknown tag": (f"Tags: !Sub x\nSharedStorage:\n{entry()}", "no YAML"),
    "tabs for blanks": (f"SharedStorage:\n{entry()}".replace("      Size", "\tSize"), "no YAML"),
    "a tab before a comment": (f"SharedStorage:\t# here\n{entry()}", "no YAML"),
    "two documents": (f"SharedStorage:\n{entry()}---\nRegion: x\n", "no YAML"),
    "an alias of another's snapshot": (
        f"SharedStorage:\n{entry('/b', f'SnapshotId: &s {OLD}')}{entry(snapshot='SnapshotId: *s')}",
        "written as",
    ),
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


BARE = {
    "beside the size": ("      Size: 5\n", "      Size: 5\n      SnapshotId: NEW\n"),
    "behind a comment": (
        "      Size: 5 # GB\n      # more\n      Iops: 1\n",
        "      Size: 5 # GB\n      SnapshotId: NEW\n      # more\n      Iops: 1\n",
    ),
    "at the end of the file": ("      Size: 5", "      Size: 5\n      SnapshotId: NEW"),
    "quoted keys": ('      "Size": "5"\n', '      "Size": "5"\n      SnapshotId: NEW\n'),
    "deeper": ("            Size: 5\n", "            Size: 5\n            SnapshotId: NEW\n"),
    "not within what goes on": (
        "      Raid:\n        Type: 1\n      Iops:\n        5\n      Size: 5\n      KmsKeyId: a\n        b\n",
        "      Raid:\n        Type: 1\n      Iops:\n        5\n      Size: 5\n      SnapshotId: NEW\n      KmsKeyId: a\n        b\n",
    ),
    "without a size": (
        "      Iops: 1\n      Encrypted: true\n",
        "      Iops: 1\n      Encrypted: true\n      SnapshotId: NEW\n",
    ),
    "an alias for a size": (
        "      Iops: &i 5\n      Size: *i\n",
        "      Iops: &i 5\n      SnapshotId: NEW\n      Size: *i\n",
    ),
    "defaults of another": (
        "      <<: {Size: 5}\n      Iops: 1\n",
        "      <<: {Size: 5}\n      Iops: 1\n      SnapshotId: NEW\n",
    ),
    "a key without a value": (
        "      SnapshotId:  # none yet\n      Size: 5\n",
        "      SnapshotId: NEW  # none yet\n      Size: 5\n",
    ),
    "a null": ("      SnapshotId: ~\n", "      SnapshotId: NEW\n"),
    "an empty word": ("      SnapshotId: ''\n", "      SnapshotId: 'NEW'\n"),
    "braces": ("      {Size: 5}\n", "      {SnapshotId: NEW, Size: 5}\n"),
    "braces over lines": ("      {\n  Size: 5,\n }\n", "      {\n  SnapshotId: NEW, Size: 5,\n }\n"),
    "empty braces": ("      { }\n", "      { SnapshotId: NEW}\n"),
}


@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(("settings", "wanted"), BARE.values(), ids=BARE)
def test_a_new_volume_gets_a_snapshot(settings: str, wanted: str, ends: str) -> None:
    before = "# é 🧠\nSharedStorage:\n  - MountDir: /data\n    StorageType: Ebs\n    EbsSettings:\n"
    config, expected = ((before + each).replace("\n", ends).encode() for each in (settings, wanted))

    changed = repoint(config, "data/", NEW)

    assert changed == expected.replace(b"NEW", NEW.encode())
    assert repoint(changed, "/data", NEW) == changed
    assert repoint(changed, "/data", OLD) == expected.replace(b"NEW", OLD.encode())
    (named,) = named_in(config)
    assert (named.mount, named.snapshot.strip("~"), named.fixed) == ("/data", "", "")


@st.composite
def configurations(draw: st.DrawFn) -> str:
    """Write a configuration as people might: any order, quotes, comments, blanks, braces, ends of lines."""
    comments = st.sampled_from(["", "", "  # was snap-1, once", "  # SnapshotId: snap-0comment", " # é 🧠"])
    names = st.sampled_from(["{}", "'{}'", '"{}"'])

    def line(indent: str, key: str, value: str) -> str:
        return f"{indent}{draw(names).format(key)}: {value}{draw(comments)}\n"

    def settings(indent: str, snapshot: str) -> str:
        wanted = {"Size": "1000", "Iops": "3000", "Encrypted": "true", "VolumeType": "gp3"}
        keys = draw(st.permutations([*wanted]))[: draw(st.integers(1, 4))]
        if draw(st.booleans()):
            keys.insert(draw(st.integers(0, len(keys))), "SnapshotId")
            wanted["SnapshotId"] = draw(names).format(snapshot)
        if draw(st.booleans()):
            within = draw(st.sampled_from([", ", ",\n" + indent, " , "]))
            return f" {{{within.join(f'{key}: {wanted[key]}' for key in keys)}}}{draw(comments)}\n"
        between = draw(st.sampled_from(["", "\n", f"{indent}# SnapshotId: snap-0between\n", "# at the margin\n"]))
        return draw(comments) + "\n" + between.join(line(indent, key, wanted[key]) for key in keys)

    dash = draw(st.sampled_from(["- ", "  - ", "  -   "]))
    storage = []
    for mount in draw(st.sampled_from([("/data",), ("data", "/home2"), ("/home2", "/data/"), ("/home2",)])):
        indent = " " * len(dash)
        keys = [
            line("", "MountDir", draw(names).format(mount)),
            line("", "StorageType", draw(st.sampled_from(["Ebs", "'EBS'"]))),
            f"EbsSettings:{settings(indent + ' ' * draw(st.integers(1, 7)), 'snap-0other' if mount == '/home2' else OLD)}",
        ]
        storage.append(dash + indent.join(draw(st.permutations(keys))))
    parts = [f"SharedStorage:{draw(comments)}\n" + "".join(storage), "Region: here\n", "Tags: [{Key: é, Value: 🧠}]\n"]
    text = "".join(draw(st.permutations(parts)))
    start = draw(st.sampled_from(["", "---\n", "\ufeff", "# snap-1\n\n"]))
    text = start + text.rstrip("\n") + draw(st.sampled_from(["", "\n", "\n\n", "\n...\n"]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n", "\r"])))


@settings(deadline=None)
@given(configurations())
def test_of_any_configuration_nothing_else_changes(text: str) -> None:
    config, before = text.encode(), yaml.safe_load(text)
    at = [entry for entry in before["SharedStorage"] if entry["MountDir"] != "/home2"]
    if not at:
        with pytest.raises(ConfigRefused, match="mounts no volumes"):
            repoint(config, "/data", NEW)
        return
    old = at[0]["EbsSettings"].get("SnapshotId", "")

    changed = repoint(config, "/data", NEW)

    at[0]["EbsSettings"]["SnapshotId"] = NEW
    assert yaml.safe_load(changed.decode()) == before
    if old:
        assert changed == config.replace(OLD.encode(), NEW.encode())
    else:
        came = rf"SnapshotId: {NEW}".encode()
        assert config in [
            re.sub(came + b", ", b"", changed),
            re.sub(b" *" + came + b"(\r\n|\n|\r)", b"", changed),
            re.sub(b"(\r\n|\n|\r) *" + came + b"$", b"", changed),
        ]
    assert {one.mount: one.snapshot for one in named_in(changed)}["/data"] == NEW
    assert repoint(changed, "/data", NEW) == changed
    if old:
        assert repoint(changed, "/data", OLD) == config


def test_what_a_configuration_names() -> None:
    text = f"SharedStorage:\n{entry()}{entry('/b', 'Iops: 1')}  - {{MountDir: /c, StorageType: Ebs}}\n"
    fixed = "the volume at /c has no EbsSettings in the configuration"
    assert named_in(text.encode()) == (Named("/data", "d", OLD), Named("/b", "d", ""), Named("/c", "", "", fixed))


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
        ({"cluster": "arn:aws:foo"}, "^'arn:aws:foo' is neither a cluster's name nor its stack's id"),
        ({"cluster": "arn:aws:cloudformation:r:1:stack/"}, "neither a cluster's name"),
        ({"cluster": "a/b", "snapshots": "mine"}, "^'a/b' is neither"),
        ({"cluster": "pi pe"}, "^'pi pe' is neither"),
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
