"""Conditions, dependencies and output variables of stages, jobs and steps, by running pipelines."""

from __future__ import annotations

import pytest

from tests.azure_pipelines_local.conftest import Project


def job(name: str, *, script: str = "true", more: str = "") -> str:
    """A job of one step, without a checkout."""
    return f"- job: {name}\n  {more}\n  steps:\n  - checkout: none\n  - bash: {script}\n"


def test_steps_after_a_failure(project: Project) -> None:
    outcome = project.run(
        """
        steps:
        - {bash: 'true', displayName: before}
        - {bash: exit 3, displayName: fails}
        - {bash: 'true', displayName: default}
        - {bash: 'true', displayName: succeeded, condition: succeeded()}
        - {bash: 'true', displayName: failed, condition: failed()}
        - {bash: 'true', displayName: always, condition: always()}
        - {bash: 'true', displayName: either, condition: succeededOrFailed()}
        - {bash: 'true', displayName: canceled, condition: canceled()}
        - {bash: 'true', displayName: own, condition: "eq(variables['Agent.JobStatus'], 'Failed')"}
        - {bash: 'true', displayName: off, condition: always(), enabled: false}
        """
    )
    assert outcome.exit_code == 1
    assert outcome.steps == {
        "before": "Succeeded",
        "fails": "Failed",
        "default": "Skipped",
        "succeeded": "Skipped",
        "failed": "Succeeded",
        "always": "Succeeded",
        "either": "Succeeded",
        "canceled": "Skipped",
        "own": "Succeeded",
        "off": "Skipped",
    }
    assert "step fails: FAILED" in outcome.output
    assert "exit code 3" in outcome.output
    assert "step default: skipped - an earlier step failed" in outcome.output
    assert "step canceled: skipped - condition is false: canceled()" in outcome.output


def test_continue_on_error_makes_a_run_succeed_with_issues(project: Project) -> None:
    outcome = project.run(
        """
        steps:
        - {bash: exit 1, displayName: fails, continueOnError: true}
        - {bash: 'true', displayName: next}
        """
    )
    assert outcome.exit_code == 0
    assert outcome.steps == {"fails": "SucceededWithIssues", "next": "Succeeded"}
    assert outcome.summary["result"] == "SucceededWithIssues"


def test_retries_stop_at_the_first_success(project: Project) -> None:
    counter = project.folder / "count"
    script = f"echo x >> '{counter}'; test $(wc -l < '{counter}') -ge 3"
    outcome = project.run(
        f'steps:\n- bash: "{script}"\n  displayName: third\n  retryCountOnTaskFailure: 5\n'
    )
    assert outcome.exit_code == 0
    assert counter.read_text() == "x\n" * 3
    assert outcome.lines().count("##[warning]try 2: it failed before") == 1


JOBS_AFTER = [
    ("Succeeded", "", "Succeeded"),
    ("Failed", "", "Skipped"),
    ("Skipped", "", "Skipped"),
    ("Failed", "succeeded()", "Skipped"),
    ("Failed", "failed()", "Succeeded"),
    ("Skipped", "failed()", "Skipped"),
    ("Failed", "failed('first')", "Succeeded"),
    ("Failed", "succeeded('first')", "Skipped"),
    ("Failed", "succeededOrFailed()", "Succeeded"),
    ("Skipped", "succeededOrFailed()", "Skipped"),
    ("Skipped", "not(canceled())", "Succeeded"),
    ("Failed", "always()", "Succeeded"),
    ("Skipped", "not(failed())", "Succeeded"),
    ("Failed", "eq(dependencies.first.result, 'Failed')", "Succeeded"),
    ("Skipped", "in(dependencies.first.result, 'Succeeded', 'Skipped')", "Succeeded"),
    ("Succeeded", "in(dependencies['first']['result'], 'Failed')", "Skipped"),
    ("Failed", "true", "Succeeded"),
]


