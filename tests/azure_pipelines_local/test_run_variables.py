"""Variables during a run: scopes, macros, expressions, groups, secrets, predefined ones."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import pytest

from tests.azure_pipelines_local.conftest import Outcome, Project


def everything_kept(outcome: Outcome) -> str:
    """All that is in the run's folder."""
    assert outcome.folder is not None
    files = (path for path in outcome.folder.rglob("*") if path.is_file())
    return "\n".join(path.read_text("utf-8", "replace") for path in files)


def test_inner_scopes_come_first(project: Project) -> None:
    outcome = project.run(
        """
        variables: {a: root, b: root, c: root}
        stages:
        - stage: S
          variables: {b: stage, c: stage}
          jobs:
          - job: J
            variables:
            - {name: c, value: job}
            - {name: d, value: "$(a)+$(c)"}
            steps:
            - checkout: none
            - bash: echo "[$(a) $(b) $(C) $(d)] $A $B $C [$D]"
          - job: K
            steps:
            - checkout: none
            - bash: echo "[$(a) $(b) $(c) $(d)]"
        """
    )
    assert "[root stage job root+job] root stage job [root+job]" in outcome.lines()
    # An unknown macro stays; here bash takes it for a command that does not exist.
    assert any("[root stage stage ]" in line for line in outcome.lines())


def test_unknown_macros_stay_and_circles_end(project: Project) -> None:
    outcome = project.run(
        """
        variables: {a: "$(b)", b: "$(a)"}
        steps:
        - checkout: none
        - bash: echo '$(nothing) $(a)'
        """
    )
    assert "$(nothing) $(a)" in outcome.lines()


def test_runtime_expressions_in_variables(project: Project) -> None:
    text = """
        variables:
          major: 2
          isMain: $[eq(variables['Build.SourceBranch'], 'refs/heads/main')]
          minor: $[counter(variables['major'], 100)]
          firstEval: $[lt(False, True)]
          text: $[format('{0}-{1}', variables.major, variables.missing)]
        jobs:
        - job: a
          steps:
          - checkout: none
          - bash: echo "$(isMain) $(minor) $(firstEval) $(text)"
        - job: b
          steps:
          - checkout: none
          - bash: echo "b $(minor)"
        """
    first = project.run(text, "--set", "Build.SourceBranch=refs/heads/main")
    assert "True 100 True 2-" in first.lines()
    assert "b 100" in first.lines()
    second = project.run(text)
    assert "False 101 True 2-" in second.lines()
    other = project.run(text.replace("major: 2", "major: 3"))
    assert "False 100 True 3-" in other.lines()


def test_setting_variables_reaches_later_steps_of_the_job_alone(project: Project) -> None:
    outcome = project.run(
        """
        variables:
        - {name: fixed, value: x, readonly: true}
        jobs:
        - job: a
          steps:
          - checkout: none
          - bash: |
              echo "##vso[task.setvariable variable=v]a%3Bb%AZP25c"
              echo "in the same step [$V]"
          - bash: echo "then [$V] [$(v)]"
          - bash: echo "##vso[task.setvariable variable=once;isReadOnly=true]1"
          - bash: echo "##vso[task.setvariable variable=once]2"
            displayName: changes once
            continueOnError: true
          - bash: echo "##vso[task.setvariable variable=fixed]2"
            displayName: changes fixed
        - job: b
          dependsOn: a
          condition: always()
          steps:
          - checkout: none
          - bash: echo "elsewhere [$V]"
        """
    )
    assert {"in the same step []", "then [a;b%c] [a;b%c]", "elsewhere []"} <= set(outcome.lines())
    assert outcome.steps["changes once"] == "SucceededWithIssues"
    assert outcome.steps["changes fixed"] == "Failed"
    assert "variable fixed is read-only" in outcome.output


def test_queue_time_variables_and_which_come_first(project: Project) -> None:
    text = """
        variables: {own: yaml}
        steps:
        - ${{ if eq(variables.mode, 'full') }}:
          - bash: echo "full $(mode) $(own)"
        """
    outcome = project.run(text, "--set", "mode=full", "--set", "own=queue")
    assert "full full yaml" in outcome.lines()
    assert "--set own changes nothing" in outcome.output
    assert "full" not in project.run(text).lines()


