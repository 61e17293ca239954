"""Models for other programs, and back.

    files.py          safetensors: `numba_rnn.save` and `numba_rnn.load`
    onnx.py           `numba_rnn.to_onnx`
    graph.py          the graphs that it writes
    torch.py          `numba_rnn.from_torch` and `numba_rnn.to_torch`
    configuration.py  a layer as its configuration and its parameters, apart
    models.py         the classes that a file can hold, by name

The packages that these write for are imported when they are used.
"""
