"""Sources, artifacts, pipeline resources and chosen stages, by running pipelines."""

from __future__ import annotations

import subprocess

import pytest

from tests.azure_pipelines_local.conftest import Project

BUILD = """
    stages:
    - stage: Build
      jobs:
      - job: build
        steps:
        - checkout: none
        - bash: |
            mkdir -p out/sub && echo 7 > out/model.txt && echo x > out/sub/notes.md
            echo "##vso[task.setvariable variable=version;isOutput=true]7"
          name: make
        - publish: out
          artifact: model
        - task: PublishBuildArtifacts@1
          inputs: {PathtoPublish: out/model.txt, ArtifactName: drop}
    - stage: Use
      jobs:
      - job: use
        variables:
          version: $[ stageDependencies.Build.build.outputs['make.version'] ]
        steps:
        - checkout: none
        - download: current
          artifact: model
          patterns: '**/*.txt'
        - bash: cd "$(Pipeline.Workspace)" && find model -type f && cat model/model.txt
        - task: DownloadPipelineArtifact@2
          inputs: {artifact: model, path: here, itemPattern: '!**/*.md'}
        - task: DownloadPipelineArtifact@2
          inputs: {artifact: model, path: here}
        - bash: find here -type f | sort; echo "version $(version)"
        - download: current
        - bash: ls "$(Pipeline.Workspace)/drop"
    """


def git(project: Project, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    result = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_artifacts_go_from_job_to_job(project: Project) -> None:
    outcome = project.run(BUILD)
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.lines()
    assert "model/model.txt" in lines and "model/sub/notes.md" not in lines
    assert {"here/model.txt", "here/sub/notes.md", "version 7", "model.txt"} <= set(lines)
    assert outcome.summary["artifacts"] == ["drop", "model"]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("- publish: nothing\n  artifact: a", "nothing does not exist: there is nothing to publish"),
        ("- publish: .\n  artifact: a/b", "'a/b' cannot be an artifact's name"),
        ("- publish: .\n  artifact: a\n- publish: .\n  artifact: a", "this run has an artifact 'a' already"),
        ("- download: current\n  artifact: a", "there is no artifact 'a'; there is: none"),
        ("- download: other", "there is no pipeline resource 'other'; there is: none"),
        ("- task: DownloadPipelineArtifact@2\n  inputs: {source: specific, pipeline: p}", "no run of the pipeline 'p'"),
        ("- task: DownloadPipelineArtifact@2\n  inputs: {source: specific, runId: '99'}", "is not the folder of a run"),
    ],
)  # fmt: skip
def test_what_cannot_be_published_or_found_fails(
    project: Project, steps: str, message: str
) -> None:
    outcome = project.run("steps:\n- checkout: none\n" + steps + "\n")
    assert outcome.exit_code == 1
    assert message in outcome.output


def test_artifacts_go_from_pipeline_to_pipeline(project: Project) -> None:
    consumer = """
        resources:
          pipelines:
          - pipeline: ci
            source: folder\\my-ci
        steps:
        - checkout: none
        - download: ci
          artifact: model
        - bash: |
            cat "$(Pipeline.Workspace)/ci/model/model.txt"
            echo "run $(resources.pipeline.ci.runID) $(resources.pipeline.ci.pipelineName)"
        """
    early = project.run(consumer, file="cd.yml")
    assert early.exit_code == 2
    assert (
        "cd.yml:3: no run of the pipeline 'folder\\\\my-ci' is kept that succeeded" in early.output
    )
    first = project.run(BUILD, "--name", "my-ci", file="ci.yml")
    second = project.run(BUILD.replace("echo 7", "echo 8"), "--name", "my-ci", file="ci.yml")
    project.run("steps: [{bash: exit 1}]\n", "--name", "my-ci", file="ci.yml")
    latest = project.run(consumer, file="cd.yml")
    assert latest.exit_code == 0, latest.output
    assert {"8", f"run {second.summary['id']} my-ci"} <= set(latest.lines())
    assert first.folder is not None
    chosen = project.run(consumer, "--resource", f"ci={first.folder}", file="cd.yml")
    assert {"7", f"run {first.summary['id']} my-ci"} <= set(chosen.lines())
    wrong = project.run(consumer, "--resource", "di=1", file="cd.yml")
    assert wrong.exit_code == 2
    assert "there is no pipeline resource 'di'; there is: ci" in wrong.output


