"""The textbook against torch, against an unrolled autograd loop and against finite differences."""

import ast
import doctest
import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit

from numba_rnn import reference

# L steps, N batch, I input size, H hidden size: odd, small and all different.
L, N, INPUT, H = 7, 5, 3, 4
LENGTHS = {
    "full": None,
    "ragged": np.array([3, 7, 1, 7, 5]),  # unsorted, with a tie
    "zeros": np.array([0, 6, 2, 0, 4]),  # empty sequences, and none as long as L
}
NONLINEARITIES = ["tanh", "relu"]


@dataclass
class Case:
    """One network, its input and the gradients that come into it."""

    nonlinearity: str = "tanh"
    num_layers: int = 2
    bidirectional: bool = True
    bias: bool = True
    lengths: np.ndarray | None = None
    dropout: bool = False
    shape: tuple[int, int, int, int] = (L, N, INPUT, H)
    seed: int = 0
    parameters: dict = field(default_factory=dict)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        length, batch, features, hidden = self.shape
        directions = 2 if self.bidirectional else 1
        for layer, suffix in itertools.product(
            range(self.num_layers), ["", "_reverse"][:directions]
        ):
            inputs = features if layer == 0 else directions * hidden
            shapes = {"weight_ih": (hidden, inputs), "weight_hh": (hidden, hidden)}
            if self.bias:
                shapes |= {"bias_ih": (hidden,), "bias_hh": (hidden,)}
            for name, shape in shapes.items():
                self.parameters[f"{name}_l{layer}{suffix}"] = rng.uniform(-0.7, 0.7, shape)
        outputs = (length, batch, directions * hidden)
        self.x = rng.normal(size=(length, batch, features))
        self.h_0 = rng.normal(size=(self.num_layers * directions, batch, hidden))
        self.grad_output = rng.normal(size=outputs)
        self.grad_h_n = rng.normal(size=self.h_0.shape)
        self.masks = None
        if self.dropout:
            keep = rng.random((self.num_layers - 1, *outputs)) < 0.6
            self.masks = list(keep / 0.6)

    @property
    def options(self):
        return {
            "num_layers": self.num_layers,
            "bidirectional": self.bidirectional,
            "nonlinearity": self.nonlinearity,
            "lengths": self.lengths,
            "masks": self.masks,
        }

    @property
    def padding(self):
        """Bool mask, shape (L, N): true beyond a length."""
        length, batch = self.shape[:2]
        lengths = np.full(batch, length) if self.lengths is None else self.lengths
        return np.arange(length)[:, None] >= lengths

    def forward(self):
        return reference.rnn_forward(self.x, self.h_0, self.parameters, **self.options)

    def backward(self):
        return reference.rnn_backward(
            self.grad_output, self.grad_h_n, self.x, self.h_0, self.parameters, **self.options
        )

    def astype(self, dtype):
        """Cast every array, in place."""
        for name in ("x", "h_0", "grad_output", "grad_h_n"):
            setattr(self, name, getattr(self, name).astype(dtype))
        self.parameters = {name: p.astype(dtype) for name, p in self.parameters.items()}
        if self.masks is not None:
            self.masks = [mask.astype(dtype) for mask in self.masks]
        return self


def assert_close(actual, expected, tolerance=1e-11):
    assert actual.shape == expected.shape
    error = np.max(np.abs(actual - expected), initial=0) / np.max(np.abs(expected), initial=1)
    assert error <= tolerance  # false for NaN


def cases(**axes):
    """Every combination of the values given for each field of Case."""
    combinations = [
        dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
    ]
    return pytest.mark.parametrize(
        "case", combinations, ids=lambda case: "-".join(str(value) for value in case.values())
    )


