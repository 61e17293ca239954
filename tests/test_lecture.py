"""Twelve tasks of a lecture on BPTT, here and with torch: the same numbers, in no more lines.

Each task is two functions. torch's are written as briefly as its documented interface allows; what
counts is the lines between `def` and `return`, both included.
"""

import inspect

import numpy as np
import pytest

import numba_rnn as nr

L, N, I, H = 7, 3, 2, 4


class Ours:
    """The tasks with numba_rnn; rnn is a layer, x (L, N, I), g the gradient of the output."""

    @staticmethod
    def gradient_of_every_state(rnn, x, g):
        return rnn.forward(x).backward(g, state_gradients=True).states[0]

    @staticmethod
    def what_each_step_adds_to_dw_hh(rnn, x, g):
        return nr.analysis.gradient_by_step(rnn.forward(x), "weight_hh_l0", g)

    @staticmethod
    def what_is_carried(rnn, x, g):
        return nr.analysis.gradient_flow(rnn.forward(x), g).carried[0]

    @staticmethod
    def jacobians_of_a_step(rnn, x, g):
        return nr.analysis.step_jacobians(rnn.forward(x))

    @staticmethod
    def singular_values_over_five_steps(rnn, x, g):
        return nr.analysis.jacobian_spectrum(rnn.forward(x), [5]).values[0]

    @staticmethod
    def who_sends_what_to_whom(rnn, x, g):
        return nr.analysis.contributions(rnn.forward(x), g)[0]

    @staticmethod
    def truncated_where_chunks_are_detached(rnn, x, g):
        return rnn.forward(x).backward(g, truncation=3).parameters["weight_hh_l0"]

    @staticmethod
    def gradients_of_each_sample(rnn, x, g):
        return rnn.forward(x).backward(g, per_sample=True).sample_parameters["weight_hh_l0"]

    @staticmethod
    def orthogonal_weights(rnn, x, g):
        nr.init.orthogonal_(rnn, rng=0)
        return rnn.weight_hh_l0 @ rnn.weight_hh_l0.T

    @staticmethod
    def identity_weights(rnn, x, g):
        nr.init.identity_(rnn)
        return rnn.weight_hh_l0

    @staticmethod
    def gradient_norm_clipped(rnn, x, g):
        grads = rnn.forward(x).backward(g)
        nr.optim.clip_grad_norm(grads.flat, 0.5)
        return grads.parameters["weight_hh_l0"]

    @staticmethod
    def last_states_of_sequences_of_many_lengths(rnn, x, g):
        return rnn(x, lengths=[2, 7, 3])[1]


class Torchs:
    """The same with torch; rnn is a torch.nn.RNN of the same weights."""

    @staticmethod
    def gradient_of_every_state(torch, rnn, x, g):
        cell, h, states = torch.nn.RNNCell(I, H, dtype=x.dtype), torch.zeros(N, H).to(x), []
        cell.load_state_dict({k.removesuffix("_l0"): v for k, v in rnn.state_dict().items()})
        for x_t in x:
            h = cell(x_t, h)
            h.retain_grad()
            states.append(h)
        torch.stack(states).backward(g)
        return torch.stack([h.grad for h in states])

    @staticmethod
    def what_each_step_adds_to_dw_hh(torch, rnn, x, g):
        p, h, outputs = dict(rnn.named_parameters()), torch.zeros(N, H).to(x), []
        copies = [p["weight_hh_l0"].detach().clone().requires_grad_() for _ in x]
        for x_t, w in zip(x, copies, strict=True):
            a = x_t @ p["weight_ih_l0"].T + p["bias_ih_l0"] + h @ w.T + p["bias_hh_l0"]
            h = torch.tanh(a)
            outputs.append(h)
        return torch.stack(torch.autograd.grad(torch.stack(outputs), copies, g))

    @staticmethod
    def what_is_carried(torch, rnn, x, g):
        return Torchs.gradient_of_every_state(torch, rnn, x, g) - g  # + the eight lines above

    @staticmethod
    def jacobians_of_a_step(torch, rnn, x, g):
        with torch.no_grad():
            output, _ = rnn(x)
        return (1 - output[..., None] ** 2) * rnn.weight_hh_l0.detach()

    @staticmethod
    def singular_values_over_five_steps(torch, rnn, x, g):
        jacobians = Torchs.jacobians_of_a_step(torch, rnn, x, g)
        product = torch.eye(H).to(x)
        for jacobian in jacobians[-5:]:
            product = jacobian @ product
        return torch.linalg.svdvals(product)

    @staticmethod
    def who_sends_what_to_whom(torch, rnn, x, g):
        cell, h, states = torch.nn.RNNCell(I, H, dtype=x.dtype), torch.zeros(N, H).to(x), []
        cell.load_state_dict({k.removesuffix("_l0"): v for k, v in rnn.state_dict().items()})
        for x_t in x:
            states.append(h := cell(x_t, h))
        found = torch.zeros(L, L, N).to(x)
        for s in range(L):
            sent = torch.autograd.grad(states[s], states[: s + 1], g[s], retain_graph=True)
            found[s, : s + 1] = torch.stack(sent).norm(dim=-1)
        return found

    @staticmethod
    def truncated_where_chunks_are_detached(torch, rnn, x, g):
        h = torch.zeros(1, N, H).to(x)
        for x_part, g_part in zip(x.split(3), g.split(3), strict=True):
            output, h = rnn(x_part, h.detach())
            output.backward(g_part)
        return rnn.weight_hh_l0.grad

    @staticmethod
    def gradients_of_each_sample(torch, rnn, x, g):
        found = []
        for n in range(N):
            grads = torch.autograd.grad(rnn(x[:, n])[0], rnn.weight_hh_l0, g[:, n])
            found.append(grads[0])
        return torch.stack(found)

    @staticmethod
    def orthogonal_weights(torch, rnn, x, g):
        torch.nn.init.orthogonal_(rnn.weight_hh_l0)
        return rnn.weight_hh_l0 @ rnn.weight_hh_l0.T

    @staticmethod
    def identity_weights(torch, rnn, x, g):
        torch.nn.init.eye_(rnn.weight_hh_l0)
        return rnn.weight_hh_l0

    @staticmethod
    def gradient_norm_clipped(torch, rnn, x, g):
        rnn(x)[0].backward(g)
        torch.nn.utils.clip_grad_norm_(rnn.parameters(), 0.5)
        return rnn.weight_hh_l0.grad

    @staticmethod
    def last_states_of_sequences_of_many_lengths(torch, rnn, x, g):
        pack = torch.nn.utils.rnn.pack_padded_sequence
        packed = pack(x, torch.tensor([2, 7, 3]), enforce_sorted=False)
        return rnn(packed)[1]


TASKS = [name for name in vars(Ours) if name[0] != "_"]


def lines(function):
    """Return how many lines a function takes, without its decorator."""
    return len(inspect.getsource(function).strip().splitlines()) - 1


def test_there_are_twelve():
    assert len(TASKS) == 12 and set(TASKS) == {name for name in vars(Torchs) if name[0] != "_"}


@pytest.mark.parametrize("task", TASKS)
def test_the_same_numbers_in_no_more_lines(task, torch):
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((L, N, I)), rng.standard_normal((L, N, H))
    rnn = nr.RNN(I, H, dtype=np.float64, rng=0)
    theirs = nr.to_torch(rnn)
    ours, other = getattr(Ours, task), getattr(Torchs, task)
    found = ours(rnn, x, g)
    expected = other(torch, theirs, torch.from_numpy(x), torch.from_numpy(g))
    assert np.allclose(found, expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    assert lines(ours) <= lines(other)
