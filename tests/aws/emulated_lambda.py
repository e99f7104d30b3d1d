"""Functions that run: the uploaded zip, unpacked, in a process of its own, with the credentials of its role."""

import importlib.util
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_RUNTIME = Path(__file__).with_name("lambda_runtime.py")
_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
_ATTEMPTS, _BETWEEN_SECONDS = 3, 0.1
"""AWS tries three times, a minute and two apart."""


@dataclass
class Invocation:
    """One life of a function's process, for the tests to look at."""

    function: str
    event: Any
    attempt: int
    pid: int = 0
    code: int | None = None
    """The process's exit code; None while it runs."""
    result: Any = None
    error: Any = None
    out: str = ""
    err: str = ""


class Functions:
    """Runs functions, and remembers what became of it."""

    def __init__(self, register: Callable[[str, str, int], None], may_log: Callable[[str, str], bool]) -> None:
        self.register, self.may_log = register, may_log
        """Tell whose key and process it is (key, role, pid); whether a role may write a function's log."""
        self.endpoint = ""
        self.lives: list[Invocation] = []
        self._numbers = itertools.count(1)
        self._folder = Path(tempfile.mkdtemp(prefix="emulated-lambda-"))
        self._under_way, self._changed = 0, threading.Condition()
        packages = self._folder / "packages"
        packages.mkdir()
        for name in _PACKAGES:
            if (found := importlib.util.find_spec(name)) and found.origin:
                origin = Path(found.origin)
                target = origin.parent if origin.name == "__init__.py" else origin
                (packages / target.name).symlink_to(target)
        self._packages = packages

    def logged(self) -> list[dict[str, Any]]:
        """Return all lives of functions, the oldest first."""
        return [asdict(life) for life in self.lives]

    def call(self, function: Any, event: Any, attempt: int = 1) -> Invocation:
        """Run a function (moto's) to its end."""
        number = next(self._numbers)
        life = Invocation(function.function_name, event, attempt)
        self.lives.append(life)
        code = self._unpacked(function)
        result = self._folder / f"result-{number}"
        key = f"ASIAFUNCTION{number:08d}"
        region = function.region
        environment = {
            "PATH": "/usr/bin:/bin",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_SESSION_TOKEN": "nothing",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "_HANDLER": function.handler,
            "EMULATED_REQUEST": f"request-{number}",
            "EMULATED_ARN": function.function_arn,
            "EMULATED_SECONDS": str(function.timeout),
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_RUNTIME), str(code), str(self._packages), str(result)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | function.environment_vars,
        )
        life.pid = process.pid
        self.register(key, function.role, process.pid)
        try:
            out, err = process.communicate(json.dumps(event), timeout=function.timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            life.error = {"errorType": "Sandbox.Timedout", "errorMessage": f"Task timed out after {function.timeout} s"}
        if self.may_log(function.role, function.logs_group_name):  # else there is no trace of it, as there
            life.out, life.err = out, err
        if result.exists():
            said = json.loads(result.read_text())
            life.result, life.error = said.get("result"), said.get("error")
        elif life.error is None:
            life.error = {"errorType": "Runtime.ExitError", "errorMessage": f"ended with {process.returncode}"}
        life.code = process.returncode
        return life

    def call_later(self, function: Any, event: Any) -> None:
        """Run it in the background; after a failure twice more."""
        with self._changed:
            self._under_way += 1

        def attempts() -> None:
            try:
                for attempt in range(1, _ATTEMPTS + 1):
                    if self.call(function, event, attempt).error is None:
                        return
                    time.sleep(attempt * _BETWEEN_SECONDS)
            finally:
                with self._changed:
                    self._under_way -= 1
                    self._changed.notify_all()

        threading.Thread(target=attempts, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until none runs and none is to be tried again; false if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, seconds)

    def close(self) -> None:
        """End what runs, and leave nothing behind."""
        for life in self.lives:
            if life.code is None and life.pid:
                with suppress(ProcessLookupError):
                    os.kill(life.pid, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _unpacked(self, function: Any) -> Path:
        folder = self._folder / function.code_digest.replace(":", "-")
        if not folder.exists():
            new = Path(tempfile.mkdtemp(dir=self._folder))
            with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as packed:
                packed.extractall(new)
            with suppress(OSError):  # another invocation was faster
                new.rename(folder)
        return folder
