"""Whether threads bring more than they cost, as measured while the work goes on.

Threads wait for each other at the end of every launch, and where other processes use the cores one
of them may wait for milliseconds until the system runs it: work of a tenth of a millisecond then
takes a hundred times as long in two threads as in one. Nothing tells beforehand; so work that comes
again is now and then done in one thread, each launch is compared with that, and where launches
have lost time the work stays in one thread for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

# Seconds.
CREDIT = 5e-3  # what launches may have gained, at most, before a loss counts against it
DEBT = 2e-3  # the loss after which work stays in one thread ...
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 1.0  # ... for so long, longer each time it comes again

COMPARISONS = 2  # calls in one thread that come first
LAUNCHES = 500  # launches after which one call is compared again
KINDS = 1000  # of work that are remembered
SLOWEST = 1e-9  # seconds a multiply-add, until it is known


class _Alone:
    """What is known of one kind of work in one thread."""

    def __init__(self) -> None:
        self.calls = self.launches = 0
        self.rate = SLOWEST  # seconds a multiply-add, a running mean

    def add(self, rate: float) -> None:
        if self.calls < COMPARISONS:  # the first ones: what disturbs them must not count
            self.rate = min(self.rate, rate) if self.calls else rate
        else:
            self.rate += (rate - self.rate) / 8
        self.calls += 1


class Worth:
    """The judgement on launches, for all work of the process.

    Several threads may ask at once: what they overwrite of each other's costs precision only.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._alone: dict[Hashable, _Alone] = {}
        self._balance = 0.0  # seconds that launches have gained
        self._resume = 0.0  # when they may go on
        self._pause = SHORTEST_PAUSE

    def launch(self, kind: Hashable) -> bool:
        """Whether the next piece of work of a kind should be launched."""
        alone = self._alone.get(kind)
        is_new = alone is None
        if alone is None:
            if len(self._alone) >= KINDS:
                self._alone.clear()
            alone = self._alone[kind] = _Alone()
        if self.clock() < self._resume:
            return False
        alone.launches += 1
        return is_new or (alone.calls >= COMPARISONS and alone.launches % LAUNCHES != 0)

    def ran(self, kind: Hashable, launched: bool, work: float, seconds: float) -> None:
        """Take down how long a piece of work took."""
        alone = self._alone.get(kind)
        if alone is None:  # forgotten meanwhile
            return
        if not launched:
            alone.add(seconds / work)
            return
        self._balance = min(self._balance + alone.rate * work - seconds, CREDIT)
        if self._balance < -DEBT:
            now = self.clock()
            again = now - self._resume < self._pause  # soon after the last pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE) if again else SHORTEST_PAUSE
            self._resume, self._balance = now + self._pause, 0.0
