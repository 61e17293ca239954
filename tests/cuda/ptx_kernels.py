"""Kernels of the layers compiled without a GPU, as they would be launched, and the choice of them.

`test_cuda.py` runs this file in a process of its own.
"""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from resources import ptx, resources

import numba_rnn.cuda
from numba_rnn.cuda import dropout, generic, grid, persistent, products, steps
from numba_rnn.cuda.choice import choose
from numba_rnn.cuda.lanes import TEAM, Split
from numba_rnn.cuda.toolkit import Gpu

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
CAPABILITIES = [(7, 5), (8, 0), (9, 0), (10, 0)]
H100 = Gpu(multiprocessors=132, shared_memory=232448, cooperative=True)
T4 = Gpu(multiprocessors=40, shared_memory=65536, cooperative=True)
RESERVED = 1024  # bytes of shared memory that the system takes of each block

# A kernel, and the types of its arguments: see resources.signature.
ANY_SHAPE = [
    (generic.forward, "aaaaax" + "i" * 8),
    (generic.backward, "aaaaaaax" + "i" * 8),
    (steps.forward, "aaaaaax" + "i" * 11),
    (steps.backward, "aaaaaaaax" + "i" * 9),
    (products.tiled, "aaa" + "i" * 12),
    (products.parts_added, "aa" + "i" * 8),
    (products.columns_summed, "aa" + "i" * 5),
    (products.rows_added, "aa" + "i" * 3),
    (products.matrices_copied, "aa" + "i" * 7),
    (products.before, "aaax" + "i" * 5),
    (products.real, "aax" + "i" * 3),
    (dropout.drop, "aafuui"),
]
WITH_SPLIT = [
    (persistent.forward, "aaaax" + "i" * 9),
    (persistent.backward, "aaaaaaax" + "i" * 8),
    (grid.forward, "aaaaxt" + "i" * 11),
    (grid.backward, "aaaaaaaxt" + "i" * 10),
]


def examine(code, dtype, threads, shared=0):
    """What must be true of PTX and of what it takes on sm_90."""
    found = resources(code)
    assert found.stack == found.spills == 0, found
    assert -(-found.registers // 8) * 8 * threads <= 65536, found
    assert found.shared + shared <= H100.shared_memory + RESERVED, found
    assert "tanh.approx" not in code
    return found


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize(("build", "letters"), ANY_SHAPE, ids=lambda v: getattr(v, "__name__", ""))
def test_kernels_of_any_shape(build, letters, dtype):
    kernel = build(dtype)
    for cc, code in zip(CAPABILITIES, ptx(kernel, letters, dtype, *CAPABILITIES), strict=True):
        assert f".target sm_{cc[0]}{cc[1]}" in code
        if cc == (9, 0):
            (threads, _) = kernel.targetoptions["launch_bounds"]
            examine(code, dtype, threads)
            if dtype == F32 and build is not dropout.drop:  # whose scale is a double
                assert ".f64" not in code


@pytest.mark.parametrize(("build", "letters"), WITH_SPLIT, ids=lambda v: getattr(v, "__name__", ""))
def test_kernels_with_a_split_compile_for_all(build, letters):
    kernel = build(Split(16, 16, 4, 1, 1), F32)
    for cc, code in zip(CAPABILITIES, ptx(kernel, letters, F32, *CAPABILITIES), strict=True):
        assert f".target sm_{cc[0]}{cc[1]}" in code
        assert "tanh.approx" not in code


@pytest.mark.parametrize(
    ("H", "N", "dtype"),
    [
        (128, 64, F32), (224, 300, F32), (256, 64, F32), (192, 16, F64),
        (512, 64, F32), (1024, 64, F32), (2048, 64, F32), (1024, 1, F64),
    ],
    ids=str,
)  # fmt: skip
def test_kernels_with_a_split_fit(H, N, dtype):
    plan = choose(H100, H, N, 1, dtype.itemsize)
    module = {"persistent": persistent, "grid": grid}[plan.kind]
    for build, letters in WITH_SPLIT:
        if build in (module.forward, module.backward):
            kernel = build(plan.split, dtype)
            (code,) = ptx(kernel, letters, dtype, (9, 0))
            examine(code, dtype, plan.split.threads, plan.split.shared(dtype.itemsize))
            if dtype == F32:
                assert ".f64" not in code
                assert "ld.shared.v4.f32" in code and "ld.shared.f32" not in code


def test_every_kernel_is_here():
    """No kernel of these modules is launched that the tests above don't compile."""
    names = set()
    for module in (dropout, generic, grid, persistent, products, steps):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(d, ast.Call) and getattr(d.func, "id", "") == "kernel"
                for d in node.decorator_list
            ):
                names.add((module.__name__, node.name))
    built = [build(F32) for build, _ in ANY_SHAPE]
    built += [build(Split(16, 16, 4, 1, 1), F32) for build, _ in WITH_SPLIT]
    assert names == {(k.py_func.__module__, k.py_func.__name__) for k in built}


