"""Train a classifier, keep it as a file, export it to ONNX and run it in ONNX Runtime.

    python examples/export_onnx.py

The ONNX model has standardisation, network and readout in it, and takes padded series with their
lengths. The script compares what ONNX Runtime makes of it with `predict_proba`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

import numba_rnn as nr
from numba_rnn.estimators import RNNClassifier


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; the exit status is 1 if the two don't agree."""
    parser = argparse.ArgumentParser(description="Export a classifier to ONNX.")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the utterances (20)")
    parser.add_argument("--output", type=Path, default="speakers.onnx", help="the ONNX model")
    args = parser.parse_args(argv)

    X_train, y_train, X_test, y_test = nr.datasets.load_japanese_vowels()
    model = RNNClassifier(
        hidden_size=32,
        bidirectional=True,
        pooling="mean",
        batch_size=32,
        max_iter=args.epochs,
        n_iter_no_change=float("inf"),
        random_state=0,
    ).fit(X_train, y_train)

    ours = args.output.with_suffix(".safetensors")
    nr.save(model, ours)  # to be read here again, with nr.load
    nr.to_onnx(model, args.output, lengths=True)  # to be run elsewhere
    for path in (ours, args.output):
        print(f"{path}: {path.stat().st_size} bytes")

    # From here on, ONNX Runtime and NumPy are all that is needed.
    lengths = np.array([len(x) for x in X_test], np.int32)
    x = np.zeros((len(X_test), lengths.max(), 12))  # (N, L, F), double whatever the network is
    for padded, series in zip(x, X_test, strict=True):
        padded[: len(series)] = series
    session = onnxruntime.InferenceSession(args.output, providers=["CPUExecutionProvider"])
    label, probabilities = session.run(["label", "probabilities"], {"x": x, "lengths": lengths})

    again = nr.load(ours)
    difference = float(np.abs(probabilities - again.predict_proba(X_test)).max())
    print(f"test accuracy in ONNX Runtime: {np.mean(label == y_test):.3f}")
    print(f"largest difference between the probabilities: {difference:.1e}")
    return int(difference > 1e-5)


if __name__ == "__main__":
    raise SystemExit(main())
