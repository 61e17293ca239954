"""PTX text of one kernel, decoded into instructions that `launch.py` can run.

Registers keep their names, special ones (%tid.x) and parameters too. Where PTX says things twice,
as in the type of a register and that of an instruction, they must agree.
"""

import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .instructions import DTYPES, TABLE

SPECIAL = {
    *(f"%{what}.{axis}" for what in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"),
    "%dynamic_smem_size",
}
COMPUTE, LOAD, STORE, ADD, BRANCH, RETURN, BARRIER, FENCE, SHUFFLE = (
    "compute", "load", "store", "add", "branch", "return", "barrier", "fence", "shuffle",
)  # fmt: skip
STRAIGHT = {COMPUTE, LOAD, STORE}  # after which comes the next instruction, without waiting
WORDS = {  # opcodes without a number to compute
    "bra": BRANCH, "bra.uni": BRANCH, "ret": RETURN, "bar.sync": BARRIER, "membar.gl": FENCE,
    "shfl.sync.bfly.b32": SHUFFLE, "atom.global.add.u32": ADD,
}  # fmt: skip
GAP = 256  # bytes between variables in shared memory, which nobody may touch


class Instruction(NamedTuple):
    """One instruction.

    Attributes
    ----------
    what : str
        One of the words above.
    text : str
        As it was written.
    targets : tuple of (str, dtype)
        Registers that are written, as unsigned numbers, and as what.
    sources : tuple of (str or ndarray, dtype)
        Registers or constants that are read, and as what. Of a load or store, the address first.
    compute : callable, optional
    dtype : dtype, optional
        Of what is loaded or stored; unsigned where it doesn't matter.
    space : str
        "global", "shared" or "" of a load or store; the last may be any, and is global.
    offset : int
        Added to the address; of a branch the instruction it leads to.
    guard : str
        The register that decides on a branch; "" where there is none.
    wanted : bool
        The guard's value with which the branch is taken.
    """

    what: str
    text: str
    targets: tuple[tuple[str, Any], ...] = ()
    sources: tuple[tuple[Any, Any], ...] = ()
    compute: Any = None
    dtype: Any = None
    space: str = ""
    offset: Any = 0
    guard: str = ""
    wanted: bool = True


class Kernel:
    """A decoded kernel.

    Parameters
    ----------
    text : str
    name : str
        For messages.

    Attributes
    ----------
    parameters : dict of str to dtype
    max_threads : int
    variables : list of (int, int)
        Where each variable in shared memory starts, and its size; of the dynamic one None.
    code : list of Instruction
    ends : list of int
        For each instruction the next one that isn't straight on, or that others jump to.
    grain : int
        The size of the smallest number that is loaded or stored.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        text = re.sub(r"//[^\n]*", "", text)
        (found,) = re.findall(r"\.entry\s+[\w$]+\((.*?)\)(.*)", text, re.S)
        head, body = found
        parameters = re.findall(r"\.param\s+\.(\w+)\s+([\w$]+)", head)
        assert len(parameters) == head.count(".param"), f"{name}: parameters"
        self.parameters = {parameter: DTYPES[kind] for kind, parameter in parameters}
        self.max_threads = int(re.findall(r"\.maxntid\s+(\d+)", body)[0])
        self._lay_out(text)
        self._registers: dict[str, np.dtype] = {}
        labels: dict[str, int] = {}
        self.code: list[Instruction] = []
        for statement in _statements(body):
            if statement.endswith(":"):
                labels[statement[:-1]] = len(self.code)
            elif statement.startswith(".reg"):
                self._declare(statement)
            elif not statement.startswith(".pragma"):
                self.code += self._decoded(statement)
        self.code = [
            i._replace(offset=labels[i.offset]) if i.what == BRANCH else i for i in self.code
        ]
        end, goals = len(self.code), set(labels.values())
        self.ends = [end] * end
        for k in reversed(range(end)):
            if self.code[k].what not in STRAIGHT:
                end = k
            self.ends[k] = end
            if k in goals:
                end = k
        self.grain = min((i.dtype.itemsize for i in self.code if i.dtype), default=1)

    def _lay_out(self, text):
        """Places of the variables in shared memory, aligned to no more than they ask for."""
        pattern = r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+([\w$]+)\[(\d*)\]"
        found = re.findall(pattern, text)
        assert len(found) == len(re.findall(r"\.shared\s+\.align", text)), "shared variables"
        if ".local" in text:
            raise NotImplementedError(f"{self.name} has local memory")
        self._symbols, self.variables, at = {}, [], 0
        for align, symbol, size in sorted(found, key=lambda f: f[2] == ""):  # the dynamic one last
            at = (at // GAP + 1) * GAP + int(align)
            self._symbols[symbol] = at
            self.variables.append((at, int(size) if size else None))
            at += int(size or 0)

    def _declare(self, statement):
        kind, names = re.fullmatch(r"\.reg \.(\w+) (.*)", statement).groups()
        for name in names.split(","):
            stem, count = re.fullmatch(r"\s*(%\w+?)(?:<(\d+)>)?", name).groups()
            for register in [stem] if count is None else [f"{stem}{k}" for k in range(int(count))]:
                dtype = unsigned(DTYPES[kind])
                assert self._registers.setdefault(register, dtype) == dtype, statement

    def _decoded(self, statement):
        """Return the instructions of a statement: one, or two where it writes two registers."""
        guard, opcode, rest = re.fullmatch(
            r"(?:@(!?%\w+) )?([\w.]+)(?: (.*))?", statement, re.S
        ).groups()
        words = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*", rest or "")
        words = [word.strip() for word in words]
        if guard and opcode != "bra":
            raise NotImplementedError(f"{self.name}: a guard, in {statement}")
        if opcode.startswith("ld.param."):
            kind = opcode.rpartition(".")[2]
            name = words[1].strip("[]")
            assert self.parameters[name] == DTYPES[kind], statement
            target, source = self._target(words[0]), (name, _bits(kind))
            return [Instruction(COMPUTE, statement, (target,), (source,), TABLE["mov.b64"].compute)]
        if opcode.startswith(("ld.", "st.")):
            return [self._access(statement, opcode, words)]
        if opcode in WORDS:
            return [self._control(statement, opcode, words, guard)]
        if opcode == "mov.b64" and words[0].startswith("{"):
            targets = words[0].strip("{}").split(",")
            return [
                self._computed(statement, half, [target.strip(), words[1]])
                for half, target in zip(("lower", "upper"), targets, strict=True)
            ]
        if opcode == "mov.b64" and words[1].startswith("{"):
            halves = [word.strip() for word in words[1].strip("{}").split(",")]
            return [self._computed(statement, "pack", [words[0], *halves])]
        return [self._computed(statement, opcode, words)]

    def _computed(self, statement, opcode, words):
        rule = TABLE.get(opcode)
        if rule is None:
            raise NotImplementedError(f"{self.name}: no rule for {statement}")
        assert len(words) == 1 + len(rule.operands), statement
        target = words[0], DTYPES[rule.result]
        assert self._registers[target[0]] == unsigned(target[1]), statement
        sources = (self._source(w, k) for w, k in zip(words[1:], rule.operands, strict=True))
        return Instruction(COMPUTE, statement, (target,), tuple(sources), rule.compute)

    def _access(self, statement, opcode, words):
        """A load or store, of one number or of two or four next to each other."""
        pattern = r"(ld|st)(?:\.(global|shared))?(?:\.v([24]))?\.([usfb]\d+)"
        found = re.fullmatch(pattern, opcode)
        if found is None:
            raise NotImplementedError(f"{self.name}: {statement}")
        what, space, count, kind = found.groups()
        place, values = (words[1], words[0]) if what == "ld" else words
        values = [value.strip() for value in values.strip("{}").split(",")]
        assert len(values) == int(count or 1), statement
        address, offset = self._place(place)
        if what == "ld":
            targets = tuple(self._target(value) for value in values)
            assert kind[0] != "f" or targets[0][1] == _bits(kind), statement
            return Instruction(
                LOAD, statement, targets, (address,), None, _bits(kind), space or "", offset
            )
        sources = tuple(self._stored(value, kind) for value in values)
        return Instruction(
            STORE, statement, (), (address, *sources), None, _bits(kind), space or "", offset
        )

    def _place(self, word):
        base, offset = re.fullmatch(r"\[([%\w$]+)(?:\+(-?\d+))?\]", word).groups()
        return self._source(base, "s64"), int(offset or 0)

    def _control(self, statement, opcode, words, guard):
        what = WORDS[opcode]
        if what == BRANCH:
            guard = guard or ""
            return Instruction(
                what, statement, offset=words[0], guard=guard.strip("!"), wanted=guard[:1] != "!"
            )
        if what == SHUFFLE:
            target, _, inside = words[0].partition("|")
            targets = self._target(target), self._target(inside)
            sources = tuple(self._source(word, "u32") for word in words[1:])
            return Instruction(what, statement, targets, sources)
        if what == ADD:
            address, offset = self._place(words[1])
            sources = address, self._source(words[2], "u32")
            targets = (self._target(words[0]),)
            return Instruction(
                what, statement, targets, sources, None, DTYPES["u32"], "global", offset
            )
        assert words == (["0"] if what == BARRIER else []), statement
        return Instruction(what, statement)

    def _target(self, register):
        return register, self._registers[register]

    def _stored(self, word, kind):
        """What is stored may be the lower part of a register."""
        if word in self._registers:
            return self._target(word)
        value, dtype = self._source(word, kind)
        return value.view(unsigned(dtype)), unsigned(dtype)

    def _source(self, word, kind):
        """A register or special register, or else a constant as an array of one number."""
        dtype = DTYPES[kind]
        if word.startswith("%"):
            own = np.dtype(np.uint32) if word in SPECIAL else self._registers[word]
            assert own == unsigned(dtype), f"{self.name}: {word} as {kind}"
            return word, dtype
        if word in self._symbols:
            value = np.array([self._symbols[word]])
        elif re.match("0[fFdD]", word):
            bits = np.uint64(int(word[2:], 16))
            return np.array([bits]).astype(unsigned(dtype)).view(dtype), dtype
        else:  # bits, as it may be negative where the kind is unsigned
            value = np.array([int(word, 0) & 0xFFFFFFFF_FFFFFFFF], np.uint64)
        return value.astype(dtype), dtype


def _statements(body):
    """The statements of a body, labels included; braces of inner blocks are left out."""
    at = body.index("{")
    while found := re.compile(r"[\s{};]*([\w$]+:|[^\s;{}][^;]*;)").match(body, at):
        yield " ".join(found[1].rstrip(";").split())
        at = found.end()
    assert not body[at:].strip(" \n\t}"), body[at:]


@cache
def unsigned(dtype: np.dtype) -> np.dtype:
    """What the bits of a number are; a predicate is what it is."""
    return dtype if dtype.kind == "b" else np.dtype(f"u{dtype.itemsize}")


def _bits(kind):
    """The dtype of a number that is only moved: signed where it may become longer."""
    return DTYPES[kind] if kind[0] == "s" else unsigned(DTYPES[kind])
