"""What happens inside: against the textbook, finite differences and torch.autograd."""

import copy
import itertools

import numpy as np
import pytest
from helpers import Question, assert_close, example, from_textbook, normal
from processes import python

import numba_rnn as nr
from numba_rnn import analysis, reference
from numba_rnn.analysis.products import Product

KINDS = ["padded", "lengths", "packed", "unbatched"]


def layer(**options):
    return nr.RNN(3, 4, **{"num_layers": 2, "dtype": np.float64, "rng": 0} | options)


def asked(rnn, kind="lengths", L=6, N=4):
    x, h_0, lengths = example(rnn, kind, L, N)
    if kind == "lengths":
        lengths[1] = 0
    tape = rnn.forward(x, h_0, lengths=lengths)
    output = tape.output.data if kind == "packed" else tape.output
    incoming = normal(output.shape, rnn.dtype, 5), normal(tape.h_n.shape, rnn.dtype, 6)
    return tape, incoming, Question(rnn, x, h_0, lengths)


def masks_of(tape, q):
    """The dropout mask below the second layer, in the layout of the textbook."""
    done = tape._pass
    if done.key is None:
        return None
    mask = done.backend.dropout(np.ones_like(done.outputs[0]), done.dropout, done.key, 1)
    return [q.padded(mask.reshape(tape._form.output))]


LAYERS = [
    {},
    {"bidirectional": True},
    {"nonlinearity": "relu", "dropout": 0.4},
    {"bidirectional": True, "dropout": 0.4, "batch_first": True},
]
every = pytest.mark.parametrize("options", LAYERS, ids=lambda o: "-".join(o) or "plain")


