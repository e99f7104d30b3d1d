"""A finalizer in a process of its own, which tells the emulator of its renames, so that it can be killed at each.

What is slow to import and to make is there before the fork.
"""

import os
from dataclasses import replace
from typing import Any

from cluster.aws.act import Tools
from cluster.aws.calls import connect
from cluster.aws.finalize import Finalizer
from cluster.aws.settings import FinalizeSettings
from cluster.aws.state import Outcome
from tests.aws.world import Emulator

AWS = connect("ap-southeast-1", tries=2)


def run(url: str, settings: FinalizeSettings, good: bool, tools: Tools, stays: bool) -> None:
    """End a run, with clients of this process; the emulator may kill it at any entry of its log."""
    emulator, rename = Emulator(url), os.replace

    def rename_under_watch(source: Any, target: Any) -> None:
        index = emulator.fake("mark", action="Rename", when="before", parameters={"target": str(target)})["index"]
        rename(source, target)
        emulator.fake("mark", index=index, when="after")

    os.replace = rename_under_watch
    emulator.fake("process", pid=os.getpid())
    Finalizer(settings, Outcome(good, "as the test says"), replace(tools, aws=AWS), stays=stays).finalize()
