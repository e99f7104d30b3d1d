"""What Lambda runs: goes on with the ends of a cluster's runs as far as is possible now, whatever woke it.

Events may come twice, early, late, of somebody else's snapshot, or not at all, so nothing in them is believed: what is
to be done is in the tags of volumes and snapshots.
"""

import json
import os
from typing import Any

from cluster.aws.act import Tools
from cluster.aws.calls import connect
from cluster.aws.sweep import sweep
from cluster.errors import ClusterError, FinalizeUnproven

_MARGIN_SECONDS = 120.0
"""Kept free at the end: calls that are under way by then, and tried again, are to end."""


class RunsStuck(Exception):
    """Runs that another try may bring to their end; raised so that Lambda tries again, and counts it as an error."""


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Go on with the cluster's runs; return where each stands, which is also the line that the log has of it.

    The environment has RAYPIPE_CLUSTER, RAYPIPE_CHANNELS (JSON, see `cluster.aws.notify`) and RAYPIPE_DELETE_ROLE (an
    ARN). Raises `RunsStuck` if something is wrong with a run that people were not told of.
    """
    channels = tuple(json.loads(os.environ.get("RAYPIPE_CHANNELS", "[]")))
    tools = Tools(connect(), None, channels, delete_role=os.environ.get("RAYPIPE_DELETE_ROLE", ""))
    seconds = max(0.0, context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS)
    stands = sweep(tools, os.environ["RAYPIPE_CLUSTER"], seconds=seconds)
    said = {
        "cluster": os.environ["RAYPIPE_CLUSTER"],
        "woken_by": _waker(event),
        "runs": [{"run": run, **_words(stand)} for run, stand in stands],
    }
    print(json.dumps(said))  # noqa: T201  (what a function prints is its log)
    stuck = [f"{run}: {stand}" for run, stand in stands if _is_stuck(stand)]
    if stuck:
        raise RunsStuck("; ".join(stuck))
    return said


def _is_stuck(stand: object) -> bool:
    return isinstance(stand, ClusterError) and not isinstance(stand, FinalizeUnproven)


def _words(stand: Any) -> dict[str, str]:
    if isinstance(stand, ClusterError):
        return {"stands": type(stand).__name__, "text": stand.message, "hint": stand.hint}
    kind = type(stand).__name__
    return {"stands": kind, "text": str(getattr(stand, {"Wait": "what", "Done": "text"}.get(kind, "message")))}


def _waker(event: Any) -> str:
    kind = event.get("detail-type") if isinstance(event, dict) else None
    return str(kind or "a hand-over")
