"""The kernels' own source in plain Python, in a process that has them compiled too."""

import sys
import threading

import numba
import numpy as np
import pytest
from helpers import example, gradients

import numba_rnn as nr
from numba_rnn import analysis
from numba_rnn.cpu import native


def answers(tape):
    output = tape.output.data if isinstance(tape.output, nr.PackedSequence) else tape.output
    grads = tape.backward(output, tape.h_n, state_gradients=True)
    found = gradients(grads) | {"output": output, "h_n": tape.h_n}
    if isinstance(tape.output, nr.PackedSequence):
        found["input"] = grads.input.data
    return found | found.pop("parameters")


@pytest.mark.parametrize("kind", ["padded", "lengths", "packed", "unbatched"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bidirectional": True, "num_layers": 2, "nonlinearity": "relu", "batch_first": True},
        {"bidirectional": True, "num_layers": 2, "dropout": 0.4, "bias": False},
    ],
)
def test_same_as_compiled(kind, options):
    layers = [nr.RNN(3, 5, dtype=np.float64, rng=0, **options) for _ in range(2)]
    x, h_0, lengths = example(layers[0], kind, 5, 3)
    if kind == "lengths":
        lengths[1] = 0
    ours = answers(analysis.interpret(layers[0], x, h_0, lengths=lengths))
    theirs = answers(layers[1].forward(x, h_0, lengths=lengths))
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-13, atol=5e-15, err_msg=name)


@pytest.mark.parametrize("N", [1, 3])
def test_a_debugger_meets_the_source(N):
    """Also of one sample, which compiled has kernels of its own."""
    seen = set()

    def trace(frame, event, argument):
        seen.add((frame.f_code.co_filename.replace("\\", "/"), frame.f_code.co_name))

    rnn, x = nr.RNN(2, 3, rng=0), np.ones((4, N, 2), np.float32)
    analysis.interpret(rnn, x)  # loads
    sys.setprofile(trace)
    tape = analysis.interpret(rnn, x)
    tape.backward(tape.output)
    sys.setprofile(None)
    files = {name for path, name in seen if path.endswith("numba_rnn/cpu/recurrence.py")}
    assert {"rnn_forward", "forward_steps", "forward_step", "rnn_backward", "backward_steps",
            "backward_step", "input_gradients", "parameter_gradients"} <= files  # fmt: skip
    assert {name for path, name in seen if path.endswith("cpu/plain.py")} >= {"delta_band"}


def test_the_compiled_kernels_stay_compiled():
    rnn, x = nr.RNN(2, 3, rng=0), np.ones((4, 3, 2), np.float32)
    by_hand = analysis.interpret(rnn, x)
    assert not numba.config.DISABLE_JIT and not native.PLAIN
    assert by_hand._pass.backend is not rnn.forward(x)._pass.backend
    assert sys.modules["numba_rnn.cpu_by_hand.native"].PLAIN
    assert (
        sys.modules["numba_rnn.cpu_by_hand.tables"].FEW
        == 0
        < sys.modules["numba_rnn.cpu.tables"].FEW
    )

    @numba.njit
    def one():
        return 1

    assert one() == 1 and one.signatures


def test_threads_that_ask_at_once_get_the_same_kernels():
    rnn, x, found = nr.RNN(2, 3, rng=0), np.ones((2, 2, 2), np.float32), []
    threads = [
        threading.Thread(target=lambda: found.append(analysis.interpret(rnn, x)._pass.backend))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(map(id, found))) == 1


def test_bad_input_is_refused_as_by_the_layer():
    rnn = nr.RNN(2, 3)
    with pytest.raises(ValueError, match="x must have shape"):
        analysis.interpret(rnn, np.zeros((4, 3, 5), np.float32))
    with pytest.raises(TypeError, match="rnn must be an RNN, got RNNCell"):
        analysis.interpret(nr.RNNCell(2, 3), np.zeros((4, 3, 2), np.float32))


@pytest.mark.parametrize("kind", ["padded", "batch first", "packed"])
def test_rows_of_a_batch(kind):
    """Row by row, each value of x is found where the table says."""
    rnn = nr.RNN(1, 1, batch_first=kind == "batch first")
    lengths = [2, 5, 3]
    x = np.arange(15, dtype=np.float32).reshape(5, 3, 1)  # step t of sample n: 3 t + n
    given = {
        "padded": x,
        "batch first": np.ascontiguousarray(x.swapaxes(0, 1)),
        "packed": nr.pack_padded_sequence(x, lengths, enforce_sorted=False),
    }[kind]
    tape = rnn.forward(given, lengths=None if kind == "packed" else lengths)
    table, rows = analysis.row_table(tape), tape._pass.x
    assert table.order.tolist() == [1, 2, 0] and table.lengths.tolist() == [5, 3, 2]
    for t in range(5):
        for i, n in enumerate(table.order):
            if t < lengths[n]:
                assert rows[table.rows[t, i], 0] == 3 * t + n
                assert table.rows[t, i] == table.step_row[t] + table.batch_row[i]
            else:
                assert table.rows[t, i] == -1
