"""Compiled kernels on disk: where they are kept, who is trusted, and that damage does no harm."""

import hashlib
import json
import os
import pickle
import shutil
import stat
import tarfile
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from numba import types
from processes import LISTEN, TESTS, python

import numba_rnn as nr
from numba_rnn.cpu import cache

PACKAGE = Path(nr.__file__).parent
POSIX = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")

LINEAR = """
import numpy as np, numba_rnn as nr
def answer(dtype=np.float32):
    linear = nr.Linear(2, 1, dtype=dtype)
    linear.weight[:] = [1, 2]
    linear.bias[:] = -5
    return linear(np.array([[1, 2], [10, 20]], dtype)).ravel().tolist()
"""

# A process that is root goes on as a user to whom root's files are read-only. Python's own files
# may be closed to that user, so what is imported on demand is imported before.
AS_A_USER = """
import os
import numba
from numba.core import config
answer(np.float64)
numba.njit(lambda: None)()  # imports what compiling needs
compiled.buffer.clear()
loaded.clear()
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
def keep_in(directory):
    os.environ["NUMBA_CACHE_DIR"] = directory
    config.reload_config()
"""

RECORD = """
import warnings
def recorded(function, *arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments)
    assert all(w.category is RuntimeWarning for w in caught)
    return result, [str(w.message) for w in caught]
"""


@pytest.fixture
def open_to_all():
    """Return a directory that every user can enter and read, unlike those of `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        for path in [directory, *directory.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """Return a directory for what a process compiles before it is a user."""
    return tmp_path_factory.mktemp("warm")


@pytest.fixture
def copied(open_to_all):
    """Return a directory with a copy of the package, and variables with which it is used."""
    place = open_to_all / "numba_rnn"
    shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join((str(open_to_all), str(TESTS)))
    variables = {"PYTHONPATH": path, "NUMBA_CACHE_DIR": open_to_all / "cache"}
    # Python's own files of bytecode go by size and time, which `change` leaves as they are.
    return open_to_all, variables | {"PYTHONDONTWRITEBYTECODE": 1}


def entries(directory):
    return sorted(Path(directory).rglob("*.nb[ic]"))


def read_only(directory):
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


# --- kept, found, and not mistaken ----------------------------------------------------------------


def change(path, old, new):
    """Edit a file so that neither its size nor its time tells."""
    status, text = path.stat(), path.read_text()
    assert old in text, f"{path.name} has changed: adapt this test"
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def test_kept_on_disk_for_the_next_process_but_not_for_other_sources(copied):
    directory, variables = copied
    code = "print(nr.__file__, answer(), len(compiled.buffer) > 0, sep=':'); assert loaded"
    code = LISTEN + LINEAR + code

    def run():
        place, numbers, was_compiled = python(code, cwd=directory, **variables).split(":")
        assert Path(place).parent.parent.samefile(directory)
        return json.loads(numbers), was_compiled == "True\n"

    assert run() == ([0, 45], True)
    kept = entries(directory / "cache")
    assert kept
    assert not entries(directory / "numba_rnn")
    assert run() == ([0, 45], False)
    # A function's own file, and then one that it builds on: to time stamps nothing has happened.
    change(directory / "numba_rnn/cpu/products.py", "w[j * depth + k]", "w[j * depth + 0]")
    assert run() == ([-2, 25], True)
    assert run() == ([-2, 25], False)
    with open(directory / "numba_rnn/cpu/tile.py", "a") as file:
        file.write("\n\nVectors.fma = lambda self, a, b, c: c\n")
    assert run() == ([-5, -5], True)
    assert set(kept) <= set(entries(directory / "cache"))  # what was there still is


def test_what_is_kept_is_loaded_without_what_compiles(copied):
    """Imports for compiling take longer than to load all kernels; what is compiled after works."""
    directory, variables = copied
    code = """
