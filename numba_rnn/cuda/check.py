"""``python -m numba_rnn.cuda.check``: the check itself is `numba_rnn.tools.check_cuda`."""

from ..tools.check_cuda import *  # noqa: F403
from ..tools.check_cuda import main

if __name__ == "__main__":
    raise SystemExit(main())
