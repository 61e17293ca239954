"""The report of versions: a line for everything a bug report needs."""

import platform
import sys

import numba
import numpy as np
import sklearn

import numba_rnn as nr


def test_show_versions(capsys):
    assert nr.show_versions() is None
    lines = capsys.readouterr().out.splitlines()
    report = dict(line.split(maxsplit=1) for line in lines if not line.startswith("threading"))
    assert report["numba_rnn"].strip() == nr.__version__
    assert report["python"].strip() == platform.python_version()
    assert report["numba"].strip() == numba.__version__
    assert report["numpy"].strip() == np.__version__
    assert report["threads"].startswith(str(numba.get_num_threads()))
    assert report["vectors"].split()[0] in ("128", "256", "512")
    assert report["scikit-learn"].strip() == sklearn.__version__
    assert report["quota"].split()[0] == "none" or report["quota"].split()[1] == "processors,"
    assert "numba_rnn" in report["cache"]
    assert "safetensors" in report and "onnx" in report and "CUDA" in report
    assert any(line.startswith("threading layer ") for line in lines)


def test_says_which_threading_layer_runs(capsys):
    rnn = nr.RNN(64, 64, rng=0)
    rnn(np.zeros((20, 64, 64), np.float32))
    nr.show_versions()
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("threading layer"))
    layers = ("workqueue", "omp", "tbb", "not started yet")
    assert line.removeprefix("threading layer").strip().startswith(layers)


def test_runs_without_numba_in_use(capsys):
    assert "numba_rnn" in sys.modules
    nr.show_versions()
    assert "numba_rnn" in capsys.readouterr().out
