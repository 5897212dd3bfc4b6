"""The tab that asks two versions of the model about the same tweets."""

import pandas as pd
import streamlit as st

from steps.sentiment.page import one_tweet, uploads
from steps.sentiment.page.client import About, Answers, Client, EndpointError

#: Tweets that are compared at once.
MOST = 200


@st.fragment
def draw(client: Client, about: About | None) -> None:
    """Draw the tab; `about` is None while the endpoint is down."""
    if about is None:
        st.info("The endpoint is down; which versions it has is not known.")
        return
    if about.also is None:
        st.info(f"Only version {about.version} answers here. To compare it, start the endpoint with a second one:")
        st.code("make serve FLAGS='--also models:/tweet-sentiment@challenger'", language="bash")
        return
    with st.form("versions", border=False):
        pasted = st.text_area(f"Tweets, one in each line, up to {MOST}", key="compared")
        asked = st.form_submit_button(f"Ask versions {about.version} and {about.also}", type="primary")
    if asked:
        st.session_state.pop("both", None)
        texts = uploads.lines(pasted)
        if not texts or len(texts) > MOST:
            st.warning(f"Got {len(texts):,} tweets; allowed: 1 to {MOST}.")
        else:
            try:
                explain = len(texts) == 1
                both = [client.score(texts, explain, version) for version in (about.version, about.also)]
                st.session_state["both"] = (texts, both)
            except EndpointError as error:
                st.error(str(error))
    if "both" in st.session_state:
        texts, both = st.session_state["both"]
        _one(both) if len(texts) == 1 else _many(texts, both)


def _one(both: list[Answers]) -> None:
    for column, answers in zip(st.columns(len(both)), both, strict=True):
        with column:
            st.markdown(f"**Version {answers.version}**")
            one_tweet.summary(answers.records[0])
            one_tweet.words(answers.records[0])


def _many(texts: list[str], both: list[Answers]) -> None:
    labels = [[record["label"] for record in answers.records] for answers in both]
    differ = [len(set(pair)) > 1 for pair in zip(*labels, strict=True)]
    st.markdown(f"The versions differ on **{sum(differ):,} of {len(texts):,}** tweets.")
    scores = {f"version {answers.version}": [record["score"] for record in answers.records] for answers in both}
    share = st.column_config.NumberColumn(format="percent", width="small", help="Probability of positive")
    st.dataframe(
        pd.DataFrame({**scores, "differ": differ, "tweet": texts}),
        hide_index=True,
        column_config={"tweet": st.column_config.TextColumn(width="large"), **dict.fromkeys(scores, share)},
    )
