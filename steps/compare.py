"""Evaluates the candidates and the present champion on the test split, once, and names the best.

    mlflow run . -e compare --env-manager local
    python -m steps.compare --candidates RUN_ID,RUN_ID

The only step that opens the test split. The winner is the best on validation (ROC AUC): test figures are for judging it,
not for choosing it. Takes little longer than the models need to score the rows (`make bench`). Leaves a finished run with a child
run per model (`test_` metrics with 95 % intervals, slices, tests against the champion and the best baseline, what it costs to
run, the share of failed cases of each behavioural test), the table, the scores of each test row, so that `promote` can decide
without loading a model, and a page of it all with the worst errors, whose handles and links are masked.
"""

import time
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from typing import Any

import mlflow.pyfunc
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score
from tabulate import tabulate

from steps.sentiment import (
    behaviour,
    command_line,
    comparison,
    comparison_page,
    costs,
    error_analysis,
    judgement,
    label_noise,
    plots,
    runs,
    served,
    tracking,
)
from steps.sentiment.command_line import Flags, InputError, first_line, integer, positive_number, words
from steps.sentiment.comparison import Entrant
from steps.sentiment.dataset import Dataset, fold
from steps.sentiment.rows import Rows, scores_of


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("compare", __doc__)
    flags.flag("dataset", "", "runs:/<id>/dataset or a folder; default: the newest prepared")
    flags.flag("candidates", "", "ids of training runs, separated by commas; default: all on this dataset", words)
    flags.flag("seed", "0", "of the bootstrap intervals", integer())
    flags.flag(
        "core_hour_price",
        "0.05",
        "USD for one processor core for an hour; the default is about what clouds ask for a general-purpose one on demand",
        positive_number,
    )
    return flags


def refuse_rows_it_was_trained_on(entrant: Entrant, dataset: Dataset, test: Rows) -> None:
    """Check that a model trained on another dataset has seen none of this one's validation and test rows.

    Raises:
        InputError: it has, or what it was trained on is not to be had any more.
    """
    tags = runs.get(entrant.run_id, "candidates").data.tags
    if tags["dataset_digest"] == dataset.digest:
        return
    trained_on = tracking.find_dataset(tags["dataset_uri"])
    known = {fold(text) for text in trained_on.split("train")["text"]}
    for name, rows in (("test", test.frame), ("validation", dataset.split("validation"))):
        seen = sum(fold(text) in known for text in rows["text"])
        if seen:
            raise InputError(
                f"{entrant.name} was trained on {seen} of the {len(rows)} {name} rows of dataset {dataset.digest}; allowed: a "
                f"dataset that keeps them apart, as one prepared with the seed, holdout and counts of {trained_on.digest} does"
            )


def load(entrant: Entrant) -> Any:
    """Return a model as MLflow loads it.

    Raises:
        InputError: its files are gone, or damaged.
    """
    try:
        # Its requirements were checked when it was trained; to look each of them up again takes seconds.
        return mlflow.pyfunc.load_model(entrant.uri, suppress_warnings=True)
    except Exception as error:  # whichever library reads a damaged file has errors of its own
        raise InputError(
            f"{entrant.name}: model {entrant.model_id} of run {entrant.run_id} cannot be loaded ({first_line(error)})"
        ) from error


def validation_auc(entrant: Entrant, dataset: Dataset, model: Any) -> float:
    """Return the ROC AUC on this dataset's validation split; measured anew for a model trained on another dataset."""
    trained = runs.get(entrant.run_id, "candidates")
    if trained.data.tags["dataset_digest"] == dataset.digest:
        return trained.data.metrics["validation_roc_auc"]
    validation = dataset.split("validation")
    return float(roc_auc_score(validation["label"], scores_of(model, validation["text"].tolist(), entrant.name)))


def score(entrant: Entrant, model: Any, dataset: Dataset, test: Rows, human: Rows | None) -> dict[str, float]:
    """Ask a model the rows, with which its scores stay; return what validation and its training say of it, and its time."""
    start = time.perf_counter()
    test.ask(entrant, model)
    found = {"test_seconds": time.perf_counter() - start, "validation_roc_auc": validation_auc(entrant, dataset, model)}
    if human is not None:
        human.ask(entrant, model)
    trained = runs.get(entrant.run_id, "candidates").data.metrics
    return found | {name: trained[name] for name in ("model_size_mb", "train_seconds", "train_rows") if name in trained}


