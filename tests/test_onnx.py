"""ONNX files: checked, and ONNX Runtime computes from them what we do."""

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import error, forecaster
from processes import python
from sklearn.exceptions import NotFittedError

import numba_rnn as nr
from numba_rnn.estimators import RNNClassifier, RNNRegressor

# Of L-BFGS a few iterations are enough here, and it warns whenever it doesn't come to its end.
pytestmark = pytest.mark.filterwarnings(
    "ignore:max_iter=.+ iterations of L-BFGS:sklearn.exceptions.ConvergenceWarning"
)

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-11}


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def example(rnn, L, N, seed=0):
    """x, h_0 and lengths, of which one is L and one 0."""
    rng = np.random.default_rng(seed)
    D = 2 if rnn.bidirectional else 1
    shape = (N, L, rnn.input_size) if rnn.batch_first else (L, N, rnn.input_size)
    x = rng.standard_normal(shape).astype(rnn.dtype)
    h_0 = rng.standard_normal((rnn.num_layers * D, N, rnn.hidden_size)).astype(rnn.dtype)
    lengths = rng.integers(0, L + 1, N)
    lengths[: min(N, 2)] = [0, L][: min(N, 2)]
    return x, h_0, lengths


def compare(rnn, run, L, N, initial_state, lengths):
    x, h_0, ends = example(rnn, L, N)
    feed = {"x": x}
    if initial_state:
        feed["h_0"] = h_0
    if lengths:
        feed["lengths"] = ends.astype(np.int32)
    output, h_n = rnn(x, h_0 if initial_state else None, lengths=ends if lengths else None)
    theirs = run.run(["output", "h_n"], feed)
    for ours, other in zip((output, h_n), theirs, strict=True):
        assert ours.shape == other.shape and ours.dtype == other.dtype
        assert error(other, ours) <= TOLERANCE[ours.dtype]
    if lengths:
        steps = theirs[0] if not rnn.batch_first else theirs[0].swapaxes(0, 1)
        for n, end in enumerate(ends):
            assert not steps[end:, n].any()


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("initial_state", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_rnn(tmp_path, bidirectional, num_layers, batch_first, dtype, initial_state, lengths):
    rnn = nr.RNN(
        3, 4, num_layers, batch_first=batch_first, bidirectional=bidirectional, dtype=dtype, rng=0
    )
    path = tmp_path / "rnn.onnx"
    nr.to_onnx(rnn, path, initial_state=initial_state, lengths=lengths)
    onnx.checker.check_model(str(path), full_check=True)
    run = session(path)
    assert [i.name for i in run.get_inputs()] == (
        ["x"] + ["h_0"] * initial_state + ["lengths"] * lengths
    )
    for L, N in ((6, 5), (1, 1), (9, 2), (0, 3), (4, 0)):  # one file for all of them
        compare(rnn, run, L, N, initial_state, lengths)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{"bias": False}, {"nonlinearity": "relu"}, {"dropout": 0.9}])