import numba
from numba.core.cpu import CPUContext
refreshed, refresh = [], CPUContext.refresh
CPUContext.refresh = lambda self: (refreshed.append(self), refresh(self))
nr.Linear(100, 100)(np.ones((1000, 100), np.float32))  # in all threads
answers = answer(), len(refreshed)
later = answer(np.float64), numba.njit(lambda x: x.sum() + np.sqrt(x.size))(np.ones(4))
print(*answers, *later, sep=":")
"""
    first, second = (python(LINEAR + code, cwd=directory, **variables).split(":") for _ in "ab")
    assert first[0] == second[0] == "[0.0, 45.0]" and int(first[1]) > 0
    assert second[1] == "0"
    entry = next(path for path in entries(directory / "cache") if "float64" in path.name)
    entry.unlink()  # and one that is compiled between those that are loaded
    third = python(LINEAR + code, cwd=directory, **variables).split(":")
    assert third == second and first[2:] == second[2:] == ["[0.0, 45.0]", "6.0\n"]


def test_places(monkeypatch, tmp_path):
    beside = PACKAGE / "cpu/__pycache__/numba_rnn"
    monkeypatch.setattr(cache.AppDirs, "user_cache_dir", str(tmp_path / "user"))
    monkeypatch.setattr(cache.config, "CACHE_DIR", "")
    assert cache.places() == [beside, tmp_path / "user/numba_rnn"]
    monkeypatch.setattr(cache.config, "CACHE_DIR", str(tmp_path / "named"))
    assert cache.places() == [tmp_path / "named/numba_rnn", beside, tmp_path / "user/numba_rnn"]
    monkeypatch.setattr(cache.AppDirs, "user_cache_dir", "~/.cache/numba")  # no home: no directory
    assert cache.places() == [tmp_path / "named/numba_rnn", beside]


def double(x):
    return 2 * x


def store(values, place):
    values[place] = 7.0


class Kinds:
    """Both ways in which this package compiles: each is called, and says what the disk gave."""

    @staticmethod
    def jitted():
        function = cache.jitted(cache_copy(double), "double", nogil=True)
        assert function(21) == 42
        return sum(function.stats.cache_hits.values())

    @staticmethod
    def callback():
        import ctypes

        kinds = [types.CPointer(types.float64), types.int64]
        function = cache.callback(cache_copy(store), "store", kinds, nogil=True)
        values = (ctypes.c_double * 3)()
        signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
        signature(function.address)(ctypes.addressof(values), 1)
        assert list(values) == [0, 7, 0]
        return function.cache_hits


def cache_copy(function):
    return type(function)(function.__code__, function.__globals__, function.__name__)


@pytest.fixture(params=["jitted", "callback"])
def compile_one(request, monkeypatch, tmp_path):
    """Return a function that compiles and checks a kernel, and says whether it was found on disk.

    It is kept in `tmp_path`/first/numba_rnn, or else in `tmp_path`/second/numba_rnn.
    """
    places = [tmp_path / "first/numba_rnn", tmp_path / "second/numba_rnn"]
    monkeypatch.setattr(cache, "places", lambda: places)
    monkeypatch.setattr(cache.config, "CACHE_DIR", "")
    monkeypatch.setattr(cache, "_warned", False)
    monkeypatch.setattr(Trap, "sprung", False)
    return getattr(Kinds, request.param)


@pytest.mark.parametrize("setting", cache.SETTINGS)
def test_what_was_compiled_with_other_settings_of_numba_is_not_taken(
    compile_one, monkeypatch, tmp_path, setting
):
    as_it_was = getattr(cache.config, setting)
    other = type(as_it_was)(2) if setting == "OPT" else 1 - bool(as_it_was)
    assert not compile_one() and compile_one()
    monkeypatch.setattr(cache.config, setting, other)
    assert not compile_one() and compile_one()
    monkeypatch.setattr(cache.config, setting, as_it_was)
    assert compile_one()
    assert len(entries(tmp_path)) == 2


def test_code_that_numba_does_not_optimise(tmp_path):
    """Some of it has addresses of its process, and is not kept for the next one."""
    for _ in range(2):
        printed = python(LINEAR + "print(answer())", NUMBA_OPT=0, NUMBA_CACHE_DIR=tmp_path)
        assert printed == "[0.0, 45.0]\n"
    kept = {file.name.split("-")[0] for file in entries(tmp_path)}
    assert "products.pack_transposed" in kept and "linear_forward" not in kept


# --- damage ---------------------------------------------------------------------------------------


def test_a_damaged_file_is_compiled_again_and_replaced(compile_one, tmp_path):
    assert not compile_one()
    (file,) = entries(tmp_path)
    whole = file.read_bytes()
    assert compile_one()
    payload = whole[cache.CHECKSUM_BYTES :]
    garbage = b"\x80\x05garbage"
    unreadable = pickle.dumps(((None, "bitcode", b"no bitcode"), *[None] * 8))
    damaged = [
        *(whole[:length] for length in (0, 1, 31, 32, 33, 100, len(whole) // 2, len(whole) - 1)),
        whole + b"more",
        whole[:-1] + bytes([whole[-1] ^ 1]),
        whole.replace(payload[5000:5008], bytes(8)),
        bytes(len(whole)),
        garbage,
        # whole, and yet nothing that can be read, or that LLVM can parse
        *(hashlib.sha256(text).digest() + text for text in (garbage, payload[:200], unreadable)),
    ]
    for contents in damaged:
        assert contents != whole
        file.write_bytes(contents)
        assert not compile_one()
        assert compile_one()
        assert entries(tmp_path) == [file]
    file.unlink()
    assert not compile_one() and compile_one()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_every_kernel_survives_damage(copied):
    """Cut what one process left at any place, for those that come after it."""
    directory, variables = copied
    code = LISTEN + LINEAR + "print(answer(), len(compiled.buffer) > 0)"

    def run():
        return python(code, cwd=directory, **variables).split("] ")

    assert run() == ["[0.0, 45.0", "True\n"]
    files = entries(directory / "cache")
    assert len(files) >= 4
    for place, file in enumerate(files):
        contents = file.read_bytes()
        file.write_bytes(contents[: int((0, 0.001, 0.5, 0.999)[place % 4] * len(contents))])
    assert run() == ["[0.0, 45.0", "True\n"]
    assert run() == ["[0.0, 45.0", "False\n"]
    for place, file in enumerate(files):
        file.write_bytes(b"garbage" * (place + 1))
    assert run() == ["[0.0, 45.0", "True\n"]
    assert run() == ["[0.0, 45.0", "False\n"]


def test_what_another_process_is_writing_is_there_as_a_whole_or_not_at_all(tmp_path):
    directory, texts = tmp_path / "numba_rnn", (b"a" * 3_000_000, b"b" * 10)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for text in texts:
                cache._write(directory, "entry", hashlib.sha256(text).digest() + text)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        while not (directory / "entry").exists():
            pass
        for _ in range(200):
            assert cache._read(directory, "entry") in texts
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert [path.name for path in directory.iterdir()] == ["entry"]


def test_a_file_that_is_being_read_elsewhere_may_refuse_to_be_replaced(monkeypatch, tmp_path):
    """As on Windows, where the same entry is there already."""

    def replace(source, target):
        raise PermissionError(13, "Permission denied")

    contents = hashlib.sha256(b"text").digest() + b"text"
    cache._write(tmp_path / "numba_rnn", "entry", contents)
    monkeypatch.setattr(cache.os, "replace", replace)
    cache._write(tmp_path / "numba_rnn", "entry", contents)
    with pytest.raises(PermissionError):
        cache._write(tmp_path / "numba_rnn", "another", contents)
    assert [path.name for path in (tmp_path / "numba_rnn").iterdir()] == ["entry"]


# --- leftovers ------------------------------------------------------------------------------------

OTHER = "0123456789abcdef"  # of sources that are no more
DAY = 86400


def leftover(directory, name, days, read=None):
    """A file that was written so many days ago, and perhaps read later."""
    path = directory / name
    path.write_bytes(b"something")
    now = time.time()
    os.utime(path, (now - DAY * (days if read is None else read), now - DAY * days))
    return path


@pytest.fixture
def left(compile_one, monkeypatch, tmp_path):
    """Leave files where an entry is, then let a new process write another one."""
    assert not compile_one()
    (entry,) = entries(tmp_path)
    entry.unlink()
    monkeypatch.setattr(cache, "_tidied", set())

    def leave(name, *days):
        name = name.format(entry=entry.name, other=entry.name.replace(cache.DIGEST, OTHER))
        return leftover(entry.parent, name, *days)

    return leave


def test_what_nobody_needs_is_removed(compile_one, left, monkeypatch):
    gone = [
        left("{other}", 31),
        left("c{other}", 400, 31),
        left("other-name-" + OTHER + "-" + "0" * 24 + ".nbc", 31),
        left("{entry}.k3j_x2.tmp", 0.05),
        left("{other}.k3j_x2.tmp", 0.05),
    ]
    stays = [
        left("d{other}", 29),
        left("a{other}", 400, 29),  # read since
        left("a{entry}", 400),  # of these sources
        left("b{entry}.k3j_x2.tmp", 0.03),  # may be being written
        left("b{entry}.k3j_x2.tmp2", 400),
        left("b{entry}.tmp", 400),
        left("{other}.txt", 400),
        left("my-notes.nbc", 400),
        left("kernel.nbi", 400),
        left("x.tmp", 400),
    ]
    assert not compile_one()
    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert compile_one()


def test_it_is_done_once_and_where_something_is_written_alone(compile_one, left, monkeypatch):
    calls = []

    def scandir(path, original=os.scandir):
        calls.append(path)
        return original(path)

    monkeypatch.setattr(cache.os, "scandir", scandir)
    old = left("{other}", 31)
    assert not compile_one()
    assert len(calls) == 1 and not old.exists()
    (entry,) = [old.with_name(n) for n in os.listdir(old.parent) if cache.DIGEST in n]
    old = left("{other}", 31)
    entry.unlink()
    assert not compile_one()  # writes once more
    monkeypatch.setattr(cache, "_tidied", set())
    assert compile_one()  # reads
    assert len(calls) == 1 and old.exists()


@POSIX
def test_what_is_not_ours_stays(compile_one, left, monkeypatch, tmp_path):
    target = leftover(tmp_path, "target", 400)
    link = left("{other}", 400)
    link.unlink()
    link.symlink_to(target)
    os.utime(link, (0, 0), follow_symlinks=False)
    directory = link.with_name("a" + link.name)
    directory.mkdir()
    os.utime(directory, (0, 0))
    theirs = left("b{other}", 400)
    if os.geteuid() == 0:
        os.chown(theirs, 65534, 65534)
    else:
        monkeypatch.setattr(cache, "_is_left_over", another_user(cache._is_left_over, theirs))
    ours = left("c{other}", 400)
    assert not compile_one()
    assert target.exists() and link.is_symlink() and directory.is_dir() and theirs.exists()
    assert not ours.exists()


def another_user(original, path):
    """Let one file be another user's."""

    def changed(name, status):
        if name == path.name:
            status = os.stat_result((*status[:4], os.geteuid() + 1, *status[5:]))
        return original(name, status)

    return changed


