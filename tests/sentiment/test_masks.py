"""What people are shown of a tweet names nobody."""

import pytest

from steps.sentiment.masks import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@ottosocks hello", "@user hello"),
        ("so, @otto_socks: no", "so, @user: no"),
        ("âš@ottosocks", "âš@user"),
        ("&#64;ottosocks", "@user"),
        ("write to me@example.com", "write to me@user.com"),
        ("see http://a.example/ottosocks?x=1 now", "see http://… now"),
        ("see WWW.example.com/@ottosocks", "see http://…"),
        ("meet @ noon, 3 @ 4", "meet @ noon, 3 @ 4"),
        ("#hashtags and don't :) stay", "#hashtags and don't :) stay"),
        ("", ""),
    ],
)
def test_handles_and_links_are_masked_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown
