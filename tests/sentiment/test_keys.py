"""Keys of finished work: what they count, and what they do not."""

from pathlib import Path

import pytest

from steps.sentiment import keys

FLAGS = {"C": "2", "seed": "0", "dataset": "runs:/1/dataset"}


def test_a_key_counts_step_flags_data_and_code_but_not_the_name_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    key = keys.step_key("train_baseline", FLAGS, "digest")
    assert key == keys.step_key("train_baseline", FLAGS | {"dataset": "elsewhere"}, "digest")
    assert key == keys.step_key("train_baseline", dict(reversed(FLAGS.items())), "digest")
    others = {
        keys.step_key("compare", FLAGS, "digest"),
        keys.step_key("train_baseline", FLAGS | {"C": "4"}, "digest"),
        keys.step_key("train_baseline", FLAGS, "other"),
    }
    monkeypatch.setattr(keys, "code_digest", lambda step: "changed")
    others.add(keys.step_key("train_baseline", FLAGS, "digest"))
    assert len(others | {key}) == 5


def test_the_code_of_a_step_is_its_file_the_library_and_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys.code_digest("prepare")
    assert before != keys.code_digest("compare")
    for name in ("steps/prepare.py", "steps/sentiment/model.py", "requirements.txt"):
        copy = tmp_path / name.replace("/", "-")
        for source in (
            *keys.PROJECT.glob("steps/*.py"),
            *keys.PROJECT.glob("steps/sentiment/*.*"),
            keys.PROJECT / "requirements.txt",
        ):
            target = copy / source.relative_to(keys.PROJECT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        monkeypatch.setattr(keys, "PROJECT", copy)
        monkeypatch.setattr(keys, "MODEL_FILE", copy / "steps/sentiment/model.py")
        assert keys.code_digest("prepare") == before
        (copy / name).write_text((copy / name).read_text() + "\n# changed\n")
        assert keys.code_digest("prepare") != before
        monkeypatch.undo()
