"""What RNNClassifier and RNNRegressor share: series in, a network fitted, a readout out."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import validation
from ..linear import Linear
from ..owners import is_dask
from ..rnn import RNN
from . import blocks, checks, missing, network_files
from .checkpoint import Checkpoint, checkpoint_path, digest
from .checks import TargetForm
from .examples import Data, Examples, exponent
from .members import Trainings
from .missing import Filling
from .network import Network
from .objectives import Loss
from .patches import Patches
from .reading import Reading
from .sequences import Sequences, spread, units
from .series import columns
from .training import History, Settings, Training

Targets = tuple[Sequences, np.ndarray, np.ndarray | None]  # series, targets and their weights


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


class RNNEstimator(BaseEstimator):
    """What classifier and regressor share."""

    _labels: ClassVar[bool]  # whether targets are labels, or numbers
    _arrays: ClassVar[tuple[str, ...]] = ("x_mean_", "x_scale_")  # fitted, beside the layers

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
        self.patch = patch
        self.n_members = n_members
        self.learning_rate = learning_rate
        self.missing = missing

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = isinstance(self.missing, str) and self.missing == "forward"
        return tags

    # --- X in, predictions out ------------------------------------------------------------------

    def _series(self, X: Any, *, reset: bool) -> Sequences:
        """Return X as `Sequences`, unscaled, with NaN for gaps where they are filled.

        With reset take down what it looks like.
        """
        gaps = self.missing == "forward" if reset else self.filling_ is not None
        names, axes = columns("X", list(X)) if checks.is_list_of_series(X) else None, 0
        if is_dask(X):
            return self._blocks(X, gaps, reset=reset)
        X = checks.without_masks("X", X, gaps=gaps)
        if isinstance(X, Sequences):  # windows of a forecaster, which share their rows
            x = X
        elif checks.is_list_of_series(X):
            rows, lengths = checks.series_list("X", X, gaps=gaps)
            x = Sequences.of(rows.reshape(len(rows), -1), lengths)
        elif (axes := len(checks.shape("X", X))) == 3:
            array = checks.array_3d("X", X, gaps=gaps)
            if reset and checks.looks_turned(array):
                warnings.warn(checks.turned(array.shape), UserWarning, stacklevel=5)
            x = Sequences.of_array(array)
        elif axes > 3:
            raise ValueError(f"X must have {checks.FORMS}, got shape {checks.shape('X', X)}")
        elif reset or self._table:  # a column is a step, and there must be as many as at first
            array = validate_data(
                self, X, reset=reset, dtype=[np.float64, np.float32],
                ensure_all_finite="allow-nan",
            )  # fmt: skip
            self._table = True
            return Sequences.of_array((array if gaps else checks.complete("X", array))[:, :, None])
        else:
            x = Sequences.of_array(checks.table("X", X, gaps=gaps))
        features = x.features
        if reset:
            self._table, self.n_features_in_ = False, features
            self.__dict__.pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = np.array(names, object)
        elif features != len(self.x_mean_):
            expected = len(self.x_mean_)
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

    def _blocks(self, X: Any, gaps: bool, *, reset: bool) -> Any:
        """Return a Dask array as `Blocks`; with reset take down what it looks like."""
        blocks.room("workers").sendable(self)
        batch = None if self.solver == "lbfgs" else self._batch_size()
        x = blocks.room("blocks").Blocks.of(X, batch=batch, gaps=gaps)
        table = X.ndim == 2
        if reset:
            self._table, self.n_features_in_ = table, X.shape[-1]
            self.__dict__.pop("feature_names_in_", None)
            if not table and x.turned():
                warnings.warn(checks.turned(X.shape), UserWarning, stacklevel=6)
            return x
        found, expected = x.features, len(self.x_mean_)
        if table and self._table:
            found, expected = X.shape[1], self.n_features_in_
        if found != expected:
            raise ValueError(
                f"X has {found} features, but {type(self).__name__} is expecting {expected} "
                "features as input."
            )
        return x

    def _batch_size(self) -> int | None:
        return checks.settings(self.get_params(deep=False)).batch_size

    def _reading(self) -> Reading:
        """How the network reads series."""
        patches = Patches(self.patch_size_, self.patch_stride_)
        return Reading(self.rnn_.dtype, self.filling_, self.x_mean_, self.x_scale_, patches)

    def _networks(self, loss: Loss | None = None) -> list[Network]:
        """Return the members, to predict, or with a loss to train."""
        pooling = None if self._form.steps else self.pooling
        return [Network(rnn, head, pooling, loss) for rnn, head in self.members_]

    def _readouts(self, X: Any) -> tuple[list[np.ndarray], Sequences]:
        """Return what each member reads of every series (N, K), or step (R, K), and the series."""
        check_is_fitted(self)
        if is_dask(X):  # of which the readouts alone have to fit into memory
            return blocks.room("predictions").readouts(self, X)
        x = self._series(X, reset=False)
        read = self._reading().read(x)
        return [network.predict(read) for network in self._networks()], x

    def _score_weights(self, sample_weight: Any, x: Sequences) -> np.ndarray | None:
        """Return weights of the rows that are scored, (N,) or (R,)."""
        weights = checks.sample_weight(sample_weight, len(x))
        if weights is None:
            return None
        return np.repeat(checks.shares(weights), x.lengths if self._form.steps else 1)

    # --- fit ------------------------------------------------------------------------------------

    def _objective(self) -> Loss:
        """Return the loss."""
        raise NotImplementedError

    def _target(
        self, rows: np.ndarray, form: TargetForm, weights: np.ndarray | None, *, reset: bool
    ) -> np.ndarray:
        """Return what the loss takes, (N, ...) or (R, ...); with reset take down its form."""
        raise NotImplementedError

    def _target_weights(self, target: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """Return weights of targets, (N, 1) or (R, 1), with what their values add to them.

        (N, K) or (R, K) where some of several targets are missing.
        """
        raise NotImplementedError

    def _measure_constants(self, target: np.ndarray, weights: np.ndarray | None) -> None:
        """Scale targets that were constant at first by what they are where a fit goes on."""

    def _constants(self, target: np.ndarray, weights: np.ndarray | None) -> list[np.ndarray]:
        """Return readouts (K,): about the best of those that say the same of all is among them."""
        raise NotImplementedError

    def _scaled_target(self, target: np.ndarray) -> np.ndarray:
        """Return targets as the readout is to meet them, 0 where they are missing."""
        raise NotImplementedError

    def _outputs(self) -> int:
        """How many outputs the readout has."""
        raise NotImplementedError

    def _score(self, target: np.ndarray, readout: np.ndarray, weights: np.ndarray | None) -> float:
        """Validation score, with weights as those of targets."""
        raise NotImplementedError

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation_data: tuple[Any, Any] | None = None,
    ) -> Self:
        """Fit the network to series and their targets.

        Parameters
        ----------
        X : array_like or list of array_like
            Series, in one of the forms above.
        y : array_like or list of array_like
            Targets, in one of the forms above. They, sample_weight and validation_data may be
            Dask's too.
        sample_weight : array_like, shape (n_samples,), optional
            What each series counts in the loss, and in what `standardize` measures: finite, not
            negative, and not all 0. One of weight 0 is as if it were not there. In a batch that is
            all of the data, one of weight 2 is as if it were there twice.
        validation_data : tuple (X, y), optional
            Series and targets that are not trained on. Their score and loss are taken down after
            each epoch, and early stopping goes by them instead of holding back a part of X. Numbers
            must be two at least, as R² needs.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a parameter or an argument is not as described, a feature or a target has no value
            at all, or the checkpoint is another training's. The estimator is then what it was
            before.
        OSError
            If the checkpoint can't be written.
        RuntimeError
            If another training writes the same checkpoint.
        FloatingPointError
            If the loss became infinite or NaN. The estimator keeps the best weights that it had.
        Exception
            Whatever a loss of your own raises, on Dask's workers too.

        Warns
        -----
        ConvergenceWarning
            If max_iter epochs were over before loss or validation score had stalled, or the
            training ended with the loss that a constant prediction has.
        UserWarning
            If an array X of three axes looks as if time were the last one: there are many features
            and few steps, and neighbours on the last axis are alike.
        UserWarning
            If the training was interrupted from the keyboard; the model so far is kept. Of several
            members these are those that had begun: where they are fewer, set n_members to
            len(members_) before partial_fit or a warm start.
        """
        with all_or_nothing(self):
            trainings, data = self._begin(X, y, sample_weight, validation_data)
        try:
            trainings.run(data)
        finally:
            self._take_down(trainings)
        return self

    def _begin(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        validation_data: tuple[Any, Any] | None = None,
        *,
        sent: bool = False,
    ) -> tuple[Trainings, Data]:
        """Make all ready for a training, and return what it is run on.

        What is in memory is sent to Dask's workers where that is asked for.
        """
        settings = checks.settings(self.get_params(deep=False))
        if self.checkpoint is not None:
            checkpoint_path(self.checkpoint)
        if sent:
            blocks.room("workers").sendable(self)
        if self.early_stopping and self.validation_fraction is None and validation_data is None:
            raise ValueError(
                "fit must be given validation_data with early_stopping and validation_fraction=None"
            )
        going_on = self.warm_start and self.__sklearn_is_fitted__()
        x, target, weights = self._take_in(X, y, sample_weight, going_on)
        other = None
        if validation_data is not None:
            other = self._take_in_validation(validation_data)
        seed = self._seed()
        checkpoint = self._open_checkpoint(x, target, weights, other, going_on, sent)
        if checkpoint is not None and checkpoint.found:
            seed = checkpoint.found[0]["seed"]
        rngs = [np.random.default_rng([*seed, k] if k else seed) for k in range(self.n_members)]
        self._build(rngs, going_on)
        data = self._examples(x, target, weights)
        held_back = None if other is None else self._examples(*other)
        if sent:
            send, size = blocks.room("fitting").send, self._batch_size()
            data = send(data, size)
            held_back = None if held_back is None else send(held_back, size)
        networks = self._networks(self._objective())
        constant = self._loss_of_a_constant(networks[0], data)
        trainings = [
            self._training(network, settings, rng, history, data, held_back, constant)
            for network, rng, history in zip(networks, rngs, self._begun(going_on), strict=True)
        ]
        made = Trainings(trainings, checkpoint, seed, not going_on)
        self._go_on_with(rngs)
        return made, data

    def _examples(self, x: Sequences, target: np.ndarray, weights: np.ndarray | None) -> Data:
        """Return series and targets as the network meets them."""
        reading, steps, unit = self._reading(), self._form.steps, exponent(weights)
        if isinstance(x, Sequences):
            return Examples(reading.read(x), self._scaled_target(target), weights, steps, unit)
        target = self._scaled_target(target)
        return blocks.room("fitting").examples(x, reading, target, weights, steps, unit)

    def _training(
        self,
        network: Network,
        settings: Settings,
        rng: np.random.Generator,
        history: History,
        data: Data,
        held_back: Data | None,
        constant: float,
    ) -> Training:
        """Make the training of a member ready."""
        only = None
        if held_back is None and self.early_stopping:
            only, places = self._split(data, rng)
            held_back = data.some(places)
            for part, words in ((held_back, "held back"), (data.some(only), "trained on")):
                weights = part.targets[1]
                if weights is not None and not weights.any():
                    raise ValueError(
                        f"class_weight must not be 0 for all labels that are {words} with "
                        "early_stopping; give validation_data or another validation_fraction"
                    )
        return Training(
            network, settings, rng, history,
            None if held_back is None else self._validation(network, held_back),
            early_stopping=self.early_stopping, constant=constant, only=only,
            by_loss=held_back is not None and not self._is_scored(*held_back.targets),
        )  # fmt: skip

    def _loss_of_a_constant(self, network: Network, data: Data) -> float:
        """Loss of a prediction that is the same for all; 0 where it is no number."""
        found, (target, weights) = [], data.targets
        shares = None if weights is None else checks.shares(weights)
        with np.errstate(all="ignore"):
            for readout in self._constants(target, shares):
                one = readout.astype(network.weights.dtype)
                everywhere = np.tile(one, (len(target), 1))
                # a loss of the user's own may write into what it is given
                found.append(network.loss(everywhere, target.copy(), weights)[0])
        return min((loss for loss in found if math.isfinite(loss)), default=0.0)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any = None, **options: Any) -> Self:
        """Go once over some data; options are those of `_target`."""
        settings = checks.settings(self.get_params(deep=False))
        if self.early_stopping:
            raise ValueError("early_stopping must be False for partial_fit, got True")
        with all_or_nothing(self):
            going_on = self.__sklearn_is_fitted__()
            x, target, weights = self._take_in(X, y, sample_weight, going_on, **options)
            if going_on:
                rngs = [rnn._rng for rnn, _ in self.members_]
            else:
                seed = self._seed()
                rngs = [
                    np.random.default_rng([*seed, k] if k else seed) for k in range(self.n_members)
                ]
            self._build(rngs, going_on)
            histories, states = self._begun(going_on), [None] * self.n_members
            if going_on:  # an epoch of the same training, where another fit would be a new one
                histories = copy.deepcopy(self._histories)
                states = self._optimizer_state or states
            data = self._examples(x, target, weights)
            trainings = []
            for network, rng, history, state in zip(
                self._networks(self._objective()), rngs, histories, states, strict=True
            ):
                trainings.append(Training(network, settings, rng, history))
                if state is not None:
                    trainings[-1].resume_optimizer(state)
            made = Trainings(trainings, None, [], False)
            self._go_on_with(rngs)
        try:
            for training in trainings:
                training.one_epoch(data)
        finally:
            self._take_down(made)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "best_loss_")  # what a training leaves, which a network alone has not

    def _seed(self) -> list[int]:
        """Draw what everything random in a fit comes from."""
        return check_random_state(self.random_state).randint(2**31, size=4).tolist()

    def _take_in(
        self, X: Any, y: Any, sample_weight: Any, going_on: bool, **options: Any
    ) -> Targets:
        """Check X, y and weights, and measure them where this is no continuation.

        Series that weigh nothing, or have no target, are left out. Weights come as those of
        targets, (N, 1) or (R, 1), or (N, K) or (R, K) where some of several targets are missing.
        """
        gaps = self.missing == "forward"
        if going_on and gaps != (self.filling_ is not None):
            raise ValueError(
                f"missing must stay what it was in the first fit, got {self.missing!r}"
            )
        x = self._series(X, reset=not going_on)
        y, sample_weight = (
            blocks.in_memory("y", y),
            blocks.in_memory("sample_weight", sample_weight),
        )
        rows, form = checks.target(y, x, labels=self._labels, gaps=gaps)
        weights = checks.sample_weight(sample_weight, len(x))
        if form.steps and self.truncation is not None and not isinstance(x, Sequences):
            raise ValueError(
                "truncation must be None where a Dask array has targets of steps, since a batch of "
                f"its blocks is one step of the solver, got {self.truncation}"
            )
        counts = checks.with_target(rows, x, form)
        if weights is not None:
            if not weights[counts].any():
                raise ValueError("sample_weight must not be zero for all series that have a target")
            counts &= weights > 0
        if not counts.all():
            keep = np.flatnonzero(counts)
            weights, some = None if weights is None else weights[keep], x[keep]
            rows = rows[some.index if form.steps else keep]
            x = some.compact()
        of_targets = weights
        if form.steps and weights is not None:
            of_targets = np.repeat(weights, x.lengths)
        target = self._target(rows, form, of_targets, reset=not going_on, **options)
        if going_on:
            self._measure_constants(target, of_targets)
        else:
            self.filling_, self.x_mean_, scale = self._measured(x, weights, gaps)
            self.x_scale_ = units(scale)
            patches = Patches.of(None if form.steps else self.patch, x.lengths)
            self.patch_size_, self.patch_stride_ = patches.size, patches.stride
        return x, target, self._target_weights(target, of_targets)

    def _take_in_validation(self, data: Any) -> Targets:
        """Check validation data, which must look like what is trained on."""
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise TypeError(
                f"validation_data must be a tuple (X, y), got {validation.describe(data)}"
            )
        try:
            x = self._series(data[0], reset=False)
            gaps = self.filling_ is not None
            y = blocks.in_memory("y", data[1])
            rows, form = checks.target(y, x, labels=self._labels, gaps=gaps)
            count = int((~missing.absent(rows)).sum(axis=0).max())
            if not self._labels and count < 2:
                raise ValueError(f"y must have two targets at least, as R² needs, got {count}")
            target = self._target(rows, form, None, reset=False)
            return x, target, self._target_weights(target, None)
        except (TypeError, ValueError) as error:
            raise type(error)(f"in validation_data, {error}") from error

    def _measured(
        self, x: Sequences, weights: np.ndarray | None, gaps: bool
    ) -> tuple[Filling | None, np.ndarray, np.ndarray]:
        """How gaps are filled, what is subtracted from each feature, and its scale."""
        if not isinstance(x, Sequences):
            weights = None if weights is None else checks.shares(weights)
            filling = x.filling(weights) if gaps else None
            if not self.standardize:
                return filling, np.zeros(x.features), np.ones(x.features)
            return filling, *x.spread(filling, weights)
        of_steps = None if weights is None else np.repeat(weights, x.lengths)
        if not gaps:
            return None, *self._spread(x.rows, of_steps)
        filling = Filling.of(x.rows, of_steps)
        return filling, *self._spread(filling.fill(x)[0], of_steps)

    def _spread(
        self, rows: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is subtracted from each column, and its scale, 0 where it is constant."""
        if self.standardize:
            return spread(rows, weights=weights)
        return np.zeros(rows.shape[1]), np.ones(rows.shape[1])

    def _build(self, rngs: list[np.random.Generator], going_on: bool) -> None:
        """Make new networks, one for each source of random numbers, or go on with the old ones."""
        inputs = self._inputs() * self.patch_size_
        shape = (inputs, self.hidden_size, self.num_layers, self.nonlinearity)
        dtype = np.dtype(np.float64 if self.solver == "lbfgs" else self.dtype)
        both = self._both_directions()
        options = {"bidirectional": both, "dtype": dtype}
        if not going_on:
            self.members_ = []
            for rng in rngs:
                rnn = RNN(*shape, dropout=self.dropout, rng=rng, **options).eval()
                width = self.hidden_size * (2 if both else 1)
                self.members_.append((rnn, Linear(width, self._outputs(), dtype=dtype, rng=rng)))
            self.rnn_, self.head_ = self.members_[0]
            return
        rnn = self.rnn_
        was = (rnn.input_size, rnn.hidden_size, rnn.num_layers, rnn.nonlinearity)
        if was != shape or (rnn.bidirectional, rnn.dtype) != tuple(options.values()):
            raise ValueError(
                f"warm_start=True must keep the network, a {rnn!r}, but the parameters ask for "
                "another one"
            )
        if self.patch != "auto" and not self._form.steps:
            asked = Patches.of(self.patch, np.ones(1, int))
            if asked != Patches(self.patch_size_, self.patch_stride_):
                raise ValueError(
                    f"warm_start=True must keep patches of {self.patch_size_} steps, got "
                    f"patch={self.patch}"
                )
        if len(self.members_) != self.n_members:
            raise ValueError(
                f"warm_start=True must keep n_members, {len(self.members_)}, got {self.n_members}; "
                "so must partial_fit"
            )

    def _inputs(self) -> int:
        """How many numbers a step has as the network reads it."""
        return len(self.x_mean_) + (0 if self.filling_ is None else len(self.filling_.marked))

    def _go_on_with(self, rngs: list[np.random.Generator]) -> None:
        """Give the networks their dropout and sources of random numbers: nothing is refused now."""
        for (rnn, _), rng in zip(self.members_, rngs, strict=True):
            rnn.dropout, rnn._rng = self.dropout, rng

    def _both_directions(self) -> bool:
        """Whether the network reads from both ends."""
        if self.bidirectional == "auto":  # a step's target must not depend on what comes later
            return not self._form.steps and self.truncation is None
        return self.bidirectional

    def _split(self, data: Data, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of the series to train on, and of those held back."""
        series = len(data)
        train, held_back = train_test_split(
            np.arange(series),
            test_size=self.validation_fraction,
            random_state=int(rng.integers(2**31)),
            stratify=data.targets[0] if self._stratified() else None,
        )
        if len(held_back) < 2:
            raise ValueError(
                "early_stopping needs two series held back at least, got "
                f"validation_fraction={self.validation_fraction} of {series} series"
            )
        return train, held_back

    def _stratified(self) -> bool:
        return False

    def _is_scored(self, target: np.ndarray, weights: np.ndarray | None) -> bool:
        """Whether the score tells predictions of these targets apart."""
        return True

    def _validation(self, network: Network, data: Data) -> Callable[[], tuple[float, float]]:
        """Score and loss of a network on series that it isn't trained on."""
        target, weights = data.targets
        shares = None if weights is None else checks.shares(weights)

        def judged() -> tuple[float, float]:
            readout = data.predict(network)
            if not np.isfinite(readout).all():
                return -math.inf, math.inf
            score = self._score(target, readout, shares)
            # a loss of the user's own may write into what it is given
            return score, network.loss(readout, target.copy(), weights)[0]

        return judged

    def _open_checkpoint(
        self,
        x: Sequences,
        target: np.ndarray,
        weights: np.ndarray | None,
        other: Targets | None,
        going_on: bool,
        sent: bool,
    ) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        checks.named_loss(getattr(self, "loss", None))
        data = [*x.content(), target]
        if going_on:
            data += [layer.flat_parameters for member in self.members_ for layer in member]
        data += self._kept()
        if weights is not None:
            data.append(weights)
        if other is not None:
            data += [*other[0].content(), other[1]]
        if sent:  # whose batches are others
            data.append(np.frombuffer(b"sent", np.uint8))
        parameters = {"estimator": type(self).__name__, **network_files.plain_params(self)}
        for name in self._on_no_epoch():
            del parameters[name]
        defaults = network_files.plain_params(type(self)()) | checks.BEFORE
        return Checkpoint(self.checkpoint, parameters, defaults, digest(*data))

    def _on_no_epoch(self) -> list[str]:
        """Parameters that change no epoch, but at most how many there are: so they may change."""
        names = ["verbose", "checkpoint", "warm_start", "n_iter_no_change"]
        if self.learning_rate != "cosine":
            names.append("max_iter")
        if self.learning_rate != "plateau":
            names.append("tol")
        if self.solver == "lbfgs":
            names += ["batch_size", "learning_rate_init", "shuffle", "clip_norm", "dtype"]
        if not self.early_stopping:
            names.append("validation_fraction")
        return names

    def _kept(self) -> list[np.ndarray]:
        """What else of the data the model keeps."""
        return []

    def _begun(self, going_on: bool) -> list[History]:
        """What the trainings begin with: the curves so far, and nothing that one could stall on.

        The best loss and the best score of another fit, on other data, say nothing of this one.
        """
        if not going_on:
            return [History() for _ in range(self.n_members)]
        return [
            History(
                loss_curve=list(history.loss_curve),
                validation_scores=list(history.validation_scores),
                validation_losses=list(history.validation_losses),
            )
            for history in self._histories
        ]

    def _take_down(self, trainings: Trainings) -> None:
        trained = trainings.trainings
        for training in trained:
            training.network.store()
        begun = [k for k, training in enumerate(trained) if training.history.n_iter > 0] or [0]
        if trainings.are_new and len(begun) < len(trained):
            # of an ensemble that was interrupted the members that have learned something are kept
            trained = [trained[k] for k in begun]
            self.members_ = [self.members_[k] for k in begun]
        self._histories = [training.history for training in trained]
        self._optimizer_state = [training.optimizer_state() for training in trained]
        history, validated = self._histories[0], trained[0].validate is not None
        self.loss_curve_, self.best_loss_ = history.loss_curve, history.best_loss
        self.validation_scores_ = history.validation_scores if validated else None
        self.validation_losses_ = history.validation_losses if validated else None
        self.n_iter_ = history.n_iter

    # --- files ----------------------------------------------------------------------------------

    def _to_tensors(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return a fitted estimator as JSON's types, and arrays by name."""
        return network_files.to_tensors(self)

    @classmethod
    def _from_tensors(cls, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> Self:
        """Return the estimator that `_to_tensors` took apart.

        Raises
        ------
        KeyError, TypeError, ValueError
            If anything does not fit.
        """
        return network_files.from_tensors(cls, config, tensors)

    def _targets(self) -> int:
        """How many targets the readout is of, where there are numbers."""
        return self.head_.out_features
