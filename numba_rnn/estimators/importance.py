"""How much a model's score owes to each feature of the series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.utils import Bunch, check_random_state

from .. import validation
from . import checks, missing
from .sequences import Sequences
from .series import columns


def permutation_importance(
    model: Any,
    X: Any,
    y: Any,
    *,
    n_repeats: int = 5,
    scoring: str | Callable[..., float] | None = None,
    sample_weight: Any = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Say how much the score falls where a feature's series belong to other samples.

    The whole series of a feature is exchanged, so that it stays what such series are, and all that
    is lost is which sample it belongs to. (`sklearn.inspection.permutation_importance` exchanges
    columns of tables, which are time steps here.) Where lengths differ, samples of one length
    exchange theirs; one that is alone with its length keeps its own.

    Parameters
    ----------
    model : fitted estimator
        RNNClassifier, RNNRegressor, or whatever takes the same X, such as a pipeline around them.
    X : array_like or list of array_like
        Series, in one of the forms that the model takes; not those that it was fitted to, where the
        question is what it will owe to each feature.
    y : array_like or list of array_like
        Labels or targets.
    n_repeats : int, default=5
        How many times each feature is exchanged.
    scoring : str, callable or None, default=None
        A name or a scorer of scikit-learn, ``(model, X, y) -> float``; `model.score` by default.
    sample_weight : array_like, shape (n_samples,), optional
        Weights of samples in the score.
    random_state : int, RandomState instance or None, default=None
        Source of the exchanges.

    Returns
    -------
    sklearn.utils.Bunch
        `importances`, shape (n_features, n_repeats): the score minus that with a feature exchanged;
        `importances_mean` and `importances_std`, shape (n_features,); `feature_names`, a list of
        str where X is a list of frames, and None elsewhere.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or no two samples have one length.

    References
    ----------
    L. Breiman, "Random forests", Machine Learning 45, 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from numba_rnn.estimators import RNNRegressor, permutation_importance
    >>> X = np.random.default_rng(0).normal(size=(100, 8, 3))
    >>> y = X[:, :, 1].sum(axis=1)  # nothing else matters
    >>> model = RNNRegressor(16, max_iter=40, n_iter_no_change=np.inf, random_state=0).fit(X, y)
    >>> found = permutation_importance(model, X, y, random_state=0)
    >>> int(found.importances_mean.argmax())
    1
    """
    n_repeats = validation.positive_int("n_repeats", n_repeats)
    if scoring is not None and not isinstance(scoring, str) and not callable(scoring):
        raise TypeError(
            f"scoring must be a name, a scorer or None, got {validation.describe(scoring)}"
        )
    scorer = check_scoring(model, scoring=scoring)
    rng = check_random_state(random_state)
    names = columns("X", list(X)) if checks.is_list_of_series(X) else None
    x, given = _taken_in(X)
    groups = [np.flatnonzero(x.lengths == length) for length in np.unique(x.lengths)]
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        raise ValueError(
            f"X must have two series of one length at least, to exchange features, got {len(x)} "
            "series of different lengths"
        )
    weights = checks.sample_weight(sample_weight, len(x))
    options = {} if weights is None else {"sample_weight": weights}
    score = scorer(model, given(x.rows), y, **options)
    found = np.empty((x.rows.shape[1], n_repeats))
    for feature in range(len(found)):
        for repeat in range(n_repeats):
            order = np.arange(len(x))
            for group in groups:
                order[group] = rng.permutation(group)
            rows = x.rows.copy()
            rows[:, feature] = x.rows[x[order].index, feature]
            found[feature, repeat] = score - scorer(model, given(rows), y, **options)
    return Bunch(
        importances=found, importances_mean=found.mean(axis=1), importances_std=found.std(axis=1),
        feature_names=names,
    )  # fmt: skip


def _taken_in(X: Any) -> tuple[Sequences, Callable[[np.ndarray], Any]]:
    """Return X as `Sequences`, and what gives rows back in its form."""
    X = missing.opened(X)
    if checks.is_list_of_series(X):
        rows, lengths = checks.series_list("X", X, gaps=True)
        shape, ends = rows.shape[1:], np.cumsum(lengths)[:-1]
        x = Sequences.of(rows.reshape(len(rows), -1), lengths)
        return x, lambda rows: np.split(rows.reshape(-1, *shape), ends)
    if (axes := len(checks.shape("X", X))) not in (2, 3):
        raise ValueError(f"X must have {checks.FORMS}, got shape {checks.shape('X', X)}")
    array = (checks.array_3d if axes == 3 else checks.table)("X", X, gaps=True)
    samples, steps, features = array.shape
    x = Sequences.of(array.reshape(-1, features), np.full(samples, steps))
    named = X if hasattr(X, "columns") else None  # a table's, which are time steps

    def given(rows: np.ndarray) -> Any:
        if axes == 3:
            return rows.reshape(array.shape)
        table = rows.reshape(samples, steps)
        if named is None:
            return table
        of_pandas = hasattr(named, "iloc")
        return type(named)(table, **{"columns" if of_pandas else "schema": list(named.columns)})

    return x, given
