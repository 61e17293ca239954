"""The interpreter beside what is known: instructions, small kernels, and faults that are planted.

`test_cuda.py` runs this file in a process of its own.
"""

import math

import numpy as np
import pytest
from interpreter import GPU, Fault, Kernel, install
from interpreter.instructions import DTYPES, TABLE
from numba import float32, float64

from numba_rnn.cuda.launching import Vector, launch
from numba_rnn.cuda.libraries import NUMBA
from numba_rnn.cuda.toolkit import cuda, kernel

install()


@pytest.fixture(autouse=True)
def _memory_is_free():
    GPU.clear()


def to_host(array):
    return array.copy_to_host()


# --- instructions by hand -------------------------------------------------------------------------

HEAD = """
.visible .entry by_hand(.param .u64 p_0, .param .u64 p_1)
.maxntid {threads}, 1, 1
{{
.reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>;
.reg .f32 %f<9>; .reg .f64 %fd<9>;
ld.param.u64 %rd1, [p_0];
ld.param.u64 %rd2, [p_1];
mov.u32 %r1, %tid.x;
{body}
ret;
}}
"""


def by_hand(body, given, out, threads=1, blocks=1):
    """Run PTX with two arrays, whose addresses are in %rd1 and %rd2."""
    code = Kernel(HEAD.format(threads=threads, body=body), "by hand")
    addresses = [a.device_ctypes_pointer.value for a in (given, out)]
    parameters = [np.array([address], np.uint64) for address in addresses]
    extents = [(at, at + a.nbytes) for at, a in zip(addresses, (given, out), strict=True)]
    GPU.run(code, (blocks, 1, 1), threads, parameters, extents)
    return to_host(out)


def bits(value):
    """A constant as PTX spells it: integers as they are."""
    if isinstance(value, np.float32):
        return f"0f{value.view(np.uint32):08X}"
    return f"0d{np.float64(value).view(np.uint64):016X}" if isinstance(value, float) else str(value)


F, NAN, INFINITY = np.float32, math.nan, math.inf


@pytest.mark.parametrize(
    ("opcode", "operands", "expected"),
    [
        ("add.s32", (2**31 - 1, 1), -(2**31)),
        ("sub.s64", (-(2**63), 1), 2**63 - 1),
        ("mul.lo.s32", (65537, 65537), 131073),
        ("mul.wide.s32", (-3, 2**30), -3 * 2**30),
        ("mul.wide.u32", (2**32 - 1, 2**32 - 1), (2**32 - 1) ** 2),
        ("div.s64", (-7, 2), -3),
        ("rem.s64", (-7, 2), -1),
        ("rem.s64", (7, -2), 1),
        ("div.u32", (2**32 - 7, 2), 2**31 - 4),
        ("neg.s64", (5,), -5),
        ("min.s64", (-1, 2), -1),
        ("max.s64", (-1, 2), 2),
        ("not.b64", (0,), -1),
        ("shl.b32", (3, 31), 2**31),
        ("shl.b64", (3, 64), 0),
        ("shr.s64", (-8, 1), -4),
        ("shr.s64", (-8, 99), -1),
        ("shr.u64", (-1, 63), 1),
        ("shr.u32", (2**32 - 1, 32), 0),
        ("bfi.b64", (0xABCDEF, 0x1_00000001, 32, 8), 0xEF_00000001),
        ("cvt.s64.s32", (-5,), -5),
        ("cvt.u64.u32", (2**32 - 5,), 2**32 - 5),
        ("cvt.u32.u64", (2**32 + 5,), 5),
        ("cvt.rn.f64.s64", (-5,), -5.0),
        ("cvt.rn.f32.f64", (1 + 2**-30,), F(1)),
        ("cvt.rni.f32.f32", (F(2.5),), F(2)),
        ("fma.rn.f32", (F(1 + 2**-23), F(1 + 2**-23), F(-1 - 2**-22)), F(2**-46)),
        ("fma.rn.f64", (1 + 2**-30, 1 + 2**-30, -1 - 2**-29), 2**-60),
        ("div.rn.f64", (1.0, -0.0), -INFINITY),
        ("sqrt.rn.f32", (F(2),), np.sqrt(F(2))),
        ("rcp.approx.ftz.f64", (4.0,), 0.25),
        ("ex2.approx.ftz.f32", (F(-3),), F(0.125)),
        ("ex2.approx.ftz.f32", (F(-140),), F(0)),
        ("max.f64", (NAN, 2.0), 2.0),
        ("copysign.f64", (-1.0, 3.0), -3.0),
        ("setp.lt.s64", (-1, 0), True),
        ("setp.lt.u64", (-1, 0), False),
        ("setp.gt.u32", (2**32 - 1, 0), True),
        ("setp.ne.f64", (NAN, 0.0), False),
        ("setp.neu.f64", (NAN, 0.0), True),
        ("setp.le.f32", (F(1), F(1)), True),
        ("setp.gtu.f32", (F(0), F(NAN)), True),
        ("setp.num.f64", (NAN, 1.0), False),
        ("and.pred", (1, 0), False),
        ("xor.pred", (1, 0), True),
        ("selp.s64", (3, -4, 0), -4),
        ("mov.f32", (F(-1.5),), F(-1.5)),
    ],
)
def test_instructions(opcode, operands, expected):
    kind = TABLE[opcode].result
    register = {"pred": "%p1", "f32": "%f1", "f64": "%fd1"}.get(kind)
    register = register or ("%rd3" if DTYPES[kind].itemsize == 8 else "%r2")
    body = f"{opcode} {register}, {', '.join(map(bits, operands))};"
    if kind == "pred":
        kind, register, body = "u32", "%r2", f"{body} selp.u32 %r2, 1, 0, %p1;"
    out = GPU.empty(1, DTYPES[kind])
    (found,) = by_hand(f"{body} st.global.{kind} [%rd2], {register};", GPU.array(np.zeros(1)), out)
    if out.dtype.kind == "u":
        expected %= 2 ** (8 * out.dtype.itemsize)
    assert found == expected and np.signbit(found) == np.signbit(expected)


