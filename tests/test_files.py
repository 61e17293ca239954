"""Files of models: they come back to the bit, and nothing that was tampered with comes in."""

import io
import json
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings

import numpy as np
import pytest
import safetensors.numpy
from helpers import assert_same_bits
from helpers import forecaster as forecaster_of
from processes import environment, python
from sklearn.exceptions import NotFittedError

import numba_rnn as nr
from numba_rnn import atomic, locks
from numba_rnn.estimators import RNNClassifier, RNNRegressor
from numba_rnn.export import files
from numba_rnn.extras import need

# Of L-BFGS a few iterations are enough here, and it warns whenever it doesn't come to its end.
pytestmark = pytest.mark.filterwarnings(
    "ignore:max_iter=.+ iterations of L-BFGS:sklearn.exceptions.ConvergenceWarning"
)

LAYERS = [
    nr.RNN(3, 4, rng=0),
    nr.RNN(3, 4, 2, "relu", True, True, 0.25, True, dtype=np.float64, rng=1).eval(),
    nr.RNN(2, 5, 3, bias=False, rng=2),
    nr.RNNCell(3, 4, nonlinearity="relu", rng=3),
    nr.RNNCell(3, 4, bias=False, dtype=np.float64, rng=4),
    nr.Linear(3, 2, rng=5),
    nr.Linear(3, 2, bias=False, dtype=np.float64, rng=6),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def refused(path, *words):
    """Loading fails with a ValueError that names the file and says these words."""
    with pytest.raises(ValueError) as caught:
        nr.load(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_there_and_back(path, layer):
    nr.save(layer, path)
    again = nr.load(path)
    assert type(again) is type(layer) and repr(again) == repr(layer)
    assert again.dtype == layer.dtype
    assert_same_bits(again.state_dict(), layer.state_dict())
    if isinstance(layer, nr.RNN):
        assert again.training == layer.training
    again.flat_parameters += 1  # memory of its own, that can be written to


def test_whatever_a_parameter_is(path):
    layer = nr.Linear(3, 2)
    layer.weight[0] = [np.nan, np.inf, -np.inf]
    layer.weight[1] = [-0.0, 1e-45, np.finfo(np.float32).max]
    nr.save(layer, str(path))
    again = nr.load(str(path), allow_nonfinite=True)
    assert again.flat_parameters.tobytes() == layer.flat_parameters.tobytes()


def test_dropout_without_effect_is_not_warned_of_again(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rnn = nr.RNN(2, 3, dropout=0.5)
    nr.save(rnn, path)
    assert nr.load(path).dropout == 0.5


def test_the_same_model_is_the_same_file(path, tmp_path):
    other = tmp_path / "other"
    nr.save(nr.RNN(3, 4, rng=0), path)
    nr.save(nr.RNN(3, 4, rng=0), other)
    assert path.read_bytes() == other.read_bytes()


def test_torch_loads_it(torch, path):
    from safetensors.torch import load_file

    rnn = nr.RNN(3, 4, 2, bidirectional=True, rng=0)
    nr.save(rnn, path)
    module = torch.nn.RNN(3, 4, 2, bidirectional=True)
    module.load_state_dict(load_file(path))
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), getattr(rnn, name))


@pytest.mark.parametrize("model", [nr.losses, None, type("Mine", (nr.RNN,), {})(2, 3), nr.RNN])
def test_what_cannot_be_saved(path, model):
    with pytest.raises(TypeError, match=r"model must be one of RNN.*no subclass, got"):
        nr.save(model, path)
    assert not path.exists()


def test_paths(tmp_path):
    for bad in (3, None, b"name"):
        with pytest.raises(TypeError, match="path must be a str or a path, got"):
            nr.save(LAYERS[0], bad)
        with pytest.raises(TypeError, match="path must be a str or a path, got"):
            nr.load(bad)
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        nr.load(tmp_path / "nothing-here")
    with pytest.raises(FileNotFoundError):
        nr.save(LAYERS[0], tmp_path / "no" / "directory")


def test_without_safetensors():
    """The core needs none of the extras, and says which one is missing."""
    for function, arguments in {"save": "nr.Linear(1, 1), 'x'", "load": "'x'"}.items():
        code = f"""
import sys
sys.modules["safetensors"] = None
import numba_rnn as nr
try:
    nr.{function}({arguments})
except ModuleNotFoundError as error:
    print(error)
"""
        assert "pip install safetensors (" in python(code)


def test_an_extra_that_is_broken_itself(tmp_path, monkeypatch):
    """What it lacks is not mistaken for the extra."""
    (tmp_path / "half_there.py").write_text("import nothing_of_that_name")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'nothing_of_that_name'"):
        need("half_there", "files", "save")


# --- files that something happened to -----------------------------------------------------------


def test_bit_flips(path):
    """Whatever bit is turned, of the header or of the data."""
    nr.save(nr.Linear(2, 1, rng=0), path)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            files._read(io.BytesIO(damaged))
    path.write_bytes(damaged)
    refused(path, "SHA-256")


def test_truncated_or_longer(path):
    nr.save(nr.Linear(2, 1, rng=0), path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        with pytest.raises(ValueError):
            files._read(io.BytesIO(whole[:size]))
    for more in (b"\0", b" ", b"\n", whole):
        with pytest.raises(ValueError):
            files._read(io.BytesIO(whole + more))
    path.write_bytes(b"")
    refused(path, "not a safetensors file")


def test_swapped_tensors(path):
    """The digest knows which values belong to which name."""
    tensors, record = parts(path, nr.RNNCell(3, 3, rng=0))
    record["sha256"] = files._digest(record, tensors)
    write(path, tensors, record)
    nr.load(path)
    tensors["weight_ih"], tensors["weight_hh"] = tensors["weight_hh"], tensors["weight_ih"]
    write(path, tensors, record)
    refused(path, "SHA-256")


# --- files that were made to do harm: their digest is right -------------------------------------


def parts(path, model):
    """Save a model and return its tensors and its record without the digest."""
    nr.save(model, path)
    with safetensors.safe_open(path, "np") as file:
        record = json.loads(file.metadata()["numba_rnn"])
    del record["sha256"]
    return safetensors.numpy.load_file(path), record


def write(path, tensors, record):
    text = json.dumps(record, separators=(",", ":"))
    safetensors.numpy.save_file(tensors, path, {"numba_rnn": text})


def forge(path, tensors, record):
    """Write a file with a digest that is right."""
    write(path, tensors, {**record, "sha256": files._digest(record, tensors)})


def raw(path, header, data=b""):
    header = header.encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_forging_works(path):
    tensors, record = parts(path, nr.RNN(3, 4, rng=0))
    path.unlink()
    forge(path, tensors, record)
    assert repr(nr.load(path)) == "RNN(3, 4)"


HOSTILE_VALUES = {
    "input_size": [0, -1, 2, 4, 10**9, 2**31, 10**400, 3.0, True, "3", None, [3], {}],
    "hidden_size": [0, 5, 10**9, 10**30, "4"],
    "num_layers": [0, 2, 10**9, 2**31 - 1, 1.5, None],
    "nonlinearity": ["sin", "TANH", 1, None, ["tanh"], {"a": 1}],
    "bias": [False, 1, None, "yes"],
    "batch_first": [0, None, "no"],
    "dropout": [-0.1, 1.5, float("nan"), float("inf"), "0", None, [0.5]],
    "bidirectional": [True, 1, None],
    "training": [1, None, "yes"],
}


@pytest.mark.parametrize("key", HOSTILE_VALUES)
def test_hostile_values(path, key):
    tensors, record = parts(path, nr.RNN(3, 4, rng=0))
    for value in HOSTILE_VALUES[key]:
        forge(path, tensors, {**record, "config": {**record["config"], key: value}})
        refused(path, "holds no RNN")
    missing = {k: v for k, v in record["config"].items() if k != key}
    forge(path, tensors, {**record, "config": missing})
    refused(path, "must have exactly")


@pytest.mark.parametrize(
    ("layer", "keys"),
    [(LAYERS[3], ("input_size", "hidden_size")), (LAYERS[5], ("in_features", "out_features"))],
)
def test_hostile_sizes_of_the_others(path, layer, keys):
    tensors, record = parts(path, layer)
    for key in keys:
        for value in (0, 7, 2**31 - 1, 10**300, "4", None):
            forge(path, tensors, {**record, "config": {**record["config"], key: value}})
            refused(path, f"holds no {type(layer).__name__}")


def test_unknown_keys(path):
    tensors, record = parts(path, nr.RNN(3, 4, rng=0))
    forge(path, tensors, {**record, "config": {**record["config"], "rng": 0}})
    refused(path, "must have exactly", "rng")


@pytest.mark.parametrize(
    "name", ["Mine", "os.system", "numba_rnn.RNN", "__class__", "losses", "Linear", "", "RNNCell"]
)
def test_other_classes(path, name):
    tensors, record = parts(path, nr.RNN(3, 4, rng=0))
    forge(path, tensors, {**record, "class": name})
    refused(path)


@pytest.mark.parametrize("value", [None, 1, ["RNN"], {"RNN": 1}, True])
def test_malformed_records(path, value):
    tensors, record = parts(path, nr.RNN(3, 4, rng=0))
    for key in ("class", "config"):
        forge(path, tensors, {**record, key: value})
        refused(path, "malformed")
    for key in record.keys() - {"version"}:
        forge(path, tensors, {k: v for k, v in record.items() if k != key})
        refused(path, "malformed")
    if not isinstance(value, str):
        forge(path, tensors, {**record, "version": value})
        refused(path, "malformed")
    forge(path, tensors, {**record, "more": value})
    refused(path, "malformed")
    write(path, tensors, record)  # no digest
    refused(path, "malformed")
    write(path, tensors, {**record, "sha256": value})
    refused(path, "SHA-256")


def test_other_formats(path):
    tensors, record = parts(path, nr.RNN(3, 4, rng=0))
    for number in (0, 2, -1, 10**400):
        forge(path, tensors, {**record, "format": number})
        refused(path, "reads format 1")
    for value in (True, 1.0, "1", None, [1]):
        forge(path, tensors, {**record, "format": value})
        refused(path, "malformed")


def test_other_tensors(path):
    tensors, record = parts(path, nr.RNN(3, 4, rng=0))
    bias = tensors["bias_ih_l0"]
    for changed in (
        {k: v for k, v in tensors.items() if k != "bias_ih_l0"},
        {},
        {**tensors, "more": bias},
        {**tensors, "bias_ih_l0": bias.astype(np.float64)},
        {**tensors, "bias_ih_l0": bias.astype(np.int32)},
        {**tensors, "bias_ih_l0": bias[None]},
        {**tensors, "bias_ih_l0": bias[:0]},
        {**tensors, "bias_ih_l0": bias[:3]},
        {k: v.astype(np.float16) for k, v in tensors.items()},
        {k: v.astype(np.int64) for k, v in tensors.items()},
        {k.replace("ih", "IH"): v for k, v in tensors.items()},
    ):
        forge(path, changed, record)
        refused(path, "holds no RNN")


def test_the_version_that_wrote_a_file(path):
    """It stands in it, is told where the file is of no use to this one, and may be missing."""
    tensors, record = parts(path, nr.RNN(3, 4, rng=0))
    assert record["version"] == nr.__version__
    bare = {k: v for k, v in record.items() if k != "version"}
    forge(path, tensors, bare)
    assert repr(nr.load(path)) == "RNN(3, 4)"
    later = record | {"version": "99.1"}
    forge(path, tensors, later)
    assert repr(nr.load(path)) == "RNN(3, 4)"
    write(path, tensors, record | {"sha256": files._digest(later, tensors)})
    refused(path, "SHA-256")
    forge(path, tensors, later | {"config": record["config"] | {"gates": 3}})
    refused(path, "99.1", nr.__version__, "gates")
    forge(path, tensors, later | {"format": 2})
    refused(path, "99.1", nr.__version__, "reads format 1")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(path, value):
    """They are refused unless asked for: of layers, estimators and forecasters."""
    forecaster = forecaster_of(2, window=6, hidden_size=3, **SHORT)
    forecaster.fit(np.sin(np.arange(40.0)))
    models = [nr.RNN(2, 3), nr.RNNCell(2, 3), nr.Linear(2, 3)]
    models += [fitted(RNNClassifier), fitted(RNNRegressor), forecaster]
    for model in models:
        layer = getattr(model, "head_", model)
        layer.flat_parameters[-1] = value
        nr.save(model, path)
        refused(path, "bias", "NaN or infinite", "allow_nonfinite=True")
        again = nr.load(path, allow_nonfinite=True)
        last = getattr(again, "head_", again).flat_parameters[-1]
        np.testing.assert_array_equal(last, layer.flat_parameters[-1])
    with pytest.raises(TypeError, match="allow_nonfinite must be True or False"):
        nr.load(path, allow_nonfinite=1)


# --- files that ask for memory ------------------------------------------------------------------


def peak_of(path):
    """Refuse a file; return the message, and the bytes that it took at most."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            nr.load(path)
        return str(caught.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_long_header_is_not_read(path):
    header = b"[" + b"[]," * 10_000_000 + b"[]]"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    message, peak = peak_of(path)
    assert f"has a header of {len(header)} bytes" in message and peak < 1 << 20


def test_what_a_header_may_cost(path):
    """The worst that is read, which could cost hundreds of megabytes if it were longer."""
    longest = files._LONGEST_HEADER
    header = b"[" + b"[]," * (longest // 3 - 1) + b"1]"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    message, peak = peak_of(path)
    assert "no configuration" in message and peak < 30 * longest
    path.write_bytes((longest + 1).to_bytes(8, "little") + b" " * (longest + 1))
    assert "has a header of" in peak_of(path)[0]
    with open(path, "r+b") as file:  # with tensors of some size it may be longer
        file.truncate(8 + longest + 3)
    assert "has a header of" not in peak_of(path)[0]


def test_sparse_files_are_not_read(path):
    """Files of 5 GB that take no place on the disk: nothing, one of ours, a forged one."""
    size = 5 << 30
    with open(path, "wb") as file:
        file.truncate(size)
    assert peak_of(path)[1] < 1 << 20
    with open(path, "r+b") as file:
        file.write((size - 8).to_bytes(8, "little"))
    message, peak = peak_of(path)
    assert "has a header of" in message and peak < 1 << 20
    for model in (nr.Linear(2, 1, rng=0), fitted(RNNRegressor)):
        nr.save(model, path)
        with open(path, "r+b") as file:
            whole = file.read()
            file.truncate(size)
        message, peak = peak_of(path)
        assert "bytes of tensors, where its header says" in message and peak < 1 << 20
        length = int.from_bytes(whole[:8], "little")
        header = json.loads(whole[8 : 8 + length])
        name = next(name for name in header if name.endswith("weight"))
        other = sum(np.diff(v["data_offsets"])[0] for k, v in header.items() if k[0] != "_")
        start, stop = header[name]["data_offsets"]
        filled = size - 8 - length - 300 - int(other - (stop - start))
        header[name] |= {"shape": [filled // 4], "data_offsets": [start, start + filled]}
        text = json.dumps(header).encode().ljust(length + 300)
        with open(path, "r+b") as file:
            file.write(len(text).to_bytes(8, "little") + text)
        message, peak = peak_of(path)
        assert f"{name.rpartition('.')[2]} must have shape" in message and peak < 1 << 20


def test_nothing_is_saved_that_could_not_be_loaded(path, monkeypatch):
    model = fitted(RNNRegressor)
    model.loss_curve_ = [1 / 3] * 300
    nr.save(model, path)
    before = path.read_bytes()
    monkeypatch.setattr(files, "_LONGEST_HEADER", 5000)
    with pytest.raises(ValueError, match=r"model can't be saved: its file has a header of .* most"):
        nr.save(model, path)
    assert path.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX's")
def test_a_pipe_is_loaded(path):
    layer = nr.Linear(2, 1, rng=0)
    os.mkfifo(path)
    writer = threading.Thread(target=nr.save, args=(layer, path))
    writer.start()
    assert_same_bits(nr.load(path).flat_parameters, layer.flat_parameters)
    writer.join()
    assert stat.S_ISFIFO(path.stat().st_mode) and os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited in Linux's way")
def test_a_billion_layers_are_not_listed(path):
    """Nor is anything else allocated that the file is not large enough for."""
    tensors, record = parts(path, nr.RNN(3, 4, rng=0))
    config = {**record["config"], "num_layers": 2**31 - 1}
    forge(path, tensors, {**record, "config": config})
    code = f"""
import resource, numba_rnn as nr, safetensors.numpy, numba_rnn.export.files, numba_rnn.rnn
limit = 1 << 30
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
try:
    nr.load({str(path)!r})
except ValueError as error:
    print(error)
"""
    assert "must be 8589934588" in python(code)


HEADERS = {
    "empty": "{}",
    "no object": "[]",
    "no JSON": "{",
    "nothing": "",
    "nested": '{"__metadata__":{"numba_rnn":"' + "[" * 100_000 + '"}}',
    "nested outside": "[" * 100_000,
    "nested, and all of it closed": '{"__metadata__":{"numba_rnn":"'
    + "[" * 900
    + "]" * 900
    + '"}}',
    "metadata missing": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "metadata null": '{"__metadata__":null}',
    "metadata a list": '{"__metadata__":["numba_rnn"]}',
    "record a number": '{"__metadata__":{"numba_rnn":1}}',
    "record no JSON": '{"__metadata__":{"numba_rnn":"x"}}',
    "record a list": '{"__metadata__":{"numba_rnn":"[]"}}',
    "record a long number": '{"__metadata__":{"numba_rnn":"' + "9" * 10_000 + '"}}',
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_headers(path, name):
    raw(path, HEADERS[name], b"1234")
    refused(path)


def test_hostile_tables(path):
    """What a header says of where the tensors lie, and of how large they are."""
    nr.save(nr.Linear(2, 1, rng=0), path)
    data = path.read_bytes()
    stop = 8 + int.from_bytes(data[:8], "little")
    header, data = data[8:stop].decode(), data[stop:]
    raw(path, header, data)
    nr.load(path)
    for old, new in (
        ('"shape":[1]', '"shape":[4611686018427387904,4]'),
        ('"shape":[1]', '"shape":[18446744073709551616]'),
        ('"shape":[1]', '"shape":[-1]'),
        ('"shape":[1]', '"shape":[2]'),
        ('"shape":[1]', '"shape":' + "[" * 10_000 + "]" * 10_000),
        ('"data_offsets":[0,4]', '"data_offsets":[4,0]'),
        ('"data_offsets":[0,4]', '"data_offsets":[0,1099511627776]'),
        ('"data_offsets":[0,4]', '"data_offsets":[4,8]'),
        ('"data_offsets":[0,4]', '"data_offsets":[-4,0]'),
        ('"F32"', '"BF16"'),
        ('"F32"', '"O"'),
        ('"F32"', '"F32","dtype":"F32"'),
        ('"bias":{', '"bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"bias":{'),
        ('"weight":{', '"bias":{'),
        ('{"__metadata__":', '{"__metadata__":{},"__metadata__":'),
        ('\\"bias\\":true', '\\"bias\\":false,\\"bias\\":true'),
        ('\\"bias\\":true', '\\"bias\\": true'),
        ('\\"Linear\\"', '\\"\\\\u004cinear\\"'),
    ):
        assert old in header
        raw(path, header.replace(old, new), data)
        refused(path)
    for size in (0, 1, 2**31, 2**63 - 1, 2**64 - 1):  # of the header
        path.write_bytes(size.to_bytes(8, "little") + header.encode() + data)
        refused(path)


def test_pickles_are_not_opened(path):
    class Bomb:
        def __reduce__(self):
            return print, ("opened",)

    path.write_bytes(pickle.dumps(Bomb()))
    refused(path, "not a safetensors file")


def test_files_of_others(path):
    """They are refused, and the way that the message tells does load them."""
    rnn = nr.RNN(3, 4, rng=0)
    safetensors.numpy.save_file(rnn.state_dict(), path)
    refused(path, "load_state_dict(safetensors.numpy.load_file(path))")
    other = nr.RNN(3, 4, rng=1)
    other.load_state_dict(safetensors.numpy.load_file(path))
    assert_same_bits(other.state_dict(), rnn.state_dict())
    safetensors.numpy.save_file(rnn.state_dict(), path, {"format": "pt"})
    refused(path, "load_state_dict")


# --- writing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_file_is_replaced_as_a_whole_or_not_at_all(path, monkeypatch, fails):
    nr.save(nr.Linear(3, 2, rng=0), path)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(atomic.os, fails, fail)
    with pytest.raises(OSError, match="no space left"):
        nr.save(nr.Linear(3, 2, rng=1), path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for place, kind in (
        (tmp_path / "missing" / "model", FileNotFoundError),
        (tmp_path / "file" / "model", OSError),
        (tmp_path, OSError),
    ):
        with pytest.raises(kind) as caught:
            nr.save(nr.Linear(3, 2), place)
        assert caught.value.filename == str(place) and ".tmp" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_it_is_on_the_disk_before_it_has_its_name(path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        spy = lambda *arguments, name=name, real=real: (calls.append(name), real(*arguments))  # noqa: E731
        monkeypatch.setattr(atomic.os, name, spy)
    nr.save(nr.Linear(3, 2), path)
    assert calls[:2] == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")
def test_permissions_and_links(tmp_path):
    plain, link = tmp_path / "plain", tmp_path / "link"
    plain.write_bytes(b"")
    link.symlink_to(plain)
    nr.save(nr.Linear(3, 2), link)
    assert link.is_symlink() and repr(nr.load(plain)) == "Linear(3, 2)"
    usual = tmp_path / "usual"
    usual.write_bytes(b"")
    assert stat.S_IMODE(plain.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    for umask in (0o077, 0o002):
        before = os.umask(umask)
        try:
            nr.save(nr.Linear(3, 2), tmp_path / f"new {umask}")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"new {umask}").stat().st_mode) == 0o666 & ~umask


posix = pytest.mark.skipif(os.name != "posix", reason="owners, permissions and pipes are POSIX's")


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666, 0o755])
def test_permissions_are_kept(path, monkeypatch, mode):
    """From the moment on when there is something to read."""
    path.write_bytes(b"secret")
    path.chmod(mode)
    seen, real = [], os.fsync
    monkeypatch.setattr(
        atomic.os, "fsync", lambda fd: (seen.append(os.fstat(fd).st_mode & 0o777), real(fd))
    )
    nr.save(nr.Linear(3, 2), path)
    assert path.stat().st_mode & 0o777 == mode == seen[0]
    atomic.write(path, b"again")  # checkpoints come by this way
    assert path.stat().st_mode & 0o777 == mode


@posix
@pytest.mark.parametrize(
    ("mode", "left"), [(0o640, 0o600), (0o664, 0o644), (0o666, 0o666), (0o604, 0o604)]
)
def test_a_group_that_can_not_be_kept_gives_nobody_more(path, monkeypatch, mode, left):
    def refuse(file, owner, group):
        raise PermissionError

    path.write_bytes(b"")
    path.chmod(mode)
    monkeypatch.setattr(atomic.os, "fchown", refuse)
    nr.save(nr.Linear(3, 2), path)
    assert path.stat().st_mode & 0o777 == left


def without_rights(code, **variables):
    """Run code as a user who may not do everything, in a folder of that user's own.

    It is made of definitions, which see numpy, numba_rnn and its estimators, and `main()`.
    """
    start = """
import os, stat, tempfile
import numpy as np
import numba_rnn as nr
from numba_rnn import atomic
from numba_rnn.estimators import RNNRegressor
folder = tempfile.mkdtemp()
if os.getuid() == 0:
    os.chown(folder, 65534, 65534)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
os.chdir(folder)
"""
    end = """
try:
    main()
finally:
    os.chmod(folder, 0o700)
    for name in os.listdir(folder):
        os.unlink(name)
    os.rmdir(folder)
"""
    return python(start + code + end, **variables)


@posix
def test_what_may_not_be_written_is_not_replaced(tmp_path):
    """A renaming needs rights on the folder alone; it is as if the file were opened."""
    code = """
def main():
    with open("model", "wb") as file:
        file.write(b"mine")
    os.chmod("model", 0o444)
    try:
        atomic.write("model", b"yours")
    except PermissionError as error:
        assert error.filename == "model"
        print(open("model").read(), os.listdir())
"""
    assert without_rights(code).split() == ["mine", "['model']"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone gives files away"
)
def test_the_owner_is_kept(path):
    path.write_bytes(b"")
    os.chown(path, 65534, 65533)
    path.chmod(0o640)
    nr.save(nr.Linear(3, 2), path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65533, 0o640)


@posix
def test_devices_are_written_to_and_not_replaced(path, tmp_path):
    ours, theirs = os.openpty()  # a terminal: no harm is done where one is replaced
    path.symlink_to(os.ttyname(theirs))
    for device in (os.ttyname(theirs), path):
        nr.save(nr.Linear(3, 2), device)
        assert stat.S_ISCHR(os.stat(device).st_mode) and path.is_symlink()
        assert b'Linear\\"' in os.read(ours, 4096)
    os.close(ours)
    os.close(theirs)
    code = """
import numba_rnn as nr
print("before", flush=True)
nr.save(nr.Linear(3, 2), "/dev/{}")
"""
    out = tmp_path / "out"
    for name in ("stdout", "fd/1"):
        command = [sys.executable, "-c", code.format(name)]
        pipe = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True)
        assert pipe.stdout.startswith(b"before\n") and b'Linear\\"' in pipe.stdout
        with open(out, "wb") as file:  # one that is open, and stays the one that it is
            subprocess.run(command, env=environment(), stdout=file, check=True)
            assert os.path.samestat(os.fstat(file.fileno()), out.stat())
        assert b'Linear\\"' in out.read_bytes()
    assert sorted(os.listdir(tmp_path)) == [path.name, "out"]


@pytest.mark.parametrize("locks_are_there", [True, False])
def test_what_a_killed_process_left_is_removed(path, monkeypatch, locks_are_there):
    """By the next one that writes to the same place, and by no other."""
    if not locks_are_there:
        monkeypatch.setattr(locks, "fcntl", None)
    elif locks.fcntl is None:
        pytest.skip("this system has no flock, which the other case is for")
    code = """
import os, signal, sys
import numba_rnn as nr
from numba_rnn import atomic

atomic.os.fsync = lambda file: os._exit(9)  # nothing is cleaned up by that
nr.save(nr.Linear(3, 2), sys.argv[1])
"""
    other = path.with_name("other")
    for place in (path, other):
        killed = subprocess.run([sys.executable, "-c", code, str(place)], env=environment())
        assert killed.returncode == 9
    left = os.listdir(path.parent)
    assert len(left) == 2 and all(name.endswith(".tmp") for name in left)
    nr.save(nr.Linear(3, 2), path)
    if not locks_are_there:  # it might be alive, elsewhere; a day later it is not
        assert len(os.listdir(path.parent)) == 3
        a_day_ago = time.time() - 25 * 3600
        for name in left:
            os.utime(path.with_name(name), (a_day_ago, a_day_ago))
        nr.save(nr.Linear(3, 2), path)
    assert len(os.listdir(path.parent)) == 2
    nr.save(nr.Linear(3, 2), other)
    assert sorted(os.listdir(path.parent)) == sorted([path.name, "other"])


def test_what_another_process_writes_is_left_alone(path):
    code = """
import os, sys
import numba_rnn as nr
from numba_rnn import atomic

real = os.fsync
def fsync(file):
    atomic.os.fsync = real
    print("writing", flush=True)
    sys.stdin.readline()
    real(file)

atomic.os.fsync = fsync
nr.save(nr.Linear(30, 2, rng=0), sys.argv[1])
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == "writing\n"
        nr.save(nr.Linear(3, 2, rng=0), path)
        assert repr(nr.load(path)) == "Linear(3, 2)" and len(os.listdir(path.parent)) == 2
        other.communicate("\n")
    assert other.returncode == 0 and repr(nr.load(path)) == "Linear(30, 2)"
    assert os.listdir(path.parent) == [path.name]


def test_long_names(tmp_path):
    path = tmp_path / ("x" * 255)
    nr.save(nr.Linear(3, 2), path)
    assert repr(nr.load(path)) == "Linear(3, 2)"


# --- estimators ---------------------------------------------------------------------------------

SHORT = {"max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
SERIES = [np.random.default_rng(n).standard_normal((3 + n % 4, 2)) for n in range(12)]


def fitted(kind, labels=("a", "b"), **options):
    y = np.arange(12.0) if kind is RNNRegressor else np.asarray(labels)[np.arange(12) % len(labels)]
    return kind(4, **SHORT, **options).fit(SERIES, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])  # float32 and float64
@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_estimators_there_and_back(path, kind, solver):
    model = fitted(kind, solver=solver, bidirectional=True, pooling="mean", dropout=0.0)
    nr.save(model, path)
    again = nr.load(path)
    assert type(again) is kind and again.get_params() == model.get_params()
    assert_same_bits(again.predict(SERIES), model.predict(SERIES))
    if kind is RNNClassifier:
        assert_same_bits(again.predict_proba(SERIES), model.predict_proba(SERIES))
    for name in ("loss_curve_", "validation_scores_", "n_iter_", "best_loss_", "n_features_in_"):
        assert getattr(again, name) == getattr(model, name)
    again.fit(SERIES, model.predict(SERIES))  # it can be fitted anew
    nr.save(again, path)


@pytest.mark.parametrize(
    "labels",
    [
        ("a", "bcd", "ä"),
        (1, -7),
        (True, False),
        (2.0, 3.0),
        np.array([3, 250], np.uint8),
        np.array(["x", "yy"], object),
    ],
)
def test_labels_there_and_back(path, labels):
    model = fitted(RNNClassifier, labels)
    nr.save(model, path)
    again = nr.load(path)
    assert_same_bits(again.classes_, model.classes_)
    assert_same_bits(again.predict(SERIES), model.predict(SERIES))


def test_targets_of_steps_and_tables_there_and_back(path):
    steps = RNNRegressor(4, **SHORT).fit(SERIES, [x.sum(axis=1) for x in SERIES])
    table = RNNRegressor(4, **SHORT).fit(np.stack([x[:3, 0] for x in SERIES]), np.arange(12.0))
    for model, X in ((steps, SERIES), (table, np.stack([x[:3, 0] for x in SERIES]))):
        nr.save(model, path)
        assert_same_bits(nr.load(path).predict(X), model.predict(X))
    with pytest.raises(ValueError, match="features"):
        nr.load(path).predict(np.zeros((2, 4)))


def test_what_is_not_fitted(path):
    with pytest.raises(NotFittedError):
        nr.save(RNNClassifier(), path)


def test_a_file_names_no_place_to_write_to(path, tmp_path):
    """The checkpoint of a model is its author's, and fit would replace it."""
    nr.save(fitted(RNNRegressor, checkpoint=str(tmp_path / "checkpoint")), path)
    assert nr.load(path).checkpoint is None
    tensors, record = parts(path, fitted(RNNRegressor))
    params = {**record["config"]["params"], "checkpoint": "/tmp/anything"}
    forge(path, tensors, {**record, "config": {**record["config"], "params": params}})
    refused(path, "checkpoint")


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("params", "hidden_size", 5),
        ("params", "num_layers", 2),
        ("params", "nonlinearity", "relu"),
        ("params", "bidirectional", False),
        ("params", "dtype", "float64"),
        ("params", "random_state", "x"),
        ("params", "random_state", [1]),
        (None, "loss_curve", "12"),
        (None, "loss_curve", ["1", 2.0]),
        (None, "validation_scores", {"1": 2}),
        (None, "n_iter", 2.5),
        (None, "n_iter", -1),
        (None, "best_loss", "1"),
        ("target", "listed", True),
    ],
)
def test_configurations_that_contradict_themselves(path, part, key, value):
    tensors, record = parts(path, fitted(RNNRegressor))
    config = record["config"]
    changed = {**(config if part is None else config[part]), key: value}
    forge(
        path, tensors, {**record, "config": changed if part is None else config | {part: changed}}
    )
    refused(path, "holds no RNNRegressor", key)


