"""Tasks, each by a pipeline that uses it."""

from __future__ import annotations

import shutil
import sys

import pytest

from azure_pipelines_local.tasks.task import TaskFailed
from azure_pipelines_local.tasks.tools import version_fits
from tests.azure_pipelines_local.conftest import Outcome, Project

JUNIT = """<?xml version="1.0"?>
<testsuites><testsuite name="s" tests="4">
<testcase classname="a.b" name="good"/>
<testcase classname="a.b" name="bad"><failure message="no"/></testcase>
<testcase classname="a.b" name="broken"><error/></testcase>
<testcase classname="a.b" name="later"><skipped/></testcase>
</testsuite></testsuites>
"""
COBERTURA = (
    '<?xml version="1.0"?>\n<!DOCTYPE coverage SYSTEM "x.dtd">\n<coverage line-rate="0.875"/>\n'
)


def one(project: Project, task: str, *options: str, **inputs: str) -> Outcome:
    """Run one task after a checkout."""
    lines = "".join(f"    {name}: {value!r}\n" for name, value in inputs.items())
    text = f"steps:\n- task: {task}\n  name: it\n  displayName: it\n"
    return project.run(text + (f"  inputs:\n{lines}" if lines else ""), *options)


def test_scripts_inline_and_from_files(project: Project) -> None:
    project.write("scripts/hello world.sh", 'echo "file $1 $2 in $(basename "$PWD")"\n')
    project.write("hello.py", "import sys\nprint('python', sys.argv[1])\n")
    outcome = project.run(
        """
        steps:
        - script: echo "by script in $(basename "$PWD")"
          workingDirectory: scripts
        - task: CmdLine@2
          inputs: {script: echo by task}
        - task: Bash@3
          inputs: {filePath: scripts/hello world.sh, arguments: "a 'b c'"}
        - task: Bash@3
          inputs: {targetType: inline, script: echo inline}
        - task: PythonScript@0
          inputs: {scriptPath: hello.py, arguments: x}
        - task: PythonScript@0
          inputs: {scriptSource: inline, script: "print('inline python')"}
        """
    )
    assert outcome.exit_code == 0, outcome.output
    assert {
        "by script in scripts",
        "by task",
        "file a b c in scripts",
        "inline",
        "python x",
        "inline python",
    } <= set(outcome.lines())


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("- task: Bash@3\n  inputs: {filePath: none.sh}", "none.sh does not exist"),
        ("- task: Bash@3\n  inputs: {filePath: p.yml, arguments: \"'a\"}", "are no arguments"),
        ("- script: x\n  workingDirectory: nowhere", "the working directory"),
        ("- script: echo oh >&2\n  failOnStderr: true", "the script wrote to stderr"),
        ("- bash: kill -9 $$", "ended by signal 9"),
        ("- task: Delay@1\n  inputs: {delayForMinutes: soon}", "delayForMinutes is a number, not 'soon'"),
        ("- task: UsePythonVersion@0\n  inputs: {versionSpec: '2.7'}", "Python 2.7 is asked for, and this runs on 3"),
        ("- task: UsePythonVersion@0\n  inputs: {versionSpec: 'three'}", "'three' is no version range"),
    ],
)  # fmt: skip
def test_what_fails_says_why(project: Project, step: str, message: str) -> None:
    project.write("p.yml", "x: y\n")
    outcome = project.run(f"steps:\n{step}\n")
    assert outcome.exit_code == 1
    assert message in outcome.output


def test_output_to_stderr_is_no_failure_by_itself(project: Project) -> None:
    outcome = project.run("steps:\n- script: echo to stderr >&2\n")
    assert outcome.exit_code == 0
    assert "to stderr" in outcome.lines()


def test_powershell_needs_powershell(project: Project) -> None:
    outcome = project.run("steps:\n- pwsh: Write-Host hello from pwsh\n")
    if shutil.which("pwsh"):
        assert "hello from pwsh" in outcome.lines()
    else:
        assert outcome.exit_code == 1
        assert "PowerShell (pwsh) is not installed" in outcome.output


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ("3.x", True),
        ("3.11", True),
        ("3.11.7", True),
        ("3.11.x", True),
        ("3", True),
        (">=3.9", True),
        (">=3.9 <4", True),
        ("~3.11", True),
        ("^3.2", True),
        ("3.1", False),
        ("3.12", False),
        ("2.x", False),
        (">3.11", False),
        ("<3.11", False),
        ("<=3.10", False),
        ("~3.12", False),
        ("3.11.8", False),
    ],
)
def test_ranges_of_versions(spec: str, fits: bool) -> None:
    assert version_fits((3, 11, 7), spec) is fits


def test_a_range_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(TaskFailed, match="is no version range"):
        version_fits((3, 11, 7), "latest")


