"""Eye recordings as a plain list of what happened, and the `.asc` file that edf2asc would make of them."""

from dataclasses import dataclass, field

EYE_NAMES = {"left": "LEFT", "right": "RIGHT"}


@dataclass(frozen=True)
class Block:
    """One recording block: `gaze[eye][i]` is (x, y) in tenths of px, or None."""

    first_ms: float
    eyes: tuple[str, ...]
    gaze: tuple[tuple[tuple[int, int] | None, ...], ...]
    # kind, is it the right eye's, start, end, values in tenths (None: missing)
    events: tuple[tuple[str, bool, float, float, tuple[int | None, ...]], ...] = ()

    @property
    def n(self) -> int:
        return len(self.gaze[0])


@dataclass(frozen=True)
class Model:
    """A file: blocks, messages, and how edf2asc was asked to print it."""

    rate_hz: int
    blocks: tuple[Block, ...]
    messages: tuple[tuple[float, str], ...] = ()
    stated: str = "SAMPLES"  # where the rate is: SAMPLES, RECCFG or nowhere
    velocity: bool = False
    resolution: bool = False
    inputs: bool = False
    flags: bool = True
    fractions: bool = False  # times with a decimal (-ftime), as at 2000 Hz
    newline: str = "\n"
    encoding: str = "utf-8"
    extra_lines: tuple[str, ...] = field(default=("PRESCALER\t1", "VPRESCALER\t1", "PUPIL\tAREA"))

    def ms(self, block: Block) -> list[float]:
        return [block.first_ms + 1000 / self.rate_hz * i for i in range(block.n)]

    def time(self, ms: float) -> str:
        return f"{ms:.1f}" if self.fractions else f"{int(ms)}"


def asc(model: Model) -> bytes:
    lines = ["** CONVERTED FROM a.edf using edfapi 4.2.1", "** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED", "**", ""]
    waiting = sorted(model.messages, key=lambda message: message[0])
    for block in model.blocks:
        eyes = "\t".join(EYE_NAMES[eye] for eye in block.eyes)
        rate = f"\tRATE\t{model.rate_hz:.2f}" if model.stated == "SAMPLES" else ""
        lines.append(f"START\t{model.time(block.first_ms)} \t{eyes}\tSAMPLES\tEVENTS")
        lines += model.extra_lines
        lines.append(f"EVENTS\tGAZE\t{eyes}{rate}\tTRACKING\tCR\tFILTER\t2")
        extras = "\tVEL" * model.velocity + "\tRES" * model.resolution + "\tINPUT" * model.inputs
        lines.append(f"SAMPLES\tGAZE\t{eyes}{rate}\tTRACKING\tCR\tFILTER\t2{extras}")
        if model.stated == "RECCFG":
            letters = "".join(EYE_NAMES[eye][0] for eye in block.eyes)
            lines.append(f"MSG\t{model.time(block.first_ms)} RECCFG CR {model.rate_hz} 2 1 {letters}")
        lines += [f"S{name} {'R' if right else 'L'}   {model.time(start)}" for name, right, start, _, _ in block.events]
        for i, ms in enumerate(model.ms(block)):
            while waiting and waiting[0][0] <= ms:
                lines.append(message_line(model, *waiting.pop(0)))
            lines.append(sample_line(model, block, i, ms))
        lines += [event_line(model, *event) for event in block.events]
        lines.append(f"END\t{model.time(ms + 1000 / model.rate_hz)} \tSAMPLES\tEVENTS\tRES\t  37.17\t  37.75")
        lines.append("INPUT\t123\t0")
        lines.append("BUTTON\t123\t5\t1")
    lines += [message_line(model, *message) for message in waiting]
    return "".join(line + model.newline for line in lines).encode(model.encoding)


def message_line(model: Model, ms: float, text: str) -> str:
    return f"MSG\t{model.time(ms)} " + text.replace("\n", model.newline)


def sample_line(model: Model, block: Block, i: int, ms: float) -> str:
    columns = [model.time(ms)]
    for eye in range(len(block.eyes)):
        gaze = block.gaze[eye][i]
        columns += ["   .", "   .", "    0.0"] if gaze is None else [*(f"{v / 10:7.1f}" for v in gaze), " 1200.0"]
    columns += ["   -3.4", "    ."] * model.velocity * len(block.eyes) + ["  37.10", "  37.20"] * model.resolution
    columns += ["  127.0"] * model.inputs
    if model.flags:
        columns.append("".join(".C"[any(g[i] is None for g in block.gaze)] for _ in range(1 + 2 * len(block.eyes))))
    return "\t".join(columns)


def event_line(model: Model, name: str, right: bool, start: float, end: float, values: tuple[int | None, ...]) -> str:
    duration = end - start + 1000 / model.rate_hz
    shown = ["." if value is None else f"{value / 10:7.1f}" for value in values]
    head = f"E{name} {'R' if right else 'L'}   {model.time(start)}\t{model.time(end)}\t{duration:g}"
    return "\t".join([head, *shown])
