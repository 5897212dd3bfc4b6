"""A profile counts every row once, tells the mean, and carries no text."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steps.sentiment import profile


def test_histogram_counts_each_edge_into_the_bin_that_it_opens():
    described = profile.histogram([0, 0.5, 1, 1.5, 2], [0, 1, 2])
    assert described == {"edges": [0, 1, 2], "counts": [2, 3], "mean": 1.0}


def test_values_beyond_the_edges_fall_into_the_outer_bins_but_count_in_full_for_the_mean():
    described = profile.histogram([-100, 0, 1000], [0, 10, 20])
    assert described["counts"] == [2, 1]
    assert described["mean"] == 300


def test_histogram_of_nothing():
    assert profile.histogram([], [0, 1]) == {"edges": [0, 1], "counts": [0], "mean": None}


@given(arrays(float, st.integers(0, 50), elements=st.floats(-1e6, 1e6)))
def test_histogram_loses_no_row(values):
    for edges in (profile.CHARACTERS, profile.WORDS, profile.SCORES):
        assert sum(profile.histogram(values, edges)["counts"]) == len(values)


def test_of_texts_measures_lengths_and_shares():
    texts = pd.Series(["short one", "is this a question?", "@oda_q look: http://a.example/b", "x" * 500])
    described = profile.of_texts(texts)
    assert described["rows"] == 4
    assert described["characters"]["mean"] == pytest.approx(texts.str.len().mean())
    assert described["words"]["mean"] == pytest.approx((2 + 4 + 3 + 1) / 4)
    assert sum(described["characters"]["counts"]) == sum(described["words"]["counts"]) == 4
    assert described["characters"]["counts"][-1] == 1
    assert described["shares"]["question"] == described["shares"]["mention"] == described["shares"]["link"] == 0.25
    assert described["shares"]["short"] == 1.0


def test_profile_is_json_without_a_word_of_the_texts():
    written = json.dumps(profile.of_texts(pd.Series(["quokka wombat", "@bilbyfan numbat"])), allow_nan=False)
    assert not any(word in written for word in ("quokka", "wombat", "bilbyfan", "numbat"))


def test_of_scores():
    described = profile.of_scores(np.array([0.0, 0.02, 0.5, 1.0]), np.array([False, False, True, False]))
    assert described["unsure_share"] == 0.25
    counts = described["scores"]["counts"]
    assert (counts[0], counts[10], counts[-1], sum(counts)) == (2, 1, 1, 4)
    assert described["scores"]["mean"] == pytest.approx(0.38)
