"""Pages in a real browser: started where there is one, opened so that nothing that goes wrong in them goes unseen.

Needs Debian's chromium and playwright. Without them tests are skipped, except where CI=true or EMODEF_REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import os
import shutil
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


@contextmanager
def running_browser() -> Iterator[Any]:
    required = os.environ.get("CI") == "true" or os.environ.get("EMODEF_REQUIRE_BROWSER") == "1"
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
def opening(browser: Any) -> Iterator[Open]:
    """What opens a file in a page of its own; at the end, nothing may have gone wrong in one or been asked for."""
    contexts, faults, requests = [], [], []

    def open_it(path: Path, width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: faults.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_it
    hits = [page.evaluate("window.hit") for context in contexts for page in context.pages]
    for context in contexts:
        context.close()
    assert not faults
    assert all(url.startswith("file://") and url.endswith(".html") for url in requests), requests
    assert len(requests) == len(contexts)
    assert hits == [None] * len(hits)
