"""Parameters: names and shapes, initial values, and the one flat vector they live in."""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Never, Self

import numpy as np

from . import devices, dispatch, sharing, validation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    # For type checkers, to whom a layer has the parameters that its class lists, and no others.

    class Parameter:
        """An array that can be assigned to."""

        def __get__(self, layer: Any, kind: Any = None) -> np.ndarray: ...
        def __set__(self, layer: Any, value: ArrayLike) -> None: ...

    class OptionalParameter:
        """One that may not be there."""

        def __get__(self, layer: Any, kind: Any = None) -> np.ndarray | None: ...
        def __set__(self, layer: Any, value: ArrayLike) -> None: ...


Shapes = dict[str, tuple[int, ...]]


def cell_shapes(input_size: int, hidden_size: int, bias: bool, suffix: str = "") -> Shapes:
    """Names and shapes of the parameters of one layer and direction."""
    shapes: Shapes = {
        f"weight_ih{suffix}": (hidden_size, input_size),
        f"weight_hh{suffix}": (hidden_size, hidden_size),
    }
    if bias:
        shapes[f"bias_ih{suffix}"] = (hidden_size,)
        shapes[f"bias_hh{suffix}"] = (hidden_size,)
    return shapes


def rnn_shapes(
    input_size: int, hidden_size: int, num_layers: int, bias: bool, directions: int
) -> list[Shapes]:
    """Names and shapes of the parameters of each layer, in torch's order."""
    layers = []
    for layer in range(num_layers):
        features = input_size if layer == 0 else directions * hidden_size
        shapes: Shapes = {}
        for suffix in ("", "_reverse")[:directions]:
            shapes |= cell_shapes(features, hidden_size, bias, f"_l{layer}{suffix}")
        layers.append(shapes)
    return layers


def linear_shapes(in_features: int, out_features: int, bias: bool) -> Shapes:
    """Names and shapes of the parameters of a linear map."""
    shapes: Shapes = {"weight": (out_features, in_features)}
    if bias:
        shapes["bias"] = (out_features,)
    return shapes


def size(shapes: Shapes) -> int:
    """Count the numbers that these parameters have together."""
    return sum(math.prod(shape) for shape in shapes.values())


def views(flat: Any, shapes: Shapes) -> dict[str, Any]:
    """Cut a flat vector into the parameters that live in it, one after the other."""
    result, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        result[name] = flat[start:stop].reshape(shape)
        start = stop
    return result


def sample_views(samples: Any, shapes: Shapes) -> dict[str, Any]:
    """Cut vectors, (N, P), into parameters, (N, *shape)."""
    result, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        result[name] = samples[:, start:stop].reshape(len(samples), *shape)
        start = stop
    return result


def places(shapes: Shapes, directions: int) -> np.ndarray:
    """Where w_ih, w_hh, b_ih, b_hh of each direction start in a layer's own vector.

    Returns an array of int64, shape (D, 4), with -1 for biases that are not there.
    """
    starts = np.cumsum([0, *(math.prod(shape) for shape in shapes.values())])[:-1]
    result = np.full((directions, 4), -1, np.int64)
    each = len(shapes) // directions
    result[:, :each] = starts.reshape(directions, each)
    return result


class Parameters(dict[str, np.ndarray]):
    """Arrays by parameter name. They can be written to; another array in the place of one can't.

    It would be nobody's: what computes has the arrays themselves.
    """

    _instead = "parameters[{0!r}][...] = value"

    def __setitem__(self, name: Never, value: Never) -> None:
        if name not in self:
            raise TypeError(f"there is no parameter {name!r}; there are {', '.join(self)}")
        raise TypeError(
            f"parameters has the arrays themselves, and {name!r} can't become another one: write "
            f"into it, {self._instead.format(name)}"
        )

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "parameters can't be changed as a dict, only its arrays can; dict(parameters) is a "
            "dict of your own"
        )

    __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def _refuse_call(self) -> Any:
        raise TypeError("parameters is no method but a dict of arrays: leave out the brackets")

    if not TYPE_CHECKING:  # a type checker says it itself
        __call__ = _refuse_call

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # copies are a dict of arrays of their own


class LayersParameters(Parameters):
    """Those of a layer, which assigns to them too."""

    _instead = "layer.parameters[{0!r}][...] = value or layer.{0} = value"


