"""In Numba's simulator: the example trains, on a short setting."""

import re

from test_examples import load


def test_train_on_gpu(capsys):
    assert load("train_on_gpu").main(["--quick"]) == 0
    first, last = re.findall(r"\d+\.\d+", capsys.readouterr().out)
    assert 0 < float(last) != float(first) > 0
