"""Where the images and revisions of the recorded az are real: a registry on loopback, and a container for each revision. No test.

Read by tests/fake_az.py in a process of its own for each call, so that it imports nothing that is slow to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import fake_az
from tests.containers import Podman
from tests.oci_registry import TOKEN, USER, Registry


@dataclass(frozen=True)
class Loopback:
    """Real images and revisions, as tests/fake_az.py asks for them.

    Args:
        podman: folder of the podman that runs revisions. It has images of its own, so that each is pulled.
        registry: its address, host:port.
        certified: file of the registry's certificate.
        ports: for each address that a revision may get, the port at which it must listen.
        secrets: values of the secrets that a revision may ask for.
    """

    podman: str
    registry: str
    certified: str
    ports: Mapping[str, int]
    secrets: Mapping[str, str]

    def server(self, registry: str) -> str:
        """Return the address of the registry, whatever its name."""
        return self.registry

    def digest(self, image: str) -> str | None:
        """Return the digest of an image that is named as name:tag or name@digest, or None: it is not there."""
        return Registry(self.registry, self.certified).digest(image)

    def begin(self, app: dict[str, Any], revision: str, address: str) -> None:
        """Pull the image of a new revision by its digest, and run it with what its template gives it."""
        (asked,) = app["properties"]["template"]["containers"]
        own = {one["name"]: one["value"] if "value" in one else self.secrets[one["secretRef"]] for one in asked["env"]}
        own["PORT"] = str(self.ports[address])  # all share one network, where each listens on 8080 in Azure
        resources = asked["resources"]
        limits = ["--cpus", str(resources["cpu"]), "--memory", resources["memory"].removesuffix("i").lower()]
        variables = [f"--env={name}={text}" for name, text in own.items()]
        self._podman("pull", "--quiet", "--creds", f"{USER}:{TOKEN}", asked["image"])
        self._podman("run", "--detach", "--name", revision, *limits, *variables, asked["image"])

    def start(self, revision: str) -> None:
        """Run a revision again."""
        self._podman("start", revision)

    def stop(self, revision: str) -> None:
        """Stop a revision."""
        self._podman("stop", revision)

    def _podman(self, *command: str) -> None:
        done = Podman(Path(self.podman)).run(*command)
        if done.returncode:
            said = " ".join(done.stderr.split())
            fake_az.refuse(f"ERROR: (ContainerAppOperationError) Failed to {command[0]} a revision: {said}")