@pytest.mark.parametrize("what", ["scandir", "unlink"])
def test_what_cannot_be_removed_does_no_harm(compile_one, left, monkeypatch, what):
    """Another process was faster, or the directory is another user's."""
    old = left("{other}", 31)

    def fail(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache.os, what, fail)
    assert not compile_one()
    assert compile_one()
    assert old.exists()


# --- errors that are not the disk's ---------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("LLVM can't go on"), OSError(5, "of a tool")])
def test_an_error_in_compilation_is_not_the_disks(compile_one, monkeypatch, error):
    from numba.core import compiler

    def fail(*arguments, **options):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(compiler, "compile_extra", fail)
        with pytest.raises(type(error), match=r"LLVM can't go on|of a tool"):
            compile_one()
    assert not compile_one()
    assert compile_one()


def test_errors_of_other_kinds_warn_of_nothing(copied):
    """An interrupt, LLVM's failure to compile, and its failure to read what was kept."""
    directory, variables = copied
    code = """
from numba.core import codegen, compiler
original = compiler.compile_extra
errors = [KeyboardInterrupt(), RuntimeError("LLVM can't go on"), KeyboardInterrupt()]
def fail(*arguments, **options):
    if errors:
        raise errors.pop()
    return original(*arguments, **options)
compiler.compile_extra = fail
for expected in (KeyboardInterrupt, RuntimeError, KeyboardInterrupt):
    try:
        answer()
    except expected as error:
        assert not isinstance(error, Warning)
    else:
        raise AssertionError(expected)
print(answer(), len(compiled.buffer) > 0)
"""
    assert python(LISTEN + LINEAR + code, cwd=directory, **variables) == "[0.0, 45.0] True\n"
    code = "print(answer(), len(compiled.buffer) > 0)"
    cannot = """
def parse(self, state):
    raise RuntimeError("LLVM bitcode parsing error")
from numba.core.codegen import CPUCodegen
CPUCodegen.unserialize_library = parse
"""
    for _ in range(2):
        printed = python(LISTEN + LINEAR + cannot + code, cwd=directory, **variables)
        assert printed == "[0.0, 45.0] True\n"
    printed = python(LISTEN + LINEAR + code, cwd=directory, **variables)
    assert printed == "[0.0, 45.0] False\n"


