"""What the tests of the steps share: the prepared sample in a folder of its own, and an encoder that is small."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from steps import prepare
from tests.conftest import ROOT
from tests.serving import Ingestion, ingestion


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the prepared sample, made once: the working directory of a module, with a store of its own."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.chdir(folder)
        (folder / "data").mkdir()
        (folder / "data/sample").symlink_to(ROOT / "data/sample")
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.set_registry_uri(None)
        prepare.main([])
        yield folder
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def service() -> Iterator[Ingestion]:
    """An ingestion service of a module's own, on loopback."""
    with ingestion() as running:
        yield running


@pytest.fixture(scope="session")
def small_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers that has learned nothing, as transformers saves it; its words are the sample's most frequent."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    with (ROOT / "data/sample/tweets.csv").open(encoding="utf-8", newline="") as file:
        text = " ".join(line[-1] for line in csv.reader(file)).lower()
    common = [word for word, _ in Counter(re.findall(r"[a-z]{2,}", text)).most_common(400)]
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*marks, *letters, *(f"##{letter}" for letter in letters if letter.isalnum()), *common]

    folder = tmp_path_factory.mktemp("small-bert")
    BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder
