"""train_bert on a small encoder: what a run leaves, kills and their sequel, several processes, and what is refused."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import safetensors.numpy
from mlflow.entities import Run

from steps import train_bert
from steps.sentiment import behaviour, command_line, fine_tuning, runs, tracking, transformer
from steps.sentiment import dataset as datasets
from steps.sentiment.checkpoint import Checkpoint
from steps.sentiment.command_line import InputError, RefusedError
from tests.conftest import ROOT, environment, statuses

#: 91 steps an epoch; of 901 tweets one is left for the last batch.
SMALL = "--max_rows 901 --epochs 3 --patience 3 --batch_size 10 --learning_rate 0.002 --max_length 32".split()
#: The step as `python -m steps.train_bert`, but for its checkpoints: it keeps one at each look at the loss, and tells of it.
OFTEN_KEPT = """
import os, runpy
from steps.sentiment import fine_tuning
from steps.sentiment.checkpoint import Checkpoint

save = Checkpoint.save
fine_tuning.KEEP_SECONDS = 0
Checkpoint.save = lambda self, name, write: (save(self, name, write), print(os.environ.get("RANK"), "keeps", name))
runpy.run_module("steps.train_bert", run_name="__main__", alter_sys=True)
"""
KEPT = """
import runpy
from steps.sentiment import fine_tuning

