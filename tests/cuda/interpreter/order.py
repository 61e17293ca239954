"""What comes before what: barriers of a block, and fences around atomics between blocks.

A block's barriers divide its time into epochs: what its threads did in an earlier one came before.
Between blocks nothing does, but where they run together (a cooperative launch): there a thread
knows, of each block, the epoch before which all is done. It passes on what it and its block have
done with a fence and then an atomic; another thread that sees this atomic by one at the same
address, and then has a fence of its own, knows; and at the next barrier so does its block.
"""

import numpy as np


class Order:
    """The order of a launch.

    Parameters
    ----------
    blocks : int
    lanes : int
        Threads of a block, whole warps.
    together : bool
        Whether blocks run together.
    """

    def __init__(self, blocks, lanes, together):
        self.lanes, self.together = lanes, together
        self.blocks = np.repeat(np.arange(blocks), lanes)  # of each thread
        self.epochs = np.ones(blocks, np.int32)
        self.slots = blocks if together else 1  # for readers: one a block where that matters
        shape = (blocks * lanes, blocks if together else 0)
        # Of each thread: what it knows, what it saw and will know after a fence, what it passes on.
        self._known, self._seen, self._passed = (np.zeros(shape, np.int32) for _ in range(3))
        self._left = {}  # at an address, by those whose atomics came there

    def epochs_of(self, threads):
        """The epochs that threads are in."""
        return self.epochs[self.blocks[threads]]

    def slot(self, threads):
        """Where in the memory of readers these threads are."""
        return self.blocks[threads] if self.slots > 1 else 0

    def before(self, blocks, epochs, threads):
        """Whether what a block did in an epoch came before what a thread does now; arrays."""
        own = self.blocks[threads] == blocks
        if self.together:
            return epochs < np.where(own, self.epochs[blocks], self._known[threads, blocks])
        return own & (epochs < self.epochs[blocks])

    def barrier(self, blocks):
        """Blocks have come to a barrier."""
        self.epochs[blocks] += 1
        if self.together:
            known = self._known.reshape(len(self.epochs), self.lanes, -1)
            known[blocks] = known[blocks].max(1, keepdims=True)

    def fence(self, threads):
        """Threads have a fence."""
        if self.together:
            known = np.maximum(self._known[threads], self._seen[threads])
            self._known[threads] = known
            known[np.arange(len(threads)), self.blocks[threads]] = self.epochs_of(threads)
            self._passed[threads] = known

    def atomic(self, thread, address):
        """A thread's atomic takes what others left at an address, and leaves what it passes on."""
        if self.together:
            left = self._left.get(address, 0)
            self._seen[thread] = np.maximum(self._seen[thread], left)
            self._left[address] = np.maximum(self._passed[thread], left)

    def name(self, thread):
        """A thread as messages say it."""
        return f"thread {thread % self.lanes} of block {thread // self.lanes}"
