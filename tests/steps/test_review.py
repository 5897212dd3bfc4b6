"""review: real verdicts at a real endpoint become a queue in a finished run, which no training takes for its data."""

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from steps import review, train_baseline
from steps.sentiment import review_queue, runs
from steps.sentiment.command_line import InputError
from tests.conftest import ROOT, statuses
from tests.serving import ingestion, serve, wait_for

MODEL = ROOT / "data/champion/model"
TEXTS = ["@AirParadis the crew was lovely https://t.co/x", "lost my bag again", "what a flight", "thanks for nothing"]
OTHER = {"positive": "negative", "negative": "positive"}


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """What an endpoint told of four answers and what was said of three of them, and their ids."""
    folder = tmp_path_factory.mktemp("captured")
    with ingestion() as service:
        variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string}
        flags = ["--model", str(MODEL), "--telemetry_cache", str(folder / "cache")]
        with serve(folder, folder, *flags, **variables) as server:
            records = server.ask(TEXTS)
            for number, more in enumerate([{"keep": True}, {"keep": False}, {"keep": True}]):
                verdict = {"prediction_id": records[number]["prediction_id"], "text": TEXTS[number], **more}
                assert server.post("/feedback", verdict | {"expected": OTHER[records[number]["label"]]})[0] == 200
            server.post("/feedback", verdict | {"expected": records[2]["label"]})  # the third one was right after all
            wait_for(lambda: len(service.events("feedback")) == 4 and len(service.events("prediction")) == 4, 30)
        (file := folder / "captured.jsonl").write_text(json.dumps(service.envelopes), encoding="utf-8")
    return file, [record["prediction_id"] for record in records]


def queue_of(run_id: str) -> pd.DataFrame:
    return review_queue.read(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/{review_queue.QUEUE}"))


def test_a_served_model_is_reviewed(
    store: Path, captured: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    file, ids = captured
    review.main(["--events", str(file)])
    (run,) = runs.finished(step="review")
    queue = queue_of(run.info.run_id)
    assert queue["prediction_id"].tolist() == [ids[0]]
    assert queue["text"].tolist() == ["@user the crew was lovely http://…"]
    assert queue["score"].between(0, 1).all()
    measured = {
        name: run.data.metrics[name] for name in ("judged", "wrong", "kept", "contradicted", "unknown", "queued")
    }
    assert measured == {"judged": 3, "wrong": 2, "kept": 1, "contradicted": 1, "unknown": 0, "queued": 1}
    (logged,) = run.inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("review-queue", review_queue.digest(queue))
    assert f"runs:/{run.info.run_id}/review_queue.parquet" in logged.dataset.source
    assert "review: 3 answers judged, 2 wrong, 1 of them to be looked at; 1 contradicted" in capsys.readouterr().out

    (nothing := store / "nothing.jsonl").touch()
    review.main(["--events", str(nothing)])  # the queue stays, and so does its digest
    review.main(["--events", str(nothing), "--previous", "none"])
    none, same, first = runs.finished(step="review")
    assert same.inputs.dataset_inputs[0].dataset.digest == first.inputs.dataset_inputs[0].dataset.digest
    assert queue_of(same.info.run_id).equals(queue)
    assert queue_of(none.info.run_id).empty


def test_nothing_trains_on_it(store: Path, captured: tuple[Path, list[str]]) -> None:
    review.main(["--events", str(captured[0])])
    (run,) = runs.finished(step="review")
    with pytest.raises(InputError, match="nothing has been prepared yet"):
        train_baseline.main([])
    with pytest.raises(InputError):
        train_baseline.main(["--dataset", f"runs:/{run.info.run_id}/{review_queue.QUEUE}"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "events, workspace, resource: got none of them; allowed: exactly one"),
        (["--events", "nowhere.jsonl"], "events=nowhere.jsonl: No such file or directory"),
        (["--events", "broken.jsonl"], "events=broken.jsonl: line 1 is no envelope of an endpoint's (no JSON)"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_leaves_nothing(store: Path, flags: list[str], message: str) -> None:
    (store / "broken.jsonl").write_text("{not json\n")
    with pytest.raises(InputError) as error:
        review.main(flags)
    assert str(error.value).startswith(message)
    assert statuses() == []


def test_a_wrong_flag_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        review.main(["--previous", "mine"])
    assert ended.value.code == 2
    assert "review: error: --previous: got 'mine'; allowed: newest, none" in capsys.readouterr().err
