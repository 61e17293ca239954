"""What a forward pass keeps for its backward, and the gradients that come of it.

A tape owns everything that it needs but x: a copy of the weights, its outputs and initial state,
the key of its dropout masks. So tapes don't know of each other, and one may be played backward
any number of times, from several threads, in training and in evaluation mode.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import numpy as np

from . import validation
from .dispatch import CPU, A, GpuArray
from .form import Form
from .packed import PackedSequence
from .parameters import Parameters, Shapes, sample_views, views
from .samples import of_each_sample
from .stack import Pass
from .truncation import truncated

Output = TypeVar("Output", bound=np.ndarray | GpuArray | PackedSequence)  # a kind, as x was


@dataclass(frozen=True, eq=False)
class _ParameterGradients:
    flat: np.ndarray
    _shapes: Shapes = field(repr=False)

    @property
    def parameters(self) -> Parameters:
        """Gradients by parameter name, in the layer's order: a dict of views of `flat`."""
        return Parameters(views(self.flat, self._shapes))


@dataclass(frozen=True, eq=False)
class Gradients(_ParameterGradients, Generic[Output, A]):
    """Gradients of a loss with respect to everything an `RNN` was called with.

    Attributes
    ----------
    input : ndarray or PackedSequence, shape of x
        0 in padding.
    h_0 : ndarray, shape (num_layers·D, N, H), without N where x was unbatched
        Of the initial states, also where h_0 was left out. (Not of the states of step 0: those are
        in `states`.)
    parameters : dict of str to ndarray
        By parameter name, in the layer's order.
    flat : ndarray, shape (P,)
        The memory of `parameters`, in the order of ``rnn.flat_parameters``.
    states : ndarray or None, shape (num_layers·D, L, N, H)
        dL/dh_t of every layer and direction, the total gradient: what the loss and the layer above
        see of a state at t directly, and what flows back from the step computed after it
        (`numba_rnn.analysis.gradient_flow` has the two apart). Time-major, 0 beyond a length;
        without N where x was unbatched; (num_layers·D, sum of lengths, H) where it was packed; None
        where it wasn't asked for.
    samples : ndarray or None, shape (N, P)
        The gradient of every sample by itself: `flat` is their sum. None where it wasn't asked for.
    """

    input: Output
    h_0: A
    states: np.ndarray | None
    samples: np.ndarray | None = None

    @property
    def sample_parameters(self) -> Parameters | None:
        """`samples` by parameter name, (N, *shape): a dict of views; None where `samples` is."""
        if self.samples is None:
            return None
        return Parameters(sample_views(self.samples, self._shapes))


@dataclass(frozen=True, eq=False)
class CellGradients(_ParameterGradients, Generic[A]):
    """Gradients with respect to what an `RNNCell` was called with.

    Attributes
    ----------
    input : ndarray, shape of x
    h : ndarray, shape (N, H) or (H,)
    parameters : dict of str to ndarray
    flat : ndarray, shape (P,)
    """

    input: A
    h: A


@dataclass(frozen=True, eq=False)
class LinearGradients(_ParameterGradients, Generic[A]):
    """Gradients with respect to what a `Linear` was called with.

    Attributes
    ----------
    input : ndarray, shape of x
    parameters : dict of str to ndarray
    flat : ndarray, shape (P,)
    """

    input: A


