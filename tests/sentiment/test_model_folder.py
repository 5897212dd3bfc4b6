"""The folder of a model, and who it is."""

from pathlib import Path

from steps.sentiment import model_folder
from tests.conftest import ROOT

BUNDLED = ROOT / "data/champion/model"


def test_a_folder_says_who_its_model_is_and_the_registry_adds_name_and_number(tmp_path: Path) -> None:
    who = model_folder.identify(BUNDLED)
    assert (who.name, who.family) == ("model", "bert")
    assert who.version == who.model_id
    for path in BUNDLED.glob("MLmodel"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / model_folder.REGISTERED).write_text("model_name: tweet-sentiment\nmodel_version: '7'\n")
    registered = model_folder.identify(tmp_path)
    assert (registered.name, registered.version) == ("tweet-sentiment", "7")
    assert registered.dataset_digest == who.dataset_digest
