"""Right or wrong, said by a person of an answer; their text is kept only if they say so, each time anew."""

from typing import Any

import streamlit as st

from steps.sentiment.page.client import Client, EndpointError
from steps.sentiment.predictions import LABELS

_SAID = "verdicts"


def other(label: str) -> str:
    """Return the other label."""
    return LABELS[1 - LABELS.index(label)]


def buttons(client: Client, text: str, record: dict[str, Any], place: str) -> None:
    """Draw the buttons under an answer, and what was said of it.

    Args:
        client: takes the verdict.
        text: the tweet.
        record: the answer to it.
        place: a name for this place on the page.
    """
    identity = record["prediction_id"]
    st.markdown("**Is this right?** What you say goes to the people who run the model.")
    keep = st.checkbox(
        "They may keep the text of this tweet, to look into the mistake", value=False, key=f"{place}-keep-{identity}"
    )
    with st.container(horizontal=True):
        right = st.button("Right", key=f"{place}-right-{identity}", icon=":material/thumb_up:")
        wrong = st.button("Wrong", key=f"{place}-wrong-{identity}", icon=":material/thumb_down:")
    said: dict[str, str] = st.session_state.setdefault(_SAID, {})
    if right or wrong:
        expected = record["label"] if right else other(record["label"])
        try:
            client.judge(identity, expected, text if keep else "")
        except EndpointError as error:
            st.error(f"Your verdict was not taken. {error}")
            return
        kept = "its text may be kept" if keep else "no text was sent"
        said[identity] = f"Thank you. Noted as {'right' if right else f'wrong: it should be {expected}'}; {kept}."
    if identity in said:
        st.success(said[identity], icon=":material/check:")
