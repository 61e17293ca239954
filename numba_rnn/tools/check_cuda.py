"""Check the CUDA backend on this machine: ``python -m numba_rnn.cuda.check``.

First parity, on the arrays of every library that is installed: forward and backward passes, with
every kernel, beside the textbook in `numba_rnn.reference`, and training loops with every loss and
optimiser beside the CPU. Then, where torch is installed with CUDA, times beside torch.nn.RNN
(cuDNN), as CUDA events measure them.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import dispatch, losses, optim, reference
from ..cell import RNNCell
from ..cuda import toolkit
from ..linear import Linear
from ..packed import pack_padded_sequence
from ..rnn import RNN

TOLERANCE = {"float32": 5e-5, "float64": 1e-11}


# --- parity ---------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A call to compare with the textbook."""

    kind: str  # padded, lengths or packed
    L: int
    N: int
    I: int
    H: int
    dtype: str = "float32"
    num_layers: int = 1
    bidirectional: bool = False
    nonlinearity: str = "tanh"
    bias: bool = True
    batch_first: bool = False
    walk: str | None = None  # kernels to use in place of the chosen ones

    def __str__(self) -> str:
        sizes = f"L={self.L} N={self.N} I={self.I} H={self.H}"
        words = [self.kind, sizes, self.dtype, f"{self.num_layers} layers", self.nonlinearity]
        words += [word for word in ("bidirectional", "batch_first") if getattr(self, word)]
        words += [] if self.walk is None else [f"{self.walk} kernels"]
        return ", ".join(words if self.bias else [*words, "no bias"])


# Sizes on both sides of the changes of kernels, some that fit nothing, and at the end kernels that
# no other case would choose on a large GPU.
CASES = (
    Case("padded", 37, 5, 3, 1, "float64"),
    Case("lengths", 50, 9, 7, 31, "float64", 2, True),
    Case("padded", 64, 32, 64, 64, "float32", 2, True),
    Case("packed", 40, 17, 20, 100, "float32", 2, True, "relu"),
    Case("lengths", 100, 33, 40, 128, "float32", 1, True, "tanh", False),
    Case("lengths", 60, 8, 16, 128, "float64", 2, False, "tanh", True, True),
    Case("padded", 30, 70, 50, 192),
    Case("padded", 64, 16, 24, 256, "float32", 2, True, "tanh", True, True),
    Case("lengths", 64, 16, 24, 257, "float32", 1, True),
    Case("packed", 40, 12, 32, 384, "float64", 1, True),
    Case("lengths", 50, 40, 64, 512, "float32", 2, True),
    Case("padded", 33, 10, 30, 1000, "float32", 1, True, "relu"),
    Case("lengths", 20, 6, 16, 2048),
    Case("padded", 12, 4, 8, 2300, "float32", 1, True),
    Case("padded", 30, 1, 16, 400),
    Case("lengths", 30, 23, 16, 257),
    Case("padded", 40, 300, 16, 128),
    Case("lengths", 40, 300, 16, 256, "float32", 1, True),
    Case("lengths", 30, 7, 20, 96, "float32", 1, True, walk="steps"),
    Case("packed", 20, 6, 12, 80, "float64", 2, walk="steps"),
    Case("lengths", 25, 9, 8, 130, "float32", 2, True, walk="generic"),
    Case("padded", 25, 9, 8, 60, "float64", walk="generic"),
)
QUICK = (
    Case("padded", 3, 2, 2, 3, "float32", 2),
    Case("lengths", 3, 3, 2, 3, "float64", 1, True),
    Case("packed", 3, 2, 2, 3, "float64", 1, False, "relu", False),
)


