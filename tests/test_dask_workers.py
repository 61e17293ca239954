"""The bits of layers on Dask arrays: for small and odd chunks, in any order, on any workers."""

import random

import numpy as np
import pytest
from helpers import assert_same_bits, normal

import numba_rnn as nr

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

FORMS = {
    "time first": {"dtype": np.float32},
    "batch first": {"dtype": np.float64, "batch_first": True},
}


@pytest.fixture(scope="module")
def client():
    """A process of one thread, which a test may give others."""
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


class Case:
    """A layer of two layers and both directions, its input, and what NumPy says to it.

    Lengths are those that are nothing, everything, and one step before and behind a border.
    """

    def __init__(self, N, L, step, **form):
        self.rnn = nr.RNN(3, 5, 2, bidirectional=True, rng=0, **form)
        self.x = normal((L, N, 3), self.rnn.dtype)
        self.h_0 = normal((4, N, 5), self.rnn.dtype, 1)
        borders = {0, 1, step - 1, step, step + 1, L - 1, L}
        self.lengths = np.resize(sorted({min(n, L) for n in borders if n >= 0}), N)
        np.random.default_rng(0).shuffle(self.lengths)
        if self.rnn.batch_first:
            self.x = np.ascontiguousarray(self.x.swapaxes(0, 1))
        self.expected = self.rnn(self.x, self.h_0, lengths=self.lengths)

    def lazy(self, n, step):
        """Output and h_n, of chunks of n sequences and so many steps."""
        chunks = (n, step, 3) if self.rnn.batch_first else (step, n, 3)
        lengths = da.from_array(self.lengths, n)
        return self.rnn(da.from_array(self.x, chunks), self.h_0, lengths=lengths)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("N", "L", "n", "step"),
    [
        (9, 14, 1, 1), (40, 27, 1, 13), (260, 27, 1, 27),
        (23, 14, 7, 1), (260, 27, 7, 13), (260, 27, 7, 27),
        (260, 14, 256, 1), (260, 27, 256, 13), (260, 27, 256, 27),
        (260, 14, 260, 1), (260, 27, 260, 13), (260, 27, 260, 27),
    ],
)  # fmt: skip
def test_chunks(N, L, n, step, form):
    case = Case(N, L, step, **FORMS[form])
    found = dask.compute(*case.lazy(n, step), scheduler="synchronous")
    assert_same_bits(found, case.expected)


def in_random_order(seed):
    """A scheduler that runs whatever may be run, in an order that chance makes."""
    from dask._task_spec import convert_legacy_graph

    def get(graph, keys, **_):
        graph = graph.__dask_graph__() if hasattr(graph, "__dask_graph__") else graph
        graph = convert_legacy_graph(dict(graph))
        draw, done = random.Random(seed), {}
        waiting = {key: set(task.dependencies) for key, task in graph.items()}
        ready = [key for key, needs in waiting.items() if not needs]
        needed_by = {key: [] for key in graph}
        for key, needs in waiting.items():
            for other in needs:
                needed_by[other].append(key)
        while ready:
            key = ready.pop(draw.randrange(len(ready)))
            done[key] = graph[key]({other: done[other] for other in graph[key].dependencies})
            for other in needed_by[key]:
                waiting[other].discard(key)
                if not waiting[other]:
                    ready.append(other)

        def collected(keys):
            return [collected(key) for key in keys] if isinstance(keys, list) else done[keys]

        return collected(keys)

    return get


@pytest.mark.parametrize("form", FORMS)
def test_orders_and_schedulers(form):
    case = Case(23, 27, 13, **FORMS[form])
    lazy = case.lazy(7, 13)
    for seed in range(20):
        found = dask.compute(*lazy, scheduler=in_random_order(seed))
        assert_same_bits(found, case.expected)
    for workers in (1, 2, 8):
        found = dask.compute(*lazy, scheduler="threads", num_workers=workers)
        assert_same_bits(found, case.expected)


def test_processes():
    """Of Dask's own scheduler; arrays come there as pickles."""
    case = Case(23, 27, 13, **FORMS["batch first"])
    with dask.config.set(scheduler="processes", num_workers=2):
        assert_same_bits(dask.compute(*case.lazy(7, 13)), case.expected)


def of_states(rnn, x):
    """Half the sum of squares of the last states."""
    tape = rnn.forward(x)
    return 0.5 * float((tape.h_n**2).sum()), [tape.backward(grad_h_n=tape.h_n).flat]


def test_numbers_of_workers(client):
    """A layer, another on top of it, and gradients; between workers arrays are sent."""
    cases = [Case(23, 27, 13, **form) for form in FORMS.values()]
    readout = nr.Linear(10, 3, rng=1)
    expected = [readout(cases[0].expected[0]), *cases[0].expected, *cases[1].expected]
    blocks = da.from_array(cases[0].x, (27, 4, 3)).to_delayed().ravel()
    with dask.config.set(scheduler="synchronous"):
        summed = nr.dask.gradients(of_states, cases[0].rnn, blocks)
    for workers in (1, 2, 4):
        client.cluster.scale(workers)
        client.wait_for_workers(workers)
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == workers
        first, second = (case.lazy(7, 13) for case in cases)
        lazy = [readout(first[0]), *first, *second]
        assert_same_bits(client.gather(client.compute(lazy)), expected)
        with client.as_current():
            value, grads = nr.dask.gradients(of_states, cases[0].rnn, blocks)
        assert value == summed[0]
        assert_same_bits(grads, summed[1])


def _seen_by(_):
    import numba

    from numba_rnn.dask import threads

    with threads.share() as mine:
        return mine, numba.get_num_threads()


def test_a_worker_uses_its_own_threads(client):
    """Workers of one thread each, in processes that may have as many as the machine."""
    assert client.gather(client.map(_seen_by, range(4))) == [(1, 1)] * 4