class Parametrised:
    """Base of the layers: named parameters that are views of one flat vector.

    Reading ``layer.weight_ih_l0`` gives the live array, assigning to it copies values into it.
    """

    _fixed: ClassVar[frozenset[str]] = frozenset()  # what the shapes of the parameters rest on
    _shapes: Shapes
    _flat: Any  # an ndarray, or Numba's device array
    _place: str  # of it: "cpu", "cuda:0" and so on
    _views: dict[str, Any]
    _last_form: Any = None  # what the last call was like, for the next, which most are like

    def _create(
        self, shapes: Shapes, bound: float, dtype: np.dtype, rng: np.random.Generator
    ) -> None:
        """Draw every parameter from U(-bound, bound), in order, as torch does."""
        flat = rng.uniform(-bound, bound, size(shapes)).astype(dtype)
        object.__setattr__(self, "_shapes", shapes)
        self._adopt(flat)

    def _adopt(self, flat: np.ndarray) -> None:
        """Make a vector, on the CPU or a GPU, the memory of the parameters."""
        object.__setattr__(self, "_flat", flat)
        object.__setattr__(self, "_last_form", None)  # it may have been for another place
        object.__setattr__(self, "_place", dispatch.place(flat))
        object.__setattr__(self, "_views", views(flat, self._shapes))
        object.__setattr__(self, "_flat_view", flat[:])  # ours keeps its shape whatever comes

    def _look_up(self, name: str) -> np.ndarray:
        # Called only where ordinary look-up finds nothing; early on, _views itself may be missing.
        found = self.__dict__.get("_views", {}).get(name)
        if found is None:
            message = f"{type(self).__name__} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=self)  # Python adds what may be meant
        return found

    def _assign(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_shapes", ()):
            checked = validation.parameter(name, value, self._shapes[name], self.dtype, self._place)
            devices.assign(self._views[name], checked)
        elif name in self._fixed and name in self.__dict__:
            raise AttributeError(
                f"{name} of a {type(self).__name__} can't be changed; build a new layer"
            )
        elif name == "parameters":
            raise AttributeError(
                f"parameters of a {type(self).__name__} can't be assigned to; copy values into all "
                "of them with load_state_dict"
            )
        elif name.startswith(("weight", "bias")):
            known = ", ".join(self._shapes)
            raise AttributeError(f"{type(self).__name__} has no parameter {name!r}; it has {known}")
        elif (
            name[:1] != "_" and not hasattr(self, name) and (meant := self._meant(name)) is not None
        ):
            raise AttributeError(
                f"{type(self).__name__} has no parameter {name!r}; did you mean {meant}?"
            )
        else:
            object.__setattr__(self, name, value)

    if not TYPE_CHECKING:  # a type checker would take every name for a parameter
        __getattr__, __setattr__ = _look_up, _assign

    def _meant(self, name: str) -> str | None:
        """The parameter that a new attribute's name may be a misspelling of."""
        shapes = self.__dict__.get("_shapes", ())
        return next(iter(difflib.get_close_matches(name, shapes, 1, 0.8)), None)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._shapes]

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64: of the parameters, the input and the output."""
        return self._flat.dtype

    @property
    def parameters(self) -> Parameters:
        """Live arrays by name, in torch's order: a dict, whose arrays can be written to."""
        return LayersParameters(self._views)

    @property
    def flat_parameters(self) -> np.ndarray:
        """All parameters as one vector, shape (P,), which is their memory.

        What is written into it, by an optimiser or by ``layer.flat_parameters[:] = vector``, is
        what the layer computes with.
        """
        return self._flat_view

    @flat_parameters.setter
    def flat_parameters(self, value: np.ndarray) -> None:
        checked = validation.parameter(
            "flat_parameters", value, self._flat.shape, self._flat.dtype, self._place
        )
        devices.assign(self._flat, checked)

    @property
    def device(self) -> str:
        """Where the parameters are, and where input must be: "cpu" or "cuda"."""
        return "cpu" if self._place == dispatch.CPU else "cuda"

    def to(self, device: Literal["cpu", "cuda"]) -> Self:
        """Move the parameters to the GPU or back, in place, and return the layer.

        On the GPU they are Numba device arrays. Arrays that `parameters` and `flat_parameters` gave
        before the move are no longer the layer's: make an optimiser after it.

        Parameters
        ----------
        device : {"cpu", "cuda"}
            "cuda" is Numba's current GPU.

        Raises
        ------
        ValueError
            If device is another word.
        ModuleNotFoundError
            If numba-cuda, an extra of this package, is not installed.
        RuntimeError
            If there is no GPU, or no driver for it.
        """
        device = validation.choice("device", device, ("cpu", "cuda"))
        if device != self.device:
            self._adopt(devices.moved(self._flat, device))
        return self

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the parameters by name, in torch's order; on the host wherever the layer is."""
        return {
            name: value.copy() for name, value in views(self._host_flat(), self._shapes).items()
        }

    def _host_flat(self) -> np.ndarray:
        return self._flat if self._place == dispatch.CPU else devices.to_host(self._flat)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy values into all parameters, or, where one doesn't fit, into none.

        Parameters
        ----------
        state : mapping of str to array_like
            Exactly the names of `state_dict`; NumPy arrays, torch CPU tensors or anything else
            that ``np.asarray`` takes, on the host wherever the layer is. Real floats are cast to
            the layer's dtype.

        Raises
        ------
        TypeError
            If state is no mapping, or a value is not of a real floating dtype or on a GPU.
        ValueError
            If a name is missing or unknown, or a shape differs.
        """
        checked = validation.state(state, self._shapes, self.dtype)
        for name, value in checked.items():
            devices.assign(self._views[name], value)

    # Copies own their parameters. What is copied or pickled together with a layer and shares its
    # vector, an optimiser above all, shares the copy's: `sharing` sees to that.

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        del state["_flat"], state["_views"], state["_flat_view"], state["_place"]
        state.pop("_last_form", None)
        return state | {"_memory": sharing.apart(self._host_flat()), "_device": self.device}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        device, memory = state.pop("_device"), state.pop("_memory")
        self.__dict__.update(state)
        self._adopt(sharing.together(*memory))
        self.to(device)

    def __copy__(self) -> Parametrised:
        return copy.deepcopy(self)


def generator(rng: int | np.random.Generator | None) -> np.random.Generator:
    """Return a generator for `rng`: None, a seed or a generator, which is used as it is."""
    return np.random.default_rng(validation.seed("rng", rng))
