"""YAML bombs, and JSON that is nested without end, are refused with one message by whatever reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import azure_pipelines_local.cli
from insurance_claims.errors import ClaimsError, DataError, ParametersError
from insurance_claims.files import read_json
from insurance_claims.ingestion.batch import batch_from_json
from insurance_claims.parameters import load_parameters
from insurance_claims.typed_yaml import PlainLoader
from ml_service.ingestion.events import parse_events
from ml_service.pipeline import PipelineError, load_pipeline
from ml_service.platforms.azureml.deployment import load_deployments
from ml_service.platforms.base import PlatformError
from ml_service.rollout.errors import RolloutError
from ml_service.rollout.plan import load_plan
from tests.security.conftest import Refuse

LAUGHS = "\n".join(
    ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)
"""A billion laughs: twelve lines that stand for 9 to the 12th values."""

BAD = {
    "a billion laughs": (LAUGHS, "aliases are not read"),
    "an alias": ("a: &a {b: 1}\nc: *a", "aliases are not read"),
    "a list that holds itself": ("a: &a [*a]", "aliases are not read"),
    "a tag": ("a: !!python/object/apply:os.system [true]", "tags are not read"),
    "nested without end": ("a: " + "[" * 100_000, "nested more than 50 deep"),
    "mappings without end": ("\n".join(" " * n + "a:" for n in range(500)), "nested more than 50"),
    "too long": ("a: 1\n" * 300_000, "longer than 1,000,000 characters"),
    "a number of too many digits": ("a: " + "1" * 5_000, "4300"),
    "a day in no calendar": ("a: 2026-02-30", "day is out of range"),
}
READERS: dict[str, tuple[Any, type[ClaimsError]]] = {
    "pipelines": (load_pipeline, PipelineError),
    "parameters": (load_parameters, ParametersError),
    "rollout plans": (load_plan, RolloutError),
    "deployments": (load_deployments, PlatformError),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", BAD)
def test_a_yaml_bomb_is_refused_by_whatever_reads_it(
    tmp_path: Path, reader: str, name: str
) -> None:
    read, error = READERS[reader]
    text, reason = BAD[name]
    file = tmp_path / "bomb.yml"
    file.write_text(text)
    with pytest.raises(error, match=reason) as caught:
        read(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_yaml_bomb_is_one_message_of_the_command(
    home: Path, refuse: Refuse, tmp_path: Path
) -> None:
    file = tmp_path / "bomb.yml"
    file.write_text(LAUGHS)
    said = refuse("publish", file, "--version", "1")
    assert said.strip() == f"{file}:2: not YAML: aliases are not read: write the value out"


def test_the_runner_of_pipelines_refuses_a_bomb(tmp_path: Path) -> None:
    file = tmp_path / "bomb.yml"
    file.write_text(LAUGHS)
    result = CliRunner().invoke(azure_pipelines_local.cli.app, ["check", str(file)])
    assert result.exit_code == 1
    assert "anchors and aliases" in result.output


def test_what_people_write_is_read_as_before() -> None:
    text = "a: {b: [1, 2.5, yes, null, 'x', 2026-01-05]}\nlong: |\n  two\n  lines\n"
    assert yaml.load(text, Loader=PlainLoader) == yaml.safe_load(text)
    assert yaml.load("[" * 50 + "]" * 50, Loader=PlainLoader)


DEEP = "[" * 200_000
DIGITS = "1" * 5_000


@pytest.mark.parametrize("text", [DEEP, '{"files": ' * 100_000, DIGITS, "\udcff"])
def test_json_without_end_is_refused_by_whatever_reads_it(tmp_path: Path, text: str) -> None:
    content = text.encode("utf-8", "surrogateescape")
    file = tmp_path / "deep.json"
    file.write_bytes(content)
    with pytest.raises(ClaimsError, match="deep.json is not JSON"):
        read_json(file)
    with pytest.raises(PlatformError, match="this is no event"):
        parse_events(content)
    with pytest.raises(DataError, match="deep.json is no list of a batch's files"):
        batch_from_json(content, "deep.json")


def test_nested_json_is_one_message_of_the_command(
    home: Path, refuse: Refuse, tmp_path: Path
) -> None:
    (tmp_path / "model_version.json").write_text(DEEP)
    said = refuse("deploy", "staging", "--report", tmp_path)
    assert "model_version.json is not JSON that can be read: it is nested too deeply" in said


def test_a_folder_in_the_place_of_json_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(ClaimsError, match="cannot be read: Is a directory"):
        read_json(tmp_path)


def test_no_reader_of_yaml_expands_aliases(root: Path) -> None:
    """Whatever is shipped reads YAML by the loaders above, or refuses anchors itself."""
    own = root / "azure_pipelines_local" / "yaml_source.py"
    assert "_refuse_anchors" in own.read_text()
    readers = {
        path.relative_to(root).as_posix()
        for package in ("insurance_claims", "ml_service", "azure_pipelines_local")
        for path in (root / package).rglob("*.py")
        if re.search(r"yaml\.(SafeL|safe_l|CSafe|full|Full|unsafe|Unsafe|BaseL)", path.read_text())
    }
    assert readers == {"insurance_claims/typed_yaml.py", own.relative_to(root).as_posix()}