def test_python_is_put_on_the_path(project: Project) -> None:
    outcome = project.run(
        """
        steps:
        - task: UsePythonVersion@0
          inputs: {versionSpec: 3.x}
          name: py
        - bash: python -c 'import sys; print("is", sys.executable)'; echo "at $(py.pythonLocation)"
        """
    )
    assert any(line.startswith("is ") and sys.prefix in line for line in outcome.lines())
    assert any(line.startswith("at /") for line in outcome.lines())


def test_results_of_tests_are_counted_and_kept(project: Project) -> None:
    project.write("results/TEST-a.xml", JUNIT)
    outcome = one(project, "PublishTestResults@2", testRunTitle="unit")
    assert outcome.exit_code == 0
    assert outcome.summary["tests"] == [{"title": "unit", "tests": 4, "failed": 2, "skipped": 1}]
    assert "unit: 4 tests, 2 failed, 1 skipped" in outcome.lines()
    assert {"##[error]failed: a.b.bad", "##[error]failed: a.b.broken"} <= set(outcome.lines())
    assert outcome.folder and (outcome.folder / "tests" / "1-TEST-a.xml").is_file()


@pytest.mark.parametrize(
    ("content", "inputs", "code", "message"),
    [
        (JUNIT, {"failTaskOnFailedTests": "true"}, 1, "2 of 4 tests failed"),
        (JUNIT, {"testResultsFiles": "no/*.xml"}, 0, "no test results in"),
        (JUNIT, {"testResultsFiles": "no/*.xml", "failTaskOnMissingResultsFile": "true"}, 1, "no test results"),
        (JUNIT, {"testResultsFormat": "NUnit"}, 1, "read in JUnit's format, not NUnit"),
        ("<testsuite", {}, 1, "is not XML"),
        ("<report/>", {}, 1, "is not in JUnit's format: its root is report"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><testsuite/>', {}, 1, "defines XML entities"),
    ],
)  # fmt: skip
def test_results_that_do_not_do(
    project: Project, content: str, inputs: dict[str, str], code: int, message: str
) -> None:
    project.write("TEST-a.xml", content)
    outcome = one(project, "PublishTestResults@2", **inputs)
    assert outcome.exit_code == code
    assert message in outcome.output


@pytest.mark.parametrize("version", [1, 2])
def test_coverage_is_read_and_kept(project: Project, version: int) -> None:
    project.write("cover/coverage.xml", COBERTURA)
    where = {"summaryFileLocation": "$(System.DefaultWorkingDirectory)/**/coverage.xml"}
    outcome = one(project, f"PublishCodeCoverageResults@{version}", **where)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.summary["coverage"] == [{"file": "cover/coverage.xml", "line_rate": 0.875}]
    assert "coverage of lines: 87.5% (coverage.xml)" in outcome.lines()


@pytest.mark.parametrize(
    ("content", "inputs", "code", "message"),
    [
        ('<coverage line-rate="7"/>', {}, 1, "is not in Cobertura's format"),
        ("<coverage/>", {}, 1, "is not in Cobertura's format"),
        (COBERTURA, {"codeCoverageTool": "JaCoCo"}, 1, "read in Cobertura's format, not JaCoCo"),
        (COBERTURA, {"summaryFileLocation": "no.xml"}, 0, "no coverage file matches no.xml"),
        (COBERTURA, {"summaryFileLocation": "no.xml", "failIfCoverageEmpty": "true"}, 1, "no coverage file"),
    ],
)  # fmt: skip
def test_coverage_that_does_not_do(
    project: Project, content: str, inputs: dict[str, str], code: int, message: str
) -> None:
    project.write("coverage.xml", content)
    given = {"summaryFileLocation": "coverage.xml", **inputs}
    outcome = one(project, "PublishCodeCoverageResults@1", **given)
    assert outcome.exit_code == code
    assert message in outcome.output


CACHE = """
    steps:
    - task: Cache@2
      inputs:
        key: 'pip | "v1" | requirements*.txt'
        restoreKeys: |
          pip | "v1"
          pip
        path: $(Pipeline.Workspace)/.cache
        cacheHitVar: HIT
    - bash: echo "hit $(HIT) [$(cat "$(Pipeline.Workspace)/.cache/x" 2>/dev/null)]"
    - bash: mkdir -p "$(Pipeline.Workspace)/.cache" && echo VALUE > "$(Pipeline.Workspace)/.cache/x"
    """


def test_a_cache_is_found_by_key_and_by_its_beginning(project: Project) -> None:
    project.write("requirements.txt", "a==1\n")
    assert "hit false []" in project.run(CACHE.replace("VALUE", "one")).lines()
    assert "hit true [one]" in project.run(CACHE.replace("VALUE", "two")).lines()
    assert "hit true [one]" in project.run(CACHE).lines()
    project.write("requirements.txt", "a==2\n")
    assert "hit inexact [one]" in project.run(CACHE.replace("VALUE", "three")).lines()
    assert "hit true [three]" in project.run(CACHE).lines()
    other = CACHE.replace('"v1"', '"v2"').replace("          pip\n", "")
    assert "hit false []" in project.run(other).lines()


def test_a_failed_job_keeps_no_cache(project: Project) -> None:
    project.write("requirements.txt", "a==1\n")
    assert project.run(CACHE.rstrip() + "\n    - bash: exit 1\n").exit_code == 1
    assert "hit false []" in project.run(CACHE).lines()


def test_a_cache_key_of_files_that_are_not_there_is_refused(project: Project) -> None:
    outcome = project.run(CACHE)
    assert outcome.exit_code == 1
    assert "the key names files 'requirements*.txt', and there are none" in outcome.output
    missing = project.run(CACHE.replace("requirements*.txt", "lock/requirements.txt"))
    assert "the key names the file 'lock/requirements.txt'" in missing.output


def test_az_is_a_stand_in_that_says_so(project: Project) -> None:
    project.write("deploy.sh", 'az ml model deploy --name "$1" --key $KEY\n')
    outcome = project.run(
        """
        variables: {connection: my-connection}
        steps:
        - bash: echo "##vso[task.setvariable variable=KEY;isSecret=true]s3cr3t"
        - task: AzureCLI@2
          displayName: inline
          inputs:
            azureSubscription: $(connection)
            scriptType: bash
            scriptLocation: inlineScript
            addSpnToEnvironment: true
            inlineScript: |
              echo "id $(az account show --query id -o tsv)"
              az account show | grep simulated
              echo "principal $servicePrincipalId"
        - task: AzureCLI@1
          displayName: file
          inputs:
            azureSubscription: x
            scriptLocation: scriptPath
            scriptPath: deploy.sh
            arguments: my-service
          env: {KEY: $(KEY)}
        """
    )
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.lines()
    assert "id 00000000-0000-0000-0000-000000000000" in lines
    assert "principal simulated" in lines
    assert any("nothing is done with the connection 'my-connection'" in line for line in lines)
    assert "az is simulated: az ml model did nothing in Azure" in lines
    steps = outcome.summary["stages"][0]["jobs"][0]["steps"]
    assert steps[3]["az"] == ["az ml model deploy --name my-service --key ***"]
    assert "s3cr3t" not in str(steps)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("{azureSubscription: x, scriptType: pscore, inlineScript: a}", "scripts run in bash here, not pscore"),
        ("{azureSubscription: x, scriptLocation: inlineScript, scriptPath: a}", "there is no inlineScript"),
        ("{azureSubscription: x, scriptPath: a.sh}", "a.sh does not exist"),
    ],
)  # fmt: skip
def test_a_wrong_call_of_azure_cli_fails(project: Project, inputs: str, message: str) -> None:
    outcome = project.run(f"steps:\n- task: AzureCLI@2\n  inputs: {inputs}\n")
    assert outcome.exit_code == 1
    assert message in outcome.output


