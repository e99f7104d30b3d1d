"""The stages of the pipeline in the order of their data: one line each, one file each.

A new stage is a file beside this one and a line in `STAGES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from raypipe.config import Config
from raypipe.errors import UsageError
from raypipe.io.objects import object_name

# Changing one of these makes again what was made with it; tests/test_code.py compares them with what is imported.
_OBJECTS = (
    "raypipe.io.objects",
    "raypipe.io.hickle_tree",
    "raypipe.io.inert_pickle",
    "raypipe.io.pandas_pickle",
    "raypipe.io.publish",
    "raypipe.io.table_pickle",
    "raypipe.io.tables",
)
_EVENTS = ("raypipe.io.nev", "raypipe.io.ripple")
_SAMPLES = (
    "kernels",
    "raypipe.channels",
    "raypipe.passes",
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
_WORK = ("raypipe.work", *_OBJECTS)
_OF_SESSIONS = ("raypipe.session_work", *_WORK)
_MARKERS = ("raypipe.stages.rplparallel", *_EVENTS, *_OF_SESSIONS)
_UNITY = (
    "raypipe.stages.unity",
    "raypipe.stages.unity_trials",
    "raypipe.stages.maze",
    "raypipe.stages.rplparallel",
    "raypipe.io.natural",
    "raypipe.io.unity_log",
    *_OF_SESSIONS,
)
_EYES = (
    "raypipe.stages.edfsplit",
    "raypipe.stages.calibration",
    "raypipe.stages.eye_matching",
    "raypipe.stages.eye_sessions",
    "raypipe.stages.eye_trials",
    "raypipe.stages.eyelink_fields",
    "raypipe.stages.rplparallel",
    "raypipe.io.eye",
    "raypipe.io.eye_choice",
    "raypipe.io.eye_files",
    "raypipe.io.columns",
    "raypipe.io.natural",
    "raypipe.io.european_edf",
    "raypipe.io.eyelink_edf",
    "raypipe.io.eyelink_library",
    "raypipe.io.eyelink_text",
    *_OF_SESSIONS,
)
_ALIGNING = (
    "raypipe.stages.aligning_objects",
    "raypipe.stages.clock_map",
    "raypipe.stages.rplparallel",
    *_OF_SESSIONS,
)
_RAYCAST = (
    "kernels.gaze",
    "kernels.compile",
    "raypipe.stages.raycast",
    "raypipe.stages.raycast_files",
    "raypipe.stages.bins",
    "raypipe.stages.camera",
    "raypipe.stages.gaze",
    "raypipe.stages.scene",
    *_OF_SESSIONS,
)
_UMAZE = ("raypipe.stages.umaze", *_OF_SESSIONS)
_PICTURE = (
    "raypipe.stages.picture",
    "raypipe.stages.maze",
    "raypipe.stages.maze_panels",
    "raypipe.stages.scene",
    "raypipe.io.gaze_bins",
    *_OF_SESSIONS,
)
_OF_OBJECTS = ("raypipe.object_work", *_WORK)
_SORTING = (
    "kernels.sorting",
    "kernels.compile",
    "raypipe.sorting_work",
    "raypipe.stages.sorting",
    "raypipe.stages.mountain_files",
    "raypipe.stages.unit_pictures",
    "raypipe.stages.canvas",
    "raypipe.io.datafield",
    "raypipe.io.mda",
    *_WORK,
)
_CELLS = (
    "raypipe.stages.export_mountain_cells",
    "raypipe.stages.mountain_files",
    "raypipe.io.mda",
    "raypipe.io.text_lists",
    *_OF_OBJECTS,
)
_WAVEFORM = ("raypipe.stages.waveform", "raypipe.stages.mountain_files", "raypipe.io.mda", *_OF_OBJECTS)
_SPECTRUM = ("raypipe.stages.freqspectrum", "raypipe.io.datafield", *_OF_OBJECTS)
_DAY_SPECTRUM = (
    "raypipe.stages.freqspectrum",
    "raypipe.stages.spectrum_pictures",
    "raypipe.stages.canvas",
    *_OF_OBJECTS,
)
_OF_LFP = (("loadHighPass", False), ("loadRaw", False))
_OF_HIGH_PASS = (("loadHighPass", True), ("loadRaw", False))
_OUTPUT = ("output/firings.mda", "output/templates.mda", "output/templates.hkl", "output/metrics.json")
_WHERE = (("mountainsDirectory", "mountains"), ("ouputDirectory", "output"), ("templateFilename", "templates.hkl"))


Level = Literal["session", "channel", "object", "joined", "day"]
"""Of what a stage makes its files: of a whole session; of a channel's samples as they go by; of objects of a channel of
a session, of a channel of all sessions, or of the day."""


@dataclass(frozen=True)
class Stage:
    """What a stage is called, what it makes and from what."""

    name: str
    """As on the command line."""
    files: tuple[str, ...]
    """What it makes: the name of a file, or (without a suffix) the start of an object's, before its parameters' hash."""
    level: Level
    reads: tuple[str, ...]
    """Input files (patterns), or the object that stands in for them when they are gone; of what it needs the files."""
    code: tuple[str, ...]
    """Modules whose code decides what the stage writes."""
    settings: str = ""
    """Its table of the configuration; empty: it has none. Of an object, its keys in order are PyHipp's arguments."""
    fixed: tuple[tuple[str, Any], ...] = ()
    """PyHipp's arguments that cannot be set, which come before those that can."""
    needs: tuple[str, ...] = ()
    """Stages whose objects it cannot do without, aligned where they are to be aligned."""
    uses: tuple[str, ...] = ()
    """Stages whose objects it takes if they can be had."""
    rewrites: tuple[str, ...] = ()
    """Stages whose objects, those that can be had, it writes anew under the same names."""
    navigation_only: bool = False
    """Whether sessioneye has none."""

    def arguments(self, config: Config) -> dict[str, Any]:
        """Return the stage's settings, spelled as PyHipp hashes its arguments."""
        settings = getattr(config, self.settings) if self.settings else None
        names = settings.__struct_fields__ if settings else ()
        return {**dict(self.fixed), **{name: _as_hashed(getattr(settings, name)) for name in names}}

    def output_names(self, config: Config) -> tuple[str, ...]:
        """Return the names of its files, as `rpllfp_6eca.hkl` and `binData.hdf`."""
        return tuple(name if "." in name else object_name(name, self.arguments(config)) for name in self.files)


