"""RNNClassifier and RNNRegressor: series in, labels or numbers out."""

from __future__ import annotations

import json
from typing import Any, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from . import checks, objectives, wording
from .base import RNNEstimator, has_epochs
from .sequences import Sequences, units

EXPECTED_FAILED_CHECKS: dict[str, dict[str, str]] = {"RNNClassifier": {}, "RNNRegressor": {}}
"""Checks of scikit-learn that contradict what a series is: class name -> {check: reason}."""


class RNNClassifier(ClassifierMixin, RNNEstimator):
    __doc__ = f"""Elman recurrent network that classifies series, or their steps.

    {wording.FORMS}

    y holds a label a series: strings, numbers or whatever can be sorted. A list of arrays (T_i,) is
    a label for every step, and `predict` returns such a list.

    {wording.PARAMETERS.format(also="")}
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
    A series' prediction has the same bits whatever else is predicted with it.

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.

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

    _loss = staticmethod(objectives.cross_entropy)

    def _target(self, y: Any, x: Sequences, *, reset: bool, classes: Any = None) -> np.ndarray:
        labels, form = checks.target(y, x, labels=True)
        labels = labels[:, 0]
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

    @available_if(has_epochs)
    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
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

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter, X, y or classes is not as described, or early_stopping is True.
        FloatingPointError
            If the loss became infinite or NaN. The estimator keeps the weights that it had.
        """
        if classes is None and not self.__sklearn_is_fitted__():
            raise ValueError(
                "classes must be all labels that there will be in the first call of partial_fit, "
                "got None"
            )
        return self._partial_fit(X, y, classes=classes)

    def _outputs(self) -> int:
        return len(self.classes_)

    def _to_tensors(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        config, tensors = super()._to_tensors()
        labels = self.classes_.tolist()
        if not all(isinstance(label, (str, bool, int, float)) for label in labels):
            raise TypeError(
                f"labels must be strings or numbers to be saved, got classes_ = {labels}"
            )
        return config | {"classes": labels, "classes_dtype": self.classes_.dtype.str}, tensors

    @classmethod
    def _from_tensors(cls, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Self:
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
        return model

    def _scaled_target(self, target: np.ndarray) -> np.ndarray:
        return target

    def _stratified(self) -> bool:
        return not self._form.steps

    def _kept(self) -> list[np.ndarray]:
        return [np.frombuffer(json.dumps(self.classes_.tolist(), default=str).encode(), np.uint8)]

    def _score(self, target: np.ndarray, readout: np.ndarray) -> float:
        return float(np.mean(readout.argmax(axis=1) == target))

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
        readout, x = self._readout(X)
        labels = self.classes_[readout.argmax(axis=1)]
        return self._form.shape(labels if self._form.flat else labels[:, None], x)

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
        readout, x = self._readout(X)
        return self._form.shape(softmax(readout.astype(np.float64), axis=1), x)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of series, or of steps, that get their label.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.
        y : array_like or list of array_like
            Labels, in one of the forms above.
        sample_weight : array_like, shape (n_samples,), optional
            Weights of series; not for labels of steps.

        Returns
        -------
        float
        """
        weights = checks.sample_weight(sample_weight)
        readout, x = self._readout(X)
        truth, _ = checks.target(y, x, labels=True)
        predicted = self.classes_[readout.argmax(axis=1)]
        return float(accuracy_score(truth[:, 0], predicted, sample_weight=weights))


class RNNRegressor(RegressorMixin, RNNEstimator):
    __doc__ = f"""Elman recurrent network that predicts numbers for series, or their steps.

    {wording.FORMS}

    y is one target a series, (n_samples,), or several, (n_samples, n_targets); or one or several
    for every step, as an array (n_samples, n_timesteps, n_targets) or a list of arrays
    (T_i, n_targets) or (T_i,). `predict` returns that form.

    {wording.PARAMETERS.format(also=", and each target")}
    Attributes
    ----------
    {wording.ATTRIBUTES.format(loss="the squared error of scaled targets", score="R²")}
    y_mean_, y_scale_ : ndarray of float64, shape (n_targets,)
        What the readout is undone by: y = readout · y_scale_ + y_mean_. The scale of a target that
        is constant is 0, so that the constant is what is predicted.

    See Also
    --------
    RNNClassifier : Labels instead of numbers.

    Notes
    -----
    A series' prediction has the same bits whatever else is predicted with it.

    References
    ----------
    J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 1990.

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

    _loss = staticmethod(objectives.squared_error)
    _arrays = ("x_mean_", "x_scale_", "y_mean_", "y_scale_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _target(self, y: Any, x: Sequences, *, reset: bool) -> np.ndarray:
        rows, form = checks.target(y, x, labels=False)
        if reset:
            self._form = form
            self.y_mean_, self.y_scale_ = self._spread(rows)
        elif (form.steps, rows.shape[1]) != (self._form.steps, self.head_.out_features):
            raise ValueError("y must have the form that it had at first")
        else:
            self._measure_constants(rows)
        return rows

    def _measure_constants(self, rows: np.ndarray) -> None:
        """Scale targets that were constant at first by what they are now."""
        if (constant := self.y_scale_ == 0).any():
            mean, scale = self._spread(rows)
            self.y_mean_ = np.where(constant, mean, self.y_mean_)
            self.y_scale_ = np.where(constant, scale, self.y_scale_)

    @available_if(has_epochs)
    def partial_fit(self, X: Any, y: Any) -> Self:
        """Go once over some data, from where the last call ended.

        What `standardize` measures, it measures in the first call; later ones are scaled alike.

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
            If a parameter, X or y is not as described, or early_stopping is True.
        FloatingPointError
            If the loss became infinite or NaN. The estimator keeps the weights that it had.
        """
        return self._partial_fit(X, y)

    def _outputs(self) -> int:
        return len(self.y_mean_)

    def _scaled_target(self, target: np.ndarray) -> np.ndarray:
        scaled = (target - self.y_mean_) / units(self.y_scale_)
        return checks.in_dtype("y", scaled, self.rnn_.dtype)

    def _score(self, target: np.ndarray, readout: np.ndarray) -> float:
        return float(r2_score(target, readout))

    def _numbers(self, X: Any) -> tuple[np.ndarray, Sequences]:
        """Return predictions as rows, (N, K) or (R, K)."""
        readout, x = self._readout(X)
        return readout * self.y_scale_ + self.y_mean_, x

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
            Weights of series; not for targets of steps.

        Returns
        -------
        float
            Mean over the targets where there are several.
        """
        weights = checks.sample_weight(sample_weight)
        values, x = self._numbers(X)
        truth, _ = checks.target(y, x, labels=False)
        return float(r2_score(truth, values, sample_weight=weights))
