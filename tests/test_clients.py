"""Every example of docs/clients.md, run as it stands there against a real endpoint."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment
from tests.serving import Server, serve

PAGE = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```(bash|python|javascript)\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = {"bash": ["bash", "-c"], "python": [sys.executable, "-c"], "javascript": ["node", "-e"]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The bundled model behind the endpoint."""
    folder = tmp_path_factory.mktemp("served")
    with serve(folder, folder, "--model", "data/champion/model") as server:
        yield server


def test_every_example_has_what_it_prints_and_every_language_is_there() -> None:
    assert len(EXAMPLES) == len(re.findall(r"```(?:bash|python|javascript)\n", PAGE))
    assert {language for language, _, _ in EXAMPLES} == set(COMMANDS)


def masked(text: str) -> str:
    """Return what an example prints without what differs from model to model: scores, weights and ids."""
    text = re.sub(r"-?\d+\.\d+(e-\d+)?", "NUMBER", text)
    return re.sub(r'"prediction_id":"[^"]+"', '"prediction_id":"ID"', text)


@pytest.mark.parametrize(
    ("language", "code", "printed"), EXAMPLES, ids=[f"{number}-{one[0]}" for number, one in enumerate(EXAMPLES)]
)
def test_an_example_prints_what_stands_below_it(
    served: Server, tmp_path: Path, language: str, code: str, printed: str
) -> None:
    code = code.replace("127.0.0.1:5001", f"127.0.0.1:{served.port}").replace(", 5001", f", {served.port}")
    command = [*COMMANDS[language], code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert masked(done.stdout).strip() == masked(printed).strip()