def test_other_options(tmp_path, options, dtype):
    """Dropout is off, whatever mode the layer is in."""
    rnn = nr.RNN(3, 4, 2, bidirectional=True, dtype=dtype, rng=0, **options)
    nr.to_onnx(rnn, tmp_path / "rnn.onnx", initial_state=True, lengths=True)
    assert rnn.training
    compare(rnn.eval(), session(tmp_path / "rnn.onnx"), 6, 5, True, True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_sequences(tmp_path, dtype):
    rnn = nr.RNN(5, 48, dtype=dtype, rng=0)
    nr.to_onnx(rnn, tmp_path / "rnn.onnx", initial_state=True, lengths=True)
    compare(rnn, session(tmp_path / "rnn.onnx"), 300, 7, True, True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_padding_is_not_seen(tmp_path, dtype):
    rnn = nr.RNN(3, 4, 2, bidirectional=True, batch_first=True, dtype=dtype, rng=0)
    nr.to_onnx(rnn, tmp_path / "rnn.onnx", lengths=True)
    x, _, lengths = example(rnn, 6, 5)
    for n, end in enumerate(lengths):
        x[n, end:] = np.nan
    output, h_n = session(tmp_path / "rnn.onnx").run(
        ["output", "h_n"], {"x": x, "lengths": lengths.astype(np.int32)}
    )
    assert np.isfinite(output).all() and np.isfinite(h_n).all()
    assert error(output, rnn(x, lengths=lengths)[0]) <= TOLERANCE[rnn.dtype]


def test_one_operator_a_layer(tmp_path):
    """What is fast where there is a kernel; and the axes are free, under their names."""
    nr.to_onnx(nr.RNN(3, 4, 2, bidirectional=True), tmp_path / "rnn.onnx", lengths=True)
    model = onnx.load(tmp_path / "rnn.onnx")
    assert [node.op_type for node in model.graph.node].count("RNN") == 2
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert axes == {
        "x": ["L", "N", 3],
        "lengths": ["N"],
        "output": ["L", "N", 8],
        "h_n": [4, "N", 4],
    }
    assert model.producer_name == "numba_rnn"


@pytest.mark.parametrize("initial_state", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_nothing_is_asked_of_a_runtime_without_a_step(
    tmp_path, bidirectional, num_layers, lengths, initial_state
):
    """What old ones break down at, or answer with whatever the memory held.

    Such a one is played here: last states of sequences without a step are NaN.
    """
    rnn = nr.RNN(3, 4, num_layers, bidirectional=bidirectional, rng=0)
    path = tmp_path / "rnn.onnx"
    nr.to_onnx(rnn, path, lengths=lengths, initial_state=initial_state)
    model = onnx.load(path)
    make, graph, nodes, given = onnx.helper.make_node, model.graph, [], []
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(np.nan), "nan"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.int32([0]), "none"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.int64([1]), "behind"))
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "RNN":
            continue
        given.append(f"steps_{len(given)}")
        nodes.append(make("Shape", [node.input[0]], given[-1:], start=0, end=1))
        if lengths:
            (junk, last), raw = (f"{given[-1]}_junk", node.output[1]), f"{given[-1]}_raw"
            node.output[1] = raw
            nodes.append(make("Unsqueeze", ["lengths", "behind"], [f"{junk}_lengths"]))
            nodes.append(make("Equal", [f"{junk}_lengths", "none"], [junk]))
            nodes.append(make("Where", [junk, "nan", raw], [last]))
    assert len(given) == num_layers
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output.extend(onnx.helper.make_tensor_value_info(name, 7, [1]) for name in given)
    run = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for L, N in ((6, 5), (0, 3), (4, 0)):
        compare(rnn, run, L, N, initial_state, lengths)
        x, h_0, ends = example(rnn, L, N)
        feed = {"x": x, "h_0": h_0, "lengths": ends.astype(np.int32)}
        feed = {value.name: feed[value.name] for value in run.get_inputs()}
        assert [int(steps[0]) for steps in run.run(given, feed)] == [max(L, 1)] * num_layers


def test_shapes_of_a_step_are_said(tmp_path):
    """ONNX Runtimes up to 1.23 refuse a Scan that says none."""
    nr.to_onnx(nr.RNN(3, 4, bidirectional=True, dtype=np.float64), tmp_path / "rnn.onnx")
    graph = onnx.load(tmp_path / "rnn.onnx").graph
    bodies = [node.attribute for node in graph.node if node.op_type == "Scan"]
    values = [value for body in bodies for a in body if a.name == "body" for value in a.g.output]
    assert len(values) == 4
    for value in values:
        assert value.type.tensor_type.shape.dim[-1].dim_value == 4


def test_the_same_model_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        nr.to_onnx(nr.RNN(3, 4, dtype=np.float64, rng=0), tmp_path / name, initial_state=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# --- estimators ---------------------------------------------------------------------------------

SHORT = {"max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}


def series(features=3, count=20, seed=0):
    """Sequences of different lengths, and the same in float32, padded, with their lengths."""
    rng = np.random.default_rng(seed)
    scale, shift = np.array([1, 50, 0.1])[:features], np.array([0, 300, -5])[:features]
    lengths = rng.integers(1, 9, count).astype(np.int32)
    X = [(shift + scale * rng.standard_normal((n, features))).astype(np.float32) for n in lengths]
    padded = np.zeros((count, lengths.max(), features), np.float32)
    for n, x in enumerate(X):
        padded[n, : len(x)] = x
    return X, padded, lengths


def feed(padded, lengths=None):
    """What goes into a session."""
    given = {"x": padded.astype(np.float64)}
    return given if lengths is None else given | {"lengths": lengths}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])  # float32 and float64
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_estimators(tmp_path, pooling, bidirectional, solver):
    """One target a series, with lengths and without, whatever stands in the padding."""
    options = {"num_layers": 2, "bidirectional": bidirectional, "pooling": pooling}
    options |= {"solver": solver, **SHORT}
    X, padded, lengths = series()
    labels = np.array(["a", "b", "c"])[np.arange(len(X)) % 3]
    numbers = 1e3 + 50 * np.array([[x.sum(), x[0, 0]] for x in X])
    classifier = RNNClassifier(5, **options).fit(X, labels)
    regressor = RNNRegressor(5, **options).fit(X, numbers)
    single = RNNRegressor(5, **options).fit(X, numbers[:, 0])
    tolerance = TOLERANCE[regressor.rnn_.dtype]
    padded[np.arange(8) >= lengths[:, None]] = 1e6
    for whole in (False, True):  # series of one length, and no lengths; or lengths
        X_now, given = X, (padded, lengths)
        if whole:
            X_now, given = padded[:7, :1], (padded[:7, :1],)
        for model, name, predict in (
            (classifier, "probabilities", classifier.predict_proba),
            (regressor, "prediction", regressor.predict),
            (single, "prediction", single.predict),
        ):
            path = tmp_path / "model.onnx"
            nr.to_onnx(model, path, lengths=not whole)
            (theirs,) = session(path).run([name], feed(*given))
            ours = predict(X_now)
            assert theirs.shape == ours.shape and theirs.dtype == model.rnn_.dtype
            assert error(theirs, ours) <= tolerance
        nr.to_onnx(classifier, path, lengths=not whole)
        (theirs,) = session(path).run(["label"], feed(*given))
        assert theirs.tolist() == classifier.predict(X_now).tolist()


@pytest.mark.parametrize("flat", [False, True])
def test_targets_of_each_step(tmp_path, flat):
    X, padded, lengths = series()
    numbers = [np.cumsum(x[:, 0]) if flat else np.cumsum(x, axis=0) for x in X]
    labels = [x[:, 0] > 0 for x in X]
    for kind, y, names in (
        (RNNRegressor, numbers, ["prediction"]),
        (RNNClassifier, labels, ["label", "probabilities"]),
    ):
        model = kind(5, bidirectional=True, **SHORT).fit(X, y)
        path = tmp_path / "model.onnx"
        nr.to_onnx(model, path, lengths=True)
        theirs = dict(zip(names, session(path).run(names, feed(padded, lengths)), strict=True))
        ours = {names[0]: model.predict(X)}
        if "label" in names:
            ours["probabilities"] = model.predict_proba(X)
        for name in names:
            for n, end in enumerate(lengths):
                assert theirs[name][n, :end].shape == ours[name][n].shape
                assert error(theirs[name][n, :end].astype(float), ours[name][n]) <= 1e-5
                assert name == "label" or not theirs[name][n, end:].any()
        nr.to_onnx(model, path)
        (theirs,) = session(path).run(names[-1:], feed(padded))
        whole = model.predict_proba(padded) if "label" in names else model.predict(padded)
        assert theirs.shape == np.shape(whole)
        assert error(theirs, np.stack(whole)) <= 1e-5


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([3, -1], np.int64),
        (np.array([7, 200], np.uint8), np.int64),
        ([True, False], np.bool_),
        ([3.0, -2.0], np.float64),
        (["ä", "speaker 2"], object),
        (np.array(["x", "yy"], object), object),
    ],
)
def test_labels(tmp_path, labels, kind):
    _, padded, _ = series()
    y = np.asarray(labels)[np.arange(len(padded)) % 2]
    model = RNNClassifier(3, **SHORT).fit(padded, y)
    nr.to_onnx(model, tmp_path / "model.onnx")
    (theirs,) = session(tmp_path / "model.onnx").run(["label"], feed(padded))
    assert theirs.dtype == kind
    assert theirs.tolist() == model.predict(padded).tolist()


