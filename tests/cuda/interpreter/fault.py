"""What a kernel does wrong."""

OUTSIDE, MISALIGNED, UNWRITTEN, RACE, BARRIER, SHUFFLE, DIVISION, ENDLESS, REGISTER = (
    "outside", "misaligned", "unwritten", "race", "barrier", "shuffle", "division", "endless",
    "register",
)  # fmt: skip


class Fault(Exception):
    """What a kernel does wrong; `kind` is one of the words above."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Wrong(Exception):
    """A fault of one thread, before it is told with the kernel and the instruction."""

    def __init__(self, kind: str, thread: int, text: str) -> None:
        super().__init__(text)
        self.kind, self.thread = kind, int(thread)
