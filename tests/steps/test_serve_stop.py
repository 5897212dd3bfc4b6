"""The end of the endpoint: what it has accepted is answered, what it saw is told, and it ends in time, however it is ended."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.serving import TWEETS, Server, all_answer, children, ingestion, load, serve, small_disk, wait_for

#: Seconds for which a stop may last.
MOST = 10


def stopped_under_load(server: Server, clients: int = 12) -> tuple[list[str], float]:
    """Stop a server in the middle of a load; return the ids of all answers, and the seconds that it took."""
    until = threading.Event()
    heard, threads = load(server, clients, until)
    wait_for(lambda: len(heard.ids) > 300, 60)
    seconds = server.stop()
    until.set()
    for thread in threads:
        thread.join()
    assert server.process.returncode == 0, server.log.read_text()
    assert heard.cut == []  # no answer broke off
    assert set(heard.statuses) <= {503}
    assert 503 in heard.statuses  # who came while it was stopping was told so
    assert "Traceback" not in server.log.read_text()
    return heard.ids, seconds


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_loses_neither_an_answer_nor_an_event(champions: Path, tmp_path: Path, workers: str) -> None:
    with ingestion() as service:
        variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string, "TMPDIR": str(tmp_path)}
        with serve(tmp_path, champions, "--workers", workers, **variables) as server:
            if workers == "2":
                wait_for(lambda: all_answer(server, 2), 60)
            ids, seconds = stopped_under_load(server)
        assert seconds < MOST
        told = service.ids()
        assert len(told) == len(set(told))
        assert set(ids) == set(told)
        assert len(service.data("RequestData")) >= len(ids)  # and those that were told to go


def test_with_ingestion_down_the_events_are_on_disk_in_time_and_are_sent_by_the_next(
    champions: Path, tmp_path: Path
) -> None:
    with ingestion() as service:
        line, port = service.connection_string, service.port
    flags = ["--telemetry_cache", str(tmp_path / "cache")]
    variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": line, "TMPDIR": str(tmp_path)}
    with serve(tmp_path, champions, *flags, **variables) as server:
        ids, seconds = stopped_under_load(server)
    assert seconds < MOST
    for blob in (tmp_path / "cache").glob("*.lock"):  # files of a failure rest for a minute
        blob.rename(blob.with_name(blob.name.partition("@")[0]))
    with ingestion(port) as service, serve(tmp_path, champions, *flags, **variables) as server:

        def all_sent() -> bool:
            server.ask(["one more, so that a success wakes the rest"])
            return set(ids) <= set(service.ids())

        wait_for(all_sent, 60)
        assert server.metric("sentiment_telemetry_events_total", fate="lost") == 0


def test_with_ingestion_down_and_the_disk_cache_full_the_loss_is_counted(champions: Path, tmp_path: Path) -> None:
    with ingestion() as service:
        variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string, "TMPDIR": str(tmp_path)}
    with small_disk(tmp_path / "small", "256k") as small:
        with serve(tmp_path, champions, "--telemetry_cache", str(small / "cache"), **variables) as server:
            ids, seconds = stopped_under_load(server)
        assert seconds < MOST
        kept = "".join(path.read_text() for path in (small / "cache").iterdir() if path.suffix != ".tmp")
    on_disk = sum(prediction_id in kept for prediction_id in ids)
    lost = sum(map(int, re.findall(r"telemetry: (\d+) events lost", server.log.read_text())))
    assert 0 < lost == len(ids) - on_disk


def test_with_ingestion_that_never_answers_it_still_ends_in_time(champions: Path, tmp_path: Path) -> None:
    def hang(items: list[object]) -> tuple[int, dict[str, str], None]:
        time.sleep(30)
        return 200, {}, None

    with ingestion(answer=hang) as service:
        variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": service.connection_string}
        flags = ["--telemetry_cache", str(tmp_path / "cache")]
        with serve(tmp_path, champions, *flags, **variables) as server:
            ids, seconds = stopped_under_load(server)
    assert seconds < MOST
    kept = "".join(path.read_text() for path in (tmp_path / "cache").iterdir())
    assert all(prediction_id in kept for prediction_id in ids)


def test_an_accepted_request_is_answered_however_long_the_stop_must_wait(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions, "--model", "data/champion/model") as server:
        server.ask(TWEETS)
        answered: list[object] = []
        texts = [f"quite a few words in tweet number {number}" for number in range(100)]
        asking = threading.Thread(target=lambda: answered.append(server.ask(texts)))
        asking.start()
        time.sleep(0.2)
        assert server.stop() < MOST
        asking.join()
        assert len(answered[0]) == 100  # type: ignore[arg-type]


def test_what_cannot_be_answered_in_time_is_told_so(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions, "--model", "data/champion/model", "--timeout", "600") as server:
        server.ask(TWEETS)
        answers: list[tuple[int, object]] = []
        endless = {"inputs": ["so many words " * 20] * 5000}
        asking = threading.Thread(target=lambda: answers.append(server.post("/invocations", endless)))
        asking.start()
        time.sleep(0.5)
        assert server.stop() < MOST
        asking.join()
        code, content = answers[0]
        assert code == 503
        assert content["error_code"] == "TEMPORARILY_UNAVAILABLE"  # type: ignore[index]


def test_ctrl_c_ends_it_and_its_workers(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions, "--workers", "2") as server:
        wait_for(lambda: all_answer(server, 2), 60)
        workers = children(server.process)
        assert server.stop(signal.SIGINT) < MOST
        assert server.process.returncode == 0
        assert not any(psutil.pid_exists(pid) for pid in workers)


def test_workers_do_not_outlive_a_parent_that_was_killed(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions, "--workers", "2") as server:
        wait_for(lambda: all_answer(server, 2), 60)
        workers = children(server.process)
        os.kill(server.process.pid, signal.SIGKILL)
        wait_for(lambda: not any(psutil.pid_exists(pid) for pid in workers), MOST)


def test_one_that_is_killed_leaves_a_port_that_can_be_taken_again(champions: Path, tmp_path: Path) -> None:
    with serve(tmp_path, champions) as server:
        until = threading.Event()
        heard, threads = load(server, 4, until)
        wait_for(lambda: len(heard.ids) > 50, 60)
        server.stop(signal.SIGKILL)
        until.set()
        for thread in threads:
            thread.join()
        with serve(tmp_path, champions, port=server.port) as again:
            assert again.ask(TWEETS)
