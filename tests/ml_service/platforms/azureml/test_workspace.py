from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ml_service.platforms.base import PlatformError
from tests.azureml_emulator.process import EmulatorProcess

if TYPE_CHECKING:
    from ml_service.platforms.azureml.workspace import AzureWorkspace

ANOTHER = "11111111-2222-3333-4444-555555555555"


def test_a_missing_workspace_is_named_with_where_to_look(
    connect: Callable[..., AzureWorkspace],
) -> None:
    with pytest.raises(PlatformError, match="no workspace nowhere in .*WORKSPACE_NAME.*overview"):
        _ = connect(WORKSPACE_NAME="nowhere").workspace


def test_a_wrong_resource_group_is_named(connect: Callable[..., AzureWorkspace]) -> None:
    with pytest.raises(PlatformError, match="resource group nowhere of subscription"):
        _ = connect(RESOURCE_GROUP="nowhere").workspace


def test_a_subscription_without_access_is_named(connect: Callable[..., AzureWorkspace]) -> None:
    with pytest.raises(PlatformError, match=f"no access to subscription {ANOTHER}"):
        _ = connect(SUBSCRIPTION_ID=ANOTHER).workspace


def test_a_login_without_a_role_says_so(
    connect: Callable[..., AzureWorkspace], fault: Callable[..., None], azure: str
) -> None:
    fault(path=f"{azure}$", status=403, message="no action workspaces/read")
    with pytest.raises(PlatformError, match="may not do that .no action workspaces/read.*role"):
        _ = connect().workspace


def test_the_workspace_is_asked_for_once(
    connect: Callable[..., AzureWorkspace], emulator: EmulatorProcess, azure: str
) -> None:
    workspace = connect()
    seen, _ = emulator.calls()
    assert "501" not in {str(call["status"]) for call in seen}
    for _ in range(3):
        assert workspace.workspace.name == azure
        assert workspace.datastore.name == "workspaceblobstore"
        assert workspace.mlflow is workspace.mlflow
    calls, refused = emulator.calls()
    asked = [call["path"] for call in calls if str(call["path"]).endswith((azure, "/default"))]
    assert len(asked) == 2
    assert refused == []


def test_a_workspace_that_fails_twice_is_opened(
    connect: Callable[..., AzureWorkspace], fault: Callable[..., None], azure: str
) -> None:
    fault(path=f"{azure}$", status=500, times=2)
    assert connect().workspace.name == azure


def test_a_workspace_that_is_busy_is_opened_after_the_time_that_it_asks_for(
    connect: Callable[..., AzureWorkspace], fault: Callable[..., None], azure: str
) -> None:
    fault(path=f"{azure}$", status=429, headers={"Retry-After": "0"})
    assert connect().workspace.name == azure


def test_a_missing_datastore_is_named(connect: Callable[..., AzureWorkspace]) -> None:
    with pytest.raises(PlatformError, match="has no datastore nowhere: set DATASTORE_NAME"):
        _ = connect(DATASTORE_NAME="nowhere").datastore


def test_a_cut_network_says_so(
    connect: Callable[..., AzureWorkspace],
    fault: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = connect()
    assert workspace.workspace
    fault(path="/datastore/", cut=True, times=100)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(PlatformError, match="no answer from localhost: check the network"):
        _ = workspace.datastore


def test_the_cache_belongs_to_the_workspace(
    connect: Callable[..., AzureWorkspace], azure: str
) -> None:
    assert connect().cache.parts[-2:] == ("azureml", azure)
    assert str(connect().cache).startswith(os.environ["MLOPS_HOME"])
