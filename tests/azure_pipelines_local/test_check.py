"""What ``check`` finds besides what reading a pipeline finds."""

from __future__ import annotations

import pytest

from tests.azure_pipelines_local.conftest import Project

FINE = """
    variables:
    - name: own
      value: $(Build.BuildId)
    resources:
      pipelines:
      - {pipeline: ci, source: ci}
    stages:
    - stage: A
      variables: {ofStage: x}
      jobs:
      - job: J
        variables: {ofJob: x}
        strategy: {matrix: {leg: {ofLeg: x}}}
        steps:
        - bash: |
            echo "$(own) $(OFSTAGE) $(ofJob) $(ofLeg) $(queued) $(System.AccessToken) $(pwd) $(ls -l) $(date)"
            echo "##vso[task.setvariable variable=set]x"
            echo "##vso[task.setvariable variable=out;isOutput=true]x"
          name: first
        - bash: echo "$(set) $(first.out) $(resources.pipeline.ci.runID)"
        - bash: python -m tools.setting && ./deep/script.sh
          name: second
        - bash: echo "$(fromModule) $(fromScript) $(second.fromModule)"
        - bash: some-program
          name: third
        - bash: echo "$(third.whatever)"
        - task: Cache@2
          inputs: {key: a, path: b, cacheHitVar: HIT}
        - bash: echo $(HIT)
          displayName: hit $(HIT)
    """


def test_what_is_defined_somewhere_is_fine(project: Project) -> None:
    project.write("tools/setting.py", 'print("##vso[task.setvariable variable=fromModule]x")\n')
    project.write("deep/script.sh", 'echo "##vso[task.setvariable variable=fromScript]x"\n')
    outcome = project.check(FINE, "--set", "queued=1")
    assert outcome.output.endswith("pipeline.yml: ok\n"), outcome.output


@pytest.mark.parametrize(
    "step",
    [
        "- bash: echo $(nowhere)",
        "- bash: 'true'\n  displayName: a $(nowhere)",
        "- bash: 'true'\n  env: {A: $(nowhere)}",
        "- task: PublishTestResults@2\n  inputs: {searchFolder: $(nowhere)}",
        "- publish: $(nowhere)",
    ],
)
def test_an_undefined_variable_is_found(project: Project, step: str) -> None:
    outcome = project.check(f"variables: {{somewhere: x}}\nsteps:\n{step}\n")
    assert outcome.exit_code == 1
    assert outcome.output == "pipeline.yml:3: the variable $(nowhere) is defined nowhere\n"


def test_a_misspelt_predefined_variable_is_found(project: Project) -> None:
    outcome = project.check("steps:\n- bash: echo $(Build.SourceDirectory)\n")
    assert (
        "pipeline.yml:2: the variable $(Build.SourceDirectory) is defined nowhere" in outcome.output
    )


def test_variables_of_other_scopes_are_not_defined(project: Project) -> None:
    outcome = project.check(
        """
        stages:
        - stage: A
          variables: {a: x}
          jobs: [{job: J, variables: {j: x}, steps: [{bash: echo $(a) $(j)}]}]
        - stage: B
          jobs: [{job: J, steps: [{bash: echo $(a) $(j)}]}]
        """
    )
    found = [line.split(": ", 1)[1] for line in outcome.lines()]
    assert found == [f"the variable $({name}) is defined nowhere" for name in ("a", "j")]


def test_a_group_may_hold_anything_unless_a_file_says_what(project: Project) -> None:
    text = "variables:\n- group: g\nsteps:\n- bash: echo $(IN_GROUP) $(IN_GRUOP)\n"
    assert project.check(text).exit_code == 0
    project.write("values.yml", "g: {IN_GROUP: x}\n")
    outcome = project.check(text, "--variables", "values.yml")
    assert outcome.exit_code == 1
    assert outcome.output == "pipeline.yml:4: the variable $(IN_GRUOP) is defined nowhere\n"


