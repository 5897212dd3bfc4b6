"""The page of a prepared dataset: readable, self-contained, without a handle of the source or anything that runs."""

import base64
import re
from html.parser import HTMLParser

import pandas as pd

from steps.sentiment import profile, report
from steps.sentiment.dataset import Options, Prepared, prepare
from steps.sentiment.sources import COLUMNS, Raw

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags, visible text and images of a page; fails on a tag that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.cells: list[str] = []
        self.images: dict[str, bytes] = {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")
        if tag == "img":
            found = dict(attrs)
            self.images[found["alt"]] = base64.b64decode(found["src"].removeprefix("data:image/png;base64,"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.cells[-1] += data


def prepared_from(texts: list[str], users: list[str] | None = None) -> Prepared:
    """Prepare `texts` among 60 plain tweets, so that all splits have both classes."""
    plain = [f"{word} day number {number} of {number * 7}" for number in range(30) for word in ("awful", "lovely")]
    rows = pd.DataFrame({"text": texts + plain, "target": [0] * len(texts) + [0, 4] * 30})
    rows["user"] = None if users is None else users + [f"plainuser{number}" for number in range(60)]
    return prepare(Raw(rows.reindex(columns=list(COLUMNS)).astype({"date": "datetime64[ns]"})), Options(seed=1))


def page_of(prepared: Prepared, source: str = "source") -> str:
    profiled = prepared.tweets[prepared.tweets["split"] == "train"]
    return report.render(prepared, profiled, profile.of_texts(profiled["text"]), source)


def test_page_shows_counts_balance_shares_and_figures():
    prepared = prepared_from(["so &amp; so", "twice over", "Twice  OVER", "we met at noon &lt;3"])
    page = Page(page_of(prepared))
    cells = dict(zip(page.cells, page.cells[1:], strict=False))
    assert prepared.counts["dropped: repeated text"] == -1
    assert cells["rows read"] == "64"
    assert cells["dropped: repeated text"] == "-1"
    assert cells["texts repaired"] == "2"
    for name, count in prepared.counts.items():
        assert cells[name].replace(",", "").lstrip("+") == str(count)
    for split in ("train", "validation", "test"):
        labels = prepared.tweets.loc[prepared.tweets["split"] == split, "label"]
        at = page.cells.index(split)
        expected = [f"{(labels == 0).sum()}", f"{labels.sum()}", f"{labels.mean():.1%}"]
        assert page.cells[at + 1 : at + 4] == expected
    assert set(page.images) == {
        "lengths in characters",
        "lengths in words",
        "top words, negative",
        "top words, positive",
    }
    for image in page.images.values():
        assert image.startswith(b"\x89PNG")
        assert len(image) > 5000


def test_page_shows_repaired_texts_before_and_after():
    page = Page(page_of(prepared_from(["fish &amp; chips", "a cafÃ© by the sea"])))
    cells = dict(zip(page.cells, page.cells[1:], strict=False))
    assert cells["fish &amp; chips"] == "fish & chips"
    assert cells["a cafÃ© by the sea"] == "a café by the sea"


def test_page_says_when_nothing_needed_repair():
    assert "No text of this source needed repair" in page_of(prepared_from([]))


def test_page_is_self_contained():
    page = page_of(prepared_from(["see http://evil.example/x.js &amp; weep"]))
    assert not re.search(r"""(?:src|href)\s*=\s*(?!["']?data:)""", page)
    assert "@import" not in page
    assert "evil.example" not in page


def test_a_tweet_stays_text():
    texts = [
        "<script>alert(1)</script> &amp; more",
        "&lt;script&gt;alert(2)&lt;/script&gt; so there",
        "&amp;lt;script&amp;gt;alert(3)&amp;lt;/script&amp;gt; so there",
        '"><img src=x onerror=alert(4)> &amp; more',
        "{{ 7 * 7 }} {% raw %} &amp; more",
    ]
    page = Page(page_of(prepared_from(texts)))
    assert "script" not in page.tags
    assert page.tags.count("img") == 4
    assert set(texts) <= set(page.cells)


def test_a_source_name_stays_text():
    assert "script" not in Page(page_of(prepared_from([]), "<script>x</script>")).tags


def test_no_handle_of_the_source_is_shown():
    texts = [
        "@quokkaone &amp; me at the zoo",
        ".@quokkatwo you &amp; me",
        "â€œ@quokkathree: so hungryâ€\x9d same here",
        "thanks@quokkafour &amp; friends",
        "cc &#64;quokkafive thanks",
        "see http://a.example/quokkasix &amp; weep",
    ]
    prepared = prepared_from(texts, users=[f"quokkauser{number}" for number in range(6)])
    assert {before for before, _ in prepared.repaired} == set(texts)
    assert re.findall(r"quokka\w+", page_of(prepared)) == []


def test_top_words_are_those_of_their_class_and_no_handles(monkeypatch):
    shown: dict[str, set[str]] = {}
    real = report.plots.bars

    def bars(values, title, *rest):
        shown[title] = set(values)
        return real(values, title, *rest)

    monkeypatch.setattr(report.plots, "bars", bars)
    page_of(prepared_from([f"@quokkaqueen is awful, she said {word}" for word in ("one", "two", "three", "four")]))
    negative, positive = shown["Words of negative tweets"], shown["Words of positive tweets"]
    assert "awful" in negative
    assert "lovely" in positive
    assert not negative & positive
    assert not any("quokka" in word for word in negative | positive)


def test_texts_without_a_common_word_make_a_page_too():
    # As in a script that puts no spaces between words.
    texts = [chr(0x4E00 + 50 * number) * 3 + chr(0x4E01 + 50 * number) for number in range(60)]
    rows = pd.DataFrame({"text": texts, "target": [0, 4] * 30})
    prepared = prepare(Raw(rows.reindex(columns=list(COLUMNS)).astype({"date": "datetime64[ns]"})), Options())
    assert Page(page_of(prepared)).images
