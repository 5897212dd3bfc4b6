"""Every accepted format is read, every bad file is refused in one line, and a download survives a server that does not."""

import csv
import hashlib
import io
import re
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from steps.sentiment import sources
from steps.sentiment.command_line import InputError

PUBLISHED = [
    ("0", "1", "Mon Apr 06 22:19:45 PDT 2009", "NO_QUERY", "rainyruth", "the café is shut, again"),
    ("4", "2", "Mon Apr 06 22:19:49 PDT 2009", "NO_QUERY", "sunnysid", 'she said "yes", to ME &amp; the dog'),
    ("0", "3", "Mon Apr 06 22:20:01 PDT 2009", "NO_QUERY", "rainyruth", "two lines\nof grief"),
    ("4", "4", "Mon Apr 06 22:20:02 PDT 2009", "NO_QUERY", "oda", "  best soup, ever :)  "),
]
HUMAN = [
    ("4", "9", "d", "soup", "zoe", "the soup here is lovely"),
    ("2", "8", "d", "soup", "yan", "the soup is served at noon"),
    ("0", "7", "d", "soup", "xia", "the soup was cold"),
]
TRAINING_NAME = "training.1600000.processed.noemoticon.csv"
TEST_NAME = "testdata.manual.2009.06.14.csv"
#: What a broken-off download may lose: the block that was under way.
BLOCK = 1 << 16