def error(case: Case, to_gpu: Callable, to_host: Callable) -> float:
    """The largest error of a case, of output, h_n and all gradients.

    Parameters
    ----------
    case : Case
    to_gpu, to_host : callable
        Copy an array to the GPU, into the kind that is to be tested, and back.

    Returns
    -------
    float
        max|a - b| / max(1, max|b|), NaN where a number is.
    """
    rng = np.random.default_rng(0)
    options = {"nonlinearity": case.nonlinearity, "bidirectional": case.bidirectional}
    rnn = RNN(
        case.I, case.H, case.num_layers, bias=case.bias, batch_first=case.batch_first,
        dtype=case.dtype, rng=0, **options,
    )  # fmt: skip
    options["num_layers"] = case.num_layers
    D = 1 + case.bidirectional
    lengths = np.full(case.N, case.L)
    if case.kind != "padded":
        lengths = rng.integers(case.kind == "packed", case.L + 1, case.N)
        lengths[rng.integers(case.N)] = case.L
    real = (np.arange(case.L)[:, None] < lengths)[..., None]

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(case.dtype)

    x, g = (normal(case.L, case.N, features) * real for features in (case.I, D * case.H))
    h_0, g_n = (normal(case.num_layers * D, case.N, case.H) for _ in range(2))
    wide = [a.astype(np.float64) for a in (g, g_n, x, h_0)]
    parameters = {name: p.astype(np.float64) for name, p in rnn.state_dict().items()}
    options["lengths"] = lengths
    output, h_n, _ = reference.rnn_forward(*wide[2:], parameters, **options)
    answer = reference.rnn_backward(*wide, parameters, **options)

    def there(array: np.ndarray) -> Any:
        """In the layout that the case asks for."""
        if case.kind == "packed":
            packed = pack_padded_sequence(array, lengths, enforce_sorted=False)
            return packed._replace(data=to_gpu(packed.data))
        return to_gpu(np.ascontiguousarray(array.swapaxes(0, 1)) if case.batch_first else array)

    def rows(array: Any) -> np.ndarray:
        """All real steps, one after the other."""
        if case.kind == "packed":
            return to_host(array.data)
        host = to_host(array)
        return (host.swapaxes(0, 1) if case.batch_first else host)[real[..., 0]]

    def packed_rows(array: np.ndarray) -> np.ndarray:
        if case.kind == "packed":
            return pack_padded_sequence(array, lengths, enforce_sorted=False).data
        return array[real[..., 0]]

    rnn.to("cuda")
    backend = dispatch.backend(to_gpu(h_0))
    backend.walk, usual = case.walk, backend.walk
    try:
        own = lengths if case.kind == "lengths" else None
        tape = rnn.forward(there(x), to_gpu(h_0), lengths=own)
        grads = tape.backward(there(g), to_gpu(g_n))
    finally:
        backend.walk = usual
    pairs = [
        (rows(tape.output), packed_rows(output)),
        (to_host(tape.h_n), h_n),
        (rows(grads.input), packed_rows(answer["input"])),
        (to_host(grads.h_0), answer["h_0"]),
    ]
    pairs += [(to_host(p), answer["parameters"][name]) for name, p in grads.parameters.items()]
    return max(
        float(np.max(np.abs(a - b), initial=0) / np.max(np.abs(b), initial=1)) for a, b in pairs
    )


LOSSES = ("mse", "mae", "huber", "binary_cross_entropy", "cross_entropy")
OPTIMIZERS = ("SGD", "RMSprop", "Adam", "AdamW")


def trained(loss: str, optimizer: str, device: str, move: Callable) -> list[Any]:
    """What two steps of training leave behind: values, norms, gradients of states, parameters.

    Dropout is on, its masks being the same everywhere; a cell and a single sequence take part.
    """
    L, N, H = (2, 2, 2) if toolkit.SIMULATOR else (7, 5, 20)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((L, N, 3)).astype(np.float32)
    y = rng.random((L, N, 4)).astype(np.float32)
    target = move(rng.integers(4, size=(L, N)) if loss == "cross_entropy" else y)
    rnn = RNN(3, H, 2, dropout=0.4, bidirectional=True, rng=0).to(device)
    readout, cell = Linear(2 * H, 4, rng=1).to(device), RNNCell(3, H, rng=2).to(device)
    layers = (rnn, readout, cell)
    step = getattr(optim, optimizer)([layer.flat_parameters for layer in layers], lr=1e-2)
    left = []
    for _ in range(2):
        tape = rnn.forward(move(x), lengths=[L, *range(N - 1)])
        head, one = readout.forward(tape.output), cell.forward(move(x[0]))
        value, slope = getattr(losses, loss)(head.output, target)
        head_grads, cell_grads = head.backward(slope), one.backward(one.h)
        grads = tape.backward(head_grads.input, state_gradients=True)
        gradients = [grads.flat, head_grads.flat, cell_grads.flat]
        left += [value, optim.clip_grad_norm(gradients, 0.5), grads.states]
        step.step(gradients)
    alone = rnn.eval()(move(x[0]))
    return [*left, *alone, *(layer.flat_parameters for layer in layers)]


def training_error(
    loss: str, optimizer: str, to_gpu: Callable, to_host: Callable, to_host_from_numba: Callable
) -> float:
    """The largest difference of a training on the GPU from one on the CPU, as in `error`."""
    there = trained(loss, optimizer, "cuda", to_gpu)
    found = [*map(to_host, there[:-3]), *map(to_host_from_numba, there[-3:])]
    here = map(np.asarray, trained(loss, optimizer, "cpu", lambda array: array))
    return max(
        float(np.max(np.abs(a - b), initial=0) / np.max(np.abs(b), initial=1))
        for a, b in zip(found, here, strict=True)
    )


