"""Builds the image of a model with docker or podman, and pushes it: what build_image and deploy share."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow.models.flavor_backend_registry import get_flavor_backend

from steps.sentiment import model_folder
from steps.sentiment.command_line import InputError
from steps.sentiment.model_folder import Identity
from steps.sentiment.served import ENDPOINT_REQUIREMENTS

ROOT = Path(__file__).parents[2]
ENGINES = ("docker", "podman")
#: The same for both engines: podman keeps a health check only in docker's format, and docker shows its steps as lines only if asked.
_SETTINGS = {"BUILDAH_FORMAT": "docker", "BUILDKIT_PROGRESS": "plain"}
#: How the engines announce a step: `[1/2] STEP 3/9: RUN pip ...`, `Step 3/9 : RUN pip ...`, `#7 [stage-1 3/9] RUN pip ...`.
_STEP = re.compile(r"((?:\[\d+/\d+\] )?step \d+/\d+ ?:|#\d+ \[[^\]]+\]) [A-Z]+ .*", re.IGNORECASE)


class EngineError(Exception):
    """The engine failed. The message names what it was doing, and the last that it said."""


def make(engine: str, uri: str, name: str, tag: str, base: str) -> tuple[str, Identity]:
    """Build the image of a model.

    Args:
        engine: docker or podman.
        uri: of the model.
        name: of the image.
        tag: of the image, or empty: the version.
        base: image that both stages stand on, or empty: the one that MLflow chooses.

    Returns:
        The image as name:tag, and who the model in it is.

    Raises:
        InputError: there is no such model.
        EngineError: the build failed.
    """
    with tempfile.TemporaryDirectory(prefix="build-image-") as temporary:
        folder = model_folder.fetch(uri, Path(temporary, "model"))
        who, context = model_folder.identify(folder), Path(temporary, "context")
        base = write_context(folder, base, context)
        image = f"{name}:{tag or who.version}"
        print(f"build_image: {image} from {who.name} version {who.version}, on {base}", flush=True)
        build(engine, image, labels(who, base), context)
    size = asked(engine, "image", "inspect", "--format", "{{.Size}}", image)
    print(f"build_image: {image} is built, {int(size) / 1e6:.0f} MB", flush=True)
    return image, who


def ready(engine: str) -> None:
    """See that the engine is there and works, before anything is fetched.

    Raises:
        InputError: it is not, or does not.
    """
    if not shutil.which(engine):
        raise InputError(f"--engine: {engine} is not installed; allowed: one of {', '.join(ENGINES)} that is")
    found = subprocess.run([engine, "info"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise InputError(f"--engine: {engine} does not work here ({last_line(found.stderr)}); allowed: one that does")


def write_context(folder: Path, base: str, context: Path) -> str:
    """Write what the engine builds from: MLflow's Dockerfile and ours as one, the model, the endpoint's code and packages.

    Args:
        folder: of the model.
        base: image to stand on, or empty: the one that MLflow chooses.
        context: folder to write.

    Returns:
        The image that both stages stand on.
    """
    backend = get_flavor_backend(str(folder), env_manager="local", docker_build=True)
    backend.generate_dockerfile(str(folder), str(context))
    dockerfile = context / "Dockerfile"
    stock = dockerfile.read_text(encoding="utf-8")
    (chosen,) = re.findall(r"^FROM (\S+)$", stock, re.MULTILINE)
    base = base or chosen
    ours = (ROOT / "registry_scripts/image/Dockerfile").read_text(encoding="utf-8").replace("${BASE}", base)
    dockerfile.write_text(f"{stock.replace(f'FROM {chosen}', f'FROM {base}')}\n{ours}", encoding="utf-8")
    (context / "endpoint-requirements.txt").write_text("\n".join(ENDPOINT_REQUIREMENTS) + "\n", encoding="utf-8")
    steps = context / "steps"
    shutil.copytree(ROOT / "steps/sentiment", steps / "sentiment", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("__init__.py", "serve.py"):
        shutil.copy(ROOT / "steps" / file, steps)
    for path in context.rglob("*"):  # the image is read by another user, whatever the umask here
        path.chmod(0o755 if path.is_dir() else 0o644)
    return base


def labels(who: Identity, base: str) -> dict[str, str]:
    """Return what the image says of itself: by the names of the OCI where there is one."""
    of_the_model = who.as_dict()
    return {
        "org.opencontainers.image.title": of_the_model.pop("model"),
        "org.opencontainers.image.version": of_the_model.pop("version"),
        "org.opencontainers.image.revision": commit(),
        "org.opencontainers.image.base.name": base,
        **{f"tweet-sentiment.{what}": value for what, value in of_the_model.items()},
    }


def commit() -> str:
    """Return the commit of the endpoint's code, with `-dirty` where it was changed since; `unknown` outside a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def build(engine: str, image: str, labelled: Mapping[str, str], context: Path) -> None:
    """Let the engine build the image.

    Raises:
        EngineError: it failed, with the step at which it did.
    """
    command = [engine, "build", "--tag", image]
    command += [item for name, text in labelled.items() for item in ("--label", f"{name}={text}")]
    _carried_out([*command, str(context)], "build")


def login(engine: str, server: str, user: str, password: str) -> None:
    """Let the engine into a registry.

    Raises:
        EngineError: it was not let in.
    """
    command = [engine, "login", server, "--username", user, "--password-stdin"]
    done = subprocess.run(command, input=password, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"{engine} login {server} ended with {done.returncode}: {last_line(done.stderr)}")


def push(engine: str, image: str) -> None:
    """Let the engine push the image to the registry in its name.

    Raises:
        EngineError: it failed.
    """
    _carried_out([engine, "push", image], "push")


def _carried_out(command: Sequence[str], what: str) -> None:
    # What the engine says goes to standard error as it comes.
    step = said = ""
    with subprocess.Popen(
        command,
        env=os.environ | _SETTINGS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                sys.stderr.write(line)
                said = line.strip() or said
                step = said if _STEP.fullmatch(said) else step
        except BaseException:  # told to stop: the engine too
            process.terminate()
            raise
    if process.returncode:
        raise EngineError(f"{command[0]} {what} ended with {process.returncode} at {step or 'its start'}: {said}")


def asked(engine: str, *command: str) -> str:
    """Return what the engine answers."""
    return subprocess.run([engine, *command], capture_output=True, text=True, check=True).stdout.strip()


def last_line(text: str) -> str:
    """Return the last line of what a program said, to stand within a line of ours."""
    return (text.strip().splitlines() or ["it said nothing"])[-1]
