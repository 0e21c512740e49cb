"""Screenshots for the README, of the server's page, light and dark, and of a report: `python docs/images/make.py [FOLDER]`.

Needs the extras [serve] and [dev], and Debian's chromium. The file shown is the sample corpus with times made up from a fixed seed.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import sync_playwright

from emodef.server import ServerSettings, create_app

HERE = Path(__file__).parent
SAMPLE = HERE.parent.parent / "examples" / "sample"
PORT = 8973
ADDRESS = f"http://127.0.0.1:{PORT}"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = {"width": 1200, "height": 800}
MOST_BYTES = 150_000
TEXT = "I hope it works out; I am still nervous about it."


def write_comments(path: Path) -> None:
    """The sample's texts as comments with times: a file as people have them."""
    draw = random.Random(0)
    splits = [SAMPLE / f"{split}.jsonl" for split in ("train", "dev", "test")]
    lines = [line for path in splits for line in path.read_text(encoding="utf-8").splitlines()]
    start = datetime(2026, 1, 1)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["posted_at", "comment"])
        for line in lines:
            posted = start + timedelta(minutes=draw.randrange(224 * 24 * 60))
            writer.writerow([posted.isoformat(sep=" "), json.loads(line)["text"]])


def show_text(page: Any, folder: Path) -> None:
    """A text, its labels and the words that carry them."""
    page.fill("#text-reader textarea", TEXT)
    page.wait_for_selector("#text-words li")


def show_own(page: Any, folder: Path) -> None:
    """Labels of one's own, from an example."""
    page.select_option("#own-presets", index=1)
    page.wait_for_selector("#own-words li")


def show_file(page: Any, folder: Path) -> None:
    """A file's labels."""
    page.set_input_files("#file-input", folder / "comments.csv")
    page.click("text=Find emotions")
    page.wait_for_selector("#file-result:not([hidden])", timeout=120_000)


def keep(page: Any, path: Path) -> None:
    """A picture of a page as it stands, if it is small enough for a repository."""
    page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has more than {MOST_BYTES:,} bytes; make it smaller")


def picture_tabs(browser: Any, folder: Path, target: Path) -> None:
    """The page's tabs."""
    for tab, show in {"text": show_text, "own": show_own, "file": show_file}.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport=SIZE, color_scheme=scheme, reduced_motion="reduce")
            page = context.new_page()
            page.goto(f"{ADDRESS}/#{tab}")
            page.wait_for_selector("body.ready")
            show(page, folder)
            page.evaluate("document.activeElement.blur()")
            page.wait_for_timeout(300)
            keep(page, target / f"page_{tab}_{scheme}.png")
            context.close()


def picture_report(browser: Any, folder: Path, target: Path) -> None:
    """The upper part of the comments' report."""
    predicted, report = folder / "labelled.csv", folder / "report.html"
    emodef = [sys.executable, "-m", "emodef"]
    given = ["--file", str(folder / "comments.csv"), "--text-column", "comment"]
    subprocess.run([*emodef, "predict", "--quiet", *given, "--out", str(predicted)], check=True)
    told = ["--text-column", "comment", "--title", "840 comments"]
    subprocess.run([*emodef, "report", str(predicted), *told, "--out", str(report)], check=True)
    page = browser.new_page(viewport={"width": 1000, "height": 1180}, reduced_motion="reduce")
    page.goto(report.as_uri())
    page.wait_for_timeout(500)
    keep(page, target / "report.png")


def main(target: Path) -> None:
    """Serve the page, look at its tabs and at a report, write the pictures."""
    folder = Path(tempfile.mkdtemp())
    write_comments(folder / "comments.csv")
    settings = ServerSettings(port=PORT, jobs_folder=str(folder / "jobs"), log_requests=False)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=PORT, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.05)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=next(filter(None, map(shutil.which, BROWSERS)), None),
                args=["--no-sandbox", "--disable-gpu"],
            )
            picture_tabs(browser, folder, target)
            picture_report(browser, folder, target)
            browser.close()
    finally:
        server.should_exit = True
        thread.join()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
