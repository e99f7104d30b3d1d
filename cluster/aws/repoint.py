"""Points a cluster's configuration at another snapshot: one scalar changes or one line comes, every other byte stays.

A YAML library that writes a file again also indents and wraps it again; here the parser only says where things are.
"""

import re
from functools import lru_cache

import yaml

from cluster.aws.state import Named
from cluster.errors import ConfigRefused

_QUOTES = ("'", '"')
_KEY = "SnapshotId"
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML counts as one
_REST = re.compile(r"[ \t]*(#.*)?")
_TRIED = "snap-00000000"


@lru_cache(maxsize=4)  # a finalizer looks every few seconds, mostly at the same bytes
def named_in(config: bytes) -> tuple[Named, ...]:
    """Return what a configuration says of each EBS volume that it mounts. Raises `ConfigRefused`."""
    found = []
    for _, entry in _storage(_parse(config)[1]):
        mount, name = (_word(_value(entry, key)) for key in ("MountDir", "Name"))
        snapshot = _word(_value(_value(entry, "EbsSettings"), _KEY))
        found.append(Named(_folder(mount), name, snapshot, _why_fixed(config, mount)))
    return tuple(found)


def repoint(config: bytes, mount: str, snapshot: str) -> bytes:
    """Return the configuration with the EBS volume at `mount` to be made of this snapshot.

    A `SnapshotId` that is there is replaced; one that is not comes in beside its `Size`, which ParallelCluster wants
    there too: it takes no size for 40 GiB, and no volume may be smaller than its snapshot. The same bytes if it names
    this snapshot already. Raises `ConfigRefused` where it is not plain which volume is meant, or where anything else
    would change with it.
    """
    text, root = _parse(config)
    number, settings = _settings(root, mount)
    node = _value(settings, _KEY)
    if node is None:
        start, end, word = _between(text, settings, f"{_KEY}: {snapshot}")
    elif isinstance(node, yaml.ScalarNode) and node.value == snapshot:
        return config
    else:
        start, end, word = _instead(text, node, snapshot)
    changed = f"{text[:start]}{word}{text[end:]}".encode()
    _only_that_changed(config, changed, number, snapshot)
    return changed


def _why_fixed(config: bytes, mount: str) -> str:
    try:
        repoint(config, mount, _TRIED)
    except ConfigRefused as error:
        return error.message
    return ""


def _parse(config: bytes) -> tuple[str, yaml.Node]:
    try:
        text = config.decode()
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise _no_yaml(error) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigRefused("the configuration is no mapping", hint="it begins with keys such as Region and HeadNode")
    return text, root


def _settings(root: yaml.Node, mount: str) -> tuple[int, yaml.MappingNode]:
    """Return which entry of SharedStorage is the volume at `mount`, and its settings."""
    at = [
        (number, entry)
        for number, entry in _storage(root)
        if _folder(_word(_value(entry, "MountDir"))) == _folder(mount)
    ]
    if len(at) != 1:
        raise ConfigRefused(
            f"the configuration mounts {len(at) or 'no'} volumes at {mount}",
            hint="one entry of SharedStorage has this MountDir",
        )
    ((number, entry),) = at
    settings = _value(entry, "EbsSettings")
    if not isinstance(settings, yaml.MappingNode):
        raise ConfigRefused(
            f"the volume at {mount} has no EbsSettings in the configuration",
            hint="give it EbsSettings with the volume's Size",
        )
    if volume := _word(_value(settings, "VolumeId")):
        raise ConfigRefused(
            f"the volume at {mount} is {volume}, which is there without a cluster and stays without it",
            hint="only a volume that the cluster made is kept in a snapshot; take VolumeId out",
        )
    return number, settings


def _instead(text: str, node: yaml.Node, snapshot: str) -> tuple[int, int, str]:
    """Return what takes the place of a value: from, to, by what."""
    start, end = node.start_mark.index, node.end_mark.index
    written = text[start:end]
    quote = written[0] if written[:1] in _QUOTES else ""
    if not isinstance(node, yaml.ScalarNode) or written != f"{quote}{node.value}{quote}":
        raise ConfigRefused(
            f"line {node.start_mark.line + 1}: {_KEY} is written as {written!r}",
            hint="write the snapshot's id as a plain or quoted word, without anchors, tags or blocks",
        )
    return start, end, f"{quote}{snapshot}{quote}" if written else f" {snapshot}"


def _between(text: str, settings: yaml.MappingNode, entry: str) -> tuple[int, int, str]:
    """Return where another entry goes: a line of its own after the Size's, or the first place within braces."""
    if settings.flow_style:
        place = settings.value[0][0].start_mark.index if settings.value else settings.end_mark.index - 1
        return place, place, f"{entry}, " if settings.value else entry
    lines = [key for key, value in settings.value if _is_a_line(text, key, value)]
    if not lines:
        raise ConfigRefused(
            f"line {settings.start_mark.line + 1}: there is no plain place for a {_KEY} in these EbsSettings",
            hint=f"write a line `{_KEY}: {_TRIED}` there; the next time it is replaced",
        )
    key = next((key for key in lines if key.value == "Size"), lines[-1])
    start = key.start_mark.index
    indent = text[start - key.start_mark.column : start]
    if (ends := _LINE_END.search(text, start)) is not None:
        return ends.end(), ends.end(), f"{indent}{entry}{ends[0]}"
    before = [ends[0] for ends in _LINE_END.finditer(text)]
    return len(text), len(text), f"{before[-1]}{indent}{entry}"


def _is_a_line(text: str, key: yaml.Node, value: yaml.Node) -> bool:
    """Whether an entry stands on a line that has nothing else but a comment."""
    start, column, end = key.start_mark.index, key.start_mark.column, value.end_mark.index
    if (
        not isinstance(value, yaml.ScalarNode)
        or not key.start_mark.line == value.start_mark.line == value.end_mark.line
    ):
        return False
    ends = _LINE_END.search(text, end)
    return not text[start - column : start].strip(" ") and bool(
        _REST.fullmatch(text, end, ends.start() if ends else len(text))
    )


def _storage(root: yaml.Node) -> list[tuple[int, yaml.MappingNode]]:
    storage = _value(root, "SharedStorage")
    entries = enumerate(storage.value if isinstance(storage, yaml.SequenceNode) else [])
    return [
        (number, entry)
        for number, entry in entries
        if isinstance(entry, yaml.MappingNode) and _word(_value(entry, "StorageType")).lower() == "ebs"
    ]


def _value(mapping: yaml.Node | None, key: str) -> yaml.Node | None:
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


def _only_that_changed(before: bytes, after: bytes, number: int, snapshot: str) -> None:
    try:
        expected, found = (yaml.safe_load(each.decode()) for each in (before, after))
    except yaml.YAMLError as error:
        raise _no_yaml(error) from error
    # A copy, since an alias elsewhere is the same object and must keep its value.
    entry = dict(expected["SharedStorage"][number])
    entry["EbsSettings"] = {**entry["EbsSettings"], _KEY: snapshot}
    storage = [*expected["SharedStorage"]]
    storage[number] = entry
    if found != {**expected, "SharedStorage": storage}:
        raise ConfigRefused(
            f"the {_KEY} cannot be changed without something else, as where it is used by an alias",
            hint="write the snapshot's id out where it is meant",
        )


def _no_yaml(error: Exception) -> ConfigRefused:
    return ConfigRefused(
        f"the configuration is no YAML: {' '.join(str(error).split())}",
        hint="`pcluster create-cluster --dryrun true` checks it",
    )
