"""Predefined variables: those that have a value here, and the names of those that have one in Azure DevOps alone."""

from __future__ import annotations

import getpass
import platform
import shutil
import socket
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from azure_pipelines_local.repository import Repository
from azure_pipelines_local.variables import Variables

COLLECTION = "http://127.0.0.1/local/"
PROJECT = "local"
_OS = {"Linux": "Linux", "Darwin": "Darwin", "Windows": "Windows_NT"}
_ARCHITECTURE = {"x86_64": "X64", "AMD64": "X64", "aarch64": "ARM64", "arm64": "ARM64"}

ONLY_IN_AZURE = frozenset(
    name.lower()
    for name in """
    Agent.AcceptTeeEula Agent.DiagnosticsDirectory Agent.ReleaseDirectory
    Build.ContainerId Build.CronSchedule.DisplayName Build.DefinitionId Build.DefinitionFolderPath
    Build.QueuedById Build.RequestedForEmail Build.RequestedForId Build.Repository.Git.SubmoduleCheckout
    Build.Repository.ID Build.SourceVersionMessage Build.SourceTfvcShelveset
    Build.StageRequestedBy Build.StageRequestedById
    Build.TriggeredBy.BuildId Build.TriggeredBy.BuildNumber Build.TriggeredBy.DefinitionId
    Build.TriggeredBy.DefinitionName Build.TriggeredBy.ProjectID Build.Type
    Checks.StageAttempt Checks.StageId Environment.Id Environment.ResourceId
    System.AccessToken System.CollectionId System.OidcRequestUri System.PlanId System.TimelineId
    System.PullRequest.IsFork System.PullRequest.PullRequestId System.PullRequest.PullRequestNumber
    System.PullRequest.SourceBranch System.PullRequest.SourceBranchName System.PullRequest.SourceCommitId
    System.PullRequest.SourceRepositoryURI System.PullRequest.TargetBranch
    System.PullRequest.TargetBranchName System.PullRequest.targetBranchName
    System.TeamFoundationServerUri System.WorkFolder
    """.split()
)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What predefined variables say of a run."""

    id: int
    pipeline: str
    start: datetime
    repository: Repository
    tools: Path


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of a job."""

    folder: Path

    @property
    def sources(self) -> Path:
        """Where ``checkout: self`` puts the repository."""
        return self.folder / "s"

    @property
    def staging(self) -> Path:
        """For what will become artifacts."""
        return self.folder / "a"

    @property
    def binaries(self) -> Path:
        """For what is built."""
        return self.folder / "b"

    @property
    def test_results(self) -> Path:
        """For results of tests."""
        return self.folder / "TestResults"

    @property
    def temporary(self) -> Path:
        """Emptied when the job ends."""
        return self.folder / "_temp"

    def holds(self, path: Path) -> bool:
        """Whether a path is in the job's folder. Nothing outside of it is ever deleted."""
        return path.resolve().is_relative_to(self.folder.resolve())

    def make(self) -> None:
        """Make all of them, those empty that every job finds empty."""
        for folder in (self.staging, self.test_results, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (
            self.sources,
            self.staging,
            self.binaries,
            self.test_results,
            self.temporary,
        ):
            folder.mkdir(parents=True, exist_ok=True)


def at_queue_time(facts: RunFacts) -> dict[str, str]:
    """What is known before a pipeline is expanded, and so in ``${{ variables }}`` too."""
    branch = facts.repository.branch
    return {
        "Build.DefinitionName": facts.pipeline,
        "Build.QueuedBy": _user(),
        "Build.Reason": "Manual",
        "Build.Repository.Name": facts.repository.root.name,
        "Build.Repository.Provider": "Git",
        "Build.Repository.Uri": facts.repository.root.as_uri(),
        "Build.RequestedFor": _user(),
        "Build.SourceBranch": branch,
        "Build.SourceBranchName": branch.removeprefix("refs/heads/").rsplit("/", 1)[-1],
        "Build.SourceVersion": facts.repository.commit,
        "System.CollectionUri": COLLECTION,
        "System.DefinitionName": facts.pipeline,
        "System.PipelineStartTime": facts.start.isoformat(sep=" ", timespec="seconds"),
        "System.TeamFoundationCollectionUri": COLLECTION,
        "System.TeamProject": PROJECT,
    }


def of_run(facts: RunFacts) -> Variables:
    """What is the same in the whole run. The build number is added once it is known."""
    values = at_queue_time(facts) | {
        "Agent.HomeDirectory": str(facts.tools.parent),
        "Agent.Id": "1",
        "Agent.MachineName": socket.gethostname(),
        "Agent.Name": "local",
        "Agent.OS": _OS.get(platform.system(), platform.system()),
        "Agent.OSArchitecture": _ARCHITECTURE.get(platform.machine(), platform.machine()),
        "Agent.RootDirectory": str(facts.tools.parent),
        "Agent.ToolsDirectory": str(facts.tools),
        "Agent.WorkFolder": str(facts.tools.parent),
        "Build.BuildId": str(facts.id),
        "Build.BuildUri": f"vstfs:///Build/Build/{facts.id}",
        "Build.DefinitionVersion": "1",
        "Build.Repository.Clean": "False",
        "System.Culture": "en-US",
        "System.Debug": "false",
        "System.DefinitionId": "1",
        "System.HostType": "build",
        "System.TeamProjectId": "00000000-0000-0000-0000-000000000001",
        "TF_BUILD": "True",
    }
    variables = Variables()
    for name, value in values.items():
        variables.set(name, value)
    return variables


def add_job(
    variables: Variables,
    stage: tuple[str, str],
    job: tuple[str, str],
    leg: str,
    position: tuple[int, int],
    workspace: Workspace,
) -> None:
    """Add what is a job's own.

    Args:
        stage: its name and display name; job: the same.
        leg: of a matrix, or the empty text.
        position: the number of this copy, and of how many.
    """
    names = {
        "Agent.BuildDirectory": workspace.folder,
        "Agent.JobName": leg or job[1],
        "Agent.JobStatus": "Succeeded",
        "Agent.TempDirectory": workspace.temporary,
        "Build.ArtifactStagingDirectory": workspace.staging,
        "Build.BinariesDirectory": workspace.binaries,
        "Build.Repository.LocalPath": workspace.sources,
        "Build.SourcesDirectory": workspace.sources,
        "Build.StagingDirectory": workspace.staging,
        "Common.TestResultsDirectory": workspace.test_results,
        "Pipeline.Workspace": workspace.folder,
        "System.ArtifactsDirectory": workspace.staging,
        "System.DefaultWorkingDirectory": workspace.sources,
        "System.JobAttempt": 1,
        "System.JobDisplayName": job[1],
        "System.JobId": f"{stage[0]}.{job[0]}{'.' + leg if leg else ''}",
        "System.JobName": leg or job[0],
        "System.JobPositionInPhase": position[0],
        "System.PhaseAttempt": 1,
        "System.PhaseDisplayName": job[1],
        "System.PhaseName": job[0],
        "System.StageAttempt": 1,
        "System.StageDisplayName": stage[1] or stage[0],
        "System.StageName": stage[0],
        "System.TotalJobsInPhase": position[1],
    }
    for name, value in names.items():
        variables.set(name, str(value))


def known_names() -> frozenset[str]:
    """The names of all predefined variables, in lower case."""
    repository = Repository(Path("/"), "", "", False)
    facts = RunFacts(1, "", datetime.min, repository, Path("/tools"))
    variables = of_run(facts)
    add_job(variables, ("", ""), ("", ""), "", (1, 1), Workspace(Path("/")))
    deployment = {
        "build.buildnumber",
        "environment.name",
        "environment.resourcename",
        "strategy.name",
        "strategy.action",
        "strategy.increment",
        "strategy.cyclename",
    }
    return frozenset({entry.name.lower() for entry in variables} | deployment | ONLY_IN_AZURE)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
