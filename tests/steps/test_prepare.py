"""The step `prepare`: the sample and the published zip become a logged dataset; what cannot be leaves nothing behind."""

import errno
import hashlib
import io
import json
import re
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from steps import prepare
from steps.sentiment import dataset, runs, sources, tracking
from steps.sentiment.command_line import InputError
from tests.conftest import Run, statuses

PROCESSED = Path("data/processed")


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: its tables take seconds."""
    path = tmp_path_factory.mktemp("blank") / "mlflow.db"
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []
    mlflow.set_tracking_uri(None)
    return path


@pytest.fixture
def project(blank: Path, store: Path) -> Path:
    """The working directory, with an empty store and a small file of tweets."""
    shutil.copy2(blank, store / "mlflow.db")
    small().to_parquet("small.parquet")
    return store


def small(rows: int = 120) -> pd.DataFrame:
    texts = [f"tweet no {row} of {'rain' if row % 2 else 'sun'}" for row in range(rows)]
    return pd.DataFrame(
        {
            "target": [0, 4] * (rows // 2),
            "text": texts,
            "user": [f"quokka{row}" for row in range(rows)],
            "sample": ["random", "random", "rest"] * (rows // 3),
        }
    )


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(*flags: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line with which `prepare` turns these flags down."""
    with pytest.raises((InputError, SystemExit)) as caught:
        prepare.main(list(flags))
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 2
        message = capsys.readouterr().err.removesuffix("\n")
    else:
        message = str(caught.value)
    assert message
    assert "\n" not in message
    assert not PROCESSED.exists()
    assert mlflow.active_run() is None
    assert set(statuses()) <= {"FAILED"}
    assert runs.finished() == []
    return message


def test_the_sample_becomes_a_dataset_and_a_run(project, capsys):
    prepare.main([])
    (folder,) = PROCESSED.iterdir()
    (run,) = runs.finished(step="prepare")
    assert statuses() == ["FINISHED"]
    assert run.data.tags["dataset_digest"] == folder.name
    assert run.data.params["data"] == "sample"
    assert run.data.params["test_rows"] == "0.2"
    assert capsys.readouterr().out.startswith(f"prepare: dataset {folder.name} in {folder}: ")

    assert content(runs.artifact(f"runs:/{run.info.run_id}/dataset", "dataset")) == content(folder)
    assert set(content(folder)) == {"tweets.parquet", "dataset.json", "profile.json", "report.html"}

    found = tracking.find_dataset("")
    assert (found.digest, found.source) == (folder.name, "sample")
    sizes = {split: len(found.split(split)) for split in dataset.SPLITS}
    assert min(sizes.values()) > 300
    assert 0.15 < sizes["test"] / sum(sizes.values()) < 0.25
    assert {run.data.metrics[f"{split}_rows"] for split in sizes} == set(sizes.values())
    profile = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    assert profile["rows"] == sizes["train"]
    assert 0.45 < profile["positive_share"] < 0.55


def test_the_report_of_the_sample_shows_counts_figures_and_no_handle(project):
    prepare.main([])
    page = next(PROCESSED.glob("*/report.html")).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "Class balance" in page
    assert "<script" not in page
    visible = re.sub(r'src="data:[^"]*"', "", page)
    handles = set(pd.read_csv(sources.SAMPLE)["text"].str.extractall(r"@(\w{4,})")[0].str.lower()) - {"user"}
    assert len(handles) > 500
    assert not handles & set(re.findall(r"@(\w+)", visible.lower()))


def test_the_same_data_gives_the_same_dataset_again(project):
    for _ in range(2):
        prepare.main(["--data", "small.parquet"])
    assert len(list(PROCESSED.iterdir())) == 1
    first, second = runs.finished(step="prepare")
    assert first.data.tags["step_key"] == second.data.tags["step_key"]
    prepare.main(["--data", "small.parquet", "--seed", "7"])
    assert len(list(PROCESSED.iterdir())) == 2
    assert runs.finished(step="prepare")[0].data.tags["step_key"] != first.data.tags["step_key"]


def test_shuffled_rows_of_another_file_give_the_same_dataset(project):
    small().sample(frac=1, random_state=1).to_csv("shuffled.csv", index=False)
    prepare.main(["--data", "small.parquet"])
    prepare.main(["--data", "shuffled.csv"])
    assert len(list(PROCESSED.iterdir())) == 1


