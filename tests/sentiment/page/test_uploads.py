"""Files as people have them: what each is read as, or the sentence that says what is wrong."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steps.sentiment.page import uploads
from steps.sentiment.page.uploads import EncodingError, UploadError


def parquet(index: str | None = None, **columns: Any) -> bytes:
    content, frame = io.BytesIO(), pd.DataFrame(columns)
    (frame.set_index(index) if index else frame).to_parquet(content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.csv", b"id,text\n1,late again\n2,\"late, again\"\n", ["late again", "late, again"]),
        ("a.csv", b"\xef\xbb\xbftext\r\nNA\r\nnull\r\n", ["NA", "null"]),
        ("a.csv", "text;when\ntrès bien;now\n".encode("utf-16"), ["très bien"]),
        ("a.tsv", b"when\ttweet\nnow\tlate\n", ["late"]),
        ("a.csv", b"tweet\nlate, again, and again\n", ["late, again, and again"]),
        ("a.csv", b'tweet\n"two\nlines"\n', ["two\nlines"]),
        ("a.txt", b"late, again\n\n  \nlost \"my bag\n", ["late, again", 'lost "my bag']),
        ("A.PARQUET", parquet(stars=[1, 2], tweet=["late", None]), ["late"]),
        ("a.csv", b"text, text\nlate,again\n", ["late"]),
        ("a.parquet", parquet(text=[b"late", "très".encode(), b"\xff"]), ["late", "très", "\ufffd"]),
        ("a.parquet", parquet("text", text=["late"], stars=[1]), ["late"]),
    ],
)  # fmt: skip
def test_the_texts_are_found(name: str, content: bytes, texts: list[str]) -> None:
    frame = uploads.table(name, content)
    column = uploads.text_columns(frame)[0]
    assert uploads.texts(frame, column)[column].tolist() == texts


def test_a_table_without_a_heading_keeps_its_first_line() -> None:
    frame = uploads.table("a.csv", b"1,late again\n2,lost my bag\n", heading=False)
    assert frame.to_dict("list") == {"column 1": ["1", "2"], "column 2": ["late again", "lost my bag"]}
    assert uploads.text_columns(frame) == ["column 2", "column 1"]


def test_columns_of_one_name_are_told_apart() -> None:
    content = io.BytesIO()
    pq.write_table(pa.table([["late"], ["early"]], names=["text", "text"]), content)
    for name, found in (("a.parquet", content.getvalue()), ("a.csv", b"text, text\nlate,early\n")):
        assert uploads.table(name, found).to_dict("list") == {"text": ["late"], "text (column 2)": ["early"]}


def test_a_column_of_texts_is_guessed_by_name_before_length() -> None:
    frame = uploads.table("a.csv", b"url,Tweet ,by\nhttps://a.very.long.address.example,late,me\n")
    assert uploads.text_columns(frame) == ["Tweet", "url", "by"]


def test_cells_of_any_kind_are_texts_and_nested_columns_are_left_out() -> None:
    frame = uploads.table("a.parquet", parquet(text=["a", None], number=[1.5, np.nan], parts=[["x"], []]))
    assert frame.to_dict("list") == {"text": ["a", ""], "number": ["1.5", ""]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b" \n\n", "a.csv holds nothing but blanks"),
        ("a.csv", b"text\n", "a.csv has no rows below its heading"),
        ("a.csv", b"\x00\x01", "a.csv is no text in UTF-8"),
        ("a.csv", b"stars,when\n5,2026-11-27 10:00\n1,2026-11-28 09:30\n", "a.csv has no column of texts"),
        ("a.parquet", parquet(stars=[1, 2], share=[0.5, None]), "a.parquet has no column of texts"),
        ("a.csv", b"id,text\n1,a,b\n", "a.csv has rows with more cells than its heading"),
        ("a.csv", b"id,text\n1,a\n1,a,b\n", "a.csv is no table that can be read: Expected 2 fields in line 3, saw 3."),
        ("a.csv", b'id,text\n1,"open\n', "a.csv is no table that can be read: EOF inside string"),
        ("a.parquet", b"PAR1", "a.parquet is no Parquet file"),
        ("a.parquet", b"text\nlate\n", "a.parquet is no Parquet file"),
        ("a.parquet", parquet(parts=[["x"]]), "a.parquet has no column of texts"),
        ("a.csv", b"x" * (50 * 2**20 + 1), "a.csv has 50 MB; allowed: 50 MB"),
    ],
)
def test_what_cannot_be_used_is_told(name: str, content: bytes, message: str) -> None:
    with pytest.raises(UploadError) as error:
        uploads.table(name, content)
    assert str(error.value).startswith(message)


def test_too_many_rows_are_told_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_ROWS", 10)
    for name, content in (("a.csv", b"text\n" + b"late\n" * 11), ("a.parquet", parquet(text=["late"] * 11))):
        with pytest.raises(UploadError, match="has 11 rows; allowed: 10"):
            uploads.table(name, content)
    monkeypatch.setattr(uploads, "MOST_UNPACKED", 0)
    with pytest.raises(UploadError, match="unpacks to"):
        uploads.table("a.parquet", parquet(text=["late"]))


def test_a_wrong_encoding_is_told_and_the_right_one_reads() -> None:
    content = "text\ncafé\n".encode("cp1252")
    with pytest.raises(EncodingError, match="not written in UTF-8"):
        uploads.table("a.csv", content)
    assert uploads.table("a.csv", content, "Windows-1252 (Excel)")["text"].tolist() == ["café"]
    unmarked = "text\nlate\n".encode("utf-16-le")
    with pytest.raises(EncodingError, match="no text in UTF-8"):
        uploads.table("a.csv", unmarked)
    assert uploads.table("a.csv", unmarked, "UTF-16")["text"].tolist() == ["late"]
    with pytest.raises(EncodingError, match="not written in UTF-16"):
        uploads.table("a.csv", b"odd", "UTF-16")


def test_a_hundred_thousand_rows_are_read() -> None:
    frame = uploads.table("a.csv", pd.DataFrame({"text": ["lost my bag, again"] * 100_000}).to_csv().encode())
    assert len(uploads.texts(frame, "text")) == 100_000