def behave(entrant: Entrant, model: Any) -> pd.DataFrame:
    """Return how often a model fails each behavioural test, a row for each, as `behaviour.evaluate` tells it."""
    tests = behaviour.suite(behaviour.TEST)
    return behaviour.evaluate(tests, lambda texts: scores_of(model, texts, entrant.name)).assign(model=entrant.name)


def examine(
    entrants: list[Entrant], dataset: Dataset, test: Rows, human: Rows | None, core_hour_price: float, pool: Executor
) -> tuple[list[dict[str, Any]], dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Load one model after the other and ask it all that a loaded model is needed for.

    The fresh process that tells a model's memory works in the `pool` while the next one scores, never while a time is taken.

    Returns:
        The models with their `metrics`, the best on validation first; the worst errors of each and how it fares in each behavioural
        test, by its id. `memory` is what is still awaited.
    """
    entries: list[dict[str, Any]] = []
    errors, behaved = {}, {}
    for entrant in command_line.progress(entrants, desc="compare", unit="model"):
        refuse_rows_it_was_trained_on(entrant, dataset, test)
        model = load(entrant)
        found = score(entrant, model, dataset, test, human)
        start = time.perf_counter()
        behaved[entrant.model_id] = behave(entrant, model)
        found["suite_seconds"] = time.perf_counter() - start
        found |= {f"behaviour_{row.test}": float(row.rate) for row in behaved[entrant.model_id].itertuples()}
        wait([entry["memory"] for entry in entries])
        found |= costs.measure(model, test.texts, core_hour_price)
        memory = pool.submit(served.peak_megabytes, entrant.uri, test.texts[: costs.BATCH])
        errors[entrant.model_id] = error_analysis.worst(test, entrant.model_id, entrant.name, model)
        entries.append({**vars(entrant), "metrics": found, "memory": memory})
    return sorted(entries, key=lambda entry: -entry["metrics"]["validation_roc_auc"]), errors, behaved


def opponents(entries: list[dict[str, Any]]) -> dict[str, str]:
    """Return the model ids of the champion and of the best baseline, where they take part, from entries in order."""
    baselines = [entry["model_id"] for entry in entries if entry["family"] == "baseline"]
    champions = [entry["model_id"] for entry in entries if entry["champion"]]
    return {name: found[0] for name, found in (("baseline", baselines), ("champion", champions)) if found}


def judge(entries: list[dict[str, Any]], test: Rows, human: Rows | None, seed: int) -> None:
    """Add to the metrics of each model what follows from the scores of all, and the memory that was awaited.

    Args:
        entries: the models, the best on validation first.
        test: the rows, asked to every model.
        human: the human-labelled rows, asked to every model, or None.
        seed: of the resamples.
    """
    judged = [judgement.judge(test, opponents(entries), seed)]
    if human is not None:
        judged.append(judgement.judge_human(human, seed))
    for entry in entries:
        for found in judged:
            entry["metrics"] |= found[entry["model_id"]]
        entry["metrics"]["peak_memory_mb"] = entry.pop("memory").result()


def table(entries: list[dict[str, Any]]) -> str:
    """Return the comparison as a Markdown table, the best first."""

    def figure(values: dict[str, float], name: str) -> str:
        if name not in values:
            return ""
        low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
        return f"{values[name]:.4f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")

    def number(values: dict[str, float], name: str, digits: int) -> str:
        return f"{values[name]:.{digits}f}" if name in values else ""

    rows = []
    for entry in entries:
        found = entry["metrics"]
        rows.append(
            {
                "model": entry["name"] + (" (champion)" if entry["champion"] else ""),
                "validation AUC": number(found, "validation_roc_auc", 4),
                "accuracy": figure(found, "test_accuracy"),
                "F1": number(found, "test_f1", 4),
                "ROC AUC": figure(found, "test_roc_auc"),
                "ECE": number(found, "test_ece", 4),
                "human test": figure(found, "human_test_accuracy"),
                "ms/tweet": number(found, "predict_ms_per_tweet", 3),
                "USD/million": number(found, "usd_per_million_tweets", 4),
                "MB": number(found, "model_size_mb", 1),
                "MB in memory": number(found, "peak_memory_mb", 0),
                "p against champion": number(found, "p_against_champion", 4),
            }
        )
    shown = pd.DataFrame(rows)
    shown = shown.loc[:, (shown != "").any()]
    return tabulate(shown, headers="keys", tablefmt="github", showindex=False, disable_numparse=True)


def figures(entries: list[dict[str, Any]], test: Rows) -> dict[str, Figure]:
    """Return the curves of the first models in one figure each, and a confusion matrix of every model."""
    by_name = {entry["name"]: test.scores[entry["model_id"]] for entry in entries}
    confusions = {
        f"confusion-{name}": plots.confusion(test.labels, score, f"test, {name}") for name, score in by_name.items()
    }
    first = entries[: plots.MOST]
    costly = ("predict_ms_single", "test_roc_auc", "test_roc_auc_low", "test_roc_auc_high")
    points = {entry["name"]: [entry["metrics"][name] for name in costly] for entry in entries[: plots.MOST_POINTS]}
    curves = judgement.learning_curves((entry["name"], entry["metrics"]) for entry in entries)
    return {
        "quality_and_latency": plots.against_cost(points),
        **({"learning_curves": plots.learning_curves(curves)} if curves else {}),
        **plots.curves(test.labels, {entry["name"]: by_name[entry["name"]] for entry in first}, "test"),
        **confusions,
    }


def labels_in_doubt(
    entries: list[dict[str, Any]], test: Rows, suspects: label_noise.Suspects | None
) -> dict[str, Any] | None:
    """Add to the metrics of each model what it reaches without the suspects; return what is told of them all."""
    if suspects is None:
        return None
    cleaned = label_noise.cleaned(test, entries, suspects)
    for entry in entries:
        entry["metrics"] |= cleaned[entry["model_id"]]
    names = {entry["model_id"]: entry["name"] for entry in entries}
    return {
        "voters": [names[voter] for voter in suspects.voters.values()],
        **suspects.described(test.labels),
        "rankings": label_noise.rankings(entries),
    }


def main(argv: list[str] | None = None) -> None:
    """Compare the models and log what was found."""
    given = flags().read(argv)
    dataset = tracking.find_dataset(given.dataset)
    entrants = comparison.entrants(dataset.digest, given.candidates)
    comparison.refuse_deleted(entrants)
    with tracking.step("compare", given.texts, comparison.inputs_digest(dataset.digest, entrants)) as run:
        test, human_frame = Rows(dataset.split("test")), dataset.human_test()
        human = None if human_frame is None else Rows(human_frame)
        with ThreadPoolExecutor(1) as pool:
            entries, errors, behaved = examine(entrants, dataset, test, human, given.core_hour_price, pool)
            judge(entries, test, human, given.seed)
        suspects = label_noise.suspects(test, entries)
        result = {
            "dataset_digest": dataset.digest,
            "dataset_source": dataset.source,
            "test_rows": len(test.frame),
            "human_test_rows": len(human.frame) if human else 0,
            "winner": entries[0]["model_id"],
            "opponents": opponents(entries),
            "core_hour_price": given.core_hour_price,
            "labels": labels_in_doubt(entries, test, suspects),
            "models": entries,
        }
        behaviours, shown = (pd.concat([own[entry["model_id"]] for entry in entries]) for own in (behaved, errors))
        if suspects:
            shown = pd.concat([shown, error_analysis.doubtful(test, suspects)])
        drawn = figures(entries, test)
        frames = {comparison.SCORES: test.artifact()} | ({comparison.HUMAN_SCORES: human.artifact()} if human else {})
        tracking.log_comparison(dataset, result, table(entries), frames, drawn)
        tracking.log_files(
            {
                error_analysis.TABLE: shown,
                behaviour.TABLE: behaviours,
                comparison_page.PAGE: comparison_page.render(result, behaviours, shown, drawn),
            }
        )
    print(
        f"compare: {len(entries)} model(s) on {len(test.frame):,} test rows of dataset {dataset.digest} ({dataset.source})"
    )
    if "mlflow.parentRunId" not in run.data.tags:  # `main` shows the table at its end
        print(table(entries))


if __name__ == "__main__":
    command_line.run(main, "compare")
