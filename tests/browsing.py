"""Pages in a real browser: started where there is one, opened so that nothing that goes wrong in them goes unseen.

Needs chromium or Chrome, and playwright. Without them tests are skipped, except where CI=true or EMODEF_REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]

# texts that stand out from their ground less than 4.5 to 1
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, under) => {
    if (under) { canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1); } else canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => colour.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgb(colour)[3] > 250) return colour;
    }
    return "white";
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("script, noscript, .unseen, .skip")) continue;
    const style = getComputedStyle(node);
    const under = ground(node);
    const colour = node.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(rgb(colour, under)), light(rgb(under))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const name = `${node.tagName}.${node.className?.baseVal ?? node.className}`;
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${name}: ${node.textContent.slice(0, 30)}`);
  }
  return [...new Set(found)];
}"""


def browser_path() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def is_required() -> bool:
    """Whether a test that needs a browser fails, and is not skipped, where there is none."""
    return os.environ.get("CI") == "true" or os.environ.get("EMODEF_REQUIRE_BROWSER") == "1"


@contextmanager
def running_browser() -> Iterator[Any]:
    required = is_required()
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        if required:
            pytest.fail("playwright is not installed: pip install playwright")
        pytest.skip("playwright is not installed")
    path = browser_path()
    if path is None:
        if required:
            pytest.fail("no browser found: apt-get install chromium")
        pytest.skip("no browser found")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@contextmanager
def opening(browser: Any, server: str | None = None) -> Iterator[Open]:
    """What opens a file, or with `server` that address, in a page of its own; at the end, nothing may have gone wrong in one.

    A file may ask for nothing; a server's page for what its server has. `expected`: what the browser may complain of.
    """
    contexts, faults, requests = [], [], []

    def open_it(
        place: Path | str, width: int = 1280, height: int = 900, expected: str | None = None, **options: Any
    ) -> Any:
        def complain(text: str) -> None:
            if expected is None or expected not in text:
                faults.append(text)

        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: complain(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: complain(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(place.as_uri() if isinstance(place, Path) else place)
        return page

    yield open_it
    hits = [page.evaluate("window.hit") for context in contexts for page in context.pages]
    for context in contexts:
        context.close()
    assert not faults
    assert hits == [None] * len(hits)
    if server is not None:
        assert all(url.startswith((f"{server}/", f"blob:{server}/")) for url in requests), requests
        return
    assert all(url.startswith("file://") and url.endswith(".html") for url in requests), requests
    assert len(requests) == len(contexts)


def violations(page: Any) -> list[str]:
    """What axe (WCAG 2.2 A and AA, and its best practices) finds wrong in a page as it stands."""
    try:
        from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        if is_required():
            pytest.fail("axe is not installed: pip install axe-playwright-python")
        pytest.skip("axe-playwright-python is not installed")
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]


def wait_for(page: Any, happened: Callable[[], Any], seconds: float = 20) -> None:
    """Let the page go on until something has happened here, such as a request that a route holds back."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"not within {seconds:g} seconds"
        page.wait_for_timeout(20)


def until(page: Any, condition: str, arg: Any = None, seconds: float = 20) -> None:
    """Wait until an expression is true in the page. (playwright's own wait evaluates text there, which a policy may forbid.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(condition, arg):
        assert time.monotonic() < end, f"not within {seconds:g} seconds: {condition}"
        page.wait_for_timeout(20)
