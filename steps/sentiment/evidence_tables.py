"""Tables of the results page that stand there only where the evidence holds what they show: older evidence does not."""

from collections.abc import Iterable
from typing import Any

from tabulate import tabulate

#: What a model's `run.json` holds.
Evidence = dict[str, Any]


def further(found: list[Evidence]) -> list[str]:
    """Return all tables that these models of one dataset have, in Markdown; the best on validation come first in each."""
    tables = [_measured(found), _behaviour(found)]
    for same in _by_comparison(found):
        tables += [*(_against(name, same) for name in ("baseline", "champion")), _labels(same)]
    return [table for table in tables if table]


def figure(metrics: dict[str, float], name: str, digits: int = 4) -> str:
    """Return a metric with its interval, where it has one; empty where it was not measured."""
    if name not in metrics:
        return ""
    ends = [f"{metrics[end]:.{digits}f}" for end in (f"{name}_low", f"{name}_high") if end in metrics]
    return f"{metrics[name]:.{digits}f}" + (f" [{', '.join(ends)}]" if ends else "")


def markdown(rows: Iterable[dict[str, str]]) -> str:
    """Return a table in Markdown."""
    return tabulate(list(rows), headers="keys", tablefmt="github", disable_numparse=True)


def _measured(found: list[Evidence]) -> str:
    rows = [
        {
            "model": run["name"],
            "F1, negative": figure(test, "test_f1_negative"),
            "F1, macro": figure(test, "test_f1_macro"),
            "PR AUC": figure(test, "test_pr_auc"),
            "Brier": figure(test, "test_brier"),
            "ECE": figure(test, "test_ece"),
            "unsure (accuracy there / elsewhere)": _trusted(test),
            "MB in memory": f"{test['peak_memory_mb']:.0f}",
            "USD per million tweets": f"{test['usd_per_million_tweets']:.4f}",
        }
        for run, test in _with(found, "usd_per_million_tweets")
    ]
    prices = {f"{run['core_hour_price']:g}" for run, _ in _with(found, "usd_per_million_tweets")}
    costs = f"memory is the peak of a fresh process, a core costs {' or '.join(sorted(prices))} USD an hour"
    return f"What else was measured ({costs}):\n\n{markdown(rows)}" if rows else ""


def _trusted(test: dict[str, float]) -> str:
    names = ("test_unsure_share", "test_unsure_accuracy", "test_sure_accuracy")
    share, inside, outside = (f"{test[name]:.3f}" if name in test else "–" for name in names)
    return f"{share} ({inside} / {outside})"


def _behaviour(found: list[Evidence]) -> str:
    tested = [(run, _starting(run["test_metrics"], "behaviour_")) for run in found]
    tested = [(run, rates) for run, rates in tested if rates]
    names = dict.fromkeys(name for _, rates in tested for name in rates)
    rows = [
        {"behaviour": name.replace("_", " ")}
        | {run["name"]: f"{rates[name]:.1%}" if name in rates else "" for run, rates in tested}
        for name in names
    ]
    return f"Share of failed cases by behaviour:\n\n{markdown(rows)}" if rows else ""


def _against(name: str, same: list[Evidence]) -> str:
    rows = [
        {
            "model": run["name"],
            "accuracy above it": figure(test, f"accuracy_above_{name}"),
            "p (McNemar)": f"{test[f'p_against_{name}']:.2g}",
            "ROC AUC above it": figure(test, f"roc_auc_above_{name}"),
            "p (DeLong)": f"{test[f'roc_auc_p_against_{name}']:.2g}",
        }
        for run, test in _with(same, f"roc_auc_p_against_{name}")
    ]
    return f"Against the {name}, *{same[0]['opponents'][name]}*:\n\n{markdown(rows)}" if rows else ""


def _labels(same: list[Evidence]) -> str:
    kinds = ("", "cleaned_", "cleaned_by_others_")
    rows = [
        {"model": run["name"]}
        | {
            f"{title}, {where}": f"{test[f'{kind}{name}']:.4f}" if f"{kind}{name}" in test else ""
            for name, title in (("test_accuracy", "accuracy"), ("test_roc_auc", "ROC AUC"))
            for kind, where in zip(kinds, ("all rows", "without suspects", "by others"), strict=True)
        }
        for run, test in _with(same, "cleaned_test_roc_auc")
    ]
    if not rows:
        return ""
    labels, count = same[0]["labels"], same[0]["test_rows"]
    return (
        f"Labels in doubt: by confident learning {labels['suspect_rows']:,} of {count:,} test labels are probably wrong "
        f"({labels['suspect_negative']:,} labelled negative, {labels['suspect_positive']:,} positive), by the mean score of "
        f"{', '.join(f'*{voter}*' for voter in labels['voters'])}. A tweet that is hard for all of them looks the same, and a voter "
        f"is flattered by what it votes out; `by others` leaves out, for each model, equally many rows that other families "
        f"chose:\n\n{markdown(rows)}"
    )


def _with(found: list[Evidence], metric: str) -> list[tuple[Evidence, dict[str, float]]]:
    return [(run, run["test_metrics"]) for run in found if metric in run["test_metrics"]]


def _starting(metrics: dict[str, float], start: str) -> dict[str, float]:
    return {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}


def _by_comparison(found: list[Evidence]) -> list[list[Evidence]]:
    # Opponents and suspects are those of one comparison.
    groups: dict[str, list[Evidence]] = {}
    for run in found:
        groups.setdefault(run.get("comparison_run_id", ""), []).append(run)
    return list(groups.values())
