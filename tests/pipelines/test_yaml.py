"""Pipelines of Azure DevOps and workflows of GitHub: checked by their editors' engines, and against this repository.

Every check also meets a file that it must refuse.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import check_jsonschema
import pytest
import yaml
from typer.testing import CliRunner

import azure_pipelines_local.cli
from tests.docs.test_docs import TARGETS, wrong_commands

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
PIPELINES = sorted((ROOT / ".pipelines").glob("*.yml"))
WORKFLOWS = sorted((ROOT / ".github").rglob("*.yml"))
BAD = sorted((HERE / "bad").glob("*.yml"))
SCHEMA = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor/azure-pipelines.json"
BIN = Path(sys.executable).parent

REVIEWED = {
    # The schema has the inputs of version 1 of this task; those of version 2 are in Microsoft's reference.
    ("code-quality-template.yml", "Unexpected property summaryFileLocation"),
    ("code-quality-template.yml", 'String does not match the pattern of "^PowerShell@2$"'),
}
IMAGES = {"ubuntu-22.04", "ubuntu-24.04"}
"""Hosted images with Python 3.11 that are neither retired nor announced to be (2026-11)."""
RETIRED = {
    *("AzureCLI@1", "UsePythonVersion@1", "CondaEnvironment@1", "PublishBuildArtifacts@1"),
    *("DownloadBuildArtifacts@0", "DownloadBuildArtifacts@1", "PublishCodeCoverageResults@1"),
    *("PublishPipelineArtifact@0", "DownloadPipelineArtifact@1", "PublishTestResults@1"),
    *("CacheBeta@0", "CacheBeta@1", "ms-air-aiagility.vss-services-azureml.azureml-model-deploy@0"),
}
"""Older versions of tasks, and those that Microsoft advises against."""


def editor(*files: Path) -> list[str]:
    """What the language service of the editor extension finds wrong, ``FILE:LINE: MESSAGE``."""
    if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
        pytest.skip(
            "the editor's engine is not installed: it needs Node.js 20 or newer; then touch requirements/test.txt"
        )
    command = ["node", str(HERE / "validate.js"), str(SCHEMA), *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stderr == ""
    assert result.returncode == (1 if result.stdout else 0)
    return result.stdout.splitlines()


def test_the_editor_finds_nothing_wrong() -> None:
    found = {
        (Path(line.split(":")[0]).name, line.split(": ", 1)[1][:52]) for line in editor(*PIPELINES)
    }
    expected = {(file, message[:52]) for file, message in REVIEWED}
    assert found == expected


@pytest.mark.parametrize("file", BAD, ids=lambda path: path.stem)
def test_the_editor_refuses(file: Path) -> None:
    expected = file.read_text().rsplit("# expected: ", 1)[1].strip()
    assert expected in "\n".join(editor(file))


def runner_problems(file: Path) -> str:
    """What the local runner finds wrong: templates, tasks, conditions, dependencies, variables."""
    given = {"insurance_claims-rollback.yml": ["version=1", "reason=a test"]}
    options = [word for value in given.get(file.name, []) for word in ("--parameter", value)]
    options += ["--variables", str(HERE / "group.yml")]
    result = CliRunner().invoke(azure_pipelines_local.cli.app, ["check", str(file), *options])
    assert result.exit_code in (0, 1)
    return "" if result.exit_code == 0 else result.output


@pytest.mark.parametrize(
    "file", [path for path in PIPELINES if "template" not in path.name], ids=lambda path: path.stem
)
def test_the_runner_finds_nothing_wrong(file: Path) -> None:
    assert runner_problems(file) == ""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("code-quality-template.yml", "no-such-template.yml", "no-such-template.yml"),
        ("$(VM_IMAGE)", "$(VM_IMAGES)", "VM_IMAGES"),
        ("tests: ${{ parameters.tests }}", "test: ${{ parameters.tests }}", "test"),
        ("${{ parameters.tests }}", "${{ frob(parameters.tests) }}", "frob"),
    ],
)
def test_the_runner_refuses(tmp_path: Path, old: str, new: str, reason: str) -> None:
    for path in PIPELINES:
        shutil.copy(path, tmp_path)
    text = (tmp_path / "pr.yml").read_text()
    assert old in text
    (tmp_path / "pr.yml").write_text(text.replace(old, new))
    assert reason in runner_problems(tmp_path / "pr.yml")


def test_the_documents_name_what_the_variable_group_has_to_have() -> None:
    text = (ROOT / "docs" / "pipelines.md").read_text()
    [names] = yaml.safe_load((HERE / "group.yml").read_text()).values()
    assert [name for name in names if f"`{name}`" not in text] == []


def workflow_problems(*files: Path) -> str:
    """What the schema of GitHub workflows finds wrong."""
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.github-workflows"]
    result = subprocess.run([*command, *map(str, files)], capture_output=True, text=True)
    return "" if result.returncode == 0 else result.stdout + result.stderr


def security_problems(folder: Path) -> str:
    """What zizmor finds wrong, from medium severity."""
    command = [str(BIN / "zizmor"), "--offline", "--no-progress", "--min-severity", "medium"]
    result = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    return "" if result.returncode == 0 else result.stdout + result.stderr


def test_workflows_keep_their_schema_and_are_safe() -> None:
    workflows = [path for path in WORKFLOWS if path.parent.name == "workflows"]
    assert len(workflows) >= 6
    assert workflow_problems(*workflows) == ""
    assert security_problems(ROOT / ".github") == ""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("timeout-minutes: 75", "timeout-minute: 75", "timeout-minute"),
        ("permissions:\n  contents: read", "permissions:\n  contents: rwx", "rwx"),
    ],
)
def test_the_schema_of_workflows_refuses(tmp_path: Path, old: str, new: str, reason: str) -> None:
    text = (ROOT / ".github/workflows/pr.yml").read_text()
    assert old in text
    (tmp_path / "pr.yml").write_text(text.replace(old, new))
    assert reason in workflow_problems(tmp_path / "pr.yml")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("pull_request:", "pull_request_target:", "dangerous-triggers"),
        ("make test RESULTS=results", "echo ${{ github.head_ref }}", "template-injection"),
        ("checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8 # v6.0.1", "checkout@v6", "unpinned"),
    ],
)
def test_zizmor_refuses(tmp_path: Path, old: str, new: str, reason: str) -> None:
    text = (ROOT / ".github/workflows/pr.yml").read_text()
    assert old in text
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "pr.yml").write_text(text.replace(old, new))
    assert reason in security_problems(tmp_path)


def strings(node: Any) -> list[str]:
    """Every text of a YAML document; what is given to mlops-template.yml as the command that it becomes."""
    if isinstance(node, dict):
        if node.get("template") == "mlops-template.yml":
            return [f"mlops {node['parameters']['command']}"]
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in strings(value)]
    return [node] if isinstance(node, str) else []


def missing(text: str) -> list[str]:
    """Commands, options, targets, templates and files that a pipeline names and that are not there."""
    document = yaml.safe_load(text)
    found: list[str] = []
    for line in strings(document):
        line = re.sub(r"\$\{\{.*?\}\}", "X", line)
        for command in re.findall(r"(?:^|/|\s)(mlops (?!X)(?:(?!&&|;).)+)", line):
            found += wrong_commands(command.strip())
        for target in re.findall(r"\bmake ([a-z-]+)", line):
            found += [] if target in TARGETS else [f"make target {target}"]
        for path in re.findall(r"\b(?:data|insurance_claims|docs|tests)/[\w./-]+", line):
            found += [] if (ROOT / path).exists() else [f"path {path}"]
        for path in re.findall(r"^\./(\.github/\S+)$", line):
            found += [] if (ROOT / path).exists() else [f"path {path}"]
    if isinstance(document.get("trigger"), dict):
        for path in document["trigger"].get("paths", {}).get("include", []):
            found += [] if (ROOT / path).exists() else [f"path {path}"]
    return found


@pytest.mark.parametrize(
    "file", [*PIPELINES, *WORKFLOWS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_what_a_pipeline_names_exists(file: Path) -> None:
    assert missing(file.read_text()) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("steps: [{script: mlops trian}]", "command mlops trian"),
        ("steps: [{script: .venv/bin/mlops run training --forse}]", "option --forse"),
        ("steps: [{script: make nothing}]", "make target nothing"),
        ("steps: [{script: cat data/nowhere.csv}]", "path data/nowhere.csv"),
        ("jobs: {a: {uses: ./.github/workflows/no.yml}}", "path .github/workflows/no.yml"),
    ],
)
def test_what_is_not_there_is_found(text: str, problem: str) -> None:
    assert problem in "; ".join(missing(text))


def outdated(text: str) -> list[str]:
    """Retired tasks and images."""
    tasks = [task for task in RETIRED if re.search(rf"task: {re.escape(task)}(\s|$)", text)]
    images = re.findall(r"\b(?:ubuntu|windows|macos)-[\w.]+", text, re.IGNORECASE)
    return tasks + [image for image in images if image not in IMAGES]


def test_nothing_retired_is_used() -> None:
    for file in (*PIPELINES, *WORKFLOWS):
        assert outdated(file.read_text()) == [], file


@pytest.mark.parametrize("text", ["vmImage: ubuntu-20.04", "- task: AzureCLI@1\n"])
def test_what_is_retired_is_found(text: str) -> None:
    assert outdated(text)


def test_actions_are_pinned_by_commit() -> None:
    for file in WORKFLOWS:
        for used in re.findall(r"uses: (\S+)", file.read_text()):
            assert used.startswith("./") or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", used), used


def test_no_secret_is_on_a_command_line() -> None:
    for file in (*PIPELINES, *WORKFLOWS):
        for line in strings(yaml.safe_load(file.read_text())):
            assert not re.search(r"(?i)(secret|password|_key|token)\w*\s*=", line), (file, line)
            assert "SP_APP_SECRET" not in line


def test_the_lock_of_the_checks_names_no_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages)
