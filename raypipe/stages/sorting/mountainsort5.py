"""Sorts with the published MountainSort 5, scheme 2, through SpikeInterface; the outputs are those of our own sorter."""

import contextlib
import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.config import SortSettings
from raypipe.errors import UsageError
from raypipe.stages.sorting import events
from raypipe.stages.sorting.series import Prepared, Series, prepared
from raypipe.stages.sorting.sizes import TRAINING_SECONDS
from raypipe.stages.sorting.sort import Sorting, finished

CHUNK_SECONDS = 100.0
SNIPPET = 20
"""Samples of a clip before and after its event; MountainSort 5's own."""


def sort_channel(series: Series, settings: SortSettings) -> Sorting:
    """Sort a series in uV with MountainSort 5, after our masking and division by the noise.

    detect_sign, detect_threshold (with max_events_hz) and num_features are taken from the settings; all else is MountainSort 5's. Of a series
    of more than 600 s, 600 s evenly taken teach the classifier.

    Raises UsageError when mountainsort5 or spikeinterface is not installed.
    """
    try:
        import mountainsort5
        import spikeinterface
    except ImportError as error:
        raise UsageError(
            f'sorter = "mountainsort5" needs a package that is not installed: {error.name}',
            hint="pip install 'raypipe-ephys[sorting]', or choose sorter = \"raypipe\"",
        ) from error
    ready = prepared(series, settings)
    # It does not know series without events, or clusters too small for their components.
    if ready.noise_uv == 0:
        return finished(ready, np.empty(0, np.int64), np.empty(0, np.int32), 0, settings)
    found, threshold = events.detected(ready, settings)
    if len(found) < 2 * settings.min_cluster_size:
        return finished(ready, np.empty(0, np.int64), np.empty(0, np.int32), 0, settings)
    parameters = mountainsort5.Scheme2SortingParameters(
        phase1_detect_channel_radius=None,
        detect_channel_radius=None,
        phase1_detect_threshold=threshold,
        phase1_npca_per_subdivision=settings.num_features,
        detect_sign=settings.detect_sign,
        detect_threshold=threshold,
        snippet_T1=SNIPPET,
        snippet_T2=SNIPPET,
        training_duration_sec=TRAINING_SECONDS if series.n_samples > TRAINING_SECONDS * settings.samplerate else None,
        training_recording_sampling_mode="uniform",
        classification_chunk_sec=CHUNK_SECONDS,
    )
    # It tells its progress, and calls what SpikeInterface is going to drop.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        found = mountainsort5.sorting_scheme2(
            _recording(spikeinterface, ready, settings.samplerate), sorting_parameters=parameters
        )
    trains = [np.asarray(found.get_unit_spike_train(unit), np.int64) for unit in found.get_unit_ids()]
    times = np.concatenate([np.empty(0, np.int64), *trains])
    labels = np.repeat(np.arange(len(trains), dtype=np.int32), [len(each) for each in trains])
    return finished(ready, *events.in_order(times, labels), len(trains), settings)


def _recording(spikeinterface: Any, ready: Prepared, rate_hz: float) -> Any:
    """Show the series to SpikeInterface without reading it."""

    class Segment(spikeinterface.BaseRecordingSegment):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(sampling_frequency=rate_hz)

        def get_num_samples(self) -> int:
            return ready.series.n_samples

        def get_traces(
            self, start_frame: int | None = None, end_frame: int | None = None, channel_indices: Any = None
        ) -> NDArray[np.float32]:
            start = start_frame or 0
            stop = ready.series.n_samples if end_frame is None else end_frame
            return ready.read(start, stop)[:, None][:, slice(None) if channel_indices is None else channel_indices]

    recording = spikeinterface.BaseRecording(sampling_frequency=rate_hz, channel_ids=[1], dtype=np.float32)
    recording.add_recording_segment(Segment())
    recording.set_dummy_probe_from_locations(np.zeros((1, 2)))
    return recording
