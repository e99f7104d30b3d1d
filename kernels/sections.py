"""One step of a cascade of second order sections, as an instruction: for any number of sections, in registers only."""

from typing import Any

from kernels.compile import types
from kernels.emit import Emitter, instruction
from kernels.simd import LANES


@instruction(lambda _coefficients, state, samples: types.Tuple((state, samples)))
def cascade(emit: Emitter, coefficients: Any, state: Any, samples: Any) -> Any:
    """Filter samples, one vector each, with sections y = x - x2 - a1 y1 - a2 y2, each one's y being the next one's x.

    coefficients: -a1, -a2 of each section in one tuple. state: x1, x2 of the first section, then y1, y2 of each.
    Returns the state after the last sample, and y of the last section for each sample.
    """
    factors = [emit.splat(each, LANES) for each in emit.unpack(coefficients)]
    now = emit.unpack(state)
    outputs = []
    for x in emit.unpack(samples):
        now = _step(emit, factors, now, x)
        outputs.append(now[-2])
    return emit.context.make_tuple(emit.build, emit.result, (emit.pack(now), emit.pack(outputs)))


def _step(emit: Emitter, factors: list[Any], before: list[Any], x: Any) -> list[Any]:
    """One sample. What is late, x, is added last, so that the sections overlap in the pipeline of the CPU."""
    after = [x, before[0]]
    for section in range(len(factors) // 2):
        x2, y1, y2 = before[2 * section + 1 : 2 * section + 4]
        y = emit.fma(factors[2 * section + 1], y2, emit.build.fneg(x2))
        y = emit.fma(factors[2 * section], y1, y)
        after += [emit.build.fadd(y, after[-2]), y1]
    return after
