"""What the pictures of gradients show, read back from the Axes."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_hex
from matplotlib.figure import Figure

import numba_rnn as nr
from numba_rnn import analysis, plotting

DRAWINGS = {
    "gradient_flow": lambda ax: plotting.gradient_flow([1.0, 2.0], [0.0, 2.0], [1.0, 0.0], ax=ax),
    "contributions": lambda ax: plotting.contributions(np.tri(4), ax=ax),
    "spectrum": lambda ax: plotting.spectrum([1, 2], np.ones((2, 9)), ax=ax),
    "truncation": lambda ax: plotting.truncation([1, (1, 4)], [0.5, 0.0], [0.5, 1.0], ax=ax),
    "saturation": lambda ax: plotting.saturation([[0.1, 0.9], [[0.5]]], ax=ax),
    "gradcheck": lambda ax: plotting.gradcheck(
        [1e-2, 1e-5], {"input": [1e-4, 1e-9], "h_0": [1e-4, 0]}, {"input": [0.5, 0]}, ax=ax
    ),
    "cliff": lambda ax: plotting.cliff([0, 1, 2, 3], [1, 1, 0, 0], folds=[1.5], ax=ax),
}


@pytest.fixture
def ax():
    return Figure(figsize=(8, 5), layout="constrained").subplots()


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


@pytest.mark.parametrize("name", DRAWINGS)
def test_each_is_drawn_on_the_axes_it_is_given(name, ax):
    assert DRAWINGS[name](ax) is ax
    ax.figure.canvas.draw()
    assert ax.get_xlabel() and ax.get_ylabel()
    assert name in plotting.__all__ and getattr(plotting, name).__module__.endswith("pictures")
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes, got int"):
        DRAWINGS[name](3)


@pytest.mark.parametrize("name", ["gradient_flow", "spectrum", "gradcheck"])
def test_lines_differ_in_more_than_colour(name, ax):
    DRAWINGS[name](ax)
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert len(lines) > 1
    assert len({to_hex(line.get_color()) for line in lines}) == len(lines)
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == len(lines)


def test_gradient_flow(ax):
    total, local = np.array([[1.0, 3.0], [4.0, 4.0]]), np.array([[0.0, 0.0], [4.0, 4.0]])
    plotting.gradient_flow(total, local, ax=ax)
    np.testing.assert_array_equal(line(ax, "total").get_ydata(), [2, 4])
    np.testing.assert_array_equal(line(ax, "local").get_ydata(), [np.nan, 4])
    assert ax.get_yscale() == "log" and len(ax.collections) == 2  # bands over the samples
    ax.figure.canvas.draw()
    np.testing.assert_array_equal(ax.get_xticks(), np.round(ax.get_xticks()))


def test_gradient_flow_of_a_tape(ax):
    rnn = nr.RNN(2, 3, 2, rng=0)
    tape = rnn.forward(np.ones((6, 2, 2), np.float32))
    flow = analysis.gradient_flow(tape, tape.output)
    plotting.gradient_flow(*(flow.norms(p)[1] for p in ("total", "local", "carried")), ax=ax)
    np.testing.assert_allclose(
        line(ax, "total").get_ydata(), flow.norms()[1].mean(axis=1), rtol=1e-6
    )
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "total",
        "local",
        "carried",
    ]


def test_contributions(ax):
    values = np.stack([np.tri(5), 3 * np.tri(5)], axis=2)
    plotting.contributions(values, ax=ax)
    (image,) = ax.images
    shown = image.get_array()
    np.testing.assert_array_equal(shown.mask, np.tri(5) == 0)
    assert np.all(shown.compressed() == 2) and isinstance(image.norm, LogNorm)
    plotting.contributions(np.zeros((3, 3)), ax=Figure().subplots()).figure.canvas.draw()


def test_spectrum(ax):
    lags = np.arange(1, 40)
    values = np.stack([0.9**lags, 0.5**lags, np.where(lags > 5, 0, 0.1)], axis=1)
    plotting.spectrum(lags, values, ax=ax)
    np.testing.assert_array_equal(line(ax, "largest").get_ydata(), values[:, 0])
    assert np.isnan(line(ax, "smallest").get_ydata()[-1])
    assert ax.lines[0].get_ydata()[0] == 1
    for H, names in ((1, {"the only one"}), (2, {"largest", "smallest"})):
        ax = plotting.spectrum(lags, values[:, :H], ax=Figure().subplots())
        assert {line.get_label() for line in ax.lines[1:]} == names


def test_truncation(ax):
    plotting.truncation([(2, 8), 1, 3], [0.0, 0.5, 0.25], [1.0, -0.2, 0.5], ax=ax)
    x, y = line(ax, "relative error").get_data()
    assert x.tolist() == [1, 3, 8] and y.tolist() == [0.5, 0.25, 0.025]
    assert line(ax, "exact").get_xdata().tolist() == [8]
    (right,) = [other for other in ax.figure.axes if other is not ax]
    assert line(right, "cosine").get_ydata().tolist() == [-0.2, 0.5, 1.0]
    assert right.get_ylim()[0] < -0.2
    ax.figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["relative error", "exact", "cosine"]
    assert not ax.get_legend().get_window_extent().overlaps(ax.get_window_extent().shrunk(1, 0.99))


def test_saturation(ax):
    h = np.array([[-1.0, 0.01], [0.99, 0.5]])
    plotting.saturation([h, h / 2], labels=["low", "high"], ax=ax)
    values = [patch.get_data().values for patch in ax.patches]
    assert all(share.sum() == pytest.approx(1) for share in values)
    assert values[0][-1] == 0.5 and values[1][-1] == 0
    assert len({patch.get_linestyle() for patch in ax.patches}) == 2
    ax = plotting.saturation([[5.0, 0.0]], ax=Figure().subplots())  # of ReLU
    assert ax.get_xlim() == (0, 5)


def test_gradcheck(ax):
    rnn = nr.RNN(2, 3, nonlinearity="relu", dtype=np.float64, rng=0)
    x = np.random.default_rng(0).normal(size=(4, 2, 2))
    check = analysis.gradcheck(rnn, x, eps=[1e0, 1e-2, 1e-5], most=8)
    plotting.gradcheck(check.eps, check.error, check.kinks, ax=ax)
    np.testing.assert_array_equal(line(ax, "input").get_xdata(), [1e-5, 1e-2, 1])
    np.testing.assert_array_equal(line(ax, "input").get_ydata(), check.error["input"][::-1])
    spoilt = np.max(list(check.kinks.values()), axis=0)
    assert spoilt[0] > 0 and len(ax.patches) == np.count_nonzero(spoilt)


def test_cliff(ax):
    plotting.cliff([0, 1, 2, 3], [1.0, 0.9, 0.1, 0.0], folds=[1.2, 1.4], ax=ax)
    y = ax.lines[0].get_ydata()
    assert np.isnan(y).sum() == 1 and np.isnan(y[2])  # the line breaks at the jump
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["fold"]
    ax = plotting.cliff([0, 1], np.ones((2, 3)), [0, 1, 2], ax=Figure().subplots())
    assert ax.collections[0].get_array().size == 6


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: plotting.gradient_flow([]),
            ValueError,
            r"total must have shape \(L,\) or \(L, N\)",
        ),
        (
            lambda: plotting.gradient_flow([1.0], [1.0, 2.0]),
            ValueError,
            "local must have the shape",
        ),
        (lambda: plotting.gradient_flow(["a"]), TypeError, "total must be real numbers"),
        (lambda: plotting.contributions(np.ones((2, 3))), ValueError, r"\(L, L\) or \(L, L, N\)"),
        (lambda: plotting.contributions(np.ones((0, 0))), ValueError, "values must have shape"),
        (lambda: plotting.spectrum([1], np.ones((2, 3))), ValueError, r"\(K, H\) with K lags"),
        (lambda: plotting.truncation([1, 2], [1.0]), ValueError, "one value for each window"),
        (lambda: plotting.truncation([1], [1.0], [1.0, 2.0]), ValueError, "cosine must have one"),
        (lambda: plotting.saturation([]), ValueError, "states must be finite numbers"),
        (lambda: plotting.saturation([[np.nan]]), ValueError, "states must be finite numbers"),
        (lambda: plotting.saturation([[1.0]], labels=[]), ValueError, "labels must have 1 names"),
        (lambda: plotting.gradcheck([0.0], {"x": [1.0]}), ValueError, "eps must be positive"),
        (lambda: plotting.gradcheck([1.0], {"x": [1.0, 2]}), ValueError, "x must have a value for"),
        (lambda: plotting.gradcheck([1.0], {}), ValueError, "at least one quantity"),
        (lambda: plotting.cliff([0, 1], [1.0]), ValueError, r"loss must have shape \(A,\)"),
        (
            lambda: plotting.cliff([0, 1], np.ones((2, 2)), [1.0]),
            ValueError,
            r"\(A, B\) with across",
        ),
    ],
)
def test_bad_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()
