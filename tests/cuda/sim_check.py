"""In Numba's simulator: what `python -m numba_rnn.cuda.check` does where there is no real GPU."""

import doctest

import numpy as np
import pytest

from numba_rnn.cuda import toolkit
from numba_rnn.cuda.choice import choose
from numba_rnn.tools import check_cuda as check


def test_parity_is_found(capsys):
    assert check.main(["--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(check.QUICK) + 1
    for line, case in zip(lines, [*check.QUICK, ("mse", "SGD")], strict=True):
        assert line.startswith("ok") and "Numba" in line and line.endswith(str(case))


@pytest.mark.parametrize("k", range(len(check.LOSSES)))
def test_training_is_the_cpus(k):
    pair = check.LOSSES[k], check.OPTIMIZERS[k % 4]
    assert check.training_parity([pair], check.kinds())


def test_a_training_that_is_another_is_found():
    loss = "mse"
    spoilt = check.kinds()["Numba"][0], lambda a: a.copy_to_host() * 1.001
    assert not check.training_parity([(loss, "SGD")], {"bad": spoilt})


def test_every_kernel_is_run_on_a_large_gpu():
    """What `choice` makes of the cases on 132 multiprocessors, as an H100 has them."""
    gpu = toolkit.Gpu(multiprocessors=132, shared_memory=227 << 10, cooperative=True)
    plans = set()
    for case in check.CASES:
        D = 1 + case.bidirectional
        itemsize = np.dtype(case.dtype).itemsize
        only = case.walk or ("persistent", "grid", "steps")
        plans.add(plan_on(gpu, case.H, case.N, D, itemsize, only))
    assert {kind for kind, _ in plans} == {"persistent", "grid", "steps", "generic"}
    assert {rows for kind, rows in plans if kind == "persistent"} >= {1, 2}
    assert len({rows for kind, rows in plans if kind == "grid"}) >= 3


def plan_on(gpu, H, N, D, itemsize, only):
    """Kind and samples at once; `only` may be several kinds to try, as the simulator has one."""
    for kind in [only] if isinstance(only, str) else only:
        try:
            plan = choose(gpu, H, N, D, itemsize, kind)
        except ValueError:
            continue
        return plan.kind, plan.split.rows if plan.split else 0


def test_wrong_results_are_found(capsys):
    """A GPU that is off by a little, or gives NaN, in what it hands back."""
    (to_gpu, to_host), tiny = check.kinds()["Numba"], check.QUICK[1]
    for spoil in (lambda a: a + 1e-8, lambda a: a * float("nan")):
        assert not check.parity([tiny], {"bad": (to_gpu, lambda a, f=spoil: f(to_host(a)))})
        assert capsys.readouterr().out.startswith("WRONG")
    assert check.parity([tiny], {"good": (to_gpu, to_host)})


def test_a_wrong_result_is_told_by_the_exit_status(monkeypatch):
    for name in ("error", "training_error"):
        with monkeypatch.context() as patch:
            patch.setattr(check, name, lambda *a: float("nan"))
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