def as_csv(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue()


def as_zip(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return content.getvalue()


def many(rows: int) -> str:
    return as_csv([(str(4 * (row % 2)), str(row), "d", "q", f"user{row}", f"tweet no {row}") for row in range(rows)])


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        sources.read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


# Accepted formats


def test_published_csv_in_latin_1(file):
    raw = sources.read(file("tweets.csv", as_csv(PUBLISHED).encode("latin-1")))
    assert raw.tweets["text"].tolist() == [row[5] for row in PUBLISHED]
    assert raw.tweets["target"].tolist() == [0, 4, 0, 4]
    assert raw.tweets["user"].tolist() == ["rainyruth", "sunnysid", "rainyruth", "oda"]
    assert raw.tweets["sample"].isna().all()
    assert tuple(raw.tweets.columns) == sources.COLUMNS
    assert sum(raw.bad.values()) == 0
    assert raw.human_test is None


def test_dates_as_published_and_of_other_kinds_and_what_is_none(tmp_path):
    given = ["Mon Apr 06 22:19:45 PDT 2009", "2009-06-25 10:28:31", "2009-06-25T17:28:31+00:00", "yesterday", "", None]
    rows = pd.DataFrame({"target": [0, 4] * 3, "text": list("abcdef"), "date": given})
    rows.to_csv(tmp_path / "tweets.csv", index=False)
    rows.to_parquet(tmp_path / "tweets.parquet")
    rows.assign(date=pd.to_datetime(["2009-04-06 22:19:45"] * 6)).to_parquet(tmp_path / "times.parquet")
    rows.drop(columns="date").to_parquet(tmp_path / "without.parquet")
    expected = [
        pd.Timestamp("2009-04-06 22:19:45"),
        pd.Timestamp("2009-06-25 10:28:31"),
        pd.Timestamp("2009-06-25 17:28:31"),
    ]
    for name in ("tweets.csv", "tweets.parquet"):
        found = sources.read(tmp_path / name).tweets["date"]
        assert found.iloc[:3].tolist() == expected, name
        assert found.iloc[3:].isna().all(), name
    assert (sources.read(tmp_path / "times.parquet").tweets["date"] == expected[0]).all()
    assert sources.read(tmp_path / "without.parquet").tweets["date"].isna().all()


def test_a_byte_that_is_not_utf_8_makes_the_file_latin_1_and_loses_no_byte(file):
    heart = "i ♥ soup".encode()
    rows = as_csv([PUBLISHED[0], PUBLISHED[1]]).encode("latin-1") + b'"4","5","d","q","oda","' + heart + b'"\n'
    text = sources.read(file("tweets.csv", rows)).tweets["text"].iloc[-1]
    assert text == "i â\x99¥ soup"
    assert text.encode("latin-1") == heart


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_with_and_without_byte_order_mark(file, encoding):
    raw = sources.read(
        file("tweets.csv", as_csv([*PUBLISHED, ("4", "5", "d", "q", "oda", "i ♥ soup 😀")]).encode(encoding))
    )
    assert raw.tweets["text"].iloc[-1] == "i ♥ soup 😀"
    assert raw.tweets["target"].iloc[0] == 0


@pytest.mark.parametrize("lineterminator", ["\n", "\r\n"])
def test_csv_with_header_in_any_order_with_other_columns(file, lineterminator):
    lines = ["place,text,sample,target", 'Oslo,"cold, wet",random,0', 'Rome,"warm ""and"" dry",edge,4']
    raw = sources.read(file("tweets.csv", lineterminator.join(lines) + lineterminator))
    assert raw.tweets["text"].tolist() == ["cold, wet", 'warm "and" dry']
    assert raw.tweets["target"].tolist() == [0, 4]
    assert raw.tweets["sample"].tolist() == ["random", "edge"]
    assert raw.tweets["user"].isna().all()


@pytest.mark.parametrize("folder", ["", "trainingandtestdata/"])
def test_zip_as_published_brings_its_human_labelled_test(file, folder):
    content = as_zip(
        {
            f"{folder}{TRAINING_NAME}": as_csv(PUBLISHED).encode("latin-1"),
            f"{folder}{TEST_NAME}": as_csv(HUMAN).encode("latin-1"),
        }
    )
    raw = sources.read(file("trainingandtestdata.zip", content))
    assert raw.tweets["text"].tolist() == [row[5] for row in PUBLISHED]
    assert raw.human_test is not None
    assert raw.human_test.columns.tolist() == ["target", "text"]
    assert raw.human_test["target"].tolist() == [4, 2, 0]
    assert raw.human_test["text"].tolist() == [row[5] for row in HUMAN]


def test_parquet(tmp_path):
    path = tmp_path / "tweets.parquet"
    pd.DataFrame({"target": [0, 4], "text": ["no", "yes"], "user": ["a", None], "id": [1, 2]}).to_parquet(path)
    raw = sources.read(path)
    assert raw.tweets["text"].tolist() == ["no", "yes"]
    assert raw.tweets["target"].tolist() == [0, 4]
    assert raw.tweets["user"].iloc[0] == "a"
    assert pd.isna(raw.tweets["user"].iloc[1])
    assert "id" not in raw.tweets


def test_format_is_told_by_content_not_by_name(file, tmp_path):
    assert len(sources.read(file("tweets.txt", as_csv(PUBLISHED))).tweets) == 4
    assert len(sources.read(file("tweets.dat", as_zip({"a.csv": as_csv(PUBLISHED).encode()}))).tweets) == 4
    pd.DataFrame({"target": [0], "text": ["no"]}).to_parquet(tmp_path / "tweets.bin")
    assert len(sources.read(tmp_path / "tweets.bin").tweets) == 1


def test_human_labelled_test_from_a_file_of_its_own(file):
    rows = sources.read_human_test(file("human.csv", as_csv(HUMAN)))
    assert rows.columns.tolist() == ["target", "text"]
    assert rows["target"].tolist() == [4, 2, 0]


def test_locate_names_the_sample_and_paths():
    assert sources.locate("sample") == sources.SAMPLE
    assert sources.locate("some/tweets.csv") == Path("some/tweets.csv")


def test_fingerprint_follows_content_not_name(file):
    one, same = file("one.csv", as_csv(PUBLISHED)), file("same.csv", as_csv(PUBLISHED))
    other = file("other.csv", as_csv(PUBLISHED[:3]))
    assert sources.fingerprint(str(one), "") == sources.fingerprint(str(same), "")
    assert sources.fingerprint(str(one), "") != sources.fingerprint(str(other), "")
    assert sources.fingerprint(str(one), "") != sources.fingerprint(str(one), str(other))
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        sources.fingerprint("nowhere.csv", "")


# A few bad rows are counted


def test_few_bad_rows_are_counted_by_reason(file):
    bad = ('"3","1","d","q","u","what label is this"\n"0","1","d","q","u",""\n"0","1","d","q","u","   "\n'
           '"4","1","d","only five"\n')  # fmt: skip
    raw = sources.read(file("tweets.csv", many(1000) + bad))
    assert len(raw.tweets) == 1000
    assert {reason: count for reason, count in raw.bad.items() if count} == {
        "a label other than 0, 2 or 4": 1,
        "a null or empty text": 2,
        "a wrong number of columns": 1,
    }


def test_few_null_texts_of_a_parquet_are_counted(tmp_path):
    path = tmp_path / "tweets.parquet"
    texts = [f"tweet no {row}" for row in range(500)]
    texts[7] = None  # type: ignore[call-overload]
    pd.DataFrame({"target": [0, 4] * 250, "text": texts}).to_parquet(path)
    raw = sources.read(path)
    assert len(raw.tweets) == 499
    assert raw.bad["a null or empty text"] == 1


# Bad files


def test_missing_file(tmp_path):
    assert "no such file" in refused(tmp_path / "nowhere.csv")


def test_folder_instead_of_a_file(tmp_path):
    assert "no such file" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_empty_file(file, content):
    assert re.search("empty|0 columns|no tweet", refused(file("tweets.csv", content)))


@pytest.mark.parametrize("content", ["target,text", "target,text\n"])
def test_header_alone(file, content):
    assert "no tweet" in refused(file("tweets.csv", content))


def test_five_columns(file):
    assert "5 columns" in refused(file("tweets.csv", as_csv([row[1:] for row in PUBLISHED])))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16(file, encoding):
    assert "UTF-16" in refused(file("tweets.csv", as_csv(PUBLISHED).encode(encoding)))


def test_utf_16_within_a_zip(file):
    assert "UTF-16" in refused(file("tweets.zip", as_zip({TRAINING_NAME: as_csv(PUBLISHED).encode("utf-16")})))


def test_label_names_instead_of_numbers(file):
    text = "target,text\n" + "negative,so sad\npositive,so glad\n" * 5
    assert "10 with a label other than 0, 2 or 4" in refused(file("tweets.csv", text))


def test_other_label_numbers(file):
    rows = "".join(f'{row % 2},"tweet no {row}"\n' for row in range(10))
    assert "5 with a label other than 0, 2 or 4, of 10 rows" in refused(file("tweets.csv", "target,text\n" + rows))


def test_null_texts(tmp_path):
    path = tmp_path / "tweets.parquet"
    pd.DataFrame({"target": [0, 4, 0], "text": ["no", None, None]}).to_parquet(path)
    assert "2 with a null or empty text, of 3 rows" in refused(path)


def test_text_column_of_numbers(tmp_path):
    path = tmp_path / "tweets.parquet"
    pd.DataFrame({"target": [0, 4, 0], "text": [1, 2, 3]}).to_parquet(path)
    assert "text" in refused(path)


def test_parquet_without_the_columns(tmp_path):
    path = tmp_path / "tweets.parquet"
    pd.DataFrame({"label": [0], "tweet": ["no"]}).to_parquet(path)
    message = refused(path)
    assert "no column target and no column text" in message
    assert "label, tweet" in message


def test_parquet_without_rows(tmp_path):
    path = tmp_path / "tweets.parquet"
    pd.DataFrame({"target": [0], "text": ["no"]}).iloc[:0].to_parquet(path)
    assert "no tweet" in refused(path)


def test_truncated_parquet(tmp_path):
    path = tmp_path / "tweets.parquet"
    pd.DataFrame({"target": [0, 4] * 500, "text": [f"tweet no {row}" for row in range(1000)]}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-200])
    assert "not a readable parquet" in refused(path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.6, 0.98])
