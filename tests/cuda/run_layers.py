"""Walks through time as compiled for a GPU, in the interpreter, against the textbook.

`test_cuda.py` runs this file in a process of its own.
"""

import numpy as np
import pytest
from interpreter import GPU, Fault, install
from problem import check

from numba_rnn.cuda import Backend, toolkit
from numba_rnn.cuda import backend as backend_module
from numba_rnn.cuda.choice import Plan, choose
from numba_rnn.cuda.lanes import Split
from numba_rnn.cuda.libraries import NUMBA

install()
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
RELU = {"nonlinearity": "relu", "bias": False}
NOTHING = {"lengths": [0, 2, 0], "states": False}  # some samples have no step


def to_host(array):
    return array.copy_to_host()


def layer(walk, H, kind, dtype, *, multiprocessors=132, plan=None, seed=0, **options):
    """One layer, forward and backward, by kernels of a plan or those that are chosen."""
    options = {"L": 4, "N": 3, "D": 2} | options
    gpu = toolkit.gpu()._replace(multiprocessors=multiprocessors)
    plan = plan or choose(gpu, H, options["N"], options["D"], dtype.itemsize, walk)
    assert plan.kind == walk
    GPU.clear(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend_module, "choose", lambda *_: plan)
        check(Backend(NUMBA), GPU.array, to_host, kind, H=H, dtype=dtype, seed=seed, **options)
    return plan


@pytest.mark.parametrize(
    ("H", "kind", "dtype", "options"),
    [
        (33, "lengths", F32, {}),
        (5, "packed", F64, RELU),
        (257, "padded", F32, {"L": 2, "N": 1, "D": 1}),  # more units than threads
        (5, "lengths", F32, NOTHING | {"grads": (False, True)}),
    ],
)
def test_generic(H, kind, dtype, options):
    layer("generic", H, kind, dtype, **options)


@pytest.mark.parametrize(
    ("H", "kind", "dtype", "options"),
    [
        (65, "lengths", F32, {"L": 2, "D": 1}),  # more than a tile
        (7, "packed", F64, RELU),
        (7, "lengths", F32, NOTHING),
    ],
)
def test_steps(H, kind, dtype, options):
    layer("steps", H, kind, dtype, **options)


# The sizes of the splits: width, units, lanes, quads in registers, rows.
TWO_ROWS, FOUR_LANES = (
    Plan("persistent", Split(*sizes)) for sizes in ((64, 64, 8, 1, 2), (32, 32, 4, 1, 1))
)


@pytest.mark.parametrize(
    ("H", "kind", "dtype", "options"),
    [
        (31, "lengths", F32, {}),
        (7, "padded", F32, NOTHING | {"grads": (True, False)}),
        (61, "packed", F64, RELU | {"plan": TWO_ROWS}),
        (29, "batch_first", F32, {"plan": FOUR_LANES, "D": 1}),
    ],
)
def test_persistent(H, kind, dtype, options):
    layer("persistent", H, kind, dtype, **options)


@pytest.mark.parametrize(
    ("H", "kind", "dtype", "options", "expected"),
    [
        # blocks, groups, directions of a launch, rows
        (70, "lengths", F32, {"multiprocessors": 8}, (2, 2, 2, 2)),
        (70, "lengths", F32, NOTHING | {"multiprocessors": 5, "D": 1}, (2, 2, 1, 2)),
        # Rows in two turns at every step.
        (65, "packed", F64, RELU | {"multiprocessors": 3, "N": 5}, (2, 1, 1, 4)),
    ],
)
def test_grid(H, kind, dtype, options, expected):
    plan = layer("grid", H, kind, dtype, **options)
    assert (plan.blocks, plan.groups, plan.directions, plan.split.rows) == expected


# --- what orders threads is needed ----------------------------------------------------------------

WALKS = {
    "generic": (33, "padded", {}),
    "persistent": (31, "padded", {}),
    "grid": (70, "padded", {"multiprocessors": 2, "N": 2}),
}


@pytest.mark.parametrize("walk", WALKS)
def test_every_barrier_and_fence_is_missed(walk):
    """Each one that is run, taken out by itself, leaves a race or a read of unwritten memory."""
    H, kind, options = WALKS[walk]
    options = {"L": 3, "N": 1, "I": 1, "D": 1} | options
    layer(walk, H, kind, F32, **options)
    places = GPU.ordering(f"{walk}.")
    assert len(places) >= {"generic": 2, "persistent": 4, "grid": 10}[walk], places
    for place in places:
        with GPU.without(*place), pytest.raises(Fault, match=r"race|unwritten"):
            layer(walk, H, kind, F32, **options)
