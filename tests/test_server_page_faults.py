"""What once went wrong in the page: tables as Excel writes them, a cancelled wait, keys that cannot be sent, bars without a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from browsing import Open, opening, until, wait_for
from emodef.files.sources import open_source
from emodef.server.settings import Limits
from page_server import PageServer, typed

KEY = "0123456789abcdef key"
FIRST_ROWS = "async ([name, text]) => (await import('/assets/rows.js')).firstRows(new File([text], name))"


def held_back(page: Any, held: list[Any], count: int) -> None:
    wait_for(page, lambda: len(held) >= count)


@pytest.mark.parametrize(
    ("name", "content", "text_column"),
    [
        ("excel.csv", "id;text\r\n1;I am happy, so happy\r\n2;why is it\r\n", "text"),
        ("tabs.csv", "id\ttext\n1\tI am happy, so happy; yes\n", "text"),
        ("spaces.csv", "id, text\n1,I am happy\n", "text"),
        ("quoted.tsv", '"id"\t"text"\n1\t"I am happy,\nso happy"\n', "text"),
        ("as_it_stands.tsv", 'id\ttext\n1\t"I am happy\n', "text"),
    ],
)
def test_tables_of_every_kind_are_predicted(
    open_tab: Open, tmp_path: Path, name: str, content: str, text_column: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    page = open_tab("file")
    page.set_input_files("#file-input", path)
    assert page.input_value("#file-settings [name=column]") == text_column
    assert page.locator("#file-settings .cells th").count() == 2
    page.click("text=Find emotions")
    page.wait_for_selector("#file-result:not([hidden])")
    assert page.locator("#file-rows th").all_inner_texts()[1:3] == [text_column, "predicted"]
    assert "joy" in page.locator("#file-rows td.chosen").first.inner_text()


def test_columns_are_named_as_the_server_names_them(open_tab: Open, tmp_path: Path) -> None:
    page = open_tab("file")
    for name, content in (
        ("commas.csv", "text,b;c\n1,2\n"),  # as many of each: the comma
        ("in_quotes.csv", '\ufeff"a;b;c",text, d \n1,2,3\n'),
        ("late_quote.csv", 'a; "text"\n1;2\n'),
        ("blank.csv", "\n\nid;comment, in full, as written\n\n1;Thank you\n"),  # of the lines that are some
        ("lines.csv", 'id;comment, in full, as written\n1;"Yes, really, I\nam"\n'),
        ("one.csv", "text\na,b;c\n"),
        ("quotes.tsv", '"text"\t"a\tb"\r\n1\t2\r\n'),
        ("commas.tsv", "text\ta,b,c\n1\t2\n"),
    ):
        (tmp_path / name).write_bytes(content.encode())
        found = page.evaluate(FIRST_ROWS, [name, content])
        columns = found["columns"]
        table = open_source(str(tmp_path / name), columns[0], found["format"]).table
        assert list(table.columns) == columns, name


def test_what_is_cancelled_while_the_server_is_gone_is_never_sent(
    browser: Any, tiny_light: Path, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("cancelled.txt", "sent.txt")]
    for path in files:
        path.write_text("I am happy\n", encoding="utf-8")
    server = PageServer(tiny_light, tmp_path / "jobs").start()
    with opening(browser, server.address) as open_it:
        page = open_it(f"{server.address}/#file", expected="Failed to load resource")
        page.wait_for_selector("body.ready")
        sent: list[str] = []
        page.on("request", lambda asked: sent.append(asked.url) if asked.method == "POST" else None)
        page.set_input_files("#file-input", files[0])
        server.stop()
        page.click("text=Find emotions")
        page.wait_for_selector("#banner:not([hidden])")
        page.click("#file-stop")
        page.wait_for_selector("#banner", state="hidden")  # nothing is asked again any more
        assert page.is_visible("#file-drop")
        server.start()
        page.set_input_files("#file-input", files[1])
        page.click("text=Find emotions")
        page.wait_for_selector("#file-result:not([hidden])")
        assert page.inner_text("#file-name") == "sent.txt"
        assert sent == [f"{server.address}/v1/jobs"]
    server.stop()


def test_a_file_above_the_limit_is_refused_before_it_is_sent(
    browser: Any, tiny_light: Path, tmp_path: Path
) -> None:
    """Else the server would cut the browser off while it sends, and no reader learn why."""
    large = tmp_path / "large.txt"
    large.write_text("I am happy\n" * 400_000, encoding="utf-8")
    server = PageServer(tiny_light, tmp_path / "jobs", limits=Limits(upload_bytes=2_000_000)).start()
    with opening(browser, server.address) as open_it:
        page = open_it(f"{server.address}/#file")
        page.wait_for_selector("body.ready")
        sent: list[str] = []
        page.on("request", lambda asked: sent.append(asked.url) if asked.method == "POST" else None)
        page.set_input_files("#file-input", large)
        page.click("text=Find emotions")
        page.wait_for_selector("#file-problem:not([hidden])")
        said = page.inner_text("#file-problem")
        assert "large.txt has 4,400,000 bytes, and this server takes 2,000,000 at most" in said
        assert sent == []
        large.write_text("I am happy\n", encoding="utf-8")
        page.set_input_files("#file-input", large)
        page.click("text=Find emotions")
        page.wait_for_selector("#file-result:not([hidden])")
    server.stop()


def test_a_key_that_cannot_be_sent_is_asked_for_again(browser: Any, tiny_light: Path, tmp_path: Path) -> None:
    server = PageServer(tiny_light, tmp_path / "jobs", keys=(KEY,)).start()
    with opening(browser, server.address) as open_it:
        page = open_it(server.address, expected="401")
        page.wait_for_selector("#key-dialog[open]")
        for wrong in (KEY.replace(" ", "\u2013"), f"{KEY}\u200b"):
            page.fill("#key", wrong)
            page.keyboard.press("Enter")
            until(page, "document.getElementById('key').value === ''")
            assert "cannot be sent" in page.inner_text("#key-hint")
            assert page.is_visible("#key-dialog")
            assert page.evaluate("document.activeElement.id") == "key"
            assert page.evaluate("sessionStorage.getItem('emodef.key')") is None
        page.evaluate("sessionStorage.setItem('emodef.key', '\u2013')")  # as it was kept once
        page.reload()
        page.wait_for_selector("#key-dialog[open]")
        page.fill("#key", f" {KEY} ")
        page.keyboard.press("Enter")
        page.wait_for_selector("body.ready")
    server.stop()


def test_the_key_is_still_asked_for_after_escape(browser: Any, tiny_light: Path, tmp_path: Path) -> None:
    server = PageServer(tiny_light, tmp_path / "jobs", keys=(KEY,)).start()
    with opening(browser, server.address) as open_it:
        page = open_it(server.address, expected="401")
        page.wait_for_selector("#key-dialog[open]")
        for _ in range(3):  # a browser lets a dialog keep itself open once
            page.keyboard.press("Escape")
        page.wait_for_selector("#key-dialog[open]")
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector("body.ready")
        assert page.is_hidden("#key-dialog")
    server.stop()


def test_bars_and_threshold_before_there_is_a_text(open_tab: Open) -> None:
    page = open_tab()
    explained: list[str] = []
    page.on(
        "request",
        lambda asked: explained.append(asked.post_data_json["text"]) if "explain" in asked.url else None,
    )
    anger = ".feel:has(.name:text-is('anger'))"
    for pressed in ("true", "false", "true"):
        page.click(anger)
        assert page.get_attribute(anger, "aria-pressed") == pressed
        page.locator("#text-threshold input").fill("0.5")
    typed(page, "I am happy, not angry")
    page.wait_for_selector("#text-words b:text-is('anger')")  # what was picked before
    assert explained == ["I am happy, not angry"]


def test_words_that_come_when_there_are_no_scores_are_left_out(open_tab: Open) -> None:
    page = open_tab(expected="500")
    typed(page, "I am happy")
    page.wait_for_selector("#text-words li")
    held: list[Any] = []
    page.route("**/v1/predict", lambda route: held.append(route))
    page.route("**/v1/explain", lambda route: held.append(route))
    page.evaluate("""() => {
        const { json } = Response.prototype;
        Response.prototype.json = async function () {
            const found = await json.call(this);
            setTimeout(() => { window.dealtWith = this.url; }); // when all that waits for it is done
            return found;
        };
    }""")
    typed(page, "I am furious")
    held_back(page, held, 1)
    page.click(".feel >> nth=0")  # of the text before, and asks for words of this one
    held_back(page, held, 2)
    labels, words = held
    labels.fulfill(status=500, json={"error": {"code": "fault", "message": "it broke", "field": None}})
    page.wait_for_selector("#text-verdict .problem")
    words.continue_()
    until(page, "window.dealtWith?.endsWith('/v1/explain')")
    assert page.inner_text("#text-words") == ""


def test_what_does_not_pass_by_itself_is_told_and_not_asked_again(open_tab: Open) -> None:
    page = open_tab(expected="503")
    asked: list[str] = []

    def late(route: Any) -> None:
        asked.append(route.request.url)
        error = {"error": {"code": "timed_out", "message": "no answer within 30 seconds", "field": None}}
        route.fulfill(status=503, headers={"Retry-After": "1"}, json=error)

    page.route("**/v1/predict", late)
    typed(page, "I am happy")
    page.wait_for_selector("#text-verdict .problem")
    assert "30 seconds" in page.inner_text("#text-verdict")
    assert page.is_hidden("#banner")
    assert len(asked) == 1


def test_what_is_asked_while_a_question_runs_waits_and_is_asked_once(open_tab: Open) -> None:
    asked_at = """async () => {
        const { Newest } = await import("/assets/api.js");
        const asked = [], open = [], early = [];
        const ask = (input) => new Promise((resolve) => { asked.push(input); open.push(resolve); });
        const newest = new Newest({ wait: 100, ask, tell: () => {}, fail: () => {} });
        const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
        const answer = async () => { open.splice(0).forEach((resolve) => resolve()); await after(20); };
        newest.push("a");
        await after(150);
        newest.push("b");
        await answer();
        early.push(...asked);
        await answer();
        await after(200);
        await answer();
        return [early, asked];
    }"""
    assert open_tab().evaluate(asked_at) == [["a"], ["a", "b"]]


def test_jobs_that_ended_badly_are_removed(open_tab: Open, page_server: PageServer, tmp_path: Path) -> None:
    """And one that could not be asked after is, when another file is sent; a reload would have found it."""
    page = open_tab("file", expected="Failed to load resource")
    answers: list[dict[str, Any]] = [
        {"status": 500, "json": {"error": {"code": "internal", "message": "it broke", "field": None}}},
        {"json": {"id": "x", "state": "failed", "error": "it has no text", "rows_done": 0, "rows": None}},
    ]
    jobs: list[str] = []
    removed: list[str] = []

    def job(route: Any) -> None:
        identifier = route.request.url.rpartition("/")[2]
        if route.request.method == "DELETE":
            removed.append(identifier)
            return route.continue_()
        jobs.append(identifier)
        return route.fulfill(**answers[len(jobs) - 1])

    page.route("**/v1/jobs/*", job)
    (tmp_path / "a.txt").write_text("I am happy\n", encoding="utf-8")
    page.set_input_files("#file-input", tmp_path / "a.txt")
    kept = "sessionStorage.getItem('emodef.job')"
    page.click("text=Find emotions")
    until(page, "document.getElementById('file-problem').textContent === 'it broke'")
    assert (removed, page.evaluate(kept)) == ([], jobs[0])
    page.click("text=Find emotions")
    until(page, "document.getElementById('file-problem').textContent === 'it has no text'")
    wait_for(page, lambda: removed == jobs)
    assert page.evaluate(kept) is None
    assert len(set(jobs)) == 2
    for identifier in jobs:
        address = f"{page_server.address}/v1/jobs/{identifier}"
        wait_for(page, lambda address=address: page.request.get(address).status == 404)


def test_a_result_without_charts_is_a_result(open_tab: Open, tmp_path: Path) -> None:
    page = open_tab("file")
    (tmp_path / "a.csv").write_text("text,date\nI am happy,soon\nI am sad,2026-01-02\n", encoding="utf-8")

    def predict() -> None:
        page.set_input_files("#file-input", tmp_path / "a.csv")
        page.click("text=Find emotions")
        page.wait_for_selector("#file-result:not([hidden])")

    page.route("**/summary", lambda route: route.fulfill(json={"error": "it has no labels"}))
    predict()
    assert page.inner_text("#file-notes") == "There are no charts of it: it has no labels"
    assert page.is_hidden("#file-charts")
    assert page.locator("#file-rows tbody tr").count() == 2
    with page.expect_download() as download:
        page.click("#file-download")
    assert Path(download.value.path()).read_bytes().count(b"\n") == 3
    page.unroute("**/summary")
    page.click("#file-again")
    predict()
    assert page.locator("#file-notes li").count() == 1
    assert "Times that cannot be read, not in the timeline: 1" in page.inner_text("#file-notes")
    assert page.locator("#file-charts .share").count() > 0
