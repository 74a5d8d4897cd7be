"""Test results and coverage: read, counted and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from azure_pipelines_local.matching import find, split_patterns
from azure_pipelines_local.state import copy_whole
from azure_pipelines_local.tasks.task import Call, Task, TaskFailed, inputs

_SHOWN_FAILURES = 10


@dataclass(slots=True)
class Counts:
    """Tests of one or more files."""

    tests: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Take another file's tests in."""
        self.tests += other.tests
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures


def _parsed(file: Path) -> ElementTree.Element:
    content = file.read_bytes()
    if b"<!ENTITY" in content:
        raise TaskFailed(f"{file} defines XML entities: it is not read")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise TaskFailed(f"{file} is not XML: {error}") from None


def read_junit(file: Path) -> Counts:
    """Count the tests in a JUnit file.

    Raises:
        TaskFailed: it is none.
    """
    root = _parsed(file)
    if root.tag not in ("testsuites", "testsuite"):
        raise TaskFailed(f"{file} is not in JUnit's format: its root is {root.tag}")
    counts = Counts()
    for case in root.iter("testcase"):
        counts.tests += 1
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed += 1
            counts.failures.append(f"{case.get('classname', '')}.{case.get('name', '')}".strip("."))
        elif case.find("skipped") is not None:
            counts.skipped += 1
    return counts


def read_cobertura(file: Path) -> float:
    """The share of lines that are covered, from 0 to 1.

    Raises:
        TaskFailed: the file is not in Cobertura's format.
    """
    root = _parsed(file)
    try:
        rate = float(root.get("line-rate", ""))
    except ValueError:
        rate = -1.0
    if root.tag != "coverage" or not 0 <= rate <= 1:
        raise TaskFailed(f"{file} is not in Cobertura's format: it has no line-rate from 0 to 1")
    return rate


def _publish_tests(call: Call) -> None:
    kind = call.get("testResultsFormat", "JUnit")
    if kind.lower() != "junit":
        raise TaskFailed(f"results are read in JUnit's format, not {kind}")
    folder = call.path("searchFolder")
    patterns = split_patterns(call.get("testResultsFiles", "**/TEST-*.xml"))
    files = find(folder, patterns, anywhere=True) if folder.is_dir() else []
    if not files:
        text = f"no test results in {folder} for {', '.join(patterns)}"
        if call.flag("failTaskOnMissingResultsFile"):
            raise TaskFailed(text)
        call.warn(text)
        return
    total = Counts()
    for file in files:
        total.add(read_junit(file))
        _keep(call, file, "tests")
    title = call.get("testRunTitle", call.agent.step.display_name)
    facts = {"title": title, "tests": total.tests, "failed": total.failed, "skipped": total.skipped}
    call.agent.session.record.tests.append(facts)
    call.say(f"{title}: {total.tests} tests, {total.failed} failed, {total.skipped} skipped")
    for name in total.failures[:_SHOWN_FAILURES]:
        call.say(f"##[error]failed: {name}")
    if total.failed and call.flag("failTaskOnFailedTests"):
        raise TaskFailed(f"{total.failed} of {total.tests} tests failed")


def _publish_coverage(call: Call) -> None:
    tool = call.get("codeCoverageTool", "Cobertura")
    if tool.lower() != "cobertura":
        raise TaskFailed(f"coverage is read in Cobertura's format, not {tool}")
    folder = call.agent.sources
    files = find(folder, split_patterns(call.get("summaryFileLocation")), anywhere=True)
    if not files:
        text = f"no coverage file matches {call.get('summaryFileLocation')}"
        if call.flag("failIfCoverageEmpty"):
            raise TaskFailed(text)
        call.warn(text)
        return
    for file in files:
        rate = read_cobertura(file)
        shown = file.relative_to(folder) if file.is_relative_to(folder) else file
        facts = {"file": str(shown), "line_rate": rate}
        call.agent.session.record.coverage.append(facts)
        _keep(call, file, "coverage")
        call.say(f"coverage of lines: {rate:.1%} ({file.name})")


def _keep(call: Call, file: Path, kind: str) -> None:
    folder = call.agent.session.folder / kind
    number = len(list(folder.iterdir())) + 1 if folder.is_dir() else 1
    copy_whole(file, folder / f"{number}-{file.name}")


TASKS = (
    Task(
        "PublishTestResults@2",
        _publish_tests,
        inputs(
            "testResultsFiles",
            "searchFolder",
            "mergeTestResults",
            "failTaskOnFailedTests",
            "failTaskOnFailureToPublishResults",
            "failTaskOnMissingResultsFile",
            "testRunTitle",
            "publishRunAttachments",
            testResultsFormat="testRunner",
            buildPlatform="platform",
            buildConfiguration="configuration",
        ),
    ),
    *(
        Task(
            f"PublishCodeCoverageResults@{version}",
            _publish_coverage,
            inputs(
                "codeCoverageTool",
                "summaryFileLocation",
                "pathToSources",
                "reportDirectory",
                "additionalCodeCoverageFiles",
                "failIfCoverageEmpty",
            ),
            (("summaryFileLocation",),),
        )
        for version in (1, 2)
    ),
)
