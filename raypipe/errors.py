"""Every error that raypipe raises on purpose, and the exit code it ends with.

RaypipeError                     exit
├── UsageError (ValueError)         2   the command line or the configuration asks for something that cannot be meant
│   └── NotADay (FileNotFoundError) 2   the folder is not a day of recording
├── Refused                         3   it could be tried, but must not be: memory, disk, time, somebody else's lock
│   ├── TooLittleMemory             3
│   ├── TooLittleDisk               3
│   ├── TooLittleTime               3
│   ├── NotWritable                 3
│   └── Locked                      3
└── TaskError                       1   one task failed; what does not need it goes on
    ├── FormatError (ValueError)    1   an input file is damaged, or is not what its name says
    ├── WorkerLost                  1   a worker process died, and died again when it was begun again
    ├── NotBegun                    1   what the task is made from could not be made
    ├── InputMissing                1   an input file is not there, or there are several where one is meant
    └── WriteFailed (OSError)       1   an output could not be written

Each message says what, where, and (as `hint`) what mends it.
"""


class RaypipeError(Exception):
    """Base of the tree: a message, and a hint that says how to mend it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # The keyword-only hint would be lost on the way back from a Ray worker.
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[RaypipeError], message: str, hint: str) -> RaypipeError:
    return kind(message, hint=hint)


class UsageError(RaypipeError, ValueError):
    """The command line or the configuration asks for something that cannot be meant."""

    exit_code = 2


class NotADay(UsageError, FileNotFoundError):
    """The folder is not a day of recording."""


class Refused(RaypipeError):
    """It could be tried, but must not be."""

    exit_code = 3


class TooLittleMemory(Refused, MemoryError):
    """The projected memory does not fit what the machine or `--memory` allows."""


class TooLittleDisk(Refused, OSError):
    """The outputs do not fit the free space of the disk."""


class TooLittleTime(Refused, TimeoutError):
    """What is left takes longer than the walltime, however often the job is queued again."""


class NotWritable(Refused, PermissionError):
    """The output folder cannot be written to."""


class Locked(Refused):
    """Another run works on this day."""


class TaskError(RaypipeError):
    """One task failed; what does not need it goes on."""


class FormatError(TaskError, ValueError):
    """An input file is damaged, or is not what its name says."""


class WorkerLost(TaskError):
    """A worker process died, and died again when it was begun again."""


class NotBegun(TaskError):
    """What the task is made from could not be made."""


class InputMissing(TaskError, FileNotFoundError):
    """An input file is not there, or there are several where one is meant."""


class WriteFailed(TaskError, OSError):
    """An output could not be written."""
