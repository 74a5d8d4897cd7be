"""One folder a pipeline from job to job: sources are brought up to date, and what steps made stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

from azure_pipelines_local.repository import read_repository, renew_sources
from tests.azure_pipelines_local.conftest import Project

PIPELINE = """
steps:
- bash: |
    ls
    echo made >> made.txt
    wc -l < made.txt
    ls "$(Build.ArtifactStagingDirectory)" "$(Common.TestResultsDirectory)"
    touch "$(Build.ArtifactStagingDirectory)/left" "$(Common.TestResultsDirectory)/left"
"""


def test_what_a_step_made_stays_and_sources_are_renewed(project: Project) -> None:
    gone = project.folder / "gone.txt"
    gone.write_text("here")
    first = project.run(PIPELINE, "--self-hosted")
    assert first.exit_code == 0
    assert "gone.txt" in first.lines() and "1" in first.lines()
    gone.unlink()
    (project.folder / "come.txt").write_text("here")
    second = project.run(PIPELINE, "--self-hosted")
    assert second.exit_code == 0
    assert {"made.txt", "come.txt", "2"} <= set(second.lines())
    assert "gone.txt" not in second.lines()
    assert "left" not in second.lines()


def test_without_it_every_job_begins_anew(project: Project) -> None:
    for _ in range(2):
        outcome = project.run(PIPELINE)
        assert "1" in outcome.lines() and "2" not in outcome.lines()


def test_a_clean_checkout_begins_anew(project: Project) -> None:
    text = PIPELINE.replace("steps:", "steps:\n- checkout: self\n  clean: true")
    for _ in range(2):
        outcome = project.run(text, "--self-hosted")
        assert "1" in outcome.lines() and "2" not in outcome.lines()


def test_a_renewed_copy_has_the_newest_history_and_keeps_times(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "agent" / "s"
    root.mkdir()

    def git(folder: Path, *arguments: str) -> str:
        who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
        command = ["git", *who, *arguments]
        return subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    git(root, "init", "--initial-branch", "main")
    for number in (1, 2):
        (root / "file").write_text(str(number))
        git(root, "add", "--all")
        git(root, "commit", "--message", str(number))
        assert renew_sources(read_repository(root), target, tmp_path / "none") == (1, 0)
        assert git(target, "rev-parse", "HEAD") == git(root, "rev-parse", "HEAD")
        assert (target / "file").stat().st_mtime_ns == (root / "file").stat().st_mtime_ns
        assert git(target, "status", "--short") == ("" if number == 1 else "?? left")
        (target / "left").touch()
    assert (target / "left").exists()
