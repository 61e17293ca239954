"""Train on a GPU: batches go there, the rest of the loop never leaves it.

    pip install '.[cuda13]'        (or '.[cuda12]', for a driver of CUDA 12)
    python examples/train_on_gpu.py [--library numba|torch|cupy] [--quick]

The network reads random numbers and learns the sum of the last ten. Arrays may be Numba's, torch's
or CuPy's: the loop is the same, and what comes out is of the kind that went in.
"""

import argparse
import importlib
import sys

import numpy as np

import numba_rnn as nr


def copies(library):
    """Return two functions: copy to the GPU, into an array of the library, and back."""
    if library == "torch":
        torch = importlib.import_module("torch")
        return lambda a: torch.from_numpy(a).cuda(), lambda a: a.cpu().numpy()
    if library == "cupy":
        cupy = importlib.import_module("cupy")
        return cupy.asarray, cupy.asnumpy
    cuda = importlib.import_module("numba.cuda")
    return cuda.to_device, lambda a: a.copy_to_host()


def batches(rng, count, steps, size):
    """Yield inputs (L, N, 1) and what is to be learnt of them (N, 1)."""
    for _ in range(count):
        x = rng.standard_normal((steps, size, 1)).astype(np.float32)
        yield x, x[-10:].sum(axis=0)


def train(to_gpu, to_host, quick):
    """Train and return the losses of the first and of the last batch."""
    steps, size, hidden, count = (4, 2, 3, 3) if quick else (50, 64, 64, 500)
    rnn = nr.RNN(1, hidden, rng=0).to("cuda")
    readout = nr.Linear(hidden, 1, rng=1).to("cuda")
    # After the move: the optimiser holds the memory that the layers have now.
    optimizer = nr.optim.Adam([rnn.flat_parameters, readout.flat_parameters], lr=3e-3)
    values = []
    for x, y in batches(np.random.default_rng(0), count, steps, size):
        tape = rnn.forward(to_gpu(x))
        head = readout.forward(tape.h_n.reshape((size, hidden)))
        value, slope = nr.losses.mse(head.output, to_gpu(y))
        head_grads = head.backward(slope)
        grads = tape.backward(grad_h_n=head_grads.input.reshape((1, size, hidden)))
        nr.optim.clip_grad_norm([grads.flat, head_grads.flat], max_norm=1.0)
        optimizer.step([grads.flat, head_grads.flat])
        values.append(value)  # stays on the GPU: to look at it is to wait for it
    return tuple(float(to_host(value)) for value in (values[0], values[-1]))


def main(arguments=None):
    """Run the example; return 0, or 2 where something has to be installed first."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--library", choices=("numba", "torch", "cupy"), default="numba")
    parser.add_argument("--quick", action="store_true", help="a few tiny batches")
    chosen = parser.parse_args(arguments)
    try:
        nr.Linear(1, 1).to("cuda")  # raises what says best what is missing
        to_gpu, to_host = copies(chosen.library)
    except (ImportError, RuntimeError) as problem:
        print(f"This example needs a GPU and what goes with it. {problem}", file=sys.stderr)
        return 2
    first, last = train(to_gpu, to_host, chosen.quick)
    print(f"mean squared error of the first batch {first:.3f}, of the last {last:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