def test_several_targets_are_not_one(path):
    """Or else all but the first would be left out without a word."""
    tensors, record = parts(path, RNNRegressor(4, **SHORT).fit(SERIES, np.ones((12, 2))))
    config = record["config"]
    target = {**config["target"], "flat": True}
    forge(path, tensors, {**record, "config": {**config, "target": target}})
    refused(path, "holds no RNNRegressor", "target must not be flat with 2 targets")


@pytest.mark.parametrize("name", ["x_mean_", "x_scale_", "y_mean_", "y_scale_"])
def test_scaling_that_scales_nothing(path, name):
    tensors, record = parts(path, fitted(RNNRegressor))
    bad = {"x_scale_": [0.0, -1.0], "y_scale_": [-1.0]}  # y_scale_ is 0 where y is a constant
    for value in (np.nan, np.inf, *bad.get(name, [])):
        forge(path, {**tensors, name: np.full_like(tensors[name], value)}, record)
        refused(path, f"{name} must be")


def test_parameters_of_the_network_are_those_it_was_made_with(path):
    for both in ("auto", False):
        model = fitted(RNNRegressor, bidirectional=both)
        expected = model.get_params()
        model.set_params(hidden_size=9, dtype="float64", n_members=2)
        model.set_params(bidirectional=model.bidirectional if both else True)
        nr.save(model, path)
        assert nr.load(path).get_params() == expected