# --- without a place to write to ------------------------------------------------------------------


def test_without_a_directory_to_write_to(copied):
    directory, variables = copied
    code = """
from numba_rnn.cpu import cache
cache.places = lambda: []
numbers, (message,) = recorded(answer)
assert numbers == [0, 45]
assert "no directory" in message and "set numba_cache_dir" in message.lower(), message
assert "writable by you alone" in message
assert recorded(answer, np.float64) == ([0, 45], [])  # once in a process
"""
    variables |= {"NUMBA_CACHE_DIR": None}
    python(LINEAR + RECORD + code, cwd=directory, **variables)
    assert not entries(directory)


def test_a_full_disk(compile_one, monkeypatch, tmp_path):
    """The next place is used; with none left, there is one warning, and nothing fails."""

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    original = tempfile.mkstemp
    monkeypatch.setattr(
        cache.tempfile, "mkstemp",
        lambda dir, **options: full() if "first" in str(dir) else original(dir=dir, **options),
    )  # fmt: skip
    assert not compile_one()
    assert [file.parts[-3] for file in entries(tmp_path)] == ["second"]
    monkeypatch.setattr(cache.tempfile, "mkstemp", full)
    with pytest.warns(RuntimeWarning, match="No space left on device") as caught:
        compile_one()
    assert len(caught) == 1
    for place in ("first", "second"):
        assert str(tmp_path / place / "numba_rnn") in str(caught[0].message)
    compile_one()  # no second warning


