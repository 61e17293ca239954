"""The trainings of a fit: one for each member of an ensemble, one after the other."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from . import states
from .checkpoint import Checkpoint
from .examples import Data
from .training import Training


class Trainings:
    """What a fit has to do.

    Parameters
    ----------
    trainings : list of Training
    checkpoint : Checkpoint, optional
        Holds the states of all; what it has found is gone on from.
    seed : list of int
        Goes into the checkpoint.
    are_new : bool
        Whether the networks have not been trained before.
    """

    def __init__(
        self,
        trainings: list[Training],
        checkpoint: Checkpoint | None,
        seed: list[int],
        are_new: bool,
    ) -> None:
        self.trainings, self.are_new = trainings, are_new
        self._checkpoint, self._seed = checkpoint, seed
        self._states: list[states.State] = []
        if checkpoint is None:
            return
        if checkpoint.found:
            with checkpoint.reading():
                self._states = states.apart(*checkpoint.found)
                states.check(self._states, trainings)
            for training, state in zip(trainings, self._states, strict=False):
                training.load_state(*state)
        if not all(training.finished for training in trainings):  # or else it is only read
            checkpoint.claim()
            for k, training in enumerate(trainings):
                training.save = self._saver(k)

    def _saver(self, k: int) -> Any:
        def save(meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
            # a copy, for the arrays of a training change while the next ones are saved
            self._states[k:] = [
                (meta, {name: array.copy() for name, array in arrays.items()}),
                *self._states[k + 1 :],
            ]
            meta, arrays = states.together(self._states)
            self._checkpoint.save(meta | {"seed": self._seed}, arrays)

        return save

    def release(self) -> None:
        """Let others write the checkpoint."""
        if self._checkpoint is not None:
            self._checkpoint.release()

    def run(self, data: Data, *, quiet: bool = False) -> None:
        """Train all of them.

        Parameters
        ----------
        data : Data
        quiet : bool
            Whether to leave out the ConvergenceWarning, where a network need not have learned.

        Raises
        ------
        FloatingPointError
            If a loss is no finite number any more; the best weights are restored.

        Warns
        -----
        ConvergenceWarning
            If one has not come to its end, or has learned nothing.
        UserWarning
            If the user interrupted it.
        """
        said = []
        try:
            for training in self.trainings:
                said.append(training.run(data))
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", UserWarning, stacklevel=3)
        finally:
            self.release()
        said = [words for words in said if words]
        if said and not quiet:
            count = len(self.trainings)
            words = f"of {len(said)} of {count} members: {said[0]}" if count > 1 else said[0]
            warnings.warn(words, ConvergenceWarning, stacklevel=3)