class TestTorch:
    """torch.nn.RNN: output, h_n and every gradient."""

    @cases(
        nonlinearity=NONLINEARITIES,
        num_layers=[1, 2, 3],
        bidirectional=[False, True],
        bias=[False, True],
        lengths=["full", "ragged"],
    )
    def test_same_as_torch(self, torch, case):
        case = Case(**case | {"lengths": LENGTHS[case["lengths"]]})
        rnn = torch.nn.RNN(
            INPUT, H, case.num_layers, case.nonlinearity, case.bias,
            bidirectional=case.bidirectional, dtype=torch.float64,
        )  # fmt: skip
        rnn.load_state_dict({name: torch.tensor(p) for name, p in case.parameters.items()})
        x = torch.tensor(case.x, requires_grad=True)
        h_0 = torch.tensor(case.h_0, requires_grad=True)
        if case.lengths is None:
            output, h_n = rnn(x, h_0)
        else:
            packed = torch.nn.utils.rnn.pack_padded_sequence(
                x, torch.tensor(case.lengths), enforce_sorted=False
            )
            output, h_n = rnn(packed, h_0)
            output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, total_length=L)
        torch.autograd.backward(
            [output, h_n], [torch.tensor(case.grad_output), torch.tensor(case.grad_h_n)]
        )

        our_output, our_h_n, layer_outputs = case.forward()
        assert_close(our_output, output.detach().numpy())
        assert_close(our_h_n, h_n.detach().numpy())
        assert len(layer_outputs) == case.num_layers
        gradients = case.backward()
        assert_close(gradients["input"], x.grad.numpy())
        assert_close(gradients["h_0"], h_0.grad.numpy())
        names = [name for name, _ in rnn.named_parameters()]
        assert list(gradients["parameters"]) == names
        for name, parameter in rnn.named_parameters():
            assert_close(gradients["parameters"][name], parameter.grad.numpy())

    @pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
    def test_cell_same_as_torch(self, torch, nonlinearity):
        rng = np.random.default_rng(3)
        x, h, dh_new = (rng.normal(size=(N, size)) for size in (INPUT, H, H))
        cell = torch.nn.RNNCell(INPUT, H, nonlinearity=nonlinearity, dtype=torch.float64)
        leaves = [torch.tensor(a, requires_grad=True) for a in (x, h)]
        h_new = cell(*leaves)
        h_new.backward(torch.tensor(dh_new))

        weights = [p.detach().numpy() for p in cell.parameters()]  # w_ih, w_hh, b_ih, b_hh
        ours = reference.cell_forward(x, h, *weights, nonlinearity)
        assert_close(ours, h_new.detach().numpy())
        ours = reference.cell_backward(dh_new, x, h, ours, *weights[:2], nonlinearity)
        theirs = [*leaves, cell.weight_ih, cell.weight_hh, cell.bias_ih]
        for our, their in zip(ours, theirs, strict=True):
            assert_close(our, their.grad.numpy())

    @cases(
        nonlinearity=NONLINEARITIES,
        bidirectional=[False, True],
        dropout=[False, True],
        lengths=list(LENGTHS),
    )
    def test_same_as_unrolled_loop(self, torch, case):
        """A loop of single cells, sample by sample: it has all states, dropout and length 0."""
        case = Case(num_layers=2, **case | {"lengths": LENGTHS[case["lengths"]]})
        lengths = np.full(N, L) if case.lengths is None else case.lengths
        directions = 2 if case.bidirectional else 1
        f = getattr(torch, case.nonlinearity)
        x = torch.tensor(case.x, requires_grad=True)
        h_0 = torch.tensor(case.h_0, requires_grad=True)
        p = {name: torch.tensor(v, requires_grad=True) for name, v in case.parameters.items()}
        states = {}  # (layer-direction, step, sample) -> tensor, shape (H,)
        h_n = torch.zeros_like(h_0).unbind()
        h_n = [list(rows.unbind()) for rows in h_n]
        for n in range(N):
            inputs = [x[t, n] for t in range(lengths[n])]
            for layer in range(2):
                for direction in range(directions):
                    k, end = layer * directions + direction, f"_l{layer}" + "_reverse" * direction
                    h = h_0[k, n]
                    order = range(lengths[n])
                    for t in reversed(order) if direction else order:
                        a = p["weight_ih" + end] @ inputs[t] + p["bias_ih" + end]
                        h = f(a + p["weight_hh" + end] @ h + p["bias_hh" + end])
                        h.retain_grad()
                        states[k, t, n] = h
                    h_n[k][n] = h
                inputs = [
                    torch.cat([states[layer * directions + d, t, n] for d in range(directions)])
                    for t in range(lengths[n])
                ]
                layer_output = inputs
                if case.dropout:
                    inputs = [y * torch.tensor(case.masks[0][t, n]) for t, y in enumerate(inputs)]
            for t, y in enumerate(layer_output):
                y.backward(torch.tensor(case.grad_output[t, n]), retain_graph=True)
        final = torch.stack([torch.stack(rows) for rows in h_n])
        final.backward(torch.tensor(case.grad_h_n))

        output, our_h_n, layer_outputs = case.forward()
        assert output is layer_outputs[-1]
        assert_close(our_h_n, final.detach().numpy())
        gradients = case.backward()
        assert_close(gradients["input"], x.grad.numpy())
        assert_close(gradients["h_0"], h_0.grad.numpy())
        for name, parameter in p.items():
            assert_close(gradients["parameters"][name], parameter.grad.numpy())
        expected_states = np.zeros((2 * directions, L, N, H))
        expected_outputs = np.zeros((2, L, N, directions * H))
        for (k, t, n), h in states.items():
            layer, direction = divmod(k, directions)
            expected_states[k, t, n] = h.grad.numpy()
            half = slice(direction * H, (direction + 1) * H)
            expected_outputs[layer, t, n, half] = h.detach().numpy()
        assert_close(gradients["states"], expected_states)
        for ours, theirs in zip(layer_outputs, expected_outputs, strict=True):
            assert_close(ours, theirs)


