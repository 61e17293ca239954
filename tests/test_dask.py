"""Layers on Dask arrays: the bits of NumPy's, whatever the chunks and whoever computes them."""

import importlib.metadata
import importlib.util
import threading
from itertools import pairwise

import numpy as np
import pytest
from helpers import assert_same_bits, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import python

import numba_rnn as nr

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
pytest.importorskip("distributed")

SCHEDULERS = ("synchronous", "threads")


@st.composite
def cut(draw, size):
    """Chunks of an axis of this size."""
    places = draw(st.sets(st.integers(1, max(1, size - 1)), max_size=4)) if size > 1 else set()
    ends = [0, *sorted(places), size]
    return tuple(b - a for a, b in pairwise(ends))


@st.composite
def calls(draw):
    """A layer, x and its chunks, h_0, lengths, and whether these come as Dask arrays too."""
    rnn = nr.RNN(
        3, draw(st.sampled_from([2, 5])), draw(st.integers(1, 2)),
        draw(st.sampled_from(["tanh", "relu"])), draw(st.booleans()), draw(st.booleans()),
        bidirectional=draw(st.booleans()), dtype=draw(st.sampled_from([np.float32, np.float64])),
        rng=0,
    )  # fmt: skip
    L, N = draw(st.integers(0, 7)), draw(st.integers(0, 5))
    seed = draw(st.integers(0, 9))
    x = normal((N, L, 3) if rnn.batch_first else (L, N, 3), rnn.dtype, seed)
    chunks = draw(cut(L)), draw(cut(N))
    h_0 = lengths = None
    if draw(st.booleans()):
        shape = rnn.num_layers * (1 + rnn.bidirectional), N, rnn.hidden_size
        h_0 = normal(shape, rnn.dtype, seed + 1)
    if draw(st.booleans()):
        lengths = np.random.default_rng(seed).integers(0, L + 1, N)
    return (
        rnn,
        x,
        (*(chunks[::-1] if rnn.batch_first else chunks), 3),
        h_0,
        lengths,
        draw(st.booleans()),
    )


@given(calls())
@settings(max_examples=40)
def test_bits_are_numpys(call):
    rnn, x, chunks, h_0, lengths, as_dask = call
    expected = rnn(x, h_0, lengths=lengths)
    if as_dask:
        h_0 = None if h_0 is None else da.from_array(h_0, (1, 2, 3))
        lengths = None if lengths is None else da.from_array(lengths, 2)
    output, h_n = rnn(da.from_array(x, chunks), h_0, lengths=lengths)
    assert output.chunks[:2] == chunks[:2] and output.dtype == h_n.dtype == rnn.dtype
    assert (output.shape, h_n.shape) == (expected[0].shape, expected[1].shape)
    for scheduler in SCHEDULERS:
        assert_same_bits(dask.compute(output, h_n, scheduler=scheduler), expected)
    assert_same_bits(h_n.compute(scheduler="synchronous"), expected[1])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_sequence_alone(bidirectional, batch_first):
    rnn = nr.RNN(3, 4, 2, batch_first=batch_first, bidirectional=bidirectional, rng=0)
    x, h_0 = normal((9, 3), np.float32), normal((2 + 2 * bidirectional, 4), np.float32)
    lazy = rnn(da.from_array(x, (4, 3)), h_0)
    assert lazy[0].chunks[0] == (4, 4, 1)
    assert_same_bits(dask.compute(*lazy, scheduler="synchronous"), rnn(x, h_0))


