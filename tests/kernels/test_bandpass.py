import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from twins import HIGH_BA, HIGH_SOS, LFP_SOS, band_passed, in_pieces, recording

from kernels import BandPass, halo_for


def band_pass(sos, **options):
    return BandPass(sos[:, 4:], sos[:, 0].prod(), **options)


def filtered(sos, x, cuts=(), **options):
    return in_pieces(band_pass(sos, **options), x, cuts, x.shape[1])


@pytest.mark.parametrize("sos", [HIGH_SOS, LFP_SOS], ids=["high-pass", "LFP"])
@pytest.mark.parametrize("samples", [25, 26, 31, 32, 33, 100, 255, 256, 257, 1000, 2000, 40_011])
def test_equals_scipy(sos, samples):
    x = recording(samples, offset=300)
    expected = band_passed(sos, x)
    np.testing.assert_allclose(filtered(sos, x, block=3000), expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_equals_scipys_transfer_function_form():
    x = recording(60_000, offset=2000)
    expected = signal.filtfilt(*HIGH_BA, x, axis=1, padlen=24)
    np.testing.assert_allclose(filtered(HIGH_SOS, x), expected, rtol=0, atol=1e-5)


def test_blocks_forget_their_start():
    """The overlap error, seen before rounding: the extremes are float64."""
    x = recording(30_000)
    band = band_pass(HIGH_SOS, block=1000)
    in_pieces(band, x, (), x.shape[1])
    expected = band_passed(HIGH_SOS, x)
    np.testing.assert_allclose(band.lowest, expected.min(1), rtol=1e-10)
    np.testing.assert_allclose(band.highest, expected.max(1), rtol=1e-10)


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(25, 3000),
    cuts=st.lists(st.floats(0, 1), max_size=30),
    block=st.integers(25, 700),
    halo=st.integers(1, 300),
    sections=st.integers(1, 4),
)
def test_cuts_do_not_change_a_bit(samples, cuts, block, halo, sections):
    x = recording(samples, seed=samples)
    cuts = sorted(int(cut * samples) for cut in cuts)
    sos = HIGH_SOS[:sections]
    whole, parts = band_pass(sos, block=block, halo=halo), band_pass(sos, block=block, halo=halo)
    assert in_pieces(whole, x, (), samples).tobytes() == in_pieces(parts, x, cuts, samples).tobytes()
    assert np.array_equal(whole.lowest, parts.lowest) and np.array_equal(whole.highest, parts.highest)


def test_single_samples_do_not_change_a_bit():
    x = recording(1500)
    assert filtered(HIGH_SOS, x, range(1, 1500), block=400).tobytes() == filtered(HIGH_SOS, x, block=400).tobytes()


@pytest.mark.parametrize("sections", [1, 2, 3, 6])
def test_any_number_of_sections(sections):
    sos = signal.butter(sections, [300, 6000], "bandpass", fs=30_000, output="sos")
    x = recording(5000)
    expected = band_passed(sos, x)
    np.testing.assert_allclose(filtered(sos, x, block=900), expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("edge", [0, 1, 10])
def test_other_edges(edge):
    x = recording(2000, offset=500)
    expected = band_passed(HIGH_SOS, x, edge)
    np.testing.assert_allclose(filtered(HIGH_SOS, x, edge=edge), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 24])
def test_too_short_to_extend(samples):
    with pytest.raises(ValueError, match="too few"):
        filtered(HIGH_SOS, recording(samples))


def test_tightest_buffers():
    x = recording(300)
    with pytest.raises(ValueError, match="exceed edge"):
        band_pass(HIGH_SOS, block=20, halo=5)
    assert filtered(HIGH_SOS, x, [30, 31], block=20, halo=6).shape == x.shape


def test_no_room_is_an_error():
    band, x = band_pass(HIGH_SOS, block=100), recording(2000)
    with pytest.raises(ValueError, match="room"):
        band.push(x, np.empty((8, 99), np.float32))
    with pytest.raises(ValueError, match="float32"):
        band.push(x.astype(np.float64), np.empty((8, 2000), np.float32))
    with pytest.raises(ValueError, match="contiguous"):
        band.push(x[:, ::2], np.empty((8, 2000), np.float32))


def test_extreme_counts():
    t = np.arange(5000)
    lanes = [
        np.where(t % 2, 32767, -32768),
        np.where(t // 15 % 2, 32767, -32768),
        np.full(5000, -32768),
        np.full(5000, 32767),
        np.zeros(5000),
        np.where(t < 2500, -32768, 32767),
        np.where(t == 4999, 32767, -32768),
        np.random.default_rng(0).integers(-32768, 32768, 5000),
    ]
    x = np.array(lanes).astype(np.float32)
    expected = band_passed(HIGH_SOS, x)
    got = filtered(HIGH_SOS, x, block=700)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    assert not got[2:5].any()  # a constant is removed exactly


@pytest.mark.parametrize("sos", [HIGH_SOS, LFP_SOS], ids=["high-pass", "LFP"])
def test_flat_channels_leave_no_denormals(sos):
    x = recording(60_000)
    x[:4, 3000:] = x[:4, 2999:3000]
    x[4:6, :59_000] = x[4:6, 59_000:59_001]  # flat for the way back
    band, out = band_pass(sos, block=5000, halo=620), np.empty_like(x)
    ready = 0
    for start in range(0, 60_000, 1000):
        ready += band.push(x[:, start : start + 1000], out[:, ready:])
        for state in (band._memory, band._history):
            assert not ((state != 0) & (np.abs(state) < 1e-100)).any()
    band.finish(out[:, ready:])
    assert np.abs(band._memory[2:, :4]).max() < 1e-13  # a slow section may be left with one rounding of its own
    assert not ((out != 0) & (np.abs(out) < np.finfo(np.float32).tiny)).any()


def test_a_channel_that_goes_flat_is_right():
    x = recording(40_000)
    x[:4, 3000:] = x[:4, 2999:3000]
    expected = band_passed(HIGH_SOS, x)
    np.testing.assert_allclose(filtered(HIGH_SOS, x), expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_not_a_number_stays_in_its_lane():
    x = recording(3000)
    x[3, 100] = np.nan
    x[5, 200] = np.inf
    got, clean = filtered(HIGH_SOS, x), filtered(HIGH_SOS, np.nan_to_num(x))
    others = [0, 1, 2, 4, 6, 7]
    assert got[others].tobytes() == clean[others].tobytes()


def test_read_only_and_strided_rows():
    wide = recording(8000)
    x = wide[:, 1001:4004]
    x.flags.writeable = False
    out = np.zeros((8, 5000), np.float32)
    band = band_pass(HIGH_SOS)
    ready = band.push(x, out[:, 7:])
    ready += band.finish(out[:, 7 + ready :])
    assert ready == x.shape[1]
    assert out[:, 7 : 7 + ready].tobytes() == filtered(HIGH_SOS, np.ascontiguousarray(x)).tobytes()
    assert not out[:, :7].any() and not out[:, 7 + ready :].any()


def test_nbytes_is_what_is_held():
    band = band_pass(HIGH_SOS, block=1000, halo=300)
    held = [band._memory, band._memory_back, band._history, band._last, band._extremes]
    assert band.nbytes == sum(each.nbytes for each in held) == BandPass.nbytes_for(4, halo=300, block=1000)


def test_halo_grows_with_the_slowest_pole():
    assert 550 < halo_for(HIGH_SOS[:, 4:]) < 700
    assert 9000 < halo_for(LFP_SOS[:, 4:]) < 10_500