class TestFiniteDifferences:
    """scipy's forward differences. Good to about 1e-8, so the tolerance is 1e-6."""

    small = (5, 3, 3, 2)
    combinations = cases(
        nonlinearity=NONLINEARITIES,
        bidirectional=[False, True],
        lengths=[None, np.array([5, 0, 3])],
        dropout=[False, True],
    )

    @staticmethod
    def loss(case):
        output, h_n, _ = case.forward()
        return np.sum(output * case.grad_output) + np.sum(h_n * case.grad_h_n)

    @combinations
    def test_input_h_0_and_parameters(self, case):
        case = Case(shape=self.small, seed=1, **case)
        arrays = [case.x, case.h_0, *case.parameters.values()]
        ends = np.cumsum([array.size for array in arrays])

        def loss(flat):
            for array, piece in zip(arrays, np.split(flat, ends[:-1]), strict=True):
                array[...] = piece.reshape(array.shape)
            return self.loss(case)

        start = np.concatenate([array.ravel() for array in arrays])
        expected = approx_fprime(start, loss)
        loss(start)
        gradients = case.backward()
        ours = [gradients["input"], gradients["h_0"], *gradients["parameters"].values()]
        assert_close(np.concatenate([g.ravel() for g in ours]), expected, 1e-6)

    @combinations
    def test_states(self, case, monkeypatch):
        """Perturb each state where it is made: right after its step."""
        case = Case(shape=self.small, seed=2, **case)
        directions = 2 if case.bidirectional else 1
        shape = (2 * directions, *self.small[:2], self.small[3])
        visits = []  # (layer-direction, step), in the order of the forward pass
        for k in range(shape[0]):
            steps = range(shape[1])
            visits += [(k, t) for t in (reversed(steps) if k % directions else steps)]
        cell_forward = reference.cell_forward

        def loss(flat):
            perturbation, visit = flat.reshape(shape), iter(visits)

            def perturbed(*args):
                k, t = next(visit)
                return cell_forward(*args) + perturbation[k, t, ~case.padding[t]]

            monkeypatch.setattr(reference, "cell_forward", perturbed)
            return self.loss(case)

        expected = approx_fprime(np.zeros(np.prod(shape)), loss)
        monkeypatch.setattr(reference, "cell_forward", cell_forward)
        states = case.backward()["states"]
        assert_close(states, expected.reshape(shape), 1e-6)
        assert np.all(states[:, case.padding] == 0)


