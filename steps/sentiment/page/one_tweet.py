"""The tab for one tweet: label, probability, whether the model is sure, and the words that drove it."""

from typing import Any

import streamlit as st

from steps.sentiment.page import highlight, verdicts
from steps.sentiment.page.client import Answers, Client, EndpointError

#: Characters of a tweet that is typed in, and words that a model explains.
CHARACTERS, EXPLAINED = 4000, 64
_ICONS = {"negative": ":material/sentiment_dissatisfied:", "positive": ":material/sentiment_satisfied:"}
_COLOURS = {"negative": "red", "positive": "green"}


@st.fragment
def draw(client: Client) -> None:
    """Draw the tab."""
    with st.form("one tweet", border=False):
        text = st.text_area(
            "Tweet", max_chars=CHARACTERS, placeholder="@AirParadis lost my bag again", help="Ctrl+Enter scores it."
        )
        asked = st.form_submit_button("Score", type="primary")
    # What is empty takes the answer before away at once, not when the next one has come: a verdict on it would be lost until then.
    place = st.empty() if asked else st.container()
    if asked:
        st.session_state.pop("one", None)
        if not text.strip():
            st.warning("Type a tweet first.")
        else:
            try:
                st.session_state["one"] = (text, client.score([text], explain=True))
            except EndpointError as error:
                st.error(str(error))
    if "one" in st.session_state:
        judged, answers = st.session_state["one"]
        with place.container() if asked else place:
            _answer(client, judged, answers)


def _answer(client: Client, text: str, answers: Answers) -> None:
    (record,) = answers.records
    summary(record)
    st.caption(f"Answered by version {answers.version}.")
    st.markdown("**The words that drove it**")
    words(record)
    verdicts.buttons(client, text, record, "one")


def summary(record: dict[str, Any]) -> None:
    """Draw label and probability, and whether they are to be trusted."""
    label, score = record["label"], record["score"]
    st.subheader(f":{_COLOURS[label]}[{_ICONS[label]} {label.capitalize()}]", anchor=False)
    st.progress(score, text=f"Probability of positive: {score:.1%}")
    if record["unsure"]:
        st.warning("Unsure: with a probability like this one the model is right less than two times in three.")
    if record["truncated"]:
        st.info("The tweet is longer than the model reads; its end counted for nothing.")


def words(record: dict[str, Any]) -> None:
    """Draw the words that drove an answer."""
    if not record["words"]:
        st.caption("There is no word in it.")
        return
    st.html(highlight.highlighted(record["words"]))
    more = f" Only the first {EXPLAINED} words are looked at." if len(record["words"]) >= EXPLAINED else ""
    st.caption(f"Each number is what the probability of positive would lose without the word.{more}")
