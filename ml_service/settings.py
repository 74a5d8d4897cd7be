"""Settings from the environment and .env: one table of names, typed.

Names that MLOpsPython's users know keep their meaning; those of this project alone begin with MLOPS_.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from insurance_claims.errors import ClaimsError

_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,62}$"


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

    platform: Literal["local"] = Field("local", alias="MLOPS_PLATFORM")
    home: Path = Field(Path(".mlops"), alias="MLOPS_HOME")
    model_name: str = Field("insurance_claims", alias="MODEL_NAME", pattern=_NAME)
    dataset_name: str = Field("insurance_claims", alias="DATASET_NAME", pattern=_NAME)
    experiment_name: str = Field("insurance_claims", alias="EXPERIMENT_NAME", pattern=_NAME)
    build_id: str | None = Field(None, alias="BUILD_BUILDID")
    build_uri: str | None = Field(None, alias="BUILD_URI")

    environments: tuple[str, ...] = ("staging", "production")
    """Names that a model can be deployed to; a platform maps them."""


@cache
def settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: lists every variable that is wrong.
    """
    try:
        return Settings.model_validate({})
    except ValidationError as error:
        problems = [
            # Without the value: it may be a secret that was put into the wrong variable.
            f"  {problem['loc'][0]}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError(
            "\n".join(["these settings (environment or .env) cannot be used:", *problems])
        ) from None
