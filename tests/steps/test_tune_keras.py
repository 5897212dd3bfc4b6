"""tune_keras: trials as child runs, a search that was cut short, and what is refused."""

from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run

from steps import tune_keras
from steps.sentiment import metrics, networks, runs
from steps.sentiment.checkpoint import Checkpoint
from steps.sentiment.command_line import RefusedError
from steps.sentiment.networks import OBJECTIVE
from tests.conftest import statuses

SMALL = [*"--embedding learned --dimension 16 --architecture average,cnn --search_rows 400 --max_rows 800".split()]
SEARCH = [*SMALL, *"--trials 4 --epochs 3".split()]


def children(run: Run) -> list[Run]:
    """Return the child runs of a run, in the order in which they began."""
    found: list[Run] = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`mlflow.parentRunId` = '{run.info.run_id}'",
        order_by=["attributes.start_time ASC"],
        output_format="list",
    )
    return found


@pytest.fixture(scope="module")
def unbroken(prepared: Path) -> Run:
    """A finished search."""
    tune_keras.main(SEARCH)
    return runs.finished(step="tune_keras")[0]


def best(trials: list[Run]) -> float:
    return max(trial.data.metrics[f"best_{OBJECTIVE}"] for trial in trials)


def test_every_trial_is_a_child_run_with_its_settings_and_epochs(unbroken: Run) -> None:
    default, *trials = children(unbroken)
    assert default.info.run_name == "trial default"
    assert default.data.params["architecture"] == "average"  # the default, bilstm, is not among those searched
    assert [trial.info.run_name for trial in trials] == ["trial 0", "trial 1", "trial 2", "trial 3"]
    assert {trial.data.params["architecture"] for trial in trials} <= {"average", "cnn"}
    client = mlflow.MlflowClient()
    for trial in (default, *trials):
        assert trial.info.status == "FINISHED"
        points = client.get_metric_history(trial.info.run_id, OBJECTIVE)
        assert [point.step for point in points] == [*range(1, int(trial.data.params["until_epoch"]) + 1)]
        assert trial.data.metrics[f"best_{OBJECTIVE}"] == max(point.value for point in points)
    # Hyperband: most trials are stopped early, the best of them goes on where it stopped.
    assert {trial.data.params["until_epoch"] for trial in trials} == {"1", "3"}


def test_validation_chooses_and_the_best_is_trained_on_all_rows_as_a_candidate(unbroken: Run) -> None:
    default, *trials = children(unbroken)
    found = unbroken.data.metrics
    assert found["search_best_roc_auc"] == best([default, *trials])
    assert found["search_default_roc_auc"] == best([default])
    assert (found["trials"], found["search_rows"], found["train_rows"]) == (4, 400, 800)
    winner = max([default, *trials], key=lambda trial: trial.data.metrics[f"best_{OBJECTIVE}"])
    for name in ("architecture", "units", "dropout", "learning_rate"):
        assert unbroken.data.params[f"found_{name}"] == winner.data.params[name]
    assert unbroken.data.tags["model_name"] == f"learned {winner.data.params['architecture']} tuned"
    assert mlflow.pyfunc.load_model(f"models:/{unbroken.data.tags['model_id']}").predict(["good"])
    table = mlflow.artifacts.load_text(f"runs:/{unbroken.info.run_id}/trials.md")
    assert table.count("\n") == 2 + 5
    assert not [name for name in found if name.startswith(("test_", "human_"))]


class Killed(BaseException):
    """Stands in for the end of the process."""