@given(st.data())
@settings(max_examples=15)
def test_cells_and_linear_layers(data):
    cell, linear = nr.RNNCell(3, 4, rng=0), nr.Linear(3, 2, rng=0)
    N, L = data.draw(st.integers(0, 9)), data.draw(st.integers(1, 4))
    chunks = data.draw(cut(N))
    x, h = normal((N, 3), np.float32), normal((N, 4), np.float32, 1)
    steps = normal((L, N, 3), np.float32, 2)
    lazy = [
        cell(da.from_array(x, (chunks, 3))),
        cell(da.from_array(x, (chunks, 3)), h),
        cell(da.from_array(x, (chunks, 3)), da.from_array(h, 2)),
        linear(da.from_array(x, (chunks, 3))),
        linear(da.from_array(steps, (data.draw(cut(L)), chunks, 3))),
    ]
    expected = [cell(x), cell(x, h), cell(x, h), linear(x), linear(steps)]
    for scheduler in SCHEDULERS:
        assert_same_bits(dask.compute(*lazy, scheduler=scheduler), tuple(expected))
    one = x[0] if N else normal(3, np.float32)
    assert_same_bits(cell(da.from_array(one)).compute(scheduler="synchronous"), cell(one))
    assert_same_bits(linear(da.from_array(one)).compute(scheduler="synchronous"), linear(one))


def test_nothing_is_computed_when_a_graph_is_made():
    def never(block):
        raise AssertionError("computed")

    rnn = nr.RNN(3, 4, bidirectional=True, rng=0)
    x = da.map_blocks(never, da.zeros((8, 6, 3), chunks=3, dtype=np.float32), dtype=np.float32)
    lengths = da.map_blocks(never, da.full(6, 3, chunks=2), dtype=int)
    with pytest.warns(UserWarning, match="features"):
        rnn(da.concatenate([x[..., :2], x[..., 2:]], axis=2), lengths=lengths)
    output, _ = rnn(x, da.zeros((2, 6, 4), dtype=np.float32), lengths=lengths)
    assert isinstance(output._meta, np.ndarray) and output._meta.shape == (0, 0, 0)
    nr.Linear(8, 1, rng=0)(output)
    nr.RNNCell(3, 4, rng=0)(x[0])


def test_names_come_of_what_a_result_rests_on():
    def build(rnn, **options):
        x = da.from_array(np.ones((6, 4, 3), np.float32), (2, 2, 3), name="x")
        return rnn(x, **options)

    rnn = nr.RNN(3, 4, bidirectional=True, rng=0)
    a, b = build(rnn), build(nr.RNN(3, 4, bidirectional=True, rng=0))
    assert set(a[0].dask) == set(b[0].dask)
    others = [
        build(nr.RNN(3, 4, bidirectional=True, rng=1)),
        build(nr.RNN(3, 4, nonlinearity="relu", bidirectional=True, rng=0)),
        build(rnn, lengths=[6, 6, 6, 5]),
        build(rnn, h_0=np.ones((2, 4, 4), np.float32)),
    ]
    assert len({output.name for output, _ in (a, *others)}) == 5
    before = a[0].compute(scheduler="synchronous")
    rnn.flat_parameters *= 2  # what was built is of the layer as it was
    assert build(rnn)[0].name != a[0].name
    assert_same_bits(a[0].compute(scheduler="synchronous"), before)


def test_a_state_and_lengths_are_what_they_were():
    rnn = nr.RNN(3, 4, rng=0)
    x, h_0 = np.ones((6, 4, 3), np.float32), np.ones((1, 4, 4), np.float32)
    lengths = np.array([6, 1, 2, 3])
    expected = rnn(x, h_0, lengths=lengths)
    lazy = rnn(da.from_array(x, (2, 2, 3)), h_0, lengths=lengths)
    h_0[:], lengths[:] = 0, 0
    assert_same_bits(dask.compute(*lazy, scheduler="synchronous"), expected)


def test_the_layer_is_one_key():
    rnn = nr.RNN(3, 4, rng=0)
    output, _ = rnn(da.zeros((6, 4, 3), chunks=(2, 2, 3), dtype=np.float32))
    graph = dict(output.dask)
    (key,) = [key for key in graph if str(key).startswith("rnn-layer")]
    runs = [task for name, task in graph.items() if name[0].startswith("rnn-run")]
    assert len(runs) == 6
    assert all(key in task and not any(isinstance(part, nr.RNN) for part in task) for task in runs)


