"""RNNClassifier and RNNRegressor: series in, labels or numbers out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from .. import validation
from . import checks, objectives, wording
from . import missing as gaps
from .base import RNNEstimator, has_epochs
from .blocks import over_blocks
from .objectives import Loss
from .sequences import Sequences, units, weighted_quantiles

_OF_BATCHES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a series of weight 2 is in one batch, and two of weight 1 may be in two; with "
        'batch_size=n_samples and dtype="float64" the check passes'
    )
}
EXPECTED_FAILED_CHECKS: dict[str, dict[str, str]] = {
    "RNNClassifier": dict(_OF_BATCHES),
    "RNNRegressor": dict(_OF_BATCHES),
}
"""Checks of scikit-learn that contradict what is done: class name -> {check: reason}."""

_NO_LABELS = "y must have all labels."
_NO_TARGETS = """Targets that are missing count in neither loss
        nor score."""


class RNNClassifier(ClassifierMixin, RNNEstimator):
    __doc__ = f"""Elman recurrent network that classifies series, or their steps.

    {wording.FORMS}

    y holds a label a series: strings, numbers or whatever can be sorted. A list of arrays (T_i,) is
    a label for every step, and `predict` returns such a list.

    {wording.PARAMETERS.format(also="", missing=_NO_LABELS).rstrip()}
    class_weight : dict, "balanced" or None, default None
        What each class counts in the loss, beside sample_weight; a class that a dict leaves out
        counts 1. "balanced" lets all classes count alike: n / (n_classes · series of the class),
        series counted by their weight. What is held back counts with these weights, too, in score
        and loss, and so does validation_data, of which "balanced" counts the series anew.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
        The labels, sorted.
    {wording.ATTRIBUTES.format(loss="the cross-entropy", score="Accuracy")}

    See Also
    --------
    RNNRegressor : Numbers instead of labels.

    Notes
    -----
    {wording.NOTES}

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.

    {wording.PATCHES}

    {wording.MISSING}

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn.estimators import RNNClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(length, 2)) for length in rng.integers(5, 15, 60)]
    >>> y = ["up" if x[-1, 0] > 0 else "down" for x in X]
    >>> model = RNNClassifier(16, learning_rate_init=1e-2, random_state=0).fit(X, y)
    >>> model.predict(X[:3]).tolist() == y[:3]
    True
    >>> model.predict_proba(X[:3]).shape
    (3, 2)
    """

    _labels = True

    def __init__(
        self,
        hidden_size: int = 64,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bidirectional: bool | Literal["auto"] = "auto",
        dropout: float = 0.0,
        pooling: Literal["last", "mean", "max"] = "max",
        solver: Literal["adam", "sgd", "rmsprop", "lbfgs"] = "adam",
        alpha: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate_init: float = 3e-3,
        max_iter: int = 200,
        shuffle: bool = True,
        clip_norm: float | None = 1.0,
        truncation: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float | None = 0.1,
        n_iter_no_change: float = 10,
        tol: float = 1e-4,
        standardize: bool = True,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        dtype: str = "float32",
        checkpoint: str | os.PathLike[str] | None = None,
        patch: int | Literal["auto"] | None = "auto",
        n_members: int = 1,
        learning_rate: Literal["constant", "cosine", "plateau"] = "constant",
        missing: Literal["error", "forward"] = "error",
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
    ) -> None:
        super().__init__(
            hidden_size, num_layers, nonlinearity, bidirectional, dropout, pooling,
            solver, alpha, batch_size, learning_rate_init, max_iter, shuffle, clip_norm,
            truncation, early_stopping, validation_fraction, n_iter_no_change, tol,
            standardize, warm_start, random_state, verbose, dtype, checkpoint, patch,
            n_members, learning_rate, missing,
        )  # fmt: skip
        self.class_weight = class_weight

    def _objective(self) -> Loss:
        return objectives.cross_entropy

    def _target(
        self,
        rows: np.ndarray,
        form: checks.TargetForm,
        weights: np.ndarray | None,
        *,
        reset: bool,
        classes: Any = None,
    ) -> np.ndarray:
        labels = rows[:, 0]
        if classes is not None:
            classes = np.unique(checks.plain("classes", classes))
            if not reset and not np.array_equal(classes, self.classes_):
                raise ValueError(
                    f"classes must be those of the first call, {self.classes_.tolist()}, got "
                    f"{classes.tolist()}"
                )
        check_classification_targets(labels)
        try:
            found, codes = np.unique(labels, return_inverse=True)
        except TypeError as error:
            raise TypeError(f"y must hold labels that can be sorted: {error}") from error
        if reset:
            self.classes_, self._form = found if classes is None else classes, form
            return self._known(found)[codes]
        if form.steps != self._form.steps:
            raise ValueError("y must have the form that it had at first")
        return self._known(found)[codes]

    def _known(self, labels: np.ndarray) -> np.ndarray:
        """Places of labels in classes_."""
        place = {label: k for k, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in labels.tolist() if label not in place]
        if unknown:
            raise ValueError(
                f"y must hold labels of classes_ alone, {self.classes_.tolist()}, got {unknown}"
            )
        return np.array([place[label] for label in labels.tolist()], np.int64)

    def _target_weights(self, target: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        each = checks.class_weights(self.class_weight, self.classes_, target, weights)
        if each is None:
            return None if weights is None else weights[:, None]
        if weights is None:
            return each[target][:, None]
        with np.errstate(over="ignore"):
            found = each[target] * weights
        if not np.isfinite(found).all():
            raise ValueError(
                "class_weight times sample_weight must be finite, got sample_weight up to "
                f"{weights.max():g}"
            )
        return found[:, None]

    def _constants(self, target: np.ndarray, weights: np.ndarray | None) -> list[np.ndarray]:
        found = np.bincount(target, None if weights is None else weights[:, 0], self._outputs())
        return [np.log(np.maximum(found / found.sum(), np.finfo(np.float32).tiny))]

    @available_if(has_epochs)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Go once over some data, from where the last call ended.

        What `standardize` measures, it measures in the first call; later ones are scaled alike.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.
        y : array_like or list of array_like
            Labels, in one of the forms above.
        classes : array_like, shape (n_classes,), optional
            All labels that there will be. Needed in the first call, unless `fit` came before; in
            later ones they must be the same.
        sample_weight : array_like, shape (n_samples,), optional
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or an argument is not as described, or early_stopping is True.
        FloatingPointError
            If the loss became infinite or NaN. The estimator keeps the weights that it had.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                'class_weight must not be "balanced" for partial_fit, which doesn\'t see all '
                "labels; give a dict"
            )
        if classes is None and not self.__sklearn_is_fitted__():
            raise ValueError(
                "classes must be all labels that there will be in the first call of partial_fit, "
                "got None"
            )
        return self._partial_fit(X, y, sample_weight, classes=classes)

    def _outputs(self) -> int:
        return len(self.classes_)

    def _to_tensors(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        config, tensors = super()._to_tensors()
        labels = self.classes_.tolist()
        if not all(isinstance(label, (str, bool, int, float)) for label in labels):
            raise TypeError(
                f"labels must be strings or numbers to be saved, got classes_ = {labels}"
            )
        if isinstance(self.class_weight, Mapping):  # JSON's keys are strings
            pairs = [[_plain(label), float(w)] for label, w in self.class_weight.items()]
            config["params"]["class_weight"] = pairs
        return config | {"classes": labels, "classes_dtype": self.classes_.dtype.str}, tensors

    @classmethod
    def _from_tensors(cls, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Self:
        weights = config["params"].get("class_weight")
        if isinstance(weights, list):
            params = config["params"] | {"class_weight": dict(weights)}
            config = config | {"params": params}
        model = super()._from_tensors(config, tensors)
        classes, dtype = config["classes"], np.dtype(config["classes_dtype"])
        if not all(isinstance(label, (str, bool, int, float)) for label in classes):
            raise ValueError("classes must be strings or numbers")
        if len(classes) != model.head_.out_features or dtype.kind not in "biufUO":
            raise ValueError(f"{model.head_!r} must fit {len(classes)} classes of dtype {dtype}")
        # a width of strings that a file asks for could cut them, or fill the memory
        model.classes_ = np.array(classes, None if dtype.kind == "U" else dtype)
        kept = model.classes_.dtype.kind == dtype.kind and model.classes_.tolist() == classes
        if not kept or len(set(classes)) != len(classes):
            raise ValueError(f"the classes must be different ones of dtype {dtype}")
        checks.class_weights(model.class_weight, model.classes_, np.arange(len(classes)), None)
        return model

    def _scaled_target(self, target: np.ndarray) -> np.ndarray:
        return target

    def _stratified(self) -> bool:
        return not self._form.steps

    def _kept(self) -> list[np.ndarray]:
        return [np.frombuffer(json.dumps(self.classes_.tolist(), default=str).encode(), np.uint8)]

    def _score(self, target: np.ndarray, readout: np.ndarray, weights: np.ndarray | None) -> float:
        right = readout.argmax(axis=1) == target
        return float(np.average(right, weights=None if weights is None else weights[:, 0]))

    def _probabilities(self, X: Any) -> tuple[np.ndarray, Sequences]:
        """Return the mean of the members' probabilities as rows, (N, C) or (R, C)."""
        readouts, x = self._readouts(X)
        found = [softmax(readout.astype(np.float64), axis=1) for readout in readouts]
        return (found[0] if len(found) == 1 else np.mean(found, axis=0)), x

    @over_blocks
    def predict(self, X: Any) -> np.ndarray | list[np.ndarray]:
        """Return the likeliest label of each series, or of each step.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.

        Returns
        -------
        ndarray, shape (n_samples,), or for each step what y was
        """
        found, x = self._probabilities(X)
        labels = self.classes_[found.argmax(axis=1)]
        return self._form.shape(labels if self._form.flat else labels[:, None], x)

    @over_blocks
    def predict_proba(self, X: Any) -> np.ndarray | list[np.ndarray]:
        """Return the probability of each label, in the order of `classes_`.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_classes)
            For each step an array (n_samples, n_timesteps, n_classes), or a list of arrays
            (T_i, n_classes).
        """
        found, x = self._probabilities(X)
        return self._form.shape(found, x)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of series, or of steps, that get their label.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.
        y : array_like or list of array_like
            Labels, in one of the forms above.
        sample_weight : array_like, shape (n_samples,), optional
            Weights of series, and of each of their steps where those have labels.

        Returns
        -------
        float
        """
        found, x = self._probabilities(X)
        weights = self._score_weights(sample_weight, x)
        truth, _ = checks.target(y, x, labels=True)
        predicted = self.classes_[found.argmax(axis=1)]
        return float(accuracy_score(truth[:, 0], predicted, sample_weight=weights))


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def _of_quantiles(readout: np.ndarray, levels: tuple[float, ...]) -> np.ndarray:
    """Readout (M, K·Q) as quantiles (M, K, Q), which rise."""
    return np.sort(readout.reshape(len(readout), -1, len(levels)), axis=2)


def middle(levels: tuple[float, ...]) -> int:
    """Place of the quantile that is nearest to the median."""
    return int(np.argmin(np.abs(np.array(levels) - 0.5)))


def _r2(
    target: np.ndarray,
    prediction: np.ndarray,
    weights: np.ndarray | None = None,
    known: np.ndarray | None = None,
) -> float:
    """R² of predictions (M, K) with weights (M,), the mean over targets of which two are known.

    0 where there is none of these.
    """
    if known is not None:
        found = [
            _r2(target[here, k : k + 1], prediction[here, k : k + 1],
                None if weights is None else weights[here])
            for k, here in enumerate(known.T)
            if np.count_nonzero(here) > 1
        ]  # fmt: skip
        return float(np.mean(found)) if found else 0.0
    # a target that is the same everywhere has a variance of 0, and not of its mean's rounding
    same = np.where((target == target[0]).all(axis=0), target[0], 0)
    return float(r2_score(target - same, prediction - same, sample_weight=weights))


def _has_quantiles(estimator: RNNRegressor) -> bool:
    """Whether quantiles are what is predicted."""
    if estimator.loss != "quantile":
        raise AttributeError('predict_quantiles needs loss="quantile"')
    return True


class RNNRegressor(RegressorMixin, RNNEstimator):
    __doc__ = f"""Elman recurrent network that predicts numbers for series, or their steps.

    {wording.FORMS}

    y is one target a series, (n_samples,), or several, (n_samples, n_targets); or one or several
    for every step, as an array (n_samples, n_timesteps, n_targets) or a list of arrays
    (T_i, n_targets) or (T_i,). `predict` returns that form.

    {wording.PARAMETERS.format(also=", and each target", missing=_NO_TARGETS).rstrip()}
    loss : {{"squared_error", "absolute_error", "huber", "quantile"}} or callable
        What is minimised, of scaled targets; default "squared_error". "huber" is squared up to 1,
        which is a standard deviation, and absolute beyond. "quantile" is the pinball loss of all
        `quantiles`; `predict` then gives that nearest to the median, and `predict_quantiles` all.
        A callable takes prediction and target (M, n_targets) and weights (M, 1) or None, and
        returns value and gradient, as those of `numba_rnn.losses` do. Where some of several targets
        are missing, weights are (M, n_targets).
        With checkpoint it must be one that its module has by its name, so no lambda.
    quantiles : sequence of float, default (0.1, 0.5, 0.9)
        Between 0 and 1, rising; for loss="quantile".

    Attributes
    ----------
    {wording.ATTRIBUTES.format(loss="of scaled targets", score="R²")}
    y_mean_, y_scale_ : ndarray of float64, shape (n_targets,)
        What the readout is undone by: y = readout · y_scale_ + y_mean_. The scale of a target that
        is constant is 0, so that the constant is what is predicted.
    quantiles_ : tuple of float or None
        What is predicted, with loss="quantile".

    See Also
    --------
    RNNClassifier : Labels instead of numbers.

    Notes
    -----
    {wording.NOTES}

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.

    {wording.PATCHES}

    {wording.MISSING}

    P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proceedings of the
    IEEE 78(10), 1990.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn.estimators import RNNRegressor
    >>> X = np.random.default_rng(0).normal(size=(100, 12))  # a table: 100 series of 12 steps
    >>> y = X[:, -2:].sum(axis=1)
    >>> model = RNNRegressor(16, learning_rate_init=1e-2, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.95)
    True
    >>> steps = RNNRegressor(8, max_iter=5, n_iter_no_change=np.inf)
    >>> steps.fit(X, X.cumsum(axis=1)[:, :, None]).predict(X).shape
    (100, 12, 1)
    """

    _labels = False
    _arrays = ("x_mean_", "x_scale_", "y_mean_", "y_scale_")

    def __init__(
        self,
        hidden_size: int = 64,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bidirectional: bool | Literal["auto"] = "auto",
        dropout: float = 0.0,
        pooling: Literal["last", "mean", "max"] = "max",
        solver: Literal["adam", "sgd", "rmsprop", "lbfgs"] = "adam",
        alpha: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate_init: float = 3e-3,
        max_iter: int = 200,
        shuffle: bool = True,
        clip_norm: float | None = 1.0,
        truncation: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float | None = 0.1,
        n_iter_no_change: float = 10,
        tol: float = 1e-4,
        standardize: bool = True,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        dtype: str = "float32",
        checkpoint: str | os.PathLike[str] | None = None,
        patch: int | Literal["auto"] | None = "auto",
        n_members: int = 1,
        learning_rate: Literal["constant", "cosine", "plateau"] = "constant",
        missing: Literal["error", "forward"] = "error",
        loss: Literal["squared_error", "absolute_error", "huber", "quantile"] | Loss = (
            "squared_error"
        ),
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    ) -> None:
        super().__init__(
            hidden_size, num_layers, nonlinearity, bidirectional, dropout, pooling,
            solver, alpha, batch_size, learning_rate_init, max_iter, shuffle, clip_norm,
            truncation, early_stopping, validation_fraction, n_iter_no_change, tol,
            standardize, warm_start, random_state, verbose, dtype, checkpoint, patch,
            n_members, learning_rate, missing,
        )  # fmt: skip
        self.loss = loss
        self.quantiles = quantiles

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _levels(self) -> tuple[float, ...] | None:
        """Return the quantiles that are predicted, if any."""
        return checks.quantiles(self.quantiles) if self.loss == "quantile" else None

    def _objective(self) -> Loss:
        if (levels := self._levels()) is not None:
            return objectives.Quantile(levels)
        return objectives.Own(self.loss) if callable(self.loss) else objectives.NAMED[self.loss]

    def _target(
        self,
        rows: np.ndarray,
        form: checks.TargetForm,
        weights: np.ndarray | None,
        *,
        reset: bool,
    ) -> np.ndarray:
        if reset:
            if (empty := gaps.absent(rows).all(axis=0)).any():
                raise ValueError(
                    "y must have a value of each target, got none of target "
                    f"{int(np.argmax(empty))}; leave it out"
                )
            self._form, self.quantiles_ = form, self._levels()
            self.y_mean_, self.y_scale_ = self._spread_of_known(rows, weights)
        elif (form.steps, rows.shape[1]) != (self._form.steps, len(self.y_mean_)):
            raise ValueError("y must have the form that it had at first")
        elif self.quantiles_ != self._levels():
            raise ValueError(
                f"the quantiles must stay those of the network, {self.quantiles_}, got "
                f"{self._levels()}"
            )
        return rows

    def _spread_of_known(
        self, rows: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """`_spread` of targets that are not missing; NaN where all are."""
        absent = gaps.absent(rows)
        if not absent.any():
            return self._spread(rows, weights)
        found = np.full((2, rows.shape[1]), np.nan)
        for k, known in enumerate(~absent.T):
            if known.any():
                own = None if weights is None else weights[known]
                found[:, k] = np.ravel(self._spread(rows[known, k : k + 1], own))
        return found[0], found[1]

    def _measure_constants(self, target: np.ndarray, weights: np.ndarray | None) -> None:
        constant = (self.y_scale_ == 0) & ~gaps.absent(target).all(axis=0)
        if constant.any():
            mean, scale = self._spread_of_known(target, weights)
            self.y_mean_ = np.where(constant, mean, self.y_mean_)
            self.y_scale_ = np.where(constant, scale, self.y_scale_)

    def _target_weights(self, target: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        weights = None if weights is None else weights[:, None]
        if not (absent := gaps.absent(target)).any():
            return weights
        return np.where(absent, 0.0, 1.0 if weights is None else weights)

    def _constants(self, target: np.ndarray, weights: np.ndarray | None) -> list[np.ndarray]:
        weights = np.ones((len(target), 1)) if weights is None else weights
        # of a target that is missing everywhere, where a fit goes on, any number will do
        weights = np.broadcast_to(np.where(weights.any(axis=0), weights, 1), target.shape)
        if (levels := self._levels()) is not None:
            return [weighted_quantiles(target, weights, levels).T.ravel()]
        middle = weighted_quantiles(target, weights, (0.5,))[0]
        return [np.average(target, axis=0, weights=weights), middle]

    @available_if(has_epochs)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Go once over some data, from where the last call ended.

        What `standardize` measures, it measures in the first call; later ones are scaled alike.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.
        y : array_like or list of array_like
            Targets, in one of the forms above.
        sample_weight : array_like, shape (n_samples,), optional
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or an argument is not as described, or early_stopping is True.
        FloatingPointError
            If the loss became infinite or NaN. The estimator keeps the weights that it had.
        """
        return self._partial_fit(X, y, sample_weight)

    def _outputs(self) -> int:
        return len(self.y_mean_) * len(self._levels() or (0,))

    def _targets(self) -> int:
        levels = len(self._levels() or (0,))
        if self.head_.out_features % levels:
            raise ValueError(f"{self.head_!r} must fit {levels} quantiles")
        return self.head_.out_features // levels

    def _to_tensors(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        if not isinstance(self.loss, str):
            raise TypeError(
                "loss must be a name to be saved, not a function of your own, got "
                + validation.describe(self.loss)
            )
        config, tensors = super()._to_tensors()
        levels = self.quantiles_
        if levels is not None:
            config["params"] |= {"loss": "quantile", "quantiles": list(levels)}
        elif self.loss == "quantile":  # as it was set since the fit
            config["params"]["loss"] = "squared_error"
        return config, tensors

    @classmethod
    def _from_tensors(cls, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Self:
        params = config["params"]
        if isinstance(params.get("quantiles"), list):
            config = config | {"params": params | {"quantiles": tuple(params["quantiles"])}}
        model = super()._from_tensors(config, tensors)
        if model._form.flat and model._targets() > 1:
            raise ValueError(f"target must not be flat with {model._targets()} targets")
        model.quantiles_ = model._levels()
        return model

    def _scaled_target(self, target: np.ndarray) -> np.ndarray:
        scaled = (target - self.y_mean_) / units(self.y_scale_)
        scaled[gaps.absent(target)] = 0
        return checks.in_dtype("y", scaled, self.rnn_.dtype)

    def _is_scored(self, target: np.ndarray, weights: np.ndarray | None) -> bool:
        known = np.broadcast_to(True if weights is None else weights > 0, target.shape)
        # or else R² is 0, whatever is predicted
        return any(
            bool((one != one[0]).any())
            for one in (target[here, k] for k, here in enumerate(known.T))
            if one.size
        )

    def _score(self, target: np.ndarray, readout: np.ndarray, weights: np.ndarray | None) -> float:
        levels = self.quantiles_
        if levels is not None:
            readout = _of_quantiles(readout, levels)[:, :, middle(levels)]
        known = None if weights is None or weights.all() else weights > 0
        return _r2(target, readout, None if weights is None else weights.max(axis=1), known)

    def _quantiles(self, X: Any, levels: tuple[float, ...]) -> tuple[np.ndarray, Sequences]:
        """Return quantiles, in their order, as rows, (N, K, Q) or (R, K, Q)."""
        readouts, x = self._readouts(X)
        found = np.mean([_of_quantiles(readout, levels) for readout in readouts], axis=0)
        return found * self.y_scale_[:, None] + self.y_mean_[:, None], x

    def _numbers(self, X: Any) -> tuple[np.ndarray, Sequences]:
        """Return predictions as rows, (N, K) or (R, K)."""
        check_is_fitted(self)
        if (levels := self.quantiles_) is not None:
            found, x = self._quantiles(X, levels)
            return found[:, :, middle(levels)], x
        readouts, x = self._readouts(X)
        if len(readouts) > 1:
            readouts = [np.mean(readouts, axis=0, dtype=np.float64)]
        return readouts[0] * self.y_scale_ + self.y_mean_, x

    @available_if(_has_quantiles)
    @over_blocks
    def predict_quantiles(self, X: Any) -> np.ndarray | list[np.ndarray]:
        """Predict the quantiles of the targets of each series, or of each step.

        They never cross: what the network says of them is sorted.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.

        Returns
        -------
        ndarray of float64 or list of ndarray
            What `predict` returns, with a last axis more: the `quantiles`, in their order.
        """
        check_is_fitted(self)
        if self.quantiles_ is None:
            raise ValueError('predict_quantiles needs a fit with loss="quantile"')
        values, x = self._quantiles(X, self.quantiles_)
        return self._form.shape(values[:, 0] if self._form.flat else values, x)

    @over_blocks
    def predict(self, X: Any) -> np.ndarray | list[np.ndarray]:
        """Predict the targets of each series, or of each step.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.

        Returns
        -------
        ndarray of float64 or list of ndarray
            In the form of the y of `fit`. Where that was 3-D and the series of X differ in
            length, a list of arrays (T_i, n_targets).
        """
        values, x = self._numbers(X)
        return self._form.shape(values[:, 0] if self._form.flat else values, x)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R² over series or, for targets of steps, steps.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.
        y : array_like or list of array_like
            Targets, in one of the forms above.
        sample_weight : array_like, shape (n_samples,), optional
            Weights of series, and of each of their steps where those have targets.

        Returns
        -------
        float
            Mean over the targets where there are several; over those of which two values at least
            are known, where some are missing.
        """
        values, x = self._numbers(X)
        weights = self._score_weights(sample_weight, x)
        truth, _ = checks.target(y, x, labels=False, gaps=self.filling_ is not None)
        if not (absent := gaps.absent(truth)).any():
            return float(r2_score(truth, values, sample_weight=weights))
        if weights is not None:
            absent |= weights[:, None] == 0
        if (count := int((~absent).sum(axis=0).max())) < 2:
            raise ValueError(f"y must have two targets at least, as R² needs, got {count}")
        return _r2(truth, values, weights, ~absent)