def test_a_search_that_was_cut_short_goes_on_and_ends_as_an_unbroken_one(
    unbroken: Run, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, count = networks.fit, []

    def dies(*args: object, **kwargs: object) -> object:
        count.append(1)
        if len(count) == 4:
            raise Killed
        return fit(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(networks, "fit", dies)
    with pytest.raises(Killed):
        tune_keras.main(SEARCH)
    assert len(count) == 4
    monkeypatch.undo()
    tune_keras.main(SEARCH)
    resumed = runs.finished(step="tune_keras")[0]
    assert resumed.info.run_id != unbroken.info.run_id
    before, after = children(unbroken), children(resumed)
    assert [run.info.run_name for run in after] == [run.info.run_name for run in before]
    assert [run.data.metrics[f"best_{OBJECTIVE}"] for run in after] == [
        run.data.metrics[f"best_{OBJECTIVE}"] for run in before
    ]
    for name in ("search_best_roc_auc", "validation_roc_auc", "validation_brier", "trials"):
        assert resumed.data.metrics[name] == unbroken.data.metrics[name]
    assert "RUNNING" not in statuses()
    assert not list((prepared / "data/processed/checkpoints").glob("*/*/epoch-*"))


def test_a_gaussian_process_searches_too_and_a_budget_in_minutes_ends_it(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "COLLAPSE", 0)  # one epoch of 25 steps has not learned much
    tune_keras.main([*SMALL, *"--search bayesian --trials 50 --minutes 0.0001 --epochs 1".split()])
    found = runs.finished(step="tune_keras")[0]
    assert found.data.metrics["trials"] == 1
    tune_keras.main([*SMALL, *"--search bayesian --trials 5 --epochs 1".split()])
    found = runs.finished(step="tune_keras")[0]
    assert found.data.metrics["trials"] == 5


def test_trials_that_diverge_are_marked_and_when_all_do_the_search_is_refused(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit, count = networks.fit, []

    def diverges(*args: object, **kwargs: object) -> object:
        count.append(1)
        if len(count) > 1:
            raise RefusedError("training diverged in epoch 1; try a learning rate below 0.1")
        return fit(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(networks, "fit", diverges)
    with pytest.raises(RefusedError, match="every trial diverged"):
        tune_keras.main([*SMALL, *"--trials 3 --epochs 1 --seed 3".split()])
    assert len(count) == 4
    assert statuses()[:5].count("FAILED") == 4
    assert "RUNNING" not in statuses()
    printed = capsys.readouterr()
    assert "trial 1: training diverged in epoch 1; try a learning rate below 0.1\n" in printed.out
    assert "Traceback" not in printed.out + printed.err


def test_where_nothing_beats_the_defaults_they_are_the_best(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit, count = networks.fit, []

    def worse(*args: object, **kwargs: object) -> object:
        network, history = fit(*args, **kwargs)  # type: ignore[arg-type]
        count.append(1)
        return network, history if len(count) == 1 else [{**epoch, OBJECTIVE: 0.5} for epoch in history]

    monkeypatch.setattr(networks, "fit", worse)
    monkeypatch.setattr(metrics, "COLLAPSE", 0)
    tune_keras.main([*SMALL, *"--trials 2 --epochs 1 --seed 6".split()])
    found = runs.finished(step="tune_keras")[0]
    assert found.data.metrics["search_best_roc_auc"] == found.data.metrics["search_default_roc_auc"]
    assert found.data.params["found_units"] == str(networks.Settings.units)


@pytest.mark.parametrize("search", tune_keras.SEARCHES)
def test_a_longer_search_begins_with_the_trials_of_a_shorter_one(
    search: str, prepared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = tune_keras.flags().read([*SMALL, *f"--trials 6 --epochs 1 --search {search}".split()])
    tried: dict[int, list[dict[str, object]]] = {}
    for trials in (4, 6):
        given.trials = trials
        oracle = tune_keras.oracle(given)
        oracle._set_project_dir(str(tmp_path), str(trials))
        for number in range(trials):
            trial = oracle.create_trial("tuner0")
            tried.setdefault(trials, []).append(dict(trial.hyperparameters.values))
            oracle.update_trial(trial.trial_id, {OBJECTIVE: 0.5 + number / 10})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
    assert tried[6][:4] == tried[4]


def test_a_full_disk_ends_the_search_at_once(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Checkpoint, "save", full)
    with pytest.raises(OSError, match="No space left"):
        tune_keras.main([*SMALL, *"--trials 6 --epochs 1 --seed 4".split()])
    assert "RUNNING" not in statuses()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--search random", "--search: got 'random'; allowed: hyperband, bayesian"),
        ("--architecture cnn,gru", "--architecture: got 'cnn,gru'; allowed: average, cnn, lstm, bilstm"),
        ("--trials 0", "--trials: got '0'; allowed: a whole number of at least 1"),
        ("--minutes soon", "--minutes: got 'soon'; allowed: a number above 0"),
    ],
)
def test_a_wrong_flag_is_one_line(argv: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        tune_keras.main(argv.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
