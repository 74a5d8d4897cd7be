"""The platform azureml put together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.settings import AzureSettings, Settings

if TYPE_CHECKING:
    from ml_service.platforms.azureml.batch import AzureBatch
    from ml_service.platforms.azureml.data import AzureData
    from ml_service.platforms.azureml.documents import AzureDocuments
    from ml_service.platforms.azureml.endpoints import AzureEndpoints
    from ml_service.platforms.azureml.models import AzureModels
    from ml_service.platforms.azureml.pipelines import AzurePipelines
    from ml_service.platforms.azureml.schedules import AzureSchedules


class AzureMLPlatform:
    """Everything in one workspace. Nothing is asked of it before it is needed.

    Args:
        settings: names, and the folder for what is fetched.
        azure: where the workspace is, and who logs in.
    """

    name = "azureml"

    def __init__(self, settings: Settings, azure: AzureSettings) -> None:
        self._settings = settings
        self.workspace = AzureWorkspace(settings, azure)

    @cached_property
    def data(self) -> AzureData:
        """Data versions: registered datasets."""
        from ml_service.platforms.azureml.data import AzureData

        return AzureData(self.workspace)

    @cached_property
    def models(self) -> AzureModels:
        """The workspace's registry, through MLflow."""
        from ml_service.platforms.azureml.models import AzureModels

        return AzureModels(self.workspace, self._settings.model_name)

    @cached_property
    def pipelines(self) -> AzurePipelines:
        """Published pipelines and their runs."""
        from ml_service.platforms.azureml.pipelines import AzurePipelines

        chosen = self._settings
        build = {"BUILD_BUILDID": chosen.build_id, "BUILD_URI": chosen.build_uri}
        lineage = {name: value for name, value in build.items() if value}
        return AzurePipelines(self.workspace, self.data, lineage)

    @cached_property
    def endpoints(self) -> AzureEndpoints:
        """Web services: ACI and AKS."""
        from ml_service.platforms.azureml.endpoints import AzureEndpoints

        return AzureEndpoints(self.workspace, self.models)

    @cached_property
    def documents(self) -> AzureDocuments:
        """What commands remember: blobs in the workspace's own datastore."""
        from ml_service.platforms.azureml.blobs import container_client
        from ml_service.platforms.azureml.documents import AzureDocuments

        return AzureDocuments(lambda: container_client(self.workspace.default_datastore))

    @cached_property
    def schedules(self) -> AzureSchedules:
        """Published pipelines that run by themselves."""
        from ml_service.platforms.azureml.schedules import AzureSchedules

        return AzureSchedules(self.workspace, self.pipelines)

    @cached_property
    def batch(self) -> AzureBatch:
        """Batch scoring on the nodes of a cluster."""
        from ml_service.platforms.azureml.batch import AzureBatch

        return AzureBatch(self.workspace, self.pipelines)

    def describe(self) -> Mapping[str, str]:
        """Which workspace it is, and MLflow's address of it."""
        found = self.workspace.workspace
        return {
            "workspace": str(found.name),
            "resource group": str(found.resource_group),
            "region": str(found.location),
            "tracking": str(found.get_mlflow_tracking_uri()),
        }
