"""The one door to numba: how kernels are declared, where machine code is kept, and who compiles it.

Every kernel has one explicit signature that takes any rows, read-only or not, so that nothing compiles for an argument.
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding as llvm
from numba import types as numba_types
from numba.extending import register_jitable

types: Any = numba_types
config: Any = numba.config
DECLARED: "list[Kernel]" = []


def warm() -> None:
    """Make every declared kernel ready: load its machine code from the cache, or compile it.

    On one node exactly one process compiles: it holds the lock of the cache directory, others wait and then load.
    """
    if not _marker().exists():
        with _locked():
            _ready_all()
            _marker().touch()
    _ready_all()


def fingerprint() -> str:
    """Hash of all kernel sources and the numba version: what the cached machine code was made from.

    numba itself only notices changes of a kernel's own file, not of the intrinsics that the kernel calls.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def jit(*arguments: Any, returns: Any = types.void) -> "Callable[[Callable[..., Any]], Kernel]":
    """Declare a kernel with the numba types of its arguments; nothing compiles before its first call or `warm`."""

    def declare(function: Callable[..., Any]) -> Kernel:
        kernel = Kernel(function, returns(*arguments))
        DECLARED.append(kernel)
        return kernel

    return declare


class Kernel:
    """A function of one signature, compiled or loaded at its first call. It releases the GIL."""

    def __init__(self, function: Callable[..., Any], signature: Any) -> None:
        # No fastmath: results must not depend on the CPU or on where the data were cut.
        self.dispatcher = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
        self.signature = signature
        self.is_ready = False

    def __call__(self, *arguments: Any) -> Any:
        """Run; the first call in a process loads or compiles."""
        if not self.is_ready:
            with _locked():
                self.ready()
        return self.dispatcher(*arguments)

    def ready(self) -> None:
        """Load or compile, once."""
        if not self.is_ready:
            self.dispatcher.compile(self.signature)
            self.dispatcher.disable_compile()
            self.is_ready = True


def readonly(dtype: Any, dimensions: int) -> Any:
    """Give the numba type of an input array: any strides, writable or not."""
    return types.Array(dtype, dimensions, "A", readonly=True)


def writable(dtype: Any, dimensions: int) -> Any:
    """Give the numba type of an output or state array: any strides."""
    return types.Array(dtype, dimensions, "A")


def contiguous(dtype: Any) -> Any:
    """Give the numba type of a one-dimensional input array without gaps."""
    return types.Array(dtype, 1, "C", readonly=True)


def inlined(function: Callable[..., Any]) -> Any:
    """Give a part of a kernel a name of its own; it is compiled into each kernel that calls it."""
    return register_jitable(function)


def _ready_all() -> None:
    for kernel in DECLARED:
        kernel.ready()


@contextmanager
def _locked() -> Iterator[None]:
    with (CACHE / "lock").open("w") as lock:
        with suppress(OSError):  # some network file systems have no locks: then everybody compiles, safely
            fcntl.flock(lock, fcntl.LOCK_EX)  # closing the file releases it, also when the process dies
        yield


def _marker() -> Path:
    """Name the file that says that all kernels are in the cache for this CPU, so that nobody needs the lock."""
    features = llvm.get_host_cpu_features().flatten() if config.CPU_FEATURES is None else config.CPU_FEATURES
    cpu = f"{config.CPU_NAME or llvm.get_host_cpu_name()} {features}"
    return CACHE / f"warm-{hashlib.sha256(cpu.encode()).hexdigest()[:12]}"


def _cache_directory() -> Path:
    home = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("RAYPIPE_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        directory = Path(home or "~/.cache").expanduser() / "raypipe" / f"numba-{fingerprint()}"
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except (OSError, RuntimeError):  # a read-only or absent home
        private = Path(tempfile.gettempdir()) / f"raypipe-{os.getuid()}" / f"numba-{fingerprint()}"
        private.parent.mkdir(mode=0o700, exist_ok=True)
        # Machine code is run as found: a directory that another user made under our name is refused.
        if private.parent.stat().st_uid != os.getuid() or private.parent.is_symlink():
            raise PermissionError(f"{private.parent} belongs to another user: set RAYPIPE_CACHE_DIR") from None
        private.mkdir(exist_ok=True)
        return private


CACHE = _cache_directory()
config.CACHE_DIR = str(CACHE)  # before any kernel is declared: numba picks the place at declaration
