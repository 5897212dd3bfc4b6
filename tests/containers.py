"""What the tests of the image need: podman with a store of its own, and a base where the published one cannot be pulled. No test."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The published base image, by its full name.
PUBLISHED = "docker.io/library/python:3.11.7-slim"
#: The bundled model as version 1, built once for all tests.
IMAGE = "localhost/tweet-sentiment:1"
PACKAGES = ["podman", "runc", "debootstrap"]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
#: Limits that a machine which is a container itself may still give to those in it.
ULIMITS = ["nofile=1024:1024", "nproc=4096:4096"]


@dataclass
class Podman:
    """Podman as root, with images of its own in `folder`, on the network of this machine; builds trust what this machine trusts."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment in which `podman build`, and what calls it, finds this store."""
        return os.environ | self.settings | {"CONTAINERS_CONF": str(self.folder / "build.conf")}

    @property
    def settings(self) -> dict[str, str]:
        """Return the variables with which podman finds this store, and runs what is in it."""
        return {
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_CONF": str(self.folder / "run.conf"),
            "REGISTRY_AUTH_FILE": str(self.folder / "logins.json"),
            "BUILDAH_ISOLATION": "chroot",
        }

    def __call__(self, *command: str, check: bool = True) -> str:
        """Run podman, and return what it printed."""
        done = self.run(*command)
        assert not check or done.returncode == 0, f"podman {' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run podman, and return how that ended."""
        own = os.environ | self.settings
        return subprocess.run(["podman", *command], env=own, capture_output=True, text=True, check=False)

    def inspect(self, name: str, kind: str = "image") -> dict[str, Any]:
        """Return all that is known of an image, or of a container."""
        (found,) = json.loads(self(kind, "inspect", name))
        return found  # type: ignore[no-any-return]

    def layers(self, image: str) -> list[tuple[int, str]]:
        """Return the bytes of each layer of an image that has any, and the instruction that made it; the oldest first."""
        found = json.loads(self("history", "--no-trunc", "--format", "json", image))
        return [(layer["size"], layer["CreatedBy"]) for layer in reversed(found) if layer["size"]]

    def prepare(self) -> None:
        """Write the settings."""
        self.folder.mkdir(parents=True, exist_ok=True)
        store = f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder}/graph"\nrunroot = "{self.folder}/run"\n'
        (self.folder / "storage.conf").write_text(store)
        (self.folder / "logins.json").write_text("{}")  # podman pulls nothing where it is missing
        settings = self.folder / "pip.conf"
        settings.write_text(f"[global]\ncert = {CERTIFICATES}\n")
        settings.chmod(0o644)
        mounts = [f"{CERTIFICATES}:{CERTIFICATES}:ro", f"{settings}:/etc/pip.conf:ro"]
        engine = '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "runc"\n'
        for name, volumes in (("run.conf", []), ("build.conf", mounts)):
            containers = f'[containers]\nnetns = "host"\ndefault_ulimits = {json.dumps(ULIMITS)}\nvolumes = {json.dumps(volumes)}\n'
            (self.folder / name).write_text(containers + engine)

    def remove(self) -> None:
        """Remove the store, and the containers and images in it."""
        self("rm", "--all", "--force", "--time", "0", check=False)
        self("unmount", "--all", "--force", check=False)
        subprocess.run(["umount", "--quiet", self.folder / "graph/overlay"], check=False)
        shutil.rmtree(self.folder)


@contextmanager
def podman(folder: Path) -> Iterator[Podman]:
    """Give a podman of its own until the block ends; it is installed with apt-get if need be."""
    assert os.geteuid() == 0, "the image is built by root: sudo make image-test"
    missing = [package for package in PACKAGES if not shutil.which(package)]
    if missing:
        assert shutil.which("apt-get"), f"{', '.join(missing)} must be installed"
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(install, check=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    ours = Podman(folder)
    ours.prepare()
    try:
        yield ours
    finally:
        ours.remove()


def stand_in(ours: Podman) -> None:
    """Make a stand-in for the published base image, under its name: Debian bookworm with Debian's Python 3.11."""
    root = ours.folder / "root"
    subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", root],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    install = "apt-get install -y -qq --no-install-recommends python3 python3-pip python-is-python3"
    clean = "rm -rf /usr/lib/python3.11/EXTERNALLY-MANAGED /var/lib/apt/lists/* /var/cache/apt/*"
    script = f"DEBIAN_FRONTEND=noninteractive {install} && apt-get clean && {clean}"
    subprocess.run(["chroot", root, "sh", "-c", script], check=True, stdout=subprocess.DEVNULL)
    path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    archive = ours.folder / "root.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    ours("import", "--change", path, str(archive), PUBLISHED)
    archive.unlink()
    shutil.rmtree(root)
