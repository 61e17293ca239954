"""Series in list columns, and as values with offsets, through files as people have them."""

import numpy as np
import pytest
from helpers import assert_same_bits

import numba_rnn as nr
from numba_rnn.estimators import RNNRegressor

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
import dask.dataframe as dd  # noqa: E402
import pandas as pd  # noqa: E402

# Dask 2026.8 calls pandas so
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")
RNG = np.random.default_rng(0)
SERIES = [RNG.normal(size=(length, 2)) for length in RNG.integers(1, 9, 23)]
Y = np.array([x[-1, 0] for x in SERIES])
ENDS = np.cumsum([0, *map(len, SERIES)])


@pytest.fixture(autouse=True)
def synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def model():
    model = RNNRegressor(4, max_iter=2, n_iter_no_change=np.inf, random_state=0)
    return model.fit(SERIES, Y)


def read_parquet(folder, **options):
    """Two list columns, and one of lists of lists, in three files."""
    frame = pd.DataFrame(
        {
            "a": [x[:, 0] for x in SERIES],
            "b": [x[:, 1].tolist() for x in SERIES],
            "both": [x.tolist() for x in SERIES],
        },
        index=pd.Index(np.arange(23) * 10, name="id"),
    )
    for k, part in enumerate(np.array_split(np.arange(23), 3)):
        frame.iloc[part].to_parquet(folder / f"{k}.parquet")
    return dd.read_parquet(folder, **options)


@pytest.mark.parametrize("columns", [["a", "b"], "both"])
@pytest.mark.parametrize("backend", [None, "pyarrow"])
def test_list_columns_of_parquet(tmp_path, model, columns, backend):
    options = {} if backend is None else {"dtype_backend": backend}
    frame = read_parquet(tmp_path, **options)
    said = nr.dask.map_series(model.predict, frame, columns)
    assert said.npartitions == frame.npartitions == 3
    found = said.compute()
    assert_same_bits(found["prediction"].to_numpy(), model.predict(SERIES))
    assert found.index.tolist() == (np.arange(23) * 10).tolist()


@pytest.mark.parametrize("per_partition", [1, 5, 23, 1000])
def test_values_and_offsets(model, per_partition):
    values = da.from_array(np.concatenate(SERIES), (11, 1))
    said = nr.dask.map_series(
        model.predict, values, offsets=ENDS, per_partition=per_partition, dtype=np.float32
    )
    assert said.npartitions == -(-23 // per_partition)
    assert said.known_divisions
    found = said.compute()
    expected = model.predict(SERIES).astype(np.float32)
    assert_same_bits(found["prediction"].to_numpy(), expected)
    assert found.index.tolist() == list(range(23))
    assert float(said.loc[7].compute()["prediction"].iloc[0]) == expected[7]


def test_arrow_list_arrays(model):
    """Their values and offsets, without a copy; a slice doesn't begin at 0."""
    pa = pytest.importorskip("pyarrow")
    rnn = RNNRegressor(4, max_iter=1, n_iter_no_change=np.inf, random_state=0)
    rnn.fit([x[:, 0] for x in SERIES], Y)
    array = pa.array([x[:, 0] for x in SERIES])[4:20]
    values = da.from_array(array.values.to_numpy(), 16)
    said = nr.dask.map_series(rnn.predict, values, offsets=array.offsets.to_numpy())
    expected = rnn.predict([x[:, 0] for x in SERIES[4:20]])
    assert_same_bits(said["prediction"].compute().to_numpy(), expected)


def test_zarr(tmp_path, model):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "series.zarr", mode="w")
    rows = np.concatenate(SERIES)
    for name, array, chunks in (("values", rows, (16, 2)), ("offsets", ENDS, (8,))):
        group.create_array(name, shape=array.shape, dtype=array.dtype, chunks=chunks)[:] = array
    values = da.from_zarr(str(tmp_path / "series.zarr"), component="values")
    said = nr.dask.map_series(model.predict, values, offsets=group["offsets"][:], per_partition=10)
    assert_same_bits(said["prediction"].compute().to_numpy(), model.predict(SERIES))


def test_several_columns_come_out():
    def ends(series):
        return [[x[0, 0], x[-1, 0]] for x in series]

    values = da.from_array(np.concatenate(SERIES))
    said = nr.dask.map_series(ends, values, offsets=ENDS, names=["first", "last"])
    assert list(said.columns) == ["first", "last"]
    assert_same_bits(said["last"].compute().to_numpy(), Y)


def test_no_series():
    empty = nr.dask.map_series(len, da.zeros((0, 2)), offsets=[0])
    assert len(empty.compute()) == 0
    frame = dd.from_pandas(pd.DataFrame({"a": [[1.0]], "n": [1]}), npartitions=1)
    assert len(nr.dask.map_series(len, frame[frame["n"] > 1], "a").compute()) == 0


def test_what_is_not_taken(tmp_path):
    frame, values = read_parquet(tmp_path), da.zeros((9, 2))
    with pytest.raises(
        ValueError, match=r"columns must be some of \['a', 'b', 'both'\], got \['c'"
    ):
        nr.dask.map_series(len, frame, "c")
    with pytest.raises(ValueError, match="columns must be some of"):
        nr.dask.map_series(len, frame)
    with pytest.raises(ValueError, match="offsets must be None with a frame"):
        nr.dask.map_series(len, frame, "a", offsets=[0])
    with pytest.raises(ValueError, match="offsets must be given"):
        nr.dask.map_series(len, values)
    with pytest.raises(TypeError, match="offsets must hold integers"):
        nr.dask.map_series(len, values, offsets=[0.5])
    for offsets in ([], [0, 10], [3, 2], [-1, 3]):
        with pytest.raises(ValueError, match="offsets must rise from 0 or more to 9"):
            nr.dask.map_series(len, values, offsets=offsets)
    with pytest.raises(TypeError, match="data must be a Dask DataFrame or a Dask array, got list"):
        nr.dask.map_series(len, [1, 2])
    with pytest.raises(TypeError, match="function must be callable"):
        nr.dask.map_series(3, values, offsets=[0])
    wrong = nr.dask.map_series(lambda series: [1.0], values, offsets=[0, 4, 9])
    with pytest.raises(ValueError, match=r"function must return shape \(2, 1\).*got \(1,\)"):
        wrong.compute()


def test_rows_without_series_and_columns_that_differ():
    frame = pd.DataFrame({"a": [[1.0, 2.0], None], "b": [[1.0], [2.0]]}, index=["x", "y"])
    frame["a"], frame["b"] = frame["a"].astype(object), frame["b"].astype(object)
    with dask.config.set({"dataframe.convert-string": False}):
        lazy = dd.from_pandas(frame, npartitions=1)
        with pytest.raises(ValueError, match=r"column 'a' must have a series in each row.* at y"):
            nr.dask.map_series(len, lazy, "a").compute()
        with pytest.raises(ValueError, match=r"as long in each row, got \[2, 1\] at x"):
            nr.dask.map_series(len, lazy, ["a", "b"]).compute()
