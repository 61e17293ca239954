"""Fixtures that several test files use, and the settings of hypothesis."""

import importlib
import os

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("helpers")

IN_CI = bool(os.environ.get("NUMBA_RNN_CI"))

# No deadline: the first example may compile a kernel. No database: nothing is left behind.
settings.register_profile(
    "numba_rnn", deadline=None, max_examples=30, database=None, derandomize=IN_CI
)
settings.load_profile("numba_rnn")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Let files keep their order where they are spread over processes, as slow ones come early.

    pytest-randomly shuffles the tests of each file, and in one process the files too.
    """
    files = dict.fromkeys(item.path for item in items)
    result = yield
    if hasattr(config, "workerinput"):  # of pytest-xdist
        places = {path: place for place, path in enumerate(files)}
        items.sort(key=lambda item: places[item.path])
    return result


@pytest.fixture(scope="session")
def torch():
    """The torch package; skips the test where it isn't installed, except in CI, where it must be.

    CI says so by setting the environment variable NUMBA_RNN_CI.
    """
    try:
        module = importlib.import_module("torch")
    except ImportError:
        if IN_CI:
            pytest.fail("torch is not installed, and in CI no test may skip for that")
        pytest.skip("torch is not installed")
    module.set_num_threads(1)  # the tensors here are tiny
    return module
