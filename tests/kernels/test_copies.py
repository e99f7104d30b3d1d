"""De-interleaving and conversion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import deinterleaved, microvolts

from kernels import deinterleave, to_microvolts


def frames_of(count, channels, seed=0):
    return np.random.default_rng(seed).integers(-32768, 32768, (count, channels)).astype(np.int16)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2100), st.integers(1, 40), st.data())
def test_deinterleave_any_columns(count, channels, data):
    frames = frames_of(count, channels)
    runs = st.tuples(st.integers(0, channels - 1), st.integers(1, 20))
    columns = np.array(
        [c for a, n in data.draw(st.lists(runs, max_size=5)) for c in range(a, min(a + n, channels))], np.int64
    )
    frames.flags.writeable = False
    room = np.full((len(columns) + 2, count + 5), 77, np.int16)
    deinterleave(frames, columns, room[1:-1, 3 : 3 + count])
    assert np.array_equal(room[1:-1, 3 : 3 + count], deinterleaved(frames, columns))
    assert (room[[0, -1]] == 77).all() and (room[:, :3] == 77).all() and (room[:, 3 + count :] == 77).all()


@pytest.mark.parametrize("count", [7, 8, 1023, 1024, 1025, 1031, 5000])
def test_deinterleave_124_of_128(count):
    frames = frames_of(count, 128)
    for first in range(5):
        columns = np.arange(first, first + 140)[:124]  # the run goes on in memory, beyond what was asked for
        room = np.full((140, count), 77, np.int16)
        deinterleave(frames, columns, room[:124])
        assert np.array_equal(room[:124], deinterleaved(frames, columns))
        assert (room[124:] == 77).all()


def test_deinterleave_a_memmap(tmp_path):
    frames_of(3000, 20).tofile(tmp_path / "frames")
    frames = np.memmap(tmp_path / "frames", np.int16, "r", shape=(3000, 20))[100:2001]
    out = np.zeros((17, 1901), np.int16)
    deinterleave(frames, np.arange(3, 20), out)
    assert np.array_equal(out, frames[:, 3:].T)


@pytest.mark.parametrize("columns", [[-1, 0], [0, 4]])
def test_deinterleave_refuses_other_columns(columns):
    with pytest.raises(ValueError, match="columns reach"):
        deinterleave(frames_of(5, 4), np.array(columns), np.zeros((2, 5), np.int16))


def test_deinterleave_refuses_other_shapes():
    with pytest.raises(ValueError, match="shape"):
        deinterleave(frames_of(5, 4), np.arange(2), np.zeros((2, 6), np.int16))
    with pytest.raises(ValueError, match="int16"):
        deinterleave(frames_of(5, 4).astype(np.int32), np.arange(2), np.zeros((2, 5), np.int16))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 300), st.integers(1, 10), st.integers(0, 2**32 - 1))
def test_microvolts_bit_for_bit(samples, channels, seed):
    rng = np.random.default_rng(seed)
    counts = frames_of(channels, samples + 9, seed)[:, 4 : 4 + samples]
    counts.flags.writeable = False
    gain = rng.normal(0, 0.3, channels).astype(np.float32)
    offset = rng.normal(0, 1000, channels).astype(np.float32)
    out = np.full((channels, samples), np.nan, np.float32)
    to_microvolts(counts, gain, offset, out)
    assert out.tobytes() == microvolts(counts, gain, offset).tobytes()


def test_microvolts_refuses_other_shapes():
    one = np.ones(1, np.float32)
    with pytest.raises(ValueError, match="must fit"):
        to_microvolts(np.zeros((2, 3), np.int16), one, one, np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="int16"):
        to_microvolts(np.zeros((1, 3), np.int32), one, one, np.zeros((1, 3), np.float32))


def test_no_frames_are_no_work():
    frames = np.zeros((0, 2), np.int16)
    deinterleave(frames, np.array([], np.int64), np.zeros((2, 5), np.int16)[1:-1, 3:3])
    deinterleave(frames, np.array([1]), np.zeros((1, 9), np.int16)[:, ::2][:, :0])
