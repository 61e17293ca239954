"""Play with backpropagation through time: sliders, and pictures that follow them.

    pip install '.[explore]' && marimo run examples/bptt_explorer.py

Hidden size, spectral radius, gain of the input, steps, nonlinearity, initialisation and truncation
can be moved; gradient norms, singular values, states and a training curve are drawn anew. Cells are
functions of what they read, so that marimo knows which to run again.
"""

import marimo

app = marimo.App(width="medium", app_title="BPTT explorer")


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import numpy as np

    import numba_rnn as nr
    from numba_rnn import analysis

    return analysis, mo, np, nr, plt


@app.cell
def _(mo):
    hidden_size = mo.ui.slider(2, 64, value=16, label="hidden size H")
    radius = mo.ui.slider(0.1, 2.0, step=0.05, value=1.0, label="spectral radius of W_hh")
    gain = mo.ui.slider(0.0, 3.0, step=0.1, value=0.5, label="gain of W_ih")
    steps = mo.ui.slider(10, 100, value=50, label="steps L")
    truncation = mo.ui.slider(1, 100, value=100, label="truncation k")
    nonlinearity = mo.ui.dropdown(["tanh", "relu"], value="tanh", label="nonlinearity")
    start = mo.ui.dropdown(
        ["uniform", "orthogonal", "identity", "sparse"], value="uniform", label="initialisation"
    )
    mo.vstack([
        mo.md("# What happens to a gradient on its way back?"),
        mo.hstack(
            [mo.vstack([hidden_size, radius, gain]), mo.vstack([steps, truncation]),
             mo.vstack([nonlinearity, start])],
            justify="start", gap=2,
        ),
    ])  # fmt: skip
    return gain, hidden_size, nonlinearity, radius, start, steps, truncation


@app.cell
def _(np, nr):
    def made(hidden_size, radius, gain, nonlinearity, start):
        """Return a layer of two inputs with this W_hh and W_ih; random numbers of seed 0."""
        rnn = nr.RNN(2, hidden_size, nonlinearity=nonlinearity, dtype=np.float64, rng=0)
        if start == "identity":
            nr.init.identity_(rnn)
        elif start != "uniform":
            getattr(nr.init, start + "_")(rnn, rng=0)
        w_hh = rnn.parameters["weight_hh_l0"]
        largest = np.abs(np.linalg.eigvals(w_hh)).max()
        w_hh *= radius / largest if largest else 1.0
        rnn.parameters["weight_ih_l0"] *= gain * np.sqrt(hidden_size)
        return rnn

    def adding(steps, samples, rng):
        """Return x (L, N, 2), numbers and marks, and what to answer: the sum of the two marked."""
        numbers, marks = rng.random((steps, samples)), np.zeros((steps, samples))
        half = steps // 2
        every = np.arange(samples)
        marks[rng.integers(0, half, samples), every] = 1
        marks[rng.integers(half, steps, samples), every] = 1
        return np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=0)[:, None]

    def trained(rnn, steps, truncation, updates=120, samples=32):
        """Train a copy of the layer on the adding problem; return its losses."""
        rng = np.random.default_rng(0)
        own = nr.RNN(2, rnn.hidden_size, nonlinearity=rnn.nonlinearity, dtype=np.float64)
        own.load_state_dict(rnn.state_dict())
        readout = nr.Linear(rnn.hidden_size, 1, dtype=np.float64, rng=0)
        adam = nr.optim.Adam([own.flat_parameters, readout.flat_parameters], lr=5e-3)
        losses = []
        for _ in range(updates):
            x, target = adding(steps, samples, rng)
            tape = own.forward(x)
            head = readout.forward(tape.h_n[-1])
            loss, slope = nr.losses.mse(head.output, target)
            head_grads = head.backward(slope)
            grads = tape.backward(grad_h_n=head_grads.input[None], truncation=truncation)
            both = [grads.flat, head_grads.flat]
            nr.optim.clip_grad_norm(both, 1.0)
            adam.step(both)
            losses.append(loss)
        return losses

    return adding, made, trained


@app.cell
def _(adding, analysis, gain, hidden_size, made, nonlinearity, np, radius, start, steps):
    rnn = made(hidden_size.value, radius.value, gain.value, nonlinearity.value, start.value)
    tape = rnn.forward(adding(steps.value, 8, np.random.default_rng(0))[0])
    flow = analysis.gradient_flow(tape, grad_h_n=np.ones_like(tape.h_n))
    lags = np.unique(np.linspace(1, steps.value, 12).astype(int))
    spectrum = analysis.jacobian_spectrum(tape, lags)
    return flow, lags, rnn, spectrum, tape


@app.cell
def _(flow, lags, np, plt, rnn, spectrum, steps, tape, trained, truncation):
    k = min(truncation.value, steps.value)
    losses = trained(rnn, steps.value, k)
    fig, axes = plt.subplots(2, 2, figsize=(10, 6))

    norms = flow.norms()[0].mean(axis=1)
    axes[0, 0].semilogy(np.maximum(norms, 1e-300), color="tab:blue")
    if k < steps.value:
        axes[0, 0].axvspan(0, steps.value - 1 - k, color="0.85", label="cut off by truncation")
        axes[0, 0].legend(loc="upper left")
    axes[0, 0].set(title="gradient of each state", xlabel="step t", ylabel="|dL/dh_t|")

    values = np.maximum(spectrum.values[:, 0], 1e-300)
    axes[0, 1].semilogy(lags, values[:, 0], color="tab:red", label="largest")
    axes[0, 1].semilogy(lags, np.median(values, axis=1), "--", color="tab:blue", label="median")
    axes[0, 1].set(title="singular values of dh_t / dh_(t-k)", xlabel="steps back k")
    axes[0, 1].legend()

    image = axes[1, 0].imshow(
        tape.output[:, 0].T, aspect="auto", cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest"
    )
    axes[1, 0].set(title="states of one sample", xlabel="step t", ylabel="unit")
    fig.colorbar(image, ax=axes[1, 0])

    axes[1, 1].plot(losses, color="tab:blue")
    axes[1, 1].axhline(1 / 6, color="0.5", linestyle=":", label="always answering 1")
    axes[1, 1].set(title="learning to add two numbers", xlabel="update", ylabel="loss")
    axes[1, 1].set_ylim(0, 0.5)
    axes[1, 1].legend()
    fig.tight_layout()
    fig  # noqa: B018, what a cell shows is its last line
    return


if __name__ == "__main__":
    app.run()