def test_flags_reach_the_dataset(project):
    human = pd.DataFrame({"target": [4, 0, 2], "text": ["tweet no 5 of rain", "so cold", "at noon"]})
    human.to_csv("human.csv", index=False)
    prepare.main(
        ["--data", "small.parquet", "--holdout", "sample=random", "--test_rows", "11", "--validation_rows", "0.2",
         "--max_rows", "30", "--human_test", "human.csv"]
    )  # fmt: skip
    found = tracking.find_dataset("")
    assert {split: len(found.split(split)) for split in dataset.SPLITS} == {"test": 11, "validation": 16, "train": 30}
    rows = pd.read_parquet(found.folder / "tweets.parquet")
    assert set(rows.loc[rows["split"] != "train", "sample"]) == {"random"}
    assert "tweet no 5 of rain" not in set(rows["text"])
    assert found.human_test().to_dict("list") == {"text": ["tweet no 5 of rain", "so cold"], "label": [1, 0]}
    assert "user" not in rows
    assert not any(b"quokka" in body for body in content(found.folder).values())


def test_fewer_training_rows_are_nested_subsets(project):
    kept = []
    for rows in ("20", "40", ""):
        prepare.main(["--data", "small.parquet", "--max_rows", rows])
        found = tracking.find_dataset("")
        kept.append((set(found.split("train")["text"]), set(found.split("test")["text"])))
    assert kept[0][0] < kept[1][0] < kept[2][0]
    assert [len(train) for train, _ in kept[:2]] == [20, 40]
    assert kept[0][1] == kept[1][1] == kept[2][1]


def test_a_script_in_a_tweet_stays_text_and_a_name_of_the_source_stays_hidden(project):
    rows = small()
    rows.loc[0, "text"] = "@quokkaqueen <script>alert(1)</script> &amp; more"
    rows.to_parquet("small.parquet")
    prepare.main(["--data", "small.parquet"])
    page = next(PROCESSED.glob("*/report.html")).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "@user &lt;script&gt;alert(1)&lt;/script&gt; &amp;amp; more" in page
    assert "quokka" not in page


# The published zip