def test_chosen_stages_take_the_rest_from_a_kept_run(project: Project) -> None:
    early = project.run(BUILD, "--stage", "Use")
    assert early.exit_code == 2
    assert "Use depends on Build, and no run is kept in which that succeeded" in early.output
    assert project.run(BUILD, "--name", "another").exit_code == 0
    assert project.run(BUILD, "--stage", "Use").exit_code == 2
    full = project.run(BUILD)
    again = project.run(BUILD, "--stage", "use")
    assert again.exit_code == 0, again.output
    assert again.stages == {"Use": "Succeeded"}
    assert f"taken from run {full.summary['id']}" in again.output
    assert "version 7" in again.lines() and "here/model.txt" in again.lines()
    build = project.run(BUILD, "--stage", "Build")
    assert build.stages == {"Build": "Succeeded"}
    wrong = project.run(BUILD, "--stage", "Biuld")
    assert wrong.exit_code == 2
    assert "there is no stage 'Biuld'; there is: Build, Use" in wrong.output


def test_checkout_copies_what_git_knows_with_its_changes(project: Project) -> None:
    git(project, "init", "-q", "-b", "main")
    project.write(".gitignore", "ignored.txt\n.azure-pipelines-local/\n")
    project.write("kept.txt", "old\n")
    project.write("gone.txt", "x\n")
    project.write("folder with space/deep.sh", "#!/bin/sh\necho deep\n").chmod(0o755)
    text = """
        steps:
        - bash: |
            cat kept.txt
            ls
            "./folder with space/deep.sh"
            git log --format=%s
            git status --porcelain
            git remote
            git rev-parse HEAD
            echo "$(Build.SourceVersion) $(Build.SourceBranchName) $(Build.SourceBranch)"
        """
    file = project.write("pipeline.yml", text)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "first commit")
    project.write("kept.txt", "new\n")
    project.write("untracked.txt", "x\n")
    project.write("ignored.txt", "x\n")
    (project.folder / "gone.txt").unlink()
    outcome = project.command("run", str(file), "--work", str(project.work))
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.lines()
    assert {"new", "deep", "first commit", "M kept.txt", "D gone.txt"} <= set(lines)
    assert not {"gone.txt", "untracked.txt", "ignored.txt", "origin"} & set(lines)
    head = git(project, "rev-parse", "HEAD")
    assert head in lines and f"{head} main refs/heads/main" in lines
    assert "1 files that git does not know are left out" in outcome.output
    assert git(project, "status", "--porcelain") == "M kept.txt\n?? untracked.txt".replace(
        "M kept", "D gone.txt\n M kept"
    )


def test_what_a_step_does_to_its_sources_stays_there(project: Project) -> None:
    git(project, "init", "-q", "-b", "main")
    project.write("a.txt", "x\n")
    file = project.write(
        "pipeline.yml",
        """
        steps:
        - bash: |
            echo changed > a.txt
            git -c user.name=a -c user.email=a@b commit -qam "in the job"
            git log --format=%s
        """,
    )
    git(project, "add", "-A")
    git(project, "commit", "-qm", "outside")
    outcome = project.command("run", str(file), "--work", str(project.work))
    assert "in the job" in outcome.lines()
    assert (project.folder / "a.txt").read_text() == "x\n"
    assert git(project, "log", "--format=%s") == "outside"


def test_the_default_folder_is_ignored_by_git_and_not_copied(project: Project) -> None:
    git(project, "init", "-q", "-b", "main")
    file = project.write("pipeline.yml", "steps:\n- bash: ls -A\n")
    git(project, "add", "-A")
    for _ in range(2):
        assert project.command("run", str(file)).exit_code == 0
    assert git(project, "status", "--porcelain") == "A  pipeline.yml"
    assert (project.folder / ".azure-pipelines-local" / "runs" / "2" / "run.json").is_file()


def test_checkout_can_put_sources_elsewhere(project: Project) -> None:
    project.write("a.txt", "content\n")
    outcome = project.run(
        """
        steps:
        - checkout: self
          path: s/sub folder
        - bash: |
            cat a.txt
            basename "$(Build.SourcesDirectory)"
        """
    )
    assert {"content", "sub folder"} <= set(outcome.lines())
    assert project.run("steps:\n- checkout: other\n").exit_code == 1
