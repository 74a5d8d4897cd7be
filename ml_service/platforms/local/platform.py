"""The local platform put together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ml_service.platforms.local.data import LocalData
from ml_service.platforms.local.documents import LocalDocuments
from ml_service.platforms.local.models import LocalModels
from ml_service.platforms.local.pipelines import LocalPipelines
from ml_service.platforms.local.state import State
from ml_service.settings import Settings

if TYPE_CHECKING:
    from ml_service.platforms.local.endpoints import LocalEndpoints


class LocalPlatform:
    """Everything on this machine, below one folder."""

    name = "local"

    def __init__(self, settings: Settings) -> None:
        self.state = State(settings.home)
        self.data = LocalData(self.state)
        self.models = LocalModels(self.state, settings.model_name)
        build = {"BUILD_BUILDID": settings.build_id, "BUILD_URI": settings.build_uri}
        lineage = {name: value for name, value in build.items() if value}
        self.documents = LocalDocuments(self.state.home / "documents")
        self.pipelines = LocalPipelines(
            self.state, self.data, self.documents, settings.experiment_name, lineage
        )
        self._settings = settings

    @cached_property
    def endpoints(self) -> LocalEndpoints:
        """Endpoints, imported when they are asked for: most commands need no HTTP client."""
        from ml_service.platforms.local.endpoints import LocalEndpoints

        chosen = self._settings
        return LocalEndpoints(
            self.state.home, self.models.fetch, chosen.model_name, chosen.environments
        )

    def describe(self) -> Mapping[str, str]:
        """Where its state is, and MLflow's address of it."""
        return {"state": str(self.state.home), "tracking": self.state.tracking_uri}