@pytest.mark.parametrize(("first", "condition", "expected"), JOBS_AFTER)
def test_a_job_after_another(project: Project, first: str, condition: str, expected: str) -> None:
    script = "exit 1" if first == "Failed" else "'true'"
    own = "condition: false" if first == "Skipped" else "displayName: first"
    line = f'condition: "{condition}"' if condition else "displayName: next"
    jobs = job("first", script=script, more=own)
    outcome = project.run(
        f"jobs:\n{jobs}{job('next', more=f'{line}' + chr(10) + '  dependsOn: first')}"
    )
    assert outcome.jobs == {"first": first, "next": expected}
    assert outcome.exit_code == (1 if first == "Failed" else 0)


def test_dependencies_count_through_others(project: Project) -> None:
    """A fails, B runs nevertheless and succeeds; C waits for B alone and yet does not run."""
    outcome = project.run(
        "jobs:\n"
        + job("A", script="exit 1")
        + job("B", more="dependsOn: A\n  condition: always()")
        + job("C", more="dependsOn: B")
        + job("D", more="dependsOn: B\n  condition: succeeded('B')")
    )
    assert outcome.jobs == {"A": "Failed", "B": "Succeeded", "C": "Skipped", "D": "Succeeded"}
    assert "job C: skipped - not everything before it succeeded (a: Failed)" in outcome.output


def test_jobs_run_in_the_order_of_what_they_depend_on(project: Project) -> None:
    outcome = project.run(
        "jobs:\n"
        + job("last", more="dependsOn: [one, two]")
        + job("two", more="dependsOn: one")
        + job("one")
    )
    assert list(outcome.jobs) == ["one", "two", "last"]


def test_stages_wait_for_the_one_before_unless_they_say_otherwise(project: Project) -> None:
    def stage(name: str, script: str = "'true'", more: str = "displayName: x") -> str:
        body = job("j", script=script).replace("\n", "\n  ")
        return f"- stage: {name}\n  {more}\n  jobs:\n  {body.rstrip()}\n"

    outcome = project.run(
        "stages:\n"
        + stage("A", script="exit 1")
        + stage("B")
        + stage("C", more="dependsOn: []")
        + stage("D", more="dependsOn: [A, C]\n  condition: failed()")
        + stage("E", more="dependsOn: B\n  condition: in(dependencies.B.result, 'Skipped')")
        + stage("F", more="dependsOn: A\n  condition: eq(dependencies.A.result, 'Succeeded')")
    )
    assert outcome.stages == {
        "A": "Failed",
        "B": "Skipped",
        "C": "Succeeded",
        "D": "Succeeded",
        "E": "Succeeded",
        "F": "Skipped",
    }


def test_a_failing_job_that_may_fail(project: Project) -> None:
    outcome = project.run(
        "jobs:\n"
        + job("A", script="exit 1", more="continueOnError: true")
        + job("B", more="dependsOn: A")
    )
    assert outcome.exit_code == 0
    assert outcome.jobs == {"A": "SucceededWithIssues", "B": "Succeeded"}


OUTPUTS = """
    stages:
    - stage: Build
      jobs:
      - job: make
        steps:
        - checkout: none
        - bash: echo "##vso[task.setvariable variable=version;isOutput=true]7"
          name: set
        - bash: echo "same job $(set.version) $SET_VERSION"
      - job: skipped
        condition: false
        steps:
        - bash: echo "##vso[task.setvariable variable=x;isOutput=true]1"
          name: never
      - job: use
        dependsOn: [make, skipped]
        condition: and(not(failed()), eq(dependencies.make.outputs['set.version'], '7'))
        variables:
          version: $[ dependencies.make.outputs['set.version'] ]
          empty: $[ dependencies.skipped.outputs['never.x'] ]
          ofSkipped: $[ dependencies.skipped.result ]
        steps:
        - checkout: none
        - bash: echo "next job [$(version)] [$(empty)] [$(ofSkipped)]"
    - stage: Deploy
      condition: and(not(failed()), eq(dependencies.Build.outputs['make.set.version'], 7))
      variables:
        version: $[ stageDependencies.Build.make.outputs['set.version'] ]
      jobs:
      - job: deploy
        variables:
          result: $[ stageDependencies.Build.skipped.result ]
        steps:
        - checkout: none
        - bash: echo "next stage [$(version)] [$(result)]"
      - job: no
        condition: ne(stageDependencies.Build.make.outputs['set.version'], '7')
        steps:
        - bash: exit 1
    """


