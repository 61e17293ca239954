"""RNN: the same numbers as the textbook and torch, and everything promised about its behaviour."""

import copy
import itertools
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, check, example, gradients, normal
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

import numba_rnn as nr

KINDS = ["padded", "lengths", "packed", "unbatched"]
DTYPES = [np.float32, np.float64]


def combinations(test):
    """Every combination of what a layer can be and what it can be called with."""
    axes = {
        "nonlinearity": ["tanh", "relu"],
        "num_layers": [1, 2, 3],
        "bidirectional": [False, True],
        "bias": [False, True],
        "batch_first": [False, True],
    }
    options = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    test = pytest.mark.parametrize("kind", KINDS)(test)
    return pytest.mark.parametrize(
        "options", options, ids=lambda o: "-".join(map(str, o.values()))
    )(test)


def sample(kind="lengths", L=7, N=5, **options):
    """Return a layer with two layers and two directions, and the arguments of a call of it."""
    options = {"num_layers": 2, "bidirectional": True, "dtype": np.float64, "rng": 0} | options
    rnn = nr.RNN(3, 4, **options)
    x, h_0, lengths = example(rnn, kind, L, N)
    return rnn, (x, h_0), {"lengths": lengths}


def answer(rnn, x, h_0=None, lengths=None):
    """Return all that a call and its backward give, for gradients that depend on shapes alone."""
    tape = rnn.forward(x, h_0, lengths=lengths)
    output = tape.output.data if isinstance(tape.output, nr.PackedSequence) else tape.output
    grads = tape.backward(
        normal(output.shape, rnn.dtype, 8), normal(tape.h_n.shape, rnn.dtype, 9),
        state_gradients=True,
    )  # fmt: skip
    return {"output": tape.output, "h_n": tape.h_n, **gradients(grads)}


# --- the same numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@combinations
def test_same_as_the_textbook(options, kind, dtype):
    rnn = nr.RNN(3, 5, dtype=dtype, rng=0, **options)
    check(rnn, *example(rnn, kind, L=6, N=4))


@combinations
def test_same_as_torch(torch, options, kind):
    rnn = nr.RNN(3, 5, dtype=np.float64, rng=0, **options)
    check(rnn, *example(rnn, kind, L=6, N=4), torch=torch)


SIZES = [  # L, N, I, H
    (1, 1, 1, 1),
    *((3, n, 3, 7) for n in range(1, 14)),  # every height of a tile, and what is left over
    (2, 50, 5, 9),
    (4, 100, 2, 3),
    *((3, 5, 4, h) for h in (1, 3, 7, 8, 9, 16, 17, 31, 50, 64, 100, 130)),
    *((2, 3, i, 5) for i in (1, 2, 7, 8, 9, 16, 31, 33, 40)),
    (3, 2, 5, 300),  # few samples and many hidden units
    (2, 1, 40, 257),
    (40, 13, 3, 17),
    (9, 150, 17, 33),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes(size, dtype):
    L, N, I, H = size
    rnn = nr.RNN(I, H, num_layers=2, bidirectional=True, dtype=dtype, rng=1)
    for kind in ("padded", "lengths"):
        check(rnn, *example(rnn, kind, L, N))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(6, 20, 33, 65), (5, 130, 9, 31), (4, 2, 40, 200)], ids=str)
def test_threads_change_nothing(size, dtype):
    """Enough work for several threads, and the same bits with one."""
    L, N, I, H = size
    rnn = nr.RNN(I, H, num_layers=2, bidirectional=True, dtype=dtype, rng=1)
    before = numba.get_num_threads()
    for kind in ("padded", "lengths"):
        arguments = example(rnn, kind, L, N)
        check(rnn, *arguments)
        several = answer(rnn, *arguments)
        try:
            numba.set_num_threads(1)
            one = answer(rnn, *arguments)
        finally:
            numba.set_num_threads(before)
        assert_same_bits(several, one)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("size", [(5, 130, 9, 31), (3, 2, 5, 300), (4, 7, 3, 5)], ids=str)
