"""The page with sliders, in a real browser: it opens, and pictures follow a slider."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

EXPLORER = Path(__file__).parents[1] / "examples" / "bptt_explorer.py"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed"),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("marimo", "playwright")),
        reason="marimo or playwright is not installed",
    ),
]


@pytest.fixture
def address(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "marimo", "run", str(EXPLORER), "--headless"]
    command += ["--port", str(port), "--no-token"]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path,
            env={**os.environ, "MPLBACKEND": "agg"},
        )  # fmt: skip
    found = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(found, timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
        else:
            pytest.fail((tmp_path / "log").read_text())
        yield found
    finally:
        server.terminate()
        server.wait(30)


def test_a_slider_changes_the_pictures(address):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(120_000)  # the first call compiles
        page.goto(address)
        picture = page.locator("img[src]").first
        picture.wait_for()
        before = picture.get_attribute("src")
        assert page.get_by_text("spectral radius").count()
        slider = page.get_by_role("slider").nth(1)
        slider.focus()
        for _ in range(4):
            slider.press("ArrowLeft")
        page.wait_for_function(
            "before => { const i = document.querySelector('img[src]');"
            " return i && i.getAttribute('src') !== before; }",
            arg=before,
        )
        assert page.get_by_text("Traceback").count() == 0
        if shot := os.environ.get("NUMBA_RNN_EXPLORER_PICTURE"):
            page.wait_for_timeout(2000)
            page.screenshot(path=shot, full_page=True)
        browser.close()
