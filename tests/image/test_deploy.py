"""deploy with real images: podman builds them, a registry on loopback has them, each revision is a container of its digest behind TLS.

Only az is recorded. Whatever goes wrong, the container that served before serves, and was not even restarted.
"""

import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from registry_scripts import deploy
from registry_scripts.azure import smoke
from registry_scripts.image import build
from tests import containers, deployments, oci_registry, relay
from tests.containers import CERTIFICATES, Podman
from tests.deployments import FAULTS, OLD, OLDER, QUICK, TWEETS, assert_put_back, assert_taken_over, failed, shifted
from tests.fake_az import Cloud
from tests.loopback import Loopback
from tests.oci_registry import TOKEN, USER, Registry
from tests.registry_scripts.conftest import copy, opened
from tests.serving import KEY, Ingestion, Server, free_port, ingestion, load, wait_for

pytestmark = pytest.mark.image

PODMAN = ["--engine", "podman"]
DEPLOY = [*QUICK, *PODMAN]


@dataclass(frozen=True)
class Site:
    """What stands in for Azure beside az: an image registry, a podman that runs revisions, and Application Insights.

    Args:
        runs: the podman, with images of its own.
        registry: with version 1 in it.
        service: takes the events of all revisions.
        loopback: the same as az takes it.
        first: the image of version 1 by its digest.
    """

    runs: Podman
    registry: Registry
    service: Ingestion
    loopback: Loopback
    first: str

    def container(self, revision: str) -> dict[str, Any]:
        """Return all that is known of the container of a revision."""
        return self.runs.inspect(revision, "container")

    def program(self, script: str) -> list[str]:
        """Return a program that runs a shell script with the podman that runs revisions."""
        return ["env", *(f"{name}={text}" for name, text in self.runs.settings.items()), "sh", "-ec", script]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a registry of models with versions 1 and 2."""
    return deployments.two_versions(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def site(
    podman: Podman, image: dict[str, Any], models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The site, with the environment in which `deploy` finds podman and trusts the registry."""
    folder = tmp_path_factory.mktemp("site")
    certified = relay.certificate(folder)
    trusted = folder / "trusted.pem"
    trusted.write_text(CERTIFICATES.read_text() + certified.read_text())
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, text in {**podman.variables, "SSL_CERT_FILE": str(trusted)}.items():
            patch.setenv(name, text)
        runs = stack.enter_context(containers.podman(folder / "podman"))
        registry = stack.enter_context(oci_registry.registry(runs.folder / "registry", free_port(), certified))
        service = stack.enter_context(ingestion())
        ports = [free_port() for _ in range(5)]
        addresses = [stack.enter_context(relay.before(port, certified=certified)) for port in ports]
        secrets = {"prediction-key": KEY, "insights": service.connection_string}
        ours = Loopback(
            str(runs.folder), registry.address, str(certified), dict(zip(addresses, ports, strict=True)), secrets
        )
        with opened(folder, models / "mlflow.db"):
            name = f"{registry.address}/tweet-sentiment"
            built, _ = build.make("podman", "models:/tweet-sentiment/1", name, "", "")
        build.login("podman", registry.address, USER, TOKEN)
        build.push("podman", built)
        first = f"{name}@{registry.digest('tweet-sentiment:1')}"
        yield Site(runs, registry, service, ours, first)


@pytest.fixture
def database(models: Path, tmp_path: Path) -> Iterator[Path]:
    """The registry of models, open, with version 2 as champion; a copy of the test's own."""
    used = tmp_path / "mlflow.db"
    copy(models / "mlflow.db", used)
    with opened(tmp_path, used):
        yield used


