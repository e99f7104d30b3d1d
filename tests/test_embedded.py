"""An embedded Ray that cannot start says why, and nobody else's Ray is touched; a real one is in test_guardian."""

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raypipe import embedded
from raypipe.errors import Refused, UsageError
from raypipe.memory import MB, Budget

BUDGET = Budget(1, 1.0, 1, 100 * MB, 0, 100 * MB, 100 * MB, 100 * MB, 0, 300 * MB)


def not_called(*_: object, **__: object) -> None:
    raise AssertionError


def failing(error: Exception, folders: list[Path]) -> Callable[..., None]:
    def init(**options: Any) -> None:
        folders.append(Path(options["_temp_dir"]))
        assert folders[-1].is_dir()
        assert options["address"] == "local"
        raise error

    return init


def test_a_ray_that_is_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.ray, "is_initialized", lambda: True)
    for name in ("init", "shutdown"):
        monkeypatch.setattr(embedded.ray, name, not_called)
    monkeypatch.setattr(embedded, "guarded", not_called)
    with pytest.raises(UsageError, match="already") as error, embedded.embedded_ray(BUDGET, 1):
        pass
    assert "ray.shutdown()" in error.value.hint


@pytest.mark.parametrize(
    "error",
    [Exception("the node\n timed out"), RuntimeError("no port"), ConnectionError("no port"), OSError(24, "many")],
)
def test_why_ray_did_not_start_is_said(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(embedded.ray, "init", failing(error, folders))
    why = " ".join(str(error).split())
    with pytest.raises(Refused, match=re.escape(f"did not start: {why}")) as refused, embedded.embedded_ray(BUDGET, 1):
        pass
    assert refused.value.exit_code == 3
    assert refused.value.hint
    assert len(folders) == 1
    assert not folders[0].exists()


def test_what_goes_wrong_in_the_block_is_not_said_to_be_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.ray, "init", lambda **_: None)
    with pytest.raises(ZeroDivisionError), embedded.embedded_ray(BUDGET, 1):
        raise ZeroDivisionError


def test_the_folder_is_short_enough_for_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    folders: list[Path] = []
    monkeypatch.setattr(embedded.ray, "init", failing(OSError("no"), folders))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(Refused), embedded.embedded_ray(BUDGET, 1):
        pass
    below = "session_2026-11-22_18-32-57_265825_4194304/sockets/plasma_store"
    assert len(os.fsencode(folders[0] / below)) <= 107
    assert len(os.fsencode(Path("x" * 25, folders[0].name, below))) <= 107


def test_a_full_disk_for_temporary_files_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(Refused, match="in /proc") as error, embedded.embedded_ray(BUDGET, 1):
        pass
    assert "TMPDIR" in error.value.hint
