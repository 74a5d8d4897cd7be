"""Settings from the environment and .env: one table of names, typed.

Names that MLOpsPython's users know keep their meaning; those of this project alone begin with MLOPS_.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from insurance_claims.errors import ClaimsError

ALERTS_FILE = Path(__file__).parent / "monitoring" / "alerts" / "alerts.yml"
_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,62}$"
_GUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_COMPUTE = r"^[A-Za-z][A-Za-z0-9-]{1,15}$"
_SERVICE = r"^[a-z][a-z0-9-]{1,30}[a-z0-9]$"
_Kind = TypeVar("_Kind", bound=BaseSettings)
_Location = Annotated[
    str, AfterValidator(lambda text: text if "://" in text else str(Path(text).absolute()))
]
"""A container's address or a folder, whatever folder a process works in."""


class SettingsError(ClaimsError):
    """The environment or .env holds what cannot be used."""


class Settings(BaseSettings):
    """Everything that can be set from outside. Each field's alias is its variable."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    platform: Literal["local", "azureml"] = Field("local", alias="MLOPS_PLATFORM")
    home: Path = Field(Path(".mlops"), alias="MLOPS_HOME")
    model_name: str = Field("insurance_claims", alias="MODEL_NAME", pattern=_NAME)
    dataset_name: str = Field("insurance_claims", alias="DATASET_NAME", pattern=_NAME)
    experiment_name: str = Field("insurance_claims", alias="EXPERIMENT_NAME", pattern=_NAME)
    build_id: str | None = Field(None, alias="BUILD_BUILDID")
    build_uri: str | None = Field(None, alias="BUILD_URI")

    requested_for: str | None = Field(None, alias="BUILD_REQUESTEDFOR")
    github_actor: str | None = Field(None, alias="GITHUB_ACTOR")
    rollout_plan: Path | None = Field(None, alias="MLOPS_ROLLOUT_PLAN")
    alerts: Path = Field(ALERTS_FILE, alias="MLOPS_ALERTS")
    alert_webhook: SecretStr | None = Field(None, alias="MLOPS_ALERT_WEBHOOK")
    collect: _Location | None = Field(None, alias="MLOPS_COLLECT")
    collect_share: float = Field(1.0, alias="MLOPS_COLLECT_SHARE", ge=0, le=1)
    collect_omit: str = Field("", alias="MLOPS_COLLECT_OMIT")
    collected_days: int | None = Field(None, alias="MLOPS_COLLECTED_DAYS", ge=1)

    environments: tuple[str, ...] = ("staging", "production")
    """Names that a model can be deployed to; a platform maps them."""
    canary_environments: tuple[str, ...] = ("production",)
    """Those in which a new version is tried beside the one that answers, and takes its place only if it is as good."""


class AzureSettings(BaseSettings):
    """Where Azure Machine Learning is, who logs in, and the names of what is used there."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    subscription_id: str = Field(alias="SUBSCRIPTION_ID", pattern=_GUID)
    resource_group: str = Field(alias="RESOURCE_GROUP", pattern=r"^[-\w.()]{1,90}$")
    workspace_name: str = Field(alias="WORKSPACE_NAME", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{2,32}$")

    tenant_id: str | None = Field(None, alias="TENANT_ID")
    client_id: str | None = Field(None, alias="SP_APP_ID")
    client_secret: SecretStr | None = Field(None, alias="SP_APP_SECRET")
    login: Literal["auto", "service-principal", "managed-identity", "federated", "cli"] = Field(
        "auto", alias="MLOPS_AZURE_LOGIN"
    )

    datastore_name: str | None = Field(None, alias="DATASTORE_NAME", pattern=r"^[a-z0-9_]{1,255}$")
    compute_name: str = Field("train-cluster", alias="AML_COMPUTE_CLUSTER_NAME", pattern=_COMPUTE)
    compute_sku: str = Field("STANDARD_DS3_V2", alias="AML_COMPUTE_CLUSTER_CPU_SKU")
    compute_priority: Literal["dedicated", "lowpriority"] = Field(
        "dedicated", alias="AML_CLUSTER_PRIORITY"
    )
    compute_min_nodes: int = Field(0, alias="AML_CLUSTER_MIN_NODES", ge=0)
    compute_max_nodes: int = Field(4, alias="AML_CLUSTER_MAX_NODES", ge=1)
    compute_idle_seconds: int = Field(600, alias="AML_CLUSTER_IDLE_SECONDS", ge=60)
    environment_name: str = Field("insurance_claims", alias="AML_ENV_NAME", pattern=_NAME)
    scoring_environment_name: str = Field(
        "insurance_claims_scoring", alias="AML_ENV_NAME_SCORING", pattern=_NAME
    )
    rebuild_environment: bool = Field(False, alias="AML_REBUILD_ENVIRONMENT")

    aci_name: str = Field("insurance-claims-aci", alias="ACI_DEPLOYMENT_NAME", pattern=_SERVICE)
    aks_name: str = Field("insurance-claims-aks", alias="AKS_DEPLOYMENT_NAME", pattern=_SERVICE)
    aks_compute_name: str = Field("aks", alias="AKS_COMPUTE_NAME", pattern=_COMPUTE)


@cache
def settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: lists every variable that is wrong.
    """
    return _read(Settings, "these settings (environment or .env) cannot be used:")


@cache
def azure_settings() -> AzureSettings:
    """The settings of the azureml platform.

    Raises:
        SettingsError: lists every variable that is missing or wrong.
    """
    return _read(
        AzureSettings,
        "platform azureml needs these settings (environment or .env; docs/azureml.md says where they are found):",
    )


def _read(kind: type[_Kind], title: str) -> _Kind:
    try:
        return kind.model_validate({})
    except ValidationError as error:
        problems = [
            # Without the value: it may be a secret that was put into the wrong variable.
            f"  {problem['loc'][0]}: {'not set' if problem['type'] == 'missing' else problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError("\n".join([title, *problems])) from None
