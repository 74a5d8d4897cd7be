"""The workspace: opened once, with what belongs to it."""

from __future__ import annotations

import logging
import pkgutil
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock

from ml_service.platforms.azureml.errors import status, translated
from ml_service.platforms.azureml.login import authentication
from ml_service.platforms.base import PlatformError
from ml_service.settings import AzureSettings, Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

_Result = TypeVar("_Result")


class AzureWorkspace:
    """An Azure Machine Learning workspace. Nothing is asked of Azure before it is needed, and nothing twice.

    Attributes:
        settings: of the project.
        azure: where the workspace is, and the names of what is used there.
        cache: folder on this machine for what was fetched from it.
    """

    def __init__(self, settings: Settings, azure: AzureSettings) -> None:
        self.settings = settings
        self.azure = azure
        self.cache = settings.home.absolute() / "azureml" / azure.workspace_name
        self._kept: dict[str, Any] = {}

    @cached_property
    def authentication(self) -> Any:
        """The SDK's authentication object.

        Raises:
            SettingsError: the login lacks settings.
        """
        return authentication(self.azure)

    @property
    def cloud(self) -> Any:
        """The addresses of this cloud: Azure Resource Manager, Log Analytics and others."""
        return self.authentication._cloud_type.endpoints

    @cached_property
    def workspace(self) -> Any:
        """The SDK's ``Workspace``.

        Raises:
            SettingsError: the login lacks settings.
            PlatformError: there is none, or this login does not get at it.
        """
        quiet()
        from azureml.core import Workspace
        from azureml.exceptions import ProjectSystemException, UserErrorException

        azure = self.azure
        place = f"resource group {azure.resource_group} of subscription {azure.subscription_id}"
        with translated(f"opening workspace {azure.workspace_name}"):
            try:
                return Workspace.get(
                    azure.workspace_name,
                    auth=self.authentication,
                    subscription_id=azure.subscription_id,
                    resource_group=azure.resource_group,
                )
            except ProjectSystemException as error:
                if "Workspace not found" not in error.message:
                    raise
                raise PlatformError(
                    f"there is no workspace {azure.workspace_name} in {place}, or this login may not see it: "
                    "compare WORKSPACE_NAME, RESOURCE_GROUP and SUBSCRIPTION_ID with the workspace's overview page "
                    "in the Azure portal"
                ) from error
            except UserErrorException as error:
                if "subscription" not in error.message or "access" not in error.message:
                    raise
                raise PlatformError(
                    f"this login has no access to subscription {azure.subscription_id}: check SUBSCRIPTION_ID and "
                    "TENANT_ID, and that the login has a role on the workspace"
                ) from error

    @cached_property
    def datastore(self) -> Any:
        """The SDK's datastore for data versions: DATASTORE_NAME, or the workspace's own.

        Raises:
            PlatformError: there is none of that name.
        """
        if self.azure.datastore_name is not None:
            return self._look_up_datastore(self.azure.datastore_name)
        return self.default_datastore

    @cached_property
    def default_datastore(self) -> Any:
        """The SDK's datastore that every workspace has."""
        from azureml.core import Datastore

        workspace = self.workspace
        with translated("looking up the workspace's datastore"):
            return Datastore.get_default(workspace)

    def datastore_named(self, name: str) -> Any:
        """The SDK's datastore of this name.

        Raises:
            PlatformError: there is none.
        """
        if name == self.datastore.name:
            return self.datastore
        return self.once(f"datastore:{name}", lambda: self._look_up_datastore(name))

    def _look_up_datastore(self, name: str) -> Any:
        from azureml.core import Datastore

        workspace = self.workspace
        with translated(f"looking up datastore {name}"):
            try:
                return Datastore.get(workspace, name)
            except Exception as error:
                if status(error) != 404:
                    raise
                raise PlatformError(
                    f"workspace {self.azure.workspace_name} has no datastore {name}: set DATASTORE_NAME to one that it "
                    "has (Azure ML studio: Data, Datastores), or leave it out for the workspace's own"
                ) from error

    @cached_property
    def mlflow(self) -> MlflowClient:
        """MLflow's client of this workspace."""
        from mlflow import MlflowClient

        workspace = self.workspace
        with translated("opening MLflow of the workspace"):
            return MlflowClient(workspace.get_mlflow_tracking_uri())

    def once(self, key: str, make: Callable[[], _Result]) -> _Result:
        """What ``make`` gave under this key the first time: look-ups are not repeated."""
        if key not in self._kept:
            self._kept[key] = make()
        kept: _Result = self._kept[key]
        return kept

    def lock(self, name: str) -> FileLock:
        """A lock on a part of the cache that holds between processes and goes with the one that holds it."""
        folder = self.cache / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock")


def quiet() -> None:
    """Keep the SDK from printing what its exceptions say again."""
    import azureml.data

    warnings.filterwarnings("ignore", module=r"(azureml|msrest|azure|paramiko)\b")
    for name in ("azureml", "azure", "msrest", "msal", "urllib3", "mlflow"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for module in pkgutil.iter_modules(azureml.data.__path__):
        # These loggers do not propagate and set their own level: without a handler they print.
        name = f"azureml.data._loggerfactory.azureml.data.{module.name}"
        logging.getLogger(name).addHandler(logging.NullHandler())
