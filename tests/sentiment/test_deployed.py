"""The model that an endpoint answers with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from steps.sentiment import deployed
from tests.conftest import ROOT

BUNDLED = ROOT / "data/champion/model"


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("models:/tweet-sentiment@champion", ("tweet-sentiment", "champion")),
        ("models:/tweet-sentiment/3", None),
        ("models:/tweet-sentiment/Production", None),
        ("data/champion/model", None),
        ("models:/a@b@c", None),
    ],
)
def test_only_a_uri_with_an_alias_can_be_followed(uri: str, found: tuple[str, str] | None) -> None:
    assert deployed.alias_of(uri) == found


@pytest.mark.parametrize("threads", [1, 2])
def test_onnxruntime_gets_the_threads_of_a_worker_and_no_more(threads: int) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom steps.sentiment import deployed\n"
        "model = deployed.load(Path(sys.argv[1]), 'here', int(sys.argv[2]))\n"
        "deployed.load(Path(sys.argv[1]), 'again', int(sys.argv[2]))\n"
        "import onnxruntime\nfrom pathlib import Path\n"
        "options = onnxruntime.InferenceSession(sys.argv[1] + '/artifacts/model/model.onnx').get_session_options()\n"
        "print(options.intra_op_num_threads, model.predict(['love it, best crew ever'], False)[0]['label'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(BUNDLED), str(threads)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(threads), "positive"]


def test_onnxruntime_tells_microsoft_nothing(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom steps.sentiment import deployed\n"
        "deployed.load(Path(sys.argv[1]), 'here', 1).predict(['love it'], False)\n"
    )
    # It keeps quiet by itself where CI is set; a home and a cache of its own would otherwise hold what it wants to send.
    own = {
        name: text for name, text in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    own |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script, str(BUNDLED)], cwd=ROOT, env=own, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_cores_are_those_that_this_process_may_use() -> None:
    script = "from steps.sentiment import deployed; print(deployed.cores())"
    core = {min(os.sched_getaffinity(0))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, core),
    )
    assert int(done.stdout) == 1
    assert 1 <= deployed.cores() <= len(os.sched_getaffinity(0))
