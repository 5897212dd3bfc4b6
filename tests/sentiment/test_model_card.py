"""The model card: every figure that was measured, none that was not, and room for it on a version's page."""

from typing import Any

import pytest

from registry_scripts.registry import history
from steps.sentiment import behaviour, model_card, slices

NAMES = ("test_accuracy", "test_f1_macro", "test_roc_auc", "test_pr_auc", "test_ece", "human_test_accuracy")


def facts(**changes: Any) -> dict[str, Any]:
    """Return what a comparison tells of a model of which all was measured."""
    measured = dict.fromkeys(NAMES, 0.8642)
    measured |= {f"{name}_{end}": 0.8642 + move for name in NAMES for end, move in (("low", -0.01), ("high", 0.01))}
    measured |= {"test_unsure_share": 0.12, "test_unsure_accuracy": 0.58, "test_sure_accuracy": 0.91}
    measured |= {f"test_accuracy_{name}": 0.9 for name in (*slices.PATTERNS, "short", "long")}
    measured |= {f"behaviour_{name}": 0.01 for name in behaviour.capabilities(behaviour.TEST)}
    measured |= {"test_accuracy_question": 0.8111, "behaviour_question_no_positive": 0.43, "behaviour_religion": 0.052}
    return {
        "name": "bert minilm",
        "family": "bert",
        "run_id": "0123456789abcdef",
        "commit": "fedcba9876543210",
        "trained_on": "aaaabbbbccccdddd",
        "dataset_digest": "eeeeffff00001111",
        "dataset_source": "half.csv",
        "test_rows": 15000,
        "human_test_rows": 359,
        "training_metrics": {"train_rows": 1509330.0, "written_examples": 17000.0, "model_size_mb": 23.74},
        "test_metrics": measured | {"predict_ms_single": 3.04},
        **changes,
    }


def test_every_figure_is_there_with_its_interval() -> None:
    card = model_card.render(facts())
    for words in (
        "**bert minilm** tells",
        "1,509,330 tweets of half.csv (dataset `aaaabbbbccccdddd`), and 17,000 written examples",
        "on 15,000 test rows of half.csv (dataset `eeeeffff00001111`",
        "| accuracy | 0.8642 [0.8542, 0.8742] |",
        "| accuracy, human-labelled | 0.8642 [0.8542, 0.8742] |",
        "**Unsure** of 12.0% of them: right on 58.0% of these, and on 91.0% of the others.",
        "the worst first: question 81.1%, negation 90.0%",
        "failed cases of 43 tests, from which it has not learned: question no positive 43.0%, religion 5.2%",
        "religion 5.2%, race 1.0%, nationality 1.0%, orientation 1.0%.",
        "23.7 MB and 3.0 ms for one tweet",
        "Run `01234567`, commit `fedcba98`",
    ):
        assert words in card


def test_there_is_room_for_it_on_the_page_of_a_version_beside_the_decisions() -> None:
    assert len(model_card.render(facts(name="ensemble bert minilm + baseline"))) < history.MOST - 1200


def test_what_was_not_measured_is_not_spoken_of() -> None:
    card = model_card.render(
        facts(training_metrics={"train_rows": 10.0, "model_size_mb": 1.0}, test_metrics={"test_accuracy": 0.5})
    )
    assert "| accuracy | 0.5000 |" in card
    for words in ("Unsure", "Slices", "Behaviour", "Fairness", "written examples", "ms for one", "ROC AUC", "nan"):
        assert words not in card
    assert "\n\n\n" not in card


@pytest.mark.parametrize(("name", "missing"), [("test_unsure_accuracy", "of these"), ("test_sure_accuracy", "others")])
def test_a_model_that_is_sure_of_all_or_of_nothing(name: str, missing: str) -> None:
    measured = {key: value for key, value in facts()["test_metrics"].items() if key != name}
    told = model_card.render(facts(test_metrics=measured)).partition("**Unsure**")[2].partition("\n")[0]
    assert told.startswith(" of 12.0% of them")
    assert missing not in told


def test_of_the_bundled_model_the_project_tells_more() -> None:
    card = model_card.render(facts(family="bundled"))
    assert "data/champion/README.md tells what it was trained on" in card
    assert "1,509,330" not in card
