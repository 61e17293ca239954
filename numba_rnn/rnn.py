"""The Elman RNN as the user holds it: a stack of layers, and one call of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import DTypeLike

from . import batches, validation
from .dispatch import A, GpuArray, backend
from .layout import Layout
from .packed import PackedSequence
from .parameters import Parametrised, generator, rnn_shapes
from .stack import Stack
from .tape import Gradients, Tape

if TYPE_CHECKING:
    from .parameters import Parameter


class RNN(Parametrised):
    """Elman recurrent network: stacked layers, one or two directions, tanh or ReLU.

    For every layer and step, with f the nonlinearity,

        h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    where x_t is the input or, above the first layer, the output of the layer below.

    Parameters
    ----------
    input_size : int
        Features of the input, I.
    hidden_size : int
        Units of every layer and direction, H.
    num_layers : int, default 1
        Layers on top of one another.
    nonlinearity : {"tanh", "relu"}, default "tanh"
    bias : bool, default True
        Whether there are b_ih and b_hh.
    batch_first : bool, default False
        Whether batched input and output are (N, L, features) instead of (L, N, features). States
        are (num_layers·D, N, H) all the same.
    dropout : float, default 0.0
        Probability with which an element of the output of every layer but the last is set to 0
        in training mode, the others being scaled by 1 / (1 - dropout).
    bidirectional : bool, default False
        Whether a second direction (D = 2) reads each sequence from its end. Output is [forward,
        reverse] on the last axis; the reverse h_n belongs to t = 0.
    dtype : dtype, default np.float32
        np.float32 or np.float64, of parameters, input and output.
    rng : None, int or numpy.random.Generator, default None
        Source of the initial parameters, U(-1/sqrt(H), 1/sqrt(H)), and of dropout.

    Attributes
    ----------
    weight_ih_l{k}, weight_hh_l{k}, bias_ih_l{k}, bias_hh_l{k} : ndarray
        Parameters of layer k, shapes (H, I) (or (H, D·H) above the first layer), (H, H), (H,) and
        (H,), and the same with ``_reverse`` behind the name. They can be assigned to. (Type
        checkers know those of four layers; ``parameters`` has all.)
    parameters : dict of str to ndarray
        All of them, live, in torch's order.
    flat_parameters : ndarray, shape (P,)
        One vector that is their memory.
    training : bool
        Whether dropout acts; True for a new layer, as in torch.
    device : str
        "cpu", or "cuda" after ``rnn.to("cuda")``: then arrays are given on the GPU, CuPy's, torch's
        or Numba's, and what comes out is of the kind of x.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Warns
    -----
    UserWarning
        If dropout > 0 with one layer, where it has no effect.

    Notes
    -----
    The semantics, names and defaults are those of torch.nn.RNN, except that L = 0 and lengths of 0
    are allowed: h_n is h_0 there.

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.

    Examples
    --------
    >>> import numpy as np
    >>> import numba_rnn as nr
    >>> rnn = nr.RNN(4, 8, num_layers=2, bidirectional=True, rng=0)
    >>> x = np.zeros((5, 3, 4), np.float32)
    >>> output, h_n = rnn(x)
    >>> output.shape, h_n.shape
    ((5, 3, 16), (4, 3, 8))
    >>> tape = rnn.forward(x, lengths=[5, 2, 0])
    >>> grads = tape.backward(grad_h_n=np.ones_like(tape.h_n))
    >>> list(grads.parameters)[:4]
    ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
    """

    _fixed = frozenset(
        ("input_size", "hidden_size", "num_layers", "nonlinearity", "bidirectional", "batch_first")
    )

    if TYPE_CHECKING:
        weight_ih_l0 = weight_hh_l0 = bias_ih_l0 = bias_hh_l0 = Parameter()
        weight_ih_l1 = weight_hh_l1 = bias_ih_l1 = bias_hh_l1 = Parameter()
        weight_ih_l2 = weight_hh_l2 = bias_ih_l2 = bias_hh_l2 = Parameter()
        weight_ih_l3 = weight_hh_l3 = bias_ih_l3 = bias_hh_l3 = Parameter()
        weight_ih_l0_reverse = weight_hh_l0_reverse = Parameter()
        bias_ih_l0_reverse = bias_hh_l0_reverse = Parameter()
        weight_ih_l1_reverse = weight_hh_l1_reverse = Parameter()
        bias_ih_l1_reverse = bias_hh_l1_reverse = Parameter()
        weight_ih_l2_reverse = weight_hh_l2_reverse = Parameter()
        bias_ih_l2_reverse = bias_hh_l2_reverse = Parameter()
        weight_ih_l3_reverse = weight_hh_l3_reverse = Parameter()
        bias_ih_l3_reverse = bias_hh_l3_reverse = Parameter()

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        self.input_size = validation.positive_int("input_size", input_size)
        self.hidden_size = validation.positive_int("hidden_size", hidden_size)
        self.num_layers = validation.positive_int("num_layers", num_layers)
        self.nonlinearity = validation.choice(
            "nonlinearity", nonlinearity, validation.NONLINEARITIES
        )
        self._has_bias = validation.flag("bias", bias)
        self.batch_first = validation.flag("batch_first", batch_first)
        self.dropout = dropout
        self.bidirectional = validation.flag("bidirectional", bidirectional)
        dtype = validation.float_dtype("dtype", dtype)
        self.training = True
        self._rng = generator(rng)
        self._drawing = threading.Lock()
        layers = rnn_shapes(
            self.input_size, self.hidden_size, self.num_layers, self._has_bias, self._directions
        )
        self._stack = Stack(tuple(layers), self.hidden_size, self._directions, self.nonlinearity)
        shapes = {name: shape for layer in layers for name, shape in layer.items()}
        self._create(shapes, 1 / math.sqrt(self.hidden_size), dtype, self._rng)

    @property
    def dropout(self) -> float:
        """Probability with which an element between layers is dropped; it can be assigned."""
        return self._dropout

    @dropout.setter
    def dropout(self, value: float) -> None:
        self._dropout = validation.dropout("dropout", value, self.num_layers)

    @property
    def bias(self) -> bool:
        """Whether the layers have biases."""
        return self._has_bias

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def __repr__(self) -> str:
        parts = [str(self.input_size), str(self.hidden_size)]
        defaults = {
            "num_layers": 1,
            "nonlinearity": "tanh",
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        for name, default in defaults.items():
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)!r}")
        if self.dtype != np.float32:
            parts.append(f"dtype={self.dtype}")
        return f"RNN({', '.join(parts)})"

    def train(self, mode: bool = True) -> RNN:
        """Switch dropout on (or off, with mode False) and return the layer."""
        self.training = validation.flag("mode", mode)
        return self

    def eval(self) -> RNN:
        """Switch dropout off and return the layer."""
        return self.train(False)

    @overload
    def __call__(
        self,
        x: PackedSequence,
        h_0: np.ndarray | GpuArray | None = None,
        *,
        lengths: None = None,
    ) -> tuple[PackedSequence, np.ndarray]: ...
    @overload
    def __call__(
        self,
        x: A,
        h_0: np.ndarray | GpuArray | None = None,
        *,
        lengths: Sequence[int] | np.ndarray | None = None,
    ) -> tuple[A, A]: ...
    def __call__(
        self,
        x: Any,
        h_0: Any = None,
        *,
        lengths: Sequence[int] | np.ndarray | None = None,
    ) -> tuple[Any, Any]:
        """Run the network and keep nothing for backward.

        Parameters and errors are those of `forward`.

        Returns
        -------
        output : ndarray or PackedSequence, shape (L, N, D·H)
        h_n : ndarray, shape (num_layers·D, N, H)
        """
        call = _Call(self, x, h_0, lengths)
        (output,), h_n = call.run(self._flat, keep=False)
        return call.like_input(output), call.state(h_n)

    @overload
    def forward(
        self,
        x: PackedSequence,
        h_0: np.ndarray | GpuArray | None = None,
        *,
        lengths: None = None,
    ) -> Tape[PackedSequence, np.ndarray]: ...
    @overload
    def forward(
        self,
        x: A,
        h_0: np.ndarray | GpuArray | None = None,
        *,
        lengths: Sequence[int] | np.ndarray | None = None,
    ) -> Tape[A, A]: ...
    def forward(
        self,
        x: Any,
        h_0: Any = None,
        *,
        lengths: Sequence[int] | np.ndarray | None = None,
    ) -> Tape[Any, Any]:
        """Run the network and keep what backward needs.

        Parameters
        ----------
        x : ndarray or PackedSequence, shape (L, N, I)
            (N, L, I) with batch_first; (L, I) for a single sequence. Not modified, and not to be
            changed before the last backward: the tape refers to it.
        h_0 : ndarray, shape (num_layers·D, N, H), optional
            Initial states, layer by layer, forward then reverse; (num_layers·D, H) for a single
            sequence. Zeros where left out.
        lengths : array_like of int, shape (N,), optional
            How many steps of each sample are real, in any order, 0 allowed. Output beyond a length
            is 0, h_n is the last real state, and padding is never read. It lies behind the real
            steps; of input padded in front, or with a mask that has holes, keep the real steps
            alone: ``kept = [x[real[:, n], n] for n in range(N)]``, then `pad_sequence`.

        Returns
        -------
        Tape
            With output, h_n, layer_outputs and backward; ``output, h_n = tape`` works.

        Raises
        ------
        TypeError
            If x or h_0 is no array of the layer's dtype, or lengths are not integers.
        ValueError
            If a shape or a length doesn't fit, or a PackedSequence is malformed.

        Examples
        --------
        >>> import numpy as np
        >>> import numba_rnn as nr
        >>> rnn = nr.RNN(1, 4, batch_first=True, dtype=np.float64, rng=0)
        >>> tape = rnn.forward(np.ones((2, 3, 1)), lengths=[3, 1])
        >>> tape.output[1, 1:]
        array([[0., 0., 0., 0.],
               [0., 0., 0., 0.]])
        """
        call = _Call(self, x, h_0, lengths)
        if h_0 is not None:
            call.h_0 = call.backend.copy(call.h_0)
        weights = call.backend.copy(self._flat)
        outputs, h_n = call.run(weights, keep=True)
        read_only = call.backend.read_only
        layer_outputs = [read_only(call.shaped(output)) for output in outputs]
        output = layer_outputs[-1]
        if call.packing is not None:
            output = PackedSequence._of_checked(output, *call.packing)

        def backward(grad_output: Any, grad_h_n: Any, state_gradients: bool) -> Gradients:
            return call.backward(weights, outputs, grad_output, grad_h_n, state_gradients)

        return Tape(output, read_only(call.state(h_n)), layer_outputs, backward)

    def _key(self) -> np.uint64 | None:
        """Draw the key of a call's dropout masks; None where nothing is dropped."""
        if not (self.training and self.dropout > 0 and self.num_layers > 1):
            return None
        with self._drawing:
            return np.uint64(self._rng.integers(2**63))

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_drawing"]  # locks don't travel
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._drawing = threading.Lock()