@POSIX
def test_with_read_only_directories(copied, warm):
    directory, variables = copied
    code = f"""
keep_in("")
numbers, (message,) = recorded(answer)
assert numbers == [0, 45]
assert message.count("can't be written to") == 2 and "NUMBA_CACHE_DIR" in message, message
assert {str(directory)!r} in message
"""
    read_only(directory)
    variables |= {"HOME": directory, "XDG_CACHE_HOME": directory, "NUMBA_CACHE_DIR": warm}
    python(LISTEN + LINEAR + RECORD + AS_A_USER + code, cwd=directory, **variables)
    assert not entries(directory)


def whole_seconds(member):
    member.mtime = int(member.mtime)
    return member


@POSIX
@pytest.mark.parametrize("named", [True, False])
def test_a_cache_in_an_image(copied, warm, named):
    """Filled by who builds it, packed with times cut to seconds, read by who can't write to it."""
    directory, variables = copied
    if not named:
        variables["NUMBA_CACHE_DIR"] = None
    python(LINEAR + "answer()", cwd=directory, **variables, XDG_CACHE_HOME=directory / "nowhere")
    assert not (directory / "nowhere").exists()
    with tarfile.open(directory / "image.tar", "w") as tar:
        for path in sorted(directory.iterdir()):
            if path.name != "image.tar":
                tar.add(path, path.name, filter=whole_seconds)
    image = directory / "image"
    with tarfile.open(directory / "image.tar") as tar:
        tar.extractall(image, filter="tar")
    shutil.rmtree(directory / "numba_rnn")
    shutil.rmtree(directory / "cache", ignore_errors=True)
    assert entries(image)
    read_only(image)
    place = str(
        image / "cache/numba_rnn" if named else image / "numba_rnn/cpu/__pycache__/numba_rnn"
    )
    code = f"""
assert nr.__file__.startswith({str(image)!r})
keep_in({str(image / "cache") if named else ""!r})
assert answer() == [0, 45]  # a warning would be an error
assert loaded and not compiled.buffer
def backward():
    linear = nr.Linear(1, 1, rng=0)
    return linear.forward(np.ones((1, 1), np.float32)).backward(np.ones((1, 1), np.float32)).input
def backward_of_float64():
    linear = nr.Linear(1, 1, rng=0, dtype=np.float64)
    return linear.forward(np.ones((1, 1))).backward(np.ones((1, 1))).input
result, (message,) = recorded(backward)
assert result.shape == (1, 1) and compiled.buffer
assert {place!r} + " can be read but not written to" in message, message
assert "nr.warmup()" in message
assert recorded(backward_of_float64)[1] == []  # once in a process
"""
    path = os.pathsep.join((str(image), str(TESTS)))
    variables |= {"PYTHONPATH": path, "XDG_CACHE_HOME": image, "NUMBA_CACHE_DIR": warm}
    python(LISTEN + LINEAR + RECORD + AS_A_USER + code, cwd=image, **variables)


