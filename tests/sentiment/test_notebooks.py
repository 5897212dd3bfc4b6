"""A notebook is run from nothing in a kernel of its own, and what may not be stored with it is found."""

import os
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from steps.sentiment import notebooks
from steps.sentiment.command_line import RefusedError


def written(folder: Path, *sources: str) -> Path:
    """Write a notebook of these code cells, as an editor would leave it."""
    notebook = new_notebook(cells=[new_markdown_cell("# A page"), *map(new_code_cell, sources)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "my own", "language": "python"}
    notebook.cells[1].metadata["collapsed"] = False
    path = folder / "page.ipynb"
    nbformat.write(notebook, path)
    return path


def ran(*outputs: NotebookNode) -> NotebookNode:
    """Return a notebook of one cell as it looks after a run that gave these outputs."""
    cell = new_code_cell("print(1)", execution_count=1, outputs=list(outputs))
    return new_notebook(cells=[cell], metadata=nbformat.from_dict(notebooks.METADATA))


def said(text: str, stream: str = "stdout") -> NotebookNode:
    return new_output("stream", name=stream, text=text)


def test_cells_run_in_their_order_in_the_working_directory_with_the_variables_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(
        tmp_path,
        "import os\nfrom pathlib import Path\nnumber = 20",
        "print(number + 1, os.environ['COLOUR'], Path.cwd() == Path(os.environ['HERE']))",
    )
    before = path.read_bytes()
    notebook = notebooks.execute(path, {"COLOUR": "green", "HERE": str(tmp_path)})
    assert notebooks.shown(notebook) == ["21 green True\n"]
    assert notebooks.flaws(notebook) == []
    assert path.read_bytes() == before
    assert "COLOUR" not in os.environ


def test_what_was_run_carries_nothing_of_the_program_that_ran_it(tmp_path: Path) -> None:
    notebook = notebooks.execute(written(tmp_path, "1 + 1"))
    assert notebook.metadata == notebooks.METADATA
    assert all(not cell.metadata for cell in notebook.cells)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "a cell failed: ZeroDivisionError: division by zero"),
        ("raise ValueError('first line\\nsecond line')", "a cell failed: ValueError: first line$"),
        ("while True: pass", "a cell took more than 2 s"),
        ("import os\nos._exit(1)", "its kernel was killed"),
    ],
)
def test_a_cell_that_does_not_end_well_is_one_clear_line(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        notebooks.execute(written(tmp_path, source), seconds=2)


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("thanks @quokkaqueen", "a handle: @quokkaqueen"),
        ("RT:@a_b", "a handle: @a_b"),
        ("&#64;quokka says", "a handle: @quokka"),
        ("at /home/quokka/tweets.csv", "a path: /home/"),
        ("from '/work/there'", "a path: /work/"),
        ("/tmp", "a path: /tmp"),
        ("C:\\Users\\quokka", "a path: C:\\"),
    ],
)
def test_handles_and_paths_are_found(text: str, flaw: str) -> None:
    (found,) = notebooks.flaws(ran(said(text)))
    assert found.startswith(flaw)
    (found,) = notebooks.flaws(ran(new_output("display_data", data={"text/html": f"<td>{text}</td>"})))
    assert found.startswith(flaw)


@pytest.mark.parametrize(
    "text",
    [
        "so @user told",
        "12 / 3 tweets",
        "and/or, 1/2/3",
        "http://x.example/a/b/c",
        "<td>4</td>",
        "a @ b",
        "docs/results.md",
    ],
)
def test_what_is_neither_passes(text: str) -> None:
    assert notebooks.flaws(ran(said(text))) == []


def test_errors_warnings_and_cells_that_were_not_run_are_found() -> None:
    error = new_output("error", ename="KeyError", evalue="'x'", traceback=["KeyError"])
    assert notebooks.flaws(ran(error)) == ["an error: KeyError"]
    assert notebooks.flaws(ran(said("be careful", "stderr"))) == ["a warning: be careful"]
    notebook = ran()
    notebook.cells.append(new_code_cell("2"))
    assert notebooks.flaws(notebook) == ["not run from the first cell to the last: [1, None]"]
    notebook.cells[1].execution_count = 4
    assert notebooks.flaws(notebook) == ["not run from the first cell to the last: [1, 4]"]


def test_metadata_of_an_editor_and_times_are_found() -> None:
    notebook = ran()
    notebook.cells[0].metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    assert notebooks.flaws(notebook) == ["metadata of the program that ran it"]
    notebook = ran()
    notebook.metadata["widgets"] = {}
    assert notebooks.flaws(notebook) == ["metadata of the program that ran it"]


def test_a_figure_is_no_text() -> None:
    figure = new_output("display_data", data={"image/png": "/work/there/@abc", "text/plain": "<Figure size 1x1>"})
    assert notebooks.shown(ran(figure)) == ["<Figure size 1x1>"]
    assert notebooks.flaws(ran(figure)) == []


@pytest.mark.parametrize(
    "text",
    [
        "…, my bag is in lisbon again &amp; i am not, …",
        "| a | @user my bag is in Lisbon\nagain & i am not |",
        "MY BAG   is in LISBON again & i am not http://…",
    ],
)
def test_a_tweet_is_found_in_whatever_form_it_is_shown(text: str) -> None:
    tweets = ["@quokka  My bag is in LISBON again & i am not", "good morning", "nobody says these five words"]
    assert notebooks.quoted(ran(said(f"good morning {text}")), tweets) == 1


def test_what_any_sentence_may_hold_is_no_quotation() -> None:
    assert notebooks.quoted(ran(said("good morning, my bag is in lisbon")), ["good morning", "my bag is in paris"]) == 0


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "1 + 1")
    before = path.read_bytes()
    notebook = notebooks.execute(path)
    notebooks.write(notebook, path)
    assert nbformat.read(path, as_version=4) == notebook
    assert path.read_bytes() != before

    def full(self: Path, target: Path) -> None:
        raise OSError("No space left on device")

    kept = path.read_bytes()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        notebooks.write(ran(), path)
    assert path.read_bytes() == kept
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.ipynb"]