class TestLengths:
    @pytest.mark.parametrize("lengths", ["ragged", "zeros"])
    def test_padding_is_never_read(self, lengths):
        case = Case(lengths=LENGTHS[lengths], dropout=True)
        (output, h_n, layer_outputs), gradients = case.forward(), case.backward()
        for array in (case.x, case.grad_output, *case.masks):
            array[case.padding] = np.nan
        (nan_output, nan_h_n, nan_layer_outputs), nan_gradients = case.forward(), case.backward()

        np.testing.assert_array_equal(nan_output, output)
        np.testing.assert_array_equal(nan_h_n, h_n)
        np.testing.assert_array_equal(nan_layer_outputs, layer_outputs)
        for name in ("input", "h_0", "states"):
            np.testing.assert_array_equal(nan_gradients[name], gradients[name])
        for name, gradient in gradients["parameters"].items():
            np.testing.assert_array_equal(nan_gradients["parameters"][name], gradient)

    @pytest.mark.parametrize("lengths", ["ragged", "zeros"])
    def test_zero_beyond_a_length(self, lengths):
        case = Case(lengths=LENGTHS[lengths])
        _, _, layer_outputs = case.forward()
        gradients = case.backward()
        for array in (*layer_outputs, gradients["input"], *gradients["states"]):
            assert np.all(array[case.padding] == 0)
            assert np.all(array[~case.padding] != 0)

    def test_length_zero(self):
        case = Case(lengths=LENGTHS["zeros"])
        empty = case.lengths == 0
        _, h_n, _ = case.forward()
        np.testing.assert_array_equal(h_n[:, empty], case.h_0[:, empty])
        np.testing.assert_array_equal(case.backward()["h_0"][:, empty], case.grad_h_n[:, empty])

    def test_same_as_each_sample_alone(self):
        case = Case(lengths=LENGTHS["zeros"])
        output, h_n, _ = case.forward()
        gradients = case.backward()
        total = {name: np.zeros_like(p) for name, p in case.parameters.items()}
        for n, length in enumerate(case.lengths):
            alone = Case(shape=(length, 1, INPUT, H))
            alone.parameters = case.parameters
            alone.x = case.x[:length, n : n + 1]
            alone.grad_output = case.grad_output[:length, n : n + 1]
            alone.h_0, alone.grad_h_n = (a[:, n : n + 1] for a in (case.h_0, case.grad_h_n))
            alone_output, alone_h_n, _ = alone.forward()
            assert_close(output[:length, n], alone_output[:, 0])
            assert_close(h_n[:, n], alone_h_n[:, 0])
            alone_gradients = alone.backward()
            assert_close(gradients["input"][:length, n], alone_gradients["input"][:, 0])
            assert_close(gradients["h_0"][:, n], alone_gradients["h_0"][:, 0])
            for name, gradient in alone_gradients["parameters"].items():
                total[name] += gradient
        for name, gradient in gradients["parameters"].items():
            assert_close(gradient, total[name])


class TestArrays:
    @pytest.mark.parametrize(
        "shape", [(0, N, INPUT, H), (L, 0, INPUT, H), (0, 0, INPUT, H), (1, 1, 1, 1)]
    )
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_extreme_shapes(self, shape, bidirectional):
        case = Case(shape=shape, bidirectional=bidirectional)
        output, h_n, layer_outputs = case.forward()
        gradients = case.backward()
        assert output.shape == layer_outputs[0].shape == case.grad_output.shape
        assert h_n.shape == gradients["h_0"].shape == case.h_0.shape
        assert gradients["input"].shape == case.x.shape
        assert gradients["states"].shape == (len(h_n), *shape[:2], shape[3])
        for name, gradient in gradients["parameters"].items():
            assert gradient.shape == case.parameters[name].shape
            if 0 in shape:
                assert np.all(gradient == 0)
        if shape[0] == 0:
            np.testing.assert_array_equal(h_n, case.h_0)
            np.testing.assert_array_equal(gradients["h_0"], case.grad_h_n)

    @pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-13), (np.longdouble, 1e-13)]
    )
    def test_dtypes(self, nonlinearity, dtype, tolerance):
        options = {"nonlinearity": nonlinearity, "lengths": LENGTHS["ragged"], "dropout": True}
        case, expected = Case(**options).astype(dtype), Case(**options)
        (output, h_n, layer_outputs), gradients = case.forward(), case.backward()
        named = gradients["parameters"]
        states = gradients["states"]
        for array in (output, h_n, *layer_outputs, *named.values(), states):
            assert array.dtype == dtype
        assert gradients["input"].dtype == gradients["h_0"].dtype == dtype

        expected_gradients = expected.backward()
        assert_close(output, expected.forward()[0], tolerance)
        for name in ("input", "h_0", "states"):
            assert_close(gradients[name], expected_gradients[name], tolerance)
        for name, gradient in expected_gradients["parameters"].items():
            assert_close(named[name], gradient, tolerance)

    def test_arguments_are_not_changed_and_results_not_shared(self):
        case, untouched = Case(lengths=LENGTHS["ragged"], dropout=True), Case(dropout=True)
        for array in (case.x, case.h_0, case.grad_output, case.grad_h_n, *case.masks):
            array.flags.writeable = False
        for array in case.parameters.values():
            array.flags.writeable = False
        _, h_n, _ = case.forward()
        gradients = case.backward()
        np.testing.assert_array_equal(case.x, untouched.x)
        results = [h_n, gradients["input"], gradients["h_0"], *gradients["parameters"].values()]
        for a, b in itertools.combinations(results, 2):
            assert not np.shares_memory(a, b)

    def test_nan_stays_in_its_sequence(self):
        case = Case()
        output, _, _ = case.forward()
        dx = case.backward()["input"]
        case.x[2, 1] = np.nan
        others = np.arange(N) != 1
        np.testing.assert_array_equal(case.forward()[0][:, others], output[:, others])
        np.testing.assert_array_equal(case.backward()["input"][:, others], dx[:, others])
        assert np.isnan(case.forward()[0][:, 1]).all()  # both directions of two layers