@pytest.mark.parametrize("batch_first", [False, True])
def test_what_is_done_to_a_block_is_one_task(batch_first):
    """Only where both output and h_n are wanted a block has more tasks: they share the first."""
    rnn = nr.RNN(3, 4, bidirectional=True, batch_first=batch_first, rng=0)
    readout, cell = nr.Linear(8, 2, rng=0), nr.RNNCell(3, 4, rng=0)
    shape, chunks = ((10, 6, 3), (2, -1, -1)) if batch_first else ((6, 10, 3), (-1, 2, -1))
    x = da.ones(shape, chunks=chunks, dtype=np.float32)
    output, h_n = rnn(x)
    last = cell(da.ones((10, 3), chunks=(2, -1), dtype=np.float32))

    def tasks(*arrays):
        """How many are run; one for each array puts its blocks together."""
        ran = []
        with dask.callbacks.Callback(pretask=lambda key, *_: ran.append(key)):
            dask.compute(*arrays, scheduler="synchronous")
        return len(ran) - len(arrays)

    assert tasks(h_n * 2) == 5
    assert tasks(readout(output) * 2) == 5
    assert tasks(last * 2) == 5
    assert tasks(output, h_n) == 3 * 5


def test_what_is_not_taken():
    rnn = nr.RNN(3, 4, rng=0)
    x = da.zeros((6, 4, 3), chunks=2, dtype=np.float32).rechunk({2: 3})
    unknown = x[:, da.ones(4, chunks=2) > 0]
    with pytest.raises(ValueError, match=r"chunks of known size, .*compute_chunk_sizes"):
        rnn(unknown)
    with pytest.raises(TypeError, match=r"x must be of dtype float32.*x\.astype\(np\.float32\)"):
        rnn(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"x must have shape \(L, N, 3\) or \(L, 3\), got"):
        rnn(x[..., :2])
    with pytest.raises(ValueError, match=r"h_0 must have shape \(1, 4, 4\)"):
        rnn(x, np.zeros((1, 3, 4), np.float32))
    with pytest.raises(ValueError, match=r"h_0 must have shape \(1, 4, 4\)"):
        rnn(x, da.zeros((1, 3, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="lengths must lie between 0 and 6"):
        rnn(x, lengths=[1, 2, 3, 7])
    with pytest.raises(ValueError, match="one length for each of the 4"):
        rnn(x, lengths=da.ones(3, dtype=int))
    with pytest.raises(TypeError, match="lengths must hold integers"):
        rnn(x, lengths=da.ones(4))
    with pytest.raises(ValueError, match="lengths must be None with unbatched"):
        rnn(x[:, 0], lengths=[1])
    with pytest.raises(ValueError, match=r"dropout acts in training mode.*\.eval\(\)"):
        nr.RNN(3, 4, 2, dropout=0.5, rng=0)(x)
    with pytest.raises(TypeError, match="blocks that are NumPy arrays"):
        rnn(da.ma.masked_array(x, False))
    output, _ = rnn(x, lengths=da.full(4, 7, chunks=2))  # seen when it is computed
    with pytest.raises(ValueError, match="lengths must lie between 0 and 6"):
        output.compute(scheduler="synchronous")


def test_dropout_that_does_not_act_is_taken():
    rnn = nr.RNN(3, 4, 2, dropout=0.5, rng=0).eval()
    x = normal((6, 4, 3), np.float32)
    lazy = rnn(da.from_array(x, (2, 2, 3)))[0]
    rnn.train()  # later, and of no matter to what is built
    assert_same_bits(lazy.compute(scheduler="synchronous"), rnn.eval()(x)[0])


@pytest.mark.parametrize("layer", [nr.RNN(3, 4, rng=0), nr.RNNCell(3, 4), nr.Linear(3, 2)])
def test_forward_says_what_to_call(layer):
    x = da.zeros((6, 3), dtype=np.float32)
    with pytest.raises(
        TypeError,
        match=r"x must be a NumPy array .*got a Dask array of shape \(6, 3\).*as in rnn\(x\), and "
        r"numba_rnn\.dask\.gradients",
    ):
        layer.forward(x)


def test_a_numpy_x_takes_no_dask_state():
    with pytest.raises(TypeError, match=r"h_0 must be a NumPy array.*h_0\.compute\(\)"):
        nr.RNN(3, 4)(np.zeros((6, 4, 3), np.float32), da.zeros((1, 4, 4), dtype=np.float32))


def test_dask_is_imported_when_it_is_seen():
    python(
        "import sys, numpy as np\n"
        "import numba_rnn as nr\n"
        "rnn = nr.RNN(3, 4, rng=0)\n"
        "rnn(np.zeros((6, 4, 3), np.float32))\n"
        "import numba_rnn.dask, numba_rnn.dask.layers\n"
        "assert not {'dask', 'distributed'} & set(sys.modules)\n"
        "import dask.array as da\n"
        "output, _ = rnn(da.zeros((6, 4, 3), dtype=np.float32))\n"
        "assert 'distributed' not in sys.modules\n"
        "output.compute(scheduler='synchronous')"
    )


# --- threads ------------------------------------------------------------------------------------


def test_tasks_share_the_threads_there_are(monkeypatch):
    from numba_rnn.dask import threads

    monkeypatch.setattr(threads, "_limit", lambda: 2)
    monkeypatch.setattr(threads.numba, "get_num_threads", lambda: 1)
    monkeypatch.setattr(threads.numba, "set_num_threads", lambda count: None)
    with threads.share() as first:
        with threads.share() as second, threads.share() as third:
            assert (first, second, third) == (2, 1, 1)
        with threads.share() as again:
            assert again == 1
    with threads.share() as alone:
        assert alone == 2
    with pytest.raises(ZeroDivisionError), threads.share():
        raise ZeroDivisionError
    assert threads._taken == 0


def path_of_tbb():
    """What lets a process find TBB, which Numba doesn't look for where pip puts it."""
    if importlib.util.find_spec("numba.np.ufunc.tbbpool") is None:
        pytest.skip("this build of Numba has no TBB")
    try:
        import numba.np.ufunc.tbbpool  # noqa: F401
    except ImportError:
        try:
            files = importlib.metadata.files("tbb") or []
        except importlib.metadata.PackageNotFoundError:
            pytest.skip("TBB is not installed")
        found = [file.locate().resolve().parent for file in files if file.match("libtbb.so.*")]
        return {"LD_LIBRARY_PATH": found[0]}
    return {}


@pytest.mark.parametrize("layer", ["omp", "workqueue", "tbb"])
def test_many_threads_of_python_at_once(layer):
    """Blocks large enough to launch threads of Numba's from each of Dask's."""
    library = path_of_tbb() if layer == "tbb" else {}
    out = python(
        "import numpy as np, dask, dask.array as da, numba, numba_rnn as nr\n"
        "import numba_rnn.cpu.parallel as p\n"
        "p.WORTH_A_LAUNCH = p.WORTH_A_LAUNCH_WORKQUEUE = 1000\n"
        "from numba_rnn.dask import threads\n"
        "threads._limit = lambda: 64\n"  # all of them launch
        "set_num_threads = numba.set_num_threads\n"
        "threads.numba.set_num_threads = lambda n: set_num_threads(min(n, 2))\n"
        "rnn = nr.RNN(8, 16, bidirectional=True, rng=0)\n"
        "x = np.random.default_rng(0).normal(size=(30, 96, 8)).astype(np.float32)\n"
        "output, h_n = rnn(da.from_array(x, (10, 6, 8)))\n"
        "with dask.config.set(scheduler='threads', num_workers=8):\n"
        "    output = output.compute()\n"
        "assert output.tobytes() == rnn(x)[0].tobytes()\n"
        "print(numba.threading_layer())",
        NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS=2, **library,
    )  # fmt: skip
    assert out.split() == [layer]


def test_results_are_the_same_from_many_threads_of_the_caller():
    rnn = nr.RNN(3, 8, 2, bidirectional=True, rng=0)
    x = normal((12, 8, 3), np.float32)
    expected, found = rnn(x)[0], []

    def call():
        found.append(rnn(da.from_array(x, (5, 3, 3)))[0].compute(scheduler="threads"))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert_same_bits(found, [expected] * 4)
