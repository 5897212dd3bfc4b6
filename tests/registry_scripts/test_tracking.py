"""The tracking server of a team as compose.yaml starts it, on Debian's PostgreSQL: training, two promotions at once, who may do what.

Compose itself is not run: the command line and the environment of its server are taken from the file. Other than there are the host
and port it listens on, the folder of the artifacts, and where the database is found.
"""

import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import psycopg2
import pytest
import yaml
from mlflow.server.auth.client import AuthServiceClient
from mlflow.tracking import MlflowClient
from packaging.requirements import Requirement

from steps.sentiment import registry
from tests.conftest import ROOT, Run, environment
from tests.registry_scripts.conftest import assert_in_step, held
from tests.registry_scripts.test_together import promote_version_2_twice_at_once
from tests.serving import free_port, wait_for

FOLDER = ROOT / "registry_scripts/tracking"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVER = COMPOSE["services"]["server"]
SECRETS = {
    "TRACKING_DATABASE_PASSWORD": "p%ss:word@/of the database",  # none of its signs may matter
    "TRACKING_ADMIN_PASSWORD": "the password of admin",
    "TRACKING_SECRET_KEY": "a key",
}
PASSWORDS = {
    "admin": SECRETS["TRACKING_ADMIN_PASSWORD"],
    "trainer": "trainer's password",
    "reader": "reader's password",
    "promoter": "promoter's password",
}
THREAD = "import importlib\n" + "\n".join(
    f"importlib.import_module({step!r}).main({flags!r})"
    for step, flags in [
        ("steps.prepare", []),
        ("steps.train_baseline", ["--C", "4", "--max_rows", "150"]),
        ("steps.compare", []),
        ("registry_scripts.register", []),
        ("registry_scripts.promote", []),
    ]
)
CHALLENGE = "from steps import compare\nfrom registry_scripts import register\ncompare.main([])\nregister.main([])"


def filled_in(text: str, given: dict[str, str]) -> str:
    """Return a text of a compose file with its variables, as compose fills them in.

    Raises:
        KeyError: a variable that must be given is not.
    """

    def value(found: re.Match[str]) -> str:
        name, how, otherwise = found.groups()
        return given[name] if how == ":?" else given.get(name) or otherwise

    return re.sub(r"\$\{(\w+)(:\?|:-)([^}]*)\}", value, text)


@dataclass(frozen=True)
class Team:
    """A running tracking server, where its database is, and the folder of its artifacts."""

    address: str
    database: dict[str, str]
    artifacts: Path

    def as_user(self, name: str, password: str = "") -> dict[str, str]:
        """Return the environment of a user."""
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": password or PASSWORDS[name],
        }


def programs() -> Path:
    """Return the folder of PostgreSQL's programs, the newest where there are several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    beside = shutil.which("initdb")
    assert found or beside, "PostgreSQL must be installed: apt-get install postgresql"
    return (found[-1] if found else Path(str(beside))).parent


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, str]]:
    """An empty PostgreSQL on a socket in a folder of its own; where it is, by the names of libpq."""
    with tempfile.TemporaryDirectory(prefix="pg-") as temporary:
        folder, own = Path(temporary), {}
        if os.geteuid() == 0:  # which PostgreSQL refuses to be
            shutil.chown(folder, "postgres", "postgres")
            own = {"user": "postgres", "group": "postgres", "extra_groups": []}
        password = folder / "password"
        password.write_text(SECRETS["TRACKING_DATABASE_PASSWORD"])
        password.chmod(0o644)

        def call(program: str, *flags: str) -> None:
            command = [programs() / program, "-D", folder / "data", *flags]
            with (folder / "output").open("w+") as output:  # a pipe would be kept open by the server
                done = subprocess.run(
                    command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, check=False, timeout=120, **own
                )
                output.seek(0)
                assert done.returncode == 0, output.read()

        call("initdb", "--username=mlflow", "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync")
        call("pg_ctl", "start", "-w", "-o", f"-c listen_addresses= -k {folder} -c fsync=off", "-l", str(folder / "log"))
        where = {
            "PGHOST": str(folder),
            "PGUSER": SERVER["environment"]["PGUSER"],
            "PGPASSWORD": SECRETS["TRACKING_DATABASE_PASSWORD"],
        }
        try:
            with closing(connected(where, "postgres")) as connection:
                connection.autocommit = True
                connection.cursor().execute("CREATE DATABASE mlflow")
            yield where
        finally:
            call("pg_ctl", "stop", "-w", "-m", "immediate")


def connected(where: dict[str, str], name: str = "mlflow") -> Any:
    """Return a connection to a database."""
    return psycopg2.connect(host=where["PGHOST"], user=where["PGUSER"], password=where["PGPASSWORD"], dbname=name)


@contextmanager
def started(database: dict[str, str], folder: Path) -> Iterator[Team]:
    """Run the command of compose.yaml's server until the block ends."""
    port, artifacts = free_port(), folder / "artifacts"
    given = {name: filled_in(text, SECRETS) for name, text in SERVER["environment"].items()}
    given |= {"PGHOST": database["PGHOST"], "MLFLOW_AUTH_CONFIG_PATH": str(FOLDER / "auth.ini")}
    others = {
        "--host=0.0.0.0": "--host=127.0.0.1",
        "--port=5000": f"--port={port}",
        "--artifacts-destination=/var/lib/tracking": f"--artifacts-destination={artifacts}",
    }
    command = [filled_in(word, SECRETS) for word in SERVER["command"]]
    assert set(others) <= set(command)
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [others.get(word, word) for word in command],
            cwd=folder,
            env=environment(folder) | given,
            stdout=log,
            stderr=log,
        )
    team = Team(f"http://127.0.0.1:{port}", database, artifacts)
    try:
        wait_for(
            lambda: process.poll() is None and status(team, "/health") == 200, 300, (folder / "server.log").read_text
        )
        yield team
    finally:
        process.terminate()
        process.wait(timeout=60)