HUGE = 10**9
NOTHING = object()


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_hostile_estimators(path, kind):
    """Every part of the configuration missing, or of another type, or huge."""
    tensors, record = parts(path, fitted(kind))
    config = record["config"]
    forge(path, tensors, record)
    nr.load(path)
    nonsense = [NOTHING, [[[]]], {"a": 1}, "x"]
    for key in config:
        for value in nonsense:
            changed = {k: v for k, v in config.items() if k != key}
            if value is not NOTHING:
                changed[key] = value
            forge(path, tensors, {**record, "config": changed})
            refused(path, f"holds no {kind.__name__}")
    for part, key, value in (
        ("rnn", "hidden_size", HUGE),
        ("rnn", "num_layers", HUGE),
        ("rnn", "batch_first", True),
        ("rnn", "input_size", 3),
        ("head", "out_features", HUGE),
        ("head", "in_features", 5),
        ("target", "steps", NOTHING),
        ("target", "more", 1),
        ("params", "hidden_size", -1),
        ("params", "solver", "magic"),
        ("params", "fit", "x"),
    ):
        changed = {**config[part], key: value}
        if value is NOTHING:
            del changed[key]
        forge(path, tensors, {**record, "config": {**config, part: changed}})
        refused(path, f"holds no {kind.__name__}")