class _Call:
    """One call of an `RNN`: its checked arguments, and the way back to the caller's layout."""

    def __init__(self, rnn: RNN, x: Any, h_0: Any, lengths: Any) -> None:
        self.stack, self.dtype, self.dropout = rnn._stack, rnn.dtype, rnn.dropout
        self.place = rnn._place
        self.shapes, self.batch_first = rnn._shapes, rnn.batch_first
        features, states = rnn.input_size, rnn.num_layers * rnn._directions
        self.width = rnn._directions * rnn.hidden_size
        self.unbatched = False
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise ValueError("lengths must be None with a PackedSequence, which has its own")
            self.layout = batches.packed(x)
            expected = (("sum of lengths",),)
            data = validation.features("x.data", x.data, self.dtype, features, expected, self.place)
        else:
            expected = (("N", "L") if self.batch_first else ("L", "N"), ("L",))
            data = validation.features("x", x, self.dtype, features, expected, self.place)
            self.unbatched = data.ndim == 2
            self.layout = self._padded_layout(data, lengths)
        self.packing = self.layout.packing
        self.leading = data.shape[:-1]
        batch = () if self.unbatched else (self.layout.batch,)
        self.state_shape = (states, *batch, rnn.hidden_size)
        self.backend = backend(data)
        inside = (states, self.layout.batch, rnn.hidden_size)
        if h_0 is None:
            self.h_0 = self.backend.zeros(inside, self.dtype)
        else:
            h_0 = validation.shaped("h_0", h_0, self.state_shape, self.dtype, self.place)
            self.h_0 = self.backend.rows(h_0, rnn.hidden_size).reshape(inside)
        self.x = self.backend.rows(data, features)
        self.key = rnn._key()

    def _padded_layout(self, data: np.ndarray, lengths: Any) -> Layout:
        batch_first = self.batch_first and not self.unbatched
        if self.unbatched:
            steps, batch = data.shape[0], 1
        else:
            batch, steps = data.shape[:2] if batch_first else data.shape[1::-1]
        if self.unbatched and lengths is not None:
            raise ValueError(
                f"lengths must be None with unbatched input, got x of shape {data.shape}"
            )
        return batches.padded(steps, batch, batch_first, lengths)

    def run(self, weights: np.ndarray, keep: bool) -> tuple[list[np.ndarray], np.ndarray]:
        return self.stack.forward(
            self.backend, weights, self.x, self.h_0, self.layout, self.dropout, self.key, keep
        )

    def shaped(self, rows: np.ndarray) -> np.ndarray:
        """Rows with the leading axes of the caller's x."""
        return rows.reshape(*self.leading, rows.shape[1])

    def like_input(self, rows: np.ndarray) -> np.ndarray | PackedSequence:
        """Rows as what the caller's x was: packed for packed."""
        if self.packing is None:
            return self.shaped(rows)
        return PackedSequence._of_checked(rows, *self.packing)

    def state(self, h: np.ndarray) -> np.ndarray:
        return h.reshape(self.state_shape)

    def backward(
        self,
        weights: np.ndarray,
        outputs: list[np.ndarray],
        grad_output: Any,
        grad_h_n: Any,
        state_gradients: Any,
    ) -> Gradients:
        """Check gradients, run the stack backward and shape what comes out."""
        state_gradients = validation.flag("state_gradients", state_gradients)
        if grad_output is None and grad_h_n is None:
            raise ValueError("grad_output or grad_h_n must be given, got None for both")
        if grad_output is not None:
            name = "grad_output"
            if isinstance(grad_output, PackedSequence):
                name, grad_output = "grad_output.data", self._data_of(grad_output)
            shape = (*self.leading, self.width)
            grad_output = validation.shaped(name, grad_output, shape, self.dtype, self.place)
            grad_output = self.backend.rows(grad_output, self.width)
        if grad_h_n is not None:
            grad_h_n = validation.shaped(
                "grad_h_n", grad_h_n, self.state_shape, self.dtype, self.place
            )
            H = self.stack.hidden_size
            grad_h_n = self.backend.rows(grad_h_n, H).reshape(self.h_0.shape)
        dx, dh_0, gradients, states = self.stack.backward(
            self.backend, weights, self.x, self.h_0, self.layout, self.dropout, self.key, outputs,
            grad_output, grad_h_n, state_gradients,
        )  # fmt: skip
        return Gradients(
            input=self.like_input(dx),
            h_0=self.state(dh_0),
            flat=gradients,
            states=None if states is None else self._time_major(states),
            _shapes=self.shapes,
        )

    def _data_of(self, grad_output: PackedSequence) -> np.ndarray:
        """Rows of a packed gradient, which must be laid out as x was."""
        if self.packing is not None and batches.packed(grad_output) is self.layout:
            return grad_output.data
        return validation.same_packing("grad_output", grad_output, self.packing)

    def _time_major(self, states: list[np.ndarray]) -> np.ndarray:
        """dL/dh_t of all layers, (R, D·H) each, as (num_layers·D, L, N, H), or packed rows."""
        swap = self.batch_first and len(self.leading) == 2
        return self.backend.time_major(states, self.leading, self.stack.hidden_size, swap)
