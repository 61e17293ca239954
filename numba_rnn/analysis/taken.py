"""What the functions of this package take: tapes and layers on the CPU."""

from __future__ import annotations

from typing import Any

from .. import validation
from ..chains import Chain, Grid, chain
from ..dispatch import CPU
from ..stack import Pass
from ..tape import Tape


def passed(tape: Any) -> Pass:
    """Return the pass of an RNN's tape on the CPU."""
    if not isinstance(tape, Tape):
        raise TypeError(f"tape must be what RNN.forward returns, got {validation.describe(tape)}")
    if tape._form.place != CPU:
        raise ValueError(
            "tape must be of a layer on the CPU, got one on the GPU: move the layer with "
            '.to("cpu") and run it there'
        )
    return tape._pass


def layer(rnn: Any) -> Any:
    """Return an RNN on the CPU."""
    from ..rnn import RNN

    if not isinstance(rnn, RNN):
        raise TypeError(f"rnn must be an RNN, got {validation.describe(rnn)}")
    if rnn.device != "cpu":
        raise ValueError('rnn must be on the CPU, got one on the GPU: move it with .to("cpu")')
    return rnn


def link(tape: Any, layer: int, direction: int) -> tuple[Chain, Grid]:
    """Return one layer and direction of a tape."""
    done = passed(tape)
    stack = done.stack
    layer = validation.index("layer", layer, len(stack.layers))
    direction = validation.index("direction", direction, stack.directions)
    grid = Grid(done.layout)
    return chain(done, grid, layer, direction), grid