def test_a_table(tmp_path):
    """A column a time step goes in with one feature."""
    table = np.random.default_rng(0).standard_normal((12, 7)).astype(np.float32)
    model = RNNRegressor(3, standardize=False, **SHORT).fit(table, table.sum(axis=1))
    nr.to_onnx(model, tmp_path / "model.onnx")
    (theirs,) = session(tmp_path / "model.onnx").run(None, feed(table[:, :, None]))
    assert error(theirs, model.predict(table)) <= 1e-5


def test_a_large_mean_costs_no_digits(tmp_path):
    X = 1e6 + np.random.default_rng(0).standard_normal((20, 5, 2))
    model = RNNRegressor(4, **SHORT).fit(X, X[:, -1, 0] - 1e6)
    nr.to_onnx(model, tmp_path / "model.onnx")
    (theirs,) = session(tmp_path / "model.onnx").run(None, {"x": X})
    assert error(theirs, model.predict(X)) <= 1e-5


def test_the_network_of_a_forecaster(tmp_path):
    model = forecaster(2, window=6, hidden_size=3, **SHORT)
    model.fit(np.sin(np.arange(60.0)))
    nr.to_onnx(model.regressor_, tmp_path / "model.onnx")
    x = np.random.default_rng(0).standard_normal((4, 6, model.rnn_.input_size))
    x = x.astype(np.float32)
    (theirs,) = session(tmp_path / "model.onnx").run(None, feed(x))
    assert error(theirs, model.regressor_.predict(x)) <= 1e-5


