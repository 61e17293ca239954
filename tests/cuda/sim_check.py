"""In Numba's simulator: what `python -m numba_rnn.cuda.check` does where there is no real GPU."""

import doctest

import pytest

from numba_rnn.cuda import check, toolkit


def test_parity_is_found(capsys):
    assert check.main(["--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(check.QUICK)
    for line, case in zip(lines, check.QUICK, strict=True):
        assert line.startswith("ok") and "Numba" in line and line.endswith(str(case))


def test_wrong_results_are_found(capsys):
    """A GPU that is off by a little, or gives NaN, in what it hands back."""
    (to_gpu, to_host), tiny = check.kinds()["Numba"], check.QUICK[1]
    for spoil in (lambda a: a + 1e-8, lambda a: a * float("nan")):
        assert not check.parity([tiny], {"bad": (to_gpu, lambda a, f=spoil: f(to_host(a)))})
        assert capsys.readouterr().out.startswith("WRONG")
    assert check.parity([tiny], {"good": (to_gpu, to_host)})


def test_a_wrong_result_is_told_by_the_exit_status(monkeypatch):
    monkeypatch.setattr(check, "error", lambda *a: float("nan"))
    assert check.main(["--quick"]) == 1


def test_times_need_torch_on_a_gpu(capsys):
    assert check.main(["--only", "times"]) == 0
    assert "No times" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    def require():
        raise RuntimeError("CUDA arrays need an NVIDIA GPU")

    monkeypatch.setattr(toolkit, "require", require)
    assert check.main([]) == 2
    assert capsys.readouterr().err == "No GPU to check: CUDA arrays need an NVIDIA GPU\n"


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--repeats", "0"], ["more"]])
def test_bad_arguments(arguments, capsys):
    with pytest.raises(SystemExit):
        check.main(arguments)
    assert "usage: python -m numba_rnn.cuda.check" in capsys.readouterr().err


def test_cases_cover_the_features():
    """Every kind, option and dtype, and sizes from 1 to beyond what stays in a GPU's memory."""
    for field, values in [
        ("kind", {"padded", "lengths", "packed"}),
        ("dtype", {"float32", "float64"}),
        ("num_layers", {1, 2}),
        ("nonlinearity", {"tanh", "relu"}),
        *((name, {False, True}) for name in ("bidirectional", "bias", "batch_first")),
    ]:
        assert {getattr(case, field) for case in check.CASES} == values
    sizes = sorted(case.H for case in check.CASES)
    assert sizes[0] == 1 and sizes[-1] > 2048
    assert len(check.CELLS) == 12 and sum(cell.lengths for cell in check.CELLS) == 2


def test_examples():
    assert doctest.testmod(check, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
