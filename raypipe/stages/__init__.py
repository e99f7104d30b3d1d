"""The stages of the pipeline in the order of their data: one line each, one file each.

A new stage is a file beside this one and a line in `STAGES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from raypipe.config import Config
from raypipe.errors import UsageError

# Changing one of these makes again what was made with it; tests/test_code.py compares them with what is imported.
_OBJECTS = ("raypipe.passes", "raypipe.io.objects", "raypipe.io.hickle_tree", "raypipe.io.publish")
_EVENTS = ("raypipe.io.nev", "raypipe.io.ripple")
_SAMPLES = (
    "kernels",
    "raypipe.channels",
    "raypipe.recording",
    "raypipe.sources",
    "raypipe.stages.channel",
    "raypipe.stages.rplsplit",
    "raypipe.io.nsx",
    "raypipe.io.nsx_blocks",
    "raypipe.io.nsx_header",
    "raypipe.io.datafield",
    "raypipe.io.appender",
    "raypipe.io.growing",
    "raypipe.io.mould",
    *_EVENTS,
    *_OBJECTS,
)
_FILTERS = ("raypipe.stages.filtered", "raypipe.stages.design", *_SAMPLES)


@dataclass(frozen=True)
class Stage:
    """What a stage is called, what it makes and from what."""

    name: str
    """As on the command line."""
    stem: str
    """Start of its file's name, before the hash of its parameters."""
    level: Literal["session", "channel"]
    reads: tuple[str, ...]
    """Input files (patterns), or the object that stands in for them when they are gone."""
    code: tuple[str, ...]
    """Modules whose code decides what the stage writes."""
    settings: str = ""
    """Its table of the configuration, whose keys in their order are PyHipp's arguments; empty: it has none."""

    def arguments(self, config: Config) -> dict[str, Any]:
        """Return the stage's PyHipp arguments, spelled as PyHipp hashes them."""
        if not self.settings:
            return {}
        settings = getattr(config, self.settings)
        return {name: _as_hashed(getattr(settings, name)) for name in settings.__struct_fields__}


STAGES: tuple[Stage, ...] = (
    Stage("rplparallel", "rplparallel", "session", ("*.nev",), ("raypipe.stages.rplparallel", *_EVENTS, *_OBJECTS)),
    Stage("rplsplit", "rplraw", "channel", ("*.ns5", "*.nev"), _SAMPLES),
    Stage("rpllfp", "rpllfp", "channel", ("*.ns5", "rplraw"), ("raypipe.stages.rpllfp", *_FILTERS), "rpllfp"),
    Stage("rplhighpass", "rplhighpass", "channel", ("*.ns5", "rplraw"), ("raypipe.stages.rplhighpass", *_FILTERS), "rplhighpass"),
)  # fmt: skip

BY_NAME: Mapping[str, Stage] = {stage.name: stage for stage in STAGES}


def choose_stages(only: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> tuple[Stage, ...]:
    """Return the stages named in `only` (all, if empty) without those in `skip`. Raises `UsageError`."""
    for name in (*only, *skip):
        if name not in BY_NAME:
            near = get_close_matches(name, BY_NAME, n=1)
            raise UsageError(
                f"no stage is called {name!r}",
                hint=f"did you mean {near[0]}?" if near else f"the stages are {', '.join(BY_NAME)}",
            )
    chosen = tuple(stage for stage in STAGES if (not only or stage.name in only) and stage.name not in skip)
    if not chosen:
        raise UsageError("no stage is left to run", hint="leave out --skip, or name other stages with --only")
    return chosen


def _as_hashed(value: Any) -> Any:
    # 1.0 and 1 are one value, but would be two hashes; PyHipp's users write 1.
    if isinstance(value, tuple):
        return [_as_hashed(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