# --- bad input ----------------------------------------------------------------------------------


def test_bad_input(tmp_path):
    path = tmp_path / "model.onnx"
    for model in (nr.Linear(2, 3), nr.RNNCell(2, 3), type("Mine", (nr.RNN,), {})(2, 3), None):
        with pytest.raises(TypeError, match=r"model must be one of RNN, RNNClassifier.*got"):
            nr.to_onnx(model, path)
    rnn = nr.RNN(2, 3)
    with pytest.raises(TypeError, match=r"path must be a str or a path, got int 3"):
        nr.to_onnx(rnn, 3)
    for name in ("initial_state", "lengths"):
        with pytest.raises(TypeError, match=f"{name} must be True or False, got"):
            nr.to_onnx(rnn, path, **{name: 1})
    with pytest.raises(NotFittedError):
        nr.to_onnx(RNNRegressor(), path)
    X, _, _ = series()
    regressor = RNNRegressor(3, **SHORT).fit(X, np.arange(len(X)))
    with pytest.raises(ValueError, match="initial_state must be False for RNNRegressor"):
        nr.to_onnx(regressor, path, initial_state=True)
    classifier = RNNClassifier(3, **SHORT).fit(X, np.arange(len(X)) % 2)
    for classes in (np.array([1, "a"], object), np.array([0, 2**63], object)):
        classifier.classes_ = classes
        with pytest.raises(ValueError, match="labels"):
            nr.to_onnx(classifier, path)
    assert not path.exists()


def test_without_onnx():
    code = """
import sys
sys.modules["onnx"] = None
import numba_rnn as nr
try:
    nr.to_onnx(nr.RNN(1, 1), "x")
except ModuleNotFoundError as error:
    print(error)
"""
    assert "pip install onnx (" in python(code)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # ONNX makes the cases of all operators
def test_layers_give_what_the_standards_own_cases_say():
    """Cases of ONNX for its operator RNN: weights and inputs, and what comes out."""
    from onnx.backend.test.case.node import collect_testcases

    seen = set()
    for case in collect_testcases("RNN"):
        (node,) = case.model.graph.node
        options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        inputs, expected = case.data_sets[0]
        given = dict(zip(node.input, inputs, strict=True))
        direction, layout = options.get("direction", b"forward"), options.get("layout", 0)
        x, W, R = (given[name] for name in "XWR")
        D, H, I = W.shape
        B = given.get("B", np.zeros((D, 2 * H), x.dtype)).reshape(D, 2, H)
        rnn = nr.RNN(I, H, bidirectional=direction != b"forward", batch_first=layout == 1)
        suffixes = {b"forward": [""], b"reverse": ["_reverse"]}.get(direction, ["", "_reverse"])
        for d, suffix in enumerate(suffixes):
            for name, value in (
                ("weight_ih", W[d]), ("weight_hh", R[d]), ("bias_ih", B[d, 0]),
                ("bias_hh", B[d, 1]),
            ):  # fmt: skip
                rnn.parameters[f"{name}_l0{suffix}"][...] = value
        output, h_n = rnn(x)
        own = slice(1, 2) if direction == b"reverse" else slice(None)
        h_n, Y = h_n[own], output.reshape(*output.shape[:2], -1, H)
        if layout == 1:  # (N, L, D, H) and (N, D, H)
            found = {"Y": Y, "Y_h": h_n.swapaxes(0, 1)}
        else:  # (L, D, N, H) and (D, N, H)
            found = {"Y": Y.swapaxes(1, 2), "Y_h": h_n}
        for name, value in zip(filter(None, node.output), expected, strict=True):
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)
        seen.add((direction, layout, "B" in given))
    assert {(b"forward", 0, False), (b"forward", 0, True), (b"forward", 1, False)} <= seen