def kinds() -> dict[str, tuple[Callable, Callable]]:
    """How to copy to the GPU and back, for every library that is installed and sees the GPU."""
    found = {"Numba": (toolkit.cuda.to_device, lambda a: a.copy_to_host())}
    if toolkit.SIMULATOR:
        return found
    if (torch := _module("torch")) is not None and torch.cuda.is_available():
        found["torch"] = (lambda a: torch.from_numpy(a).cuda(), lambda a: a.cpu().numpy())
    if (cupy := _module("cupy")) is not None:
        found["CuPy"] = (cupy.asarray, cupy.asnumpy)
    return found


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def parity(cases: Iterable[Case], copies: dict[str, tuple[Callable, Callable]]) -> bool:
    """Run every case on every kind of array, print the errors, and say whether all are small."""
    return all(
        [
            _verdict(error(case, *pair), case.dtype, f"{name:<6} {case}")
            for case in cases
            for name, pair in copies.items()
        ]
    )


def training_parity(
    pairs: Iterable[tuple[str, str]], copies: dict[str, tuple[Callable, Callable]]
) -> bool:
    """Train with every pair of loss and optimiser, on every kind of array; the rest as `parity`."""
    from_numba = kinds()["Numba"][1]
    return all(
        [
            _verdict(training_error(*pair, *copy, from_numba), "float32", f"{name:<6} {pair}")
            for pair in pairs
            for name, copy in copies.items()
        ]
    )


def _verdict(found: float, dtype: str, what: str) -> bool:
    fine = found <= TOLERANCE[dtype]  # False for NaN
    print(f"{'ok' if fine else 'WRONG':<6}{found:8.1e}  {what}", flush=True)
    return fine


# --- times ----------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """What is timed."""

    T: int
    B: int
    I: int
    H: int
    num_layers: int = 1
    bidirectional: bool = False
    lengths: bool = False  # uniform in T/4..T

    def __str__(self) -> str:
        words = [f"{self.T} × {self.B} × {self.I}, H {self.H}"]
        if self.num_layers > 1:
            words.append(f"{self.num_layers} layers")
        if self.bidirectional:
            words.append("bidirectional")
        return ", ".join([*words, "lengths"] if self.lengths else words)


CELLS = (
    Cell(512, 1, 128, 128),
    Cell(512, 32, 64, 64),
    Cell(512, 64, 128, 128),
    Cell(512, 128, 256, 256),
    Cell(512, 64, 256, 320),
    Cell(512, 16, 512, 512),
    Cell(256, 64, 1024, 1024),
    Cell(1406, 34, 120, 120),
    Cell(4600, 16, 24, 264),
    Cell(512, 64, 256, 256, 2, True),
    Cell(512, 64, 128, 128, lengths=True),
    Cell(512, 64, 512, 512, lengths=True),
)


class Times(NamedTuple):
    """Milliseconds of a call, forward alone and with backward."""

    ours: tuple[float, float]
    theirs: tuple[float, float]


def milliseconds(torch: Any, call: Callable[[], Any], repeats: int) -> float:
    """The median time of a call, between two CUDA events."""
    for _ in range(3):
        call()
    found = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end))
    return statistics.median(found)