def test_hostile_classes(path):
    tensors, record = parts(path, fitted(RNNClassifier))
    config = record["config"]
    for classes, dtype in (
        (["a"], "<U1"),
        (["a", "b", "c"], "<U1"),
        (["a", None], "|O"),
        (["a", ["b"]], "|O"),
        (["a", 1], "<U1"),
        ([1, 2], "<U1"),
        (["a", "b"], "V9"),
        (["a", "b"], "<i8"),
        (["a", "b"], "os.system"),
        ([1, 2**70], "<i8"),
        ([1, 300], "|u1"),
        (["a", "a"], "<U1"),
    ):
        forge(
            path,
            tensors,
            {**record, "config": {**config, "classes": classes, "classes_dtype": dtype}},
        )
        refused(path, "holds no RNNClassifier")


def test_widths_of_labels(path):
    """Wider than need be, as with classes=; and what a file asks for is not allocated."""
    model = RNNClassifier(4, **SHORT)
    model.partial_fit(SERIES, np.array(["a", "b"] * 6), classes=np.array(["a", "b"], "<U9"))
    tensors, record = parts(path, model)
    assert_same_bits(nr.load(path).predict_proba(SERIES), model.predict_proba(SERIES))
    assert nr.load(path).classes_.tolist() == ["a", "b"]
    for labels, dtype in ((["a", "b"], f"<U{HUGE // 2}"), (["a", "bcd"], "<U1")):
        config = {**record["config"], "classes": labels, "classes_dtype": dtype}
        forge(path, tensors, {**record, "config": config})
        assert nr.load(path).classes_.tolist() == labels


