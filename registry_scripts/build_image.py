"""Builds the image of a version: MLflow's own image of the model, and from it a slim one with the endpoint.

    mlflow run . -e build_image --env-manager local
    python -m registry_scripts.build_image --model models:/tweet-sentiment/3 --engine podman

The Dockerfile is the one that `mlflow models build-docker` builds, with `registry_scripts/image/Dockerfile` as a second stage: the
model, its own packages, those of the endpoint and `steps/serve.py`, for a user who is not root and a root file system that cannot be
written. Leaves an image `name:tag` with the version, the digest of its dataset and the commit as labels. A build that fails ends
with exit code 1 and the step that failed; an image that had the name before keeps it. Needs docker or podman; loads no model.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mlflow.models.flavor_backend_registry import get_flavor_backend

from steps.sentiment import command_line, model_folder, registry
from steps.sentiment.command_line import Flags, InputError, one_of, something
from steps.sentiment.model_folder import Identity
from steps.sentiment.served import ENDPOINT_REQUIREMENTS

ROOT = Path(__file__).parents[1]
ENGINES = ("docker", "podman")
_NAME = re.compile(r"([a-z0-9.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
#: The same for both engines: podman keeps a health check only in docker's format, and docker shows its steps as lines only if asked.
_SETTINGS = {"BUILDAH_FORMAT": "docker", "BUILDKIT_PROGRESS": "plain"}
#: How the engines announce a step: `[1/2] STEP 3/9: RUN pip ...`, `Step 3/9 : RUN pip ...`, `#7 [stage-1 3/9] RUN pip ...`.
_STEP = re.compile(r"((?:\[\d+/\d+\] )?step \d+/\d+ ?:|#\d+ \[[^\]]+\]) [A-Z]+ .*", re.IGNORECASE)


def name(text: str) -> str:
    """Read the name of an image, with or without a registry before it."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            "small letters and digits with . _ - / between them, behind a registry's host:port/ if need be"
        )
    return text


def tag(text: str) -> str:
    """Read the tag of an image; it may be empty."""
    if text and not _TAG.fullmatch(text):
        raise ValueError("up to 128 letters, digits and _ . -")
    return text


def flags() -> Flags:
    """Return the flags of this script."""
    flags = Flags("build_image", __doc__)
    flags.flag(
        "model",
        registry.uri(registry.CHAMPION),
        "models:/<name>@<alias>, models:/<name>/<version>, or a folder",
        something,
    )
    flags.flag("name", registry.MODEL, "name of the image", name)
    flags.flag("tag", "", "tag of the image; default: the version", tag)
    flags.flag(
        "base", "", "image that both stages stand on; default: the slim Python that MLflow chooses for the model"
    )
    flags.flag("engine", "docker", "docker or podman", one_of(ENGINES))
    return flags


def main(argv: list[str] | None = None) -> None:
    """Build the image."""
    given = flags().read(argv)
    ready(given.engine)
    with tempfile.TemporaryDirectory(prefix="build-image-") as temporary:
        folder = model_folder.fetch(given.model, Path(temporary, "model"))
        who, context = model_folder.identify(folder), Path(temporary, "context")
        base = write_context(folder, given.base, context)
        image = f"{given.name}:{given.tag or who.version}"
        print(f"build_image: {image} from {who.name} version {who.version}, on {base}", flush=True)
        build(given.engine, image, labels(who, base), context)
    size = asked(given.engine, "image", "inspect", "--format", "{{.Size}}", image)
    print(f"build_image: {image} is built, {int(size) / 1e6:.0f} MB")


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


def build(engine: str, image: str, labelled: dict[str, str], context: Path) -> None:
    """Let the engine build the image; what it says goes to standard error.

    Raises:
        SystemExit: it failed, with the step at which it did.
    """
    command = [engine, "build", "--tag", image]
    command += [item for name, text in labelled.items() for item in ("--label", f"{name}={text}")]
    step = said = ""
    with subprocess.Popen(
        [*command, str(context)],
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
        raise SystemExit(
            f"build_image: error: {engine} build ended with {process.returncode} at {step or 'its start'}: {said}"
        )


def asked(engine: str, *command: str) -> str:
    """Return what the engine answers."""
    return subprocess.run([engine, *command], capture_output=True, text=True, check=True).stdout.strip()


def last_line(text: str) -> str:
    """Return the last line of what a program said, to stand within a line of ours."""
    return (text.strip().splitlines() or ["it said nothing"])[-1]


if __name__ == "__main__":
    command_line.run(main, "build_image")
