"""Deployment jobs: approval, hooks, artifacts, canaries and the names of their outputs."""

from __future__ import annotations

import sys

import pytest

from tests.azure_pipelines_local.conftest import Project


def deployment(strategy: str, environment: str = "staging") -> str:
    """A pipeline of one deployment job; the strategy is indented by eight."""
    return f"""
    variables: {{place: staging}}
    jobs:
    - deployment: D
      environment: {environment}
      strategy:
        {strategy.strip()}
    """


ALL_HOOKS = """runOnce:
          preDeploy: {steps: [{bash: echo before}]}
          deploy: {steps: [{bash: echo deploy to $(Environment.Name); exit $(code)}]}
          routeTraffic: {steps: [{bash: echo route}]}
          postRouteTraffic: {steps: [{bash: echo watch}]}
          on:
            failure: {steps: [{bash: echo roll back}]}
            success: {steps: [{bash: echo tell everybody}]}"""


def test_hooks_run_in_order_and_end_with_success(project: Project) -> None:
    outcome = project.run(deployment(ALL_HOOKS), "--approve", "--set", "code=0")
    assert outcome.exit_code == 0, outcome.output
    said = [line for line in outcome.lines() if line in HOOK_LINES]
    assert said == ["before", "deploy to staging", "route", "watch", "tell everybody"]
    assert "approved by --approve: environment staging" in outcome.output


HOOK_LINES = {"before", "deploy to staging", "route", "watch", "tell everybody", "roll back"}


def test_a_failing_hook_ends_with_failure(project: Project) -> None:
    outcome = project.run(deployment(ALL_HOOKS), "--approve", "--set", "code=1")
    assert outcome.exit_code == 1
    assert outcome.jobs == {"D": "Failed"}
    said = [line for line in outcome.lines() if line in HOOK_LINES]
    assert said == ["before", "deploy to staging", "roll back"]


def test_without_a_terminal_nothing_is_deployed_unapproved(project: Project) -> None:
    outcome = project.run(deployment(ALL_HOOKS), "--set", "code=0")
    assert outcome.exit_code == 1
    assert "environment staging needs approval: there is no terminal to ask on" in outcome.output
    assert "before" not in outcome.lines()
    assert outcome.jobs == {"D": "Skipped"}


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("no", 1), ("", 1)])
def test_the_terminal_is_asked(
    project: Project, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    asked: list[str] = []

    def reply(prompt: str) -> str:
        asked.append(prompt)
        return answer

    monkeypatch.setattr("builtins.input", reply)
    monkeypatch.setattr("azure_pipelines_local.approval.sys", _Terminal())
    outcome = project.run(deployment(ALL_HOOKS, "$(place)"), "--set", "code=0")
    assert outcome.exit_code == code, outcome.output
    assert asked == ["approve environment staging? [y/N] "]


class _Terminal:
    class stdin:
        @staticmethod
        def isatty() -> bool:
            return True


def test_deploy_gets_the_artifacts_and_no_sources(project: Project) -> None:
    assert sys.platform != "win32"
    text = """
        stages:
        - stage: Build
          jobs:
          - job: build
            steps:
            - bash: mkdir out && echo 1 > out/model.txt
            - publish: out
              artifact: model
        - stage: Deploy
          jobs:
          - deployment: D
            environment: staging
            strategy:
              runOnce:
                deploy:
                  steps:
                  - bash: |
                      ls "$(Build.SourcesDirectory)" | wc -l | tr -d ' '
                      cat "$(Pipeline.Workspace)/model/model.txt" || echo no artifact
        """
    outcome = project.run(text, "--approve")
    assert {"0", "1"} <= set(outcome.lines())
    without = project.run(
        text.replace(
            "                  - bash: |",
            "                  - download: none\n                  - bash: |",
        ),
        "--approve",
    )
    assert "no artifact" in without.lines()


CANARY = """
    jobs:
    - deployment: D
      environment: production
      strategy:
        canary:
          increments: [10, 50]
          preDeploy: {steps: [{bash: echo prepare}]}
          deploy:
            steps:
            - bash: |
                echo "deploy $(strategy.increment) by $(strategy.name)"
                echo "##vso[task.setvariable variable=at;isOutput=true]$(strategy.increment)"
              name: set
          postRouteTraffic: {steps: [{bash: "echo watch $(strategy.increment); test $(strategy.increment) != $(bad)"}]}
          on:
            failure: {steps: [{bash: "echo back, $(strategy.action)"}]}
            success: {steps: [{bash: "echo done, $(strategy.action)"}]}
    - job: after
      dependsOn: D
      condition: always()
      variables:
        first: $[ dependencies.D.outputs['deploy_10.set.at'] ]
        second: $[ dependencies.D.outputs['deploy_50.set.at'] ]
      steps:
      - checkout: none
      - bash: echo "outputs [$(first)] [$(second)]"
    """


def test_a_canary_goes_through_its_increments(project: Project) -> None:
    outcome = project.run(CANARY, "--approve", "--set", "bad=0")
    said = [line for line in outcome.lines() if line.split()[0:1] and line.split()[0] in
            ("prepare", "deploy", "watch", "done,", "back,", "outputs")]  # fmt: skip
    assert said == [
        "prepare",
        "deploy 10 by canary",
        "watch 10",
        "deploy 50 by canary",
        "watch 50",
        "done, promote",
        "outputs [10] [50]",
    ]


def test_a_canary_stops_at_the_increment_that_fails(project: Project) -> None:
    outcome = project.run(CANARY, "--approve", "--set", "bad=10")
    assert outcome.exit_code == 1
    assert "deploy 50 by canary" not in outcome.lines()
    assert "back, reject" in outcome.lines()
    assert "outputs [10] []" in outcome.lines()


@pytest.mark.parametrize(
    ("environment", "key"),
    [("e", "D.set.x"), ("e.vm1", "D.set.x"), ("e.vm1", "Deploy_vm1.set.x")],
)
def test_outputs_of_run_once(project: Project, environment: str, key: str) -> None:
    outcome = project.run(
        f"""
        stages:
        - stage: S
          jobs:
          - deployment: D
            environment: {environment}
            strategy:
              runOnce:
                deploy:
                  steps:
                  - bash: echo "##vso[task.setvariable variable=x;isOutput=true]value"
                    name: set
          - job: use
            dependsOn: D
            variables:
              x: $[ dependencies.D.outputs['{key}'] ]
            steps:
            - checkout: none
            - bash: echo "job $(x)"
        - stage: T
          condition: eq(dependencies.S.outputs['D.{key}'], 'value')
          jobs:
          - job: J
            variables:
              x: $[ stageDependencies.S.D.outputs['{key}'] ]
            steps:
            - checkout: none
            - bash: echo "stage $(x)"
        """,
        "--approve",
    )
    assert {"job value", "stage value"} <= set(outcome.lines()), outcome.output


def test_a_validation_waits_for_approval(project: Project) -> None:
    text = """
        jobs:
        - job: wait
          pool: server
          steps:
          - task: ManualValidation@0
            inputs: {instructions: please look}
          - task: Delay@1
            inputs: {delayForMinutes: '0.001'}
        """
    assert project.run(text, "--approve").exit_code == 0
    refused = project.run(text)
    assert refused.exit_code == 1
    assert "please look" in refused.lines()
    assert "this validation needs approval" in refused.output
