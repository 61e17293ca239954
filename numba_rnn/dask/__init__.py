"""Sequences that are Dask's: more than one machine's memory holds, or its cores get through.

    layers.py       what a layer called on a Dask array becomes: tasks, none of them run yet
    tasks.py        what a task does, on NumPy arrays, wherever it runs
    threads.py      how many of Numba's threads a task gets
    workers.py      what is sent to a worker, and whether anybody waits for what it does
    trees.py        gradients of blocks, summed in one order whatever the workers
    series.py       series of different lengths: lists in a column, or values with offsets
    blocks.py       series of an array, in blocks that don't depend on its chunks
    fitting.py      fits to these: gradients of batches, summed by workers
    predictions.py  what estimators say of Dask arrays
    panels.py       lists of series, for forecasters

Layers take Dask arrays when they are called, ``rnn(x)``, and estimators to fit and to predict;
nothing of this has to be imported for that. Dask is imported when it is needed.
"""

from __future__ import annotations

from .series import map_series
from .trees import gradients

__all__ = ["gradients", "map_series"]
