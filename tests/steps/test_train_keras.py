"""train_keras: every embedding with every architecture, a kill and its sequel, and what is refused."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from steps import train_keras
from steps.sentiment import dataset as datasets
from steps.sentiment import embeddings, encoder, network_training, networks, runs, tracking, vocabulary
from steps.sentiment.checkpoint import Checkpoint
from steps.sentiment.command_line import InputError, RefusedError
from steps.sentiment.model import OnnxScorer
from tests.conftest import ROOT, environment, statuses

SMALL = "--embedding learned --architecture average --batch_size 64 --learning_rate 0.01 --max_rows 600".split()
WORDS = ("not", "good", "bad", "love", "hate", "day", "the", "my", "so", "!", "n", "##ot", "##s", "user", "link")


@pytest.fixture
def tiny_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The token vectors and the WordPiece tokenizer of an encoder, in small."""
    pieces = {piece: number for number, piece in enumerate(("[PAD]", "[UNK]", *WORDS))}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(tmp_path / vocabulary.FILE))
    vectors = np.random.default_rng(0).normal(0, 0.2, (len(pieces), 24)).astype(np.float32)
    save_file({"embeddings.word_embeddings.weight": vectors}, tmp_path / encoder.WEIGHTS)
    monkeypatch.setattr(encoder, "minilm", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def vector_file(tmp_path: Path) -> Path:
    """A small file of vectors in GloVe's format."""
    random = np.random.default_rng(0)
    path = tmp_path / "vectors.txt"
    words = [
        "not",
        "good",
        "bad",
        "love",
        "hate",
        "day",
        "the",
        "my",
        "so",
        "!",
        ".",
        "i",
        "to",
        "a",
        "is",
        "it",
        "and",
    ]
    words += ["flight", "time", "just", "for", "in", "of", "on", "was", "have", "with", "this", "at", "me", "you", "no"]
    path.write_text("".join(f"{word} {' '.join(f'{x:.5f}' for x in random.normal(0, 0.2, 25))}\n" for word in words))
    return path


@pytest.mark.parametrize("architecture", networks.ARCHITECTURES)
@pytest.mark.parametrize("embedding", embeddings.EMBEDDINGS)
def test_every_embedding_trains_with_every_architecture_and_is_served_as_trained(
    embedding: str,
    architecture: str,
    prepared: Path,
    tmp_path: Path,
    tiny_encoder: Path,
    vector_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "log_epoch", lambda epoch, values: None)
    argv = f"--embedding {embedding} --architecture {architecture} --vectors {vector_file} --units 8 --dimension 24"
    given = train_keras.flags().read([*argv.split(), "--epochs", "1", "--max_rows", "300"])
    dataset = tracking.find_dataset("")
    data = network_training.inputs(dataset, given, given.max_rows)
    settings = train_keras.settings(given, len(data.train.texts))
    network, history = network_training.fit(data, settings, Checkpoint(tmp_path / "kept"))
    assert history[0]["train_loss"] < 1.0
    assert data.facts["dimension"] == (25 if embedding == "glove" else 24)
    assert 0 <= data.facts["oov_share"] <= data.facts["no_vector_share"] < 1 or embedding in ("learned", "minilm")
    networks.export(network, tmp_path)
    data.embedding.tokenizer.save(str(tmp_path / vocabulary.FILE))
    texts = dataset.split("validation")["text"].tolist()[:100]
    served, _ = OnnxScorer(tmp_path, {"max_tokens": data.max_tokens})(texts)
    assert np.allclose(served, networks.logits(network, data.validation.texts)[:100], atol=1e-4)


def test_a_run_keeps_its_epochs_its_vocabulary_and_both_forms_of_the_network(prepared: Path) -> None:
    train_keras.main([*SMALL, "--epochs", "2"])
    run = runs.finished(step="train_keras")[0]
    assert run.data.metrics["epochs_run"] == 2
    assert run.data.tags["model_name"] == run.info.run_name == "learned average"
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, networks.OBJECTIVE)
    assert [point.step for point in history] == [1, 2]
    assert {"oov_share", "no_vector_share", "words", "dimension", "vectors_seconds"} <= set(run.data.metrics)
    whole = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/files/network.keras")
    assert networks.keras.models.load_model(whole).name == "average"
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{run.data.tags['model_id']}"), "artifacts/model")
    assert {path.name for path in folder.iterdir()} == {"model.json", "model.onnx", "profile.json", "tokenizer.json"}
    assert json.loads((folder / "model.json").read_text())["onnx"] == {"max_tokens": 64}
    assert not list((prepared / "data/processed/checkpoints").glob("*/epoch-*"))