@pytest.fixture
def empty_cloud(site: Site, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Azure with what provision makes, without an app."""
    given = {"loopback": asdict(site.loopback), "addresses": list(site.loopback.ports)}
    try:
        with deployments.provisioned(tmp_path, monkeypatch, site.registry.certified, **given) as cloud:
            yield cloud
    finally:
        site.runs("rm", "--all", "--force", "--volumes", "--time", "0")


@pytest.fixture
def cloud(empty_cloud: Cloud, site: Site, tmp_path: Path) -> Cloud:
    """Azure with version 1 serving, and an older revision of it that still runs."""
    deployments.version_1_serves(empty_cloud, tmp_path, image=site.first)
    for revision in (OLDER, OLD):
        smoke.wait(smoke.Endpoint(f"https://{address(empty_cloud, revision)}"), deploy.START)
    return empty_cloud


def address(cloud: Cloud, revision: str) -> str:
    """Return the address of a revision, host:port."""
    return str(cloud.read()["revisions"][revision]["properties"]["fqdn"])


class Front(Server):
    """The address that clients of the app know."""

    def __init__(self, port: int) -> None:
        self.port = port


@contextmanager
def front(cloud: Cloud) -> Iterator[Front]:
    """Let clients ask the app: each request goes to a revision, by the shares."""

    def chosen() -> int:
        weights = cloud.weights()
        (revision,) = random.choices(list(weights), list(weights.values()))
        return int(cloud.read()["loopback"]["ports"][address(cloud, revision)])

    with relay.before(chosen) as asked:
        yield Front(int(asked.partition(":")[2]))


def assert_answers(site: Site, cloud: Cloud, revision: str, version: str) -> None:
    """Check that clients of the app are answered by a version, by a container of the image that its revision names."""
    with front(cloud) as app:
        assert app.get("/version")["version"] == version
        assert [one["label"] for one in app.ask(list(smoke.TWEETS))] == list(smoke.TWEETS.values())
    container = site.container(revision)
    image = cloud.read()["revisions"][revision]["properties"]["template"]["containers"][0]["image"]
    assert container["State"]["Running"]
    assert container["ImageName"] == image
    assert image in site.runs.inspect(container["Image"])["RepoDigests"]
    assert image.partition("/")[2] == f"tweet-sentiment@{site.registry.digest(f'tweet-sentiment:{version}')}"


@contextmanager
def old_serves(site: Site, cloud: Cloud) -> Iterator[None]:
    """Check that the block leaves version 1 to the same process as before, and no container of another version running."""
    before = site.container(OLD)["State"]
    yield
    assert_answers(site, cloud, OLD, "1")
    after = site.container(OLD)["State"]
    assert (after["Pid"], after["StartedAt"]) == (before["Pid"], before["StartedAt"])
    assert set(site.runs("ps", "--format", "{{.Names}}").split()) == {OLDER, OLD}


def test_the_first_version_then_the_second_under_load_then_back_and_forth(
    site: Site, empty_cloud: Cloud, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = empty_cloud
    subprocess.run(deployments.promote(database, 1), check=True)
    deploy.main(DEPLOY)
    (first,) = cloud.weights()
    assert_answers(site, cloud, first, "1")
    subprocess.run(deployments.promote(database, 2), check=True)
    until = Event()
    with front(cloud) as app:
        heard, threads = load(app, 2, until)
        try:
            deploy.main([*TWEETS, *PODMAN, "--minutes", "0.05"])
            second = assert_taken_over(cloud)
            assert_answers(site, cloud, second, "2")
            for revision, version in ((first, "1"), (second, "2")):
                deploy.main([*TWEETS, "--action", "rollback"])
                assert cloud.weights() == {revision: 100}
                assert_answers(site, cloud, revision, version)
        finally:
            until.set()
            for thread in threads:
                thread.join()
    shares = [[f"{first}={100 - share}", f"{second}={share}"] for share in (25, 50, 100)]
    assert shifted(cloud)[-5:] == [*shares, [f"{second}=0", f"{first}=100"], [f"{first}=0", f"{second}=100"]]
    assert (heard.statuses, heard.cut, heard.silent) == ([], [], 0)  # no client has noticed
    assert heard.versions == {"1", "2"}
    wait_for(lambda: set(heard.ids) <= set(site.service.ids()), 120, lambda: "events of answers are missing")
    assert "smoke test passed: version 2, 6 known tweets, feedback" in capsys.readouterr().out


def test_the_image_fits_what_the_template_says_of_it(site: Site, cloud: Cloud) -> None:
    ingress = cloud.read()["apps"]["tweet-sentiment"]["properties"]["configuration"]["ingress"]
    assert list(site.runs.inspect(site.first)["Config"]["ExposedPorts"]) == [f"{ingress['targetPort']}/tcp"]
    limits = site.container(OLD)["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"]) == (500_000_000, 2**30)
    assert not site.container(OLD)["State"]["OOMKilled"]


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_the_old_container_serves(
    site: Site, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    faults, reason, revision = FAULTS[fault]
    if "hang" in str(faults):
        deployments.impatient(monkeypatch, 20)
    cloud.plant(*faults)
    with old_serves(site, cloud):
        message = failed(DEPLOY)
    assert reason in message
    assert_put_back(cloud, message, revision)
    assert len(site.runs("ps", "--all", "--quiet").split()) == 2 + revision
    deployments.mended(cloud, message)
    assert_answers(site, cloud, assert_taken_over(cloud), "2")


#: What the registry has under the tag of version 2 in place of it -> how that is made of it, what the smoke test says.
WRONG_IMAGES = {
    "a version that is another": ("", "GET /version: version is '1', and not '2'"),
    "a model that is another": (
        "RUN sed -i 's/^model_id: .*/model_id: m-other/' /opt/ml/model/MLmodel",
        "GET /version: model_id is 'm-other', and not 'm-",
    ),
    "a model that is wrong": (
        "RUN sed -i 's/if score >= 0.5 else/if score < 0.5 else/' /opt/ml/model/model.py",
        "POST /invocations: 'I love this so much, best day ever! thank you' is 'negative' (0.",
    ),
    "an endpoint whose feedback is broken": (
        "RUN sed -i 's#/feedback#/feedbacks#' /opt/serve/steps/serve.py /opt/serve/steps/sentiment/*.py",
        "POST /feedback: got 404",
    ),
    "an endpoint that does not start": ('ENTRYPOINT ["false"]', "GET /health: not 200 within 5 s"),
}


@pytest.mark.parametrize("wrong", WRONG_IMAGES)
def test_a_wrong_image_never_answers_clients(
    site: Site, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, wrong: str, tmp_path: Path
) -> None:
    change, reason = WRONG_IMAGES[wrong]
    name, other = f"{site.registry.address}/tweet-sentiment", f"{site.registry.address}/tweet-sentiment:1"
    script = ""
    if change:
        other, recipe = "localhost/wrong", tmp_path / "Dockerfile"
        recipe.write_text(f"FROM {name}:2\nUSER root\n{change}\nUSER 10001\n")
        script = f"podman build --quiet --tag {other} --file {recipe} && "
    cloud.plant(("acr repository show", [1], ["sh", "-ec", f"{script}podman push --quiet {other} {name}:2"]))
    with old_serves(site, cloud), monkeypatch.context() as patch:
        if "not start" in wrong:
            patch.setattr(deploy, "START", 5.0)
        message = failed(DEPLOY)
    assert reason in message
    assert_put_back(cloud, message)
    assert shifted(cloud) == []
    deployments.mended(cloud, message)
    assert_answers(site, cloud, assert_taken_over(cloud), "2")


def test_a_container_that_dies_while_it_is_watched(site: Site, cloud: Cloud) -> None:
    dies = site.program("podman kill $(podman ps --format '{{.Names}}' | grep -e --v2-)")
    cloud.plant(("monitor metrics list", [2], dies))
    with old_serves(site, cloud):
        message = failed(DEPLOY)
    assert "it is no longer well" in message
    assert_put_back(cloud, message)
    assert len(shifted(cloud)) == 3  # 25 %, 50 %, and back


@pytest.mark.parametrize(("command", "made", "times"), deployments.PROMOTIONS)
def test_a_promotion_in_the_meantime_leaves_the_old_container(
    site: Site, cloud: Cloud, database: Path, command: str, made: bool, times: int
) -> None:
    cloud.plant((command, [1], deployments.promote(database, 1)))
    with old_serves(site, cloud):
        message = failed(DEPLOY)
    assert "version 1 was promoted in the meantime, and version 2 is deployed no further" in message
    assert_put_back(cloud, message, made)
    assert len(shifted(cloud)) == times


def test_of_two_at_once_one_takes_over(site: Site, cloud: Cloud, database: Path, tmp_path: Path) -> None:
    deployments.both_at_once(database, tmp_path, [*TWEETS, *PODMAN, "--minutes", "0.06"])
    new = assert_taken_over(cloud)
    assert_answers(site, cloud, new, "2")
    assert set(site.runs("ps", "--format", "{{.Names}}").split()) == {OLD, new}
    deploy.main([*TWEETS, "--action", "rollback"])
    assert_answers(site, cloud, OLD, "1")


def test_who_is_told_to_stop_leaves_the_old_container(site: Site, cloud: Cloud, database: Path, tmp_path: Path) -> None:
    with (
        old_serves(site, cloud),
        deployments.deploying(database, tmp_path, [*TWEETS, *PODMAN, "--minutes", "5"]) as process,
    ):
        assert process.stdout
        assert any("answers 25 %" in line for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        message = process.communicate()[1].splitlines()[-1]
    assert process.returncode == 1
    assert message.startswith("deploy: error: it was told to stop; ")
    assert_put_back(cloud, message)


def test_a_registry_that_lets_nobody_in(site: Site, cloud: Cloud) -> None:
    cloud.change(token="a token of yesterday")
    with old_serves(site, cloud):
        message = failed(DEPLOY)
    assert f"podman login {site.registry.address} ended with " in message
    assert "invalid username/password" in message
    assert "the traffic is as it was; when this is mended, type the same again" in message
    assert cloud.calls("deployment group create") == []
