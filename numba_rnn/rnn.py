"""The Elman RNN as the user holds it: a stack of layers, and one call of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import DTypeLike

from . import batches, validation
from .dispatch import A, GpuArray, Lazy, LazyArray, backend, lazy
from .form import Form
from .layout import Layout
from .packed import PackedSequence
from .parameters import Parametrised, generator, rnn_shapes
from .stack import Stack
from .tape import Tape

if TYPE_CHECKING:
    from .parameters import Parameter
    from .stream import Stream


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
    are allowed: h_n is h_0 there. At 0, where it has a kink, the derivative of ReLU is taken to be
    0, as torch does.

    Handing h_n on as the h_0 of the next chunk of a long sequence carries the state along, and not
    the gradient: a tape's backward ends at its own h_0, which is truncated backpropagation through
    time. What flows back further is ``grads.h_0`` of the later chunk: given to the tape of the
    chunk before as its grad_h_n, chunk by chunk, last first, it makes the whole gradient.

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
    @overload
    def __call__(
        self,
        x: Lazy,
        h_0: np.ndarray | LazyArray | None = None,
        *,
        lengths: Sequence[int] | np.ndarray | LazyArray | None = None,
    ) -> tuple[Lazy, Lazy]: ...
    def __call__(
        self,
        x: Any,
        h_0: Any = None,
        *,
        lengths: Any = None,
    ) -> tuple[Any, Any]:
        """Run the network and keep nothing for backward.

        Parameters and errors are those of `forward`. x may be a Dask array too, and then h_0 and
        lengths as well: nothing is computed before the results, Dask arrays, are asked for. They
        have the chunks of x along L and N, and the bits of one NumPy array.

        Returns
        -------
        output : ndarray or PackedSequence, shape (L, N, D·H)
        h_n : ndarray, shape (num_layers·D, N, H)
        """
        if type(x) is not np.ndarray and (tasks := lazy(x)) is not None:
            return tasks.rnn(self, x, h_0, lengths)
        form, rows = self._enter(x, lengths)
        output, h_n = self._stack.run(
            form.backend, self._flat, rows, form.first_states("h_0", h_0), form.layout,
            self._dropout, self._key(),
        )  # fmt: skip
        return form.pack(output.reshape(form.output)), form.state(h_n)

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
            is 0, and padding is never read. h_n is the state that was computed last: that of the
            last real step, in reverse that of step 0, and h_0 where there is no step. Padding lies
            behind the real steps; of input padded in front, or with a mask that has holes, keep the
            real steps alone: ``kept = [x[real[:, n], n] for n in range(N)]``, then `pad_sequence`.

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
        form, rows = self._enter(x, lengths)
        states, copy = form.first_states("h_0", h_0), form.backend.copy
        if h_0 is not None:
            states = copy(states)  # the tape refers to x alone
        done = self._stack.forward(
            form.backend, copy(self._flat), rows, states, form.layout,
            self._dropout, self._key(),
        )  # fmt: skip
        return Tape(done, form, self._shapes)

    def stream(self, batch_size: int | None = None, h_0: np.ndarray | None = None) -> Stream:
        """Return a stream: the layer takes one step at a time and carries its state along.

        Parameters
        ----------
        batch_size : int, optional
            N, how many sequences are carried along; one alone, without an axis, where left out.
        h_0 : ndarray, shape (num_layers, N, H), optional
            Initial states, without N where batch_size is left out; zeros where this is.

        Returns
        -------
        Stream
            With ``step(x_t)``, ``reset()`` and ``state``. It has a copy of the parameters, and
            dropout doesn't act in it.

        Raises
        ------
        TypeError
            If batch_size is no integer or h_0 no array of the layer's dtype.
        ValueError
            If batch_size isn't positive, h_0 of another shape, or the layer bidirectional, as then
            its output rests on later steps, or on a GPU.

        Examples
        --------
        >>> import numpy as np
        >>> import numba_rnn as nr
        >>> stream = nr.RNN(8, 64, rng=0).stream()
        >>> stream.step(np.ones(8, np.float32)).shape
        (64,)
        """
        from .stream import Stream  # it needs the CPU's kernels, which other calls may not

        if self.bidirectional:
            raise ValueError(
                "stream takes an RNN with bidirectional=False, got bidirectional=True: its output "
                "rests on later steps too"
            )
        if self.device != "cpu":
            raise ValueError('stream takes an RNN on the CPU, got one on the GPU: .to("cpu") it')
        if batch_size is not None:
            batch_size = validation.positive_int("batch_size", batch_size)
        stream = Stream(self._stack, self._flat.copy(), self.input_size, batch_size)
        stream.reset(h_0)
        return stream

    def _enter(self, x: Any, lengths: Any) -> tuple[Form, Any]:
        """Check x and lengths; return the form of the call, and x as rows."""
        form = self._last_form
        if form is not None and lengths is None and (rows := form.rows_if_alike(x)) is not None:
            return form, rows
        if isinstance(x, PackedSequence):
            form, data = self._packed_form(x, lengths)
        else:
            form, data = self._padded_form(x, lengths)
            if lengths is None and form.small:
                self._last_form = form
        return form, form.input_rows(data)

    def _packed_form(self, x: PackedSequence, lengths: Any) -> tuple[Form, Any]:
        if lengths is not None:
            raise ValueError("lengths must be None with a PackedSequence, which has its own")
        layout = batches.packed(x)
        data = validation.features(
            "x.data", x.data, self.dtype, self.input_size, (("sum of lengths",),), self._place
        )
        return self._form(data, layout, batched=True, batch_first=False), data

    def _padded_form(self, x: Any, lengths: Any) -> tuple[Form, Any]:
        axes = (("N", "L") if self.batch_first else ("L", "N"), ("L",))
        x = validation.features("x", x, self.dtype, self.input_size, axes, self._place)
        batched = x.ndim == 3
        if lengths is not None and not batched:
            raise ValueError(f"lengths must be None with unbatched input, got x of shape {x.shape}")
        batch_first = self.batch_first and batched
        L, N = (*x.shape[:-1], 1)[:2]
        if batch_first:
            L, N = N, L
        layout = batches.padded(L, N, batch_first, lengths)
        return self._form(x, layout, batched, batch_first), x

    def _form(self, data: Any, layout: Layout, batched: bool, batch_first: bool) -> Form:
        S, H, D = self.num_layers * self._directions, self.hidden_size, self._directions
        inside = S, layout.batch, H
        return Form(
            backend(data), layout, tuple(data.shape), D * H, inside if batched else (S, H), inside,
            batch_first, self.dtype, self._place,
        )  # fmt: skip

    def _key(self) -> np.uint64 | None:
        """Draw the key of a call's dropout masks; None where nothing is dropped."""
        if not self._dropout or not self.training or self.num_layers == 1:
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
