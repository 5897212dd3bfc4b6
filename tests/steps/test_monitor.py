"""monitor: real envelopes of a served model, a page in a finished run, exit code 1 for drift and 2 for what cannot be judged."""

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from steps import monitor
from steps.sentiment import model_folder, runs
from steps.sentiment.command_line import InputError
from tests.conftest import ROOT, statuses
from tests.serving import ingestion, serve, wait_for
from tests.streams import PROFILE, drawn, envelope, judged, read

MODEL = ROOT / "data/champion/model"
VERSION = model_folder.profile(str(MODEL))[0]


def captured(path: Path, rows: int = 600, version: str = VERSION, **changed: object) -> str:
    tweets = drawn(PROFILE, rows, seed=0).assign(**changed).to_dict("records")
    told = [envelope(str(number), tweet, version) for number, tweet in enumerate(tweets)]
    told += [judged(str(number), tweet, 1 - tweet["label"], version) for number, tweet in enumerate(tweets[:30])]
    path.write_text("".join(f"{json.dumps(one)}\n" for one in told), encoding="utf-8")
    return str(path)


def artifact(name: str) -> str:
    (run,) = runs.finished(step="monitor")
    return Path(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/{name}")).read_text(encoding="utf-8")


def test_what_has_not_drifted_leaves_a_page_in_a_finished_run(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monitor.main(["--events", captured(store / "captured.jsonl"), "--model", str(MODEL)])
    (run,) = runs.finished(step="monitor")
    assert run.data.metrics["drifted"] == 0
    assert run.data.metrics["predictions"] == 600
    assert run.data.params["found_model_version"] == VERSION
    assert 0 <= run.data.metrics["psi_score"] < 0.1
    page = artifact("drift.html")
    assert "Nothing drifted." in page
    assert page.count("data:image/png;base64,") == 3  # characters, words, score
    assert "30 answers were judged" in page
    assert json.loads(artifact("drift.json"))["drifted"] == []
    said = f"monitor: 600 predictions of version {VERSION}, 30 called wrong: nothing drifted; runs:/{run.info.run_id}/drift.html\n"
    assert capsys.readouterr().out == said


def test_drift_is_exit_code_1_and_its_run_is_finished(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = captured(store / "captured.jsonl", capitals=1)
    with pytest.raises(SystemExit) as ended:
        monitor.main(["--events", events, "--model", str(MODEL)])
    assert ended.value.code == 1
    assert statuses() == ["FINISHED"]
    assert "drifted: capitals (PSI " in capsys.readouterr().out
    assert "Drifted: capitals." in artifact("drift.html")


def test_a_served_model_is_watched(champions: Path, store: Path) -> None:
    # The champion and tweets of the same sample that it has not seen, asked as they are and in capitals.
    (tweets,) = (champions / "data/processed").glob("*/tweets.parquet")
    rows = pd.read_parquet(tweets).query("split == 'test'")
    texts = rows["text"].tolist()
    mlflow.set_tracking_uri(f"sqlite:///{champions}/mlflow.db")
    for name, asked in (("as they are", texts), ("in capitals", [text.upper() for text in texts])):
        with ingestion() as service:
            variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string}
            with serve(store, champions, "--telemetry_cache", str(store / "cache"), **variables) as server:
                records = server.ask(asked)
                server.post("/feedback", {"prediction_id": records[0]["prediction_id"], "expected": "negative"})
                wait_for(lambda: len(service.events("prediction")) == len(texts) and service.events("feedback"), 60)
            (file := store / f"{name}.jsonl").write_text(json.dumps(service.envelopes), encoding="utf-8")
        version, profile = model_folder.profile("models:/tweet-sentiment@champion")
        found = read([file])
        assert found.of(version).predictions["score"].tolist() == [record["score"] for record in records]
        assert (found.predictions["expected"] >= 0).sum() == 1
        result = monitor.drift.judge(profile, version, found, 0.01, 0.1)
        assert ("capitals" in {one.feature for one in result.drifted}) == (name == "in capitals")
        assert bool(result.drifted) == (name == "in capitals")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "events, workspace, resource: got none of them; allowed: exactly one"),
        (
            ["--events", "a", "--workspace", "11111111-2222-3333-4444-555555555555"],
            "events, workspace, resource: got events, workspace; allowed: exactly one",
        ),
        (["--events", "nowhere.jsonl"], "events=nowhere.jsonl: No such file or directory"),
        (["--events", "few.jsonl"], "events: 499 predictions of version "),
        (["--events", "other.jsonl"], "events: of version 7, but the profile is that of version "),
        (["--events", "empty.jsonl"], "events: no prediction is among them; needed: 500"),
        (["--events", "MLmodel"], "events=MLmodel: line 1 is no envelope of an endpoint's (no JSON)"),
        (["--events", "few.jsonl", "--model", "nowhere"], "model=nowhere: no model there"),
        (["--events", "few.jsonl", "--model", "bare"], "model=bare: it has no profile.json"),
    ],
)
def test_what_cannot_be_judged_is_refused_and_leaves_no_run(store: Path, flags: list[str], message: str) -> None:
    captured(store / "few.jsonl", rows=499)
    captured(store / "other.jsonl", version="7")
    (store / "empty.jsonl").touch()
    (store / "MLmodel").write_bytes((MODEL / "MLmodel").read_bytes())
    (store / "bare").mkdir()
    (store / "bare/MLmodel").write_bytes((MODEL / "MLmodel").read_bytes())
    with pytest.raises(InputError) as error:
        monitor.main([*(() if "--model" in flags else ("--model", str(MODEL))), *flags])
    assert str(error.value).startswith(message)
    assert statuses() == []


@pytest.mark.parametrize(
    "flag",
    [
        ("workspace", "mine"),
        ("resource", "/subscriptions/s"),
        ("hours", "0"),
        ("level", "0"),
        ("level", "1"),
        ("psi", "-1"),
    ],
    ids="=".join,
)
def test_a_wrong_flag_is_named(capsys: pytest.CaptureFixture[str], flag: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        monitor.main([f"--{flag[0]}", flag[1]])
    assert ended.value.code == 2
    assert f"monitor: error: --{flag[0]}: got '{flag[1]}'; allowed: " in capsys.readouterr().err