def test_splits_change_nothing(size, parts, monkeypatch):
    """However many parts work is cut into, on however many processors: the same bits."""
    from numba_rnn import cpu
    from numba_rnn.cpu import parallel

    L, N, I, H = size
    rnn = nr.RNN(I, H, num_layers=2, bidirectional=True, dropout=0.2, rng=1)
    arguments = example(rnn, "lengths", L, N)
    expected = answer(copy.deepcopy(rnn), *arguments)
    monkeypatch.setattr(parallel, "WORTH_SHARING_A_STEP", 0)
    for module in (cpu, parallel):
        monkeypatch.setattr(module, "threads", lambda work: parts)
    assert_same_bits(answer(copy.deepcopy(rnn), *arguments), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_finite_differences(kind, batch_first):
    """scipy's differences of a loss of (output, h_n), by input, h_0 and every parameter."""
    rnn = nr.RNN(
        2, 3, num_layers=2, bidirectional=True, batch_first=batch_first, dtype=np.float64, rng=0
    )
    x, h_0, lengths = example(rnn, kind, L=4, N=3)
    packed = x if kind == "packed" else None
    x = np.nan_to_num(x.data if kind == "packed" else x)

    def given(array):
        return array if packed is None else packed._replace(data=array)

    arrays = [x, h_0, rnn.flat_parameters]
    start = np.concatenate([a.ravel() for a in arrays])
    ends = np.cumsum([a.size for a in arrays])[:-1]

    def forward(flat):
        for array, piece in zip(arrays, np.split(flat, ends), strict=True):
            array[...] = piece.reshape(array.shape)
        return rnn.forward(given(x), h_0, lengths=lengths)

    def loss(flat):
        output, h_n = forward(flat)
        output = output if packed is None else output.data
        return np.sum(np.sin(output)) + np.sum(h_n**3)

    expected = approx_fprime(start, loss)
    tape = forward(start)
    output = tape.output if packed is None else tape.output.data
    grads = tape.backward(np.cos(output), 3 * tape.h_n**2)
    dx = grads.input if packed is None else grads.input.data
    ours = np.concatenate([dx.ravel(), grads.h_0.ravel(), grads.flat])
    assert_close(ours, expected, 1e-6)


@st.composite
def calls(draw):
    """Draw a layer and the arguments of a call of it."""
    number = st.integers
    kind = draw(st.sampled_from(KINDS))
    rnn = nr.RNN(
        draw(number(1, 20)), draw(number(1, 36)),
        num_layers=draw(number(1, 3)),
        nonlinearity=draw(st.sampled_from(["tanh", "relu"])),
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        dtype=draw(st.sampled_from(DTYPES)),
        rng=draw(number(0, 99)),
    )  # fmt: skip
    least = 1 if kind == "packed" else 0
    L, N = draw(number(least, 9)), draw(number(least, 14))
    x, h_0, lengths = example(rnn, "padded" if kind == "lengths" else kind, L, N)
    if kind == "lengths":
        lengths = draw(st.lists(number(0, L), min_size=N, max_size=N))
    return rnn, x, draw(st.sampled_from([h_0, None])), lengths


@given(calls())
def test_any_shape_and_lengths(call):
    check(*call)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=9), st.sampled_from(DTYPES))
def test_padded_packed_and_single_are_one(lengths, dtype):
    """Three ways to say the same: the very same bits of every sample."""
    rnn = nr.RNN(2, 9, num_layers=2, bidirectional=True, dtype=dtype, rng=0)
    lengths = np.array(lengths)
    x, h_0, _ = example(rnn, "padded", 8, len(lengths))
    tape = rnn.forward(x, h_0, lengths=lengths)
    grad_output, grad_h_n = normal(tape.output.shape, dtype, 5), normal(tape.h_n.shape, dtype, 6)
    grads = tape.backward(grad_output, grad_h_n)
    for n, length in enumerate(lengths):  # each alone
        alone = rnn.forward(x[:length, n], h_0[:, n])
        alone_grads = alone.backward(grad_output[:length, n], grad_h_n[:, n])
        assert_same_bits(alone.output, tape.output[:length, n])
        assert_same_bits(alone.h_n, tape.h_n[:, n])
        assert_same_bits(alone_grads.input, grads.input[:length, n])
        assert_same_bits(alone_grads.h_0, grads.h_0[:, n])

    real = lengths > 0
    if not real.any():
        return

    def pack(array):
        return nr.pack_padded_sequence(array[:, real], lengths[real], enforce_sorted=False)

    packed = rnn.forward(pack(x), h_0[:, real])
    packed_grads = packed.backward(pack(grad_output), grad_h_n[:, real])
    assert_same_bits(packed.output, pack(tape.output))
    assert_same_bits(packed.h_n, tape.h_n[:, real])
    assert_same_bits(packed_grads.input, pack(grads.input))
    assert_same_bits(packed_grads.h_0, grads.h_0[:, real])
    assert_close(packed_grads.flat, grads.flat.astype(np.float64))


# --- dropout ------------------------------------------------------------------------------------