@pytest.mark.parametrize("kind", [RNNClassifier, RNNRegressor])
def test_other_tensors_of_estimators(path, kind):
    tensors, record = parts(path, fitted(kind))
    scale = tensors["x_scale_"]
    changes = [{k: v for k, v in tensors.items() if k != key} for key in tensors]
    changes += [
        {**tensors, "more": scale},
        {**tensors, "more.of.it": scale},
        {**tensors, "rnn.more": tensors["rnn.bias_ih_l0"]},
        {**tensors, "x_scale_": scale.astype(np.float32)},
        {**tensors, "x_scale_": scale[:1]},
        {**tensors, "x_scale_": scale[None]},
        {k: v.astype(np.float64) if k.startswith("head") else v for k, v in tensors.items()},
    ]
    for changed in changes:
        forge(path, changed, record)
        refused(path, f"holds no {kind.__name__}")


# --- forecasters --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forecaster():
    return forecaster_of(2, window=6, hidden_size=3, **SHORT).fit(np.sin(np.arange(60.0)))


def test_forecasters_there_and_back(path, forecaster):
    nr.save(forecaster, path)
    assert_same_bits(nr.load(path).predict(5), forecaster.predict(5))


def test_hostile_forecasters(path, forecaster):
    tensors, record = parts(path, forecaster)
    config = record["config"]
    for changes in (
        *({"own": {**config["own"], key: HUGE}} for key in ("window", "horizon", "season")),
        {"own": {**config["own"], "difference": HUGE}},
        {"regressor": {**config["regressor"], "n_features_in": HUGE}},
        {"regressor": {**config["regressor"], "target": {"steps": False, "flat": True}}},
        *({key: [[[]]]} for key in config),
        *({key: "x"} for key in config),
    ):
        forge(path, tensors, {**record, "config": {**config, **changes}})
        refused(path, "holds no RNNForecaster")
    own = {**config["own"], "checkpoint": "/tmp/anything"}
    forge(path, tensors, {**record, "config": {**config, "own": own}})
    assert nr.load(path).checkpoint is None
    for key in config:
        fewer = {k: v for k, v in config.items() if k != key}
        forge(path, tensors, {**record, "config": fewer})
        refused(path, "holds no RNNForecaster")
    for changed in (
        *({k: v for k, v in tensors.items() if k != key} for key in tensors),
        {**tensors, "more": tensors["y_mean_"]},
        {**tensors, "regressor.more": tensors["y_mean_"]},
    ):
        forge(path, changed, record)
        refused(path, "holds no RNNForecaster")