# --- whose files are trusted ----------------------------------------------------------------------


def give_away(path, monkeypatch):
    """Let a path belong to another user than this process."""
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        another = os.geteuid() + 1
        monkeypatch.setattr(cache.os, "geteuid", lambda: another)


class Trap:
    """Pickled code of another user."""

    sprung = False

    def __reduce__(self):
        return spring, ()


def spring():
    Trap.sprung = True


def plant(path):
    payload = pickle.dumps(Trap())
    path.write_bytes(hashlib.sha256(payload).digest() + payload)


@POSIX
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o1777])
def test_a_directory_that_others_can_write_to(compile_one, tmp_path, mode):
    first = tmp_path / "first/numba_rnn"
    compile_one()
    (file,) = entries(first)
    whole = file.read_bytes()
    plant(file)
    first.chmod(mode)
    assert not compile_one()  # kept in the next place, of which nobody need be told
    assert entries(tmp_path / "second") and compile_one()
    assert not Trap.sprung
    first.chmod(0o755)
    file.write_bytes(whole)
    assert compile_one()


@POSIX
def test_a_file_that_others_could_have_written(compile_one, tmp_path, monkeypatch):
    compile_one()
    (file,) = entries(tmp_path)
    for mode in (0o666, 0o664, 0o646):
        plant(file)
        file.chmod(mode)
        assert not compile_one()  # and replaced
        assert not file.stat().st_mode & 0o022
        assert compile_one()
    if os.geteuid() == 0:
        plant(file)
        give_away(file, monkeypatch)
        assert not compile_one()
        assert file.stat().st_uid == 0
        assert compile_one()
    assert not Trap.sprung
    plant(file)
    file.chmod(0o600)
    assert not compile_one()
    assert Trap.sprung  # what is planted here would be run, were it not refused


@POSIX
def test_a_directory_of_another_user(compile_one, tmp_path, monkeypatch):
    first = tmp_path / "first/numba_rnn"
    compile_one()
    (file,) = entries(first)
    plant(file)
    give_away(first, monkeypatch)
    assert not compile_one()
    assert entries(tmp_path / "second")
    assert not Trap.sprung


