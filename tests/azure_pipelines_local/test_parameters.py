"""Typed parameters: of a pipeline from the command line, of a template from whoever includes it."""

from __future__ import annotations

import pytest

from tests.azure_pipelines_local.conftest import Project

TEMPLATE = """
    parameters:
    - name: required
      type: string
    - name: flag
      type: boolean
      default: false
    - name: count
      type: number
      default: 3
    - name: size
      type: string
      default: small
      values: [small, large]
    - name: extra
      type: stepList
      default: []
    - name: one
      type: step
      default: {script: one}
    - name: anything
      type: object
      default: {}
    steps:
    - script: echo ${{ parameters.required }} ${{ parameters.flag }} ${{ parameters.count }} ${{ parameters.size }}
    """


def including(parameters: str) -> str:
    return f"steps:\n- template: t.yml\n  parameters: {parameters}\n"


def test_values_and_defaults(project: Project) -> None:
    project.write("t.yml", TEMPLATE)
    project.write(
        "pipeline.yml", including("{required: a, FLAG: 'TRUE', count: '4.5', size: large}")
    )
    outcome = project.command("expand", "pipeline.yml")
    assert "echo a True 4.5 large" in outcome.output


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("{}", "pipeline.yml:2: t.yml needs the parameter 'required', which has no default"),
        (
            "{required: a, nosuch: b}",
            "pipeline.yml:3: t.yml has no parameter 'nosuch'; it has: required",
        ),
        ("{required: [a]}", "parameter 'required' of t.yml is a string, not a list"),
        ("{required: a, flag: apples}", "parameter 'flag' of t.yml is a boolean, not 'apples'"),
        ("{required: a, count: three}", "parameter 'count' of t.yml is a number, not 'three'"),
        ("{required: a, count: ''}", "parameter 'count' of t.yml is a number, not ''"),
        (
            "{required: a, size: huge}",
            "parameter 'size' of t.yml is one of: small, large; not 'huge'",
        ),
        (
            "{required: a, extra: {script: x}}",
            "parameter 'extra' of t.yml is a stepList, not a mapping",
        ),
        ("{required: a, one: [x]}", "parameter 'one' of t.yml is a step, not a list"),
        ("[required]", "the parameters of a template are a mapping"),
    ],
)
def test_what_does_not_fit_is_refused(project: Project, parameters: str, message: str) -> None:
    project.write("t.yml", TEMPLATE)
    project.write("pipeline.yml", including(parameters))
    outcome = project.command("expand", "pipeline.yml")
    assert outcome.exit_code == 2
    assert message in outcome.output


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("[{name: a, type: text}]", "parameter a has the unknown type 'text'"),
        ("[{type: string}]", "a parameter needs a name"),
        ("[{name: a, typ: string}]", "a parameter has no 'typ'"),
        ("[a]", "a parameter is a mapping"),
        ("text", "parameters is a list of name, type and default"),
        ("[{name: a, values: b}]", "the values of parameter a are a list"),
    ],
)
def test_a_wrong_declaration_is_refused(project: Project, declaration: str, message: str) -> None:
    project.write("pipeline.yml", f"parameters: {declaration}\nsteps: []\n")
    outcome = project.command("expand", "pipeline.yml")
    assert outcome.exit_code == 2
    assert "pipeline.yml:1: " in outcome.output
    assert message in outcome.output


def test_the_command_line_gives_parameters_of_every_type(project: Project) -> None:
    text = """
        parameters:
        - {name: text, type: string}
        - {name: flag, type: boolean, default: false}
        - {name: places, type: object, default: []}
        steps:
        - ${{ each place in parameters.places }}:
          - script: echo ${{ parameters.text }} ${{ parameters.flag }} ${{ place }}
        """
    project.write("pipeline.yml", text)
    options = (
        "--parameter",
        "text=[x]",
        "--parameter",
        "flag=true",
        "--parameter",
        "places=[a, b]",
    )
    outcome = project.command("expand", "pipeline.yml", *options)
    assert "echo [x] True a" in outcome.output
    assert "echo [x] True b" in outcome.output
    missing = project.command("expand", "pipeline.yml")
    assert missing.exit_code == 2
    assert "pipeline.yml needs the parameter 'text'" in missing.output
    wrong = project.command("expand", "pipeline.yml", "--parameter", "text=a", "--parameter", "b=c")
    assert "has no parameter 'b'" in wrong.output


def test_the_older_form_without_types_takes_anything(project: Project) -> None:
    project.write("t.yml", "parameters: {a: x, b: []}\nsteps:\n- script: ${{ parameters.a }}\n")
    project.write(
        "pipeline.yml", "steps:\n- template: t.yml\n  parameters: {b: {c: d}, a: given}\n"
    )
    assert "script: given" in project.command("expand", "pipeline.yml").output


def test_values_in_objects_are_text_as_in_azure(project: Project) -> None:
    text = """
        parameters:
        - {name: app, type: object, default: {enabled: false, version: 3.10}}
        steps:
        - ${{ if parameters.app.enabled }}:
          - script: not empty, so true
        - ${{ if eq(parameters.app.enabled, true) }}:
          - script: equal to true
        - script: ${{ parameters.app.version }}
        """
    project.write("pipeline.yml", text)
    output = project.command("expand", "pipeline.yml").output
    assert "not empty, so true" in output
    assert "equal to true" not in output
    assert "'3.10'" in output
