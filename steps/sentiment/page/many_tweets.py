"""The tab for many tweets: pasted or from a file, scored in the background; filters, download, and a verdict on any of them."""

import pandas as pd
import streamlit as st

from steps.sentiment.page import uploads, verdicts
from steps.sentiment.page.client import Client
from steps.sentiment.page.scoring import Filter, Job
from steps.sentiment.page.uploads import EncodingError, UploadError
from steps.sentiment.predictions import LABELS

#: Rows that are shown; a download has all.
SHOWN = 10_000
#: Seconds between two looks at the progress; drawing it takes time from the endpoint where both share a machine.
PROGRESS = 1.5


@st.fragment
def draw(address: str, key: str, client: Client) -> None:
    """Draw the tab.

    Args:
        address: of the endpoint.
        key: for it.
        client: for verdicts; a list is scored by one of its own.
    """
    source = st.radio("Where are the tweets?", ["Pasted here", "In a file"], horizontal=True)
    job: Job | None = st.session_state.get("job")
    busy = job is not None and job.running
    asked = _pasted(busy) if source == "Pasted here" else _uploaded(busy)
    if asked is not None:
        st.session_state["job"] = Job(Client(address, key), *asked)
        st.rerun(scope="fragment")
    if job is not None:
        _progress()
        if job.records:
            _results(client, job)


def _pasted(busy: bool) -> tuple[pd.DataFrame, str] | None:
    # What is to be scored now. A form sends its text together with the click. Without one, to leave the text would draw the tab anew,
    # and the click that left it would fall on what is being replaced, and be lost; so every text of the page is within a form.
    with st.form("a list", border=False):
        pasted = st.text_area("Tweets, one in each line", height=160, key="pasted", help="Ctrl+Enter scores them.")
        asked = st.form_submit_button("Score these tweets", type="primary", disabled=busy)
    if not asked or busy:
        return None
    found = uploads.lines(pasted)
    if not found:
        st.warning("Paste a tweet first.")
        return None
    return pd.DataFrame({"text": found}), "text"


def _uploaded(busy: bool) -> tuple[pd.DataFrame, str] | None:
    file = st.file_uploader(
        f"CSV, Parquet, or a text file with a tweet in each line, up to {uploads.MOST_MEGABYTES} MB",
        list(uploads.SUFFIXES),
    )
    if file is None:
        st.session_state.pop("file", None)
        return None
    lines = not file.name.lower().endswith(".parquet")
    heading = encoding = None
    if file.name.lower().endswith((".csv", ".tsv")):
        heading = st.checkbox("The first line names the columns", value=True)
    if lines:
        encoding = st.session_state.get("encoding", "UTF-8")
    wanted = (file.file_id, encoding, heading)
    if st.session_state.get("file", (None,))[0] != wanted:
        st.session_state["file"] = (
            wanted,
            *_read(file.name, file.getvalue(), encoding or "UTF-8", heading is not False),
        )
    _, frame, wrong, decoded = st.session_state["file"]
    if lines and (not decoded or encoding != "UTF-8"):
        st.selectbox("Encoding", list(uploads.ENCODINGS), key="encoding")
    if frame is None:
        st.error(wrong)
        return None
    column = st.selectbox("Column with the tweets", uploads.text_columns(frame))
    found = uploads.texts(frame, column)
    blank = len(frame) - len(found)
    st.caption(f"{len(frame):,} rows" + (f", {blank:,} of them without a text, which are left out." if blank else "."))
    st.dataframe(found[[column]].head(3), hide_index=True)
    if found.empty:
        return None
    label = f"Score {len(found):,} tweet{'s' * (len(found) != 1)}"
    asked = st.button(
        label, type="primary", disabled=busy, key="score file"
    )  # with a key it stays one button, whatever it is called
    return (found, column) if asked and not busy else None


def _read(name: str, content: bytes, encoding: str, heading: bool) -> tuple[pd.DataFrame | None, str, bool]:
    # The table, or what is wrong; and whether the encoding was right.
    try:
        return uploads.table(name, content, encoding, heading), "", True
    except EncodingError as error:
        return None, str(error), False
    except UploadError as error:
        return None, str(error), True