def test_halves_of_registers_and_vectors():
    given = GPU.array(np.arange(1.0, 3.0))
    body = """
    { .reg .b32 %half; mov.b64 {%half, %r2}, 0x0000000700000009; mov.b64 %rd3, {%r2, %half}; }
    ld.global.f64 %fd1, [%rd1+8];
    st.global.u64 [%rd2+8], %rd3;
    st.global.f64 [%rd2], %fd1;
    """
    found = by_hand(body, given, GPU.empty(2))
    assert found[0] == 2 and found[1:].view(np.int64) == 7 + (9 << 32)


# --- kernels with known results -------------------------------------------------------------------


def run(function, grid, threads, *arguments, shared=0, cooperative=False):
    """Compile a function as the package's kernels are and launch it as they are."""
    given = [a if isinstance(a, (int, Vector)) else NUMBA.vector(a) for a in arguments]
    launch(
        kernel(threads)(function), grid, threads, 0, *given, shared=shared, cooperative=cooperative
    )


def add_up(x, out):
    shared = cuda.shared.array(64, float64)
    t = cuda.threadIdx.x
    shared[t] = x[cuda.blockIdx.x * 64 + t]
    width = 32
    while width > 0:
        cuda.syncthreads()
        if t < width:
            shared[t] += shared[t + width]
        width //= 2
    if t == 0:
        out[cuda.blockIdx.x] = shared[0]


def of_a_warp(x, out):
    total = x[cuda.threadIdx.x]
    for k in (16, 8, 4, 2, 1):
        total += cuda.shfl_xor_sync(0xFFFFFFFF, total, k)
    out[cuda.threadIdx.x] = total


def collatz(x, out):
    t = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    n, steps = x[t], 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    out[t] = steps


def functions(x, out):
    t, n = cuda.threadIdx.x, cuda.blockDim.x
    v = float64(x[t])
    out[t], out[n + t], out[2 * n + t] = math.tanh(x[t]), math.exp(v), math.log1p(abs(v))
    out[3 * n + t], out[4 * n + t] = math.log(abs(v)), math.sqrt(abs(x[t]))


def backwards(x, out):
    shared = cuda.shared.array(0, float32, 16)
    t, n = cuda.threadIdx.x, cuda.blockDim.x
    shared[t] = x[t]
    cuda.syncthreads()
    out[t] = shared[n - 1 - t]


def round_about(data, arrived, rounds):
    """Every block reads what its neighbour wrote in the round before; they wait for all."""
    b, n, t = cuda.blockIdx.x, cuda.gridDim.x, cuda.threadIdx.x
    for r in range(rounds):
        data[((r + 1) * n + b) * 32 + t] = data[(r * n + (b + 1) % n) * 32 + t] + 1
        cuda.syncthreads()
        if t == 0:
            cuda.threadfence()
            cuda.atomic.add(arrived, 0, 1)
            while cuda.atomic.add(arrived, 0, 0) < (r + 1) * n:
                pass
            cuda.threadfence()
        cuda.syncthreads()


def counters():
    return GPU.array(np.zeros(32 * 3 * 5)), GPU.array(np.zeros(1, np.int32))


