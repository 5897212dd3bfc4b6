"""An image registry on loopback, as Azure's is one: OCI's protocol behind TLS, and a login. Not a test itself."""

import base64
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

#: The name of Debian's package, and of the program in it.
PROGRAM = "docker-registry"
#: Who logs in with a token of Azure's, the token that the recorded az gives, and bcrypt's hash of it.
USER, TOKEN = "00000000-0000-0000-0000-000000000000", "a token"
_HASH = "$2b$04$QVbuucuGJ0Xu2bINDQCbDOAHw/wLCiKDWGyEMX5rflBYuF.o0YNQO"
_MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Registry:
    """A registry by its address, host:port; `certified` is the file of its certificate."""

    address: str
    certified: str

    def digest(self, image: str) -> str | None:
        """Return the digest of an image that is named as name:tag or name@digest, or None: it is not there."""
        name, _, reference = image.partition("@") if "@" in image else image.rpartition(":")
        login = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        question = urllib.request.Request(
            f"https://{self.address}/v2/{name}/manifests/{reference}",
            headers={"Accept": _MANIFESTS, "Authorization": f"Basic {login}"},
            method="HEAD",
        )
        try:
            trust = ssl.create_default_context(cafile=self.certified)
            with urllib.request.urlopen(question, timeout=60, context=trust) as answer:
                return str(answer.headers["Docker-Content-Digest"])
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None


@contextmanager
def registry(folder: Path, port: int, certified: Path) -> Iterator[Registry]:
    """Run a registry that keeps its images in a folder, until the block ends.

    Args:
        folder: for all that it writes.
        port: of loopback.
        certified: file of a certificate with its key.
    """
    folder.mkdir()
    (folder / "users").write_text(f"{USER}:{_HASH}\n")
    settings = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "images")}},
        "http": {"addr": f"127.0.0.1:{port}", "tls": {"certificate": str(certified), "key": str(certified)}},
        "auth": {"htpasswd": {"realm": "loopback", "path": str(folder / "users")}},
    }
    (folder / "settings.yml").write_text(yaml.safe_dump(settings))
    command, log = [program(folder), "serve", folder / "settings.yml"], folder / "log"
    # It takes what begins with REGISTRY_ for settings of its own; podman's REGISTRY_AUTH_FILE is none.
    own = {name: text for name, text in os.environ.items() if not name.startswith("REGISTRY_")}
    with log.open("wb") as file, subprocess.Popen(command, env=own, stdout=file, stderr=file) as process:
        ours = Registry(f"127.0.0.1:{port}", str(certified))
        try:
            from tests.serving import wait_for

            wait_for(lambda: process.poll() is not None or answers(ours), 60, log.read_text)
            assert process.poll() is None, log.read_text()
            yield ours
        finally:
            process.terminate()


def program(folder: Path) -> str:
    """Return the registry's program: the one that is installed, or else out of Debian's package, which is not installed for it."""
    if found := shutil.which(PROGRAM):
        return found
    for command in (["update", "-qq"], ["download", "-qq", PROGRAM]):
        subprocess.run(["apt-get", "-o", "APT::Sandbox::User=root", *command], cwd=folder, check=True)
    (package,) = folder.glob(f"{PROGRAM}_*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, folder / "package"], check=True)
    return str(folder / "package/usr/bin" / PROGRAM)


def answers(registry: Registry) -> bool:
    """Return whether a registry answers."""
    try:
        return registry.digest("nothing:1") is None
    except OSError:
        return False
