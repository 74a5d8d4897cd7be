"""Publishing and downloading artifacts."""

from __future__ import annotations

from pathlib import Path

from azure_pipelines_local import artifacts
from azure_pipelines_local.state import KeptRun
from azure_pipelines_local.tasks.task import Call, Task, TaskFailed, inputs


def _publish(call: Call) -> None:
    _keep(
        call, call.path("targetPath"), call.get("artifact", call.agent.step.name or "drop"), False
    )


def _publish_build(call: Call) -> None:
    default = str(call.agent.workspace.staging)
    _keep(call, call.path("PathtoPublish", default), call.get("ArtifactName", "drop"), True)


def _keep(call: Call, source: Path, name: str, add: bool) -> None:
    count = artifacts.publish(source, call.agent.session.artifacts, name, add)
    call.say(f"artifact {name}: {count} files")


def _short_download(call: Call) -> None:
    source = call.get("source", "current")
    if source == "none":
        call.say("no artifacts are needed")
        return
    workspace = call.agent.workspace.folder
    stores, base = _stores(call, source), workspace / call.get("path")
    if source != "current" and not call.get("path"):
        base = workspace / source
    name = call.get("artifact")
    for one in [name] if name else _all(stores):
        target = base if call.get("path") and name else base / one
        _fetch(call, stores, one, target, call.get("patterns"))


def _download(call: Call) -> None:
    kind = call.get("buildType", "current").lower()
    if kind == "current":
        stores = _stores(call, "current")
    else:
        stores = [_specific(call).artifacts]
    base = call.path("targetPath", str(call.agent.workspace.folder))
    patterns = call.get("itemPattern", "**")
    if name := call.get("artifactName"):
        _fetch(call, stores, name, base, patterns)
        return
    for name in _all(stores):
        _fetch(call, stores, name, base / name, patterns)


def _download_build(call: Call) -> None:
    kind = call.get("buildType", "current").lower()
    stores = _stores(call, "current") if kind == "current" else [_specific(call).artifacts]
    base = call.path("downloadPath", str(call.agent.workspace.staging))
    name = call.get("artifactName")
    for one in [name] if name else _all(stores):
        _fetch(call, stores, one, base / one, call.get("itemPattern"))


def _specific(call: Call) -> KeptRun:
    state = call.agent.session.state
    if run := call.get("runId"):
        return state.find(run)
    name = call.get("definition")
    found = state.latest(name)
    if found is None:
        raise TaskFailed(f"no run of the pipeline {name!r} is kept that succeeded: run it first")
    return found


def _stores(call: Call, source: str) -> list[Path]:
    session = call.agent.session
    if source == "current":
        return session.artifact_stores
    found = {alias.lower(): run for alias, run in session.resources.items()}.get(source.lower())
    if found is None:
        known = ", ".join(session.resources) or "none"
        raise TaskFailed(f"there is no pipeline resource {source!r}; there is: {known}")
    return [found.artifacts]


def _all(stores: list[Path]) -> list[str]:
    return list(dict.fromkeys(name for store in stores for name in artifacts.names(store)))


def _fetch(call: Call, stores: list[Path], name: str, target: Path, patterns: str) -> None:
    count = artifacts.fetch(artifacts.locate(stores, name), target, patterns)
    call.say(f"artifact {name}: {count} files to {target}")


_FROM_RUN = {
    "buildType": ("source",),
    "project": (),
    "definition": ("pipeline",),
    "specificBuildWithTriggering": ("preferTriggeringPipeline",),
    "buildVersionToDownload": ("runVersion",),
    "allowPartiallySucceededBuilds": (),
    "allowFailedBuilds": (),
    "branchName": ("runBranch",),
    "runId": ("pipelineId", "buildId"),
    "tags": (),
    "artifactName": ("artifact",),
    "itemPattern": ("patterns",),
}

TASKS = (
    *(
        Task(
            f"PublishPipelineArtifact@{version}",
            _publish,
            inputs(
                "publishLocation",
                "fileSharePath",
                "parallel",
                "parallelCount",
                "properties",
                targetPath="path",
                artifact="artifactName",
            ),
            (("targetPath",),),
        )
        for version in (0, 1)
    ),
    Task(
        "PublishBuildArtifacts@1",
        _publish_build,
        inputs("PathtoPublish", "ArtifactName", "publishLocation", "MaxArtifactSize", "StoreAsTar"),
    ),
    Task(
        "Download@1",
        _short_download,
        inputs("source", "artifact", "patterns", "path"),
        public=False,
    ),
    Task(
        "DownloadPipelineArtifact@2",
        _download,
        {**_FROM_RUN, "targetPath": ("path", "downloadPath")},
    ),
    *(
        Task(
            f"DownloadBuildArtifacts@{version}",
            _download_build,
            {**_FROM_RUN, "downloadType": (), "downloadPath": ()},
        )
        for version in (0, 1)
    ),
)