@pytest.mark.parametrize("seed", range(3))
def test_small_kernels(seed):
    GPU.clear(1000 * seed)
    rng = np.random.default_rng(seed)
    x, out = rng.normal(size=192), GPU.empty(3)
    run(add_up, 3, 64, GPU.array(x), out)
    np.testing.assert_allclose(to_host(out), x.reshape(3, 64).sum(1), rtol=1e-13)
    out = GPU.empty(64)
    run(of_a_warp, 1, 64, GPU.array(x[:64]), out)
    expected = np.repeat(x[:64].reshape(2, 32).sum(1), 32)
    np.testing.assert_allclose(to_host(out), expected, rtol=1e-13)
    out = GPU.empty(40, np.float32)
    run(backwards, 1, 40, GPU.array(x[:40].astype(np.float32)), out, shared=160)
    np.testing.assert_array_equal(to_host(out), x[39::-1].astype(np.float32))
    data, arrived = counters()
    run(round_about, 3, 32, data, arrived, 4, cooperative=True)
    np.testing.assert_array_equal(to_host(data), np.repeat(np.arange(5), 96))


def test_branches():
    out = GPU.empty(96, np.int64)
    run(collatz, 3, 32, GPU.array(np.arange(1, 97)), out)
    assert to_host(out)[26] == 111 and to_host(out)[95] == 12  # 27 and 96


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-15)])
def test_functions(dtype, tolerance):
    x = np.append([1e-9, 30.0, -30.0], np.random.default_rng(0).normal(size=61) * 3).astype(dtype)
    out = GPU.empty(5 * 64, dtype)
    run(functions, 1, 64, GPU.array(x), out)
    a = x.astype(np.float64)
    right = [np.tanh(a), np.exp(a), np.log1p(abs(a)), np.log(abs(a)), np.sqrt(abs(a))]
    np.testing.assert_allclose(to_host(out), np.ravel(right), rtol=tolerance, atol=tolerance / 10)


# --- faults ---------------------------------------------------------------------------------------


def no_barrier(x, out):
    shared = cuda.shared.array(64, float64)
    t = cuda.threadIdx.x
    shared[t] = x[t]
    out[t] = shared[63 - t]


def in_step_alone(x, out):
    """Right only where all threads of a warp do the same at the same time."""
    shared = cuda.shared.array(64, float64)
    t = cuda.threadIdx.x
    shared[t] = x[t]
    out[t] = cuda.shfl_xor_sync(0xFFFFFFFF, x[t], 1) + shared[t ^ 1]