def test_a_connection_is_for_the_steps_that_use_it(project: Project) -> None:
    login = project.write("login", "WHERE='https://here'\nAPP_SECRET=s3cr3t-value\n")
    outcome = project.run(
        """
        steps:
        - task: AzureCLI@2
          inputs:
            azureSubscription: Mine
            scriptType: bash
            scriptLocation: inlineScript
            inlineScript: echo "at $WHERE with $APP_SECRET"
        - bash: echo "elsewhere [$WHERE]"
        """,
        *("--connection", f"mine={login}"),
    )
    assert outcome.exit_code == 0, outcome.output
    assert "at https://here with ***" in outcome.output
    assert "elsewhere []" in outcome.output
    assert "s3cr3t-value" not in outcome.output


def test_a_connection_that_is_no_list_of_values_is_refused(project: Project) -> None:
    login = project.write("login", "this is not a value\n")
    steps = "steps:\n- bash: echo hello\n"
    for file in (str(login), "nowhere"):
        outcome = project.run(steps, "--connection", f"mine={file}")
        assert outcome.exit_code == 2
        assert outcome.folder is None


def test_files_are_copied_and_deleted(project: Project) -> None:
    project.write("src/a.py", "x\n")
    project.write("src/deep/b.py", "x\n")
    project.write("src/deep/c.txt", "x\n")
    outcome = project.run(
        """
        steps:
        - task: CopyFiles@2
          inputs:
            SourceFolder: src
            Contents: |
              **/*.py
              !a.py
            TargetFolder: $(Build.ArtifactStagingDirectory)
        - bash: cd "$(Build.ArtifactStagingDirectory)" && find . -type f
        - task: CopyFiles@2
          inputs: {SourceFolder: src, TargetFolder: flat, flattenFolders: true}
        - task: DeleteFiles@1
          inputs: {SourceFolder: flat, Contents: '*.py'}
        - bash: ls flat
        - task: CopyFiles@2
          inputs: {SourceFolder: none, TargetFolder: x}
        """
    )
    lines = outcome.lines()
    assert "./deep/b.py" in lines and "./a.py" not in lines and "./deep/c.txt" not in lines
    assert "c.txt" in lines and "b.py" not in lines
    assert outcome.exit_code == 1
    assert any("none does not exist" in line for line in lines)
