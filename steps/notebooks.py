"""Runs the notebooks of `docs/notebooks/` on real data and stores them with what they show.

    make notebooks FLAGS="--dataset runs:/<id of prepare>/dataset"
    python -m steps.notebooks --names modelling

`exploration` reads a prepared dataset and the raw tweets that it was made from, a few minutes for 1.6 million of them;
`modelling` reads docs/results/evidence/ alone, in seconds. A notebook is stored only when every cell ran and its outputs hold
no path of this machine, no handle, no warning and none of the tweets; all are stored or none.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from steps.sentiment import command_line, notebooks, sources, tracking
from steps.sentiment.command_line import Flags, InputError, RefusedError, names
from steps.sentiment.dataset import Dataset

FOLDER = Path("docs/notebooks")
EXPLORATION, MODELLING = "exploration", "modelling"


def flags() -> Flags:
    """Return the flags of this step."""
    flags = Flags("notebooks", __doc__)
    flags.flag("dataset", "", "runs:/<id>/dataset or a folder; default: the newest prepared")
    flags.flag("data", "", "the raw tweets it was prepared from; default: those that prepare read")
    flags.flag("names", f"{EXPLORATION},{MODELLING}", "notebooks, separated by commas", names([EXPLORATION, MODELLING]))
    return flags


def real_dataset(uri: str) -> Dataset:
    """Open the dataset that a `dataset` flag names.

    Raises:
        InputError: there is none, or it is the bundled sample.
    """
    dataset = tracking.find_dataset(uri)
    if dataset.source == "sample":
        raise InputError(
            f"dataset={uri}: the bundled sample, and notebooks are stored with figures of real tweets; allowed: a dataset "
            f"prepared from real ones, or names={MODELLING}"
        )
    return dataset


def raw_of(dataset: Dataset, data: str) -> Path:
    """Return the file with the raw tweets of a dataset: `data`, or what `prepare` was given.

    Raises:
        InputError: it is not there.
    """
    manifest = json.loads((dataset.folder / "dataset.json").read_text(encoding="utf-8"))
    path = sources.locate(data or manifest["parameters"]["data"])
    if not path.is_file():
        raise InputError(f"data={data}: no such file: {path}; allowed: the one that the dataset was prepared from")
    return path.resolve()


def stored_form(name: str, variables: dict[str, str], tweets: Iterable[str]) -> notebooks.NotebookNode:
    """Run one notebook and return it as it may be stored.

    Raises:
        RefusedError: a cell failed, or an output may not be stored.
    """
    path = FOLDER / f"{name}.ipynb"
    notebook = notebooks.execute(path, variables)
    found = notebooks.flaws(notebook)
    if quotes := notebooks.quoted(notebook, tweets):
        found.append(f"{quotes} of the tweets")
    if found:
        raise RefusedError(f"{path} is left as it is, its outputs would hold {'; '.join(found)}")
    return notebook


def main(argv: list[str] | None = None) -> None:
    """Run the notebooks, then store them."""
    given = flags().read(argv)
    ready = {}
    for name in given.names:
        variables, tweets = {}, []
        if name == EXPLORATION:
            dataset = real_dataset(given.dataset)
            raw = raw_of(dataset, given.data)
            variables = {"NOTEBOOK_DATASET": str(dataset.folder.resolve()), "NOTEBOOK_DATA": str(raw)}
            tweets = dataset.split("train")["text"].tolist()
        ready[name] = stored_form(name, variables, tweets)
    for name, notebook in ready.items():
        notebooks.write(notebook, FOLDER / f"{name}.ipynb")
        print(f"notebooks: {FOLDER / name}.ipynb")


if __name__ == "__main__":
    command_line.run(main, "notebooks")
