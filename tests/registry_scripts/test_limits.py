"""The file of limits: what may stand in it, and the line that names what may not."""

from pathlib import Path

import pytest

from registry_scripts.registry import limits
from steps.sentiment.command_line import InputError

GOOD = """
significance: 0.05
margin: 0
better_behaved: {failures_share: 0.6, accuracy_lost: 0.004}
slices:
  least_rows: 100
  worse_at_most: {default: 0.02, negation: 0.01}
behaviour:
  required: false
  rise_at_most: {default: 0.05}
  failure_at_most: {}
at_most: {test_ece: 0.1, predict_ms_single: 50, model_size_mb: 100}
"""


def given(tmp_path: Path, text: str) -> str:
    path = tmp_path / "limits.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_projects_own_file_is_read_by_default() -> None:
    read = limits.read()
    assert read.path == limits.FILE
    assert read.text == limits.FILE.read_text(encoding="utf-8")
    assert (read.significance, read.margin, read.behaviour_required) == (0.05, 0.0, True)
    assert set(read.most) == {"test_ece", "predict_ms_single", "model_size_mb"}
    assert limits.limit(read.slices, "negation") == 0.01 < read.slices["default"] == limits.limit(read.slices, "emoji")


def test_every_setting_of_the_file_is_explained_in_it() -> None:
    lines = limits.FILE.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith("#") and not line.strip().endswith(":"):
            assert "#" in line or lines[number - 1].startswith("#") or "#" in lines[number - 1], line


def test_what_is_left_out_is_no_limit(tmp_path: Path) -> None:
    text = "significance: 0.01\nmargin: 0.002\nslices: {least_rows: 1}\nbehaviour: {required: true}\n"
    read = limits.read(given(tmp_path, text))
    assert (read.slices, read.rises, read.failures, read.most, read.better_behaved) == ({}, {}, {}, {}, None)
    assert limits.limit(read.slices, "negation") is None
    assert read.behaviour_required


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("margin: 0", "margins: 0", "margins: got an unknown name; allowed: significance, margin, better_behaved, slices, "),
        ("least_rows: 100", "rows: 100", "slices.rows: got an unknown name; allowed: least_rows, worse_at_most"),
        ("test_ece", "ece", "at_most.ece: got an unknown name; allowed: test_ece, predict_ms_single, model_size_mb"),
        ("margin: 0", "", "margin: missing"),
        ("  least_rows: 100\n", "", "slices.least_rows: missing"),
        ("  required: false\n", "", "behaviour.required: missing"),
        ("significance: 0.05", "significance: 5", "significance: got 5; allowed: a number above 0 and below 0.5"),
        ("significance: 0.05", "significance: 0", "significance: got 0; allowed: a number above 0 and below 0.5"),
        ("significance: 0.05", "significance: .nan", "significance: got nan; allowed: "),
        ("significance: 0.05", "significance: '0.05'", "significance: got '0.05'; allowed: "),
        ("significance: 0.05", "significance:", "significance: got None; allowed: "),
        ("margin: 0", "margin: -0.1", "margin: got -0.1; allowed: a number from 0 to 0.5"),
        ("margin: 0", "margin: true", "margin: got True; allowed: a number from 0 to 0.5"),
        ("margin: 0", "margin: 1e-3", "margin: got '1e-3'; allowed: "),
        ("least_rows: 100", "least_rows: 0", "slices.least_rows: got 0; allowed: a whole number of at least 1"),
        ("least_rows: 100", "least_rows: 1.5", "slices.least_rows: got 1.5; allowed: a whole number of at least 1"),
        ("negation: 0.01", "negation: 1.5", "slices.worse_at_most.negation: got 1.5; allowed: a number from 0 to 1"),
        ("required: false", "required: 0", "behaviour.required: got 0; allowed: true or false"),
        ("failure_at_most: {}", "failure_at_most: 0.1", "behaviour.failure_at_most: got 0.1; allowed: names, each with "),
        ("failure_at_most: {}", "failure_at_most: {1: 0.1}", "behaviour.failure_at_most: got {1: 0.1}; allowed: names, "),
        ("predict_ms_single: 50", "predict_ms_single: 0", "at_most.predict_ms_single: got 0; allowed: a number above 0"),
        ("model_size_mb: 100", "model_size_mb: .inf", "at_most.model_size_mb: got inf; allowed: a number above 0"),
        ("failures_share: 0.6", "failures_share: 1", "better_behaved.failures_share: got 1; allowed: a number above 0 and below 1"),
        ("accuracy_lost: 0.004", "accuracy_lost: 0", "better_behaved.accuracy_lost: got 0; allowed: a number above 0 and below"),
        (", accuracy_lost: 0.004", "", "better_behaved.accuracy_lost: missing; allowed: both settings of better_behaved, or neither"),
        ("margin: 0", "margin: 0\nmargin: 0.1", "margin stands twice"),
        ("margin: 0", "margin: 2026-13-45", "is no YAML (month must be in 1..12"),
        ("margin: 0", "margin: 0b_", "is no YAML ("),
        ("margin: 0", f"margin: 1{'0' * 5000}", "is no YAML (Exceeds the limit"),
        ("model_size_mb: 100", f"model_size_mb: 1{'0' * 400}", "at_most.model_size_mb: got a number of more digits than can be read"),
        ("margin: 0", f"margin: {'[' * 5000}", "is no YAML ("),
        ("margin: 0", '"mar\\ngin": 0', "mar gin: got an unknown name"),
        ("negation: 0.01", "default: 0.5", "default stands twice"),
        ("margin: 0", "margin: [", "is no YAML"),
        ("margin: 0", "margin: !!python/name:os.system", "is no YAML"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_in_one_line_with_what_is_allowed(
    tmp_path: Path, old: str, new: str, line: str
) -> None:
    assert limits.read(given(tmp_path, GOOD))
    assert GOOD.count(old) == 1
    with pytest.raises(InputError) as error:
        limits.read(given(tmp_path, GOOD.replace(old, new)))
    message = str(error.value)
    assert message.startswith(f"--limits: {tmp_path}/limits.yaml")
    assert line in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "- 1\n", "significance\n", "\x00"])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"--limits: .*allowed: "):
        limits.read(given(tmp_path, text))


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nothing.yaml", tmp_path, tmp_path / "bytes"):
        with pytest.raises(InputError, match=f"--limits: {path} cannot be read"):
            limits.read(str(path))