def ones_masked(rng, shape, p, D=1, layer=1, **options):
    """Return one call's masks after a layer: a call of layers that pass ones on, ReLU all of them.

    The key comes from `rng` as it stands, so two layers whose generators stand alike drop alike.
    """
    L, N, H = shape
    rng = copy.deepcopy(rng)
    state = rng.bit_generator.state
    rnn = nr.RNN(
        1, H, num_layers=layer + 1, nonlinearity="relu", dropout=p, bidirectional=D == 2,
        rng=rng, **options,
    )  # fmt: skip
    rng.bit_generator.state = state
    rnn.flat_parameters[:] = 0
    for d, suffix in enumerate(("", "_reverse")[:D]):
        setattr(rnn, f"bias_ih_l{layer - 1}{suffix}", np.ones(H))
        here = np.eye(H, D * H, d * H)  # each direction reads its own half
        setattr(rnn, f"weight_ih_l{layer}{suffix}", here)
    return rnn, rnn(np.zeros((L, N, 1), rnn.dtype))[0]


class TestDropout:
    @pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
    def test_mask_statistics(self, p):
        rng = np.random.default_rng(3)
        rnn, first = ones_masked(rng, (20, 10, 100), p)
        second = rnn(np.zeros((20, 10, 1), np.float32))[0]
        _, above = ones_masked(rng, (20, 10, 100), p, layer=2)  # the same key, another layer
        n = first.size
        bound = 5 * np.sqrt(n * p * (1 - p))
        for mask in (first, second, above):
            assert set(np.unique(mask)) == {0, np.float32(1 / (1 - p))}
            assert abs(np.sum(mask == 0) - n * p) <= bound
            for axis in range(3):  # every step, sample and unit has its own
                part = (mask == 0).mean(axis=tuple({0, 1, 2} - {axis}))
                sigma = np.sqrt(p * (1 - p) * part.size / n)
                assert np.all(np.abs(part - p) < 6 * sigma)
        # Independent: across calls, across layers, and of neighbours in each of the axes.
        bound = 5 * np.sqrt(n * p**2 * (1 - p**2))
        pairs = [(first, second), (first, above), (second, above)]
        pairs += [(first, np.roll(first, 1, axis)) for axis in range(3)]
        for a, b in pairs:
            assert abs(np.sum((a == 0) & (b == 0)) - n * p * p) <= bound

    @pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
    @pytest.mark.parametrize("D", [1, 2])
    @pytest.mark.parametrize("kind", ["padded", "lengths"])
    def test_same_masks_forward_and_backward(self, nonlinearity, D, kind):
        """Reveal the masks with a layer that passes ones on, and hand them to the textbook."""
        rng = np.random.default_rng(4)
        L, N, H = 6, 5, 7
        rnn = nr.RNN(
            3, H, num_layers=3, nonlinearity=nonlinearity, dropout=0.4, bidirectional=D == 2,
            dtype=np.float64, rng=rng,
        )  # fmt: skip
        masks = [
            ones_masked(rng, (L, N, H), 0.4, D, layer, dtype=np.float64)[1] for layer in (1, 2)
        ]
        assert all(0 < np.mean(mask == 0) < 1 for mask in masks)
        check(rnn, *example(rnn, kind, L, N), masks=masks)

    def test_same_masks_for_finite_differences(self):
        rnn, (x, h_0), _ = sample("packed", dropout=0.5)
        tape = copy.deepcopy(rnn).forward(x, h_0)
        flat, data = rnn.flat_parameters.copy(), x.data.copy()

        def loss(values):
            again = copy.deepcopy(rnn)  # the generator too, so the key is the same
            again.flat_parameters[:] = values[: flat.size]
            changed = x._replace(data=values[flat.size :].reshape(data.shape))
            return np.sum(again(changed, h_0)[0].data ** 2)

        expected = approx_fprime(np.concatenate([flat, data.ravel()]), loss)
        grads = tape.backward(2 * tape.output.data)
        ours = np.concatenate([grads.flat, grads.input.data.ravel()])
        assert_close(ours, expected, 1e-6)

    def test_backward_again_is_the_same_and_draws_nothing(self):
        rng = np.random.default_rng(0)
        rnn, (x, h_0), options = sample(dropout=0.5, rng=rng)
        tape = rnn.forward(x, h_0, **options)
        state = rng.bit_generator.state
        first = gradients(tape.backward(np.ones_like(tape.output)))
        rnn.eval()
        assert_same_bits(gradients(tape.backward(np.ones_like(tape.output))), first)
        assert rng.bit_generator.state == state

    def test_off_in_eval_mode(self):
        rng = np.random.default_rng(0)
        rnn, arguments, options = sample(dropout=0.5, rng=rng)
        plain = sample(dropout=0.0)[0]
        plain.load_state_dict(rnn.state_dict())
        state = rng.bit_generator.state
        assert rnn.training
        assert rnn.eval() is rnn and not rnn.training
        expected = plain(*arguments, **options)
        assert_same_bits(rnn(*arguments, **options), expected)
        assert_same_bits(tuple(rnn.forward(*arguments, **options)), expected)
        assert rng.bit_generator.state == state
        assert rnn.train() is rnn and rnn.training
        assert not np.array_equal(rnn(*arguments, **options)[0], expected[0])

    def test_call_and_forward_drop_alike(self):
        rnn, arguments, options = sample(dropout=0.5)
        other = copy.deepcopy(rnn)
        for _ in range(3):
            tape = rnn.forward(*arguments, **options)
            assert_same_bits(other(*arguments, **options), tuple(tape))
        assert not np.array_equal(rnn(*arguments, **options)[0], tape.output)

    def test_reproducible_from_rng(self):
        outputs = []
        for rng in (7, np.random.default_rng(7), 8):
            rnn, arguments, options = sample(dropout=0.5, rng=rng)
            rnn.load_state_dict(sample()[0].state_dict())
            outputs.append([rnn(*arguments, **options)[0] for _ in range(3)])
        assert_same_bits(outputs[0], outputs[1])
        assert not np.array_equal(outputs[0][0], outputs[2][0])

    def test_all_dropped(self):
        """p = 1: what is above sees zeros, what is below gets no gradient; nothing is NaN."""
        rnn, (x, h_0), options = sample(dropout=1.0)
        zeros = [np.zeros((7, 5, 8))]
        _, grads = check(rnn, x, h_0, **options, masks=zeros)
        assert np.all(np.isfinite(grads.flat))
        tape = rnn.forward(x, h_0, **options)
        grads = tape.backward(np.ones_like(tape.output))
        assert np.all(grads.input == 0)
        for name, gradient in grads.parameters.items():
            if "_l0" in name or name.startswith("weight_ih_l1"):
                assert np.all(gradient == 0), name

    def test_layer_outputs_are_before_dropout(self):
        rnn, (x, h_0), options = sample(dropout=0.9)
        first = rnn.forward(x, h_0, **options).layer_outputs[0]
        expected = rnn.eval().forward(x, h_0, **options).layer_outputs[0]
        assert_same_bits(first, expected)

    def test_one_layer_warns(self):
        with pytest.warns(UserWarning, match=r"dropout.*0\.5.*num_layers=1"):
            nr.RNN(2, 3, dropout=0.5)

    def test_threads_draw_each_key_once(self):
        rnn, arguments, options = sample(dropout=0.5)
        other = copy.deepcopy(rnn)
        expected = sorted(other(*arguments, **options)[0].tobytes() for _ in range(120))
        assert len(set(expected)) == 120
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(rnn, *arguments, **options) for _ in range(120)]
        assert sorted(call.result()[0].tobytes() for call in calls) == expected