def two_write(x, out):
    out[cuda.threadIdx.x // 2] = x[cuda.threadIdx.x]


def read_then_written(x, out):
    t = cuda.threadIdx.x
    value = x[63 - t]
    x[t] = value


def barrier_for_some(x, out):
    t = cuda.threadIdx.x
    if t < 32:
        cuda.syncthreads()
    out[t] = x[t]


def some_leave(x, out):
    t = cuda.threadIdx.x
    if t < 40:
        cuda.syncthreads()
        out[t] = x[t]


def shuffle_for_some(x, out):
    t = cuda.threadIdx.x
    if t % 2 == 0:
        out[t] = cuda.shfl_xor_sync(0xFFFFFFFF, x[t], 2)


def beyond_the_end(x, out):
    out[cuda.threadIdx.x + 1] = x[cuda.threadIdx.x]


def beyond_shared(x, out):
    shared = cuda.shared.array(63, float64)
    t = cuda.threadIdx.x
    shared[t] = x[t]
    cuda.syncthreads()
    out[t] = shared[t]


def unwritten_shared(x, out):
    shared = cuda.shared.array(64, float64)
    t = cuda.threadIdx.x
    if t > 0:
        shared[t] = x[t]
    cuda.syncthreads()
    out[t] = shared[t]


def unwritten_out(x, out):
    out[cuda.threadIdx.x] += x[cuda.threadIdx.x]


def runs_for_ever(x, out):
    t = cuda.threadIdx.x
    while x[t] == x[t]:
        out[t] = x[t]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (no_barrier, "race|unwritten"),
        (in_step_alone, "race|unwritten"),
        (two_write, "race"),
        (read_then_written, "race"),
        (barrier_for_some, "barrier"),
        (some_leave, "barrier"),
        (shuffle_for_some, "shuffle"),
        (beyond_the_end, "outside"),
        (beyond_shared, "outside"),
        (unwritten_shared, "unwritten"),
        (unwritten_out, "unwritten"),
        (runs_for_ever, "endless"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_faults_are_seen(function, kind, seed):
    GPU.clear(seed)
    GPU.limit = 1000
    with pytest.raises(Fault) as found:
        run(function, 1, 64, GPU.array(np.arange(64.0)), GPU.empty(64))
    assert found.value.kind in kind.split("|")
    assert function.__name__ in str(found.value) and "thread" in str(found.value)


def copied(x, out):
    out[cuda.threadIdx.x] = x[cuda.threadIdx.x]


def test_the_message_names_kernel_place_and_thread():
    x, out = GPU.array(np.arange(64.0)), GPU.empty(64)
    with pytest.raises(Fault) as found:
        run(copied, 2, 64, x, out)
    words = ("race: run_interpreter.copied", "grid (2, 1, 1) of 64 threads", "`st.global.f64 [",
             "thread 0 of block", "written by thread 0 of block")  # fmt: skip
    for word in words:
        assert word in str(found.value)


def test_a_part_of_an_array_is_all_that_is_given():
    """What lies beside it is allocated too, but not the launch's to touch."""
    x, out = GPU.array(np.arange(64.0)), GPU.empty(65)
    run(copied, 1, 64, x, out[1:])
    with pytest.raises(Fault, match="outside"):
        run(copied, 1, 64, x, out[2:])
    with pytest.raises(Fault, match="outside"):
        run(copied, 1, 64, x[:63], out[1:])


def test_a_lane_that_is_not_there():
    with pytest.raises(Fault, match=r"shuffle: .*lane 16 isn't there"):
        run(of_a_warp, 1, 16, GPU.array(np.arange(16.0)), GPU.empty(16))


@pytest.mark.parametrize("number", range(4))
def test_blocks_that_wait_need_barriers_and_fences(number):
    data, arrived = counters()
    run(round_about, 3, 32, data, arrived, 4, cooperative=True)
    assert len(GPU.ordering("run_interpreter.round_about")) == 4
    GPU.clear()
    data, arrived = counters()
    with GPU.without("run_interpreter.round_about", number), pytest.raises(Fault, match="race"):
        run(round_about, 3, 32, data, arrived, 4, cooperative=True)


def test_blocks_that_wait_for_ever():
    data, arrived = counters()
    GPU.limit = 1000
    arrived.copy_to_device(np.array([-1], np.int32))
    with pytest.raises(Fault, match=r"endless: .*atom\.global\.add|endless: .*bra"):
        run(round_about, 3, 32, data, arrived, 4, cooperative=True)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("ld.global.v2.f64 {%fd1, %fd2}, [%rd1];", "misaligned"),
        ("ld.global.f64 %fd1, [%rd1+4];", "misaligned"),
        ("ld.global.f64 %fd1, [%rd1+-8];", "outside"),
        ("ld.global.f64 %fd1, [8];", "outside"),
        ("ld.global.f64 %fd1, [%rd2];", "unwritten"),
        ("div.s64 %rd3, %rd1, 0;", "division"),
        ("add.s64 %rd4, %rd3, 1;", "register"),
        ("setp.lt.u32 %p1, %r1, 32; @%p1 bra L; bar.sync 0; bra.uni M; L: bar.sync 0; M:",
         "barrier"),
        ("shfl.sync.bfly.b32 %r2|%p1, %r1, 1, 31, 1;", "shuffle"),  # the mask is lane 0's
        ("atom.global.add.u32 %r2, [%rd1], 1; ld.global.u32 %r3, [%rd1];", "race"),
        ("ld.global.u32 %r3, [%rd1]; atom.global.add.u32 %r2, [%rd1], 1;", "race"),
    ],
)  # fmt: skip
def test_faults_by_hand(body, kind):
    with pytest.raises(Fault) as found:
        by_hand(body, GPU.array(np.zeros(2)), GPU.empty(2), threads=64)
    assert found.value.kind == kind, found.value


@pytest.mark.parametrize(
    "body",
    [
        "popc.b32 %r2, %r1;",
        "ld.volatile.global.f64 %fd1, [%rd1];",
        "ld.global.nc.f64 %fd1, [%rd1];",
        "setp.lt.u32 %p1, %r1, 32; @%p1 add.s32 %r1, %r1, 1;",
        ".local .align 8 .b8 depot[16];",
    ],
)
def test_what_is_not_known_is_refused(body):
    with pytest.raises(NotImplementedError, match="by hand"):
        by_hand(body, GPU.array(np.zeros(2)), GPU.empty(2))


def test_types_that_disagree_are_refused():
    with pytest.raises(AssertionError, match="%r1 as s64"):
        by_hand("add.s64 %rd3, %r1, 1;", GPU.array(np.zeros(2)), GPU.empty(2))