STAGES: tuple[Stage, ...] = (
    Stage("rplparallel", ("rplparallel",), "session", ("*.nev",), _MARKERS),
    Stage("rplsplit", ("rplraw",), "channel", ("*.ns5", "*.nev"), _SAMPLES),
    Stage("rpllfp", ("rpllfp",), "channel", ("*.ns5", "rplraw"), ("raypipe.stages.rpllfp", *_FILTERS), "rpllfp"),
    Stage("rplhighpass", ("rplhighpass",), "channel", ("*.ns5", "rplraw"), ("raypipe.stages.rplhighpass", *_FILTERS), "rplhighpass"),
    Stage("unity", ("unity",), "session", ("Unity logs",), _UNITY, "unity", needs=("rplparallel",), navigation_only=True),
    Stage("edfsplit", ("eyelink",), "session", ("eye files",), _EYES, "edfsplit", needs=("rplparallel",)),
    Stage("aligning_objects", (), "session", (), _ALIGNING, "aligning_objects", needs=("rplparallel",), rewrites=("unity", "edfsplit"), navigation_only=True),
    Stage("raycast", ("unityfile_eyelink.csv", "binData.hdf"), "session", (), _RAYCAST, "raycast", needs=("unity", "edfsplit"), navigation_only=True),
    Stage("umaze", ("umaze",), "session", (), _UMAZE, "umaze", needs=("unity",), navigation_only=True),
    Stage("picture", ("maze.png",), "session", (), _PICTURE, needs=("unity", "umaze"), uses=("raycast",), navigation_only=True),
    Stage("freqspectrum", ("freqspectrum",), "object", (), _SPECTRUM, "freqspectrum", _OF_LFP, needs=("rpllfp",)),
    Stage("freqspectrum_highpass", ("freqspectrum",), "object", (), _SPECTRUM, "freqspectrum_highpass", _OF_HIGH_PASS, needs=("rplhighpass",)),
    Stage("day_spectrum", ("freqspectrum", "spectra_lfp.png"), "day", (), _DAY_SPECTRUM, "freqspectrum", _OF_LFP, needs=("freqspectrum",)),
    Stage("day_spectrum_highpass", ("freqspectrum", "spectra_highpass.png"), "day", (), _DAY_SPECTRUM, "freqspectrum_highpass", _OF_HIGH_PASS, needs=("freqspectrum_highpass",)),
    Stage("mountain_batch", ("start_indices.csv", *_OUTPUT, "units.png"), "joined", (), _SORTING, "mountain_batch", needs=("rplhighpass",)),
    Stage("export_mountain_cells", ("cells.csv",), "object", ("firings.mda", "start_indices.csv"), _CELLS, needs=("mountain_batch",)),
    Stage("waveform", ("waveform",), "object", ("templates.hkl",), _WAVEFORM, fixed=_WHERE, needs=("mountain_batch",), navigation_only=True),
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


def without(name: str) -> str:
    """Return how one asks for everything but a stage and what cannot be made without it."""
    skipped = [name]
    for stage in STAGES:  # in the order of their data
        skipped += [stage.name] if set(stage.needs) & set(skipped) else []
    return " ".join(f"--skip {each}" for each in skipped)


def _as_hashed(value: Any) -> Any:
    # 1.0 and 1 are one value, but would be two hashes; PyHipp's users write 1.
    if isinstance(value, tuple):
        return [_as_hashed(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
