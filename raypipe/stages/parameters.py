"""Which parameters of a stage can be meant for a recording: plain arithmetic, so that planning can afford it."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from raypipe.errors import UsageError

LFP_BAND = ("LFPOrder", "LowPassFrequency")
HIGH_PASS_BAND = ("HighOrder", "HighPassFrequency")


def check_arguments(stage: str, args: Mapping[str, Any], rate_hz: float) -> None:
    """Check the arguments of a stage for a recording at `rate_hz`. Raises UsageError, which names what is wrong."""
    if check := _CHECKS.get(stage):
        check(args, rate_hz)


def check_band(
    order: int, low_hz: float, high_hz: float, rate_hz: float, *, names: tuple[str, str] = ("order", "band")
) -> None:
    """Check that there is a band-pass of `order` poles. Raises UsageError with the `names` of order and band."""
    if order < 2 or order % 2:
        raise UsageError(f"{names[0]} is {order}", hint=f"{names[0]} must be even and at least 2; the lab's is 8")
    # Said so that a NaN, of which every comparison is false, is refused too.
    if not 0 < low_hz < high_hz < rate_hz / 2:
        raise UsageError(
            f"{names[1]} is {low_hz:g} to {high_hz:g} Hz at {rate_hz:g} samples per second",
            hint=f"{names[1]} must be two frequencies, the lower first, above 0 and below {rate_hz / 2:g} Hz",
        )


def check_divides(resample_rate_hz: float, rate_hz: float, *, name: str = "ResampleRate") -> None:
    """Check that every n-th sample of the recording can be taken. Raises UsageError with the `name` of the new rate."""
    if not resample_rate_hz > 0 or rate_hz % resample_rate_hz:
        raise UsageError(
            f"{name} is {resample_rate_hz:g}, of which the recording's rate of {rate_hz:g} is no whole multiple",
            hint=f"choose a {name} that divides {rate_hz:g}; the lab's is 1000",
        )


def _check_lfp(args: Mapping[str, Any], rate_hz: float) -> None:
    check_divides(args["ResampleRate"], rate_hz)
    low_hz, high_hz = args["LowPassFrequency"]
    check_band(args["LFPOrder"], low_hz, high_hz, args["ResampleRate"], names=LFP_BAND)


def _check_high_pass(args: Mapping[str, Any], rate_hz: float) -> None:
    low_hz, high_hz = args["HighPassFrequency"]
    check_band(args["HighOrder"], low_hz, high_hz, rate_hz, names=HIGH_PASS_BAND)


def _check_sorting(args: Mapping[str, Any], rate_hz: float) -> None:
    if args["samplerate"] != rate_hz:
        raise UsageError(
            f"mountain_batch.samplerate is {args['samplerate']:g}, and the recording has {rate_hz:g} samples per second",
            hint="set it to what was recorded; all sessions of a channel have the same",
        )
    missing = [name for name in ("mountainsort5", "spikeinterface") if find_spec(name) is None]
    if args["sorter"] == "mountainsort5" and missing:
        raise UsageError(
            f"mountain_batch.sorter is mountainsort5, and {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            hint="`pip install 'raypipe-ephys[sorting]'`, or leave sorter as it is",
        )


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], float], None]] = {
    "rpllfp": _check_lfp,
    "rplhighpass": _check_high_pass,
    "mountain_batch": _check_sorting,
}