class TestNonlinearities:
    ALL = ("tanh", "relu", "sigmoid", "identity")

    def test_a_sigmoid_and_an_identity(self):
        a = np.array([[-800.0, -2.0, 0.0, 3.0, 800.0]])
        zero, eye = np.zeros((1, 5)), np.eye(5)
        with np.errstate(all="raise", under="ignore"):
            sigmoid = reference.cell_forward(a, zero, eye, eye, nonlinearity="sigmoid")
        assert_close(sigmoid, expit(a), 1e-15)
        np.testing.assert_array_equal(
            reference.cell_forward(a, zero, eye, eye, nonlinearity="identity"), a
        )

    @pytest.mark.parametrize("nonlinearity", ["sigmoid", "identity"])
    @pytest.mark.parametrize("lengths", list(LENGTHS))
    def test_gradients_of_a_network(self, nonlinearity, lengths):
        case = Case(
            nonlinearity=nonlinearity, lengths=LENGTHS[lengths], shape=(7, 5, 2, 2), dropout=True
        )
        gradients = case.backward()
        rng, eps = np.random.default_rng(5), 1e-6
        arrays = [case.x, case.h_0, *case.parameters.values()]
        answers = [gradients["input"], gradients["h_0"], *gradients["parameters"].values()]
        for array, gradient in zip(arrays, answers, strict=True):
            direction, start = rng.normal(size=array.shape), array.copy()
            losses = []
            for sign in (1, -1):
                array[...] = start + sign * eps * direction
                losses.append(TestFiniteDifferences.loss(case))
            array[...] = start
            slope = (losses[0] - losses[1]) / (2 * eps)
            assert slope == pytest.approx(np.sum(gradient * direction), rel=1e-7, abs=1e-7)

    def test_relu_has_no_slope_at_zero(self):
        zero, one = np.zeros((1, 1)), np.ones((1, 1))
        dx, *_ = reference.cell_backward(one, zero, zero, zero, one, one, "relu")
        assert dx == 0

    @pytest.mark.parametrize("length", [0, 3])
    @pytest.mark.parametrize("word", ["gelu", "ReLU", "", None])
    def test_another_word_is_refused(self, word, length):
        case = Case(shape=(length, 2, 3, 4), nonlinearity=word)
        one, one_h = np.ones((1, 3)), np.ones((1, 4))
        w_ih, w_hh = case.parameters["weight_ih_l0"], case.parameters["weight_hh_l0"]
        grad = np.zeros((length, 2, 4))
        calls = {
            "cell": lambda: reference.cell_forward(one, one_h, w_ih, w_hh, nonlinearity=word),
            "cell back": lambda: reference.cell_backward(
                one_h, one, one_h, one_h, w_ih, w_hh, word
            ),
            "layer back": lambda: reference.layer_backward(
                grad, case.h_0[0], case.x, case.h_0[0], grad, w_ih, w_hh, nonlinearity=word
            ),
            "rtrl": lambda: reference.rtrl(
                grad, case.h_0[0], case.x, case.h_0[0], w_ih, w_hh, nonlinearity=word
            ),
            "forward": case.forward,
            "backward": case.backward,
        }
        for call in calls.values():
            with pytest.raises(ValueError, match="nonlinearity must be one of 'tanh', 'relu'"):
                call()