# --- tapes --------------------------------------------------------------------------------------


class TestTape:
    @pytest.mark.parametrize("changed", ["weights", "h_0", "lengths"])
    def test_keeps_its_own(self, changed):
        """Of everything but x a tape has a copy: what happens to the caller's is no matter."""
        rnn, (x, h_0), options = sample()
        expected = answer(rnn, x, h_0, **options)
        tape = rnn.forward(x, h_0, **options)
        arrays = {"weights": rnn.flat_parameters, "h_0": h_0, "lengths": options["lengths"]}
        arrays[changed][:] = 1
        grads = tape.backward(
            normal(tape.output.shape, seed=8), normal(tape.h_n.shape, seed=9), state_gradients=True
        )
        assert_same_bits({"output": tape.output, "h_n": tape.h_n, **gradients(grads)}, expected)

    @pytest.mark.parametrize("kind", KINDS)
    def test_does_not_depend_on_what_it_handed_out(self, kind):
        """Gradients may be scaled in place, as clipping does, before the next backward."""
        rnn, (x, h_0), options = sample(kind)
        tape = rnn.forward(x, h_0, **options)
        grad_h_n = normal(tape.h_n.shape)
        first = tape.backward(grad_h_n=grad_h_n, state_gradients=True)
        kept = copy.deepcopy(gradients(first))
        dx = first.input.data if kind == "packed" else first.input
        for array in (dx, first.h_0, first.flat, first.states):
            assert array.flags.writeable
            array *= 2
        again = tape.backward(grad_h_n=grad_h_n, state_gradients=True)
        assert_same_bits(gradients(again), kept)

    def test_gradients_of_the_caller_are_not_modified(self):
        rnn, (x, h_0), options = sample()
        tape = rnn.forward(x, h_0, **options)
        grads = normal(tape.output.shape), normal(tape.h_n.shape)
        kept = copy.deepcopy(grads)
        dx = tape.backward(*grads)
        assert_same_bits(grads, kept)
        for ours in (dx.input, dx.h_0, dx.flat):
            assert not any(np.shares_memory(ours, theirs) for theirs in (*grads, x, h_0))

    def test_several_are_alive(self):
        rnn, _, _ = sample()
        calls = [example(rnn, kind, 7, 5, seed) for seed in range(3) for kind in KINDS]
        expected = [answer(rnn, *call) for call in calls]
        tapes = [rnn.forward(x, h_0, lengths=lengths) for x, h_0, lengths in calls]
        for tape, known in reversed(list(zip(tapes, expected, strict=True))):
            output = tape.output.data if isinstance(tape.output, tuple) else tape.output
            grads = tape.backward(
                normal(output.shape, seed=8), normal(tape.h_n.shape, seed=9), state_gradients=True
            )
            assert_same_bits({"output": tape.output, "h_n": tape.h_n, **gradients(grads)}, known)

    def test_in_threads(self):
        """Forward in one thread and backward in others, many at once, small and large."""
        small = sample()[0]
        large = nr.RNN(20, 70, num_layers=2, bidirectional=True, dtype=np.float64, rng=0)
        calls = [(small, example(small, kind, 7, 5)) for kind in KINDS]
        calls += [(large, example(large, kind, 5, 20)) for kind in KINDS]
        expected = [answer(rnn, *arguments) for rnn, arguments in calls]
        with ThreadPoolExecutor(4) as pool:
            results = [
                [pool.submit(answer, rnn, *arguments) for rnn, arguments in calls] for _ in range(5)
            ]
            tape = small.forward(*calls[0][1][:2])
            grad = np.ones_like(tape.output)
            same = [pool.submit(tape.backward, grad) for _ in range(10)]
        for group in results:
            for result, known in zip(group, expected, strict=True):
                assert_same_bits(result.result(), known)
        for result in same:
            assert_same_bits(gradients(result.result()), gradients(tape.backward(grad)))

    @pytest.mark.parametrize("kind", KINDS)
    def test_hands_out_read_only_arrays(self, kind):
        rnn, (x, h_0), options = sample(kind)
        tape = rnn.forward(x, h_0, **options)
        output = tape.output.data if kind == "packed" else tape.output
        for array in (output, tape.h_n, *tape.layer_outputs):
            assert not array.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
        output, h_n = rnn(x, h_0, **options)
        for array in (output.data if kind == "packed" else output, h_n):
            assert array.flags.writeable
            array[...] = 0

    def test_does_not_hand_out_the_callers_memory(self):
        rnn, (x, h_0), _ = sample("padded", num_layers=1)
        for output, h_n in (rnn(x, h_0), rnn.forward(x, h_0), rnn(x[:0], h_0)):
            assert not np.shares_memory(h_n, h_0)
            assert not np.shares_memory(output, x)

    def test_one_gradient_alone(self):
        """What is left out counts as zero."""
        for kind in KINDS:
            rnn, (x, h_0), options = sample(kind)
            tape = rnn.forward(x, h_0, **options)
            shape = (tape.output.data if kind == "packed" else tape.output).shape
            g, g_n = normal(shape), normal(tape.h_n.shape)
            pairs = [
                (tape.backward(g), tape.backward(g, 0 * g_n)),
                (tape.backward(grad_h_n=g_n), tape.backward(0 * g, g_n)),
            ]
            for one, both in pairs:
                assert_same_bits(gradients(one), gradients(both))
                assert one.states is None

    @pytest.mark.parametrize("sort", [True, False])
    def test_packed_gradient_or_its_data(self, sort):
        rnn, (x, h_0), _ = sample("packed")
        if sort:
            x = nr.PackedSequence(x.data, x.batch_sizes)
        tape = rnn.forward(x, h_0)
        grad = normal(tape.output.data.shape)
        expected = gradients(tape.backward(grad))
        assert_same_bits(gradients(tape.backward(tape.output._replace(data=grad))), expected)
        assert (tape.output.sorted_indices is None) == sort

    def test_identity_order_is_no_order(self):
        """Index arrays that sort nothing say the same as none."""
        rnn = nr.RNN(2, 3, dtype=np.float64, rng=0)
        packed = nr.PackedSequence(normal((5, 2)), [3, 2])
        tape = rnn.forward(packed)
        grad = nr.PackedSequence(normal((5, 3)), [3, 2], [0, 1, 2])
        assert_same_bits(gradients(tape.backward(grad)), gradients(tape.backward(grad.data)))

    @pytest.mark.parametrize("kind", KINDS)
    def test_gradient_of_h_0_left_out(self, kind):
        rnn, (x, h_0), options = sample(kind)
        assert_same_bits(answer(rnn, x, **options), answer(rnn, x, 0 * h_0, **options))

    def test_gradient_in_any_memory_order(self):
        rnn, (x, h_0), _ = sample("padded")
        tape = rnn.forward(x, h_0)
        g, g_n = normal(tape.output.shape), normal(tape.h_n.shape)
        expected = gradients(tape.backward(g, g_n))
        for a, b in zip(other_orders(g), other_orders(g_n), strict=True):
            assert_same_bits(gradients(tape.backward(a, b)), expected)

    def test_constant_gradient_by_broadcasting(self):
        """The gradient of a sum is often written as a broadcast of 1, with strides of 0."""
        rnn, (x, h_0), _ = sample("padded")
        tape = rnn.forward(x, h_0)
        ones = np.broadcast_to(1.0, tape.output.shape)
        expected = gradients(tape.backward(np.ones_like(tape.output)))
        assert_same_bits(gradients(tape.backward(ones)), expected)


