"""Files altered in every way that chance thinks of; as a program, what comes of reading many.

    python mutations.py models FIRST COUNT
    python mutations.py checkpoints FIRST COUNT

Case k is the same in every run. A process reads one after the other and prints how many were the
same, were another model, or were refused. What must not be ends it with the number of the case.
"""

import copy
import faulthandler
import io
import json
import os
import random
import re
import signal
import struct
import sys
import tempfile
import tracemalloc
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

MOST = 10_000_000  # bytes that reading takes; of 20 KB the longest header of an array takes 6 MB
LONGEST = 30  # seconds of the processor, of cases that take a hundredth of one

# --- alterations --------------------------------------------------------------------------------


def content(draw, data):
    """Bytes with some of them flipped, cut, put in, repeated or exchanged."""
    data, size = bytearray(data), len(data)

    def place():
        """Mostly anywhere, but the beginning and the end say what the rest is."""
        if draw.random() < 0.3:
            return min(size, draw.randrange(0, 64))
        if draw.random() < 0.2:
            return max(0, size - draw.randrange(1, 128))
        return draw.randrange(size + 1)

    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        kind, a, b = draw.randrange(8), *sorted((place(), place()))
        if kind == 0 and data:
            data[min(a, len(data) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[a : a + draw.choice((1, 2, 4, 8))] = draw.randbytes(draw.choice((1, 2, 4, 8)))
        elif kind == 2:
            del data[a:b]
        elif kind == 3:
            del data[a:]
        elif kind == 4:
            data[a:a] = draw.randbytes(draw.randrange(1, 40))
        elif kind == 5:
            data[b:b] = data[a:b]
        elif kind == 6:
            n = draw.randrange(1, 9)
            data[a : a + n], data[b : b + n] = data[b : b + n], data[a : a + n]
        else:
            n = draw.choice((2, 4, 8))
            value = draw.choice((0, 1, 255, 2**15, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1))
            data[a : a + n] = (value % 256**n).to_bytes(n, "little")
    return bytes(data)


def nested(depth):
    found = []
    for _ in range(depth):
        found = [found]
    return found


STRANGE = (
    None, True, False, 0, -1, 1, 2, 3, 7, 65, 0.0, -0.0, 0.5, 3.0, -2.5, 1e308, 1e-320, 10**9,
    -(10**9), 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, 10**400,
    -(10**400),
    float("nan"), float("inf"), -float("inf"), "", "x", "0", "1", "nan", "auto", "tanh", "A" * 3000,
    "\x00", "\ud800", "é", "../x", [], {}, [[]], [None], [0], [1.5, "x"], {"a": 1}, {"": {}},
    nested(60), nested(400), list(range(300)), [10**400],
)  # fmt: skip


def places(value, found=None):
    """Every list or dict in a value, with every key of it."""
    found = [] if found is None else found
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            found.append((value, key))
            places(value[key], found)
    return found


def tree(draw, value):
    """A copy of what JSON holds, of which some places hold something else."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        # each name is as likely as another, whatever lists there are
        all_of = places(value)
        named = [(inside, key) for inside, key in all_of if isinstance(inside, dict)]
        if not all_of:
            return draw.choice(STRANGE)
        inside, key = draw.choice(named if named and draw.random() < 0.7 else all_of)
        old, kind = inside[key], draw.randrange(10)
        if kind <= 3:
            inside[key] = copy.deepcopy(draw.choice(STRANGE))
        elif kind == 4:
            del inside[key]
        elif kind == 5:
            other, place = draw.choice(all_of)
            inside[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(old)
        elif kind == 6:
            inside[key] = copy.deepcopy(draw.choice(all_of)[0])
        elif kind == 7 and isinstance(inside, dict):
            name = draw.choice(("", "x", key.upper(), key + "_", "\ud800", "checkpoint"))
            inside[name] = inside.pop(key)
        else:
            inside[key] = near(draw, old)
    return value


def near(draw, value):
    """Something like a value, which may pass for it."""
    if isinstance(value, bool):
        return draw.choice((not value, int(value), str(value)))
    if isinstance(value, (int, float)) and abs(value) < 1e300:
        others = (value + 1, value - 1, -value, 2 * value, str(value), [value], float(value))
        return draw.choice((*others, int(value)))
    if isinstance(value, str):
        return draw.choice((value + "x", value[:-1], value.upper(), value[::-1], [value]))
    if isinstance(value, (int, float)):
        return draw.choice((0, -value, str(value)))
    if isinstance(value, list):
        return draw.choice((value[:-1], value + value, value[::-1], [*value, None], [value]))
    if isinstance(value, dict):
        return draw.choice((list(value), list(value.items()), {**value, "more": 0}))
    return draw.choice((0, "", [], {}))


def text(draw, value):
    """JSON with what no tree has: names twice, numbers without end, depths, and no JSON at all."""
    kind = draw.randrange(7)
    if kind == 0:
        return value.replace("{", '{"config":0,', 1) if "{" in value else value
    if kind == 1:  # a name twice
        found = re.findall(r'"[A-Za-z_]+":(?:\d+|"[^"]*"|true|false|null)', value)
        return value.replace("{", "{" + draw.choice(found) + ",", 1) if found else "{" + value
    if kind == 2:
        numbers = list(re.finditer(r"\d+", value))
        if numbers:
            one = draw.choice(numbers)
            other = draw.choice(("9" * 5000, "1e999", "-0", "NaN", "1.0", "0" * 9, "1e5", "[]"))
            return value[: one.start()] + other + value[one.end() :]
        return value + "0"
    if kind == 3:
        depth, at = draw.choice((500, 5000, 200_000)), draw.randrange(len(value) + 1)
        return value[:at] + draw.choice("[{") * depth + value[at:]
    if kind == 4:
        return value.replace(":", draw.choice((": ", ":\n", "::")), draw.choice((1, -1)))
    return content(draw, value.encode()).decode("latin-1" if kind == 5 else "ascii", "replace")


def arrays(draw, given):
    """Arrays by name, of which some have another name, shape, dtype or number, or are gone."""
    found = dict(given)
    for _ in range(draw.choice((1, 1, 2))):
        if not found:
            break
        name, kind = draw.choice(list(found)), draw.randrange(10)
        array = found[name]
        if kind == 0:
            del found[name]
        elif kind == 1:
            other = draw.choice(
                ("x", name + "_", name.upper(), f"1:{name}", "1:", ":", f"a:{name}")
            )
            found[other] = found.pop(name)
        elif kind == 2:
            other = draw.choice(list(found))
            found[name], found[other] = found[other], array
        elif kind == 3:
            dtypes = "f2 f4 f8 i8 u1 ?".split()
            with np.errstate(all="ignore"):
                found[name] = (
                    array.astype(draw.choice(dtypes)) if array.dtype.kind in "fiub" else array
                )
        elif kind == 4:
            shapes = ((-1,), (1, -1), (-1, 1), array.shape[::-1], (1, *array.shape))
            found[name] = array.reshape(draw.choice(shapes))
        elif kind == 5 and array.ndim:
            found[name] = array[:-1] if draw.random() < 0.5 else np.concatenate([array, array])
        elif kind == 6:
            found[name] = draw.choice(
                (np.zeros(0), np.zeros((0, 3)), np.float64(1), np.zeros((2, 2, 2)))
            )
            found[name] = np.asarray(found[name])
        elif array.size and array.dtype.kind == "f":
            array = array.copy()
            value = draw.choice((np.nan, np.inf, -np.inf, 0, -1, 1e30, 1e-30, 3e38, 0.5))
            with np.errstate(all="ignore"):
                if kind == 7:
                    array[...] = value
                else:
                    array.flat[draw.randrange(array.size)] = value
            found[name] = array
        elif array.size and array.dtype.kind in "iu":
            array = array.copy()
            array.flat[draw.randrange(array.size)] = draw.choice(
                (0, 1, 100, np.iinfo(array.dtype).max)
            )
            found[name] = array
    return found


# --- files of models ----------------------------------------------------------------------------


def parted(whole):
    """Header and the bytes of the tensors."""
    stop = 8 + int.from_bytes(whole[:8], "little")
    return whole[8:stop].decode(), whole[stop:]


def joined(header, data):
    header = header.encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + data


def plain(value):
    return json.dumps(value, separators=(",", ":"))


def model_file(draw, whole):
    """A file of a model altered, and whether its digest was made to fit."""
    import safetensors.numpy

    from numba_rnn.export import files

    kind = draw.randrange(12)
    if kind <= 1:
        return content(draw, whole), False
    header, data = parted(whole)
    if kind == 2:
        return joined(text(draw, header), data), False
    parsed = json.loads(header)
    if kind == 3:
        return joined(plain(tree(draw, parsed)), data), False
    record = json.loads(parsed["__metadata__"]["numba_rnn"])
    if kind == 4:
        parsed["__metadata__"]["numba_rnn"] = text(draw, plain(record))
        return joined(plain(parsed), data), False
    if kind == 5:  # the table alone
        places_of = {name: value for name, value in parsed.items() if name != "__metadata__"}
        table = tree(draw, places_of)
        if isinstance(table, dict):
            table = {"__metadata__": parsed["__metadata__"]} | table
        return joined(plain(table), data), False
    tensors = safetensors.numpy.load(whole)
    if kind <= 8:
        tensors = arrays(draw, tensors)
    elif draw.random() < 0.1:
        record = tree(draw, record)
    else:
        record["config"] = tree(draw, record["config"])
    if isinstance(record, dict):
        record.pop("sha256", None)
        try:
            record["sha256"] = files._digest(record, tensors)
        except (UnicodeEncodeError, ValueError):
            record["sha256"] = ""
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    try:
        return safetensors.numpy.save(tensors, {"numba_rnn": plain(record)}), True
    except (UnicodeEncodeError, ValueError):
        return content(draw, whole), False


def models(folder):
    """Whole files, by name."""
    import pandas as pd
    from helpers import forecaster

    import numba_rnn as nr
    from numba_rnn.estimators import RNNClassifier, RNNRegressor

    rng = np.random.default_rng(0)
    quick = {"hidden_size": 3, "max_iter": 2, "n_iter_no_change": np.inf, "random_state": 0}
    X, y = rng.normal(size=(12, 7, 2)), rng.normal(size=12)
    gappy = X.copy()
    gappy[:, 3, 0] = np.nan
    lists = [x[: 3 + k % 4] for k, x in enumerate(X)]
    walk, beside = np.cumsum(rng.normal(size=40)), rng.normal(size=(46, 2))
    wide = np.stack([walk, 3 * walk[::-1]], axis=1)
    wide[[3, 4, 20], 0] = np.nan
    small = quick | {"window": 4, "season": 1}
    days = pd.Series(walk, pd.date_range("2024-01-31", periods=40, freq="D", tz="Europe/Paris"))
    found = {
        "rnn": nr.RNN(3, 4, 2, "relu", True, True, 0.25, True, dtype=np.float64, rng=1).eval(),
        "cell": nr.RNNCell(3, 4, rng=3),
        "linear": nr.Linear(3, 2, rng=5),
        "classifier": RNNClassifier(**quick, early_stopping=True, validation_fraction=0.3).fit(
            X, np.where(y > 0, "up", "down")
        ),
        "weighted classes of steps": RNNClassifier(**quick, class_weight={1: 2.0}, n_members=2).fit(
            lists, [np.arange(len(x)) % 3 for x in lists]
        ),
        "regressor": RNNRegressor(**quick, loss="quantile", n_members=2).fit(
            pd.DataFrame(X[:, :, 0], columns=list("abcdefg")), y
        ),
        "gaps": RNNRegressor(**quick, missing="forward", patch=2).fit(gappy, X[:, -1]),
        "forecaster": forecaster(3, **small).fit(days),
        "several series": forecaster(2, **small, strategy="direct", n_members=2).fit(
            [walk, walk[5:]], static=[[1.0], [2.0]]
        ),
        "gaps of forecasts": forecaster(
            2, **small, loss="quantile", missing="forward"
        ).fit(wide, beside[:40], X_past=beside[:40, 0]),
    }  # fmt: skip
    wholes = {}
    for name, model in found.items():
        nr.save(model, folder / "whole")
        wholes[name] = (folder / "whole").read_bytes()
    return wholes


def said(model):
    """All that a model says of some input."""
    rng = np.random.default_rng(1)
    kind = type(model).__name__
    repr(model)
    if kind in ("RNN", "RNNCell", "Linear"):
        features = model.in_features if kind == "Linear" else model.input_size
        found = model(rng.normal(size=(5, 2, features)[kind == "RNNCell" :]).astype(model.dtype))
        return list(found) if isinstance(found, tuple) else [found]
    found = []
    if kind == "RNNForecaster":
        steps = model.horizon
        extra = rng.normal(size=(steps, model.n_features_in_)) if model.n_features_in_ else None
        if model._listed and extra is not None:
            extra = [extra] * (len(model._forms) // model._targets)
        calls = (model.predict, model.predict_interval, model.predict_quantiles)
        found = [call(X=extra) for call in calls]
    else:
        features = model.n_features_in_
        X = rng.normal(size=(4, features) if model._table else (4, 7, features))
        for name in ("predict", "predict_proba", "predict_quantiles"):
            if hasattr(model, name):
                found.append(getattr(model, name)(X))
    return [np.asarray(each) for one in found for each in (one if type(one) is list else [one])]


def same(ours, theirs):
    """Whether two lists of arrays are the same, to the bit."""
    return len(ours) == len(theirs) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        if a.dtype != object
        else a.tolist() == b.tolist()
        for a, b in zip(ours, theirs, strict=True)
    )


def read_models(folder):
    """What is done with case k: read a file, and use what comes."""
    import numba_rnn as nr

    wholes, path = models(folder), folder / "altered"
    (path).write_bytes(b"")
    expected = {}
    for name, whole in wholes.items():
        path.write_bytes(whole)
        expected[name] = said(nr.load(path))

    def case(k):
        draw = random.Random(k)
        name = list(wholes)[k % len(wholes)]
        data, fits = model_file(draw, wholes[name])
        path.write_bytes(data)
        with measured():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("always")
                    model = nr.load(path, allow_nonfinite=draw.random() < 0.3)
            except ValueError as error:
                assert str(path) in str(error), error
                return "refused"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numbers that overflow
            try:
                found = said(model)
            except FloatingPointError as error:  # of weights that are far off
                assert fits and "leaves the numbers" in str(error), error
                return "another"
        if same(found, expected[name]):
            return "the same"
        assert fits, "another model came out of a file whose digest can't be right"
        nr.save(model, path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert same(found, said(nr.load(path, allow_nonfinite=True)))
        return "another"

    return case


# --- checkpoints --------------------------------------------------------------------------------


def npy(draw, array):
    """An array as a file, of which the header says something else."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    data = buffer.getvalue()
    if draw.random() < 0.4:
        return content(draw, data)
    size = int.from_bytes(data[8:10], "little")
    header, rest = data[10 : 10 + size].decode(), data[10 + size :]
    shape = draw.choice(
        ("(10**9,)", "(1000000000,)", "(-1,)", "(2, -3)", "()", "(0,)", "(1, 2", "(1.0,)",
         "(True,)", "(99999999999999999999,)", "(0, 99999999999999999999)",
         f"({array.size * 2},)", "x", "'a'", "[4]",
         "(" * 300 + ")" * 300, "(4611686018427387904, 4)")
    )  # fmt: skip
    descr = draw.choice(
        ("'<f2'", "'<f8'", "'<f4'", "'|O'", "'|S9'", "'<U4'", "'>f8'", "[('a', '<f8')]", "'<M8[s]'",
         "'x'", "3", "[]", "{}", "'|V0'", "'<U0'", "'|V999999999'", "('<f4', (9,))")
    )  # fmt: skip
    kind = draw.randrange(5)
    if kind == 0:
        header = re.sub(r"'shape': \(.*?\)", lambda _: f"'shape': {shape}", header)
    elif kind == 1:
        header = re.sub(r"'descr': '.*?'", lambda _: f"'descr': {descr}", header)
    elif kind == 2:
        other = draw.choice(("True", "1", "None", "'x'"))
        header = header.replace("False", other)
    elif kind == 3:
        header = text(draw, header)
    else:
        header = draw.choice(
            ("", "{}", "[" * 5000, "{'descr': '<f4'}", "a" * 20_000, "\n", "1" * 9000)
        )
    header = header.rstrip() + "\n"
    if len(header) < 65536:
        return data[:8] + struct.pack("<H", len(header)) + header.encode() + rest
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header.encode() + rest


def checkpoint_file(draw, whole):
    """A checkpoint altered, and whether its digest was made to fit."""
    import hashlib

    from numba_rnn.estimators import checkpoint

    kind = draw.randrange(8)
    if kind == 0:
        return content(draw, whole), False
    body = whole[checkpoint._HEAD :]
    if kind == 1:
        body = content(draw, body)
    else:
        with zipfile.ZipFile(io.BytesIO(body)) as file:
            entries = {name: file.read(name) for name in file.namelist()}
        given = {
            name.removesuffix(".npy"): np.load(io.BytesIO(data)) for name, data in entries.items()
        }
        meta = json.loads(given.pop("meta").tobytes())
        said, method, twice = plain(meta), zipfile.ZIP_STORED, None
        if kind in (2, 3):
            own = {name: value for name, value in meta.items() if name != "identity"}
            own = tree(draw, own)
            if draw.random() < 0.1 or not isinstance(own, dict):
                own = tree(draw, meta)
            else:
                own = own | {"identity": meta["identity"]}
            said = plain(own)
        elif kind == 4:
            said = text(draw, said)
        elif kind == 5:
            given = arrays(draw, given)
        written = {}
        for name, array in ({"meta": np.frombuffer(said.encode(), np.uint8)} | given).items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
            written[f"{name}.npy"] = buffer.getvalue()
        if kind == 6:
            name = draw.choice(list(given))
            written[f"{name}.npy"] = npy(draw, given[name])
        elif kind == 7:
            name, how = draw.choice(list(written)), draw.randrange(5)
            if how == 0:
                method = zipfile.ZIP_DEFLATED
            elif how == 1:
                twice = name
            elif how == 2:
                other = draw.choice(
                    ("x", "x.npy", name[:-4], "../" + name, name + ".npy", "meta.npy")
                )
                written[other] = written.pop(name)
            elif how == 3:
                del written[name]
            else:
                written[draw.choice(("x.npy", "a:b.npy", "1:.npy", "-1:weights.npy", "x"))] = b"x"
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name that is there twice
            with zipfile.ZipFile(buffer, "w", method) as file:
                for name, data in written.items():
                    file.writestr(name, data)
                if twice is not None:
                    file.writestr(twice, written[draw.choice(list(written))])
        body = buffer.getvalue()
        if kind == 7 and draw.random() < 0.5:
            body = directory(draw, body)
    return checkpoint._MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body, True


def directory(draw, body):
    """A zip of which an entry of the directory says something else."""
    data = bytearray(body)
    starts = [one.start() for one in re.finditer(b"PK\x01\x02", body)] or [0]
    at = draw.choice(starts)
    place, size = draw.choice(
        ((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (34, 2), (42, 4))
    )
    value = draw.choice((0, 1, 8, 99, 0xFFFF, 2**31, 2**32 - 1, draw.randrange(2**32)))
    data[at + place : at + place + size] = (value % 256**size).to_bytes(size, "little")
    return bytes(data)


def read_checkpoints(folder):
    """What is done with case k: go on from a checkpoint."""
    from helpers import forecaster

    from numba_rnn import atomic
    from numba_rnn.estimators import RNNClassifier, RNNRegressor

    os.fsync = lambda file: None  # no power is cut here, and it takes longer than all the rest
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 4, 2)), rng.normal(size=8)
    quick = {"hidden_size": 3, "n_iter_no_change": 9, "random_state": 0}
    path = folder / "altered"
    both = {"early_stopping": True, "validation_fraction": 0.4, "solver": "rmsprop", "dropout": 0.3}
    makers = {
        "adam": lambda **o: RNNRegressor(**quick, **o),
        "early": lambda **o: RNNClassifier(**quick, **both, num_layers=2, **o),
        "sgd": lambda **o: RNNRegressor(**quick, solver="sgd", learning_rate="plateau", **o),
        "lbfgs": lambda **o: RNNRegressor(**quick, solver="lbfgs", **o),
        "members": lambda **o: RNNRegressor(**quick, n_members=2, **o),
        "forecaster": lambda **o: forecaster(2, **quick, window=3, season=1, **o),
    }
    given = dict.fromkeys(makers, (X, y))
    given |= {"early": (X, y > 0), "forecaster": (np.cumsum(rng.normal(size=30)),)}

    def state(model):
        network = getattr(model, "regressor_", model)
        flat = [layer.flat_parameters for member in network.members_ for layer in member]
        return [*flat, np.array(network.loss_curve_), np.array(network.n_iter_)]

    wholes, expected = {}, {}
    real = atomic.write
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in makers.items():
            kept = []
            atomic.write = lambda path, data, kept=kept: (kept.append(data), real(path, data))
            expected[name] = state(make(max_iter=4, checkpoint=path).fit(*given[name]))
            atomic.write = real
            path.unlink()
            wholes[name] = kept[len(kept) // 2]

    def case(k):
        draw = random.Random(k)
        name = list(wholes)[k % len(wholes)]
        data, fits = checkpoint_file(draw, wholes[name])
        path.write_bytes(data)
        model = makers[name](max_iter=4, checkpoint=path)
        before = dict(vars(model))
        with measured(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is not learnt so soon
            try:
                model.fit(*given[name])
            except ValueError as error:
                assert "checkpoint" in str(error), error
                assert vars(model) == before and path.read_bytes() == data
                return "refused"
            except FloatingPointError as error:  # of weights that are far off
                assert fits and "Try" in str(error), error
                return "another"
        if same(state(model), expected[name]):
            return "the same"
        assert fits, "another training came out of a file whose digest can't be right"
        return "another"

    return case


# --- a process ----------------------------------------------------------------------------------


class measured:
    """Refuse what takes more memory or time than a file can be worth."""

    def __enter__(self):
        tracemalloc.reset_peak()
        self.before = tracemalloc.get_traced_memory()[0]
        signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)

    def __exit__(self, *what):
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        peak = tracemalloc.get_traced_memory()[1] - self.before
        assert peak < MOST, f"{peak} bytes of memory"


def too_long(*_):
    raise TimeoutError(f"{LONGEST} seconds")


def main(kind, first, count):
    faulthandler.enable()
    signal.signal(signal.SIGVTALRM, too_long)
    found = Counter()
    with tempfile.TemporaryDirectory() as folder:
        case = {"models": read_models, "checkpoints": read_checkpoints}[kind](Path(folder))
        tracemalloc.start()
        for k in range(int(first), int(first) + int(count)):
            with open(os.path.join(folder, "case"), "w") as file:
                file.write(str(k))
            try:
                found[case(k)] += 1
            except BaseException as error:
                error.add_note(f"{kind}, case {k}")
                raise
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
