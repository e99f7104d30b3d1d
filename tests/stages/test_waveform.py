"""Waveform: PyHipp's object, and templates with zeros in them, of one unit, of none."""

import os
from pathlib import Path

import hickle
import numpy as np
import pytest

from raypipe.errors import FormatError
from raypipe.io.objects import load_object, normalised_dir, object_image, object_name
from raypipe.stages.mountain_files import TEMPLATES, read_templates
from raypipe.stages.waveform import waveform_object
from tests.compare import arguments

GOLDEN = Path(os.environ.get("RAYPIPE_GOLDEN", Path(__file__).parents[3] / "shared" / "golden")) / "picasso/20181105"
WHERE = "picasso/20181105/session01/array01/channel009"
ARGUMENTS = arguments("waveform")
RANDOM = np.random.default_rng(3).normal(size=(1, 150, 4)).astype(np.float32)


def test_the_fields() -> None:
    fields, notes = waveform_object(RANDOM, ARGUMENTS, WHERE)
    data = fields.pop("data")
    assert list(fields.items()) == [
        ("args", {"mountainsDirectory": "mountains", "ouputDirectory": "output", "templateFilename": "templates.hkl"}),
        ("channel_filename", ["channel009"]),
        ("numSets", 1),
        ("array_dict", {"picasso/20181105/session01/array01": 0}),
        ("current_plot_type", None),
        ("dirs", [WHERE]),
        ("setidx", []),
        ("plotopts", {"indexer": "channel"}),
        ("current_idx", None),
    ]
    assert len(data) == 1 and data[0].dtype == np.float32
    np.testing.assert_array_equal(data[0], RANDOM[0])
    assert notes == ()


def test_the_name() -> None:
    assert object_name("waveform", ARGUMENTS) == "waveform_ed79.hkl"


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="PyHipp's golden day is not beside the repository")
@pytest.mark.parametrize("channel", ["channel009", "channel120"])
def test_pyhipps_object(channel: str) -> None:
    (path,) = GOLDEN.glob(f"session01/array*/{channel}/waveform_ed79.hkl")
    theirs = load_object(path)
    ours, _ = waveform_object(
        read_templates(GOLDEN / "mountains" / channel / TEMPLATES), ARGUMENTS, normalised_dir(path.parent)
    )
    assert list(ours) == list(theirs)
    (data,), (expected,) = ours.pop("data"), theirs.pop("data")
    assert data.dtype == expected.dtype
    np.testing.assert_array_equal(data, expected)
    assert ours == theirs


@pytest.mark.parametrize(("n_units", "shape"), [(0, (150, 0)), (1, (150,)), (2, (150, 2))])
def test_any_number_of_units(tmp_path: Path, n_units: int, shape: tuple[int, ...]) -> None:
    fields, notes = waveform_object(RANDOM[:, :, :n_units], ARGUMENTS, WHERE)
    assert fields["data"][0].shape == shape
    assert notes == (() if n_units else ("no unit was found",))
    path = tmp_path / "waveform.hkl"
    path.write_bytes(object_image(fields))
    for loaded in (load_object(path), hickle.load(path)):
        np.testing.assert_array_equal(loaded["data"][0], fields["data"][0])
        assert loaded["data"][0].shape == shape


def test_a_template_with_a_zero_is_a_template() -> None:
    templates = RANDOM.copy()
    templates[0, 0] = 0
    np.testing.assert_array_equal(waveform_object(templates, ARGUMENTS, WHERE)[0]["data"][0], templates[0])


@pytest.mark.parametrize("shape", [(150, 2), (2, 150, 2), (150,)])
def test_what_are_no_templates(shape: tuple[int, ...]) -> None:
    with pytest.raises(FormatError, match="channel009: templates of shape"):
        waveform_object(np.zeros(shape, np.float32), ARGUMENTS, WHERE)
