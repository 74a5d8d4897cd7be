"""Reading YAML with lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.yaml_source import Mapping, Scalar, Sequence, load, parse

FILE = Path("pipeline.yml")


def test_scalars_stay_text_and_know_their_line() -> None:
    node = parse("a: 3.10\nb:\n- yes\n- ~\n", FILE)
    assert isinstance(node, Mapping)
    a, b = node.get("A"), node.get("b")
    assert isinstance(a, Scalar) and a.value == "3.10" and a.where.line == 1
    assert isinstance(b, Sequence)
    values = [item.value for item in b.items if isinstance(item, Scalar)]
    assert values == ["yes", ""]
    assert b.items[0].where.line == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "pipeline.yml:1: not YAML"),
        ("a: 1\nb: 2\na: 3\n", "pipeline.yml:3: the key 'a' is given twice"),
        ("a: &x 1\nb: *x\n", "pipeline.yml:1: Azure Pipelines does not read YAML anchors"),
        ("[" * 5000, "pipeline.yml:1: n"),
        ("? [a]\n: b\n", "pipeline.yml:1: a key is a single value"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message.replace("[", r"\[")):
        parse(text, FILE)


def test_expressions_may_be_keys_more_than_once() -> None:
    node = parse("${{ if a }}: 1\n${{ if a }}: 2\n", FILE)
    assert isinstance(node, Mapping) and len(node.entries) == 2


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.yml"
    file.write_text("- a\n")
    with pytest.raises(PipelineError, match="a pipeline or template is a mapping"):
        load(file)
    with pytest.raises(PipelineError, match="cannot be read"):
        load(tmp_path / "none.yml")
    file.write_bytes(b"a: \xff\n")
    with pytest.raises(PipelineError, match="not UTF-8"):
        load(file)
