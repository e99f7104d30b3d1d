"""Large writes behind the caller's back: every byte in its place, none forgotten, all of it synced."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from raypipe.io import appender
from raypipe.io.appender import STAGE_BYTES, Appender, WriteBehind
from raypipe.io.growing import GrowingObject


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("slowly", [True, False])
def test_many_stages_are_written_in_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct: bool, slowly: bool
) -> None:
    if not direct:
        monkeypatch.setattr(appender, "_open_direct", lambda path: -1)
    write = Appender._write

    def late(self: Appender, *arguments: object) -> None:
        time.sleep(0.02)  # so that `flush` meets writes that are still under way
        write(self, *arguments)

    if slowly:
        monkeypatch.setattr(Appender, "_write", late)
    content = np.random.default_rng(0).integers(0, 256, 7 * STAGE_BYTES + 12345, np.uint8)
    behind = WriteBehind(threads=2)
    descriptor = os.open(tmp_path / "x", os.O_CREAT | os.O_RDWR)
    file = Appender(tmp_path / "x", descriptor, 4096, behind)
    for start in range(0, content.size, 100_003):
        file.append(content[start : start + 100_003].data)
    file.flush()
    assert (tmp_path / "x").read_bytes()[4096:] == content.tobytes(), "all of it, once flush is back"
    file.close()
    os.close(descriptor)


def test_a_finished_object_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    growing = GrowingObject(tmp_path / "x.hkl", {"data": None}, 10, token="t", behind=WriteBehind(threads=1))
    growing.append(np.zeros(10, np.float32))
    growing.finish({})
    assert growing.sync().name in synced
