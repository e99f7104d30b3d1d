"""Where machine code goes, who makes it, and that every CPU's gives the same bits."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import kernels

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def start(**variables):
    """Run digest.py in a new process with these variables."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "RAYPIPE_", "XDG_"))}
    environment = {**kept, "PYTHONPATH": f"{ROOT}:{HERE}", **{key: str(value) for key, value in variables.items()}}
    command = [sys.executable, str(HERE / "digest.py")]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    bits, compiled, loaded = out.split()
    return bits, float(compiled), float(loaded)


def test_every_cpu_gives_the_same_bits(tmp_path):
    cpus = [{}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}, {"NUMBA_CPU_NAME": "haswell"}]
    cpus[2]["NUMBA_CPU_FEATURES"] = "+avx,+avx2,+fma,+sse4.2"
    results = [result(start(RAYPIPE_CACHE_DIR=tmp_path, **cpu)) for cpu in cpus]
    assert [compiled for _, compiled, _ in results] == [1, 1, 1]
    assert len({bits for bits, _, _ in results}) == 1


def test_processes_compile_once(tmp_path):
    package = Path(kernels.__file__).parent
    before = time.time()
    results = [result(process) for process in [start(NUMBA_CACHE_DIR=tmp_path) for _ in range(2)]]
    assert sorted((compiled, loaded) for _, compiled, loaded in results) == [(0, 1), (1, 0)]
    assert results[0][0] == results[1][0]
    assert result(start(NUMBA_CACHE_DIR=tmp_path))[1:] == (0, 1), "a later one only loads"
    home = tmp_path / "raypipe" / f"numba-{kernels.fingerprint()}"
    assert list(home.rglob("*.nbc"))
    assert not [path for path in package.rglob("*.nb[ci]") if path.stat().st_mtime > before]


@pytest.mark.parametrize("variable", ["RAYPIPE_CACHE_DIR", "XDG_CACHE_HOME", "HOME"])
def test_cache_directory(tmp_path, variable):
    place = tmp_path / ".cache" if variable == "HOME" else tmp_path
    script = "import kernels.compile as c; print(c.config.CACHE_DIR)"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "RAYPIPE_", "XDG_"))}
    environment = {**kept, "PYTHONPATH": str(ROOT), variable: str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(place / "raypipe" / f"numba-{kernels.fingerprint()}")


def test_an_unwritable_home_falls_back_to_a_private_place(tmp_path):
    (tmp_path / "file").write_text("no directory can be made below a file")
    (tmp_path / "tmp").mkdir()
    script = "import kernels.compile as c; print(c.config.CACHE_DIR)"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    environment = {**kept, "PYTHONPATH": str(ROOT), "RAYPIPE_CACHE_DIR": str(tmp_path / "file")}
    environment["TMPDIR"] = str(tmp_path / "tmp")
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    private = tmp_path / "tmp" / f"raypipe-{os.getuid()}"
    assert Path(run.stdout.strip()).parent == private
    assert private.stat().st_mode & 0o077 == 0