# --- states, lengths and padding ----------------------------------------------------------------


def test_order_of_h_n_and_output():
    rnn, (x, h_0), _ = sample("padded", L=6)
    tape = rnn.forward(x, h_0)
    forward, reverse = slice(0, 4), slice(4, 8)
    for layer, output in enumerate(tape.layer_outputs):
        assert_same_bits(tape.h_n[2 * layer], output[-1, :, forward])
        assert_same_bits(tape.h_n[2 * layer + 1], output[0, :, reverse])
    # The reverse direction alone is a layer that reads x backward.
    alone = nr.RNN(3, 4, dtype=np.float64)
    for name in alone.parameters:
        setattr(alone, name, rnn.parameters[f"{name}_reverse"])
    output, h_n = alone(x[::-1], h_0[1:2])
    assert_same_bits(output[::-1], tape.layer_outputs[0][:, :, reverse])
    assert_same_bits(h_n[0], tape.h_n[1])


@pytest.mark.parametrize("batch_first", [False, True])
def test_beyond_a_length(batch_first):
    """Never read, in x and in the gradient, and 0 in what comes out; L stays."""
    rnn, _, _ = sample(batch_first=batch_first)
    lengths = np.array([3, 0, 6, 1, 6])  # none as long as L = 8
    x, h_0, _ = example(rnn, "padded", 8, 5)
    padding = np.arange(8)[:, None] >= lengths
    padding = padding.T if batch_first else padding
    results = []
    for value in (0, np.nan, np.inf, 1e300):
        x[padding] = value
        tape = rnn.forward(x, h_0, lengths=lengths)
        grad = normal(tape.output.shape, seed=1)
        grad[padding] = value
        grads = tape.backward(grad, normal(tape.h_n.shape), state_gradients=True)
        assert tape.output.shape == (*x.shape[:2], 8)
        for array in (*tape.layer_outputs, grads.input):
            assert np.all(array[padding] == 0) and np.all(array[~padding] != 0)
        states = grads.states.swapaxes(1, 2) if batch_first else grads.states
        assert np.all(states[:, padding] == 0) and np.all(states[:, ~padding] != 0)
        assert_same_bits(tape.h_n[:, 1], h_0[:, 1])
        results.append({"output": tape.output, "h_n": tape.h_n, **gradients(grads)})
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_all_lengths_zero():
    rnn, (x, h_0), _ = sample("padded")
    tape = rnn.forward(np.full_like(x, np.nan), h_0, lengths=np.zeros(5, int))
    assert np.all(tape.output == 0)
    assert_same_bits(tape.h_n, h_0)
    grad_h_n = normal(h_0.shape)
    grads = tape.backward(np.full_like(tape.output, np.nan), grad_h_n, state_gradients=True)
    assert_same_bits(grads.h_0, grad_h_n)
    for zeros in (grads.input, grads.flat, grads.states):
        assert np.all(zeros == 0)