def test_a_killed_training_goes_on_and_ends_as_an_unbroken_one(prepared: Path) -> None:
    command = [sys.executable, "-m", "steps.train_keras", *SMALL, "--epochs", "6", "--patience", "6"]
    variables = environment(prepared) | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    kept = prepared / "data/processed/checkpoints"
    for _ in range(2):
        before = len(list(kept.glob("*/epoch-*/history.json")))
        begun = max((path.parent.name for path in kept.glob("*/epoch-*/history.json")), default="epoch-000")
        with subprocess.Popen(command, cwd=prepared, env=variables, stderr=subprocess.DEVNULL) as child:
            deadline = time.monotonic() + 120
            while max((path.name for path in kept.glob("*/epoch-*")), default="epoch-000") <= begun:
                assert child.poll() is None, f"it ended before it could be killed ({before} checkpoints)"
                assert time.monotonic() < deadline
                time.sleep(0.005)
            child.send_signal(signal.SIGKILL)
        assert statuses()[0] == "RUNNING"
    done = subprocess.run(command, cwd=prepared, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.count("epoch ") == 6
    resumed = runs.finished(step="train_keras")[0]
    assert statuses()[:3] == ["FINISHED", "KILLED", "KILLED"]
    subprocess.run(command, cwd=prepared, env=variables, capture_output=True, text=True, check=True)
    unbroken = runs.finished(step="train_keras")[0]
    for name in ("validation_roc_auc", "validation_brier", "train_loss", "epochs_run"):
        assert resumed.data.metrics[name] == unbroken.data.metrics[name]
    history = mlflow.MlflowClient().get_metric_history(resumed.info.run_id, networks.OBJECTIVE)
    assert [point.step for point in history] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--embedding elmo", "--embedding: got 'elmo'; allowed: learned, word2vec, fasttext, glove, minilm"),
        ("--architecture gru", "--architecture: got 'gru'; allowed: average, cnn, lstm, bilstm"),
        ("--dropout 1", "--dropout: got '1'; allowed: a number from 0 to below 1"),
        ("--learning_rate -1", "--learning_rate: got '-1'; allowed: a number above 0"),
        (
            "--dimension 2147483647",
            "--dimension: got '2147483647'; allowed: a whole number of at least 1 and at most 4096",
        ),
        ("--embedding glove --vectors ''", "--vectors: got ''; allowed: a text that is not empty"),
        ("--epochs 0", "--epochs: got '0'; allowed: a whole number of at least 1"),
    ],
)
def test_a_wrong_flag_is_one_line(argv: str, message: str, capsys: pytest.CaptureFixture[str], store: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        train_keras.main([text.strip("'") for text in argv.split()])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (store / "mlflow.db").exists() or statuses() == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            "--embedding learned --min_count 100000",
            r"min_count=100000: no word occurs so often .* allowed: a smaller one",
        ),
        ("--embedding glove --vectors nowhere.txt", r"vectors=nowhere\.txt: no such file"),
    ],
)
def test_what_cannot_be_trained_leaves_a_failed_run_and_says_why(
    argv: str, message: str, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings.gensim.downloader, "DATA_LIST_URL", "http://127.0.0.1:9/list.json")
    with pytest.raises(InputError, match=message):
        train_keras.main(argv.split())
    assert "RUNNING" not in statuses()


def test_a_network_that_falls_to_one_class_is_refused(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(runs.finished(step="train_keras"))

    def fallen(network: networks.Model, texts: vocabulary.Encoded, batch_size: int = 512) -> np.ndarray:
        return np.linspace(-0.1, 2.0, len(texts))

    monkeypatch.setattr(networks, "logits", fallen)
    with pytest.raises(RefusedError, match=r"calls 95\.\d% of the validation tweets positive .*it fell to one class"):
        train_keras.main([*SMALL, "--epochs", "1"])
    assert len(runs.finished(step="train_keras")) == before
    assert statuses()[0] == "FAILED"


def test_vectors_that_would_stay_random_are_refused_before_there_is_a_run(prepared: Path) -> None:
    before = statuses()
    with pytest.raises(InputError, match="frozen_epochs=1: allowed with embedding=learned: 0"):
        train_keras.main("--embedding learned --frozen_epochs 1".split())
    assert statuses() == before


def test_another_file_of_vectors_under_the_same_name_is_another_training(prepared: Path, vector_file: Path) -> None:
    given = train_keras.flags().read(f"--embedding glove --vectors {vector_file}".split())
    dataset = tracking.find_dataset("")
    before = network_training.data_key(dataset, given)
    vector_file.write_text(vector_file.read_text().replace("good", "goods"))
    assert network_training.data_key(dataset, given) != before
    assert before.startswith(dataset.digest)
    by_name = train_keras.flags().read("--embedding glove".split())
    assert network_training.data_key(dataset, by_name) == dataset.digest


def test_batches_grow_with_the_rows() -> None:
    sizes = {rows: network_training.batch_size(None, rows) for rows in (1, 3_000, 10_000, 50_000, 1_500_000)}
    assert sizes == {1: 32, 3_000: 32, 10_000: 64, 50_000: 256, 1_500_000: 512}
    assert network_training.batch_size(7, 1_000_000) == 7


def test_checkpoints_lie_beside_the_prepared_data() -> None:
    assert network_training.checkpoint("key").folder == datasets.PROCESSED / "checkpoints/key"
