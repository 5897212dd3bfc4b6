"""What the tests of the page share: versions of the bundled model, the page's process, and Chromium. Not a test itself."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import ROOT
from tests.serving import free_port, wait_for

#: Sizes of a laptop and of a phone.
SIZES = {"laptop": (1280, 800), "phone": (390, 844)}


def version(folder: Path, number: str, intercept: float = 0.0) -> Path:
    """Return a copy of the bundled model as this version of the registered model, its log-odds moved by `intercept`."""
    model = folder / f"version-{number}"
    shutil.copytree(ROOT / "data/champion/model", model)
    (model / "registered_model_meta").write_text(f'model_name: tweet-sentiment\nmodel_version: "{number}"\n')
    settings = json.loads((model / "artifacts/model/model.json").read_text())
    settings["calibration"]["intercept"] += intercept
    (model / "artifacts/model/model.json").write_text(json.dumps(settings))
    return model


@contextmanager
def served_page(folder: Path, endpoint: str, **variables: str) -> Iterator[str]:
    """Run `python -m steps.ui` until the block ends, and yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "steps.ui", "--endpoint", endpoint, "--port", str(port)]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMLIT_", "SERVE_"))}
    log = folder / f"ui-{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=own | variables, stdout=file, stderr=file)
    address = f"http://127.0.0.1:{port}"

    def there() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return requests.get(f"{address}/_stcore/health", timeout=5).ok
        except requests.RequestException:
            return False

    try:
        wait_for(there, 120, lambda: f"no page:\n{log.read_text()}")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)
    assert "Traceback" not in log.read_text(), log.read_text()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium; Playwright's own is not fetched."""
    program = shutil.which("chromium")
    assert program, "chromium is not installed (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, address: str, size: str = "laptop", scheme: str = "light") -> Iterator[Page]:
    """Open the page; fail if it asks any other address for something, or shows a failure of its own."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
        accept_downloads=True,
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    asked: list[str] = []
    failures: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("dialog", lambda dialog: failures.append(f"a dialog: {dialog.message}"))
    page.goto(address)
    page.get_by_label("Tweet", exact=True).wait_for()
    yield page
    assert page.get_by_test_id("stException").count() == 0
    elsewhere = [url for url in asked if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))]
    assert not elsewhere
    assert not failures
    context.close()


def settled(page: Page) -> None:
    """Wait until Streamlit has drawn all that was asked: what is clicked before may be what the next drawing replaces."""
    quiet = "() => document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
    for _ in range(3):  # what was done last takes a moment to reach it
        page.wait_for_timeout(150)
        page.wait_for_function(quiet)


def score(page: Page, text: str) -> None:
    """Score one tweet in the first tab, and wait for what is said of it."""
    settled(page)
    page.get_by_label("Tweet", exact=True).fill(text)
    page.get_by_role("button", name="Score", exact=True).click()
    page.get_by_test_id("stHtml").get_by_text(text.split(maxsplit=1)[0]).wait_for()
    page.get_by_role("button", name="Wrong").wait_for()
    settled(page)


def tab(page: Page, name: str) -> None:
    """Open a tab."""
    settled(page)
    page.get_by_role("tab", name=name).click()
    settled(page)


def unfold(page: Page, name: str) -> None:
    """Open a folded part, and wait until it stands still: what is below it moves while it opens, and a click would fall beside it."""
    settled(page)
    page.get_by_text(name, exact=True).click()
    page.wait_for_function("() => !document.getAnimations().some(moving => moving.effect.target.tagName === 'DETAILS')")
