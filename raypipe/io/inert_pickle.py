"""Follows a pickle without calling or importing anything that it names: a file from anywhere may be read so."""

import pickletools
from typing import Any, BinaryIO

_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


class StandIn:
    """Stands for what a pickle names, or for what it would have made by a call.

    `what` is `package.name`, with `()` for the result of a call to a result; `args` are those of the call, None where
    there was none; `state` is what the object would have been given afterwards.
    """

    def __init__(self, what: str, args: Any = None) -> None:
        self.what = what
        self.args = args
        self.state: Any = None

    def called(self, args: Any) -> "StandIn":
        """Stand for the result of a call."""
        return StandIn(self.what if self.args is None else f"{self.what}()", args)

    def call_of(self, what: str) -> Any:
        """Give the arguments of a call of `what`; raises ValueError if it is none."""
        if self.what != what:
            raise ValueError(f"{self.what} is not {what}")
        return self.args


def follow(stream: BinaryIO) -> Any:
    """Give what a pickle holds: plain values, tuples, lists and dicts, and `StandIn` for everything else.

    Knows the instructions of protocols 2 to 5 that arrays and tables need. Raises ValueError, TypeError, LookupError,
    AttributeError, MemoryError or OverflowError for anything else, and for what is no pickle or only part of one.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # what the stack was at each mark
    memo: dict[Any, Any] = {}
    argument: Any
    for instruction, argument, _ in pickletools.genops(stream):
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case name if name in _VALUES:
                stack.append(argument)
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                items = [stack.pop() for _ in range(int(name[-1]))]
                stack.append(tuple(reversed(items)))
            case "MARK":
                below.append(stack)
                stack = []
            case "TUPLE":
                below[-1].append(tuple(stack))
                stack = below.pop()
            case "LIST":
                below[-1].append(stack)
                stack = below.pop()
            case "APPEND":
                item = stack.pop()
                stack[-1].append(item)
            case "APPENDS":
                below[-1][-1].extend(stack)
                stack = below.pop()
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case "SETITEMS":
                below[-1][-1].update(zip(stack[::2], stack[1::2], strict=True))
                stack = below.pop()
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_named(module, name))
            case "REDUCE" | "NEWOBJ":
                args, callee = stack.pop(), stack.pop()
                stack.append(callee.called(args))
            case "BUILD":
                state = stack.pop()
                stack[-1].state = state
            case "STOP":
                return stack.pop()
            case name:
                raise ValueError(f"{name} is no instruction for plain values")
    raise ValueError("the pickle has no end")


def _named(module: str, name: str) -> StandIn:
    # The package alone: numpy 2 and pandas 3 have moved what they pickle to other modules of theirs.
    return StandIn(f"{module.partition('.')[0]}.{name}")
