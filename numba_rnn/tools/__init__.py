"""What helps around the work itself.

    warmup.py      `numba_rnn.warmup`: compile ahead of the first call
    versions.py    `numba_rnn.show_versions`: what a bug report needs
    check_cuda.py  ``python -m numba_rnn.cuda.check``: parity and times on a GPU

Nothing else in the package imports these.
"""