def status(team: Team, path: str, **headers: str) -> int:
    """Return the HTTP status of a page, asked for without a password; 0 where nothing answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(team.address + path, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.fixture(scope="module")
def team(database: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The server, with the users `trainer` and `reader`."""
    with started(database, tmp_path_factory.mktemp("tracking")) as team, signed_in(team, "admin"):
        for name in ("trainer", "reader"):
            AuthServiceClient(team.address).create_user(name, PASSWORDS[name])
        yield team


@contextmanager
def signed_in(team: Team, name: str) -> Iterator[None]:
    """Work in this process as a user of the server."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, text in team.as_user(name).items():
            patch.setenv(variable, text)
        mlflow.set_tracking_uri(team.address)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def trained(team: Team, run_in: Run) -> subprocess.CompletedProcess[str]:
    """A weak champion, and after it a training as a person types it, whose model is the challenger."""
    trainer = team.as_user("trainer")
    run_in(sys.executable, "-c", THREAD, **trainer)
    named = ("--experiment-name", "tweet-sentiment")
    done = run_in(
        "mlflow", "run", ".", "-e", "train_baseline", "--env-manager", "local", *named, "-P", "C=4", **trainer
    )
    run_in(sys.executable, "-c", CHALLENGE, **trainer)
    return done


@pytest.fixture
def trainer(team: Team) -> Iterator[None]:
    """Work in this process as `trainer`."""
    with signed_in(team, "trainer"):
        yield


def test_a_training_is_in_the_database_and_its_model_with_the_server(
    team: Team, trained: subprocess.CompletedProcess[str], trainer: None
) -> None:
    (run_id,) = re.findall(r"Run \(ID '(\w+)'\) succeeded", trained.stderr)
    run = MlflowClient().get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert [*team.artifacts.glob(f"*/models/{run.data.tags['model_id']}/artifacts/MLmodel")]
    with closing(connected(team.database)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status FROM runs WHERE run_uuid = %s", [run_id])
        assert cursor.fetchall() == [("FINISHED",)]
        cursor.execute("SELECT username FROM users ORDER BY username")
        assert cursor.fetchall() == [("admin",), ("reader",), ("trainer",)]


LATER = pytest.mark.usefixtures("trained")


@LATER
def test_who_may_only_read_promotes_nothing_and_is_told_so(team: Team, run_in: Run, trainer: None) -> None:
    reader = team.as_user("reader")
    assert "is the challenger" not in run_in(sys.executable, "-m", "registry_scripts.versions", **reader).stdout
    before = held()
    for script in ("promote", "rollback"):
        done = run_in(sys.executable, "-m", f"registry_scripts.{script}", "--version", "2", check=False, **reader)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
    assert held() == before == {"champion": 1, "challenger": 2}
    assert_in_step()


@LATER
@pytest.mark.parametrize("user", [("trainer", "wrong"), ("nobody", "trainer's password")])
def test_a_wrong_password_is_refused_in_one_clear_line(
    team: Team, run_in: Run, trainer: None, user: tuple[str, str]
) -> None:
    before = held()
    done = run_in(sys.executable, "-m", "registry_scripts.promote", check=False, **team.as_user(*user))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "promote: error: MLflow's server does not know this user and password; set MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD: API request to endpoint "
    )
    assert "Traceback" not in done.stderr
    assert held() == before


@LATER
def test_a_wrong_password_starts_no_training(team: Team, run_in: Run, trainer: None) -> None:
    command = ("mlflow", "run", ".", "-e", "train_baseline", "--env-manager", "local", "-P", "C=4")
    done = run_in(*command, check=False, **team.as_user("trainer", "wrong"))
    assert done.returncode != 0
    assert "failed with error code 401" in done.stderr.splitlines()[-1]
    assert not mlflow.search_runs(
        search_all_experiments=True, filter_string="attributes.status = 'RUNNING'", output_format="list"
    )


@LATER
def test_without_a_password_or_by_another_name_nothing_is_shown(team: Team) -> None:
    model = next(team.artifacts.glob("*/models/*/artifacts/MLmodel"))
    of_the_model = f"/api/2.0/mlflow-artifacts/artifacts/{model.relative_to(team.artifacts)}"
    for path in ("/", "/api/2.0/mlflow/experiments/search?max_results=1", of_the_model):
        assert status(team, path) == 401, path
    signed = {"Authorization": basic("trainer", PASSWORDS["trainer"])}
    assert [status(team, "/", Host=host, **signed) for host in ("localhost:5000", "elsewhere.example")] == [200, 403]


@LATER
def test_two_promotions_at_once(team: Team, trainer: None, tmp_path: Path) -> None:
    promote_version_2_twice_at_once(tmp_path)


@LATER
def test_who_is_given_the_right_changes_the_champion(team: Team, run_in: Run, trainer: None) -> None:
    experiment = MlflowClient().get_experiment_by_name("tweet-sentiment").experiment_id
    with signed_in(team, "admin"):
        users = AuthServiceClient(team.address)
        users.create_user("promoter", PASSWORDS["promoter"])
        users.grant_user_permission("promoter", "registered_model", registry.MODEL, "MANAGE")
        users.grant_user_permission("promoter", "experiment", experiment, "EDIT")
    before = held()["champion"]
    run_in(sys.executable, "-m", "registry_scripts.rollback", "--version", str(3 - before), **team.as_user("promoter"))
    mlflow.set_tracking_uri(team.address)
    assert held() == {"champion": 3 - before, "previous": before}
    assert_in_step()


def test_a_changed_password_counts_at_once_and_the_old_one_for_seconds(team: Team) -> None:
    with signed_in(team, "admin"):
        AuthServiceClient(team.address).update_user_password("reader", "another password")
    page = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert status(team, page, Authorization=basic("reader", "another password")) == 200
    wait_for(
        lambda: status(team, page, Authorization=basic("reader", PASSWORDS["reader"])) == 401, 30, lambda: "still taken"
    )


def basic(name: str, password: str) -> str:
    """Return the header of a sign-in."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_the_compose_file_is_valid() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*checker, FOLDER / "compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_stands_in_a_file_or_a_command_and_none_has_a_default() -> None:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+):\?", text)) == set(SECRETS)
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items():
            assert not re.search("PASSWORD|KEY", name) or re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name
        assert not set(SECRETS) & set(re.findall(r"\w+", str(service.get("command"))))
    with pytest.raises(KeyError, match="TRACKING_SECRET_KEY"):
        filled_in("${TRACKING_SECRET_KEY:?is missing}", {})
    assert "PASSWORD =" not in (FOLDER / "auth.ini").read_text(encoding="utf-8").upper()
    assert subprocess.run(["git", "check-ignore", "-q", FOLDER / ".env"], cwd=ROOT, check=False).returncode == 0


def test_the_image_holds_what_the_command_needs_at_the_locked_versions() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / name).is_file() for name in line.split()), line
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert ignored == ["*", "!requirements.txt", "!registry_scripts/tracking"]
    assert "-c lock.txt" in dockerfile
    locked = {Requirement(line).name for line in (ROOT / "requirements.txt").read_text().splitlines()}
    assert set((FOLDER / "requirements.txt").read_text().split()) <= locked
    assert SERVER["build"] == {"context": "../..", "dockerfile": "registry_scripts/tracking/Dockerfile"}
    assert SERVER["environment"]["MLFLOW_AUTH_CONFIG_PATH"] == "/opt/tracking/auth.ini"
    assert "WORKDIR /opt/tracking" in dockerfile
