"""A file in the page, against a running server: chosen, predicted, drawn, downloaded, cancelled; hostile names and cells."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from browsing import CONTRAST, Open, opening, until, violations
from emodef import Predictor
from page_server import PageServer

TEXTS = [
    "I am happy",
    "so furious and afraid",
    "why is it",
    "the chairs, the platform",
    "happy and so scared",
]
NASTY = "</td><img src=x onerror='window.hit = 1'><script>window.hit = 1</script>"
KEY = "0123456789abcdef-key"


def write(path: Path, rows: int = 60) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "posted_at", f"note {NASTY}", "comment"])
        for k in range(rows):
            cell = f'{TEXTS[k % len(TEXTS)]}, "{k}"\\nsecond line' if k % 7 == 0 else TEXTS[k % len(TEXTS)]
            writer.writerow([f"00{k}", f"2026-{1 + k % 9:02}-03", NASTY, NASTY if k == 3 else cell])
    return path


def finished(page: Any) -> None:
    page.wait_for_selector("#file-result:not([hidden])", timeout=60_000)


def test_a_file_from_choice_to_download(open_tab: Open, tmp_path: Path, tiny_light: Path) -> None:
    path = write(tmp_path / "a & <b>c.csv")
    page = open_tab("file")
    page.set_input_files("#file-input", path)
    assert page.inner_text("#file-settings h2") == path.name
    assert page.input_value("#file-settings [name=column]") == "comment"
    assert page.input_value("#file-settings [name=time_column]") == "posted_at"
    assert page.locator("#file-settings .cells tbody tr").count() == 6
    assert page.locator("#file-settings td.chosen").nth(3).inner_text() == NASTY
    page.select_option("#file-settings [name=column]", "id")
    assert page.locator("#file-settings td.chosen").first.inner_text() == "000"
    page.select_option("#file-settings [name=column]", "comment")
    page.click("text=Find emotions")
    page.wait_for_selector("#job-bar")
    finished(page)

    assert page.inner_text("#file-name") == path.name
    assert "60 rows" in page.inner_text("#facts")
    assert page.locator(".share").count() == 5
    assert page.locator(".lines .line").count() >= 4
    assert page.locator(".heat tbody td").count() > 4
    assert page.locator(".example").count() > 0
    page.click("#levels button:has-text('sentiment')") if page.is_visible("#levels") else None
    cells = page.locator("#file-rows tbody tr").first.locator("td").all_inner_texts()
    assert cells[0] == "000"
    with page.expect_download() as download:
        page.click("#file-download")
    assert download.value.suggested_filename.endswith("-emotions.csv")
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    model = Predictor.load(tiny_light, threads=1)
    for row, found in zip(rows, model.predict([row["comment"] for row in rows]), strict=True):
        assert row["predicted"] == "|".join(name for name, _ in found.labels)
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate(CONTRAST) == []

    page.reload()  # it is found again
    page.wait_for_selector("body.ready")
    finished(page)
    address = page.get_attribute("#file-download", "href")
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        page.click("#file-again")
    assert page.is_visible("#file-drop")
    assert page.request.get(f"{page.url.partition('#')[0].rstrip('/')}{address}").status == 404  # and removed


def test_rows_without_a_prediction_can_be_had(open_tab: Open, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n1,so happy\n2,so happy, and glad\n", encoding="utf-8")
    page = open_tab("file")
    page.set_input_files("#file-input", path)
    page.click("text=Find emotions")
    finished(page)
    with page.expect_download() as download:
        page.click("#facts >> text=1 row without a prediction")
    assert download.value.suggested_filename == "rows-emotions.csv.problems.jsonl"
    assert (
        json.loads(Path(download.value.path()).read_text(encoding="utf-8"))["raw"] == "2,so happy, and glad"
    )
    assert page.evaluate(CONTRAST) == []


def test_own_labels_over_lines_of_json_dropped_on_the_page(open_tab: Open) -> None:
    page = open_tab("file")
    page.click("#tab-own")
    for name, meaning in (("delight", "happy, glad"), ("dread", "scared, afraid")):
        page.click("#own-add")
        page.locator(".label-name").last.fill(name)
        page.locator(".meanings textarea").last.fill(meaning)
    lines = "\n".join(
        json.dumps({"text": text, "n": k, "deep": {"x": NASTY}}) for k, text in enumerate(TEXTS * 3)
    )
    page.evaluate(
        """text => {
            const data = new DataTransfer();
            data.items.add(new File([text], "lines.jsonl"));
            const drop = (type) => document.getElementById("file-drop")
                .dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data }));
            drop("dragover");
            window.isOver = document.getElementById("file-drop").classList.contains("over");
            drop("drop");
        }""",
        lines,
    )
    assert page.evaluate("window.isOver")
    page.wait_for_selector("#file-settings:not([hidden])")
    page.select_option("#file-settings [name=level]", label="your own 2")
    page.click("text=Find emotions")
    finished(page)
    assert set(page.locator(".share .name").all_inner_texts()) == {"delight", "dread"}
    with page.expect_download() as download:
        page.click("#file-download")
    rows = [json.loads(line) for line in Path(download.value.path()).read_text(encoding="utf-8").splitlines()]
    assert [row["n"] for row in rows] == list(range(15))
    assert {name for row in rows for name in row["predicted"]} <= {"delight", "dread"}


def test_cancel(open_tab: Open, page_server: PageServer, tmp_path: Path) -> None:
    page = open_tab("file")
    page.route(
        "**/v1/jobs/*",
        lambda route: (
            route.continue_()
            if route.request.method == "DELETE"
            else route.fulfill(
                json={
                    "id": "x",
                    "state": "running",
                    "file": "f.csv",
                    "rows_done": 30,
                    "rows": 60,
                    "bytes_done": 5,
                    "bytes": 10,
                    "problems": 0,
                    "error": None,
                }
            )
        ),
    )  # so that it is still running when it is cancelled
    page.set_input_files("#file-input", write(tmp_path / "rows.csv"))
    page.click("text=Find emotions")
    until(page, "document.getElementById('job-bar')?.getAttribute('aria-valuenow') === '50'")
    assert "30 rows" in page.inner_text("#job-detail")
    with page.expect_response(lambda response: response.request.method == "DELETE") as response:
        page.click("#file-stop")
    assert response.value.status == 200
    assert page.is_visible("#file-drop")
    identifier = response.value.url.rpartition("/")[2]
    assert page.request.get(f"{page_server.address}/v1/jobs/{identifier}").status == 404


def test_what_cannot_be_used_is_told(open_tab: Open, tmp_path: Path) -> None:
    page = open_tab("file", expected="422")
    for name, content, said in (
        ("table.xlsx", "x", ".xlsx: give a file that ends in .csv"),
        ("empty.csv", "", "empty.csv is empty."),
        (f"{NASTY.replace('/', '')}.pdf", "x", "img src=x"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
        page.set_input_files("#file-input", tmp_path / name)
        page.wait_for_selector("#file-problem:not([hidden])")
        assert said in page.inner_text("#file-problem")
        assert page.is_visible("#file-drop")
    taken = tmp_path / "taken.csv"
    taken.write_text("text,predicted\nI am happy,joy\n", encoding="utf-8")
    page.set_input_files("#file-input", taken)
    page.click("text=Find emotions")
    page.wait_for_selector("#file-problem:not([hidden])")
    assert "predicted" in page.inner_text("#file-problem")  # the server's words
    assert page.is_visible("#file-settings")  # mended and sent again from here
    assert page.locator("main img, main script").count() == 0


def test_a_key_is_asked_for_once_and_serves_all(browser: Any, tiny_light: Path, tmp_path: Path) -> None:
    server = PageServer(tiny_light, tmp_path / "jobs", keys=(KEY,)).start()
    with opening(browser, server.address) as open_it:
        page = open_it(f"{server.address}/#file", expected="Failed to load resource")
        for given in ("wrong", KEY):
            page.wait_for_selector("#key-dialog[open]")
            page.fill("#key", given)
            page.keyboard.press("Enter")
        page.wait_for_selector("body.ready")
        page.reload()
        page.wait_for_selector("body.ready")
        assert KEY not in page.content()
        page.set_input_files("#file-input", write(tmp_path / "rows.csv", rows=8))
        page.click("text=Find emotions")
        finished(page)
        with page.expect_download() as download:
            page.click("#file-download")
        assert Path(download.value.path()).read_bytes().count(b"2026-") == 8
        address = server.address + page.get_attribute("#file-download", "href").removesuffix("/result")
        page.request.delete(address, headers={"Authorization": f"Bearer {KEY}"})
        page.click("#file-download")
        page.wait_for_selector("#file-problem:not([hidden])")
        assert "no such job" in page.inner_text("#file-problem")
    server.stop()


def test_first_rows(open_tab: Open) -> None:
    page = open_tab("file")
    code = "async ([name, text]) => (await import('/assets/rows.js')).firstRows(new File([text], name))"
    quoted = '\ufeffa,"b ""q""",c\r\n1,"x\ny",\r\n\r\n2,z,"w"\r\n'
    lines = '{"a": 1}\n\nnonsense\n{"b": ["x"], "a": null}\n"bare"\n'
    for name, content, columns, rows in (
        ("a.csv", quoted, ["a", 'b "q"', "c"], [["1", "x\ny", ""], ["2", "z", "w"]]),
        ("a.tsv", "a\tb\n1\t\n2\t3", ["a", "b"], [["1", ""], ["2", "3"]]),
        ("a.jsonl", lines, ["a", "b", "text"], [["1", "", ""], ["", '["x"]', ""], ["", "", "bare"]]),
        ("a.txt", "one\n\ntwo\n", [], [["one"], ["two"]]),
        ("a.csv", "a\n" + "word,\n" * 20_000, ["a"], [["word", ""]] * 10_922),  # the last is cut and left out
    ):
        assert page.evaluate(code, [name, content]) == {"format": None, "columns": columns, "rows": rows}


def test_axe_and_widths_with_a_file(open_tab: Open, tmp_path: Path) -> None:
    page = open_tab("file", bypass_csp=True, width=390)
    page.set_input_files("#file-input", write(tmp_path / "rows.csv", rows=20))
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("text=Find emotions")
    finished(page)
    for scheme, width in (("light", 390), ("dark", 1280)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert violations(page) == []
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