@POSIX
def test_the_warning_says_whose_it_must_be(compile_one, tmp_path, monkeypatch):
    compile_one()
    (tmp_path / "second/numba_rnn").mkdir(parents=True)
    for place in ("first", "second"):
        (tmp_path / place / "numba_rnn").chmod(0o770)
    with pytest.warns(RuntimeWarning) as caught:
        assert not compile_one()
    assert not compile_one()
    (message,) = [str(warning.message) for warning in caught]
    assert message.count("writable by you alone") == 3 and "its mode is 770" in message
    for place in ("first", "second"):
        assert str(tmp_path / place / "numba_rnn") in message
    # A user who named a directory is told when something can't be kept there.
    monkeypatch.setattr(cache, "_warned", False)
    monkeypatch.setattr(cache.config, "CACHE_DIR", str(tmp_path / "first"))
    (tmp_path / "second/numba_rnn").chmod(0o700)
    with pytest.warns(RuntimeWarning, match="writable by you alone") as caught:
        assert not compile_one()
    assert f"kept in {tmp_path}/second/numba_rnn, not where NUMBA_CACHE_DIR" in str(
        caught[0].message
    )
    monkeypatch.setattr(cache, "_warned", False)
    assert compile_one()


@POSIX
@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_what_is_made_is_its_owners_alone(tmp_path, monkeypatch, mask):
    def modes(directory):
        before = os.umask(mask)
        try:
            cache._write(directory / "numba_rnn", "entry", b"text")
        finally:
            os.umask(before)
        paths = (directory / "numba_rnn", directory / "numba_rnn/entry")
        return [stat.S_IMODE(path.stat().st_mode) for path in paths]

    if os.geteuid() == 0:  # all trust what root wrote, so all may read it
        assert modes(tmp_path / "root") == [0o755, 0o644]
        monkeypatch.setattr(cache.os, "geteuid", lambda: 1000)
    assert modes(tmp_path / "user") == [0o700, 0o600]


