"""The line to Azure Application Insights where the service is silent; what it receives otherwise, tests/steps shows."""

import threading
import time

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import HttpRequest

from steps.sentiment.insights import _Transport
from tests.serving import ingestion


def test_a_stop_does_not_wait_for_an_answer_that_does_not_come() -> None:
    asked, released = threading.Event(), threading.Event()

    def hang(items: list[object]) -> tuple[int, dict[str, str], None]:
        asked.set()
        released.wait(30)
        return 200, {}, None

    counts: list[str] = []
    with ingestion(answer=hang) as service, _Transport(lambda fate, number: counts.append(fate)) as transport:

        def hurry() -> None:
            asked.wait(30)
            transport.hurry()

        threading.Thread(target=hurry).start()
        request = HttpRequest("POST", f"http://127.0.0.1:{service.port}/v2.1/track", data="[]")
        start = time.monotonic()
        with pytest.raises(ServiceRequestError, match="no time left"):
            transport.send(request)
        with pytest.raises(ServiceRequestError, match="a moment ago"):  # nor is it tried again
            transport.send(request)
        assert time.monotonic() - start < 2  # it would wait for three seconds
        released.set()
    assert asked.is_set()
    assert counts == []  # what is not sent is counted where it is put on disk
