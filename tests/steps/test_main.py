"""The workflow that a person types: the whole project, once more, and the champion behind a real MLflow server."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run, environment

STEPS = ("prepare", "train_baseline", "train_bert", "train_keras", "bundled", "compare", "register", "promote")


def progress(printed: str) -> dict[str, str]:
    return dict(re.findall(r"^\[\d/\d\] (\w+): (.*)$", printed, re.MULTILINE))


def test_the_first_run_does_every_step_and_ends_with_a_champion(
    thread: subprocess.CompletedProcess[str], run_in: Run
) -> None:
    assert tuple(progress(thread.stdout)) == STEPS
    assert all(what.startswith("done in") for what in progress(thread.stdout).values())
    assert "Traceback" not in thread.stderr
    assert re.search(r"^\| baseline ", thread.stdout, re.MULTILINE)
    versions = run_in("python", "-m", "registry_scripts.versions").stdout
    # The bundled model and the one trained here are about as good on the sample; the better one must be the champion.
    best = re.findall(r"^\| model .*\n\|[-|]+\n\| (bert|bundled) ", thread.stdout, re.MULTILINE)
    assert len(best) == 1
    assert re.search(rf"1\s+champion\s+Production\s+{best[0]}\s", versions)


def test_a_second_run_reuses_every_step(thread: subprocess.CompletedProcess[str], run_in: Run) -> None:
    start = time.monotonic()
    again = run_in("mlflow", "run", ".", "--env-manager", "local", "--experiment-name", "tweet-sentiment")
    assert time.monotonic() - start < 60
    done = progress(again.stdout)
    assert tuple(done) == STEPS
    assert not [what for what in done.values() if "done in" in what]
    assert again.stdout.split("\n| model ", 1)[1] == thread.stdout.split("\n| model ", 1)[1]


def test_a_better_model_replaces_the_champion(run_in: Run, tmp_path: Path) -> None:
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/other.db"}
    weak = run_in(
        "mlflow", "run", ".", "--env-manager", "local", "-P", "max_rows=250", "-P", "families=baseline", **store
    )
    assert progress(weak.stdout)["promote"].startswith("done in")
    better = run_in("mlflow", "run", ".", "--env-manager", "local", "-P", "families=baseline", **store)
    assert progress(better.stdout)["promote"].startswith("done in")
    assert "champion v1" in better.stdout
    versions = run_in("python", "-m", "registry_scripts.versions", **store).stdout
    assert re.search(r"1\s+previous\s+Archived", versions)
    assert re.search(r"2\s+champion\s+Production", versions)


def test_a_champion_is_never_tested_on_what_it_was_trained_on(
    thread: subprocess.CompletedProcess[str], run_in: Run
) -> None:
    other = run_in(
        "mlflow", "run", ".", "--env-manager", "local", "-P", "seed=1", "-P", "families=baseline", check=False
    )
    assert other.returncode != 0
    assert "Traceback" not in other.stderr
    assert "main: error: compare failed; its own error stands above" in other.stderr
    assert re.search(r"compare: error: champion v1 was trained on \d+ of the \d+ test rows", other.stderr)


@pytest.mark.parametrize(
    ("entry_point", "flag", "line"),
    [
        ("train_baseline", "C=abc", "train_baseline: error: --C: got 'abc'; allowed: one or more numbers above 0"),
        ("prepare", "data=nope.csv", "prepare: error: no such file: nope.csv; allowed: "),
        ("promote", "version=99", "promote: error: --version: no version 99 of tweet-sentiment; allowed: 1"),
        ("main", "families=lstn", "main: error: --families: got 'lstn'; allowed: baseline, bert, keras, bundled"),
        ("compare", "unknown=1", "compare: error: unrecognized arguments: --unknown 1"),
    ],
)
def test_a_wrong_flag_through_mlflow_run_is_one_line_and_no_run_is_left_running(
    thread: subprocess.CompletedProcess[str], run_in: Run, entry_point: str, flag: str, line: str
) -> None:
    done = run_in("mlflow", "run", ".", "-e", entry_point, "--env-manager", "local", "-P", flag, check=False)
    assert done.returncode != 0
    assert [text for text in done.stderr.splitlines() if text.startswith(line)]
    assert "Traceback" not in done.stderr
    script = "import mlflow; print({run.info.status for run in mlflow.search_runs(search_all_experiments=True, output_format='list')})"
    assert "RUNNING" not in run_in("python", "-c", script).stdout


@pytest.fixture(scope="module")
def next_commands(thread: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """The two commands that the thread printed."""
    serve, ask = re.findall(r"^  (.*(?:mlflow models serve|curl).*)$", thread.stdout, re.MULTILINE)
    return serve, ask


@pytest.fixture(scope="module")
def served(next_commands: tuple[str, str], clone: Path) -> Iterator[str]:
    """The champion behind `mlflow models serve` exactly as printed, but for the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = next_commands[0].replace("-p 5001", f"-p {port}")
    address = f"http://127.0.0.1:{port}"
    with (clone / "serve.log").open("w") as log:
        server = subprocess.Popen(
            ["bash", "-c", command], cwd=clone, env=environment(clone), stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 120
            while server.poll() is None and time.monotonic() < deadline:
                try:
                    urllib.request.urlopen(f"{address}/ping", timeout=2).close()
                    break
                except OSError:
                    time.sleep(0.5)
            else:
                raise AssertionError(f"no answer from {command}:\n{(clone / 'serve.log').read_text()}")
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def ask(address: str, payload: Any) -> tuple[int, Any]:
    """POST a payload to /invocations; return the status and the answer."""
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(payload).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_printed_curl_gets_the_answer(served: str, next_commands: tuple[str, str], clone: Path) -> None:
    command = next_commands[1].replace("http://127.0.0.1:5001", served)
    done = subprocess.run(shlex.split(command), cwd=clone, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)["predictions"]
    assert [set(answer) for answer in answers] == [{"label", "score", "unsure", "truncated"}] * 2
    assert answers[0]["score"] < answers[1]["score"]
    shown = re.search(r'\{"predictions": \[.*?\]\}', (clone / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    for answer, promised in zip(answers, json.loads(shown[0])["predictions"], strict=True):
        # Processors with and without bfloat16 train a little otherwise.
        assert answer == promised | {"score": pytest.approx(promised["score"], abs=0.06)}


@pytest.mark.parametrize(
    "texts",
    [
        ["x" * 10_000],
        ["word " * 2_000],
        ["fine"] * 5_000,
        ["😀🎉"],
        ["привет", "مرحبا", "你好"],
        [""],
        ["   "],
        ["\x00\x07"],
        [],
    ],
    ids=["10000 letters", "2000 words", "5000 rows", "emoji", "scripts", "empty", "blank", "control", "no row"],
)
def test_every_list_of_texts_gets_an_answer_each(served: str, texts: list[str]) -> None:
    status, answer = ask(served, {"inputs": texts})
    assert status == 200
    assert len(answer["predictions"]) == len(texts)
    assert all(0 <= one["score"] <= 1 for one in answer["predictions"])


@pytest.mark.parametrize(
    "payload",
    [
        {"inputs": [None]},
        {"inputs": ["fine", None]},
        {"inputs": [5]},
        {"inputs": [{"text": "x"}]},
        {"texts": ["x"]},
        {},
        [],
        {"inputs": ["x"], "params": {"explain": "perhaps"}},
    ],
    ids=["null", "null among texts", "number", "object", "missing key", "nothing", "list", "param of wrong type"],
)
def test_anything_else_gets_a_400(served: str, payload: Any) -> None:
    status, answer = ask(served, payload)
    assert status == 400
    assert answer["error_code"]


def test_words_come_on_request(served: str) -> None:
    status, answer = ask(served, {"inputs": ["not a good flight"], "params": {"explain": True}})
    assert status == 200
    assert [word["word"] for word in answer["predictions"][0]["words"]] == ["not", "a", "good", "flight"]


def test_a_version_keeps_its_cleaning_in_a_process_with_a_changed_library(
    thread: subprocess.CompletedProcess[str], run_in: Run, clone: Path
) -> None:
    script = (
        "import steps.sentiment.model as ours, mlflow\n"
        "print(ours.clean('Not BAD'))\n"
        "model = mlflow.pyfunc.load_model('models:/tweet-sentiment@champion')\n"
        "print([answer['score'] for answer in model.predict(['so happyyyyyy', 'my bag is lost :('])])\n"
    )
    cleaned, before = run_in("python", "-c", script).stdout.splitlines()
    file = clone / "steps/sentiment/model.py"
    text = file.read_text(encoding="utf-8")
    changed = text.replace("    text = text.lower()\n", '    text = "changed"\n')
    assert changed != text
    file.write_text(changed, encoding="utf-8")
    try:
        cleaned_now, after = run_in("python", "-c", script).stdout.splitlines()
    finally:
        file.write_text(text, encoding="utf-8")
    assert (cleaned, cleaned_now) == ("not bad", "changed")
    assert after == before