def test_truncated_zip(file, kept):
    whole = as_zip({TRAINING_NAME: many(2000).encode(), TEST_NAME: as_csv(HUMAN).encode()})
    assert "zip" in refused(file("tweets.zip", whole[: int(kept * len(whole))]))


def test_zip_damaged_in_the_middle(file):
    whole = bytearray(as_zip({TRAINING_NAME: many(2000).encode()}))
    for start in range(60, len(whole) - 400, 500):
        damaged = (
            bytes(whole[:start]) + bytes(255 - byte for byte in whole[start : start + 40]) + bytes(whole[start + 40 :])
        )
        assert "zip" in refused(file("tweets.zip", damaged))


def test_zip_without_a_training_file(file):
    assert "0 training CSV files" in refused(file("tweets.zip", as_zip({TEST_NAME: as_csv(HUMAN).encode()})))
    two = as_zip({"a.csv": b"x", "b.csv": b"x"})
    assert "2 training CSV files" in refused(file("tweets.zip", two))


def test_binary_file(file):
    refused(file("tweets.csv", bytes(range(256)) * 100))


def test_unbalanced_quote_that_swallows_the_rest_of_a_large_file(file):
    rows = many(60_000).splitlines(keepends=True)
    rows[3] = '"0","3","d","q","user3","tweet" no "3\n'
    try:
        raw = sources.read(file("tweets.csv", "".join(rows)))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert len(raw.tweets) + raw.bad["a wrong number of columns"] > 59_000, "rows vanished without being counted"