@pytest.mark.parametrize(
    "lengths", [[2, 4, 1], (2, 4, 1), np.array([2, 4, 1], np.uint8), np.array([1, 4, 2])[::-1]],
    ids=["list", "tuple", "uint8", "negative strides"],
)  # fmt: skip
def test_kinds_of_lengths(lengths):
    rnn, (x, h_0), _ = sample("padded", N=3)
    if lengths[0] != 2:
        lengths = [2, 4, 1]
    assert_same_bits(answer(rnn, x, h_0, lengths), answer(rnn, x, h_0, np.array([2, 4, 1])))


def test_torch_tensors_serve_as_lengths(torch):
    rnn, (x, h_0), _ = sample("padded", N=3)
    expected = answer(rnn, x, h_0, [2, 4, 1])
    assert_same_bits(answer(rnn, x, h_0, torch.tensor([2, 4, 1])), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_stays_in_its_sequence(value, nonlinearity, dtype):
    rnn, (x, h_0), options = sample(nonlinearity=nonlinearity, dtype=dtype, N=11)
    x = np.nan_to_num(x)
    expected = answer(rnn, x, h_0, **options)
    bad = int(np.argmax(options["lengths"]))
    others = np.arange(11) != bad
    x[2, bad] = value
    result = answer(rnn, x, h_0, **options)
    for name in ("output", "h_n", "input", "h_0"):
        assert_same_bits(result[name][:, others], expected[name][:, others], name)
    assert_same_bits(result["states"][:, :, others], expected["states"][:, :, others])
    if np.isnan(value):
        length = options["lengths"][bad]
        assert np.isnan(result["output"][:length, bad]).all()  # two layers, both directions
        assert np.isnan(result["flat"]).any()
        if nonlinearity == "tanh":  # the gradient of ReLU does not depend on the values
            assert np.isnan(result["input"][:length, bad]).all()


def test_nan_in_a_gradient_stays_in_its_sequence():
    rnn, (x, h_0), options = sample()
    tape = rnn.forward(x, h_0, **options)
    grad_h_n = normal(tape.h_n.shape)
    expected = tape.backward(grad_h_n=grad_h_n)
    grad_h_n[:, 3] = np.nan
    result = tape.backward(grad_h_n=grad_h_n)
    others = np.arange(5) != 3
    assert_same_bits(result.input[:, others], expected.input[:, others])
    assert_same_bits(result.h_0[:, others], expected.h_0[:, others])
    assert np.isnan(result.h_0[:, 3]).all()


# --- shapes and memory --------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("size", [(0, 3), (3, 0), (0, 0), (1, 1), (1, 4), (5, 1)], ids=str)
def test_extreme_shapes(size, batch_first, bidirectional):
    for H in (1, 4):
        rnn = nr.RNN(
            1, H, num_layers=2, bidirectional=bidirectional, batch_first=batch_first,
            dtype=np.float64, rng=0,
        )  # fmt: skip
        x, h_0, _ = example(rnn, "padded", *size)
        for lengths in (None, np.full(size[1], size[0])):
            tape, grads = check(rnn, x, h_0, lengths)
            check(rnn, x, None, lengths)
        if size[0] == 0:
            assert_same_bits(tape.h_n, h_0)
        if 0 in size:
            assert np.all(grads.flat == 0)


def test_no_steps_unbatched():
    rnn, _, _ = sample()
    h_0 = normal((4, 4))
    tape, grads = check(rnn, np.zeros((0, 3)), h_0)
    assert tape.output.shape == (0, 8)
    assert_same_bits(tape.h_n, h_0)
    assert grads.states.shape == (4, 0, 4)


def other_orders(array):
    """Yield the same numbers in other memory: what a caller may have at hand."""
    read_only = array.copy()
    read_only.flags.writeable = False
    yield read_only
    yield np.asfortranarray(array)
    every = tuple(slice(None, None, -1) for _ in range(array.ndim))
    yield array[every].copy()[every]
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
    wide[..., 1::2] = array
    yield wide[..., 1::2]
    raw = bytearray(array.nbytes + 1)
    misaligned = np.frombuffer(raw, array.dtype, array.size, offset=1).reshape(array.shape)
    misaligned[...] = array
    assert not misaligned.flags.aligned
    yield misaligned
    yield array.swapaxes(0, -1).copy().swapaxes(0, -1)
    yield array.view(type("Subclass", (np.ndarray,), {}))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_memory_order_of_input_does_not_matter(kind, batch_first, dtype):
    rnn, (x, h_0), options = sample(kind, batch_first=batch_first, dtype=dtype)
    expected = answer(rnn, x, h_0, **options)
    data = x.data if kind == "packed" else x
    for other, other_h_0 in zip(other_orders(data), other_orders(h_0), strict=True):
        kept = other.copy()
        again = x._replace(data=other) if kind == "packed" else other
        assert_same_bits(answer(rnn, again, other_h_0, **options), expected)
        np.testing.assert_array_equal(other, kept)
        output, h_n = rnn(again, other_h_0, **options)
        assert type(output.data if kind == "packed" else output) is type(h_n) is np.ndarray


def test_memory_that_no_layer_owns(tmp_path):
    """Memory maps and read-only buffers."""
    rnn, (x, h_0), _ = sample("padded")
    expected = answer(rnn, x, h_0)
    np.save(tmp_path / "x.npy", x)
    assert_same_bits(answer(rnn, np.load(tmp_path / "x.npy", mmap_mode="r"), h_0), expected)
    frozen = np.frombuffer(x.tobytes()).reshape(x.shape)
    assert_same_bits(answer(rnn, frozen, h_0), expected)


def test_x_is_referenced_not_copied():
    """What the docs say: x must not change before the last backward, since no copy is kept."""
    rnn, (x, h_0), _ = sample("padded")
    tape = rnn.forward(x, h_0)
    grad = np.ones_like(tape.output)
    before = tape.backward(grad).parameters["weight_ih_l0"].copy()
    x *= 2
    assert_close(tape.backward(grad).parameters["weight_ih_l0"], 2 * before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_of_all_results(dtype):
    for kind in KINDS:
        rnn, (x, h_0), options = sample(kind, dtype=dtype)
        result = answer(rnn, x, h_0, **options)
        for name in ("h_n", "h_0", "flat", "states"):
            assert result[name].dtype == dtype
        for name in ("output", "input"):
            array = result[name].data if kind == "packed" else result[name]
            assert array.dtype == dtype


def test_extreme_values():
    """tanh saturates at exactly 1, with gradient 0; small values go through as they are."""
    for dtype in DTYPES:
        rnn = nr.RNN(1, 1, bias=False, dtype=dtype)
        rnn.weight_ih_l0 = np.ones((1, 1))
        rnn.weight_hh_l0 = np.zeros((1, 1))
        x = np.array([0.0, 1e-30, -1e-5, 0.5, -3, 50, -1e30, np.inf, -np.inf], dtype)
        tape = rnn.forward(x[:, None])
        expected = np.tanh(x.astype(np.float64))
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(tape.output[:, 0], expected, rtol=4 * eps, atol=0)
        assert np.all(np.abs(tape.output) <= 1)
        dx = tape.backward(np.ones_like(tape.output)).input[:, 0]
        np.testing.assert_allclose(dx, 1 - expected**2, atol=4 * eps)


@pytest.mark.parametrize("lengths", [None, [12, 5, 0, 9]])
def test_what_goes_back_over_a_border(lengths):
    """h_n handed on carries no gradient; grads.h_0 handed back does, and makes the whole one."""
    rnn, borders = nr.RNN(3, 4, 2, dtype=np.float64, rng=0), [0, 4, 5, 12]
    x, grad_output = normal((12, 4, 3), seed=1), normal((12, 4, 4), seed=2)
    whole = rnn.forward(x, lengths=lengths)
    expected = whole.backward(grad_output, normal((2, 4, 4), seed=3))
    tapes, h = [], None
    for start, stop in itertools.pairwise(borders):
        left = None if lengths is None else np.clip(np.array(lengths) - start, 0, stop - start)
        tapes.append(rnn.forward(x[start:stop], h, lengths=left))
        h = tapes[-1].h_n
    assert_close(h, whole.h_n)
    total, grad, cut = np.zeros(rnn.flat_parameters.size), normal((2, 4, 4), seed=3), 0
    for tape, (start, stop) in reversed([*zip(tapes, itertools.pairwise(borders), strict=True)]):
        cut += tape.backward(grad_output[start:stop]).flat
        grads = tape.backward(grad_output[start:stop], grad)
        assert_close(grads.input, expected.input[start:stop])
        total, grad = total + grads.flat, grads.h_0
    assert_close(total, expected.flat)
    assert_close(grad, expected.h_0)
    assert np.linalg.norm(cut - expected.flat) > 0.01 * np.linalg.norm(expected.flat)