class TestFlow:
    @pytest.mark.parametrize("kind", KINDS)
    @every
    def test_the_parts_are_those_of_the_textbook(self, options, kind):
        rnn = layer(**options)
        tape, incoming, q = asked(rnn, kind)
        flow = analysis.gradient_flow(tape, *incoming)
        grad_output, grad_h_n = q.padded(incoming[0]), q.batched(incoming[1])
        masks = masks_of(tape, q)
        expected = from_textbook(q, grad_output, grad_h_n, masks)
        assert_close(flow.total, expected["states"])
        np.testing.assert_array_equal(flow.total, flow.local + flow.carried)

        # The upper layer by itself: its input gradient is what the lower one sees at each step.
        D, (L, N) = 1 + rnn.bidirectional, q.x.shape[:2]
        lengths = np.full(N, L) if q.lengths is None else np.asarray(q.lengths)
        real = (np.arange(L)[:, None] < lengths)[:, :, None]
        below = expected["layer_outputs"][0]
        mask = np.ones_like(below) if masks is None else masks[0]
        upper = {
            name.replace("_l1", "_l0"): p for name, p in rnn.parameters.items() if "_l1" in name
        }
        of_upper = reference.rnn_backward(
            grad_output, grad_h_n[D:], below * mask, q.h_0[D:], upper, num_layers=1,
            bidirectional=rnn.bidirectional, nonlinearity=rnn.nonlinearity, lengths=q.lengths,
        )  # fmt: skip
        seen = [of_upper["input"] * mask, np.where(real, grad_output, 0)]
        for k in range(2 * D):
            local = seen[k // D][:, :, k % D * 4 : k % D * 4 + 4].copy()
            for n, length in enumerate(lengths):
                if length:
                    local[0 if k % D else length - 1, n] += grad_h_n[k, n]
            assert_close(flow.local[k], local)
            h = expected["layer_outputs"][k // D][:, :, k % D * 4 : k % D * 4 + 4]
            slope = 1 - h * h if rnn.nonlinearity == "tanh" else h > 0
            assert_close(flow.delta[k], expected["states"][k] * slope)
        assert_close(flow.norms("carried"), np.linalg.norm(expected["states"] - flow.local, axis=3))
        assert flow.norms().shape == (2 * D, L, N)

    def test_one_gradient_alone(self):
        tape, (grad_output, grad_h_n), _ = asked(layer())
        both = analysis.gradient_flow(tape, grad_output, grad_h_n)
        parts = [
            analysis.gradient_flow(tape, grad_output),
            analysis.gradient_flow(tape, grad_h_n=grad_h_n),
        ]
        assert_close(parts[0].total + parts[1].total, both.total)
        assert not parts[1].local[1].any(axis=(1, 2))[:1].any()  # no loss at the first step
        with pytest.raises(ValueError, match="grad_output or grad_h_n must be given"):
            analysis.gradient_flow(tape)
        with pytest.raises(ValueError, match="part must be total, local, carried or delta"):
            both.norms("all")

    def test_float32(self):
        tape, incoming, _ = asked(layer(dtype=np.float32))
        flow = analysis.gradient_flow(tape, *incoming)
        assert flow.total.dtype == flow.delta.dtype == np.float32
        states = tape.backward(*incoming, state_gradients=True).states
        np.testing.assert_allclose(flow.total, states, atol=1e-5)

    @pytest.mark.parametrize("kind", KINDS)
    @every
    def test_terms_of_every_parameter_sum_to_its_gradient(self, options, kind):
        rnn = layer(**options)
        tape, incoming, _ = asked(rnn, kind)
        grads = tape.backward(*incoming)
        for name, gradient in grads.parameters.items():
            terms = analysis.gradient_by_step(tape, name, *incoming)
            assert terms.shape == (6 if kind != "packed" else len(terms), *gradient.shape)
            assert_close(terms.sum(axis=0), gradient, name=name)

    @pytest.mark.parametrize("direction", ["", "_reverse"])
    def test_a_term_is_the_gradient_of_the_weights_of_one_step(self, torch, direction):
        """torch, with weights of its own at every step."""
        rnn = layer(num_layers=1, bidirectional=True)
        tape, incoming, q = asked(rnn, "padded")
        p = {
            name: torch.tensor(np.broadcast_to(value, (6, *value.shape)).copy(), requires_grad=True)
            for name, value in rnn.parameters.items()
        }
        loss = 0
        for d, end in enumerate(("_l0", "_l0_reverse")):
            h = torch.tensor(q.h_0[d])
            for t in range(6)[:: -1 if d else 1]:
                w_ih, w_hh, b_ih, b_hh = (
                    p[f"{kind}{end}"][t]
                    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                h = torch.tanh(torch.tensor(q.x[t]) @ w_ih.T + b_ih + h @ w_hh.T + b_hh)
                loss = loss + (h * torch.tensor(incoming[0][t, :, d * 4 : d * 4 + 4])).sum()
            loss = loss + (h * torch.tensor(incoming[1][d])).sum()
        loss.backward()
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            name = f"{kind}_l0{direction}"
            assert_close(analysis.gradient_by_step(tape, name, *incoming), p[name].grad.numpy())

    def test_another_name_is_refused(self):
        tape, incoming, _ = asked(layer())
        with pytest.raises(
            ValueError, match=r"name must be one of weight_ih_l0, .* got 'weight_hh'"
        ):
            analysis.gradient_by_step(tape, "weight_hh", *incoming)

    @pytest.mark.parametrize("kind", KINDS)
    @every
    def test_contributions_are_those_of_single_steps(self, options, kind):
        rnn = layer(**options)
        tape, (grad_output, _), q = asked(rnn, kind)
        found = analysis.contributions(tape, grad_output)
        by_step = q.padded(grad_output)
        L, N = len(by_step) if kind != "packed" else found.shape[1], q.x.shape[1]
        assert found.shape == (2 * (1 + rnn.bidirectional), L, L, N)
        for s in range(L):
            alone = np.zeros_like(by_step)
            alone[s] = by_step[s]
            expected = from_textbook(q, alone, np.zeros_like(q.h_0), masks_of(tape, q))["states"]
            assert_close(found[:, s], np.linalg.norm(expected, axis=3))

    def test_contributions_are_a_triangle(self):
        tape, (grad_output, _), _ = asked(layer(num_layers=1, bidirectional=True), "padded")
        forward, reverse = analysis.contributions(tape, grad_output).max(axis=-1)
        assert np.all((forward > 0) == np.tri(6, dtype=bool))
        assert np.all((reverse > 0) == np.tri(6, dtype=bool).T)

    def test_contributions_are_products_of_jacobians(self):
        tape, (grad_output, _), _ = asked(layer(num_layers=1), "padded")
        found, J = analysis.contributions(tape, grad_output)[0], analysis.step_jacobians(tape)
        for s, n in itertools.product(range(6), range(4)):
            g = grad_output[s, n]
            for t in range(s, -1, -1):
                assert found[s, t, n] == pytest.approx(np.linalg.norm(g), rel=1e-12)
                g = g @ J[t, n]


class TestJacobians:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
    @pytest.mark.parametrize("direction", [0, 1])
    def test_a_step_beside_finite_differences(self, kind, nonlinearity, direction):
        rnn = layer(bidirectional=True, nonlinearity=nonlinearity)
        tape, _, q = asked(rnn, kind)
        J = analysis.step_jacobians(tape, 1, direction)
        L, N = q.x.shape[:2]
        lengths = np.full(N, L) if q.lengths is None else np.asarray(q.lengths)
        end = "_l1" + "_reverse" * direction
        own = q.padded(tape.layer_outputs[1])[:, :, direction * 4 : direction * 4 + 4]
        below = q.padded(tape.layer_outputs[0])
        weights = [
            rnn.parameters[f"{name}{end}"]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        eps = 1e-6
        for t, n in itertools.product(range(len(J)), range(N)):
            if t >= lengths[n]:
                assert not J[t, n].any()
                continue
            at = t + 1 if direction else t - 1
            before = own[at, n] if 0 <= at < lengths[n] else q.h_0[2 + direction, n]
            for j in range(4):
                ends = [
                    reference.cell_forward(
                        below[t, n], before + sign * eps * np.eye(4)[j], *weights, nonlinearity
                    )
                    for sign in (1, -1)
                ]
                assert_close(J[t, n, :, j], (ends[0] - ends[1]) / (2 * eps), 1e-8)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("direction", [0, 1])
    @pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
    def test_the_spectrum_of_a_few_steps(self, kind, direction, nonlinearity):
        tape, _, q = asked(layer(bidirectional=True, nonlinearity=nonlinearity), kind)
        J = analysis.step_jacobians(tape, 1, direction)
        L, N = q.x.shape[:2]
        L = len(J)
        lags = [3, 0, 1, L, 3]
        spectrum = analysis.jacobian_spectrum(tape, lags, 1, direction)
        lengths = np.full(N, L) if q.lengths is None else np.asarray(q.lengths)
        for row, k in enumerate(lags):
            for n, length in enumerate(lengths):
                product = np.eye(4)
                order = range(length)[:: -1 if direction else 1]
                for t in list(order)[length - k :] if 0 < k <= length else []:
                    product = J[t, n] @ product
                values = np.linalg.svd(product, compute_uv=False)
                if k > length:
                    assert np.isnan(spectrum.values[row, n]).all()
                else:
                    assert_close(spectrum.values[row, n], values, 1e-12)
        np.testing.assert_allclose(np.exp(spectrum.logs), spectrum.values)
        assert spectrum.lags.tolist() == lags

    @pytest.mark.parametrize("H", [1, 2, 5, 8])
    def test_a_product_of_hundreds_of_factors_with_known_singular_values(self, H):
        """U_k diag(s_k) U_(k-1)^T: their product has the products of s, far below every float."""
        rng = np.random.default_rng(H)
        s = rng.uniform(0.05, 1.3, (400, H))
        s[:, 1:2] = s[:, :1]  # two that are equal
        s[:, -1] *= 0.01
        product, u = Product(2, H), np.eye(H)
        for factors in s:
            v = np.linalg.qr(rng.normal(size=(H, H)))[0]
            product.multiply(np.broadcast_to((v * factors) @ u.T, (2, H, H)))
            u = v
        expected = -np.sort(-np.log(s).sum(axis=0))
        assert expected[-1] < -800 or H == 1
        for logs in product.log_singular_values():
            np.testing.assert_allclose(logs, expected, rtol=1e-13)

    def test_units_that_are_off_are_zeros(self):
        rng, product, plain = np.random.default_rng(0), Product(1, 6), np.eye(6)
        for _ in range(3):
            factor = np.diag([1.0, 1, 1, 0, 1, 1]) @ rng.normal(size=(6, 6))
            product.multiply(factor[None])
            plain = factor @ plain
        (found,) = np.exp(product.log_singular_values())
        np.testing.assert_allclose(found, np.linalg.svd(plain, compute_uv=False), atol=1e-11)
        for _ in range(2):
            product.multiply(np.zeros((1, 6, 6)))
            assert np.all(product.log_singular_values() == -np.inf)

    def test_largest_singular_value_above_one_does_not_have_to_explode(self):
        """A matrix that is not normal: sigma_1 > 1, and powers that vanish."""
        rnn = nr.RNN(1, 2, nonlinearity="relu", dtype=np.float64, rng=0)
        rnn.weight_hh_l0, rnn.bias_hh_l0 = [[0.5, 3.0], [0.0, 0.5]], [1.0, 1.0]
        spectrum = analysis.jacobian_spectrum(rnn.forward(np.zeros((300, 1, 1))), [1, 2, 300])
        assert spectrum.values[0, 0, 0] > 3 and spectrum.values[1, 0, 0] > 3
        assert spectrum.values[2, 0, 0] < 1e-80
        assert spectrum.logs[2, 0].sum() == pytest.approx(600 * np.log(0.5))

    @pytest.mark.parametrize("direction", [0, 1])
    def test_lyapunov_exponents(self, direction):
        rnn = layer(num_layers=1, bidirectional=True)
        tape, _, q = asked(rnn, "lengths")
        J, exponents = (
            analysis.step_jacobians(tape, 0, direction),
            analysis.lyapunov_exponents(tape, 0, direction),
        )
        for n, length in enumerate(q.lengths):
            if length == 0:
                assert np.isnan(exponents[n]).all()
                continue
            product = np.eye(4)
            for t in range(length)[:: -1 if direction else 1]:
                product = J[t, n] @ product
            diagonal = np.abs(np.diag(np.linalg.qr(product)[1]))
            np.testing.assert_allclose(exponents[n], np.log(diagonal) / length, rtol=1e-8)

    def test_a_long_run_of_exponents(self):
        rnn = nr.RNN(1, 3, nonlinearity="relu", dtype=np.float64, rng=0)
        rnn.weight_hh_l0 = np.diag([0.9, 0.5, 0.001]) + np.triu(np.ones((3, 3)), 1)
        rnn.bias_hh_l0 = np.ones(3)
        exponents = analysis.lyapunov_exponents(rnn.forward(np.zeros((500, 1, 1))))
        np.testing.assert_allclose(np.exp(exponents[0]), [0.9, 0.5, 0.001], rtol=1e-8)
        rnn.bias_hh_l0 = [1.0, 1.0, -1.0]  # a unit that is off
        rnn.weight_ih_l0, rnn.bias_ih_l0 = np.zeros((3, 1)), np.zeros(3)
        exponents = analysis.lyapunov_exponents(rnn.forward(np.zeros((50, 1, 1))))
        assert exponents[0, 2] == -np.inf

    def test_bad_arguments(self):
        tape, _, _ = asked(layer())
        for call in (analysis.step_jacobians, analysis.lyapunov_exponents):
            with pytest.raises(ValueError, match="layer must lie in 0 to 1, got int 2"):
                call(tape, 2)
            with pytest.raises(ValueError, match="direction must lie in 0 to 0"):
                call(tape, 0, 1)
            with pytest.raises(TypeError, match="layer must be an int"):
                call(tape, 0.0)
        for lags in ([7], [-1], [[1]]):
            with pytest.raises((ValueError, TypeError), match="lags"):
                analysis.jacobian_spectrum(tape, lags)
        with pytest.raises(TypeError, match="lags"):
            analysis.jacobian_spectrum(tape, [0.5])


class TestOnline:
    @pytest.mark.parametrize("kind", ["padded", "unbatched", "batch first"])
    @pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
    @pytest.mark.parametrize("bias", [False, True])
    def test_rtrl_is_bptt(self, kind, nonlinearity, bias):
        rnn = layer(
            num_layers=1, nonlinearity=nonlinearity, bias=bias, batch_first=kind == "batch first"
        )
        tape, (grad_output, _), q = asked(rnn, kind if kind == "unbatched" else "padded")
        online = analysis.rtrl(rnn, q.x_as_given, grad_output, q.h_0_as_given)
        grads = tape.backward(grad_output)
        assert_close(online.flat, grads.flat, 1e-13)
        assert_close(online.h_0, grads.h_0, 1e-13)
        assert list(online.parameters) == list(grads.parameters)
        assert online.multiplications > 4 * online.bptt_multiplications
        assert online.flat.dtype == np.float64

    def test_rtrl_takes_one_layer_and_direction(self):
        for rnn in (layer(), layer(num_layers=1, bidirectional=True)):
            with pytest.raises(ValueError, match="one layer and one direction, got RNN"):
                analysis.rtrl(rnn, np.zeros((2, 1, 3)), np.zeros((2, 1, 4)))
        with pytest.raises(TypeError, match="got a PackedSequence"):
            analysis.rtrl(layer(num_layers=1), nr.pack_sequence([np.zeros((2, 3))]), None)
        assert analysis.rtrl(
            nr.RNN(3, 4), np.zeros((2, 3), "f4"), np.ones((2, 4), "f4")
        ).flat.dtype == (np.float32)

    @pytest.mark.parametrize("kind", KINDS)
    def test_truncation_bias(self, kind):
        rnn = layer(bidirectional=True)
        tape, (grad_output, grad_h_n), q = asked(rnn, kind)
        windows = [1, 2, (2, 4), 6]
        found = analysis.truncation_bias(
            rnn, q.x_as_given, grad_output, windows, grad_h_n=grad_h_n, h_0=q.h_0_as_given,
            lengths=None if kind == "packed" else q.lengths,
        )  # fmt: skip
        whole = tape.backward(grad_output, grad_h_n).flat
        for k, window in enumerate(windows):
            cut = tape.backward(grad_output, grad_h_n, truncation=window).flat
            sizes = np.linalg.norm(cut), np.linalg.norm(whole)
            assert found.error[k] == pytest.approx(np.linalg.norm(cut - whole) / sizes[1])
            assert found.cosine[k] == pytest.approx(cut @ whole / (sizes[0] * sizes[1]))
            assert found.norm[k] == pytest.approx(sizes[0] / sizes[1])
        assert found.windows == [(1, 1), (2, 2), (2, 4), (6, 6)]
        assert found.error[3] == 0 and found.error[0] > 0

    def test_truncation_bias_refuses_what_drops_at_random(self):
        rnn = layer(dropout=0.5)
        with pytest.raises(ValueError, match=r"got one in training mode: call rnn\.eval\(\)"):
            analysis.truncation_bias(rnn, np.zeros((3, 1, 3)), np.zeros((3, 1, 4)), [1])
        analysis.truncation_bias(rnn.eval(), np.zeros((3, 1, 3)), np.ones((3, 1, 4)), [1])


class TestGradcheck:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("bidirectional", [False, True])
    def test_a_layer_passes(self, kind, bidirectional):
        rnn = layer(bidirectional=bidirectional, batch_first=kind == "padded")
        x, h_0, lengths = example(rnn, kind, 4, 3)
        before = rnn.flat_parameters.copy()
        data = (x.data if kind == "packed" else x).copy()
        check = analysis.gradcheck(rnn, x, h_0=h_0, lengths=lengths, most=6, eps=[1e-3, 1e-5, 1e-8])
        assert check.passed and list(check.error) == ["input", "h_0", *rnn.parameters]
        for name, errors in check.error.items():
            assert errors[1] < 1e-8 < errors[0], name  # the curvature
            assert errors[2] > errors[1], name  # the rounding
            assert check.best[name] == 1e-5 and not check.kinks[name].any()
        assert_close(check.numeric["input"], check.backward["input"], 1e-8)
        np.testing.assert_array_equal(rnn.flat_parameters, before)
        np.testing.assert_array_equal(x.data if kind == "packed" else x, data)
        assert str(check).count("\n") == len(check.error)

    def test_float32_passes_with_less(self):
        rnn = nr.RNN(3, 4, rng=0)
        check = analysis.gradcheck(rnn, normal((4, 2, 3), np.float32), most=5)
        assert check.passed and check.limit == 1e-2
        assert min(errors.min() for errors in check.error.values()) > 1e-7

    def test_kinks_are_counted_and_left_out(self):
        """One unit that is nearly off: a large eps crosses the kink, and a small one does not."""
        rnn = nr.RNN(1, 1, nonlinearity="relu", dtype=np.float64, rng=0)
        rnn.flat_parameters[:] = [1.0, 0.5, 0.0, 0.0]
        check = analysis.gradcheck(rnn, np.full((1, 1, 1), 1e-4), eps=[1e-2, 1e-6])
        assert check.kinks["input"].tolist() == [1, 0]
        assert np.isnan(check.error["input"][0]) and check.error["input"][1] < 1e-8
        assert check.passed and check.best["input"] == 1e-6

    def test_a_loss_of_ones_own(self):
        rnn = layer()
        x, h_0, lengths = example(rnn, "lengths", 4, 3)
        target = normal((3, 4), seed=9)

        def loss(output, h_n, factor=2.0):
            error = h_n[-1] - target
            of_h_n = np.zeros_like(h_n)
            of_h_n[-1] = factor * error
            return np.sum(error**2) + np.sum(output**3), 3 * output**2, of_h_n

        options = {"h_0": h_0, "lengths": lengths, "most": 5, "eps": 1e-5}
        assert analysis.gradcheck(rnn, x, loss=loss, **options).passed
        wrong = analysis.gradcheck(rnn, x, loss=lambda o, h: loss(o, h, 1.0), **options)
        assert not wrong.passed and min(e[0] for e in wrong.error.values()) > 1e-3
        with pytest.raises(TypeError, match="loss must return three"):
            analysis.gradcheck(rnn, x, loss=lambda o, h: 1.0, **options)

    def test_a_wrong_backward_does_not_pass(self, monkeypatch):
        backward = nr.tape.Tape.backward

        def forgetful(self, *args, **options):
            grads = backward(self, *args, **options)
            grads.parameters["weight_hh_l0"][...] *= 0.99
            return grads

        monkeypatch.setattr(nr.tape.Tape, "backward", forgetful)
        check = analysis.gradcheck(layer(), normal((4, 2, 3)), most=5, eps=1e-5)
        failed = {name for name, errors in check.error.items() if errors[0] > check.limit}
        assert failed == {"weight_hh_l0"} and not check.passed

    def test_bad_arguments(self):
        rnn, x = layer(), np.zeros((2, 1, 3))
        for eps in (0, [-1.0], [], [[1e-3]], np.nan):
            with pytest.raises(ValueError, match="eps must be positive"):
                analysis.gradcheck(rnn, x, eps=eps)
        with pytest.raises(ValueError, match="most must be positive"):
            analysis.gradcheck(rnn, x, most=0)
        with pytest.raises(TypeError, match="rnn must be an RNN, got RNNCell"):
            analysis.gradcheck(nr.RNNCell(2, 3), x)


class TestLandscape:
    def test_the_folds_of_pascanu(self):
        """Figure 3 of the paper: w = 5."""
        found = analysis.bifurcation(5.0, np.linspace(-3.5, -1.5, 41))
        np.testing.assert_allclose(found.folds, [-2.6556, -2.3444], atol=5e-5)
        inside = (found.b > found.folds[0]) & (found.b < found.folds[1])
        assert np.all(np.isfinite(found.points).sum(axis=1) == np.where(inside, 3, 1))
        assert np.all(found.stable.sum(axis=1) == np.where(inside, 2, 1))

    @pytest.mark.parametrize("nonlinearity", ["sigmoid", "tanh"])
    @pytest.mark.parametrize("w", [-6.0, -0.5, 0.0, 0.9, 1.5, 3.0, 5.0, 20.0])
    def test_fixed_points_are_fixed_and_stable_ones_are_met(self, w, nonlinearity):
        f = np.tanh if nonlinearity == "tanh" else lambda a: 1 / (1 + np.exp(-a))
        for b in np.linspace(-12, 6, 7):
            points, stable = analysis.fixed_points(w, b, nonlinearity)
            np.testing.assert_allclose(w * f(points) + b, points, atol=1e-12)
            a = points + 1e-7
            for _ in range(500):
                a = w * f(a) + b
            assert np.all((np.abs(a - points) < 1e-9) == stable)
            starts = np.linspace(b - 25.01, b + 25.02, 201)
            excess = w * f(starts) + b - starts
            assert np.count_nonzero(np.diff(np.sign(excess))) <= len(points)

    def test_at_a_fold_two_points_have_met(self):
        low, high = analysis.bifurcation(5.0, []).folds
        for b in (low, high):
            assert len(analysis.fixed_points(5.0, b)[0]) in (1, 2, 3)
        assert [len(analysis.fixed_points(5.0, b)[0]) for b in (low - 1e-6, low + 1e-6)] == [1, 3]
        assert analysis.bifurcation(3.9, [0.0]).folds.shape == (0,)

    def test_the_cliff_of_pascanu(self):
        """Figure 6: E = (sigmoid(x_50) - 0.7)^2 from x_0 = 0.5 jumps at b = -2.6123 by .33."""

        def error(b, x=0.5):
            for _ in range(50):
                x = 5 / (1 + np.exp(-x)) + b
            return (1 / (1 + np.exp(-x)) - 0.7) ** 2

        b = np.linspace(-2.7, -2.5, 20001)
        losses = error(b)
        at = np.argmax(np.abs(np.diff(losses)))
        assert b[at] == pytest.approx(-2.6123, abs=2e-4)
        assert abs(error(b[at] + 2e-3) - error(b[at] - 2e-3)) == pytest.approx(0.33, abs=0.02)

    def test_loss_surface(self):
        rnn = layer()
        x, h_0, lengths = example(rnn, "lengths", 4, 3)
        u, v = normal((2, rnn.flat_parameters.size))
        before = rnn.flat_parameters.copy()

        def loss(output, h_n):
            return np.sum(output**2) + np.sum(h_n)

        options = {"h_0": h_0, "lengths": lengths}
        surface = analysis.loss_surface(
            rnn, x, loss, (u, v), alphas=[-0.1, 0, 0.2], betas=[0, 0.3], **options
        )
        other = copy.deepcopy(rnn)
        for (i, a), (j, b) in itertools.product(enumerate([-0.1, 0, 0.2]), enumerate([0, 0.3])):
            other.flat_parameters[:] = before + a * u + b * v
            assert surface.losses[i, j] == loss(*other(x, **options))
        np.testing.assert_array_equal(rnn.flat_parameters, before)
        line = analysis.loss_surface(rnn, x, loss, [u], **options)
        assert line.losses.shape == (21, 1) and line.betas.tolist() == [0]
        assert line.losses[10, 0] == loss(*rnn(x, **options))

    def test_bad_arguments(self):
        rnn, x = layer(), np.zeros((2, 1, 3))
        with pytest.raises(ValueError, match="nonlinearity must be 'sigmoid' or 'tanh'"):
            analysis.fixed_points(1.0, 0.0, "relu")
        for bad in (np.nan, np.inf):
            with pytest.raises(ValueError, match="w must lie in"):
                analysis.bifurcation(bad, [0.0])
        with pytest.raises(ValueError, match="b must be finite numbers with one axis"):
            analysis.bifurcation(1.0, [[0.0]])
        for directions in ([], [np.zeros(3)], [rnn.flat_parameters] * 3):
            with pytest.raises(ValueError, match="directions must be one or two arrays of shape"):
                analysis.loss_surface(rnn, x, lambda o, h: 0.0, directions)
        with pytest.raises(ValueError, match="betas are steps along a second direction"):
            analysis.loss_surface(rnn, x, lambda o, h: 0.0, [rnn.flat_parameters], betas=[1.0])


TAPES = {
    "gradient_flow": lambda tape, g: analysis.gradient_flow(tape, g),
    "contributions": lambda tape, g: analysis.contributions(tape, g),
    "gradient_by_step": lambda tape, g: analysis.gradient_by_step(tape, "weight_hh_l0", g),
    "step_jacobians": lambda tape, g: analysis.step_jacobians(tape),
    "jacobian_spectrum": lambda tape, g: analysis.jacobian_spectrum(tape, [1]),
    "lyapunov_exponents": lambda tape, g: analysis.lyapunov_exponents(tape),
}


@pytest.mark.parametrize("name", TAPES)
def test_tapes_of_other_things_are_refused(name):
    cell = nr.RNNCell(2, 3).forward(np.zeros((1, 2), np.float32))
    with pytest.raises(TypeError, match=r"tape must be what RNN\.forward returns, got CellTape"):
        TAPES[name](cell, cell.h)
    tape, (grad, _), _ = asked(layer(num_layers=1))
    tape._form = copy.copy(tape._form)
    tape._form.place = "cuda:0"
    with pytest.raises(ValueError, match=r"on the GPU: move the layer with \.to\(.cpu.\)"):
        TAPES[name](tape, grad)


def test_a_layer_on_a_gpu_is_refused():
    rnn = layer(num_layers=1)
    object.__setattr__(rnn, "_place", "cuda:0")
    x = np.zeros((2, 1, 3))
    for call in (
        lambda: analysis.rtrl(rnn, x, x),
        lambda: analysis.gradcheck(rnn, x),
        lambda: analysis.truncation_bias(rnn, x, x, [1]),
        lambda: analysis.loss_surface(rnn, x, max, []),
    ):
        with pytest.raises(ValueError, match=r"rnn must be on the CPU, got one on the GPU"):
            call()


@pytest.mark.parametrize("size", [(0, 2), (3, 0), (0, 0)])
def test_no_steps_and_no_samples(size):
    tape = layer(bidirectional=True).forward(np.zeros((*size, 3)))
    L, N = size
    assert analysis.gradient_flow(tape, tape.output).total.shape == (4, L, N, 4)
    assert analysis.contributions(tape, tape.output).shape == (4, L, L, N)
    assert analysis.gradient_by_step(tape, "bias_ih_l1_reverse", tape.output).shape == (L, 4)
    assert analysis.step_jacobians(tape, 1, 1).shape == (L, N, 4, 4)
    assert analysis.jacobian_spectrum(tape, [0, L]).values.shape == (2, N, 4)
    assert analysis.lyapunov_exponents(tape).shape == (N, 4)


@pytest.mark.parametrize("module", ["reference", "analysis", "plotting"])
def test_they_are_imported_without_numba(module):
    code = f"""
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ImportError("there is no " + name)
sys.meta_path.insert(0, Without())
import numba_rnn
import numba_rnn.{module} as found
assert found is numba_rnn.{module} and "numba" not in sys.modules
for name in found.__all__:
    getattr(found, name)
"""
    python(code)


def test_gradcheck_refuses_a_doubled_gradient_where_kinks_spoil_all_but_dead_units():
    """What is left at a large eps are slopes of 0, and twice 0 is right."""
    rng = np.random.default_rng(29)
    rnn = nr.RNN(1, 2, nonlinearity="relu", dtype=np.float64, rng=29)
    x, w = rng.standard_normal((40, 6, 1)), rng.standard_normal((40, 6, 2))

    def loss(output, h_n, factor):
        return float((output * w).sum()), factor * w, None

    for factor in (1, 2):
        check = analysis.gradcheck(
            rnn, x, loss=lambda o, h, k=factor: loss(o, h, k), most=4, eps=[1e-1, 1e-3, 1e-6]
        )
        assert check.passed == (factor == 1)