def measure(torch: Any, cell: Cell, tf32: bool, repeats: int) -> Times:
    """Time a cell, ours on torch's tensors, so that both have cuBLAS for the large products."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    options = {"num_layers": cell.num_layers, "bidirectional": cell.bidirectional}
    ours = RNN(cell.I, cell.H, rng=0, **options).eval().to("cuda")
    theirs = torch.nn.RNN(cell.I, cell.H, **options).eval().cuda()
    state = {name: torch.from_numpy(p) for name, p in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x = torch.randn((cell.T, cell.B, cell.I), device="cuda")
    rng, lengths, given = np.random.default_rng(0), None, x.clone().requires_grad_()
    leaf = given
    if cell.lengths:
        lengths = rng.integers(cell.T // 4, cell.T + 1, cell.B)
        lengths[0] = cell.T
        pack = torch.nn.utils.rnn.pack_padded_sequence  # outside of what is timed
        given = pack(given, torch.from_numpy(lengths), enforce_sorted=False)
        leaf = given.data.detach().requires_grad_()
        given = torch.nn.utils.rnn.PackedSequence(leaf, *given[1:])
    output, _ = theirs(given)
    grad = torch.randn_like(output.data if cell.lengths else output)
    own_grad = torch.randn((cell.T, cell.B, (1 + cell.bidirectional) * cell.H), device="cuda")
    variables = [leaf, *theirs.parameters()]

    def forward() -> None:
        with torch.no_grad():
            theirs(given)

    def both() -> None:
        output, _ = theirs(given)
        torch.autograd.grad(output.data if cell.lengths else output, variables, grad)

    def own_both() -> None:
        ours.forward(x, lengths=lengths).backward(own_grad)

    own = (
        milliseconds(torch, lambda: ours(x, lengths=lengths), repeats),
        milliseconds(torch, own_both, repeats),
    )
    alone = milliseconds(torch, forward, repeats)
    theirs.train()  # without which cuDNN keeps nothing for backward
    return Times(own, (alone, milliseconds(torch, both, repeats)))


def table(rows: Sequence[tuple[Cell, Times, Times]]) -> str:
    """The times as a table: TF32 off, then on; and the speed beside cuDNN.

    Examples
    --------
    >>> times = Times(ours=(1.0, 3.0), theirs=(2.0, 3.0))
    >>> print(table([(Cell(512, 1, 128, 128), times, times)]))
    | T × B × I | ours | cuDNN | × | ours + backward | cuDNN | × | TF32: × | × with backward |
    |---|---|---|---|---|---|---|---|---|
    | 512 × 1 × 128, H 128 | 1.000 | 2.000 | 2.00 | 3.000 | 3.000 | 1.00 | 2.00 | 1.00 |
    <BLANKLINE>
    Milliseconds. Times as fast as cuDNN with TF32 off: forward at least 2.00, 2.00 in the mean;
    with backward at least 1.00, 1.00 in the mean.
    """
    head = "T × B × I | ours | cuDNN | × | ours + backward | cuDNN | × | TF32: × | × with backward"
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    for cell, off, on in rows:
        entries = [str(cell)]
        for k in range(2):
            entries += [f"{off.ours[k]:.3f}", f"{off.theirs[k]:.3f}", f"{speed(off, k):.2f}"]
        entries += [f"{speed(on, k):.2f}" for k in range(2)]
        lines.append(f"| {' | '.join(entries)} |")
    said = []
    for k, what in enumerate(("forward", "with backward")):
        speeds = [speed(off, k) for _, off, _ in rows]
        mean = math.exp(statistics.fmean(map(math.log, speeds)))
        said.append(f"{what} at least {min(speeds):.2f}, {mean:.2f} in the mean")
    lines += ["", f"Milliseconds. Times as fast as cuDNN with TF32 off: {said[0]};", f"{said[1]}."]
    return "\n".join(lines)


def speed(times: Times, k: int) -> float:
    """How many times as fast as theirs ours is."""
    return times.theirs[k] / times.ours[k]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; return 0 if all went well, 1 after a wrong result, 2 without a GPU."""
    parser = argparse.ArgumentParser(
        prog="python -m numba_rnn.cuda.check", description="Check the CUDA backend of numba_rnn."
    )
    parser.add_argument("--only", choices=("parity", "times"), help="one of the two parts alone")
    parser.add_argument("--quick", action="store_true", help="a few tiny cases, and no times")
    parser.add_argument("--repeats", type=int, default=30, help="of each timed call (30)")
    chosen = parser.parse_args(arguments)
    if chosen.repeats < 1:
        parser.error("--repeats must be at least 1")
    try:
        toolkit.require()
    except RuntimeError as problem:
        print(f"No GPU to check: {problem}", file=sys.stderr)
        return 2
    if chosen.only != "times":
        pairs = [(loss, OPTIMIZERS[k % 4]) for k, loss in enumerate(LOSSES)]
        right = parity(QUICK if chosen.quick else CASES, kinds())
        if not (training_parity(pairs[:1] if chosen.quick else pairs, kinds()) and right):
            return 1
    if chosen.only == "parity" or chosen.quick:
        return 0
    torch = None if toolkit.SIMULATOR else _module("torch")
    if torch is None or not torch.cuda.is_available():
        print("No times: they are taken beside torch, which is not here, or sees no GPU.")
        return 0
    print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}, ", end="")
    print(f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}\n", flush=True)
    rows = []
    for cell in CELLS:
        rows.append((cell, *(measure(torch, cell, tf32, chosen.repeats) for tf32 in (False, True))))
        print(f"timed {cell}", file=sys.stderr, flush=True)
    print(table(rows))
    return 0
