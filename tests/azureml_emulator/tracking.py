"""MLflow in each workspace: a real store on SQLite, and MLflow's own handlers to answer for it.

``registered_models`` and ``model_files`` are for the service of azureml-core's models, which sees the same registry.
MLflow takes seconds to import: nothing here imports it before it is needed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tests.azureml_emulator.context import Context, Workspace
from tests.azureml_emulator.routing import Answer
from tests.azureml_emulator.services import artifacts

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

API = "/api/2.0/mlflow/"
ORIGIN = "ExperimentRun"
"""Of the artifacts that runs log."""

_DATABASE = "mlflow.db"
_SOURCE = re.compile(r"(?:azureml://.+/runs/([^/]+)/artifacts|runs:/([^/]+))/(.+)")
# MLflow's handlers know one store, in a variable of their module: one call at a time.
_LOCK = threading.RLock()
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """One version of a model that was registered through MLflow.

    Attributes:
        name: of the model.
        version: 1, 2, ...
        created: milliseconds since 1970, UTC.
        run_id: the run that logged its files; may be empty.
        source: where they are, as it was given.
        tags: of the version.
        description: of the version.
        prefix: of its artifacts, ``ORIGIN/CONTAINER/PATH``; empty where the source is none of the workspace's.
    """

    name: str
    version: int
    created: int
    run_id: str
    source: str
    tags: Mapping[str, str]
    description: str
    prefix: str


def container(run_id: str) -> str:
    """The container of a run's artifacts."""
    return f"dcid.{run_id}"


def artifact_root(context: Context, workspace: Workspace, experiment: str) -> str:
    """Where MLflow says that an experiment's runs keep their files."""
    host = context.base_url.partition("://")[2]
    return f"azureml://{host}/mlflow/v2.0{workspace.path}/experiments/{experiment}/runs"


async def in_store(
    context: Context, workspace: Workspace, work: Callable[[TrackingStore], _Result]
) -> _Result:
    """What a function says of the workspace's tracking store, asked in a thread."""

    def run() -> _Result:
        with _LOCK:
            return work(_tracking(_database(context, workspace)))

    return await asyncio.to_thread(run)


async def answer(
    context: Context, workspace: Workspace, method: str, path: str, query: str, body: bytes
) -> Answer:
    """MLflow's answer to a call.

    Args:
        context: the emulator.
        workspace: whose store is meant.
        method: GET, POST, ...
        path: ``/api/2.0/mlflow/...``.
        query: as it was sent.
        body: as it was sent.
    """

    def run() -> Answer:
        with _LOCK:
            database = _database(context, workspace)
            client = _client()
            _select(database)
            response = client.open(
                path,
                method=method,
                query_string=query,
                data=body or None,
                content_type="application/json",
            )
            return Answer(
                response.status_code, response.get_data(), {"Content-Type": "application/json"}
            )

    return await asyncio.to_thread(run)


async def registered_models(workspace: Workspace) -> list[RegisteredModel]:
    """Every version of every model that was registered through MLflow, in the order of registration."""
    database = workspace.folder / _DATABASE
    if not database.is_file():
        return []

    def run() -> list[RegisteredModel]:
        with _LOCK:
            store = _registry(database)
            found: list[RegisteredModel] = []
            token: str | None = None
            while token != "":
                page = store.search_model_versions("", max_results=1000, page_token=token)
                found += [_registered(item) for item in page]
                token = page.token or ""
        return sorted(found, key=lambda item: (item.created, item.name, item.version))

    return await asyncio.to_thread(run)


async def model_files(workspace: Workspace, name: str, version: int) -> dict[str, Path]:
    """The files of a model that was registered through MLflow, by their path below the model's folder.

    Returns:
        Nothing where there is no such version, or none of its files.
    """
    for model in await registered_models(workspace):
        if (model.name, model.version) == (name, version) and model.prefix:
            return artifacts.files(workspace, model.prefix)
    return {}


def _registered(item: Any) -> RegisteredModel:
    match = _SOURCE.fullmatch(item.source or "")
    prefix = f"{ORIGIN}/{container(match[1] or match[2])}/{match[3]}" if match else ""
    return RegisteredModel(
        name=item.name,
        version=int(item.version),
        created=item.creation_timestamp,
        run_id=item.run_id or "",
        source=item.source or "",
        tags=dict(item.tags),
        description=item.description or "",
        prefix=prefix,
    )


def _database(context: Context, workspace: Workspace) -> Path:
    """The workspace's database. Making one takes MLflow seconds, so that each is a copy of the first."""
    database = workspace.folder / _DATABASE
    if not database.is_file():
        template = context.folder / "mlflow-empty.db"
        if not template.is_file():
            _make_empty(template)
        aside = database.with_suffix(".part")
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(template, aside)
        connection = sqlite3.connect(aside)
        with connection:
            location = artifact_root(context, workspace, "Default")
            connection.execute("UPDATE experiments SET artifact_location = ?", (location,))
        connection.close()
        aside.replace(database)
    return database


def _make_empty(template: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    aside = template.with_suffix(".part")
    aside.unlink(missing_ok=True)
    # Files go to the workspace's storage: MLflow makes this folder, and nobody uses it.
    store = SqlAlchemyStore(f"sqlite:///{aside}", str(template.parent / "mlflow-unused"))
    store.engine.dispose()
    aside.replace(template)


@cache
def _tracking(database: Path) -> TrackingStore:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    return SqlAlchemyStore(f"sqlite:///{database}", str(database.parent / "mlflow-unused"))


@cache
def _registry(database: Path) -> RegistryStore:
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    return SqlAlchemyStore(f"sqlite:///{database}")


def _select(database: Path) -> None:
    """Let MLflow's handlers answer for this store."""
    from mlflow.server import handlers

    vars(handlers).update(
        _tracking_store=_tracking(database), _model_registry_store=_registry(database)
    )


@cache
def _client() -> FlaskClient:
    from flask import Flask
    from mlflow.server import handlers

    application = Flask("mlflow")
    for number, (path, handler, methods) in enumerate(handlers.get_endpoints()):
        if path.startswith(API):
            application.add_url_rule(path, f"handler{number}", handler, methods=methods)
    return application.test_client()