def test_outputs_go_to_later_steps_jobs_and_stages(project: Project) -> None:
    assert project.check(OUTPUTS).exit_code == 0
    outcome = project.run(OUTPUTS)
    assert outcome.exit_code == 0
    assert "same job 7 7" in outcome.lines()
    assert "next job [7] [] [Skipped]" in outcome.lines()
    assert "next stage [7] [Skipped]" in outcome.lines()
    assert outcome.jobs["no"] == "Skipped"
    make = outcome.summary["stages"][0]["jobs"][0]
    assert make["outputs"] == {"set.version": "7"}


def test_an_output_needs_a_step_with_a_name(project: Project) -> None:
    outcome = project.run(
        'steps:\n- bash: echo "##vso[task.setvariable variable=x;isOutput=true]1"\n'
    )
    assert "only a step with a name has outputs" in outcome.output


def test_legs_of_a_matrix_have_variables_and_outputs(project: Project) -> None:
    outcome = project.run(
        """
        jobs:
        - job: test
          strategy:
            matrix:
              linux: {image: ubuntu, code: '0'}
              mac: {image: macos, code: '1'}
          steps:
          - checkout: none
          - bash: echo "##vso[task.setvariable variable=seen;isOutput=true]$(image) $(System.JobName)"
            name: set
          - bash: exit $(code)
        - job: after
          dependsOn: test
          condition: always()
          variables:
            mac: $[ dependencies.test.outputs['mac.set.seen'] ]
          steps:
          - checkout: none
          - bash: echo "got $(mac)"
        """
    )
    assert outcome.jobs == {"test": "Failed", "after": "Succeeded"}
    assert "got macos mac" in outcome.lines()
    shown = [step["display_name"] for step in outcome.summary["stages"][0]["jobs"][0]["steps"]]
    assert "linux: exit 0" in shown and "mac: exit 1" in shown


def test_a_matrix_can_be_computed_by_a_job(project: Project) -> None:
    text = """
        jobs:
        - job: plan
          steps:
          - checkout: none
          - bash: |
              echo '##vso[task.setvariable variable=legs;isOutput=true]{"a": {"v": "1"}, "b": {"v": "2"}}'
            name: set
        - job: run
          dependsOn: plan
          strategy:
            matrix: $[ dependencies.plan.outputs['set.legs'] ]
          steps:
          - checkout: none
          - bash: echo "v is $(v)"
        """
    outcome = project.run(text)
    assert outcome.exit_code == 0
    assert {"v is 1", "v is 2"} <= set(outcome.lines())
    broken = project.run(text.replace('{"a": {"v": "1"}, "b": {"v": "2"}}', "no json"))
    assert broken.exit_code == 1
    assert "the matrix is not JSON" in broken.output


def test_a_condition_that_cannot_be_evaluated_fails_its_job(project: Project) -> None:
    outcome = project.run(
        "jobs:\n" + job("A", more="condition: gt(1, variables['x.y'])\n  displayName: a")
    )
    assert outcome.exit_code == 0
    outcome = project.run("jobs:\n" + job("A", more="condition: gt(1, 'x')"))
    assert outcome.exit_code == 1
    assert "'x' is not a number" in outcome.output
    assert "pipeline.yml:3" in outcome.output


@pytest.mark.parametrize(
    ("commands", "result"),
    [
        ("##vso[task.complete result=SucceededWithIssues;]done", "SucceededWithIssues"),
        ("##vso[task.complete result=Failed;]", "Failed"),
        ("##vso[task.complete]", "Succeeded"),
        ("##vso[task.logissue type=error]only said", "Succeeded"),
    ],
)
def test_a_step_can_say_how_it_ended(project: Project, commands: str, result: str) -> None:
    outcome = project.run(f"steps:\n- bash: echo '{commands}'\n  displayName: says\n")
    assert outcome.steps == {"says": result}
