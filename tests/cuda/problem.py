"""One layer on a backend beside the textbook: output, h_n, dx, dh_0, every gradient and dh_t."""

import numpy as np

import numba_rnn as nr
from numba_rnn import batches, reference
from numba_rnn.backends import LayerKind
from numba_rnn.parameters import places, rnn_shapes, size, views

TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}


def close(ours, theirs, name):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    return np.max(np.abs(ours - theirs), initial=0) / np.max(np.abs(theirs), initial=1)


def problem_layout(kind, L, N, lengths):
    """Layout of padded, batch_first, lengths or packed input, and the lengths."""
    if kind == "packed":
        rows = np.zeros((L, N, 1))
        return batches.packed(nr.pack_padded_sequence(rows, lengths, enforce_sorted=False))
    if kind == "lengths":
        return batches.padded(L, N, False, lengths)
    return batches.padded(L, N, kind == "batch_first")


def check(
    backend, to_device, to_host, kind="lengths", *, L=4, N=3, I=2, H=3, D=2, dtype=np.float64,
    nonlinearity="tanh", bias=True, lengths=None, grads=(True, True), states=True, seed=0,
):  # fmt: skip
    """Compare everything that the backend gives for one layer; return the largest error."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if kind not in ("lengths", "packed"):
        lengths = np.full(N, L)
    elif lengths is None:
        lengths = rng.integers(1 if kind == "packed" else 0, L + 1, N)
        lengths[rng.integers(N)] = L
    lengths = np.asarray(lengths)
    layout = problem_layout(kind, L, N, lengths)
    shapes = rnn_shapes(I, H, 1, bias, D)[0]
    layer = LayerKind(places(shapes, D), H, D, nonlinearity)
    bound = 1 / np.sqrt(H)
    weights = rng.uniform(-bound, bound, size(shapes)).astype(dtype)

    # Rows of memory: row[t, n] of the caller's sample n; -1 where there is none.
    row = np.full((L, N), -1)
    for i, n in enumerate(layout.order):
        steps = lengths[n] if kind == "packed" else L
        row[:steps, n] = layout.step_row[:steps] + layout.batch_row[i]
    real = np.arange(L)[:, None] < lengths

    def to_rows(array, padding=np.nan):
        rows = np.full((layout.rows, array.shape[2]), padding, dtype)
        rows[row[real]] = array[real]
        return rows

    def from_rows(rows):
        rows = np.asarray(rows)
        array = np.zeros((L, N, rows.shape[1]))
        array[row >= 0] = rows[row[row >= 0]]
        return array

    x = rng.normal(size=(L, N, I)).astype(dtype)
    h_0 = rng.normal(size=(D, N, H)).astype(dtype)
    g = rng.normal(size=(L, N, D * H)).astype(dtype)
    g_n = rng.normal(size=(D, N, H)).astype(dtype)

    x_rows, h_0_, w = (to_device(a) for a in (to_rows(x), h_0, weights))
    h_n = backend.empty(h_0.shape, dtype)
    output = backend.rnn_forward(x_rows, h_0_, h_n, w, layer, layout)
    dh_0 = backend.zeros(h_0.shape, dtype)
    gradients = backend.zeros(weights.shape, dtype)
    dx, dh = backend.rnn_backward(
        x_rows, h_0_, output, w, layer, layout,
        to_device(to_rows(g)) if grads[0] else None, to_device(g_n) if grads[1] else None,
        dh_0, gradients, states,
    )  # fmt: skip
    assert (dh is not None) == states

    errors = {}
    wide = views(weights.astype(np.float64), shapes)
    ours_gradients = views(to_host(gradients), shapes)
    output, dx, h_n, dh_0 = from_rows(to_host(output)), to_host(dx), to_host(h_n), to_host(dh_0)
    dx_expected = 0
    g, g_n = (np.zeros_like(a) if not used else a for a, used in zip((g, g_n), grads, strict=True))
    x, h_0, g, g_n = (a.astype(np.float64) for a in (x, h_0, g, g_n))
    for d in range(D):
        suffix, part = "_reverse" * d, slice(d * H, (d + 1) * H)
        w_ih, w_hh = wide[f"weight_ih_l0{suffix}"], wide[f"weight_hh_l0{suffix}"]
        b = [wide[f"bias_{k}_l0{suffix}"] if bias else 0.0 for k in ("ih", "hh")]
        options = {"lengths": lengths, "nonlinearity": nonlinearity, "reverse": d == 1}
        expected, last = reference.layer_forward(x, h_0[d], w_ih, w_hh, *b, **options)
        errors[f"output{d}"] = close(output[:, :, part], expected, "output")
        errors[f"h_n{d}"] = close(h_n[d], last, "h_n")
        answer = reference.layer_backward(
            g[:, :, part], g_n[d], x, h_0[d], expected, w_ih, w_hh, **options
        )
        dx_expected += answer[0]
        errors[f"dh_0{d}"] = close(dh_0[d], answer[1], "dh_0")
        errors[f"dw_ih{d}"] = close(ours_gradients[f"weight_ih_l0{suffix}"], answer[2], "dw_ih")
        errors[f"dw_hh{d}"] = close(ours_gradients[f"weight_hh_l0{suffix}"], answer[3], "dw_hh")
        if bias:
            for k in ("ih", "hh"):
                errors[f"db_{k}{d}"] = close(
                    ours_gradients[f"bias_{k}_l0{suffix}"], answer[4], "db"
                )
        if states:
            errors[f"dh{d}"] = close(from_rows(to_host(dh))[:, :, part], answer[5], "dh")
    errors["dx"] = close(from_rows(dx), dx_expected, "dx")
    wrong = {k: e for k, e in errors.items() if not e <= TOLERANCE[dtype]}
    assert not wrong, wrong
    return max(errors.values())
