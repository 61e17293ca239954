"""What RNNClassifier and RNNRegressor share: series in, a network fitted, a readout out."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import validation
from ..export import configuration
from ..linear import Linear
from ..rnn import RNN
from . import checks
from .checkpoint import Checkpoint, digest
from .checks import TargetForm
from .network import Network
from .sequences import Sequences, spread, units
from .series import columns
from .training import History, Training


def _listed(array: np.ndarray | None) -> list[Any] | None:
    return None if array is None else array.tolist()


def has_epochs(estimator: RNNEstimator) -> bool:
    """Whether a solver goes over the data step by step, as partial_fit does."""
    if estimator.solver == "lbfgs":
        raise AttributeError('partial_fit needs solver "adam", "sgd" or "rmsprop", got "lbfgs"')
    return True


@contextlib.contextmanager
def all_or_nothing(estimator: BaseEstimator) -> Iterator[None]:
    """Leave an estimator as it was, fitted or not, where what is done to it fails half-way."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def _of_array(array: np.ndarray) -> Sequences:
    """Series of an array (N, T, F)."""
    samples, steps, features = array.shape
    return Sequences.of(array.reshape(-1, features), np.full(samples, steps))


class RNNEstimator(BaseEstimator):
    """What classifier and regressor share."""

    _loss: ClassVar[Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]]
    _arrays: ClassVar[tuple[str, ...]] = ("x_mean_", "x_scale_")  # fitted, beside the layers

    def __init__(
        self,
        hidden_size: int = 64,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bidirectional: bool = False,
        dropout: float = 0.0,
        pooling: Literal["last", "mean", "max"] = "last",
        solver: Literal["adam", "sgd", "rmsprop", "lbfgs"] = "adam",
        alpha: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        shuffle: bool = True,
        clip_norm: float | None = 1.0,
        truncation: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: float = 10,
        tol: float = 1e-4,
        standardize: bool = True,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        dtype: str = "float32",
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.nonlinearity = nonlinearity
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.pooling = pooling
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.clip_norm = clip_norm
        self.truncation = truncation
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.standardize = standardize
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.dtype = dtype
        self.checkpoint = checkpoint

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # --- X in, predictions out ------------------------------------------------------------------

    def _series(self, X: Any, *, reset: bool) -> Sequences:
        """Return X as `Sequences`, unscaled; with reset take down what it looks like."""
        X, names, axes = validation.unmasked("X", X), None, 0
        if checks.is_list_of_series(X):
            names = columns(list(X))
            rows, lengths = checks.series_list("X", X)
            x = Sequences.of(rows.reshape(len(rows), -1), lengths)
        elif (axes := len(checks.shape("X", X))) == 3:
            x = _of_array(checks.array_3d("X", X))
        elif axes > 3:
            raise ValueError(f"X must have {checks.FORMS}, got shape {checks.shape('X', X)}")
        elif reset or self._table:  # a column is a step, and there must be as many as at first
            array = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32])
            self._table = True
            return _of_array(array[:, :, None])
        else:
            x = _of_array(checks.table("X", X))
        features = x.rows.shape[1]
        if reset:
            self._table, self.n_features_in_ = False, features
            self.__dict__.pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = np.array(names, object)
        elif features != self.rnn_.input_size:
            expected = self.rnn_.input_size
            words = f"X has {features} features, but {type(self).__name__} is expecting {expected} "
            words += "features as input."
            if axes == 2:
                words += " A table has one feature, in which a column is a time step"
                words += checks.one_series(X) if checks.shape("X", X)[1] == expected else "."
            raise ValueError(words)
        elif names is not None and not self._table:
            own = getattr(self, "feature_names_in_", None)
            if own is not None and names != own.tolist():
                raise ValueError(f"X must have the columns {own.tolist()}, as in fit, got {names}")
        return x

    def _scaled(self, x: Sequences) -> Sequences:
        rows = (x.rows - self.x_mean_) / self.x_scale_
        return Sequences(checks.in_dtype("X", rows, self.rnn_.dtype), x.starts, x.lengths)

    def _network(self) -> Network:
        pooling = None if self._form.steps else self.pooling
        return Network(self.rnn_, self.head_, pooling, self._loss)

    def _readout(self, X: Any) -> tuple[np.ndarray, Sequences]:
        """Return the readout of every series (N, K), or of every step (R, K)."""
        check_is_fitted(self)
        x = self._scaled(self._series(X, reset=False))
        return self._network().predict(x), x

    # --- fit ------------------------------------------------------------------------------------

    def _target(self, y: Any, x: Sequences, *, reset: bool) -> np.ndarray:
        """Return what the loss takes, (N, ...) or (R, ...); with reset take down its form."""
        raise NotImplementedError

    def _scaled_target(self, target: np.ndarray) -> np.ndarray:
        """Return targets as the readout is to meet them."""
        raise NotImplementedError

    def _outputs(self) -> int:
        """How many outputs the readout has."""
        raise NotImplementedError

    def _score(self, target: np.ndarray, readout: np.ndarray) -> float:
        """Validation score."""
        raise NotImplementedError

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the network to series and their targets.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.
        y : array_like or list of array_like
            Targets, in one of the forms above.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter, X or y is not as described, or the checkpoint is another training's.
            The estimator is then what it was before.
        OSError
            If the checkpoint can't be written.
        RuntimeError
            If another training writes the same checkpoint.
        FloatingPointError
            If the loss became infinite or NaN. The estimator keeps the best weights that it had.

        Warns
        -----
        ConvergenceWarning
            If max_iter epochs were over before loss or validation score had stalled.
        UserWarning
            If the training was interrupted from the keyboard; the model so far is kept.
        """
        with all_or_nothing(self):
            training, x, target = self._begin(X, y)
        try:
            training.run(x, target)
        finally:
            training.release()
            self._take_down(training)
        return self

    def _begin(self, X: Any, y: Any) -> tuple[Training, Sequences, np.ndarray]:
        """Make all ready for a training, and return what it is run on."""
        settings = checks.settings(self.get_params(deep=False))
        going_on = self.warm_start and self.__sklearn_is_fitted__()
        x, target = self._take_in(X, y, going_on)
        seed = self._seed()
        checkpoint = self._open_checkpoint(x, target, going_on)
        if checkpoint is not None and checkpoint.found:
            seed = checkpoint.found[0]["seed"]
        rng = np.random.default_rng(seed)
        self._build(x, rng, going_on)
        x, target, network = self._scaled(x), self._scaled_target(target), self._network()

        train, validate, save = np.arange(len(x)), None, None
        if self.early_stopping:
            train, held_back = self._split(target, len(x), rng)
            validate = self._validation(network, x, target, held_back)
        if checkpoint is not None:

            def save(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
                checkpoint.save(meta | {"seed": seed}, arrays)

        training = Training(network, settings, rng, self._history(going_on), validate, save)
        if checkpoint is not None:
            if checkpoint.found:
                training.load_state(*checkpoint.found)
            if not training.finished:  # or else it is only read
                checkpoint.claim()
                training.release = checkpoint.release
        return training, x[train], target if self._form.steps else target[train]

    def _partial_fit(self, X: Any, y: Any, **options: Any) -> Self:
        """Go once over some data; options are those of `_target`."""
        settings = checks.settings(self.get_params(deep=False))
        if self.early_stopping:
            raise ValueError("early_stopping must be False for partial_fit, got True")
        with all_or_nothing(self):
            going_on = self.__sklearn_is_fitted__()
            x, target = self._take_in(X, y, going_on, **options)
            rng = self.rnn_._rng if going_on else np.random.default_rng(self._seed())
            self._build(x, rng, going_on)
            x, target = self._scaled(x), self._scaled_target(target)
            history = self._history(going_on)
            if going_on:  # an epoch of the same training, where another fit would be a new one
                history.n_iter, history.best_loss = self.n_iter_, self.best_loss_
            training = Training(self._network(), settings, rng, history)
            if going_on and self._optimizer_state is not None:
                training.resume_optimizer(self._optimizer_state)
        try:
            training.one_epoch(x, target)
        finally:
            self._take_down(training)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "best_loss_")  # what a training leaves, which a network alone has not

    def _seed(self) -> list[int]:
        """Draw what everything random in a fit comes from."""
        return check_random_state(self.random_state).randint(2**31, size=4).tolist()

    def _take_in(
        self, X: Any, y: Any, going_on: bool, **options: Any
    ) -> tuple[Sequences, np.ndarray]:
        """Check X and y, and measure them where this is no continuation."""
        x = self._series(X, reset=not going_on)
        target = self._target(y, x, reset=not going_on, **options)
        if not going_on:
            self.x_mean_, scale = self._spread(x.rows)
            self.x_scale_ = units(scale)
        return x, target

    def _spread(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is subtracted from each column, and its scale, 0 where it is constant."""
        if self.standardize:
            return spread(rows)
        return np.zeros(rows.shape[1]), np.ones(rows.shape[1])

    def _build(self, x: Sequences, rng: np.random.Generator, going_on: bool) -> None:
        """Make a new network, or go on with the old one."""
        shape = (x.rows.shape[1], self.hidden_size, self.num_layers, self.nonlinearity)
        dtype = np.dtype(np.float64 if self.solver == "lbfgs" else self.dtype)
        options = {"bidirectional": self.bidirectional, "dtype": dtype}
        if not going_on:
            self.rnn_ = RNN(*shape, dropout=self.dropout, rng=rng, **options).eval()
            width = self.hidden_size * (2 if self.bidirectional else 1)
            self.head_ = Linear(width, self._outputs(), dtype=dtype, rng=rng)
            return
        rnn = self.rnn_
        was = (rnn.input_size, rnn.hidden_size, rnn.num_layers, rnn.nonlinearity)
        if was != shape or (rnn.bidirectional, rnn.dtype) != tuple(options.values()):
            raise ValueError(
                f"warm_start=True must keep the network, a {rnn!r}, but the parameters ask for "
                "another one"
            )
        rnn.dropout, rnn._rng = self.dropout, rng

    def _split(
        self, target: np.ndarray, series: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the series to train on, and of those held back."""
        train, held_back = train_test_split(
            np.arange(series),
            test_size=self.validation_fraction,
            random_state=int(rng.integers(2**31)),
            stratify=target if self._stratified() else None,
        )
        if len(held_back) < 2:
            raise ValueError(
                "early_stopping needs two series held back at least, got "
                f"validation_fraction={self.validation_fraction} of {series} series"
            )
        return train, held_back

    def _stratified(self) -> bool:
        return False

    def _validation(
        self, network: Network, x: Sequences, target: np.ndarray, held_back: np.ndarray
    ) -> Callable[[], float]:
        series = x[held_back]
        truth = target[series.index if self._form.steps else held_back]

        def score() -> float:
            readout = network.predict(series)
            return self._score(truth, readout) if np.isfinite(readout).all() else -math.inf

        return score

    def _open_checkpoint(
        self, x: Sequences, target: np.ndarray, going_on: bool
    ) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        start = [self.rnn_.flat_parameters, self.head_.flat_parameters] if going_on else []
        parameters = {"estimator": type(self).__name__, **self._plain_params()}
        for name in self._on_no_epoch():
            del parameters[name]
        defaults = type(self)()._plain_params()
        data = digest(x.rows, x.lengths, target, *start, *self._kept())
        return Checkpoint(self.checkpoint, parameters, defaults, data)

    def _on_no_epoch(self) -> list[str]:
        """Parameters that change no epoch, but at most how many there are: so they may change."""
        names = ["verbose", "checkpoint", "warm_start", "max_iter", "n_iter_no_change", "tol"]
        if self.solver == "lbfgs":
            names += ["batch_size", "learning_rate_init", "shuffle", "clip_norm", "dtype"]
        if not self.early_stopping:
            names.append("validation_fraction")
        return names

    def _kept(self) -> list[np.ndarray]:
        """What else of the data the model keeps."""
        return []

    def _plain_params(self) -> dict[str, Any]:
        """Parameters as JSON has them."""
        plain = {}
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, np.generic):
                value = value.item()
            if name == "dtype":
                value = np.dtype(value).name
            if not isinstance(value, (str, int, float, type(None))):
                value = str(value) if isinstance(value, os.PathLike) else type(value).__name__
            plain[name] = value
        return plain

    # --- files ----------------------------------------------------------------------------------

    def _to_tensors(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return a fitted estimator as JSON's types, and arrays by name.

        The state of the optimiser is not part of it, nor a random_state that is no number, nor the
        checkpoint: a file from elsewhere must not say what the next fit writes over. Parameters of
        the network are those that it was made with, whatever was set since then.
        """
        check_is_fitted(self)
        params = self._plain_params() | {"checkpoint": None} | self._made_with()
        if not isinstance(params["random_state"], (int, type(None))):
            params["random_state"] = None
        config = {
            "params": params,
            "rnn": configuration.describe(self.rnn_),
            "head": configuration.describe(self.head_),
            "target": dataclasses.asdict(self._form),
            "table": self._table,
            "n_features_in": self.n_features_in_,
            "feature_names_in": _listed(getattr(self, "feature_names_in_", None)),
            "loss_curve": self.loss_curve_,
            "validation_scores": self.validation_scores_,
            "n_iter": self.n_iter_,
            "best_loss": self.best_loss_,
        }
        tensors = {name: getattr(self, name) for name in self._arrays}
        for prefix, layer in (("rnn.", self.rnn_), ("head.", self.head_)):
            tensors |= {prefix + name: value for name, value in layer.state_dict().items()}
        return config, tensors

    def _made_with(self) -> dict[str, Any]:
        """Parameters that the network shows."""
        names = ("hidden_size", "num_layers", "nonlinearity", "bidirectional")
        shown = {name: getattr(self.rnn_, name) for name in names}
        if self.solver != "lbfgs":  # which computes in float64 whatever dtype says
            shown["dtype"] = self.rnn_.dtype.name
        return shown

    @classmethod
    def _from_tensors(cls, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Self:
        """Return the estimator that `_to_tensors` took apart.

        Raises
        ------
        KeyError, TypeError, ValueError
            If anything does not fit.
        """
        model = cls(**config["params"])
        if model.checkpoint is not None:
            raise ValueError(f"checkpoint must be None in a file, got {model.checkpoint!r}")
        checks.settings(model.get_params(deep=False))
        for kind, name in ((RNN, "rnn"), (Linear, "head")):
            prefix = f"{name}."
            own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            setattr(model, f"{name}_", configuration.build(kind, config[name], own))
        rnn, head = model.rnn_, model.head_
        for name, value in model._made_with().items():
            if config["params"].get(name) != value:
                raise ValueError(
                    f"{name} must be that of the network, {value!r}, got "
                    f"{config['params'].get(name)!r}"
                )
        seed = model.random_state
        if seed is not None and type(seed) is not int:
            raise ValueError(f"random_state must be None or an int in a file, got {seed!r}")
        rest = {k: v for k, v in tensors.items() if not k.startswith(("rnn.", "head."))}
        if set(rest) != set(cls._arrays):
            raise ValueError(f"the arrays must be {', '.join(cls._arrays)}, got {', '.join(rest)}")
        model._table = validation.flag("table", config["table"])
        model._form = TargetForm(**config["target"])
        for name, value in dataclasses.asdict(model._form).items():
            validation.flag(f"target[{name!r}]", value)
        model.n_features_in_ = validation.positive_int("n_features_in", config["n_features_in"])
        names = config["feature_names_in"]
        if names is not None:
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("feature_names_in must be a list of strings")
            if len(names) != model.n_features_in_:
                raise ValueError(f"feature_names_in must be {model.n_features_in_} names")
            model.feature_names_in_ = np.array(names, object)
        shapes = dict.fromkeys(("x_mean_", "x_scale_"), (rnn.input_size,))
        shapes |= dict.fromkeys(("y_mean_", "y_scale_"), (head.out_features,))
        for name, value in rest.items():
            array = validation.shaped(name, value, shapes[name], np.dtype(np.float64))
            setattr(model, name, checks.kept_array(name, array))
        fits = head.in_features == rnn.hidden_size * (2 if rnn.bidirectional else 1)
        if not fits or rnn.dtype != head.dtype or rnn.batch_first:
            raise ValueError(f"{head!r} must fit on {rnn!r}")
        if rnn.input_size != (1 if model._table else model.n_features_in_):
            raise ValueError(f"{rnn!r} must fit n_features_in = {model.n_features_in_}")
        model.loss_curve_ = checks.kept_list("loss_curve", config["loss_curve"])
        scores = config["validation_scores"]
        if scores is not None:
            scores = checks.kept_list("validation_scores", scores)
        model.validation_scores_ = scores
        model.n_iter_ = config["n_iter"]
        if type(model.n_iter_) is not int or model.n_iter_ < 0:
            raise ValueError(f"n_iter must be an int from 0 on, got {model.n_iter_!r}")
        model.best_loss_ = validation.real("best_loss", config["best_loss"])
        model._optimizer_state = None
        return model

    def _history(self, going_on: bool) -> History:
        """What a training begins with: the curves so far, and nothing that it could stall on.

        The best loss and the best score of another fit, on other data, say nothing of this one.
        """
        if not going_on:
            return History()
        return History(
            loss_curve=list(self.loss_curve_), validation_scores=list(self.validation_scores_ or ())
        )

    def _take_down(self, training: Training) -> None:
        training.network.store()
        history = training.history
        self.loss_curve_, self.best_loss_ = history.loss_curve, history.best_loss
        self.validation_scores_ = history.validation_scores if self.early_stopping else None
        self.n_iter_ = history.n_iter
        self._optimizer_state = training.optimizer_state()