def test_groups_from_a_file(project: Project) -> None:
    project.write(
        "values.yml",
        """
        my-group:
          MODEL_NAME: insurance
          PLAIN_KEY: {value: visible, secret: false}
          HIDDEN: {value: hush-hush, secret: true}
        other:
          MODEL_NAME: not this one
        """,
    )
    text = """
        variables:
        - group: my-group
        steps:
        - checkout: none
        - bash: echo "$(MODEL_NAME) $MODEL_NAME $(PLAIN_KEY) [$HIDDEN] [$MAPPED] [$(HIDDEN)]"
          env: {MAPPED: $(HIDDEN)}
        """
    outcome = project.run(text, "--variables", "values.yml")
    assert "insurance insurance visible [] [***] [***]" in outcome.lines()
    assert "hush-hush" not in outcome.output + everything_kept(outcome)


def test_groups_from_lines_and_from_the_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
        variables:
        - group: my-group
        - {name: OWN, value: yaml}
        steps:
        - checkout: none
        - bash: echo "$(GROUP_NAME) [$(GROUP_TOKEN)] $(OWN)"
        """
    project.write(".values", "# comment\nGROUP_NAME=file # why\nexport GROUP_TOKEN='t0ken'\n")
    outcome = project.run(text, "--variables", ".values")
    assert "file [***] yaml" in outcome.lines()
    monkeypatch.setenv("GROUP_NAME", "environment")
    monkeypatch.setenv("GROUP_TOKEN", "t0ken")
    monkeypatch.setenv("OWN", "environment")
    outcome = project.run(text)
    assert "environment [***] yaml" in outcome.lines()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.yml", "g: [x]\n", "v.yml:1: group g is a mapping of names to values"),
        (
            "v.yml",
            "g:\n  A: {valeu: x}\n",
            "v.yml:2: A is a value, or a mapping of value and secret",
        ),
        ("v.env", "just text\n", "v.env:1: a line is NAME=value"),
    ],
)
def test_a_wrong_file_of_values_is_refused(
    project: Project, name: str, content: str, message: str
) -> None:
    project.write(name, content)
    outcome = project.run("steps: [{script: x}]\n", "--variables", name)
    assert outcome.exit_code == 2
    assert message in outcome.output
    assert outcome.folder is None


def test_secrets_are_masked_everywhere(project: Project) -> None:
    outcome = project.run(
        """
        steps:
        - checkout: none
        - bash: |
            echo "##vso[task.setvariable variable=s;isSecret=true;isOutput=true]s3cr3t"
            echo "##vso[task.setvariable variable=m;isSecret=true]line-one%0Aline-two"
            echo "##vso[task.setsecret]derived-one"
            echo "now s3cr3t"
          name: set
        - bash: |
            echo "again $(set.s) derived-one"
            printf '%s\\n' "$TWO"
            echo "##vso[task.logissue type=warning]it is s3cr3t"
            echo "##vso[task.setvariable variable=s]still s3cr3t"
            echo "env [$SET_S] [$M]"
            echo "# summary s3cr3t" > summary.md
            echo "##vso[task.uploadsummary]$PWD/summary.md"
            echo "##vso[build.addbuildtag]tag-s3cr3t"
          displayName: prints $(set.s)
          env: {TWO: $(m)}
        - bash: echo line-one >&2; exit 1
        """
    )
    assert "now ***" in outcome.lines()
    assert "again *** ***" in outcome.lines()
    assert "env [] []" in outcome.lines()
    assert outcome.lines().count("***") >= 3
    kept = outcome.output + everything_kept(outcome)
    for secret in ("s3cr3t", "line-one", "line-two", "derived-one"):
        assert secret not in kept
    assert outcome.summary["stages"][0]["jobs"][0]["outputs"] == {}
    assert outcome.summary["tags"] == ["tag-***"]


def test_predefined_variables_as_macros_and_environment(project: Project) -> None:
    names = (
        "Build.BuildId Build.BuildNumber Build.SourcesDirectory Build.ArtifactStagingDirectory "
        "Build.SourceBranch Build.SourceBranchName Build.Reason Build.Repository.Name Build.DefinitionName "
        "Agent.TempDirectory Agent.BuildDirectory Agent.JobStatus Agent.OS Pipeline.Workspace "
        "System.DefaultWorkingDirectory System.JobName System.StageName System.TeamProject "
        "System.TeamFoundationCollectionUri Common.TestResultsDirectory"
    ).split()
    script = "".join(f"echo '{name}=$({name})'; echo {name}=$ENV\n" for name in names)
    for name in names:
        script = script.replace("$ENV", f"${name.upper().replace('.', '_')}", 1)
    lines = "\n".join("      " + line for line in script.splitlines())
    outcome = project.run(
        "stages:\n- stage: S\n  jobs:\n  - job: J\n    steps:\n    - checkout: none\n    - bash: |\n"
        + lines.replace("      ", "        ")
    )
    shown = [line for line in outcome.lines() if re.match(r"[A-Z]\w+\.\w", line)]
    assert len(shown) == 2 * len(names)
    for first, second in zip(shown[::2], shown[1::2], strict=True):
        assert first == second
        assert "$(" not in first
    values = dict(line.split("=", 1) for line in shown)
    assert values["System.JobName"] == "J" and values["System.StageName"] == "S"
    assert values["Agent.OS"] in ("Linux", "Darwin") and platform.system() in values["Agent.OS"]
    assert values["Build.DefinitionName"] == "pipeline"
    assert Path(values["Build.SourcesDirectory"]).name == "s"


def test_the_number_of_a_run(project: Project) -> None:
    text = """
        name: $(TeamProject)_$(Build.DefinitionName)_$(flavor)_$(Rev:rrr)
        variables: {flavor: sweet}
        steps:
        - checkout: none
        - bash: echo "number $(Build.BuildNumber)"
        """
    assert "number local_pipeline_sweet_001" in project.run(text).lines()
    assert "number local_pipeline_sweet_002" in project.run(text).lines()
    assert "number local_pipeline_sour_001" in project.run(text.replace("sweet", "sour")).lines()
    changed = project.run('steps:\n- bash: echo "##vso[build.updatebuildnumber]mine"\n')
    assert changed.summary["number"] == "mine"


def test_commands_of_a_step(project: Project) -> None:
    outcome = project.run(
        """
        steps:
        - checkout: none
        - bash: |
            mkdir -p tools out && printf '#!/bin/sh\\necho my tool\\n' > tools/mytool && chmod +x tools/mytool
            echo "##vso[task.prependpath]$PWD/tools"
            echo "##vso[task.setprogress value=40;]half way"
            echo x > out/x.txt
            echo "##vso[artifact.upload containerfolder=c;artifactname=made]$PWD/out"
            echo "##vso[task.logissue type=error;sourcepath=a.py;linenumber=3;code=E1]wrong"
            echo "##[section]a section"
            echo "##vso[nonsense.here]x"
        - bash: mytool
        """
    )
    assert outcome.exit_code == 0
    assert {"my tool", "40% half way", "##[error]a.py:3: E1 wrong", "##[section]a section"} <= set(
        outcome.lines()
    )
    assert "##vso[nonsense.here] does nothing here" in outcome.output
    assert outcome.summary["artifacts"] == ["made"]
    assert (
        outcome.summary["stages"][0]["jobs"][0]["steps"][1]["issues"][0]
        == "error: a.py:3: E1 wrong"
    )


def test_the_summary_is_json_with_times_and_logs(project: Project) -> None:
    outcome = project.run("steps:\n- bash: echo hello\n  name: greets\n", "--name", "mine")
    assert outcome.folder is not None
    summary = json.loads((outcome.folder / "run.json").read_text())
    assert summary["pipeline"] == "mine"
    step = summary["stages"][0]["jobs"][0]["steps"][1]
    assert step["name"] == "greets"
    assert step["seconds"] >= 0 and summary["seconds"] >= step["seconds"]
    assert (outcome.folder / step["log"]).read_text() == "hello\n"


def test_legs_and_hooks_do_not_see_what_others_have_set(project: Project) -> None:
    script = 'echo "[$LEAK]"; echo "##vso[task.setvariable variable=leak]x"'
    outcome = project.run(
        f"""
        jobs:
        - job: legs
          strategy: {{matrix: {{a: {{v: x}}, b: {{v: y}}}}}}
          steps:
          - checkout: none
          - bash: '{script}'
          - bash: echo "[$LEAK]"
        - deployment: hooks
          environment: e
          strategy:
            runOnce:
              deploy: {{steps: [{{bash: '{script}'}}]}}
              routeTraffic: {{steps: [{{bash: '{script}'}}]}}
        """,
        "--approve",
    )
    shown = [line for line in outcome.lines() if line in ("[]", "[x]")]
    assert shown == ["[]", "[x]", "[]", "[x]", "[]", "[]"]
