"""Telemetry of an emulator in this process: where to send it, and what reads it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from insurance_claims.telemetry import Connection
from ml_service.monitoring.log_analytics import LogAnalytics, azure_telemetry
from tests.azureml_emulator.context import Workspace
from tests.azureml_emulator.in_process import Site
from tests.azureml_emulator.server import sign
from tests.azureml_emulator.services import telemetry


class Credential:
    """Gives tokens that an emulator takes."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def get_token(self, *scopes: str, **_: Any) -> Any:
        """As a credential of azure-identity."""
        token = self._site.ask(lambda: sign(self._site.context, {"aud": scopes[0]}, 3600))
        return SimpleNamespace(token=token, expires_on=int(time.time()) + 3600)


def connection_of(site: Site, workspace: Workspace) -> Connection:
    """Where telemetry of a workspace is sent."""
    return Connection.parse(site.ask(lambda: telemetry.connection_string(site.context, workspace)))


@contextmanager
def trusted(site: Site) -> Iterator[None]:
    """Azure's clients in this process trust the emulator, and go to it without a proxy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("REQUESTS_CA_BUNDLE", "NO_PROXY"):
            patch.setenv(name, site.context.environment[name])
        yield


def reader_of(site: Site, workspace: Workspace) -> LogAnalytics:
    """What reads a workspace's telemetry back."""
    logs = site.ask(lambda: telemetry.customer_id(workspace))
    component = telemetry.component_id(workspace)
    return azure_telemetry(Credential(site), logs, component, site.context.base_url)
