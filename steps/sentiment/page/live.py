"""The tab that shows what the endpoint did within the last hour, for everybody who asked it, not for this page alone."""

from datetime import datetime

import altair as alt
import pandas as pd
import streamlit as st

from steps.sentiment.page.watch import EVERY, Hour, Watch

#: Colours of the labels, told apart by people who see no red or green, too, and on light and dark.
COLOURS = {"negative": "#d95f02", "positive": "#1b9e77"}


@st.fragment(run_every=EVERY)
def draw(watch: Watch) -> None:
    """Draw the tab, anew every few seconds."""
    hour = watch.hour()
    since = datetime.fromtimestamp(hour.since).astimezone()
    st.caption(
        f"All requests since {since:%H:%M:%S}, when this page began to watch, or of the last hour if that is longer ago."
    )
    if not hour.up:
        st.error("The endpoint did not answer the last time it was asked.")
    _numbers(hour)
    if hour.texts:
        st.altair_chart(_chart(hour.minutes))
    else:
        st.info("No tweet was scored yet. Score one in another tab, and it will show here.")
    if hour.failed:
        st.markdown("**Failed requests, by status**")
        st.dataframe(pd.DataFrame(hour.failed.items(), columns=["status", "requests"]), hide_index=True)


def _numbers(hour: Hour) -> None:
    def share(part: float, whole: int) -> str:
        return f"{part / whole:.1%}" if whole else "–"

    median, high = (f"{1000 * one:,.0f} ms" for one in hour.seconds) if hour.seconds else ("–", "–")
    failed = sum(hour.failed.values())
    with st.grid(min_column_width=130):
        st.metric("Requests", f"{hour.requests:,}")
        st.metric("Tweets", f"{hour.texts:,}")
        st.metric("Negative", share(hour.labels.get("negative", 0), hour.texts))
        st.metric("Unsure", share(hour.unsure, hour.texts))
        st.metric("Latency, median", median)
        st.metric("Latency, 95 %", high)
        st.metric("Failed", share(failed, hour.requests), help="Requests with a status from 400 on.")
        st.metric("Said to be wrong", f"{hour.verdicts.get('wrong', 0):,}", help="Verdicts of people, at any page.")
    if hour.versions:
        told = ", ".join(f"version {version}: {count:,}" for version, count in sorted(hour.versions.items()))
        st.caption(f"Tweets by {told}.")


def _chart(minutes: pd.DataFrame) -> alt.Chart:
    long = minutes.rename_axis("minute").reset_index().melt("minute", var_name="label", value_name="tweets")
    return (
        alt.Chart(long, title="Tweets a minute")
        .mark_bar()
        .encode(
            x=alt.X(
                "yearmonthdatehoursminutes(minute):O", title=None, axis=alt.Axis(format="%H:%M", labelOverlap=True)
            ),
            y=alt.Y("tweets:Q", title=None),
            color=alt.Color(
                "label:N",
                title=None,
                scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
                legend=alt.Legend(orient="bottom"),
            ),
            tooltip=[alt.Tooltip("minute:T", format="%H:%M"), "label:N", "tweets:Q"],
        )
    )