# Downloading


@dataclass
class Server:
    """A loopback web server: what it serves, how it misbehaves, and what it was asked for."""

    content: bytes
    ranges: bool = True
    breaks: int = 0  #: answers that stop halfway
    status: int = 200
    asked: list[str | None] = field(default_factory=list)
    sent: int = 0
    address: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        if self.status != 200:
            request.send_error(self.status)
            return
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted and self.ranges else 0
        if wanted and self.ranges and start >= len(self.content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if wanted and self.ranges else 200)
        if wanted and self.ranges:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.breaks:
            self.breaks -= 1
            body = body[: len(body) // 2]
            request.close_connection = True
        self.sent += len(body)
        request.wfile.write(body)


@pytest.fixture
def serve() -> Iterator[Callable[[Server], Server]]:
    running = []

    def start(server: Server) -> Server:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.append(http)
        server.address = f"http://127.0.0.1:{http.server_port}/{sources.ZIP}"
        return server

    yield start
    for http in running:
        http.shutdown()
        http.server_close()


@pytest.fixture(scope="module")
def published() -> bytes:
    return as_zip({TRAINING_NAME: many(60_000).encode(), TEST_NAME: as_csv(HUMAN).encode()})


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.time, "sleep", lambda seconds: None)


def start_of(asked: str | None) -> int:
    assert asked is not None
    return int(asked.removeprefix("bytes=").removesuffix("-"))


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/{sources.ZIP}"


def test_download_is_checked_kept_and_not_repeated(tmp_path, serve, published):
    server = serve(Server(published))
    path = sources.download(tmp_path / "raw", [server.address], md5(published))
    assert path.read_bytes() == published
    assert [entry.name for entry in path.parent.iterdir()] == [sources.ZIP]
    assert len(sources.read(path).tweets) == 60_000
    assert sources.download(tmp_path / "raw", [server.address], md5(published)) == path
    assert len(server.asked) == 1


def test_download_goes_on_where_the_server_broke_off(tmp_path, serve, published):
    server = serve(Server(published, breaks=2))
    path = sources.download(tmp_path, [server.address], md5(published))
    assert path.read_bytes() == published
    starts = [start_of(asked) for asked in server.asked]
    assert starts[0] == 0
    assert len(starts) == 3
    assert len(published) // 2 - BLOCK < starts[1] < starts[2] < len(published)
    assert server.sent < len(published) + 2 * BLOCK