fine_tuning.KEEP_SECONDS = 0
runpy.run_module("steps.train_bert", run_name="__main__", alter_sys=True)
"""
KEPT = Path("data/processed/checkpoints")


@pytest.fixture(scope="module")
def command(small_bert: Path) -> list[str]:
    return ["--encoder", str(small_bert), *SMALL]


@pytest.fixture(scope="module")
def trained(prepared: Path, command: list[str]) -> Run:
    """The finished run of a training that nothing interrupted."""
    train_bert.main(command)
    return runs.finished(step="train_bert")[0]


@pytest.fixture
def variables(prepared: Path) -> dict[str, str]:
    """The environment of a child process that runs the step in the prepared folder."""
    ours = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    return environment(prepared) | ours | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def test_a_run_has_its_measures_and_those_of_each_epoch(trained: Run, small_bert: Path) -> None:
    found = trained.data.metrics
    assert (found["train_rows"], found["epochs_run"]) == (901, 3)
    assert {name for name in found if name.startswith("quantization_")} == {
        "quantization_accuracy_loss",
        "quantization_roc_auc_loss",
        "quantization_flipped_share",
        "quantization_max_score_difference",
    }
    assert 0 < found["export_max_difference"] < 1e-4
    assert 0 < found["quantization_max_score_difference"] < 0.1
    assert 5 < found["pieces_per_tweet"] <= 32
    assert found["validation_roc_auc"] > 0.65
    for name in (fine_tuning.OBJECTIVE, "train_loss", "epoch_validation_loss", "epoch_seconds"):
        points = mlflow.MlflowClient().get_metric_history(trained.info.run_id, name)
        assert [point.step for point in points] == [1, 2, 3]
    assert trained.data.tags["model_name"] == trained.info.run_name == f"bert {small_bert.name}"
    assert not list(KEPT.glob("*")), "the checkpoint is gone"


def test_a_model_is_onnx_tokenizer_and_settings(trained: Run) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{trained.data.tags['model_id']}"), "artifacts/model")
    assert {path.name for path in folder.iterdir()} == {"model.json", "model.onnx", "profile.json", "tokenizer.json"}
    settings = json.loads((folder / "model.json").read_text())
    assert settings["loader"] == "transformer"
    assert settings["transformer"].items() >= {"cased": False, "padding": 0}.items()


def test_a_model_says_what_it_did_not_read_to_the_end(trained: Run) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{trained.data.tags['model_id']}")
    short, long = model.predict(["love it", "love it " * 30])
    assert (short["truncated"], long["truncated"]) == (False, True)


def test_the_fine_tuned_encoder_is_one_to_go_on_from(trained: Run, command: list[str], tmp_path: Path) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(f"runs:/{trained.info.run_id}/files/encoder"))
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "head.safetensors",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    given = train_bert.flags().read([*command, "--encoder", str(folder), "--epochs", "1"])
    data = train_bert.inputs(tracking.find_dataset(""), folder, given, fine_tuning.accelerator())
    (epoch,) = fine_tuning.fit(
        data.network, data.rows, data.settings, Checkpoint(tmp_path / "kept"), fine_tuning.accelerator()
    )
    from_scratch = runs.history(trained, "train_loss")
    assert epoch["train_loss"] < from_scratch[0], "it knows what it has learned"


def test_a_fine_tuned_encoder_is_served_as_it_is_in_full_precision(trained: Run, command: list[str]) -> None:
    own = f"runs:/{trained.info.run_id}/files/encoder"
    train_bert.main([*command, "--encoder", own, "--epochs", "0", "--bits", "32"])
    twin = runs.finished(step="train_bert")[0]
    assert twin.data.tags["model_name"] == f"{trained.data.tags['model_name']} float32"
    assert twin.data.metrics["epochs_run"] == twin.data.metrics["train_seconds"] == 0
    assert twin.data.metrics["model_size_mb"] > trained.data.metrics["model_size_mb"]
    texts = ["love it", "lost my bag again", "not bad at all"]
    eight, full = (
        [record["score"] for record in mlflow.pyfunc.load_model(f"models:/{run.data.tags['model_id']}").predict(texts)]
        for run in (trained, twin)
    )
    assert full == pytest.approx(eight, abs=0.1)
    assert full != eight
    with pytest.raises(InputError, match=r"encoder=runs:/nothing/files/encoder: not found"):
        train_bert.main([*command, "--encoder", "runs:/nothing/files/encoder"])


def test_weights_are_averaged_with_those_of_a_training_before(trained: Run, command: list[str]) -> None:
    own = f"runs:/{trained.info.run_id}/files/encoder"
    again = [*command, "--encoder", own, "--epochs", "1", "--bits", "32"]
    heads = [head(trained)]
    for more in ([], ["--average", own, "--average_share", "0.25"]):
        train_bert.main([*again, *more])
        heads.append(head(runs.finished(step="train_bert")[0]))
    before, after, averaged = heads
    assert np.abs(after - before).max() > 1e-3
    assert averaged == pytest.approx(0.75 * after + 0.25 * before, abs=1e-5)


def head(run: Run) -> np.ndarray:
    path = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/files/encoder/head.safetensors")
    return safetensors.numpy.load_file(path)["weight"]


def test_written_examples_are_learned_from_and_counted(trained: Run, prepared: Path, command: list[str]) -> None:
    tests = len(behaviour.suite(behaviour.DEVELOPMENT, 1))
    given = train_bert.flags().read([*command, "--examples", "3"])
    data = train_bert.inputs(tracking.find_dataset(""), Path(given.encoder), given, fine_tuning.accelerator())
    assert data.tweets == 901
    assert len(data.written) >= 3 * tests * 0.9
    assert len(data.rows.train.texts) == 901 + len(data.written)
    assert set(np.unique(data.rows.train.labels)) <= {0.0, 0.95, 1.0}
    assert set(data.written) == set(behaviour.examples(3)["text"])
    assert trained.data.metrics["written_examples"] == 0


def test_what_an_encoder_says_of_the_tweets_already_may_be_what_it_learns_of_them(
    trained: Run, command: list[str]
) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(f"runs:/{trained.info.run_id}/files/encoder"))
    place = fine_tuning.accelerator()
    found = {}
    for remember in ("true", "false"):
        given = train_bert.flags().read([*command, "--examples", "1", "--remember", remember])
        found[remember] = train_bert.inputs(tracking.find_dataset(""), folder, given, place)
    data = found["true"]
    own = data.rows.train.labels[: data.tweets]
    assert ((own >= 0) & (own <= 1)).all()
    smoothed = 0.9 * own + 0.05
    said = fine_tuning.logits(data.network, data.rows.train.texts.first(data.tweets), data.reader.padding, place)
    inside = (own > 0) & (own < 1)
    assert inside.mean() > 0.5
    assert np.abs(np.log(smoothed / (1 - smoothed)) - said)[inside].max() < 1e-3
    labels = found["false"].rows.train.labels
    assert set(np.unique(labels[: data.tweets])) == {0.0, 1.0}
    assert np.array_equal(labels[data.tweets :], data.rows.train.labels[data.tweets :]), (
        "examples are learned as written"
    )


def test_a_training_killed_twice_within_an_epoch_ends_as_an_unbroken_one(
    trained: Run,
    prepared: Path,
    command: list[str],
    variables: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = subprocess.DEVNULL
    often_kept = [sys.executable, "-c", OFTEN_KEPT, *command]
    for kill, step in enumerate((40, 131)):
        with subprocess.Popen(often_kept, cwd=prepared, env=variables, stdout=nothing, stderr=nothing) as child:
            wait_for(child, step)
            child.send_signal(signal.SIGSTOP)
            if not kill:
                with pytest.raises(InputError, match=r"the same training is going on in another process .*; wait for"):
                    train_bert.main(command)
                assert statuses()[:2] == ["FAILED", "RUNNING"]
            child.send_signal(signal.SIGKILL)
        assert statuses()[1 - kill] == "RUNNING"
        assert len(list(KEPT.glob("*"))) == 1, "one training has one place"
    capsys.readouterr()
    train_bert.main(command)
    told = capsys.readouterr().out
    assert [f"epoch {number}: validation ROC AUC" in told for number in (1, 2, 3, 4)] == [True, True, True, False]
    resumed = runs.finished(step="train_bert")[0]
    assert resumed.info.run_id != trained.info.run_id
    assert statuses()[:4] == ["FINISHED", "KILLED", "FAILED", "KILLED"]
    for name in ("train_loss", "epoch_validation_loss", fine_tuning.OBJECTIVE):
        # To the last digit where torch has one thread; with more it adds in another order.
        assert runs.history(resumed, name) == pytest.approx(runs.history(trained, name), rel=2e-3)
    for name in ("validation_roc_auc", "validation_brier", "epochs_run"):
        assert resumed.data.metrics[name] == pytest.approx(trained.data.metrics[name], rel=2e-3)
    assert not list(KEPT.glob("*"))


def wait_for(child: "subprocess.Popen[bytes]", step: int) -> None:
    """Return when the training of a child process has kept a state of this step or a later one."""
    deadline = time.monotonic() + 120
    while not any(int(state.name.split("-")[1]) >= step for state in KEPT.glob("*/step-*")):
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_two_processes_learn_what_one_does_and_leave_one_run(
    trained: Run, prepared: Path, command: list[str], variables: dict[str, str], tmp_path: Path
) -> None:
    before = statuses()
    launcher = "torch.distributed.run --standalone --local_addr 127.0.0.1 --nproc_per_node 2".split()
    (tmp_path / "often_kept.py").write_text(OFTEN_KEPT)
    done = subprocess.run(
        [sys.executable, "-m", *launcher, tmp_path / "often_kept.py", *command],
        cwd=prepared,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert statuses() == ["FINISHED", *before]
    assert done.stdout.count("epoch 1:") == done.stdout.count("train_bert: models:/") == 1
    assert done.stdout.count("0 keeps step-") == 6 * 3
    assert "1 keeps step-" not in done.stdout
    assert not list(KEPT.glob("*"))
    together = runs.finished(step="train_bert")[0]
    for name in ("train_loss", "epoch_validation_loss", fine_tuning.OBJECTIVE):
        # bfloat16 rounds half a batch in other places
        assert runs.history(together, name) == pytest.approx(runs.history(trained, name), rel=0.02)


# Refused


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--learning_rate 0", "--learning_rate: got '0'; allowed: a number above 0"),
        ("--layer_decay 1.5", "--layer_decay: got '1.5'; allowed: a number above 0 and at most 1"),
        ("--layer_decay slow", "--layer_decay: got 'slow'; allowed: a number above 0 and at most 1"),
        ("--max_length 3", "--max_length: got '3'; allowed: a whole number of at least 4 and at most 4096"),
        ("--head sum", "--head: got 'sum'; allowed: mean, cls"),
        ("--epochs -1", "--epochs: got '-1'; allowed: a whole number of at least 0"),
        ("--dropout 1", "--dropout: got '1'; allowed: a number from 0 to below 1"),
        ("--freeze_layers -1", "--freeze_layers: got '-1'; allowed: a whole number of at least 0"),
        ("--batch_size 0", "--batch_size: got '0'; allowed: a whole number of at least 1"),
    ],
)
def test_a_wrong_flag_is_one_line(argv: str, message: str, capsys: pytest.CaptureFixture[str], store: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        train_bert.main(argv.split())
    assert stopped.value.code == 2
    assert message in (told := capsys.readouterr().err)
    assert told.count("\n") == 1
    assert not (store / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--encoder ./nowhere/at/all", "encoder=./nowhere/at/all: no such folder; allowed: minilm; a local folder"),
        ("--encoder data", "encoder=data: data has no model.safetensors; allowed: minilm; a local folder"),
        ("--max_length 65", "max_length=65: allowed: at most 64 with this encoder"),
        ("--freeze_layers 3", "freeze_layers=3: allowed: at most the 2 layers of the encoder"),
        ("--average SMALL", "average="),  # it was not fine-tuned
        ("--remember true", "remember=true: allowed with an encoder that was fine-tuned before"),
    ],
)
def test_what_an_encoder_does_not_allow_is_one_line_and_leaves_no_run(
    argv: str,
    message: str,
    prepared: Path,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, handler = statuses(), signal.getsignal(signal.SIGTERM)
    argv = argv.replace("SMALL", command[command.index("--encoder") + 1])
    monkeypatch.setattr(sys, "argv", ["train_bert", *command, *argv.split()])
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with pytest.raises(SystemExit) as stopped:
        command_line.run(train_bert.main, "train_bert")
    signal.signal(signal.SIGTERM, handler)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"train_bert: error: {message}")
    assert told.count("\n") == 1
    assert statuses() == before


def test_a_network_that_falls_to_one_class_is_refused_and_can_be_asked_again(
    prepared: Path, command: list[str]
) -> None:
    # It learns nothing at this rate, and its head says the same of every text.
    with pytest.raises(RefusedError, match="it fell to one class"):
        train_bert.main([*command, "--learning_rate", "1e-12", "--epochs", "1"])
    assert statuses()[0] == "FAILED"


def test_batches_grow_with_the_rows_and_the_learning_rate_with_them() -> None:
    given = train_bert.flags().read([])
    found = {rows: train_bert.settings(given, rows) for rows in (1, 64_999, 128_000, 256_000, 1_500_000)}
    assert [one.batch_size for one in found.values()] == [64, 64, 128, 256, 256]
    assert [one.learning_rate for one in found.values()] == pytest.approx(
        [8e-5, 8e-5, 1.131e-4, 1.6e-4, 1.6e-4], rel=1e-3
    )
    given = train_bert.flags().read(["--batch_size", "16", "--learning_rate", "1e-5"])
    assert train_bert.settings(given, 1_500_000).batch_size == 16
    assert train_bert.settings(given, 1_500_000).learning_rate == 1e-5


def test_the_default_number_of_epochs_follows_from_the_rows() -> None:
    given = train_bert.flags().read([])
    epochs = {rows: train_bert.settings(given, rows).epochs for rows in (1, 16_000, 33_000, 64_000, 1_500_000)}
    assert epochs == {1: 2, 16_000: 2, 33_000: 1, 64_000: 1, 1_500_000: 1}
    assert train_bert.settings(train_bert.flags().read(["--epochs", "7"]), 1_500_000).epochs == 7


def test_a_checkpoint_is_of_one_training_and_lies_beside_the_prepared_data() -> None:
    settings = transformer.Settings()
    place = train_bert.checkpoint("digest", 64, 1000, [], settings).folder
    assert place.parent == datasets.PROCESSED / "checkpoints"
    assert train_bert.checkpoint("digest", 64, 1000, [], settings).folder == place
    others = [
        train_bert.checkpoint("another", 64, 1000, [], settings),
        train_bert.checkpoint("digest", 65, 1000, [], settings),
        train_bert.checkpoint("digest", 64, 1001, [], settings),
        train_bert.checkpoint("digest", 64, 1000, ["not bad"], settings),
        train_bert.checkpoint("digest", 64, 1000, [], transformer.Settings(seed=1)),
    ]
    assert len({place, *(other.folder for other in others)}) == 6


def test_threads_that_wait_leave_their_core_to_others() -> None:
    """Spinning made a training many times slower beside another; each OpenMP that is loaded tells how it waits."""
    told = subprocess.run(
        [sys.executable, "-c", "import steps.train_bert"],
        cwd=ROOT,
        env=environment(ROOT) | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stderr
    spins = [line.partition(" = ")[2] for line in told.splitlines() if "GOMP_SPINCOUNT" in line]
    assert spins
    assert set(spins) == {"'2000'"}