def _progress() -> None:
    # Drawn anew each second while a job runs, alone; the rest of the tab once it has ended.
    job: Job = st.session_state["job"]
    if job.running:
        _running()
        return
    if job.failed:
        st.error(f"{job.failed} {len(job.records):,} of {job.total:,} tweets were scored before; they are kept below.")
    elif not job.finished:
        st.warning(f"Stopped after {len(job.records):,} of {job.total:,} tweets; they are kept below.")
    if not job.finished and st.button("Go on with the rest"):
        job.resume()
        st.rerun(scope="fragment")
    if job.too_long:
        st.warning(f"Left out, because they are longer than the endpoint takes: {job.too_long:,}.")


@st.fragment(run_every=PROGRESS)
def _running() -> None:
    job: Job = st.session_state["job"]
    job.seen()
    done = len(job.records)
    st.progress(done / job.total, text=f"{done:,} of {job.total:,} tweets scored")
    if st.button("Stop"):
        job.stop()
        job.wait(5)
    if not job.running:
        st.rerun()


def _results(client: Client, job: Job) -> None:
    if job.running:
        return
    table = job.table()
    if table.empty:
        return
    negative = (table["sentiment"] == "negative").mean()
    with st.grid(3, min_column_width=120):
        st.metric("Tweets", f"{len(table):,}")
        st.metric("Negative", f"{negative:.1%}")
        st.metric("Unsure", f"{table['unsure'].mean():.1%}")
    st.caption(f"Answered by version {', '.join(dict.fromkeys(table['model_version']))}.")
    with st.expander("Filter"), st.form("filter", border=False):
        sentiments = st.pills("Sentiment", LABELS, selection_mode="multi", default=LABELS)
        low, high = st.slider("Probability of positive", 0.0, 1.0, (0.0, 1.0), 0.05)
        words = st.text_input("With these words")
        unsure = st.checkbox("Unsure ones only")
        st.form_submit_button("Show these")
    wanted = Filter(sentiments, low, high, words, unsure)
    found = wanted.of(table, job.text_column)
    more = f", the first {SHOWN:,} of which are shown" if len(found) > SHOWN else ""
    st.caption(
        f"{len(found):,} of {len(table):,} tweets{more}. Choose one (with keys: arrows, Shift+Space) to say whether it is right."
    )
    _downloads(job, wanted, found, table)
    chosen = st.dataframe(
        found[["sentiment", "probability_positive", job.text_column, "unsure"]].head(SHOWN),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="found",
        column_config={
            job.text_column: st.column_config.TextColumn("tweet", width="large"),
            "probability_positive": st.column_config.ProgressColumn(
                "positive", format="percent", min_value=0, max_value=1
            ),
        },
    )
    rows = [row for row in chosen.selection.rows if row < min(len(found), SHOWN)]
    if rows:
        row = found.iloc[rows[0]]
        st.text(row[job.text_column])
        record = {"label": row["sentiment"], "prediction_id": row["prediction_id"]}
        verdicts.buttons(client, row[job.text_column], record, "many")


def _downloads(job: Job, wanted: Filter, found: pd.DataFrame, table: pd.DataFrame) -> None:
    # The files are made before they are asked for: what Streamlit would make at a click is lost if the page is drawn anew just then.
    with st.container(horizontal=True):
        content = _csv("all", (job, len(job.records)), table)
        st.download_button("Download all (CSV)", content, "tweets.csv", "text/csv", on_click="ignore")
        if len(found) < len(table):
            content = _csv("filtered", (job, len(job.records), wanted), found)
            st.download_button("Download filtered (CSV)", content, "filtered-tweets.csv", "text/csv", on_click="ignore")


def _csv(name: str, of: tuple[object, ...], frame: pd.DataFrame) -> bytes:
    # Kept until it would be made of something else: a choice in the table draws all of this anew.
    kept = st.session_state.get(f"csv {name}")
    if kept is None or kept[0] != of:
        content = frame.to_csv(index=False).encode("utf-8-sig", "replace")  # with the mark by which Excel knows UTF-8
        st.session_state[f"csv {name}"] = kept = (of, content)
    return kept[1]
