"""What runs a function: its code and boto3's packages, nothing else that is installed here.

python -I -S lambda_runtime.py CODE PACKAGES RESULT, with the event on its standard input
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

STARTED = time.monotonic()


class Context:
    """What a handler is told of its invocation."""

    function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    aws_request_id = os.environ["EMULATED_REQUEST"]
    invoked_function_arn = os.environ["EMULATED_ARN"]

    def get_remaining_time_in_millis(self):
        return int(1000 * (float(os.environ["EMULATED_SECONDS"]) - (time.monotonic() - STARTED)))


def main(code, packages, result):
    sys.path[:0] = [code, packages]
    event = json.load(sys.stdin)
    module, _, handler = os.environ["_HANDLER"].rpartition(".")
    try:
        answer = getattr(importlib.import_module(module.replace("/", ".")), handler)(event, Context())
        said = {"result": json.loads(json.dumps(answer))}
    except BaseException as error:  # noqa: BLE001  # what it is goes into the answer, as it does there
        import traceback

        traceback.print_exc()
        said = {"error": {"errorMessage": str(error), "errorType": type(error).__name__}}
    Path(result).write_text(json.dumps(said))
    sys.exit("error" in said)


main(*sys.argv[1:])
