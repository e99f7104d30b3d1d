"""Run by today's Python and by the lab's, with nothing of raypipe: what plain hickle and pandas make of tables.

`read FILE...` describes what `hickle.load` gives, as JSON in the last line; `write FOLDER` saves pandas objects, with
hickle and as pickles, and describes them.
"""

import copyreg
import io
import json
import pickle
import sys
from pathlib import Path

import hickle
import numpy as np
import pandas as pd


def described(value):
    """Describe a pandas object in full: values as the hex of their bytes in rows, labels with their Python types."""
    if not isinstance(value, (pd.Series, pd.DataFrame)):
        return {"type": type(value).__name__}
    values = value.to_numpy()
    dtypes = [value.dtype] if value.ndim == 1 else value.dtypes
    return {
        "type": type(value).__name__,
        "shape": list(value.shape),
        "dtypes": sorted({str(dtype) for dtype in dtypes}),
        "values": np.ascontiguousarray(values).tobytes().hex() if value.size else "",
        "columns": plain(value.columns) if value.ndim == 2 else None,
        "name": plain([value.name])[0] if value.ndim == 1 else None,
        "index": plain(value.index),
        "index kind": kind(value.index),
        "columns kind": kind(value.columns) if value.ndim == 2 else None,
        "writable": writable(value),
    }


def plain(labels):
    return [label.item() if isinstance(label, np.generic) else label for label in labels]


def kind(labels):
    return "range" if isinstance(labels, pd.RangeIndex) else str(labels.dtype)


def writable(value):
    """Whether a value can be set in place; without values, whether rows can be appended."""
    if value.size == 0:
        return len(pd.concat([value, value])) == 2 * len(value)
    last = (-1, -1) if value.ndim == 2 else -1
    other = value.to_numpy().dtype.type(value.iloc[last] == 0)
    value.iloc[last] = other
    return bool(value.iloc[last] == other)


def saved():
    """Give pandas objects as PyHipp comes by them, and some that are no table of numbers of one type."""
    rng = np.random.default_rng(7)
    eyes = pd.DataFrame({"gx_left": rng.random(9), "gy_left": rng.random(9)})
    eyes.iloc[3, 1] = np.nan
    pieces = pd.DataFrame(rng.random((4, 2)), columns=["start", "end"])
    pieces[0] = rng.random(4)  # a block of its own
    crossed = pd.DataFrame({"a": [1.5, 2.5], "n": [1, 2], "b": [3.5, 4.5]}).drop(columns="n")
    tables = {
        "eye_pos": eyes,
        "some_rows": eyes[eyes["gx_left"] > 0.3],
        "fewer": eyes.iloc[2:7:2],
        "fix_times": pieces,
        "swapped": pieces[[0, "end", "start"]],
        "crossed": crossed,
        "codes": pd.DataFrame(rng.integers(10, 40, (3, 3)).astype(np.uint16)),
        "turned": pd.DataFrame(np.asfortranarray(rng.random((3, 2)))),
        "flags": pd.DataFrame({"on": [True, False]}),
        "single": pd.DataFrame(rng.random((3, 2)).astype(np.float32), columns=[3, -1]),
        "counted": pd.DataFrame({0: [3, 4]}, index=pd.Index([0, 1], dtype=object)),
        "no_rows": eyes[:0],
        "no_columns": eyes[[]],
        "nothing": pd.DataFrame(),
        "time": eyes["gx_left"].rename("time"),
        "some_times": eyes["gx_left"][eyes["gx_left"] > 0.3],
        "durations": pd.Series([5, 6, 7]),
        "no_times": pd.Series([], dtype=np.float64),
        "column": pieces[0].copy(),
    }
    others = {
        "mixed": pd.DataFrame({"a": [1.5], "n": [1]}),
        "texts": pd.Series(["a", "b"]),
        "days": pd.Series(pd.to_datetime(["2018-11-05"])),
        "named": eyes.rename_axis("row"),
        "float_labels": pd.Series([1.0], index=[0.5]),
        "a_slice": slice(1, 2),
        "labels": pd.Index([1, 2]),
    }
    return tables, others


class OldPickler(pickle.Pickler):
    """Pickles a DataFrame as pandas did before 1.3: its manager has a state."""

    def reducer_override(self, value):
        if type(value).__name__ != "BlockManager":
            return NotImplemented
        axes = list(value.axes)
        blocks = [{"values": block.values, "mgr_locs": block.mgr_locs.indexer} for block in value.blocks]
        items = [axes[0].take(block.mgr_locs.as_array) for block in value.blocks]
        state = (axes, [block["values"] for block in blocks], items, {"0.14.1": {"axes": axes, "blocks": blocks}})
        return copyreg.__newobj__, (type(value),), state


def old_pickle(value):
    stream = io.BytesIO()
    OldPickler(stream, 4).dump(value)
    return stream.getvalue()


def write(folder):
    tables, others = saved()
    hickle.dump({**tables, **others}, str(folder / "tables.hkl"))
    for name, table in tables.items():
        for protocol in (3, 4, 5):
            (folder / f"{name}.{protocol}.pickle").write_bytes(pickle.dumps(table, protocol))
        (folder / f"{name}.old.pickle").write_bytes(old_pickle(table))
        same = pickle.loads(old_pickle(table))  # what pandas itself takes for the old way
        assert same.equals(table) and list(same.index) == list(table.index)
    return {name: described(table) for name, table in tables.items()}


def main(verb, *paths):
    if verb == "write":
        return write(Path(paths[0]))
    return [{name: described(value) for name, value in hickle.load(path).items()} for path in paths]


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps({"pandas": pd.__version__, "found": main(*sys.argv[1:])}))
