"""The page in a real Chromium, before a real endpoint with the bundled model, as a person uses it."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from steps import ui
from steps.sentiment import alert
from tests.conftest import ROOT
from tests.pages import SIZES, chromium, opened, score, served_page, settled, tab, unfold, version
from tests.serving import Ingestion, Server, free_port, serve, wait_for

TWEETS = ["worst flight ever", "love it, best crew ever", "@AirParadis why is my bag in Oslo?", "not bad at all"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return version(folder, "3"), version(folder, "4", intercept=4.0)


@pytest.fixture(scope="module")
def endpoint(
    models: tuple[Path, Path], service: Ingestion, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("endpoint")
    flags = ["--model", str(models[0]), "--also", str(models[1]), "--telemetry_cache", str(folder / "cache")]
    variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string, "SERVE_API_KEY": "open sesame"}
    with serve(folder, folder, *flags, **variables) as server:
        yield server


@pytest.fixture(scope="module")
def address(endpoint: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served_page(tmp_path_factory.mktemp("page"), endpoint.address, SERVE_API_KEY="open sesame") as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened(browser, address) as page:
        yield page


def upload(page: Page, name: str, content: bytes) -> None:
    tab(page, "Many tweets")
    settled(page)
    page.get_by_text("In a file").click()
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def test_three_wrong_clicks_raise_the_alert_and_two_do_not(page: Page, service: Ingestion) -> None:
    def heard(number: int) -> list[alert.Report]:
        wait_for(lambda: len(service.events("feedback")) >= before + number, 20)
        with service.lock:
            found = alert.reports(service.envelopes)
        assert len(found) == before + number
        return found[before:]

    before = len(service.events("feedback"))
    for number, text in enumerate(TWEETS[:3], 1):
        score(page, text)
        if number == 3:
            settled(page)
            page.get_by_text("They may keep the text").click()
        settled(page)
        page.get_by_role("button", name="Wrong").click()
        expect(page.get_by_text("Thank you. Noted as wrong")).to_be_visible()
        assert bool(alert.met(heard(number))) == (number == 3)
    said = [event["properties"] for event in service.events("feedback")[before:]]
    assert [one.get("text") for one in said] == [None, None, TWEETS[2]]
    assert {(one["mispredicted"], one["model_version"]) for one in said} == {("true", "3")}
    settled(page)
    page.get_by_role("button", name="Right").click()  # a slip of the hand
    expect(page.get_by_text("Thank you. Noted as right")).to_be_visible()
    assert not alert.met(heard(4))


def test_one_tweet_by_keyboard_alone(page: Page) -> None:
    page.get_by_label("Tweet", exact=True).focus()
    page.keyboard.type("the crew was lovely")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="Positive")).to_be_visible()
    expect(page.get_by_text("Answered by version 3.")).to_be_visible()
    settled(page)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText").endswith("Wrong"):
            break
    settled(page)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Thank you. Noted as wrong: it should be negative; no text was sent.")).to_be_visible()


def test_a_row_of_a_list_by_keyboard_alone(page: Page) -> None:
    tab(page, "Many tweets")
    page.get_by_label("Tweets, one in each line", exact=True).focus()
    page.keyboard.insert_text("\n".join(TWEETS))
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Download all").focus()
    settled(page)
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "CANVAS":
            break
    for key in ("ArrowDown", "Shift+Space"):  # the second row, which was called positive
        page.keyboard.press(key)
    page.get_by_role("button", name="Wrong").focus()
    settled(page)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Thank you. Noted as wrong: it should be negative; no text was sent.")).to_be_visible()


def test_markup_and_markdown_in_a_tweet_are_text(page: Page) -> None:
    evil = "<script>window.broken=1</script> <img/src=x/onerror=window.broken=1> ![x](http://127.0.0.1:9/x.png) **bold** &lt;b&gt;"
    score(page, evil)
    words = page.get_by_test_id("stHtml").filter(has=page.locator(".words"))
    for part in evil.split():
        expect(words).to_contain_text(part)
    tab(page, "Many tweets")
    page.get_by_label("Tweets, one in each line", exact=True).fill(evil)
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Download all").wait_for()
    assert page.evaluate("window.broken") is None


def test_a_click_right_after_typing_is_not_lost(page: Page) -> None:
    def click(name: str) -> None:  # as a finger does it: down, and up a moment later, without waiting for anything
        page.get_by_role("button", name=name, exact=True).click(delay=100)

    tab(page, "Many tweets")
    for number in (2, 3):
        page.get_by_label("Tweets, one in each line", exact=True).fill("\n".join(TWEETS[:number]))
        click("Score these tweets")
        expect(page.get_by_text(f"{number} of {number} tweets.")).to_be_visible()
    unfold(page, "Filter")
    page.get_by_label("With these words").fill("crew")
    with page.expect_download() as waiting:
        click("Download all (CSV)")
    assert pd.read_csv(waiting.value.path())["text"].tolist() == TWEETS[:3]
    page.get_by_label("With these words").fill("bag")
    click("Show these")
    expect(page.get_by_text("1 of 3 tweets.")).to_be_visible()


def test_an_answer_is_gone_as_soon_as_the_next_one_is_asked_for(page: Page, endpoint: Server) -> None:
    score(page, TWEETS[0])
    endpoint.process.send_signal(signal.SIGSTOP)
    try:
        page.get_by_label("Tweet", exact=True).fill(TWEETS[1])
        page.get_by_role("button", name="Score", exact=True).click()
        expect(page.get_by_role("button", name="Wrong")).to_have_count(0)  # a verdict on it would be lost
    finally:
        endpoint.process.send_signal(signal.SIGCONT)
    expect(page.get_by_role("heading", name="Positive")).to_be_visible()


def test_a_list_is_scored_filtered_and_downloaded(page: Page) -> None:
    frame = pd.DataFrame({"id": range(40), "text": [f"{tweet} {number}" for number in range(10) for tweet in TWEETS]})
    frame.loc[39, "text"] = "  "
    upload(page, "tweets.csv", frame.to_csv(index=False).encode("utf-8-sig"))
    expect(page.get_by_text("40 rows, 1 of them without a text")).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Score 39 tweets").click()
    with page.expect_download() as waiting:
        settled(page)
        page.get_by_role("button", name="Download all (CSV)").click()
    found = pd.read_csv(waiting.value.path(), encoding="utf-8-sig")
    assert found["id"].tolist() == list(range(39))
    assert found["text"].tolist() == frame["text"][:39].tolist()
    assert set(found["model_version"]) == {3}
    assert found["sentiment"].eq("positive").tolist() == found["probability_positive"].ge(0.5).tolist()
    unfold(page, "Filter")
    page.get_by_label("With these words").fill("CREW best")
    page.keyboard.press("Enter")
    expect(page.get_by_text("10 of 39 tweets")).to_be_visible()
    with page.expect_download() as waiting:
        settled(page)
        page.get_by_role("button", name="Download filtered (CSV)").click()
    assert pd.read_csv(waiting.value.path())["text"].tolist() == [text for text in frame["text"] if "crew" in text]


def test_a_parquet_file_without_a_column_called_text(page: Page) -> None:
    content = io.BytesIO()
    pd.DataFrame({"when": ["monday", "friday"], "said": TWEETS[:2], "stars": [1, 5]}).to_parquet(content)
    upload(page, "tweets.parquet", content.getvalue())
    expect(page.get_by_role("combobox", name="Column with the tweets")).to_have_value("said")
    settled(page)
    page.get_by_role("button", name="Score 2 tweets").click()
    page.get_by_role("button", name="Download all").wait_for()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "empty.csv is empty. Choose a file with one tweet a row."),
        ("numbers.csv", b"stars,price\n5,9.90\n", "numbers.csv has no column of texts."),
        ("heading.csv", b"text\n", "heading.csv has no rows below its heading."),
        (
            "photo.csv",
            b"\x00\x01\x02\x03",
            "photo.csv is no text in UTF-8. Choose another encoding, or a CSV or a Parquet file.",
        ),
        ("ragged.csv", b"id,text\n1,late\n2,late, again\n", "Expected 2 fields in line 3, saw 3."),
        ("broken.parquet", b"PAR1 and no more", "broken.parquet is no Parquet file, or a damaged one."),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(("csv", "parquet")) else "",
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(page: Page, name: str, content: bytes, message: str) -> None:
    upload(page, name, content)
    expect(page.get_by_test_id("stAlert")).to_contain_text(message)
    expect(page.get_by_role("button", name="tweets", exact=False)).to_have_count(0)


def test_a_text_that_is_too_long_is_left_out_and_told(page: Page) -> None:
    upload(page, "long.txt", b"a" * 5_000_000)
    page.get_by_role("button", name="Score 1 tweet", exact=True).click()
    expect(page.get_by_text("Left out, because they are longer than the endpoint takes: 1.")).to_be_visible()
    expect(page.get_by_test_id("stMetric")).to_have_count(0)  # there is nothing to count


def test_a_wrong_encoding_is_told_and_another_can_be_chosen(page: Page) -> None:
    upload(page, "excel.csv", "text\ncafé at the gate was très bien\n".encode("cp1252"))
    expect(page.get_by_test_id("stAlert")).to_contain_text(
        "excel.csv is not written in UTF-8. Choose another encoding."
    )
    settled(page)
    page.get_by_role("combobox", name="Encoding").click()
    settled(page)
    page.get_by_role("option", name="Windows-1252").click()
    page.get_by_role("button", name="Score 1 tweet", exact=True).wait_for()


def test_200_megabytes_are_refused_before_they_are_sent(page: Page, tmp_path: Path) -> None:
    with (large := tmp_path / "large.csv").open("wb") as file:
        file.write(b"text\n")
        file.truncate(200 * 2**20)
    tab(page, "Many tweets")
    settled(page)
    page.get_by_text("In a file").click()
    page.locator("input[type=file]").set_input_files(large)
    expect(page.get_by_text("File must be 50.0MB or smaller.")).to_be_visible()


def test_the_last_hour_shows_what_others_asked_too(page: Page, endpoint: Server) -> None:
    tab(page, "Last hour")
    key = {"Authorization": "Bearer open sesame"}
    before = endpoint.request("/metrics", **key)[2].decode()
    assert endpoint.post("/invocations", {"inputs": TWEETS * 25}, **key)[0] == 200
    assert endpoint.post("/invocations", {"inputs": None}, **key)[0] == 400
    assert before
    expect(page.get_by_text("Tweets a minute")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Failed requests, by status")).to_be_visible(timeout=30_000)


def test_two_versions_answer_the_same_tweets(page: Page) -> None:
    tab(page, "Two versions")
    page.get_by_label("Tweets, one in each line, up to 200").fill("\n".join(TWEETS))
    settled(page)
    page.get_by_role("button", name="Ask versions 3 and 4").click()
    expect(page.get_by_text("The versions differ on")).to_be_visible()
    page.get_by_label("Tweets, one in each line, up to 200").fill(TWEETS[2])
    settled(page)
    page.get_by_role("button", name="Ask versions 3 and 4").click()
    expect(page.get_by_role("heading", name="Negative")).to_be_visible()  # 3
    expect(page.get_by_role("heading", name="Positive")).to_be_visible()  # 4, which is moved that way


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_follows_its_colours(browser: Browser, address: str, size: str, scheme: str) -> None:
    with opened(browser, address, size, scheme) as page:
        score(page, "@AirParadis " + "averylongwordwithoutanend" * 8 + " lost my bag")
        for name in ("One tweet", "Many tweets", "Last hour", "Two versions"):
            tab(page, name)
            width = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
            assert width <= SIZES[size][0]
        background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
        red = int(background.split("(")[1].split(",")[0])
        assert (red < 64) == (scheme == "dark")


def test_an_endpoint_that_is_lost_in_mid_batch_loses_no_answer(
    browser: Browser, models: tuple[Path, Path], tmp_path: Path
) -> None:
    port = free_port()
    texts = [f"{tweet} {number}" for number in range(1000) for tweet in TWEETS]
    with served_page(tmp_path, f"http://127.0.0.1:{port}") as address, opened(browser, address) as page:
        expect(page.get_by_text("does not answer. Nothing can be scored until it does")).to_be_visible()
        page.get_by_label("Tweet", exact=True).fill("anybody there?")
        settled(page)
        page.get_by_role("button", name="Score", exact=True).click()
        expect(page.get_by_text(f"The endpoint http://127.0.0.1:{port} does not answer.", exact=True)).to_be_visible()
        with serve(tmp_path, tmp_path, "--model", str(models[0]), port=port) as server:
            expect(page.get_by_text("tweet-sentiment version 3 (bert) answers.")).to_be_visible(timeout=30_000)
            upload(page, "tweets.txt", "\n".join(texts).encode())
            page.get_by_role("button", name="Score 4,000 tweets").click()
            page.get_by_text(re.compile("^[1-9][0-9,]* of 4,000 tweets scored")).wait_for()
            server.process.send_signal(signal.SIGKILL)
            message = page.get_by_text("of 4,000 tweets were scored before; they are kept below.")
            message.wait_for()
        kept = int((message.inner_text().split(" does not answer. ")[1]).split(" of ")[0].replace(",", ""))
        assert 500 <= kept < 4000
        with page.expect_download() as waiting:
            settled(page)
            page.get_by_role("button", name="Download all (CSV)").click()
        assert pd.read_csv(waiting.value.path())["text"].tolist() == texts[:kept]
        with serve(tmp_path, tmp_path, "--model", str(models[0]), port=port):
            settled(page)
            page.get_by_role("button", name="Go on with the rest").click()
            page.get_by_text("4,000 of 4,000 tweets", exact=False).last.wait_for()
            page.get_by_role("button", name="Download all (CSV)").wait_for()
        with page.expect_download() as waiting:
            settled(page)
            page.get_by_role("button", name="Download all (CSV)").click()
        assert pd.read_csv(waiting.value.path())["text"].tolist() == texts


@pytest.mark.parametrize(
    ("flag", "value"), [("endpoint", "127.0.0.1:5001"), ("endpoint", "ftp://x"), ("port", "0"), ("host", "")]
)
def test_a_wrong_flag_is_named(capsys: pytest.CaptureFixture[str], flag: str, value: str) -> None:
    with pytest.raises(SystemExit) as ended:
        ui.main([f"--{flag}", value])
    assert ended.value.code == 2
    assert f"ui: error: --{flag}: got '{value}'; allowed: " in capsys.readouterr().err


def test_a_taken_port_is_one_line_and_a_stop_is_quick(tmp_path: Path) -> None:
    with served_page(tmp_path, "http://127.0.0.1:9") as address:
        port = address.rpartition(":")[2]
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, "-m", "steps.ui", "--port", port]
        done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=120, check=False)
        start = time.monotonic()
    assert time.monotonic() - start < 15
    assert done.returncode == 2
    assert done.stderr.startswith(f"ui: error: host=127.0.0.1, port={port}: Address already in use")
