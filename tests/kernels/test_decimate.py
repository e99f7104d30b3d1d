import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from twins import LFP_SOS, TAPS, band_passed, decimated, in_pieces, recording

from kernels import BandPass, Decimator


def run(x, taps=TAPS, down=30, cuts=(), **options):
    return in_pieces(Decimator(taps, down, **options), x, cuts, -(-x.shape[1] // down))


@pytest.mark.parametrize("samples", [1, 29, 30, 31, 299, 300, 301, 601, 2000, 20_011])
@pytest.mark.parametrize("baseline", [False, True])
def test_equals_scipy(samples, baseline):
    x = recording(samples, offset=200)
    expected = signal.resample_poly(x.astype(np.float64), 1, 30, window=TAPS, axis=1)
    if not baseline:
        expected -= x[:, :1] * TAPS.sum()
    got = run(x, baseline=baseline)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-7 * np.abs(x).max())


def test_long_windows_keep_their_digits():
    x = np.abs(recording(100_000)) + 1000
    taps = np.full(40_001, 1 / 40_001)
    x[:, 0] = 0
    expected = signal.resample_poly(x.astype(np.float64), 1, 20_000, window=taps, axis=1)
    np.testing.assert_allclose(run(x, taps, 20_000), expected, rtol=3e-7)


def test_uses_scipys_default_taps():
    x = recording(5000)
    expected = signal.resample_poly(x.astype(np.float64), 1, 30, axis=1)
    np.testing.assert_allclose(run(x, baseline=True), expected, rtol=0, atol=5e-7 * np.abs(x).max())


@settings(deadline=None, max_examples=60)
@given(
    samples=st.integers(1, 2000),
    half=st.integers(0, 70),
    down=st.integers(1, 70),
    cuts=st.lists(st.floats(0, 1), max_size=30),
    baseline=st.booleans(),
)
def test_any_taps_any_cuts(samples, half, down, cuts, baseline):
    taps = np.random.default_rng(half).standard_normal(2 * half + 1)
    x = recording(samples, seed=samples)
    cuts = sorted(int(cut * samples) for cut in cuts)
    got = run(x, taps, down, baseline=baseline)
    assert got.tobytes() == run(x, taps, down, cuts, baseline=baseline).tobytes()
    expected = decimated(taps, down, x) - (0 if baseline else x[:, :1] * taps.sum())
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.abs(taps).sum() * np.abs(x).max())


@pytest.mark.parametrize("offset", [0, 2000, -8000])
def test_chain_to_the_lfp(offset):
    x = recording(300_000, offset=offset)
    slow = BandPass(LFP_SOS[:, 4:], LFP_SOS[:, 0].prod(), block=3000)
    got = in_pieces(slow, run(x, cuts=range(0, 300_000, 45_001)), (), 10_000)
    truth = band_passed(LFP_SOS, signal.resample_poly(x.astype(np.float64), 1, 30, axis=1))
    np.testing.assert_allclose(got, truth, rtol=0, atol=5e-7 * np.abs(truth).max())
    lfp = signal.butter(4, [1, 150], "bandpass", fs=1000)
    peer = signal.filtfilt(*lfp, signal.resample_poly(x, 1, 30, axis=1), axis=1, padlen=24)
    # scipy's float32 resampling loses digits to the offset, ours does not.
    limit = 5e-6 + 1e-7 * abs(offset) / np.abs(truth).max()
    np.testing.assert_allclose(got, peer, rtol=0, atol=limit * np.abs(truth).max())


def test_flat_and_extreme():
    x = np.repeat(np.array([[0, 1, -1, 32767, -32768, 8191.75, 0.25, 100]], np.float32).T, 3000, axis=1)
    inside = slice(10, 90)
    assert not run(x)[:, inside].any()
    np.testing.assert_allclose(run(x, baseline=True)[:, inside], x[:, :80] * TAPS.sum(), rtol=1e-6)


def test_read_only_and_strided_rows():
    x = recording(9000)[:, 1003:7010]
    x.flags.writeable = False
    assert run(x).tobytes() == run(x.copy()).tobytes()


def test_nothing_in_nothing_out():
    assert run(recording(0)).shape == (8, 0)


@pytest.mark.parametrize(("taps", "down"), [(np.ones(4), 2), (np.ones(3), 0)])
def test_bad_designs(taps, down):
    with pytest.raises(ValueError, match="odd number"):
        Decimator(taps, down)


def test_no_room_is_an_error():
    with pytest.raises(ValueError, match="room"):
        Decimator(TAPS, 30).push(recording(9000), np.empty((8, 5), np.float32))


def test_nbytes_is_what_is_held():
    decimator = Decimator(TAPS, 30)
    assert decimator.nbytes == decimator._rows.nbytes + decimator._taps.nbytes + 32
