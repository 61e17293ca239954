"""In Numba's simulator alone: that its blocks run at once, and need the barrier between them."""

import threading
import time

import pytest
import simulator
from sim_kernels import one_layer

from numba_rnn.cuda import grid
from numba_rnn.cuda.choice import Plan
from numba_rnn.cuda.lanes import Split


def test_the_simulated_grid_shows_a_missing_barrier(monkeypatch):
    def of_the_block_alone(*_):
        thread = threading.current_thread()
        time.sleep(0.1 * thread.blockIdx.x)  # so that the first block is ahead of the second
        thread.syncthreads()

    monkeypatch.setattr(grid, "wait_for_all", of_the_block_alone)
    plan = Plan("grid", Split(16, 8, 4, 1, 1), 2, 1, 1)
    with simulator.concurrent_blocks(), pytest.raises(AssertionError, match="output"):
        one_layer(plan, "padded", monkeypatch, H=13, N=2, D=1)