def test_cuda_is_named_in_one_file():
    """What the target is called, and where it comes from, is toolkit.py's to know."""
    folder = Path(numba_rnn.cuda.__file__).parent
    for path in folder.glob("*.py"):
        if path.name != "toolkit.py":
            text = path.read_text()
            assert "import numba" not in text and "from numba" not in text, path.name


def test_the_grids_barrier():
    """Count, wait and fences, in this order; waiting is a loop that looks at memory."""
    (code,) = ptx(grid.forward(Split(16, 16, 4, 1, 1), F32), WITH_SPLIT[2][1], F32, (9, 0))
    parts = re.findall(r"bar\.sync|membar\.gl|atom\.global\.add\.u32.*, [01];", code)
    parts = [re.sub(r"\.u32.*(?=[01];)", " ", part) for part in parts]
    start = parts.index("membar.gl") - 1
    count, look = "atom.global.add 1;", "atom.global.add 0;"
    assert parts[start : start + 4] == ["bar.sync", "membar.gl", count, look]
    assert set(parts[start + 4 : -2]) <= {look}
    assert parts[-2:] == ["membar.gl", "bar.sync"]


@pytest.mark.parametrize(
    ("gpu", "H", "N", "D", "itemsize", "kind"),
    [
        (H100, 1, 1, 1, 4, "persistent"),
        (H100, 128, 64, 1, 4, "persistent"),
        (H100, 256, 64, 2, 4, "persistent"),
        (H100, 192, 16, 1, 8, "persistent"),
        (H100, 256, 16, 1, 8, "grid"),
        (H100, 257, 16, 1, 4, "grid"),
        (H100, 2048, 64, 2, 4, "grid"),
        (H100, 2049, 64, 1, 4, "grid"),
        (H100, 8192, 64, 1, 4, "steps"),
        (H100, 2048, 64, 1, 8, "steps"),
        (H100._replace(cooperative=False), 512, 64, 1, 4, "steps"),
        (T4, 128, 64, 1, 4, "persistent"),
        (T4, 256, 16, 1, 4, "grid"),  # too little shared memory for one block
        (T4, 2048, 16, 1, 4, "steps"),  # too few multiprocessors
        (T4._replace(cooperative=False), 256, 16, 1, 4, "generic"),
    ],
)
def test_choice(gpu, H, N, D, itemsize, kind):
    plan = choose(gpu, H, N, D, itemsize)
    assert plan.kind == kind
    if plan.split is not None:
        split = plan.split
        assert split.shared(itemsize) <= gpu.shared_memory
        assert split.width >= H and split.width % (4 * split.lanes) == 0
        assert split.threads <= 1024 and split.rows <= split.copies
        assert plan.blocks * split.units >= H
    if kind == "grid":  # all blocks of a launch run at once
        assert plan.blocks * plan.groups * plan.directions <= gpu.multiprocessors
        assert plan.groups <= N and D % plan.directions == 0


def test_choice_by_name():
    for kind in ("persistent", "grid", "steps", "generic"):
        assert choose(H100, 128, 64, 1, 4, kind).kind == kind
    with pytest.raises(ValueError, match="no persistent kernel for hidden size 500"):
        choose(H100, 500, 64, 1, 4, "persistent")


def test_few_lanes_where_they_were_measured_to_be_quicker():
    for H, N, itemsize, lanes in (
        (192, 64, 4, 8), (193, 64, 4, 4), (256, 64, 4, 4), (256, 133, 4, 8), (192, 64, 8, 8),
        (600, 64, 4, 16), (1024, 64, 4, 16), (2048, 64, 4, 32), (1024, 1, 8, 32),
    ):  # fmt: skip
        assert choose(H100, H, N, 1, itemsize).split.lanes == lanes


@pytest.mark.parametrize("itemsize", [4, 8])
def test_warps_are_whole(itemsize):
    """Lanes exchange numbers with all 32 of their warp, so that none may be missing."""
    for H in range(1, 2049):
        for N in (1, 64, 300):
            split = choose(H100, H, N, 1, itemsize).split
            if split is not None:
                assert split.units // TEAM * split.lanes % 32 == 0, (H, N)


def test_many_samples_share_blocks():
    assert choose(H100, 128, 64, 1, 4).split.rows == 1
    assert choose(H100, 128, 64, 2, 4).split.rows == 1
    assert choose(H100, 128, 133, 1, 4).split.rows == 2
