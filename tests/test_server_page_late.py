"""The page: what was asked or chosen earlier does not come back, and what was dropped is not lost unsaid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from browsing import Open, until, wait_for
from page_server import typed
from test_server_page_faults import held_back

DROP = """(name) => {
    const files = new DataTransfer();
    files.items.add(new File(["text\\nI am sad\\n"], name));
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


def test_words_that_are_no_longer_wanted_do_not_come_late(open_tab: Open) -> None:
    page = open_tab()
    typed(page, "I am happy, not angry")
    page.wait_for_selector("#text-words li")
    before = page.inner_text("#text-words")
    held: list[Any] = []
    dropped: list[str] = []
    page.route("**/v1/explain", lambda route: held.append(route))
    page.on("requestfailed", lambda asked: dropped.append(asked.url))
    fear = ".feel:has(.name:text-is('fear'))"
    page.click(fear)  # its words are asked for
    held_back(page, held, 1)
    page.click(fear)  # and are not wanted any more
    assert page.inner_text("#text-words") == before
    wait_for(page, lambda: dropped)
    assert page.inner_text("#text-words") == before
    page.locator(fear).evaluate("button => { button.click(); button.click(); }")  # dropped before it is sent
    page.wait_for_timeout(700)
    assert len(held) == 1
    assert page.inner_text("#text-words") == before


def test_a_second_file_is_not_begun_with_the_first_one_s_settings(open_tab: Open, tmp_path: Path) -> None:
    """While its rows are read nothing can be begun; and what is read late does not come instead of what was chosen last."""
    page = open_tab("file")
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text("I am happy\n", encoding="utf-8")
    headed = "document.querySelector('#file-settings h2')?.textContent === "
    page.set_input_files("#file-input", tmp_path / "a.txt")
    until(page, f"{headed}'a.txt'")
    page.evaluate("""() => {
        const text = Blob.prototype.text;
        window.held = [];
        Blob.prototype.text = async function () {
            await new Promise((resolve) => { window.held.push(resolve); });
            return text.call(this);
        };
    }""")
    page.set_input_files("#file-input", tmp_path / "b.txt")
    until(page, "window.held.length === 1")
    assert page.evaluate("document.getElementById('file-settings').inert")
    page.set_input_files("#file-input", tmp_path / "c.txt")
    until(page, "window.held.length === 2")
    page.evaluate("window.held[1]()")
    until(page, f"{headed}'c.txt'")
    page.evaluate("window.held[0]()")
    page.wait_for_timeout(200)
    assert page.evaluate(f"{headed}'c.txt'")
    page.click("text=Find emotions")
    page.wait_for_selector("#file-result:not([hidden])")
    assert page.inner_text("#file-name") == "c.txt"


def predicted(page: Any, path: Path) -> None:
    page.set_input_files("#file-input", path)
    page.click("text=Find emotions")
    page.wait_for_selector("#file-result:not([hidden])")


def test_a_second_file_s_report_is_not_searched_for_the_first_one_s_words(
    open_tab: Open, tmp_path: Path
) -> None:
    page = open_tab("file")
    for name, text in {"a.csv": "I am happy", "b.csv": "I am furious"}.items():
        (tmp_path / name).write_text(f"text\n{text}\n", encoding="utf-8")
    predicted(page, tmp_path / "a.csv")
    page.fill("#filter-words", "happy")
    page.evaluate(DROP, "c.csv")
    assert "c.csv is not read yet" in page.inner_text("#file-problem")
    page.click("#file-again")
    assert page.is_hidden("#file-problem")
    predicted(page, tmp_path / "b.csv")
    assert page.input_value("#filter-words") == ""


def test_a_file_s_settings_follow_your_own_labels(open_tab: Open, tmp_path: Path) -> None:
    page = open_tab("file")
    (tmp_path / "a.csv").write_text("id,text,comment\n1,I am happy,x\n", encoding="utf-8")
    page.set_input_files("#file-input", tmp_path / "a.csv")
    page.wait_for_selector("#file-settings:not([hidden])")
    page.select_option("#file-settings [name=column]", "comment")
    page.locator("#file-settings input[type=range]").fill("0.5")
    page.click("#tab-own")
    (tmp_path / "mine.toml").write_text('delight = "Being happy"\n', encoding="utf-8")
    page.set_input_files("#own-file", tmp_path / "mine.toml")
    page.wait_for_selector(".card >> nth=0")
    page.click("#tab-file")
    assert page.input_value("#file-settings [name=column]") == "comment"
    assert page.locator("#file-settings th.chosen").inner_text() == "comment"
    assert page.input_value("#file-settings input[type=range]") == "0.5"
    assert page.locator("#file-settings [name=level] option").all_inner_texts()[-1] == "your own 1"
    page.select_option("#file-settings [name=level]", label="your own 1")
    page.click("text=Find emotions")
    page.wait_for_selector("#file-result:not([hidden])")


def test_a_refused_label_is_named(open_tab: Open, tmp_path: Path) -> None:
    page = open_tab("own", expected="status of 4")
    typed(page, "I am happy", "own")
    (tmp_path / "mine.toml").write_text(f'calm = "Ease"\nlong = "{"words " * 600}"\n', encoding="utf-8")
    page.set_input_files("#own-file", tmp_path / "mine.toml")
    until(page, "document.getElementById('own-problem').textContent.includes('labels.long')")


def test_a_start_that_fails_is_told(open_tab: Open) -> None:
    page = open_tab(expected="JSON")
    page.route("**/v1/labels", lambda route: route.fulfill(content_type="text/html", body="<p>Log in</p>"))
    page.reload()
    page.wait_for_selector("#content > .problem")
    assert "could not read the server" in page.inner_text("#content > .problem")
