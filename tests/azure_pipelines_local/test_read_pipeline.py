"""What an expanded pipeline may hold; every problem is found with its line."""

from __future__ import annotations

import pytest

from tests.azure_pipelines_local.conftest import Project

RUN_ONCE = "jobs:\n- deployment: a\n  environment: e\n  strategy: "
CASES = [
    ("steps:\n- scrip: x\n", 2, "this step is none of: task, script, bash"),
    ("steps:\n- script: x\n  bash: y\n", 2, "this step is both script and bash"),
    ("steps:\n- script: x\n  displayname: y\n", 3, "a script step has no key 'displayname'"),
    ("steps:\n- task: Nope@1\n", 2, "the task 'Nope@1' is not known here; there is: AzureCLI@1"),
    ("steps:\n- task: Checkout@1\n", 2, "the task 'Checkout@1' is not known here"),
    ("steps:\n- task: Bash@2\n", 2, "not known here in this version; there is: Bash@3"),
    ("steps:\n- task: Bash@3\n  inputs: {scrip: x}\n", 3, "Bash@3 has no input 'scrip'; it has: arguments"),
    ("steps:\n- task: Bash@3\n", 2, "Bash@3 needs the input script or filePath"),
    ("steps:\n- task: Cache@2\n  inputs: {key: a}\n", 2, "Cache@2 needs the input path"),
    ("steps:\n- script: x\n  name: a b\n", 3, "a step's name holds letters, digits and _"),
    ("steps:\n- {script: x, name: a}\n- {script: y, name: A}\n", 3, "a second step is called 'A'"),
    ("steps:\n- script: x\n  condition: succeded()\n", 3, "there is no function 'succeded' here"),
    ("steps:\n- script: x\n  condition: eq(dependencies.a.result, 1)\n", 3, "'dependencies' is not known here"),
    ("steps:\n- script: x\n  enabled: maybe\n", 3, "enabled is true or false, not 'maybe'"),
    ("steps:\n- script: x\n  timeoutInMinutes: soon\n", 3, "timeoutInMinutes is a number, not 'soon'"),
    ("steps:\n- upload: x\n", 2, "upload steps need Azure DevOps"),
    ("steps: text\n", 1, "steps is a list"),
    ("stepz:\n- script: x\n", 1, "a pipeline has no key 'stepz'"),
    ("name: x\n", 1, "a pipeline has stages, jobs or steps, and it has none of them"),
    ("steps: []\njobs: []\n", 1, "a pipeline has stages, jobs or steps, not jobs and steps"),
    ("jobs:\n- jab: x\n", 2, "a job begins with job, deployment or template"),
    ("jobs:\n- job: a b\n", 2, "a job's name holds letters, digits and _, not 'a b'"),
    ("jobs:\n- {job: a}\n- {job: A}\n", 3, "a second job is called 'A'"),
    ("jobs:\n- job: a\n  dependsOn: b\n", 2, "job a depends on 'b', which does not exist; there is: none"),
    ("jobs:\n- {job: a, dependsOn: b}\n- {job: b, dependsOn: a}\n", 2, "in a circle, so these can never start: a, b"),
    ("stages:\n- stage: A\n  dependsOn: [A]\n", 2, "in a circle, so these can never start: A"),
    ("stages:\n- stage: A\n  dependsOn: B\n", 2, "stage A depends on 'B', which does not exist"),
    ("stages:\n- stage: A\n  job: []\n", 3, "a stage has no key 'job'"),
    ("jobs:\n- deployment: a\n  environment: e\n", 2, "a deployment job has one strategy"),
    ("jobs:\n- deployment: a\n  strategy: {runOnce: {deploy: {steps: []}}}\n", 2, "needs an environment"),
    (RUN_ONCE + "{runOnce: {preDeploy: {steps: []}}}\n", 4, "runOnce needs deploy"),
    (RUN_ONCE + "{runOnce: {deploi: {}}}\n", 4, "runOnce has no key 'deploi'"),
    (RUN_ONCE + "{canary: {increments: [a], deploy: {}}}\n", 4, "increments are whole percentages"),
    (RUN_ONCE.replace("e\n", "{resourceName: r}\n", 1) + "{runOnce: {deploy: {}}}\n", 3, "an environment needs a name"),
    ("jobs:\n- job: a\n  strategy: {matrix: text}\n", 3, "a matrix is a mapping of legs"),
    ("jobs:\n- job: a\n  strategy: {matrix: {a b: {x: y}}}\n", 3, "a leg's name holds letters"),
    ("jobs:\n- job: a\n  pool: server\n  steps: [{script: x}]\n", 4, "CmdLine@2 needs an agent"),
    ("variables: [{value: x}]\nsteps: []\n", 1, "a variable needs a name, or a group"),
    ("variables: [{name: a, group: b}]\nsteps: []\n", 1, "it is a group, not both"),
    ("variables:\n  a: [1]\nsteps: []\n", 2, "variable a is a single value"),
    ("variables:\n  a: $[nope()]\nsteps: []\n", 2, "there is no function 'nope' here"),
    ("variables:\n  a: $[succeeded()]\nsteps: []\n", 2, "there is no function 'succeeded' here"),
    ("steps:\n- script: x\n  condition: eq(counter('a', 1), 1)\n", 3, "there is no function 'counter' here"),
    ("resources: {pipelines: [{pipeline: a}]}\nsteps: []\n", 1, "needs pipeline (an alias) and source"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), CASES, ids=[case[2][:40] for case in CASES])
