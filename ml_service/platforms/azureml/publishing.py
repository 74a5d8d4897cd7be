"""Published pipelines: a name and a version (the build id) stand for one pipeline that never changes.

Azure gives each publication an id and lets any number of them have the same name and version, so that uniqueness is
kept here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_service.platforms.azureml.definition import Definition, read_definition
from ml_service.platforms.azureml.errors import status, translated
from ml_service.platforms.azureml.rest import get_json
from ml_service.platforms.azureml.silence import silent
from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.platforms.base import Log, PlatformError, PublishedPipeline


def publish(
    ws: AzureWorkspace,
    name: str,
    version: str,
    definition: Definition,
    make: Callable[[], Any],
    log: Log,
) -> PublishedPipeline:
    """Publish a pipeline once, and let the endpoint of its name lead to it.

    Args:
        ws: the workspace.
        name: of the pipeline.
        version: the build id.
        definition: of the pipeline.
        make: builds the SDK's ``Pipeline``; called only where it is not published yet.
        log: gets the progress.

    Raises:
        PlatformError: another content was published under this name and version.
    """
    found = _active(ws, name, version)
    if not found:
        pipeline = make()
        with translated(f"publishing {name} version {version}"), silent():
            made = pipeline.publish(name, definition.describe(), version)
        # Another build may have done the same meanwhile.
        found = _active(ws, name, version)
        if len(found) > 1:
            found = [_keep_first(ws, found, made, log)]
        log(f"published {name} version {version}")
    else:
        log(f"{name} version {version} is published already")
    kept = _only(found, name, version)
    known = read_definition(kept.description)
    if known is None or known.content != definition.content:
        raise PlatformError(
            f"another {name} was published as version {version} already: publish under a new version"
        )
    _lead_to(ws, name, kept, log)
    return PublishedPipeline(name, version, str(kept.id))


def find(ws: AzureWorkspace, name: str, version: str) -> Any:
    """The SDK's ``PublishedPipeline`` of this name and version.

    Raises:
        PlatformError: there is none, or there are several.
    """
    return _only(_active(ws, name, version), name, version)


def _active(ws: AzureWorkspace, name: str, version: str) -> list[Any]:
    from azureml.pipeline.core import PublishedPipeline as AzurePublished

    workspace = ws.workspace
    with translated("listing the published pipelines"):
        listed = AzurePublished.list(workspace)
    return [item for item in listed if item.name == name and item.version == version]


def _only(found: list[Any], name: str, version: str) -> Any:
    if not found:
        raise PlatformError(
            f"no pipeline {name} was published as version {version}: publish it with `mlops publish`"
        )
    if len(found) > 1:
        ids = ", ".join(str(item.id) for item in found)
        raise PlatformError(
            f"{len(found)} pipelines are published as {name} version {version} ({ids}): disable all but one of them in "
            "Azure ML studio (Pipelines, Pipeline endpoints), or publish under a new version"
        )
    return found[0]


def _keep_first(ws: AzureWorkspace, found: list[Any], made: Any, log: Log) -> Any:
    """Disable all but the one that the service made first, as whoever else sees them does too."""
    first, *later = sorted(found, key=lambda item: (_created(ws, item), str(item.id)))
    for item in later:
        with translated(f"disabling {item.name} version {item.version}, which was published twice"):
            item.disable()
    if first.id != made.id:
        log(f"another build published {made.name} version {made.version} first: that one is kept")
    return first


def _created(ws: AzureWorkspace, published: Any) -> str:
    """When the service made it. The SDK's object does not say so, the service does."""
    base = str(published.endpoint).partition("/PipelineRuns/")[0]
    what = f"looking up {published.name} version {published.version}"
    return str(get_json(ws, f"{base}/Pipelines/{published.id}", what)["CreatedDate"])


def _lead_to(ws: AzureWorkspace, name: str, published: Any, log: Log) -> None:
    """Let the endpoint that is called like the pipeline have this one as its newest version and its default."""
    with translated(f"updating pipeline endpoint {name}"), silent():
        changed = _updated(ws.workspace, name, published)
    if changed:
        log(f"pipeline endpoint {name} leads to version {published.version}")


def _updated(workspace: Any, name: str, published: Any) -> bool:
    """Whether the endpoint had to be made or changed."""
    from azureml.pipeline.core import PipelineEndpoint

    endpoint = _endpoint(workspace, name)
    if endpoint is None:
        try:
            PipelineEndpoint.publish(workspace, name, f"the newest {name}", published)
            return True
        except Exception:
            # Another build made it meanwhile, or there is a reason that the look-up does not change.
            endpoint = _endpoint(workspace, name)
            if endpoint is None:
                raise
    if any(version.pipeline_id == published.id for version in endpoint.pipeline_version_list):
        return False
    endpoint.add_default(published)
    return True


def _endpoint(workspace: Any, name: str) -> Any:
    from azureml.pipeline.core import PipelineEndpoint

    try:
        return PipelineEndpoint.get(workspace, name=name)
    except Exception as error:
        if status(error) != 404:
            raise
        return None