class TestIntegers:
    """Arrays of integers are numbers like others: they are computed with as float64."""

    def test_everything_of_integers(self):
        rng = np.random.default_rng(0)
        case = Case(nonlinearity="tanh", lengths=LENGTHS["ragged"])
        for name in ("x", "h_0", "grad_output", "grad_h_n"):
            setattr(case, name, rng.integers(-2, 3, getattr(case, name).shape))
        case.parameters = {k: rng.integers(-1, 2, p.shape) for k, p in case.parameters.items()}
        (output, h_n, _), gradients = case.forward(), case.backward()
        case.astype(float)
        (expected, expected_h_n, _), expected_gradients = case.forward(), case.backward()
        assert output.dtype == h_n.dtype == np.float64 and np.any(output != np.round(output))
        np.testing.assert_array_equal(output, expected)
        np.testing.assert_array_equal(h_n, expected_h_n)
        for name in ("input", "h_0", "states"):
            np.testing.assert_array_equal(gradients[name], expected_gradients[name])
        for name, gradient in gradients["parameters"].items():
            np.testing.assert_array_equal(gradient, expected_gradients["parameters"][name])

    @pytest.mark.parametrize("name", ["x", "h_0", "grad_output", "grad_h_n"])
    def test_one_array_of_integers(self, name):
        case, expected = Case(), Case()
        ones = np.ones(getattr(case, name).shape, int)
        setattr(case, name, ones)
        setattr(expected, name, ones.astype(float))
        np.testing.assert_array_equal(case.forward()[0], expected.forward()[0])
        np.testing.assert_array_equal(case.backward()["input"], expected.backward()["input"])
        np.testing.assert_array_equal(case.backward()["h_0"], expected.backward()["h_0"])


class TestRealTime:
    """Real-time recurrent learning has the gradients of backpropagation through time."""

    @cases(
        nonlinearity=TestNonlinearities.ALL,
        lengths=list(LENGTHS),
        bias=[False, True],
        reverse=[False, True],
    )
    def test_same_as_backpropagation(self, case):
        case = dict(case)
        reverse, lengths = case.pop("reverse"), LENGTHS[case.pop("lengths")]
        case = Case(num_layers=1, bidirectional=False, lengths=lengths, **case)
        case.x[case.padding] = case.grad_output[case.padding] = np.nan
        weights = list(case.parameters.values())
        options = {"lengths": lengths, "nonlinearity": case.nonlinearity, "reverse": reverse}
        output, _ = reference.layer_forward(case.x, case.h_0[0], *weights, **options)
        grads = case.grad_output, case.grad_h_n[0]
        ours = reference.rtrl(*grads, case.x, case.h_0[0], *weights, **options)
        _, *theirs, _ = reference.layer_backward(
            *grads, case.x, case.h_0[0], output, *weights[:2], **options
        )
        for our, their in zip(ours, theirs, strict=True):
            assert_close(our, their, 1e-13)

    def test_no_step(self):
        dh_init, *others = reference.rtrl(
            np.zeros((0, 2, 3)), np.ones((2, 3)), np.zeros((0, 2, 4)), np.zeros((2, 3)),
            np.ones((3, 4)), np.ones((3, 3)),
        )  # fmt: skip
        assert np.all(dh_init == 1) and all(np.all(other == 0) for other in others)


@pytest.mark.thread_unsafe(reason="doctest replaces functions of Python")
def test_docstring_examples_run():
    failures, tests = doctest.testmod(reference)
    assert failures == 0
    assert tests > 0


def test_imports_numpy_and_nothing_else():
    with open(reference.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(statement) for statement in imports] == ["import numpy as np"]
