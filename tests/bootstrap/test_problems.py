"""Projects that predict something else: what is replaced, and that a template which moved on is noticed."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap.answers import CLASSIFICATION, PROBLEMS, Answers
from bootstrap.errors import BootstrapError
from bootstrap.problems import SAMPLE, with_problem
from bootstrap.render import EXAMPLE_ONLY, render
from bootstrap.template import File, read_template, write_files
from tests.bootstrap.conftest import inside
from tests.classification import TESTS

OTHERS = [problem for problem in PROBLEMS if problem != CLASSIFICATION]


@pytest.fixture(scope="module")
def files(template: Path) -> list[File]:
    """Of the template."""
    return read_template(template)


def rendered(files: list[File], problem: str) -> dict[str, str]:
    made = render(files, Answers("insurance_claims", problem=problem), "abc")
    return {file.path: file.text or "" for file in made}


def keys(content: Any) -> Any:
    return {key: keys(value) for key, value in content.items()} if isinstance(content, dict) else 0


def test_a_classification_is_the_template(files: list[File]) -> None:
    assert with_problem(files, CLASSIFICATION) == files


@pytest.mark.parametrize("problem", OTHERS)
def test_contract_and_limits_are_of_the_problem(files: list[File], problem: str) -> None:
    made, template = rendered(files, problem), rendered(files, CLASSIFICATION)
    constants = {
        ast.unparse(node.targets[0]): ast.unparse(node.value)
        for node in ast.parse(made["insurance_claims/schema.py"]).body
        if isinstance(node, ast.Assign)
    }
    assert constants["PROBLEM"] == f"Problem.{problem.upper()}"
    limits, old = (
        yaml.safe_load(texts["insurance_claims/parameters.yml"]) for texts in (made, template)
    )
    assert keys(limits) == keys(old)
    for section in ("gate", "monitoring"):
        assert limits[section] != old[section]


@pytest.mark.parametrize("problem", OTHERS)
def test_documents_tell_of_the_problem_and_the_example_is_left_out(
    files: list[File], problem: str
) -> None:
    made = rendered(files, problem)
    assert "probability that a driver" not in made["README.md"]
    assert "log_loss" not in made["README.md"]
    assert "Kaggle's format" not in made["README.md"] + made["data/README.md"]
    assert made["docs/gate.md"].startswith("# The gate\n\n> This page tells of the template")
    assert not any(path.startswith(EXAMPLE_ONLY) for path in made)


@pytest.mark.parametrize("problem", OTHERS)
def test_the_sample_is_what_the_project_synthesizes(
    files: list[File], problem: str, tmp_path: Path
) -> None:
    write_files(render(files, Answers("churn", problem=problem), "abc"), tmp_path)
    command = [sys.executable, "-m", "ml_service", "data", "synthesize"]
    result = subprocess.run(
        [*command, "--rows", "500", "--seed", "2", "made.csv"],
        cwd=tmp_path,
        env=inside(tmp_path),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "made.csv").read_text() == (tmp_path / SAMPLE).read_text()


@pytest.mark.parametrize("problem", OTHERS)
@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("insurance_claims/schema.py", lambda text: text.replace("PROBLEM = ", "TASK = ")),
        ("insurance_claims/parameters.yml", lambda text: text + text),
        ("README.md", lambda text: ""),
    ],
)
def test_a_template_that_moved_on_is_refused(
    files: list[File], problem: str, path: str, change: Any
) -> None:
    moved = [
        replace(file, content=change(file.text).encode()) if file.path == path else file
        for file in files
    ]
    with pytest.raises(BootstrapError, match=rf"^{path} of the template .* up to date"):
        with_problem(moved, problem)


def test_a_sample_of_another_length_is_refused(files: list[File]) -> None:
    moved = [
        replace(file, content=file.content + b"1\n" * 3) if file.path == SAMPLE else file
        for file in files
    ]
    with pytest.raises(BootstrapError, match="has 503 rows"):
        with_problem(moved, "regression")


def test_the_tests_that_are_skipped_for_other_problems_exist(files: list[File]) -> None:
    texts = {file.path: file.text or "" for file in files}
    for path, names in TESTS.items():
        defined = {
            node.name for node in ast.parse(texts[path]).body if isinstance(node, ast.FunctionDef)
        }
        assert names <= defined
