"""The page, as Streamlit runs it anew for each visitor and each time that they do something."""

import os

import streamlit as st

from steps.sentiment.page import live, many_tweets, one_tweet, versions, watch
from steps.sentiment.page.client import About, Client, EndpointError

#: Where the entry point `ui` leaves the address of the endpoint, and where a person puts its key.
ADDRESS, KEY = "UI_ENDPOINT", "SERVE_API_KEY"
#: Seconds between two looks at who answers.
LOOK = 10
#: Streamlit leaves six empty lines above a page, for a toolbar that this one does not have.
_STYLE = "<style>[data-testid='stMainBlockContainer'] { padding-top: 2.5rem; }</style>"


def main() -> None:
    """Draw the page."""
    address, key = os.environ[ADDRESS], os.environ.get(KEY, "")
    st.set_page_config(page_title="Tweet sentiment", page_icon="💬", layout="centered")
    client: Client = st.session_state.setdefault("client", Client(address, key))
    st.html(_STYLE)
    st.title("Tweet sentiment", anchor=False)
    about = _ask(client)
    _who(client, about)
    names = ["One tweet", "Many tweets", "Last hour", "Two versions"]
    one, many, last_hour, two = st.tabs(names, key="tab", on_change="rerun")
    with one:
        one_tweet.draw(client)
    with many:
        many_tweets.draw(address, key, client)
    if last_hour.open:  # drawn anew every few seconds, which would take time from a list that is being scored
        with last_hour:
            live.draw(watch.of(address, key))
    with two:
        versions.draw(client, about)


def _ask(client: Client) -> About | None:
    try:
        found = client.about()
        st.session_state.pop("down", None)
    except EndpointError as error:
        st.session_state["down"] = str(error)
        return None
    return found


@st.fragment(run_every=LOOK)
def _who(client: Client, about: About | None) -> None:
    # Who answers, or that nobody does; the whole page is drawn anew when that has changed.
    if _ask(client) != about:
        st.rerun()
    if about is None:
        st.error(
            f"{st.session_state['down']} Nothing can be scored until it does; what you have scored stays here. "
            f"This page looks again every {LOOK} seconds.",
            icon=":material/cloud_off:",
        )
        return
    beside = f", and version {about.also} can be asked beside it" if about.also else ""
    st.caption(
        f"English tweets: negative or positive? {about.name} version {about.version} ({about.family}) answers{beside}."
    )


main()
