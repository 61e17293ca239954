"""What happens inside a recurrent network, as arrays: gradients, Jacobians, checks, landscapes.

    flow.py       the gradient of every state in its two parts, and step by step
    jacobians.py  one step's derivative, products of many, Lyapunov exponents
    online.py     real-time recurrent learning; what truncation changes
    numeric.py    backward beside finite differences
    landscape.py  fixed points of one unit, folds, the loss along directions
    learner.py    a learner's own backward, checked step by step
    cuts.py       the mistakes that it is compared with
    layouts.py    backwards that are written as in well-known courses
    by_hand.py    the kernels in plain Python
    pictures.py   drawings of these arrays, which `numba_rnn.plotting` has too

Functions take the tape of a forward pass, or a layer and its input, on the CPU. Nothing here needs
Numba to be imported. Symbols: S = num_layers·D states, in the order of h_n (layer by layer, forward
before reverse), L steps, N samples (1 where x was unbatched), I inputs, H hidden units. Arrays are
time-major, whatever x was, with the samples of packed input in the order of the caller's batch; and
zero beyond a length.
"""

from .by_hand import interpret, row_table
from .cuts import mistakes
from .flow import contributions, gradient_by_step, gradient_flow
from .jacobians import jacobian_spectrum, lyapunov_exponents, step_jacobians
from .landscape import bifurcation, fixed_points, loss_surface
from .layouts import from_cs231n, from_deeplearning_ai, from_min_char_rnn
from .learner import check_backward
from .numeric import gradcheck
from .online import rtrl, truncation_bias

__all__ = [
    "bifurcation",
    "check_backward",
    "contributions",
    "fixed_points",
    "from_cs231n",
    "from_deeplearning_ai",
    "from_min_char_rnn",
    "gradcheck",
    "gradient_by_step",
    "gradient_flow",
    "interpret",
    "jacobian_spectrum",
    "loss_surface",
    "lyapunov_exponents",
    "mistakes",
    "row_table",
    "rtrl",
    "step_jacobians",
    "truncation_bias",
]
