from __future__ import annotations

from typing import Any

import pytest

from ml_service.platforms.azureml.workspace import AzureWorkspace
from ml_service.settings import AzureSettings, Settings


@pytest.fixture(scope="module")
def workspace(azure: str) -> Any:
    """The SDK's workspace."""
    return AzureWorkspace(Settings.model_validate({}), AzureSettings.model_validate({})).workspace


def environment(name: str, variable: str, version: str | None = None) -> Any:
    from azureml.core import Environment

    made = Environment(name)
    made.environment_variables = {"WHICH": variable}
    made.version = version
    return made


def test_the_same_content_without_a_version_is_the_same_version(workspace: Any) -> None:
    assert environment("numbered", "a").register(workspace).version == "1"
    assert environment("numbered", "a").register(workspace).version == "1"
    assert environment("numbered", "b").register(workspace).version == "2"


def test_the_latest_is_what_was_registered_last(workspace: Any) -> None:
    from azureml.core import Environment

    environment("named", "a", "zz").register(workspace)
    environment("named", "b", "aa").register(workspace)
    assert Environment.get(workspace, "named").version == "aa"
    assert Environment.list(workspace)["named"].version == "aa"
    assert Environment.get(workspace, "named", "zz").environment_variables == {"WHICH": "a"}


def test_a_version_does_not_change(workspace: Any) -> None:
    environment("fixed", "a", "v").register(workspace)
    environment("fixed", "a", "v").register(workspace)
    with pytest.raises(Exception, match="Code: 409"):
        environment("fixed", "b", "v").register(workspace)


@pytest.mark.parametrize("version", [None, "v"])
def test_what_is_not_there_is_not_found(workspace: Any, version: str | None) -> None:
    from azureml.core import Environment

    with pytest.raises(Exception, match="Code: 404"):
        Environment.get(workspace, "nowhere", version)


def test_an_image_is_there_after_it_was_built(workspace: Any) -> None:
    made = environment("imaged", "a").register(workspace)
    assert not made.get_image_details(workspace)["imageExistsInRegistry"]
    build = made.build(workspace)
    assert [build.status, build.status] == ["Running", "Succeeded"]
    assert "Successfully built" in build.get_log()
    assert made.get_image_details(workspace)["imageExistsInRegistry"]
