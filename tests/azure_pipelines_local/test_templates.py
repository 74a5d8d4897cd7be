"""Expansion of templates, parameters and ``${{ }}``."""

from __future__ import annotations

from typing import Any

import pytest

from azure_pipelines_local.errors import PipelineError
from azure_pipelines_local.functions import plain
from azure_pipelines_local.templates import expand
from tests.azure_pipelines_local.conftest import Project


def expanded(project: Project, text: str, **parameters: str) -> Any:
    file = project.write("pipeline.yml", text)
    return plain(expand(file, project.folder, parameters, {"Build.Reason": "Manual"}).root)


def refused(project: Project, text: str, **parameters: str) -> str:
    with pytest.raises(PipelineError) as caught:
        expanded(project, text, **parameters)
    return str(caught.value)


def test_if_elseif_else_in_lists(project: Project) -> None:
    text = """
        parameters:
        - {name: foo, type: string, default: contoso}
        steps:
        - script: echo start
        - ${{ if eq(parameters.foo, 'adaptum') }}:
          - script: echo adaptum
        - ${{ elseif eq(parameters.foo, 'contoso') }}:
          - script: echo contoso
          - script: echo again
        - ${{ else }}:
          - script: echo neither
        """
    scripts = [step["script"] for step in expanded(project, text)["steps"]]
    assert scripts == ["echo start", "echo contoso", "echo again"]
    scripts = [step["script"] for step in expanded(project, text, foo="x")["steps"]]
    assert scripts == ["echo start", "echo neither"]


def test_if_else_in_mappings_and_values(project: Project) -> None:
    text = """
        parameters:
        - {name: main, type: boolean, default: true}
        steps:
        - task: PublishPipelineArtifact@1
          inputs:
            targetPath: x
            ${{ if parameters.main }}:
              artifact: prod
            ${{ else }}:
              artifact: dev
          displayName: is ${{ parameters.main }} and ${{ not(parameters.main) }}
        """
    assert expanded(project, text)["steps"][0]["inputs"] == {"targetPath": "x", "artifact": "prod"}
    step = expanded(project, text, main="false")["steps"][0]
    assert step["inputs"] == {"targetPath": "x", "artifact": "dev"}
    assert step["displayName"] == "is False and True"


def test_each_goes_through_lists_and_mappings(project: Project) -> None:
    text = """
        parameters:
        - name: fruits
          type: object
          default:
          - {name: apple, colors: [red, green]}
          - {name: lemon, colors: [yellow]}
        - name: env
          type: object
          default: {A: '1', B: '2'}
        steps:
        - ${{ each fruit in parameters.fruits }}:
          - ${{ each color in fruit.colors }}:
            - script: echo ${{ fruit.name }} ${{ color }}
              env:
                ${{ each pair in parameters.env }}:
                  X_${{ pair.key }}: ${{ pair.value }}
        """
    steps = expanded(project, text)["steps"]
    assert [step["script"] for step in steps] == [
        "echo apple red",
        "echo apple green",
        "echo lemon yellow",
    ]
    assert steps[0]["env"] == {"X_A": "1", "X_B": "2"}


def test_insert_and_lists_in_the_place_of_an_item(project: Project) -> None:
    text = """
        parameters:
        - {name: more, type: stepList, default: [{script: echo more}]}
        - {name: env, type: object, default: {A: b}}
        steps:
        - ${{ parameters.more }}
        - script: echo last
          env:
            C: d
            ${{ insert }}: ${{ parameters.env }}
        """
    assert expanded(project, text)["steps"] == [
        {"script": "echo more"},
        {"script": "echo last", "env": {"C": "d", "A": "b"}},
    ]


def test_templates_are_relative_to_their_file_and_to_the_root(project: Project) -> None:
    project.write("ci/steps/a.yml", "steps:\n- template: b.yml\n- template: /shared.yml\n")
    project.write("ci/steps/b.yml", "steps:\n- script: b\n")
    project.write("shared.yml", "steps:\n- script: shared\n")
    text = "steps:\n- template: ci/steps/a.yml\n- template: ci/steps/b.yml@self\n"
    scripts = [step["script"] for step in expanded(project, text)["steps"]]
    assert scripts == ["b", "shared", "b"]


def test_variables_come_from_templates_in_both_forms(project: Project) -> None:
    project.write("list.yml", "variables:\n- name: a\n  value: one\n- group: g\n")
    project.write(
        "map.yml",
        """
        parameters:
        - name: who
        variables:
          b: ${{ variables.a }} ${{ parameters.who }}
        """,
    )
    found = expanded(
        project,
        """
        variables:
        - template: list.yml
        - template: map.yml
          parameters: {who: two}
        - name: c
          value: ${{ variables.b }} ${{ variables['Build.Reason'] }}
        steps:
        - script: ${{ variables.c }}
        """,
    )
    assert found["variables"] == [
        {"name": "a", "value": "one"},
        {"group": "g"},
        {"name": "b", "value": "one two"},
        {"name": "c", "value": "one two Manual"},
    ]
    assert found["steps"] == [{"script": "one two Manual"}]


def test_variables_of_a_stage_are_known_in_it_alone(project: Project) -> None:
    found = expanded(
        project,
        """
        variables: {x: root}
        stages:
        - stage: A
          jobs: [{job: J, steps: [{script: "${{ variables.x }}"}]}]
          variables:
            ${{ if eq(variables.x, 'root') }}:
              x: stage
        - stage: B
          jobs: [{job: J, steps: [{script: "${{ variables.x }}"}]}]
        """,
    )
    scripts = [stage["jobs"][0]["steps"][0]["script"] for stage in found["stages"]]
    assert scripts == ["stage", "root"]


