"""What must be withstood: steps without an end, Ctrl-C, processes that stay behind, jobs that take too long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.azure_pipelines_local.conftest import Project


def gone(file: Path) -> bool:
    """Whether the process whose number is in the file has ended."""
    number = int(file.read_text())
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if not psutil.pid_exists(number) or psutil.Process(number).status() == "zombie":
            return True
        time.sleep(0.05)
    return False


def test_a_step_without_an_end_is_ended_with_its_children(project: Project) -> None:
    child = project.folder / "child"
    outcome = project.run(
        f"""
        steps:
        - checkout: none
        - bash: |
            sleep 600 &
            echo $! > '{child}'
            wait
          displayName: endless
          timeoutInMinutes: 0.03
        - bash: echo after
          displayName: after
          condition: failed()
        """
    )
    assert outcome.exit_code == 1
    assert outcome.steps == {"endless": "Failed", "after": "Succeeded"}
    assert "the time limit was reached" in outcome.output
    assert gone(child)


def test_a_step_that_ignores_the_kind_signal_is_ended_too(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("azure_pipelines_local.process._GRACE_SECONDS", 0.2)
    child = project.folder / "child"
    outcome = project.run(
        f"steps:\n- bash: trap '' TERM; echo $$ > '{child}'; while true; do sleep 1; done\n"
        "  timeoutInMinutes: 0.03\n"
    )
    assert outcome.exit_code == 1
    assert gone(child)


def test_a_job_that_takes_too_long_is_cancelled(project: Project) -> None:
    outcome = project.run(
        """
        jobs:
        - job: slow
          timeoutInMinutes: 0.03
          steps:
          - checkout: none
          - {bash: sleep 600, displayName: sleeps}
          - {bash: 'true', displayName: default}
          - {bash: 'true', displayName: failed, condition: failed()}
          - {bash: 'true', displayName: always, condition: always()}
          - {bash: 'true', displayName: canceled, condition: canceled()}
        - job: next
          dependsOn: slow
          steps: [{bash: 'true'}]
        """
    )
    assert outcome.exit_code == 1
    assert outcome.steps == {
        "sleeps": "Canceled",
        "default": "Skipped",
        "failed": "Skipped",
        "always": "Succeeded",
        "canceled": "Succeeded",
    }
    assert outcome.jobs == {"slow": "Canceled", "next": "Skipped"}
    assert "the job ran longer than timeoutInMinutes" in outcome.output


def test_steps_of_a_cancelled_job_have_limited_time(project: Project) -> None:
    outcome = project.run(
        """
        jobs:
        - job: slow
          timeoutInMinutes: 0.03
          cancelTimeoutInMinutes: 0.01
          steps:
          - checkout: none
          - {bash: sleep 600, displayName: sleeps}
          - {bash: sleep 600, displayName: always, condition: always()}
          - {bash: 'true', displayName: too late, condition: always()}
        """
    )
    assert outcome.exit_code == 1
    assert outcome.steps["too late"] == "Skipped"
    assert "cancelTimeoutInMinutes is over" in outcome.output


def test_what_a_step_leaves_running_ends_with_the_job(project: Project) -> None:
    child = project.folder / "child"
    outcome = project.run(
        f"""
        steps:
        - checkout: none
        - bash: |
            sleep 600 &
            echo $! > '{child}'
          displayName: leaves
        - bash: kill -0 $(cat '{child}')
          displayName: still there
        """
    )
    assert outcome.steps == {"leaves": "Succeeded", "still there": "Succeeded"}
    assert gone(child)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_cancels_the_run(project: Project, number: signal.Signals) -> None:
    started, child = project.folder / "started", project.folder / "child"
    file = project.write(
        "pipeline.yml",
        f"""
        jobs:
        - job: first
          steps:
          - checkout: none
          - bash: |
              sleep 600 &
              echo $! > '{child}'
              touch '{started}'
              wait
            displayName: sleeps
          - {{bash: echo default, displayName: default}}
          - {{bash: echo cleaned up, displayName: always, condition: always()}}
          - {{bash: echo noticed, displayName: canceled, condition: canceled()}}
        - job: second
          steps: [{{bash: echo second}}]
        - job: third
          condition: always()
          steps:
          - checkout: none
          - {{bash: 'true', displayName: in a later job}}
        """,
    )
    command = [sys.executable, "-m", "azure_pipelines_local", "run", str(file)]
    command += ["--root", str(project.folder), "--work", str(project.work)]
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        until = time.monotonic() + 30
        while not started.exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 1, output
    assert gone(child)
    assert "cleaned up" in output and "noticed" in output
    assert "step sleeps: cancelled" in output
    assert "step default: skipped - cancelled" in output
    assert "job second: skipped - the run was cancelled" in output
    assert "step in a later job: ok" in output
    outcome = project.command("check", str(file))
    assert outcome.exit_code == 0
    kept = (project.work / "runs" / "1" / "run.json").read_text()
    assert '"result": "Canceled"' in kept


def test_folders_of_jobs_are_removed_unless_kept(project: Project) -> None:
    text = "steps:\n- bash: echo x > made.txt\n"
    outcome = project.run(text)
    assert outcome.folder is not None
    assert list((outcome.folder / "work").iterdir()) == []
    kept = project.run(text, "--keep")
    assert kept.folder is not None
    assert len(list((kept.folder / "work").rglob("made.txt"))) == 1


def test_scripts_with_macros_do_not_stay_on_disk(project: Project) -> None:
    outcome = project.run("steps:\n- bash: echo $0\n", "--keep")
    assert outcome.folder is not None
    assert list((outcome.folder / "work").rglob("*.sh")) == []


@pytest.fixture
def precious(project: Project) -> Path:
    """A file of the person whose machine it is, outside of any job's folder."""
    return project.write("../precious/file.txt", "do not delete\n")