class _Copied:
    """A deep copy copies what is handed out, and shares what backward needs: it never changes."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = copy.copy(self)
        shown = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        twin.__dict__.update(copy.deepcopy(shown, memo))
        return twin


class Tape(_Copied, Generic[Output, A]):
    """A forward pass of an `RNN`, ready for `backward`.

    ``output, h_n = tape`` works too. What a tape hands out is read-only (on a GPU, where
    memory can't be protected, it must not be changed before the last backward). It refers to the
    input x, which must not be changed before the last backward; everything else it keeps copies of,
    so the layer may be trained on meanwhile.

    Attributes
    ----------
    output : ndarray or PackedSequence, shape (L, N, D·H)
        Or batch first, unbatched or packed, as x was.
    h_n : ndarray, shape (num_layers·D, N, H)
        The states computed last: of a sequence's last real step, in reverse of step 0. To hand them
        on as the h_0 of another call truncates the gradient there, see the notes of `RNN`.
    layer_outputs : list of ndarray
        The output of each layer before dropout, in the layout of `output` (for packed input, the
        data).
    """

    output: Output
    h_n: A
    layer_outputs: list[A]

    def __init__(self, done: Pass, form: Form, shapes: Shapes) -> None:
        read_only = done.backend.read_only
        self.layer_outputs = [read_only(rows.reshape(form.output)) for rows in done.outputs]
        self.output = form.pack(self.layer_outputs[-1])
        self.h_n = read_only(form.state(done.h_n))
        self._pass, self._form, self._shapes = done, form, shapes

    def __iter__(self) -> Iterator[Any]:
        return iter((self.output, self.h_n))

    def backward(
        self,
        grad_output: np.ndarray | GpuArray | PackedSequence | None = None,
        grad_h_n: np.ndarray | GpuArray | None = None,
        *,
        state_gradients: bool = False,
        truncation: int | tuple[int, int] | None = None,
        per_sample: bool = False,
    ) -> Gradients[Output, A]:
        """Backpropagate through time.

        Parameters
        ----------
        grad_output : ndarray or PackedSequence, shape of output, optional
            dL/d(output). For packed input, a PackedSequence of the same layout or its data. What
            lies beyond a length is not read. None: the loss doesn't depend on output.
        grad_h_n : ndarray, shape of h_n, optional
            dL/d(h_n). At least one of the two must be given.
        state_gradients : bool, default False
            Whether to return dL/dh_t of every state too, the total gradient.
        truncation : int or tuple of two int, optional
            (k1, k2), k2 >= k1, truncates: of each k1 steps, counted from where a direction starts,
            the loss flows back k2 steps from the last of the k1, and no further (Williams and Peng
            1990). k is (k, k), which is what detaching the state between chunks of k steps does. A
            sequence no longer than k2 has its whole gradient. In a stack with two directions each
            layer and direction is truncated by itself. On the CPU.
        per_sample : bool, default False
            Whether to return the gradient of every sample by itself too, in `samples`. On the CPU.

        Returns
        -------
        Gradients

        Raises
        ------
        TypeError
            If a gradient is no array or of another dtype than the layer, or truncation no integers.
        ValueError
            If a gradient has another shape than what it is the gradient of, or none is given; if
            truncation isn't positive or has k2 < k1; or if it or per_sample is asked for on a GPU.

        References
        ----------
        P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proceedings of
        the IEEE 78(10), 1990.
        R. J. Williams and J. Peng, "An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories", Neural Computation 2(4), 1990.

        Examples
        --------
        >>> import numpy as np
        >>> import numba_rnn as nr
        >>> rnn = nr.RNN(2, 3, rng=0)
        >>> tape = rnn.forward(np.ones((4, 1, 2), np.float32))
        >>> grads = tape.backward(np.ones_like(tape.output), state_gradients=True)
        >>> grads.input.shape, grads.states.shape
        ((4, 1, 2), (1, 4, 1, 3))
        >>> truncated = tape.backward(np.ones_like(tape.output), truncation=(1, 2))
        >>> whole = tape.backward(np.ones_like(tape.output), truncation=(1, 4))
        >>> bool(np.all(truncated.flat == grads.flat)), bool(np.all(whole.flat == grads.flat))
        (False, True)
        """
        done, form = self._pass, self._form
        state_gradients = validation.flag("state_gradients", state_gradients)
        per_sample = validation.flag("per_sample", per_sample)
        windows = None if truncation is None else validation.truncation("truncation", truncation)
        if form.place != CPU and (windows is not None or per_sample):
            what = "per_sample=True" if windows is None else f"truncation={truncation}"
            raise ValueError(
                f"{what} takes a tape on the CPU, got one on the GPU: move the layer with "
                '.to("cpu") and run it there'
            )
        grad_output, grad_h_n = self._incoming(grad_output, grad_h_n)
        samples = None
        if windows is not None and windows[1] < done.layout.longest:
            dx, dh_init, gradients, states, samples = truncated(
                done, grad_output, grad_h_n, windows, state_gradients, per_sample
            )
        else:
            both = state_gradients or per_sample
            dx, dh_init, gradients, states = done.backward(grad_output, grad_h_n, both)
            if per_sample:
                samples = of_each_sample(done, states)
        return Gradients(
            input=form.pack(dx.reshape(form.input)),
            h_0=form.state(dh_init),
            flat=gradients,
            states=form.time_major(states) if state_gradients else None,
            samples=samples,
            _shapes=self._shapes,
        )

    def _incoming(self, grad_output: Any, grad_h_n: Any) -> tuple[Any, Any]:
        """Check the gradients that come in; return them as rows and states, or None."""
        form = self._form
        if grad_output is None and grad_h_n is None:
            raise ValueError("grad_output or grad_h_n must be given, got None for both")
        if grad_output is not None:
            name = "grad_output"
            if isinstance(grad_output, PackedSequence):
                name, grad_output = "grad_output.data", form.data_of(grad_output)
            grad_output = form.output_rows(name, grad_output)
        if grad_h_n is not None:
            grad_h_n = form.state_rows("grad_h_n", grad_h_n)
        return grad_output, grad_h_n


class CellTape(_Copied, Generic[A]):
    """A step of an `RNNCell`, ready for ``backward(grad_h)``.

    Attributes
    ----------
    h : ndarray, shape (N, H) or (H,)
        The new state, read-only.
    """

    h: A

    def __init__(self, done: Pass, form: Form, shapes: Shapes) -> None:
        self.h = done.backend.read_only(done.outputs[0].reshape(form.output))
        self._pass, self._form, self._shapes = done, form, shapes

    def backward(self, grad_h: np.ndarray | GpuArray) -> CellGradients[A]:
        """Return the gradients of a loss, given dL/dh of the new state, shape of `h`.

        Raises
        ------
        TypeError, ValueError
            If grad_h is no array of the layer's dtype and the shape of `h`.
        """
        done, form = self._pass, self._form
        grad = form.output_rows("grad_h", grad_h)
        dx, dh_init, gradients, _ = done.backward(grad, None)
        return CellGradients(
            input=dx.reshape(form.input),
            h=form.state(dh_init),
            flat=gradients,
            _shapes=self._shapes,
        )


class LinearTape(_Copied, Generic[A]):
    """A forward pass of a `Linear`, ready for ``backward(grad_output)``.

    Attributes
    ----------
    output : ndarray, shape (..., out_features)
        Read-only.
    """

    output: A

    def __init__(
        self,
        backend: Any,
        weights: Any,
        x: Any,
        y: Any,
        leading: tuple[int, ...],
        shapes: Shapes,
        dtype: np.dtype,
        place: str,
    ) -> None:
        """Keep weights (P,), x as rows (M, I) and y (M, O); leading are the axes of M outside."""
        self._backend, self._weights, self._x, self._leading = backend, weights, x, leading
        self._shapes, self._dtype, self._place = shapes, dtype, place
        self._shape = *leading, y.shape[1]
        self.output = backend.read_only(y.reshape(self._shape))

    def backward(self, grad_output: np.ndarray | GpuArray) -> LinearGradients[A]:
        """Return the gradients of a loss, given dL/d(output), shape of `output`.

        Raises
        ------
        TypeError, ValueError
            If grad_output is no array of the layer's dtype and the shape of `output`.
        """
        backend, x, shape = self._backend, self._x, self._shape
        grad = validation.shaped("grad_output", grad_output, shape, self._dtype, self._place)
        dx, gradients = backend.linear_backward(
            x, self._weights, shape[-1], backend.rows(grad, shape[-1])
        )
        return LinearGradients(
            input=dx.reshape(*self._leading, x.shape[1]), flat=gradients, _shapes=self._shapes
        )
