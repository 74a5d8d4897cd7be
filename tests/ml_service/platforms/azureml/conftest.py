"""What the tests of the Azure platform share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

# Before any test imports the SDK: turns its telemetry off.
import ml_service.platforms.azureml  # noqa: F401
from ml_service.settings import AzureSettings, Settings

if TYPE_CHECKING:
    from ml_service.platforms.azureml.workspace import AzureWorkspace
    from tests.azureml_emulator.process import EmulatorProcess

# The SDK reads these when it is imported: how long it waits before it asks again.
os.environ.setdefault("AZUREML_DEFAULT_BACKOFF", "0")
os.environ.setdefault("AZUREML_DEFAULT_500_BACKOFF", "0")
os.environ.setdefault("AZUREML_DEFAULT_503_BACKOFF", "0")


@pytest.fixture
def connect(azure: str) -> Callable[..., AzureWorkspace]:
    """Opens the module's workspace like another process would, with some variables set otherwise."""
    from ml_service.platforms.azureml.workspace import AzureWorkspace

    def open_with(**variables: str) -> AzureWorkspace:
        return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate(variables))

    return open_with


@pytest.fixture
def fault(emulator: EmulatorProcess) -> Iterator[Callable[..., None]]:
    """Asks for a fault; none is left behind."""
    yield emulator.fault
    emulator.clear_faults()


@pytest.fixture
def lines() -> list[str]:
    """Collects what is logged: its ``append`` is a log."""
    return []


def no_wait(_seconds: float) -> None:
    """Takes no time."""