def test_what_does_not_fit_is_refused(project: Project, text: str, line: int, message: str) -> None:
    outcome = project.check(text)
    assert outcome.exit_code == 1
    found = [shown for shown in outcome.lines() if message in shown]
    assert found, outcome.output
    assert found[0].startswith(f"pipeline.yml:{line}: ")


def test_all_problems_are_shown_at_once_in_order(project: Project) -> None:
    outcome = project.run("jobs:\n- job: a b\n- job: c\n  dependsOn: d\n  steps:\n  - tasc: x\n")
    assert outcome.exit_code == 2
    assert outcome.folder is None
    starts = [line.split(": ")[1] for line in outcome.lines() if line.startswith("error: ")]
    assert starts == ["pipeline.yml:2", "pipeline.yml:3", "pipeline.yml:6"]


def test_a_pipeline_with_everything_fits(project: Project) -> None:
    outcome = project.check(
        """
        name: $(Date:yyyyMMdd)$(Rev:.r)
        trigger: {branches: {include: [main]}}
        pr: none
        schedules: [{cron: '0 0 * * *'}]
        pool: {vmImage: ubuntu-latest}
        stages:
        - stage: A
          displayName: first
          jobs:
          - job: a
            container: some-image
            timeoutInMinutes: 10
            cancelTimeoutInMinutes: 1
            continueOnError: true
            strategy: {matrix: {x: {v: '1'}}, maxParallel: 2}
            steps:
            - checkout: self
              fetchDepth: 1
            - pwsh: Write-Host hello
            - publish: $(Build.ArtifactStagingDirectory)
              artifact: drop
            - download: current
              artifact: drop
          - job: wait
            pool: server
            steps:
            - task: ManualValidation@0
              inputs: {instructions: look}
        - stage: B
          dependsOn: A
          jobs:
          - deployment: d
            environment: {name: e, resourceName: r, resourceType: virtualMachine}
            strategy:
              rolling: {maxParallel: 2, deploy: {steps: [{download: none}]}}
        """
    )
    assert outcome.output.endswith("pipeline.yml: ok\n"), outcome.output
    assert outcome.exit_code == 0


MARKETPLACE = """
    jobs:
    - job: a
      pool: server
      steps:
      - task: some.market.Place@4
        inputs: {anything: x}
    """


def test_a_task_that_is_not_known_can_be_passed_over(project: Project) -> None:
    assert project.check(MARKETPLACE).exit_code == 1
    assert "`--simulate some.market.Place@4` passes it over" in project.check(MARKETPLACE).output
    assert project.check(MARKETPLACE, "--simulate", "Some.Market.Place@4").exit_code == 0
    outcome = project.run(MARKETPLACE, "--simulate", "some.market.Place@4")
    assert outcome.exit_code == 0
    assert "some.market.Place@4 is simulated: it did nothing" in outcome.output


def test_a_container_is_named_and_not_used(project: Project) -> None:
    outcome = project.run("jobs:\n- job: a\n  container: ml\n  steps: [{bash: 'true'}]\n")
    assert outcome.exit_code == 0
    assert "container ml is not used: steps run on this machine" in outcome.output
