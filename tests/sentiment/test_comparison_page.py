"""The page of a comparison: every figure of it, nobody's handle, one file, tables that sort in a browser."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from steps.sentiment import comparison_page, error_analysis

MODELS = ["bert <i>minilm</i>", "baseline", "average"]
NOISE = {
    "voters": ["baseline", "<i>other</i>"],
    "suspect_rows": 57,
    "suspect_negative": 30,
    "suspect_positive": 27,
    "rankings": {
        "test_roc_auc": MODELS,
        "cleaned_test_roc_auc": ["baseline", MODELS[0], "average"],
        "cleaned_by_others_test_roc_auc": [],
    },
}
ERRORS = pd.DataFrame(
    [
        (MODELS[0], "false positive", "negative", 0.95, 3.0, "good +0.60", "<b>so</b> good, thanks @user"),
        ("voters", "label in doubt", "positive", 0.02, 3.9, "", "not bad http://…"),
    ],
    columns=list(error_analysis.COLUMNS),
)


def result(labels: dict[str, Any] | None = None) -> dict[str, Any]:
    measured = {
        "validation_roc_auc": 0.9,
        "test_roc_auc": 0.8,
        "cleaned_test_roc_auc": 0.95,
        "test_accuracy_negation": 0.75,
    }
    models = [
        {"name": name, "champion": name == "baseline", "metrics": {**measured, "test_accuracy": accuracy}}
        for name, accuracy in zip(MODELS, (0.7, 0.1, 0.55), strict=True)
    ]
    models[0]["metrics"] |= {"test_accuracy_low": 0.65, "test_accuracy_high": 0.74, "train_rows": 1_500_000}
    return {
        "dataset_digest": "0123", "dataset_source": "toy", "test_rows": 1234, "human_test_rows": 0, "core_hour_price": 0.05,
        "models": models, "labels": labels,
    }  # fmt: skip


def behaved() -> pd.DataFrame:
    rows = [
        {
            "model": model,
            "test": test,
            "capability": "negation",
            "kind": "MFT",
            "rate": rate,
            "examples": ["not {good}"][: rate > 0],
        }
        for model, rates in zip(MODELS, ((0.25, 0.0), (0.5, 1.0), (0.125, 0.0)), strict=True)
        for test, rate in zip(("hard_negation", "easy_negation"), rates, strict=True)
    ]
    return pd.DataFrame(rows)


def page(labels: dict[str, Any] | None = None, errors: pd.DataFrame = ERRORS) -> str:
    return comparison_page.render(result(labels), behaved(), errors, {"roc": Figure(), "confusion-x": Figure()})


def shown(html: str) -> str:
    return " ".join(re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def test_every_figure_is_on_the_page() -> None:
    text = shown(page(NOISE))
    assert "3 models on 1,234 test rows" in text
    assert "baseline (champion) 0.9000 0.1000 0.8000" in text
    assert "0.7000 0.6500 to 0.7400" in text
    assert "1,500,000" in text
    assert "negation 0.750 0.750 0.750" in text
    assert "hard negation not {good} MFT 25.0% 50.0% 12.5%" in text
    assert "easy negation MFT 0.0% 100.0% 0.0%" in text
    assert "57 of 1,234 labels are probably wrong" in text
    assert "baseline 0.8000 (2.) 0.9500 (1.)" in text
    assert "good, thanks @user good +0.60" in text
    assert "ms, one tweet" not in text, "a column that no model has"


def test_a_text_stays_text_and_the_page_is_self_contained() -> None:
    html = page(NOISE)
    assert "&lt;b&gt;so&lt;/b&gt; good" in html
    assert "&lt;i&gt;other&lt;/i&gt;" in html
    assert "bert &lt;i&gt;minilm" in html
    assert not re.search(r"<(link|iframe)|(src|href)=\"(?!data:|#)", html)
    for tag in ("table", "tbody", "thead", "tr", "td", "th", "div", "details"):
        assert len(re.findall(rf"<{tag}[ >]", html)) == html.count(f"</{tag}>"), tag


def test_a_page_without_errors_and_without_voters_is_a_page() -> None:
    html = page(None, ERRORS[:0])
    assert "Labels in doubt" not in html
    assert html.endswith("</body></html>")


@pytest.mark.parametrize(
    ("title", "clicks", "order"), [("accuracy", 1, "021"), ("accuracy", 2, "120"), ("model", 1, "210")]
)
def test_tables_sort_in_a_browser(tmp_path: Path, title: str, clicks: int, order: str) -> None:
    click = f"""<script>
    const button = [...document.querySelectorAll("th button")].find(one => one.textContent === "{title}");
    for (let turn = 0; turn < {clicks}; turn++) button.click();
    document.title = [...document.querySelector("table.sorts").tBodies[0].rows].map(row => row.cells[0].textContent).join("|");
    </script>"""
    path = tmp_path / "page.html"
    path.write_text(page(NOISE).replace("</body>", f"{click}</body>"), encoding="utf-8")
    browser = (
        "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    )
    done = subprocess.run(
        [
            *browser.split(),
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path}/profile",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (found,) = re.findall(r"<title>(.*?)</title>", done.stdout)
    wanted = [MODELS[int(place)].replace("<", "&lt;").replace(">", "&gt;") for place in order]
    assert found.replace(" (champion)", "").split("|") == wanted
