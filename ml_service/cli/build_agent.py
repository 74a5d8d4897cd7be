"""What a command tells the build agent that runs it, Azure DevOps or GitHub Actions; elsewhere it tells nothing."""

from __future__ import annotations

import os
from pathlib import Path

from ml_service.cli.context import progress


def set_output(name: str, value: str) -> None:
    """Set an output variable of the step, for conditions of later steps.

    Azure DevOps reads it from what is printed (``##vso[task.setvariable]``), GitHub Actions from a file, GITHUB_OUTPUT.
    """
    if os.environ.get("TF_BUILD"):
        progress(f"##vso[task.setvariable variable={name};isOutput=true]{value}")
    if file := os.environ.get("GITHUB_OUTPUT"):
        with Path(file).open("a", encoding="utf-8") as outputs:
            outputs.write(f"{name}={value}\n")


def add_build_tag(tag: str) -> None:
    """Tag the build, for what is triggered by builds with that tag. GitHub Actions has no such thing."""
    if os.environ.get("TF_BUILD"):
        progress(f"##vso[build.addbuildtag]{tag}")


def add_summary(file: Path) -> None:
    """Show a Markdown file on the page of the build."""
    if os.environ.get("TF_BUILD"):
        progress(f"##vso[task.uploadsummary]{file.absolute()}")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as page:
            page.write(file.read_text(encoding="utf-8"))