@pytest.mark.parametrize(
    "step",
    [
        "- checkout: self\n  path: ../../../../precious",
        "- checkout: self\n  path: HERE",
        "- checkout: self\n  path: .",
        "- task: CopyFiles@2\n  inputs: {SourceFolder: ., TargetFolder: HERE, CleanTargetFolder: true}",
        "- task: DeleteFiles@1\n  inputs: {SourceFolder: HERE, Contents: '**'}",
    ],
)
def test_nothing_outside_of_a_jobs_folder_is_deleted(
    project: Project, precious: Path, step: str
) -> None:
    text = step.replace("HERE", str(precious.parent.resolve()))
    outcome = project.run(f"steps:\n{text}\n")
    assert outcome.exit_code == 1
    assert "of the job's folder" in outcome.output
    assert precious.read_text() == "do not delete\n"


def test_a_cache_is_added_to_what_is_there(project: Project, precious: Path) -> None:
    cache = precious.parent.resolve()
    text = f"steps:\n- task: Cache@2\n  inputs: {{key: a, path: '{cache}'}}\n"
    assert project.run(text).exit_code == 0
    kept = project.write("../precious/newer.txt", "newer\n")
    assert project.run(text).exit_code == 0
    assert kept.read_text() == "newer\n" and precious.exists()


def test_a_computed_leg_cannot_leave_its_folder(project: Project) -> None:
    outcome = project.run(
        """
        variables: {legs: '{"../../x": {"a": "b"}}'}
        jobs:
        - job: a
          strategy: {matrix: "$[ variables.legs ]"}
          steps: [{bash: 'true'}]
        """
    )
    assert outcome.exit_code == 1
    assert "a leg's name holds letters, digits and _, not '../../x'" in outcome.output


def test_variables_that_no_environment_can_hold_do_no_harm(project: Project) -> None:
    outcome = project.run("variables: {'a=b': x, c d: y}\nsteps:\n- bash: echo \"[$C_D] $(c d)\"\n")
    assert "[y] y" in outcome.lines()


def test_a_repository_that_git_cannot_read_is_refused(project: Project) -> None:
    project.write(".git", "gitdir: nowhere\n")
    outcome = project.run("steps: [{bash: 'true'}]\n")
    assert outcome.exit_code == 2
    assert "git cannot read" in outcome.output


def test_a_secret_in_an_error_is_masked(project: Project) -> None:
    outcome = project.run(
        """
        jobs:
        - job: a
          steps:
          - checkout: none
          - bash: echo "##vso[task.setvariable variable=s;isSecret=true;isOutput=true]s3cr3t"
            name: set
          - bash: 'true'
            workingDirectory: $(set.s)
        - job: b
          dependsOn: a
          condition: always()
          strategy: {matrix: "$[ dependencies.a.outputs['set.s'] ]"}
          steps: [{bash: 'true'}]
        """
    )
    assert outcome.exit_code == 1
    assert "s3cr3t" not in outcome.output
    assert "'***'" in outcome.output
