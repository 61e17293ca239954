"""The epochs of a fit: what changes in one, when to stop, and what is left when it goes wrong."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .. import optim
from ..extras import need
from .examples import Data
from .network import Network

LEFT = 0.95  # of the loss of a constant, below which a training has begun to learn
SMALLEST, LARGEST, BATCHES = 16, 200, 16  # of "auto": so many batches an epoch, of such sizes
PATIENCE, FACTOR = 5, 0.5  # of "plateau": epochs without a gain, and what the rate is scaled by
_LOG = logging.getLogger("numba_rnn.estimators")
_LOG.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Settings:
    """The parameters of an estimator that rule its training, checked."""

    solver: str
    alpha: float
    batch_size: int | None  # None for "auto"
    learning_rate_init: float
    learning_rate: str
    max_iter: int
    shuffle: bool
    clip_norm: float | None
    truncation: int | None
    tol: float
    n_iter_no_change: float
    verbose: bool


@dataclass
class History:
    """What came out of the epochs so far.

    The curves may begin with those of fits before; all else is of this fit alone.
    """

    n_iter: int = 0
    loss_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best_score: float = -math.inf  # or minus the loss, where early stopping goes by that
    stalled: int = 0  # epochs in a row that brought less than tol
    factor: float = 1.0  # of the learning rate, where it follows the plateaus


def _optimizer(settings: Settings, weights: np.ndarray) -> optim.Optimizer:
    lr = settings.learning_rate_init
    if settings.solver == "sgd":
        return optim.SGD(weights, lr, momentum=0.9, nesterov=True)
    return {"adam": optim.Adam, "rmsprop": optim.RMSprop}[settings.solver](weights, lr)


def _nothing(history: History) -> None:
    """Show no progress."""


def auto_batch_size(series: int) -> int:
    """Series a batch: few where there are few, so that an epoch has several steps."""
    return min(max(SMALLEST, -(-series // BATCHES)), LARGEST)


def _stalls(cost: float, best: float, tol: float) -> bool:
    """Whether an epoch brought less than tol."""
    return cost > best - tol


class Training:
    """A network on its way through the epochs.

    Parameters
    ----------
    network : Network
        Its weights are changed in place.
    settings : Settings
    rng : numpy.random.Generator
        For shuffling; the network's dropout draws from the same one.
    history : History
        Goes on from here.
    validate : callable, optional
        Score and loss of the network on series that it isn't trained on.
    save : callable, optional
        Takes the state after every epoch.
    early_stopping : bool
        Whether the validation score says when to stop, and which weights are best.
    constant : float
        Loss of the best constant. While it isn't left nothing counts as stalled.
    only : ndarray of int64, optional
        Places of the series to train on, where these are not all.
    by_loss : bool
        Whether early stopping goes by the validation loss, where the score says nothing.
    """

    def __init__(
        self,
        network: Network,
        settings: Settings,
        rng: np.random.Generator,
        history: History,
        validate: Callable[[], tuple[float, float]] | None = None,
        save: Callable[[dict[str, Any], dict[str, np.ndarray]], None] | None = None,
        *,
        early_stopping: bool = False,
        constant: float = 0.0,
        only: np.ndarray | None = None,
        by_loss: bool = False,
    ) -> None:
        self.network, self.settings, self.rng, self.history = network, settings, rng, history
        self.validate, self.save, self.early_stopping = validate, save, early_stopping
        self.constant, self.only, self.by_loss = constant, only, by_loss
        self.best = network.weights.copy()
        self._begun_with = network.weights  # what the loss of an epoch was first measured with
        self.evaluations: list[tuple[float, np.ndarray]] = []  # of L-BFGS: value and gradient
        self.optimizer: optim.Optimizer | None = None
        if settings.solver != "lbfgs":
            self.optimizer = _optimizer(settings, network.weights)
        self._decayed = network.decayed

    # --- all that a later epoch depends on ------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what makes the rest of the training the same: a JSON-able part, and arrays."""
        if self.settings.solver == "lbfgs":
            values, gradients = zip(*self.evaluations, strict=True)
            return {}, {"values": np.array(values), "gradients": np.array(gradients)}
        meta = {"history": asdict(self.history), "rng": self.rng.bit_generator.state}
        arrays = {"weights": self.network.weights, "best": self.best}
        arrays |= {f"optimizer.{k}": np.asarray(v) for k, v in self.optimizer.state_dict().items()}
        return meta, arrays

    def optimizer_state(self) -> dict[str, Any] | None:
        """Return what the optimiser remembers; L-BFGS forgets."""
        return None if self.optimizer is None else self.optimizer.state_dict()

    def resume_optimizer(self, state: dict[str, Any]) -> None:
        """Let the optimiser go on from a state of its kind, with the learning rate of now."""
        if state["optimizer"] == type(self.optimizer).__name__:
            self.optimizer.load_state_dict(state)
            self.optimizer.lr = self.settings.learning_rate_init

    def load_state(self, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Go on from a state.

        Raises
        ------
        ValueError
            If the settings would have ended the training before.
        """
        if self.settings.solver == "lbfgs":
            # SciPy's search can't be entered half-way, but it asks the same questions again.
            pairs = zip(arrays["values"].tolist(), arrays["gradients"], strict=True)
            self.evaluations = list(pairs)
            return
        self.history.__dict__.update(meta["history"])
        self._check_past()
        self.rng.bit_generator.state = meta["rng"]
        self.network.weights[:], self.best = arrays["weights"], arrays["best"]
        prefix = "optimizer."
        self.optimizer.load_state_dict(
            {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
        )

    def _check_past(self) -> None:
        """Refuse settings with which some of the epochs would not have been; count stalls anew."""
        history, settings = self.history, self.settings
        if history.n_iter > settings.max_iter:
            raise ValueError(
                f"max_iter must be {history.n_iter} at least, the epochs that the checkpoint has, "
                f"got {settings.max_iter}"
            )
        losses = costs = history.loss_curve[-history.n_iter :]
        if self.early_stopping:
            costs = history.validation_losses[-history.n_iter :]
            if not self.by_loss:
                costs = [-score for score in history.validation_scores[-history.n_iter :]]
        best = best_loss = math.inf
        stalled = 0
        for epoch, (cost, loss) in enumerate(zip(costs, losses, strict=True)):
            if stalled > settings.n_iter_no_change:
                raise ValueError(
                    f"n_iter_no_change={settings.n_iter_no_change} and tol={settings.tol:g} would "
                    f"have ended the training after {epoch} epochs, and the checkpoint has "
                    f"{history.n_iter}"
                )
            best_loss = min(loss, best_loss)
            stalls = _stalls(cost, best, settings.tol) and self._has_left(best_loss)
            stalled = stalled + 1 if stalls else 0
            best = min(cost, best)
        history.stalled = stalled

    # --- epochs ---------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether no epoch is left; of L-BFGS nobody knows before SciPy has been asked."""
        if self.settings.solver == "lbfgs":
            return False
        return self._stalled() or self.history.n_iter >= self.settings.max_iter

    def run(self, data: Data) -> str:
        """Train until the loss or the validation score stalls, or to the last epoch.

        Parameters
        ----------
        data : Data

        Returns
        -------
        str
            What is to be said of a training that has not come to its end, or has learned nothing.

        Raises
        ------
        FloatingPointError
            If the loss is no finite number any more; the best weights are restored.
        KeyboardInterrupt
            If the user interrupted it; the weights are those of the last batch, or the best.
        """
        go = self._lbfgs if self.settings.solver == "lbfgs" else self._epochs
        if self.only is not None:
            data = data.some(self.only)
        try:
            with np.errstate(all="ignore"), self._progress(len(data)) as self._show:
                converged = go(data)
        except FloatingPointError:
            self._put_back()
            raise
        finally:
            if self.early_stopping:
                self.network.weights[:] = self.best
        return self._unfinished(converged)

    def one_epoch(self, data: Data) -> None:
        """Go once over the data, and once only."""
        self._show = _nothing
        with np.errstate(all="ignore"):
            try:
                self._finish(self._epoch(data))
                self._log()
            except FloatingPointError:
                self._put_back()
                raise

    def _put_back(self) -> None:
        """Undo what made the loss no number: the weights, and all that the optimiser remembers."""
        self.network.weights[:], self.optimizer = self.best, None

    def _unfinished(self, converged: bool) -> str:
        """What is to be said at the end; nothing where the epochs are meant as they stand."""
        over, lbfgs = f"max_iter={self.settings.max_iter}", self.settings.solver == "lbfgs"
        if math.isinf(self.settings.n_iter_no_change) and (converged or not lbfgs):
            return ""
        if lbfgs and not converged:
            return (
                f"{over} iterations of L-BFGS are over before it converged. Raise max_iter or tol."
            )
        best = self.history.best_loss
        if not self._has_left(best):
            over = f"{over} epochs are over" if not converged else "the training ended"
            return (
                f"{over} and its loss, {best:.3g}, is still that of a constant prediction, "
                f"{self.constant:.3g}: little or nothing has been learned. Raise max_iter or "
                "learning_rate_init, or look whether X says anything of y."
            )
        if converged:
            return ""
        return (
            f"{over} epochs are over before the training stalled. Raise max_iter, or say "
            "n_iter_no_change=np.inf where the number of epochs is meant as it stands."
        )

    def _has_left(self, loss: float) -> bool:
        """Whether a loss is less than that of a constant, where one has any."""
        return self.constant <= 0 or loss <= LEFT * self.constant

    def _epochs(self, data: Data) -> bool:
        while not self.finished:
            self._finish(self._epoch(data))
            self._log()
            if self.save is not None:
                self.save(*self.state())
        return self._stalled()

    def _stalled(self) -> bool:
        return self.history.stalled > self.settings.n_iter_no_change

    def _rate(self) -> float:
        """Learning rate of the next epoch."""
        settings, history = self.settings, self.history
        if settings.learning_rate == "cosine":  # from the first value to almost nothing
            done = min(history.n_iter, settings.max_iter - 1) / settings.max_iter
            return settings.learning_rate_init * (1 + math.cos(math.pi * done)) / 2
        return settings.learning_rate_init * history.factor

    def _epoch(self, data: Data) -> float:
        """Change the weights batch by batch; return the mean loss."""
        settings, network = self.settings, self.network
        size = settings.batch_size or auto_batch_size(len(data))
        self._begun_with = network.weights.copy()
        self.optimizer.lr = self._rate()
        total, count = 0.0, 0.0
        rng = self.rng if settings.shuffle else None
        network.rnn.train()
        try:
            for value, n, grads, mass in data.epoch(network, size, rng, settings.truncation):
                value += self._decay(grads, mass)
                self._check(value)
                if settings.clip_norm is not None:
                    optim.clip_grad_norm(grads, settings.clip_norm)
                self.optimizer.step(grads)
                total += n * value
                count += n
        finally:
            network.rnn.eval()
        self._check(float(network.weights.sum()), "weights")
        return total / count

    def _decay(self, grads: np.ndarray, mass: float) -> float:
        """Add the gradient of alpha / (2 · series) · |w|² over weights, not biases; return that.

        Series count by what they weigh, which is their mass.
        """
        if self.settings.alpha == 0:
            return 0.0
        factor = self.settings.alpha / mass
        w = np.where(self._decayed, self.network.weights, 0)
        grads += w.dtype.type(factor) * w
        return factor / 2 * float(np.sum(w.astype(np.float64) ** 2))

    def _check(self, value: float, what: str = "loss") -> None:
        if math.isfinite(value):
            return
        settings = self.settings
        advice = f"a smaller learning_rate_init (now {settings.learning_rate_init:g})"
        clip = settings.clip_norm
        advice += ", clip_norm=1.0" if clip is None else f", a smaller clip_norm (now {clip:g})"
        if settings.solver == "lbfgs":
            advice = 'a larger alpha, solver="adam"'
        kept = "that they began with" if self.history.n_iter == 0 else "of the best epoch so far"
        what = f"the {what} became {value}" if what == "loss" else f"{what} became infinite or NaN"
        raise FloatingPointError(
            f"{what} in epoch {self.history.n_iter + 1}. Try {advice}, standardize=True, or "
            f'nonlinearity="tanh" where it is "relu". The weights {kept} are kept.'
        )

    def _finish(self, loss: float) -> None:
        """Take down what an epoch brought."""
        history, tol = self.history, self.settings.tol
        history.n_iter += 1
        history.loss_curve.append(loss)
        better = loss < history.best_loss
        stalled = _stalls(loss, history.best_loss, tol)
        history.best_loss = min(loss, history.best_loss)
        if self.validate is not None:
            score, validation_loss = self.validate()
            history.validation_scores.append(score)
            history.validation_losses.append(validation_loss)
        if self.early_stopping:
            gain = -validation_loss if self.by_loss else score
            better = gain > history.best_score
            stalled = _stalls(-gain, -history.best_score, tol)
            history.best_score = max(gain, history.best_score)
        if better:  # without a validation score nothing is known of the weights after the last step
            weights = self.network.weights if self.early_stopping else self._begun_with
            self.best = weights.copy()
        history.stalled = (
            history.stalled + 1 if stalled and self._has_left(history.best_loss) else 0
        )
        plateau = self.settings.learning_rate == "plateau"
        if plateau and history.stalled and history.stalled % PATIENCE == 0:
            history.factor *= FACTOR
        self._show(history)

    def _log(self) -> None:
        """Tell Python's logging of the last epoch."""
        history, score = self.history, None
        text, values = "epoch %d: loss %.6g", [history.n_iter, history.loss_curve[-1]]
        if self.validate is not None:
            score = history.validation_scores[-1]
            text += ", validation score %.6g"
            values.append(score)
        found = {"epoch": history.n_iter, "loss": values[1], "validation_score": score}
        _LOG.info(text, *values, extra=found)

    @contextlib.contextmanager
    def _progress(self, series: int) -> Iterator[Callable[[History], None]]:
        """One bar for all epochs, where it is asked for."""
        if not self.settings.verbose:
            yield _nothing
            return
        tqdm = need("tqdm.auto", "sklearn", "verbose=1").tqdm
        epochs = self.settings.max_iter
        done = self.history.n_iter
        with tqdm(
            total=epochs * series, initial=done * series, unit=" samples", unit_scale=True
        ) as bar:

            def show(history: History) -> None:
                values = {"loss": f"{history.loss_curve[-1]:.4g}"}
                if self.validate is not None:
                    values["validation"] = f"{history.validation_scores[-1]:.4g}"
                bar.set_description(f"epoch {history.n_iter}/{epochs}", refresh=False)
                bar.set_postfix(values, refresh=False)
                bar.update(history.n_iter * series - bar.n)

            yield show

    # --- L-BFGS ---------------------------------------------------------------------------------

    def _lbfgs(self, data: Data) -> bool:
        """Minimise the loss of all series at once; an epoch is an iteration.

        Values and gradients are kept where they are to be saved, and where there are some from
        before they are given instead of being computed.
        """
        from scipy.optimize import minimize

        network, known = self.network, list(self.evaluations)
        accepted = network.weights.copy()
        asked = 0

        def value_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal asked
            asked += 1
            if asked <= len(known):
                value, gradient = known[asked - 1]
                return value, gradient.copy()
            network.weights[:] = vector
            value, _, gradient, mass = data.whole(network)
            value += self._decay(gradient, mass)
            self._check(value)
            if self.save is not None:
                self.evaluations.append((value, gradient.copy()))
            return value, gradient

        def iterated(intermediate_result: Any) -> None:
            network.weights[:] = accepted[:] = intermediate_result.x
            self._finish(float(intermediate_result.fun))
            if asked > len(known):  # or else it was told, and saved, before
                self._log()
                if self.save is not None:
                    self.save(*self.state())
            if self.early_stopping and self._stalled():
                raise StopIteration

        try:
            result = minimize(
                value_and_gradient,
                network.weights.copy(),
                jac=True,
                method="L-BFGS-B",
                callback=iterated,
                options={
                    "maxiter": self.settings.max_iter, "maxfun": np.iinfo(np.int32).max,
                    "gtol": self.settings.tol, "ftol": 64 * np.finfo(np.float64).eps,
                },
            )  # fmt: skip
        except KeyboardInterrupt:
            network.weights[:] = accepted
            raise
        network.weights[:] = result.x
        return result.success or self.history.n_iter < self.settings.max_iter
