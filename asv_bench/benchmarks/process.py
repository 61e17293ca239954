"""What only a fresh process shows: imports, first calls, memory."""

from __future__ import annotations

import tempfile

from .common import arrays, fresh, layer


class FirstCall:
    """The first forward and backward of a process, with an empty cache and with a warm one."""

    param_names = ("cache", "dtype")
    params = (["empty", "warm"], ["float32"])
    unit = "seconds"
    timeout = 300

    def setup(self, cache, dtype):
        """Make a cache directory; fill it where it is to be warm."""
        self.folder = tempfile.TemporaryDirectory()
        if cache == "warm":
            fresh("first", "numba_rnn", dtype, NUMBA_CACHE_DIR=self.folder.name)
        self.seconds = fresh("first", "numba_rnn", dtype, NUMBA_CACHE_DIR=self.folder.name)

    def teardown(self, cache, dtype):
        """Remove the cache."""
        self.folder.cleanup()

    def track_first_forward(self, cache, dtype):
        return self.seconds["forward"]

    def track_first_backward(self, cache, dtype):
        return self.seconds["backward"]


class Import:
    """What `import numba_rnn` takes on top of `import numba`, and what a first layer adds."""

    unit = "seconds"

    def setup(self):
        """Import in a fresh process."""
        self.seconds = fresh("first", "numba_rnn", "float32")

    def track_import(self):
        return self.seconds["import"]

    def track_first_layer(self):
        return self.seconds["layer"]


class Memory:
    """Memory of a training step and of inference."""

    param_names = ("size",)
    params = ([(50, 32, 16, 32), (400, 256, 64, 128)],)

    def setup(self, size):
        """Make the layer and its input."""
        self.rnn = layer(size)
        self.x, self.g = arrays(size)

    def peakmem_training_step(self, size):
        self.rnn.forward(self.x).backward(self.g)

    def peakmem_forward(self, size):
        self.rnn(self.x)

    def track_added_by_training_step(self, size):
        return fresh("memory", "numba_rnn", "training", "float32", *size)["added"]

    def track_added_by_forward(self, size):
        return fresh("memory", "numba_rnn", "inference", "float32", *size)["added"]


Memory.track_added_by_training_step.unit = "bytes"
Memory.track_added_by_forward.unit = "bytes"
