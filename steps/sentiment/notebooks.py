"""Notebooks run from nothing in a kernel of their own, and what they may not be stored with.

A stored notebook shows its outputs and nothing of who ran it where: no path of a machine, no time of a cell, no handle of a
user, no tweet of the real data, no warning.
"""

import html
import os
import re
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from steps.sentiment.command_line import RefusedError, first_line
from steps.sentiment.dataset import fold

#: What says how to open a notebook; everything else that a program notes in its metadata is its own business.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
#: Seconds that one cell may take: 1.6 million tweets on two busy cores, with room.
CELL_SECONDS = 600
#: Words from which on a text is somebody's tweet, and not what any sentence may hold.
QUOTED_WORDS = 5

_HANDLE = re.compile(r"@(?!user\b)\w+")
_PATH = re.compile(r"(?<![\w.:/<])/(?:[\w.-]+/|(?:home|root|tmp|usr|var|opt|mnt|work|Users)\b)|\b[A-Za-z]:\\")


def execute(path: Path, variables: dict[str, str] | None = None, seconds: int = CELL_SECONDS) -> NotebookNode:
    """Return the notebook as it looks after a run from its first cell to its last, in the working directory.

    Args:
        path: the notebook; the file stays as it is.
        variables: environment variables that it reads, beside those of this process.
        seconds: that a cell may take.

    Raises:
        RefusedError: a cell failed or took too long.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=seconds,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(Path.cwd())}},
    )
    # The debugger of the kernel would warn of an interpreter that is as it should be.
    environment = {**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1", **(variables or {})}
    try:
        client.execute(env=environment, transport_encryption="required")
    except CellExecutionError as error:
        raise RefusedError(f"{path}: a cell failed: {error.ename}: {first_line(Exception(error.evalue))}") from error
    except CellTimeoutError as error:
        raise RefusedError(f"{path}: a cell took more than {seconds} s") from error
    except DeadKernelError as error:
        raise RefusedError(f"{path}: its kernel was killed, maybe for want of memory") from error
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    return notebook


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the outputs of all cells, in their order."""
    return [output for cell in _code(notebook) for output in cell.outputs]


def shown(notebook: NotebookNode) -> list[str]:
    """Return every text among the outputs; figures are none."""
    texts = []
    for output in outputs(notebook):
        texts += [output.get("text", ""), *output.get("traceback", [])]
        texts += [str(text) for kind, text in output.get("data", {}).items() if not kind.startswith("image/")]
    return [html.unescape(text) for text in texts if text]


def flaws(notebook: NotebookNode) -> list[str]:
    """Return why a notebook may not be stored as it is; nothing when it may."""
    found = []
    counts = [cell.execution_count for cell in _code(notebook)]
    if not counts or counts != list(range(1, len(counts) + 1)):
        found.append(f"not run from the first cell to the last: {counts}")
    for output in outputs(notebook):
        if output.output_type == "error":
            found.append(f"an error: {output.ename}")
        if output.get("name") == "stderr":
            found.append(f"a warning: {output.text.strip()}")
    for text in shown(notebook):
        found += [f"a handle: {handle}" for handle in _HANDLE.findall(text)]
        found += [f"a path: {text[match.start() : match.end() + 20]}" for match in _PATH.finditer(text)]
    if notebook.metadata != METADATA or any(cell.metadata for cell in notebook.cells):
        found.append("metadata of the program that ran it")
    return found


def quoted(notebook: NotebookNode, texts: Iterable[str]) -> int:
    """Return how many of these tweets, of some words at least, can be read in the outputs."""
    page = _words("\n".join(shown(notebook)))
    return sum(tweet.count(" ") >= QUOTED_WORDS - 1 and tweet in page for tweet in map(_words, texts))


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook beside, then rename: the file is whole or as it was."""
    beside = path.with_name(f".{path.name}")
    try:
        beside.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _words(text: str) -> str:
    # Without users and links, which whoever quotes a tweet would mask or leave out.
    return " ".join(word for word in fold(text).split() if word not in ("@", "http"))