def test_download_starts_anew_where_the_server_knows_no_ranges(tmp_path, serve, published):
    server = serve(Server(published, breaks=1, ranges=False))
    path = sources.download(tmp_path, [server.address], md5(published))
    assert path.read_bytes() == published
    assert server.sent == len(published) // 2 + len(published)


def test_download_goes_on_at_another_mirror_and_in_another_process(tmp_path, serve, published):
    broken, whole = serve(Server(published, breaks=99)), serve(Server(published))
    with pytest.raises(InputError):
        sources.download(tmp_path, [broken.address], md5(published), attempts=1)
    assert not (tmp_path / sources.ZIP).exists()
    path = sources.download(tmp_path, [closed_port(), whole.address], md5(published))
    assert path.read_bytes() == published
    assert len(whole.asked) == 1
    assert len(published) // 2 - BLOCK < start_of(whole.asked[0]) <= len(published) // 2


def test_download_whose_last_byte_had_already_come_is_not_fetched_again(tmp_path, serve, published):
    (tmp_path / sources.ZIP).with_suffix(".part").write_bytes(published)
    server = serve(Server(published))
    assert sources.download(tmp_path, [server.address], md5(published)).read_bytes() == published
    assert server.sent == 0


def test_download_skips_a_mirror_that_answers_with_an_error(tmp_path, serve, published):
    gone, whole = serve(Server(b"", status=404)), serve(Server(published))
    assert sources.download(tmp_path, [gone.address, whole.address], md5(published)).read_bytes() == published
    assert gone.asked == ["bytes=0-"]


def test_wrong_checksum_is_refused_and_removed(tmp_path, serve, published):
    server = serve(Server(published[:-1] + b"?"))
    with pytest.raises(InputError, match="MD5") as caught:
        sources.download(tmp_path, [server.address], md5(published), attempts=2)
    assert "\n" not in str(caught.value)
    assert md5(published[:-1] + b"?") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_damaged_part_of_an_earlier_download_does_not_stand_in_the_way(tmp_path, serve, published):
    (tmp_path / sources.ZIP).with_suffix(".part").write_bytes(b"?" * 1000)
    server = serve(Server(published))
    assert sources.download(tmp_path, [server.address], md5(published)).read_bytes() == published


def test_damaged_file_of_an_earlier_download_is_replaced(tmp_path, serve, published):
    (tmp_path / sources.ZIP).write_bytes(b"half a zip")
    server = serve(Server(published))
    assert sources.download(tmp_path, [server.address], md5(published)).read_bytes() == published


def test_all_mirrors_down_is_one_line_that_tells_what_to_do(tmp_path, serve, published):
    gone, dead = serve(Server(b"", status=503)), closed_port()
    with pytest.raises(InputError) as caught:
        sources.download(tmp_path, [gone.address, dead], md5(published), attempts=2)
    message = str(caught.value)
    assert "\n" not in message
    assert gone.address in message
    assert dead in message
    assert "data=PATH" in message
    assert list(tmp_path.iterdir()) == []
    assert len(gone.asked) == 2


def test_server_with_nothing_to_give(tmp_path, serve, published):
    server = serve(Server(b""))
    with pytest.raises(InputError, match="could not be downloaded"):
        sources.download(tmp_path, [server.address], md5(published), attempts=1)
    assert list(tmp_path.iterdir()) == []


def test_lines_lost_to_an_unclosed_quote_are_counted_and_refused(file):
    rows = [f"{4 * (row % 2)},tweet no {row}" for row in range(1000)]
    rows[500] = '0,"an open quote'
    assert "with a line lost to an unclosed quote, of 100" in refused(
        file("open.csv", "target,text\n" + "\n".join(rows))
    )


def test_carriage_returns_alone_end_lines_too(file):
    assert len(sources.read(file("old.csv", "target,text\r0,bad day\r4,good day\r")).tweets) == 2
