"""Podman with the base image, and the image of the bundled model: made once for all tests of this folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from tests import containers
from tests.conftest import ROOT, environment
from tests.containers import IMAGE, Podman


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Podman with the base image."""
    with containers.podman(tmp_path_factory.mktemp("podman")) as ours:
        if os.environ.get("IMAGE_BASE") == "published":
            ours("pull", containers.PUBLISHED)
        else:
            containers.stand_in(ours)
            print(f"\nbase: a stand-in of Debian's packages for {containers.PUBLISHED}, which was not pulled")
        yield ours


@pytest.fixture(scope="session")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What podman knows of the image that `build_image` has made of the champion: the bundled model, as version 1."""
    store = tmp_path_factory.mktemp("store")
    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    client.create_registered_model("tweet-sentiment")
    version = client.create_model_version("tweet-sentiment", str(ROOT / "data/champion/model"))
    client.set_registered_model_alias("tweet-sentiment", "champion", version.version)
    own = environment(store) | podman.variables | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
    command = [sys.executable, "-m", "registry_scripts.build_image", "--engine", "podman"]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    return podman.inspect(IMAGE)
