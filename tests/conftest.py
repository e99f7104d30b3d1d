"""A small simulated day that every test may read, a copy that a test may change, and a URL that takes messages."""

import json
import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import settings

import raypipe
from raypipe.events import Event
from raypipe.io.nsx import read_nsx_header
from raypipe.memory import MB, Budget
from raypipe.run import Report
from raypipe.simulate import SimulateSettings, simulate_day

# On CI the same cases every time: what is new is found where somebody looks.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

_AMPLE = Budget(2, 1.0, 4, 300 * MB, 0, 0, 0, 0, 0, 8000 * MB)
"""More memory than any run of a small day asks for: what a run begins at a time, its own budget says."""

SMALL = SimulateSettings(channels=(1, 2, 3, 9, 10, 33, 34, 35, 36, 65), seconds=12.5, eye_seconds=4.0, trials=4, seed=5)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day with 10 channels on 3 arrays, 12.5 s of session01 and 4 s of sessioneye; not to be changed."""
    return simulate_day(tmp_path_factory.mktemp("simulated"), SMALL)


@dataclass(frozen=True)
class Processed:
    """A day's outputs, and how the run went that made them."""

    folder: Path
    report: Report
    events: list[Event]


@pytest.fixture(scope="session")
def processed(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Processed:
    """The simulated day with everything that is made of it; not to be changed."""
    out = tmp_path_factory.mktemp("processed")
    events: list[Event] = []
    report = raypipe.run_day(simulated, output=out, listeners=[events.append])
    return Processed(out / "picasso" / "20181105", report, events)


@pytest.fixture(scope="session")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next day, smaller: 3 channels; not to be changed."""
    settings = replace(SMALL, channels=(1, 2, 9), day="20181106", seed=6)
    return simulate_day(tmp_path_factory.mktemp("another"), settings)


@pytest.fixture(scope="session")
def another_processed(another: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of that day; not to be changed."""
    out = tmp_path_factory.mktemp("another_processed")
    assert raypipe.run_day(another, output=out).exit_code == 0
    return out / "picasso" / "20181106"


class Lent:
    """A Ray of 2 CPUs that runs in this process share, one after the other; it begins with the first of them."""

    def __init__(self, begin: Callable[[Budget, int], AbstractContextManager[None]]) -> None:
        self.begin = begin
        self._held = ExitStack()
        self._lives = False

    @contextmanager
    def lend(self, _budget: Budget, _cpus: int) -> Iterator[None]:
        if not self._lives:
            self._held.enter_context(self.begin(_AMPLE, 2))
            self._lives = True
        yield

    def end(self) -> None:
        self._lives = False
        self._held.close()


@pytest.fixture(scope="module")
def one_ray() -> Iterator[Lent]:
    """One Ray for all that a module runs in this process, where Ray's beginning, size and end are not the point.

    Ask for it with `pytestmark`; of the module's tests, one that needs a Ray of its own asks for `own_ray`.
    """
    from raypipe import embedded  # imports Ray

    lent = Lent(embedded.embedded_ray)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "embedded_ray", lent.lend)
        yield lent
        lent.end()


@pytest.fixture
def own_ray(one_ray: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run of this test begins a Ray and ends it, although others of the module share one."""
    one_ray.end()
    monkeypatch.setattr("raypipe.embedded.embedded_ray", one_ray.begin)


@pytest.fixture
def day(simulated: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the simulated day that the test may change."""
    copy = tmp_path / "picasso" / simulated.name
    shutil.copytree(simulated, copy)
    yield copy
    shutil.rmtree(copy)  # runs leave gigabytes behind otherwise


@pytest.fixture
def paused() -> Callable[[Path], int]:
    """Give a function that puts a pause of 1.5 s behind sample 200000 of an `.ns5`, and returns its samples."""

    def pause(path: Path) -> int:
        header = read_nsx_header(path)
        (block,) = header.blocks
        frame_bytes = 2 * len(header.channels)
        content = path.read_bytes()
        cut = block.byte_offset + 200_000 * frame_bytes
        first = struct.pack("<BII", 1, 0, 200_000)
        second = struct.pack("<BII", 1, 200_000 + 45_000, block.n_samples - 200_000)
        start = block.byte_offset - len(first)
        path.write_bytes(content[:start] + first + content[block.byte_offset : cut] + second + content[cut:])
        return 45_000

    return pause


@dataclass
class Received:
    """A URL on loopback, and what was posted to it."""

    url: str
    posts: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def received() -> Iterator[Received]:
    """A server that takes what is posted; below /bad it answers 500, below /moved 307, and below /hang not in time."""
    at = Received("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            at.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            at.paths.append(self.path)
            if self.path.startswith("/hang"):
                at.let_go.wait(60)
            self.send_response({"/bad": 500, "/mov": 307}.get(self.path[:4], 200))
            self.send_header("Location", f"{at.url}/elsewhere")
            with suppress(BrokenPipeError):  # whoever asked is gone
                self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        at.url = f"http://127.0.0.1:{server.server_port}"
        yield at
        at.let_go.set()
        server.shutdown()
        thread.join()
