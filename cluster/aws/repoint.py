"""Points a cluster's configuration at another snapshot: one scalar changes, every other byte stays.

A YAML library that writes a file again also indents and wraps it again; here the parser only says where the scalar is.
"""

from typing import Any

import yaml

from cluster.aws.state import Named
from cluster.errors import ConfigRefused

_QUOTES = ("'", '"')


def named_in(config: bytes) -> tuple[Named, ...]:
    """Return what a configuration says of each EBS volume that it mounts. Raises `ConfigRefused`."""
    found = []
    for entry in _storage(_parse(config)[1]):
        settings = _value(entry, "EbsSettings")
        snapshot = _value(settings, "SnapshotId") if isinstance(settings, yaml.MappingNode) else None
        words = [_word(_value(entry, key)) for key in ("MountDir", "Name")]
        found.append(Named(_folder(words[0]), words[1], _word(snapshot)))
    return tuple(found)


def repoint(config: bytes, mount: str, snapshot: str) -> bytes:
    """Return the configuration with the `SnapshotId` of the EBS volume at `mount` replaced.

    The same bytes if it names this snapshot already. Raises `ConfigRefused` where it is not plain which one is meant,
    or where anything else would change with it.
    """
    text, root = _parse(config)
    node = _scalar(root, mount)
    if node.value == snapshot:
        return config
    start, end = node.start_mark.index, node.end_mark.index
    written = text[start:end]
    quote = written[0] if written[:1] in _QUOTES else ""
    if written != f"{quote}{node.value}{quote}":
        raise ConfigRefused(
            f"line {node.start_mark.line + 1}: SnapshotId is written as {written!r}",
            hint="write the snapshot's id as a plain or quoted word, without anchors, tags or blocks",
        )
    changed = f"{text[:start]}{quote}{snapshot}{quote}{text[end:]}".encode()
    _only_that_changed(config, changed, mount, snapshot)
    return changed


def _parse(config: bytes) -> tuple[str, yaml.Node]:
    try:
        text = config.decode()
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigRefused(
            f"the configuration is no YAML: {' '.join(str(error).split())}",
            hint="`pcluster create-cluster --dryrun true` checks it",
        ) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigRefused("the configuration is no mapping", hint="it begins with keys such as Region and HeadNode")
    return text, root


def _scalar(root: yaml.Node, mount: str) -> yaml.ScalarNode:
    at = [entry for entry in _storage(root) if _folder(_word(_value(entry, "MountDir"))) == _folder(mount)]
    if len(at) != 1:
        raise ConfigRefused(
            f"the configuration mounts {len(at) or 'no'} volumes at {mount}",
            hint="one entry of SharedStorage has this MountDir",
        )
    settings = _value(at[0], "EbsSettings")
    node = _value(settings, "SnapshotId") if isinstance(settings, yaml.MappingNode) else None
    if not isinstance(node, yaml.ScalarNode) or not node.value:
        raise ConfigRefused(
            f"the volume at {mount} has no SnapshotId in the configuration",
            hint="put SnapshotId under its EbsSettings, with the snapshot that it was made of",
        )
    return node


def _storage(root: yaml.Node) -> list[yaml.MappingNode]:
    storage = _value(root, "SharedStorage")
    entries = storage.value if isinstance(storage, yaml.SequenceNode) else []
    ebs = [entry for entry in entries if isinstance(entry, yaml.MappingNode)]
    return [entry for entry in ebs if _word(_value(entry, "StorageType")).lower() == "ebs"]


def _value(mapping: yaml.Node, key: str) -> yaml.Node | None:
    if not isinstance(mapping, yaml.MappingNode):
        return None
    values = [value for name, value in mapping.value if name.value == key]
    if len(values) > 1:
        raise ConfigRefused(f"line {values[1].start_mark.line + 1}: a second {key}", hint="take one of them away")
    return values[0] if values else None


def _word(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _folder(path: str) -> str:
    return "/" + path.strip("/")  # ParallelCluster takes `data` for `/data`


def _only_that_changed(before: bytes, after: bytes, mount: str, snapshot: str) -> None:
    expected = _load(before)
    for entry in expected["SharedStorage"]:
        if _folder(str(entry.get("MountDir"))) == _folder(mount):
            # A copy, since an alias elsewhere is the same object and must keep its value.
            entry["EbsSettings"] = {**entry["EbsSettings"], "SnapshotId": snapshot}
    if _load(after) != expected:
        raise ConfigRefused(
            f"the SnapshotId of {mount} is used elsewhere in the configuration, by an alias",
            hint="write the snapshot's id out where it is meant",
        )


def _load(config: bytes) -> Any:
    return yaml.safe_load(config.decode())
