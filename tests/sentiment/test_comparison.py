"""Who takes part in a comparison, and how a finished one is found and read."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from steps.sentiment import comparison, registry, tracking
from steps.sentiment.command_line import InputError
from steps.sentiment.comparison import Entrant, entrants
from steps.sentiment.dataset import Dataset

DIGEST = "0123456789abcdef"


@pytest.fixture(autouse=True)
def opened(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").write_bytes(empty.read_bytes())
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.fixture(autouse=True, scope="module")
def default_store_afterwards() -> Iterator[None]:
    yield
    mlflow.set_tracking_uri(None)


def trained(
    model_id: str, family: str = "baseline", key: str = "", digest: str = DIGEST, status: str = "FINISHED"
) -> str:
    """Log a run as a training leaves it, and return its id."""
    mlflow.set_experiment(tracking.EXPERIMENT)
    with mlflow.start_run() as run:
        tags = {"step": f"train_{family}", "family": family, "dataset_digest": digest, "step_key": key or model_id}
        mlflow.set_tags(tags | ({"model_id": model_id} if model_id else {}))
    MlflowClient().set_terminated(run.info.run_id, status)
    return str(run.info.run_id)


def champion(run_id: str, model_id: str) -> None:
    """Make a model the champion, as the registry scripts leave it."""
    client = MlflowClient()
    client.create_registered_model(registry.MODEL)
    client.create_model_version(registry.MODEL, f"models:/{model_id}", run_id=run_id, tags={"family": "baseline"})
    client.set_registered_model_alias(registry.MODEL, registry.CHAMPION, "1")


def logged(count: int) -> list[str]:
    """Make models that a metric can be logged with, and return their ids."""
    mlflow.set_experiment(tracking.EXPERIMENT)
    return [mlflow.initialize_logged_model(name="model").model_id for _ in range(count)]


def compared(scores: dict[str, np.ndarray], human: bool = False, status: str = "FINISHED") -> str:
    """Log a comparison of these models and return its run."""
    labels = np.tile([0, 1], 10)
    dataset = Dataset(Path("nowhere"), "nowhere", DIGEST, "diary")
    entries = [
        {"model_id": model_id, "name": model_id, "family": "baseline", "metrics": {"test_accuracy": 0.5}}
        for model_id in scores
    ]
    result = {
        "winner": next(iter(scores)),
        "test_rows": len(labels),
        "human_test_rows": 4 if human else 0,
        "models": entries,
    }
    frame = pd.DataFrame({"label": labels, **scores})
    frames = {comparison.SCORES: frame, **({comparison.HUMAN_SCORES: frame.head(4)} if human else {})}
    mlflow.set_experiment(tracking.EXPERIMENT)
    with mlflow.start_run() as run:
        mlflow.set_tag("step", "compare")
        tracking.log_comparison(dataset, result, "| a table |", frames, {})
    MlflowClient().set_terminated(run.info.run_id, status)
    return str(run.info.run_id)


def test_all_finished_trainings_on_the_dataset_take_part_the_oldest_first() -> None:
    first, second = trained("m-1"), trained("m-2", family="keras")
    trained("m-3", digest="another")
    trained("m-4", status="FAILED")
    trained("m-5", status="RUNNING")
    trained("")
    assert entrants(DIGEST, []) == [
        Entrant("baseline", "baseline", "m-1", first, champion=False),
        Entrant("keras", "keras", "m-2", second, champion=False),
    ]


def test_of_equal_trainings_the_newest_takes_part() -> None:
    trained("m-1", key="same")
    newest = trained("m-2", key="same")
    assert [entrant.run_id for entrant in entrants(DIGEST, [])] == [newest]


def test_models_of_one_family_are_told_apart_by_their_flags_or_else_by_their_run() -> None:
    first, second = trained("m-1"), trained("m-2")
    trained("m-3", family="keras")
    names = [entrant.name for entrant in entrants(DIGEST, [])]
    assert names == [f"baseline {first[:6]}", f"baseline {second[:6]}", "keras"]
    for run_id, C in ((first, "2"), (second, "4")):
        for flag, text in (("C", C), ("seed", "0"), ("dataset", run_id)):
            MlflowClient().log_param(run_id, flag, text)
    assert [entrant.name for entrant in entrants(DIGEST, [])] == ["baseline C=2", "baseline C=4", "keras"]


def test_of_many_runs_of_one_name_only_what_is_unusual_is_told() -> None:
    flags = ({"C": "2", "seed": "0"}, {"C": "2", "seed": "1"}, {"C": "4", "seed": "0"}, {"C": "2"}, {})
    found = [trained(f"m-{number}") for number in range(len(flags))]
    for run_id, given in zip(found, flags, strict=True):
        for flag, text in given.items():
            MlflowClient().log_param(run_id, flag, text)
    names = [
        entrant.name for entrant in entrants(DIGEST, [])
    ]  # a flag that older runs did not have tells nothing of them
    assert names[1:3] == ["baseline seed=1", "baseline C=4"]
    assert [names[0], *names[3:]] == [f"baseline {found[at][:6]}" for at in (0, 3, 4)]


def test_candidates_are_taken_in_the_order_given_and_no_others() -> None:
    first, second, _ = trained("m-1"), trained("m-2", family="keras"), trained("m-3", family="bert")
    assert [entrant.run_id for entrant in entrants(DIGEST, [second, first])] == [second, first]


def test_a_candidate_named_twice_takes_part_once() -> None:
    first = trained("m-1")
    assert [entrant.name for entrant in entrants(DIGEST, [first, first])] == ["baseline"]


@pytest.mark.parametrize("given", ["f" * 32, "no-such-run", "../x"])
def test_a_candidate_that_does_not_exist_is_named(given: str) -> None:
    trained("m-1")
    with pytest.raises(InputError) as error:
        entrants(DIGEST, [given])
    assert f"candidates={given}: no such run" in str(error.value)


def test_a_candidate_that_was_deleted_is_named_as_such() -> None:
    first, second = trained("m-1"), trained("m-2")
    MlflowClient().delete_run(first)
    with pytest.raises(InputError, match=f"candidates={first}: this run was deleted; allowed: "):
        entrants(DIGEST, [first, second])
    assert [entrant.run_id for entrant in entrants(DIGEST, [])] == [second]


def test_a_candidate_of_another_dataset_is_refused_with_both_digests() -> None:
    other = trained("m-1", digest="fedcba9876543210")
    with pytest.raises(InputError) as error:
        entrants(DIGEST, [other])
    assert all(part in str(error.value) for part in (other, "fedcba9876543210", DIGEST))


@pytest.mark.parametrize(("model_id", "status"), [("", "FINISHED"), ("m-1", "FAILED"), ("m-1", "RUNNING")])
def test_a_candidate_without_a_finished_model_is_refused(model_id: str, status: str) -> None:
    run = trained(model_id, status=status)
    with pytest.raises(InputError, match=f"candidates={run}: not a finished training run with a model"):
        entrants(DIGEST, [run])


def test_a_candidate_whose_run_was_deleted_is_named_and_takes_no_part_unasked() -> None:
    run, other = trained("m-1"), trained("m-2", family="keras")
    MlflowClient().delete_run(run)
    with pytest.raises(InputError, match=f"candidates={run}: this run was deleted"):
        entrants(DIGEST, [other, run])
    assert [entrant.run_id for entrant in entrants(DIGEST, [])] == [other]


def test_a_deleted_model_is_named_with_its_run() -> None:
    there, gone = logged(2)
    found = [Entrant(f"a {model_id}", "baseline", model_id, "run-1", champion=False) for model_id in (there, gone)]
    comparison.refuse_deleted(found)
    MlflowClient().delete_logged_model(gone)
    with pytest.raises(InputError, match=f"^a {gone}: model {gone} of run run-1 was deleted"):
        comparison.refuse_deleted(found)
    comparison.refuse_deleted(found[:1])


def test_a_server_that_does_not_answer_is_not_taken_for_a_deleted_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(model_id: str) -> None:
        raise MlflowException("API request failed")

    monkeypatch.setattr(mlflow, "get_logged_model", unreachable)
    with pytest.raises(MlflowException, match="API request failed"):
        comparison.refuse_deleted([Entrant("a model", "baseline", "m-1", "run-1", champion=False)])


def test_without_a_candidate_the_next_command_is_named() -> None:
    trained("m-1", digest="another")
    with pytest.raises(InputError, match=f"no finished training run on dataset {DIGEST}; run a train_ entry point"):
        entrants(DIGEST, [])


def test_the_champion_takes_part_whatever_it_was_trained_on() -> None:
    (model_id,) = logged(1)
    old = trained(model_id, digest="another")
    champion(old, model_id)
    new = trained("m-new")
    for given in ([], [new]):
        assert entrants(DIGEST, given) == [
            Entrant("baseline", "baseline", "m-new", new, champion=False),
            Entrant("champion v1", "baseline", model_id, old, champion=True),
        ]


def test_a_champion_that_is_a_candidate_too_takes_part_once() -> None:
    (model_id,) = logged(1)
    run = trained(model_id)
    champion(run, model_id)
    assert entrants(DIGEST, []) == [Entrant("baseline", "baseline", model_id, run, champion=True)]


def test_an_entrant_is_loaded_by_its_model_id() -> None:
    assert Entrant("baseline", "baseline", "m-1", "run", champion=False).uri == "models:/m-1"


def test_the_digest_of_the_inputs_follows_models_and_dataset_alone() -> None:
    one, two = (Entrant(f"name {n}", "baseline", f"m-{n}", f"run {n}", champion=False) for n in (1, 2))
    digest = comparison.inputs_digest(DIGEST, [one, two])
    assert digest == comparison.inputs_digest(DIGEST, [two, one])
    renamed = Entrant("champion v1", "baseline", "m-1", "run 1", champion=True)
    assert digest == comparison.inputs_digest(DIGEST, [renamed, two])
    assert digest != comparison.inputs_digest(DIGEST, [one])
    assert digest != comparison.inputs_digest("another", [one, two])


def test_a_finished_comparison_is_read_back() -> None:
    one, two = logged(2)
    scores = {one: np.linspace(0, 1, 20), two: np.full(20, 0.5)}
    run = compared(scores)
    found = comparison.read(run)
    assert found.run_id == run
    assert found.model_ids == [one, two]
    assert found.entry(two)["name"] == two
    assert found.scores()[one].tolist() == scores[one].tolist()
    assert list(found.scores().columns) == ["label", one, two]
    assert found.human_scores() is None
    assert comparison.table_of(run).strip() == "| a table |"


def test_the_human_labelled_rows_are_read_back_where_there_are_any() -> None:
    found = comparison.read(compared({logged(1)[0]: np.full(20, 0.5)}, human=True)).human_scores()
    assert found is not None
    assert len(found) == 4


def test_a_run_that_is_no_comparison_is_named() -> None:
    run = trained("m-1")
    with pytest.raises(InputError, match=run):
        comparison.read(run)


def stored(run: str, name: str) -> Path:
    """Return where the store keeps an artifact of a run."""
    return Path(MlflowClient().get_run(run).info.artifact_uri.removeprefix("file://"), name)


@pytest.mark.parametrize("name", [comparison.RESULT, comparison.SCORES, comparison.HUMAN_SCORES, comparison.TABLE])
def test_a_file_that_was_changed_since_it_was_logged_is_not_read(name: str) -> None:
    run = compared({logged(1)[0]: np.full(20, 0.5)}, human=True)

    def read_all() -> None:
        found = comparison.read(run)
        found.scores()
        found.human_scores()
        comparison.table_of(run)

    read_all()
    path = stored(run, name)
    whole = path.read_bytes()
    path.write_bytes(whole + b" ")
    with pytest.raises(comparison.EvidenceError, match=f"comparison {run}: {name} was changed since it was logged"):
        read_all()
    path.unlink()
    with pytest.raises(comparison.EvidenceError, match=f"comparison {run} has no {name}"):
        read_all()
    path.write_bytes(whole)
    read_all()
    MlflowClient().delete_tag(run, comparison.hash_tag(name))
    with pytest.raises(
        comparison.EvidenceError, match=f"the sha256 of {name} was not logged.*run the entry point compare"
    ):
        read_all()


def test_scores_that_are_no_numbers_are_not_read() -> None:
    (model,) = logged(1)
    for bad in (np.nan, np.inf, -0.01, 1.01):
        scores = np.full(20, 0.5)
        scores[7] = bad
        found = comparison.read(compared({model: scores}, human=True))
        with pytest.raises(
            comparison.EvidenceError, match=f"scores.parquet holds 1 scores of {model} that are no number"
        ):
            found.scores()
    texts = np.full(20, "high", dtype=object)
    with pytest.raises(comparison.EvidenceError, match="holds 20 scores of"):
        comparison.read(compared({model: texts})).scores()


def test_the_newest_comparison_that_holds_all_the_models_is_found() -> None:
    half = np.full(20, 0.5)
    one, two = logged(2)
    both = compared({one: half, two: half})
    alone = compared({one: half})
    compared({one: half, two: half}, status="FAILED")
    for models, run in (((one,), alone), ((two, one), both), ((two,), both)):
        found = comparison.newest(*models)
        assert found is not None
        assert found.run_id == run
    assert comparison.newest(one, "m-3") is None