@POSIX
def test_a_directory_in_one_that_all_can_write_to(monkeypatch, tmp_path):
    """As in /tmp: what others put there is theirs, and what is ours they can't change."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.setattr(cache.config, "CACHE_DIR", str(shared))
    assert not Kinds.jitted() and Kinds.jitted()
    assert [path.parent for path in entries(shared)] == [shared / "numba_rnn"]


@POSIX
def test_a_warm_start_in_a_directory_open_to_all(copied):
    directory, variables = copied
    code = LINEAR + RECORD + "print(recorded(answer))"
    assert python(code, cwd=directory, **variables) == "([0.0, 45.0], [])\n"
    for path in [directory / "cache", *(directory / "cache").rglob("*")]:
        path.chmod(0o777)
    printed = python(code, cwd=directory, XDG_CACHE_HOME=directory / "user", **variables)
    assert printed.startswith("([0.0, 45.0], [") and printed.count("compiled kernels") == 1
    assert "writable by you alone" in printed and str(directory / "cache") in printed


# --- zip files and applications -------------------------------------------------------------------

LOADS = """
from numba_rnn.datasets import load_co2, load_japanese_vowels
print(len(load_co2().ppm), len(load_japanese_vowels().X_train), answer())
print(len(compiled.buffer) > 0, nr.__file__)
"""


def test_in_a_zip_file(copied):
    directory, variables = copied
    package = directory / "numba_rnn"
    archive = directory / "library.pyz"

    def run():
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(package.rglob("*")):
                file.write(path, path.relative_to(directory))
        path = os.pathsep.join((str(archive), str(TESTS)))
        code = LISTEN + LINEAR + LOADS
        printed = python(code, cwd=TESTS, **variables | {"PYTHONPATH": path}).splitlines()
        *counts, numbers = printed[0].split(maxsplit=2)
        was_compiled, place = printed[1].split()
        assert counts == ["2284", "270"] and place.startswith(str(archive))
        return numbers, was_compiled == "True"

    assert run() == ("[0.0, 45.0]", True)
    assert run() == ("[0.0, 45.0]", False)
    change(package / "cpu/products.py", "w[j * depth + k]", "w[j * depth + 0]")
    assert run() == ("[-2.0, 25.0]", True)  # what the other sources left isn't found
    assert run() == ("[-2.0, 25.0]", False)
    assert entries(directory / "cache")


FROZEN = """
import importlib.abc, importlib.util, marshal, sys
class Frozen(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    \"\"\"Modules that are code in memory, as applications of one file have them.\"\"\"
    def __init__(self, code):
        self.code = code
    def find_spec(self, name, path=None, target=None):
        if name not in self.code:
            return None
        place, is_package, _ = self.code[name]
        spec = importlib.util.spec_from_loader(name, self, is_package=is_package, origin=place)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [place.rpartition("/")[0]]
        return spec
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        exec(marshal.loads(self.code[module.__name__][2]), module.__dict__)
def freeze(directory):
    from pathlib import Path
    code = {}
    for path in Path(directory, "numba_rnn").rglob("*.py"):
        parts = path.relative_to(directory).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        place = "/nowhere/" + "/".join(parts) + ".py"
        compiled = marshal.dumps(compile(path.read_text(), place, "exec"))
        code[".".join(parts[:-1] if is_package else parts)] = place, is_package, compiled
    sys.meta_path.insert(0, Frozen(code))
    sys.frozen = True
"""


def test_in_an_application(copied):
    """Where there are no sources, the version stands for them."""
    directory, variables = copied
    variables["PYTHONPATH"] = str(TESTS)
    where = f"freeze({str(directory)!r})\n"
    code = "print(nr.__file__, answer(), len(compiled.buffer) > 0)"

    def run():
        return python(FROZEN + where + LISTEN + LINEAR + code, cwd=directory, **variables)

    assert run() == "/nowhere/numba_rnn/__init__.py [0.0, 45.0] True\n"
    assert run() == "/nowhere/numba_rnn/__init__.py [0.0, 45.0] False\n"
    change(directory / "numba_rnn/__init__.py", '__version__ = "0.', '__version__ = "9.')
    assert run() == "/nowhere/numba_rnn/__init__.py [0.0, 45.0] True\n"


def test_without_sources(copied):
    """Compiled modules stand for them."""
    directory, _ = copied
    code = "import numba_rnn.cpu.cache as cache; print(cache.DIGEST, cache.__file__[-1])"

    def digest():
        kept = directory / "compiled"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(directory / "numba_rnn", kept / "numba_rnn")
        compile_all = "import compileall; assert compileall.compile_dir('.', legacy=True, quiet=1)"
        python(compile_all, cwd=kept)
        for path in kept.rglob("*.py"):
            path.unlink()
        return python(code, cwd=kept, PYTHONPATH=os.pathsep.join((str(kept), str(TESTS)))).split()

    first, suffix = digest()
    assert suffix == "c" and digest()[0] == first
    change(directory / "numba_rnn/cpu/products.py", "w[j * depth + k]", "w[j * depth + 0]")
    assert digest()[0] != first


# --- forks -------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_another_thread_makes_the_first_call():
    """The child compiles what the parent's thread was about to, and doesn't wait for it."""
    code = """
import os, signal, threading
from numba_rnn.cpu import linear
inside, go_on = threading.Event(), threading.Event()
native = linear.map_forward.native
make = native.make
def wait(dtype):
    inside.set()
    assert go_on.wait(120)
    return make(dtype)
native.make = wait
results = []
thread = threading.Thread(target=lambda: results.append(answer()))
thread.start()
assert inside.wait(120)
child = os.fork()
if child == 0:
    signal.alarm(60)  # ends a child that waits for what never comes
    native.make = make
    os._exit(0 if answer() == answer(np.float64) == [0, 45] else 1)
status = os.waitpid(child, 0)[1]
go_on.set()
thread.join()
assert results == [[0, 45]]
assert status == 0, status
"""
    python(LINEAR + code)


def test_numba_is_left_as_it_was():
    """Other libraries' functions are kept where and as Numba does it."""
    code = """
from numba.core.caching import CacheImpl, FunctionCache
before = list(CacheImpl._locator_classes), dict(vars(FunctionCache))
import numba_rnn as nr
nr.warmup(training=False)
assert (list(CacheImpl._locator_classes), dict(vars(FunctionCache))) == before
"""
    python(code)
