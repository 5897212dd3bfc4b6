"""The page's benchmark: 10,000 tweets of an uploaded file in real Chromium, beside the endpoint's own rate, and the first paint.

    make bench

The endpoint serves the model that comes with the project, with one worker. It is first asked for the tweets by 500 with nothing
between, then the page scores the same file, from the click until the download is there; twice each, in turn. The first useful paint
is the moment at which a tweet can be typed, from the request for the page, in a browser with an empty cache; the median of five.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.pages import chromium, opened, served_page, tab  # noqa: E402
from tests.serving import Server, serve  # noqa: E402

TWEETS, BATCH, ROUNDS, PAINTS = 10_000, 500, 2, 5
RATE, PAINT = 0.8, 3.0


def alone(server: Server, texts: list[str]) -> float:
    """Return the seconds in which the endpoint scores texts, asked for one batch after the other."""
    bodies = [json.dumps({"inputs": texts[at : at + BATCH]}).encode() for at in range(0, len(texts), BATCH)]
    start = time.perf_counter()
    for body in bodies:
        status, _, _ = server.request("/invocations", body, Content_Type="application/json")
        assert status == 200
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    texts = [f"@AirParadis lost my bag again, what a day number {number} oh dear :(" for number in range(TWEETS)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (file := folder / "tweets.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
        flags = ["--model", str(ROOT / "data/champion/model")]
        with (
            serve(folder, folder, *flags) as server,
            served_page(folder, server.address) as address,
            chromium() as browser,
        ):
            paints = []
            for _ in range(PAINTS):
                start = time.perf_counter()
                with opened(browser, address):
                    paints.append(time.perf_counter() - start)
            ratios = []
            for _ in range(ROUNDS):
                own = alone(server, texts)
                with opened(browser, address) as page:
                    tab(page, "Many tweets")
                    page.get_by_text("In a file").click()
                    page.locator("input[type=file]").set_input_files(file)
                    button = page.get_by_role("button", name=f"Score {TWEETS:,} tweets")
                    button.wait_for()
                    start = time.perf_counter()
                    button.click()
                    page.get_by_role("button", name="Download all (CSV)").wait_for(timeout=600_000)
                    seconds = time.perf_counter() - start
                ratios.append(own / seconds)
                print(
                    f"{TWEETS:,} tweets: endpoint {TWEETS / own:,.0f} a second, page {TWEETS / seconds:,.0f} a second"
                )
    print(f"page: {statistics.median(ratios):.2f} of the endpoint's own rate; wanted: {RATE}")
    print(
        f"page: first useful paint after {statistics.median(paints):.2f} s (first {paints[0]:.2f} s); wanted: {PAINT:g} s"
    )


if __name__ == "__main__":
    main()
