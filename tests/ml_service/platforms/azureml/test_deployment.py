"""deployment.yml: what it says, and what it must not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_service.platforms.azureml.deployment import load_deployments
from ml_service.platforms.base import PlatformError
from ml_service.settings import Settings

GOOD = """
staging: {target: container-instance, cpu: 1, memory_gb: 1, application_insights: true, collect_model_data: false}
"""


def test_every_environment_of_the_settings_has_its_section() -> None:
    found = load_deployments()
    assert set(found) == set(Settings.model_validate({}).environments)
    assert found["staging"].target == "container-instance"
    assert found["production"].autoscale is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.replace("cpu: 1", "cpus: 1"), "staging.cpus: Extra inputs"),
        (GOOD.replace("cpu: 1", "cpu: 0"), "staging.cpu: .* greater than 0"),
        (GOOD.replace("container-instance", "moon"), "staging.target"),
        (GOOD.replace("cpu: 1,", ""), "staging.cpu: Field required"),
        (GOOD.replace("false}", "false, autoscale: {}}"), "staging.autoscale.min_replicas"),
        (
            GOOD.replace(
                "false}",
                "false, autoscale: {min_replicas: 1, max_replicas: 2, target_utilization: 70}}",
            ),
            "autoscale needs target: kubernetes",
        ),
        (
            GOOD.replace("container-instance", "kubernetes").replace(
                "false}",
                "false, autoscale: {min_replicas: 3, max_replicas: 2, target_utilization: 70}}",
            ),
            "min_replicas is above max_replicas",
        ),
        (GOOD + GOOD.replace("staging", "another"), "only one environment"),
        ("staging: [", "is not YAML"),
        ("- staging", "dictionary"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "deployment.yml"
    file.write_text(text)
    with pytest.raises(PlatformError, match=reason) as caught:
        load_deployments(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="nothing.yml cannot be read"):
        load_deployments(tmp_path / "nothing.yml")