def jobs(second: str) -> str:
    return f"""
        stages:
        - stage: S
          jobs:
          - job: A
            steps:
            - {{bash: 'true', name: set}}
          - job: L
            strategy: {{matrix: {{leg: {{a: b}}}}}}
            steps:
            - {{bash: 'true', name: set}}
          - deployment: D
            environment: e
            strategy: {{runOnce: {{deploy: {{steps: [{{bash: 'true', name: set}}]}}}}}}
        - stage: T
          {second}
          jobs:
          - job: A
            steps: [{{bash: 'true', name: own}}]
          - job: B
            dependsOn: A
            condition: EXPRESSION
            steps: [{{bash: 'true'}}]
        """


OF_JOBS = [
    ("eq(dependencies.A.outputs['own.x'], 1)", ""),
    ("eq(dependencies.A.result, 1)", ""),
    ("eq(dependencies.A.outputs['onw.x'], 1)", "job A has no step named 'onw'; named are: own"),
    ("eq(dependencies.A.outputs['x'], 1)", "an output of job A is STEP.VARIABLE, not 'x'"),
    ("eq(dependencies.C.result, 1)", "job B reads C, which is not in its dependsOn"),
    ("eq(stageDependencies.S.A.outputs['set.x'], 1)", ""),
    ("eq(stageDependencies.S.L.outputs['leg.set.x'], 1)", ""),
    ("eq(stageDependencies.S.D.outputs['D.set.x'], 1)", ""),
    ("eq(stageDependencies.S.D.outputs['set.x'], 1)", "an output of job D is JOB.STEP.VARIABLE, not 'set.x'"),
    ("eq(stageDependencies.S.L.outputs['set.x'], 1)", "an output of job L is LEG.STEP.VARIABLE, not 'set.x'"),
    ("eq(stageDependencies.S.X.result, 1)", "stage S has no job 'X'; it has: A, L, D"),
    ("eq(stageDependencies.U.X.result, 1)", "stage T reads U, which is not in its dependsOn"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "message"), OF_JOBS)
def test_what_a_job_reads_of_others(project: Project, expression: str, message: str) -> None:
    text = jobs("displayName: t").replace("EXPRESSION", expression)
    outcome = project.check(text)
    if not message:
        assert outcome.exit_code == 0, outcome.output
    else:
        assert outcome.exit_code == 1
        assert message in outcome.output
        assert "pipeline.yml:21: " in outcome.output


OF_STAGES = [
    ("eq(dependencies.S.result, 1)", ""),
    ("eq(dependencies.S.outputs['A.set.x'], 1)", ""),
    ("eq(dependencies.S.outputs['D.D.set.x'], 1)", ""),
    ("eq(dependencies.S.outputs['X.set.x'], 1)", "stage S has no job 'X'; it has: A, L, D"),
    ("eq(dependencies.S.outputs['A.tes.x'], 1)", "job A has no step named 'tes'"),
    ("eq(dependencies.U.result, 1)", "stage T reads U, which is not in its dependsOn"),
]


@pytest.mark.parametrize(("expression", "message"), OF_STAGES)
def test_what_a_stage_reads_of_others(project: Project, expression: str, message: str) -> None:
    text = jobs(f"condition: {expression}").replace("EXPRESSION", "always()")
    outcome = project.check(text)
    if not message:
        assert outcome.exit_code == 0, outcome.output
    else:
        assert outcome.exit_code == 1
        assert message in outcome.output


def test_several_files_and_missing_ones(project: Project) -> None:
    project.write("good.yml", "steps: [{bash: 'true'}]\n")
    project.write("bad.yml", "steps:\n- template: none.yml\n")
    outcome = project.command("check", "good.yml", "bad.yml", "nowhere.yml")
    assert outcome.exit_code == 1
    assert outcome.lines()[0] == "good.yml: ok"
    assert outcome.lines()[1].startswith("bad.yml:2: there is no template 'none.yml'")
    assert outcome.lines()[2] == "there is no file nowhere.yml"