def test_jobs_and_stages_with_typed_parameters(project: Project) -> None:
    project.write(
        "stage.yml",
        """
        parameters:
        - {name: environments, type: object}
        - {name: smoke, type: boolean, default: true}
        - {name: extra, type: stepList, default: []}
        stages:
        - ${{ each environment in parameters.environments }}:
          - stage: Deploy_${{ environment }}
            jobs:
            - template: job.yml
              parameters:
                name: ${{ environment }}
                smoke: ${{ parameters.smoke }}
                steps: ${{ parameters.extra }}
        """,
    )
    project.write(
        "job.yml",
        """
        parameters:
        - {name: name, type: string}
        - {name: smoke, type: boolean}
        - {name: steps, type: stepList}
        jobs:
        - job: ${{ parameters.name }}
          steps:
          - script: deploy ${{ parameters.name }}
          - ${{ if parameters.smoke }}:
            - script: smoke
          - ${{ parameters.steps }}
        """,
    )
    project.write("extra.yml", "steps:\n- script: extra\n")
    found = expanded(
        project,
        """
        stages:
        - template: stage.yml
          parameters:
            environments: [staging, production]
            extra:
            - template: extra.yml
        """,
    )
    assert [stage["stage"] for stage in found["stages"]] == ["Deploy_staging", "Deploy_production"]
    steps = found["stages"][1]["jobs"][0]["steps"]
    assert [step["script"] for step in steps] == ["deploy production", "smoke", "extra"]


def test_extends_keeps_the_pipelines_own_and_checks_steps(project: Project) -> None:
    project.write(
        "start.yml",
        """
        parameters:
        - {name: buildSteps, type: stepList, default: []}
        variables:
        - {name: fromTemplate, value: x}
        resources:
          pipelines:
          - {pipeline: other, source: other}
        stages:
        - stage: secure
          jobs:
          - job: secure
            steps:
            - ${{ each step in parameters.buildSteps }}:
              - ${{ each pair in step }}:
                  ${{ if ne(pair.key, 'script') }}:
                    ${{ pair.key }}: ${{ pair.value }}
                  ${{ if eq(pair.key, 'script') }}:
                    '${{ pair.value }}': error
        """,
    )
    text = """
        name: my-$(Rev:r)
        variables: {own: y}
        resources:
          pipelines:
          - {pipeline: mine, source: mine}
        extends:
          template: start.yml
          parameters:
            buildSteps:
            - bash: echo fine
              displayName: succeed
            - script: echo bad
        """
    found = expanded(project, text)
    assert found["name"] == "my-$(Rev:r)"
    assert found["variables"] == [
        {"name": "own", "value": "y"},
        {"name": "fromTemplate", "value": "x"},
    ]
    assert [p["pipeline"] for p in found["resources"]["pipelines"]] == ["mine", "other"]
    assert found["stages"][0]["jobs"][0]["steps"] == [
        {"bash": "echo fine", "displayName": "succeed"},
        {"echo bad": "error"},
    ]


def test_a_circle_of_templates_is_refused_with_its_chain(project: Project) -> None:
    project.write("a.yml", "steps:\n- template: b.yml\n")
    project.write("b.yml", "steps:\n- script: x\n- template: a.yml\n")
    message = refused(project, "steps:\n- template: a.yml\n")
    assert "b.yml:3: templates include each other in a circle" in message
    assert "pipeline.yml -> a.yml -> b.yml -> a.yml" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps:\n- template: none.yml\n", "pipeline.yml:2: there is no template 'none.yml'"),
        ("steps:\n- template: x.yml@other\n", "pipeline.yml:2: the template 'x.yml@other' is in another"),
        ("steps:\n- template: vars.yml\n", "vars.yml has no steps, which are needed here"),
        ("variables:\n- template: both.yml\n", "both.yml:4: a template of variables holds"),
        ("steps:\n- template: vars.yml\n  when: x\n", "pipeline.yml:3: next to template there is only"),
        ("steps:\n- script: ${{ parameters.x\n", "pipeline.yml:2: an expression `${{` is not closed"),
        ("steps:\n- ${{ else }}:\n  - script: x\n", "pipeline.yml:2: `else` follows no `if`"),
        ("steps:\n- ${{ each x of y }}:\n  - script: x\n", "is not of the form"),
        ("steps:\n- ${{ each x in 'text' }}:\n  - script: x\n", "each goes through lists and mappings"),
        ("parameters: {l: [x]}\nsteps:\n- script: a ${{ parameters.l }}\n", "pipeline.yml:3: `parameters.l` is a list"),
        ("steps:\n- script: ${{ nothing.x }}\n", "'nothing' is not known here"),
        ("extends: {template: vars.yml}\n", "vars.yml has neither stages, jobs nor steps"),
        ("extends: {template: some.yml}\nsteps: []\n", "that extends a template has no steps"),
        ("steps:\n- script: a\n  ${{ if true }}:\n    script: b\n", "the key 'script' is given twice once"),
    ],
)  # fmt: skip
def test_what_does_not_expand_is_refused_with_its_place(
    project: Project, text: str, message: str
) -> None:
    project.write("vars.yml", "variables:\n  a: b\n")
    project.write("both.yml", "variables:\n  a: b\n\nsteps:\n- script: x\n")
    project.write("some.yml", "steps:\n- script: x\n")
    assert message in refused(project, text)