@pytest.fixture
def publisher(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A loopback server in the place of the publisher, with a small zip as published."""
    body = io.BytesIO()
    rows = small()
    published = pd.DataFrame(
        {0: rows["target"], 1: range(120), 2: "some day", 3: "NO_QUERY", 4: rows["user"], 5: rows["text"]}
    )
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in (("training.csv", published), ("testdata.manual.csv", published.head(10))):
            archive.writestr(name, part.to_csv(index=False, header=False, quoting=1))
    folder = project / "published"
    folder.mkdir()
    (folder / sources.ZIP).write_bytes(body.getvalue())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(sources, "MIRRORS", (f"http://127.0.0.1:{server.server_port}/{sources.ZIP}",))
    monkeypatch.setattr(sources, "MD5", hashlib.md5(body.getvalue(), usedforsecurity=False).hexdigest())
    monkeypatch.setattr(sources.time, "sleep", lambda seconds: None)
    yield folder / sources.ZIP
    server.shutdown()
    server.server_close()


def test_the_published_zip_is_downloaded_and_brings_its_human_labelled_test(publisher):
    prepare.main(["--data", "sentiment140"])
    found = tracking.find_dataset("")
    assert found.source == "sentiment140"
    assert len(found.human_test()) == 10
    assert sum(len(found.split(split)) for split in dataset.SPLITS) == 110
    assert content(Path("data/raw")) == {sources.ZIP: publisher.read_bytes()}
    digest = found.digest
    publisher.unlink()
    prepare.main(["--data", "sentiment140"])
    assert tracking.find_dataset("").digest == digest


def test_a_download_with_a_wrong_checksum_leaves_nothing(publisher, capsys):
    publisher.write_bytes(publisher.read_bytes() + b"?")
    assert "MD5" in refused("--data", "sentiment140", capsys=capsys)
    assert content(Path("data/raw")) == {}


# Refusals


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("test_rows", "abc", "a number of rows (1 or more), or a share"),
        ("test_rows", "0", "a number of rows (1 or more), or a share"),
        ("test_rows", "-5", "a number of rows (1 or more), or a share"),
        ("test_rows", "1.5", "a number of rows (1 or more), or a share"),
        ("test_rows", "nan", "a number of rows (1 or more), or a share"),
        ("test_rows", "inf", "a number of rows (1 or more), or a share"),
        ("validation_rows", "", "a number of rows (1 or more), or a share"),
        ("max_rows", "0", "a whole number of at least 1"),
        ("max_rows", "many", "a whole number of at least 1"),
        ("seed", "x", "a whole number of at least 0"),
        ("seed", "-1", "a whole number of at least 0"),
        ("holdout", "sample", "column=value"),
        ("holdout", "sample=", "column=value"),
        ("holdout", "=random", "column=value"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_is_read_or_written(store, capsys, flag, value, allowed):
    with pytest.raises(SystemExit) as caught:
        prepare.main([f"--{flag}", value])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"prepare: error: --{flag}: got {value!r}; allowed: {allowed}")
    assert [path.name for path in store.iterdir()] == ["data"]


def test_an_unknown_flag_is_refused_in_one_line(store, capsys):
    with pytest.raises(SystemExit) as caught:
        prepare.main(["--rows", "5"])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--rows" in line


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--test_rows", "121"), "test_rows=121"),
        (("--test_rows", "60", "--validation_rows", "60"), "validation_rows=60"),
        (("--test_rows", "1"), "test split has 1 rows"),
        (("--holdout", "place=Oslo"), "holdout=place=Oslo: no column 'place'; allowed: sample, user"),
        (("--holdout", "sample=oslo"), "holdout=sample=oslo: no row has this value; allowed: "),
        (("--holdout", "user=nobody"), "holdout=user=nobody: no row has this value"),
        (("--holdout", "sample=random", "--test_rows", "81"), "80 rows"),
        (("--human_test", "nowhere.csv"), "no such file: nowhere.csv"),
        (("--seed", "9" * 40), "seed"),
    ],
)
def test_what_the_data_cannot_give_is_refused(project, capsys, flags, reason):
    message = refused("--data", "small.parquet", *flags, capsys=capsys)
    assert reason in message
    assert "quokka" not in message


def bad_files() -> dict[str, bytes]:
    rows = small().drop(columns="sample")
    text = rows.to_csv(index=False)
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("training.csv", text)
    return {
        "empty.csv": b"",
        "five.csv": b'"0","1","d","q","no user"\n',
        "utf16.csv": text.encode("utf-16"),
        "cut.zip": whole.getvalue()[:-100],
        "one_class.csv": rows[rows["target"] == 4].to_csv(index=False).encode(),
        "labels.csv": rows.assign(target=rows["target"] // 4).to_csv(index=False).encode(),
        "nulls.csv": rows.assign(text=None).to_csv(index=False).encode(),
    }


@pytest.mark.parametrize("name", [*bad_files(), "nowhere.csv"])
def test_a_bad_file_is_refused_as_data_and_as_human_labelled_test(project, capsys, name):
    if name in bad_files():
        Path(name).write_bytes(bad_files()[name])
    message = refused("--data", name, capsys=capsys)
    if name == "one_class.csv":
        assert "only one class is left" in message
        return
    assert name in message
    assert name in refused("--data", "small.parquet", "--human_test", name, capsys=capsys)


@pytest.mark.parametrize(("owner", "method"), [(pd.DataFrame, "to_parquet"), (Path, "write_text")])
def test_a_full_disk_leaves_the_run_failed_and_no_dataset(project, monkeypatch, owner, method):
    real: Callable[..., object] = getattr(owner, method)

    def full(self: object, *args: object, **options: object) -> object:
        path = self if isinstance(self, Path) else args[0]
        if "processed" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(owner, method, full)
        with pytest.raises(OSError, match="No space left"):
            prepare.main(["--data", "small.parquet"])
    assert list(PROCESSED.iterdir()) == []
    assert statuses() == ["FAILED"]

    prepare.main(["--data", "small.parquet"])
    before = content(PROCESSED)
    with monkeypatch.context() as patched:
        patched.setattr(owner, method, full)
        with pytest.raises(OSError, match="No space left"):
            prepare.main(["--data", "small.parquet"])
    assert content(PROCESSED) == before
    assert sorted(statuses()) == ["FAILED", "FAILED", "FINISHED"]
    assert tracking.find_dataset("").folder.is_dir()


# As a person runs it


def test_as_a_program_a_missing_file_is_one_line_and_exit_code_2(clone: Path, run_in: Run, tmp_path):
    done = run_in(
        "python", "-m", "steps.prepare", "--data", "nowhere.csv", check=False, cwd=tmp_path, PYTHONPATH=str(clone)
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("prepare: error: no such file: nowhere.csv; allowed: ")
    assert list(tmp_path.iterdir()) == []


def test_through_mlflow_run_a_refusal_leaves_the_run_failed(run_in: Run, tmp_path, blank):
    shutil.copy2(blank, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    done = run_in(
        "mlflow", "run", ".", "-e", "prepare", "-P", "holdout=place=Oslo", "--env-manager", "local",
        check=False, MLFLOW_TRACKING_URI=uri,
    )  # fmt: skip
    assert done.returncode != 0
    assert "prepare: error: holdout=place=Oslo: no column 'place'; allowed: none in this file" in done.stderr
    found = mlflow.MlflowClient(uri).search_runs(["0"])
    assert [run.info.status for run in found] == ["FAILED"]
