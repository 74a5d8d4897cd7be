"""Pipeline files: what fits, and what is refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_service.pipeline import (
    PIPELINES,
    DataInput,
    PipelineError,
    StepInput,
    find_pipeline,
    load_pipeline,
)

GOOD = """\
name: example
parameters: {data: claims, version: latest}
steps:
  - name: first
    run: python -m package.first --raw {inputs.raw} --out {outputs.rows} --tag "a b {parameters.data}"
    inputs: {raw: "data:{parameters.data}:{parameters.version}"}
    outputs: [rows]
    reuse: true
  - name: second
    run: python -m package.second {inputs.rows}
    inputs: {rows: first.rows}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "pipeline.yml"
    path.write_text(text)
    return path


def test_a_file_becomes_typed_steps(tmp_path: Path) -> None:
    pipeline = load_pipeline(write(tmp_path, GOOD))
    first, second = pipeline.steps
    assert pipeline.parameters == {"data": "claims", "version": "latest"}
    assert first.inputs == {"raw": DataInput("{parameters.data}", "{parameters.version}")}
    assert second.inputs == {"rows": StepInput("first", "rows")}
    assert (first.reuse, second.reuse) == (True, False)


def test_a_value_never_becomes_more_than_one_word(tmp_path: Path) -> None:
    step = load_pipeline(write(tmp_path, GOOD)).steps[0]
    command = step.command({"raw": "/with space"}, {"rows": "/out; rm -rf /"}, {"data": "x y"})
    assert command == [
        *("python", "-m", "package.first", "--raw", "/with space"),
        *("--out", "/out; rm -rf /", "--tag", "a b x y"),
    ]


@pytest.mark.parametrize("path", sorted(PIPELINES.glob("*.yml")), ids=lambda path: path.stem)
def test_every_shipped_pipeline_loads(path: Path) -> None:
    assert load_pipeline(path).steps


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ("name: example", "name: 1example", 1, "match pattern"),
        ("reuse: true", "reuse: maybe", 8, "boolean"),
        ("reuse: true", "reuses: true", 8, "not permitted"),
        ("inputs: {rows: first.rows}", "inputs: {rows: first.other}", 11, "no output 'other'"),
        ("inputs: {rows: first.rows}", "inputs: {rows: third.rows}", 11, "no earlier step"),
        ("inputs: {rows: first.rows}", "inputs: {rows: rows}", 11, "neither data:NAME:VERSION"),
        ("inputs: {rows: first.rows}", "inputs: {}", 10, "{inputs.rows} is not known here"),
        ("package.second {inputs.rows}", "package.second", 10, "does not use {inputs.rows}"),
        ("--out {outputs.rows}", "", 5, "does not use {outputs.rows}"),
        ("{inputs.raw}", "{inputs.raw} {secret}", 5, "braces hold"),
        ("{parameters.version}", "{parameters.date}", 6, "{parameters.date} is not known"),
        ("python -m package.second", "bash second.sh", 10, "begins with `python -m"),
        ("name: second", "name: first", 9, "a second step is called first"),
        ("name: second", "name: sec ond", 9, "match pattern"),
        ("steps:", "steps: [", 4, "not YAML"),
        ('--tag "a b', "--tag 'a b", 5, "not a command"),
    ],
)
def test_what_does_not_fit_is_refused_with_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, reason: str
) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(PipelineError) as caught:
        load_pipeline(path)
    assert reason in str(caught.value)
    assert f"{path}:{line}:" in str(caught.value)


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("first.rows", "third.rows").replace("--out {outputs.rows}", "")
    with pytest.raises(PipelineError) as caught:
        load_pipeline(write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["", "[]", "name: x\nsteps: []"])
def test_a_file_without_steps_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PipelineError):
        load_pipeline(write(tmp_path, text))


def test_an_unknown_parameter_or_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no parameter verion; it has: data, version"):
        load_pipeline(write(tmp_path, GOOD)).resolve({"verion": "1"})
    with pytest.raises(PipelineError, match="one of: .*training"):
        find_pipeline("trainin")
