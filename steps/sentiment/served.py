"""What a logged model answers when it is served: loaded from its artifact, in a fresh process, without our code."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from steps.sentiment import runs

#: What the loaders that run ONNX need, and nothing else.
ONNX_REQUIREMENTS = [
    "mlflow-skinny==3.17.2",
    "numpy==2.4.6",
    "pandas==2.3.3",
    "onnxruntime==1.32.0",
    "tokenizers==0.23.3",
    "uvloop==0.23.0",
    "httptools==0.9.0",
]

#: What the entry point `serve` needs beside the packages of the model that it serves.
ENDPOINT_REQUIREMENTS = [
    "azure-monitor-opentelemetry==1.8.11",
    "orjson==3.13.0",
    "prometheus-client==0.26.0",
    "tqdm==4.70.1",
]


@dataclass(frozen=True)
class Answers:
    """What a model answers when served: `scores` of shape (n_texts,), and the time of one batch of all texts."""

    scores: np.ndarray
    milliseconds_per_text: float


_ANSWER = """
import json, sys, time
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
texts = json.load(sys.stdin)
model.predict(texts[:1])
start = time.perf_counter()
answers = model.predict(texts)
seconds = time.perf_counter() - start
explained = model.predict(texts[:1], params={"explain": True})
assert explained[0]["words"] is not None
json.dump({"scores": [answer["score"] for answer in answers], "seconds": seconds}, open(sys.argv[2], "w"))
"""

# The system's own count of the peak starts anew with the program; that of `resource` would begin with what our process holds.
# Where there is none, what is resident at the end stands for it.
_MEMORY = """
import json, re, sys
from pathlib import Path
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1], suppress_warnings=True)
model.predict(json.load(sys.stdin))
status = Path("/proc/self/status")
if status.exists():
    peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", status.read_text())[1])
else:
    import psutil
    peak = psutil.Process().memory_info().rss
json.dump({"peak": peak}, open(sys.argv[2], "w"))
"""


def ask(model_uri: str, texts: pd.Series) -> Answers:
    """Load a logged model as a server would, in a fresh process and a folder without our code, and ask it `texts`.

    Raises:
        RuntimeError: the model does not load or answer there.
    """
    found = _fresh(_ANSWER, model_uri, texts.tolist())
    return Answers(np.array(found["scores"]), 1000 * found["seconds"] / max(len(texts), 1))


def peak_megabytes(model_uri: str, texts: list[str]) -> float:
    """Return the most memory that a fresh process holds (resident, in MB) which loads a logged model and asks it `texts` at once.

    Raises:
        RuntimeError: the model does not load or answer there.
    """
    return float(_fresh(_MEMORY, model_uri, texts)["peak"]) / 1e6


def _fresh(script: str, model_uri: str, texts: list[str]) -> dict[str, Any]:
    # Runs a script with the model's folder and a path as arguments, texts as input; returns what it writes to that path.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_RUN_ID")}
    environment["MLFLOW_TRACKING_URI"] = mlflow.get_tracking_uri()
    with tempfile.TemporaryDirectory() as folder:
        model = runs.fetched(model_uri)
        result = Path(folder, "result.json")
        done = subprocess.run(
            [sys.executable, "-c", script, str(Path(model).resolve()), str(result)],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the logged model does not answer in a fresh process: {done.stderr.strip()[-800:]}")
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found
