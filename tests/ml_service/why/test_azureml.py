"""The same on Azure Machine Learning: what runs were made of is kept, and a killed step is explained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ml_service.pipeline import load_pipeline
from ml_service.settings import AzureSettings, Settings
from ml_service.why.evidence import gather
from ml_service.why.rules import verdict
from tests.ml_service.watched import PIPELINE, write_package


def test_a_killed_step_of_a_published_pipeline(azure: str, tmp_path: Path) -> None:
    from ml_service.platforms.azureml.data import AzureData
    from ml_service.platforms.azureml.pipelines import AzurePipelines
    from ml_service.platforms.azureml.platform import AzureMLPlatform

    whole = AzureMLPlatform(Settings.model_validate({}), AzureSettings.model_validate({}))
    steps = write_package(tmp_path / "steps")
    data = AzureData(whole.workspace)
    pipelines = AzurePipelines(whole.workspace, data, {}, steps)
    platform: Any = SimpleNamespace(pipelines=pipelines, data=data, documents=whole.documents)
    (tmp_path / "example.yml").write_text(PIPELINE)
    pipeline = load_pipeline(tmp_path / "example.yml")
    published = pipelines.publish(pipeline, "1", print)
    good = pipelines.run(published, {}, print)
    bad = pipelines.run(pipeline, {"second": "die"}, print)
    found = gather(platform, None, bad.id)
    assert found.good == good
    assert [change.describe() for change in found.changes.parameters] == [
        "pipeline.second: two -> die"
    ]
    # Both were submitted from this checkout as it is: all is known, and nothing else differs.
    assert (found.changes.commits, found.changes.packages) == ((), ())
    assert not any("nothing was kept" in line for line in found.changes.unknown)
    said = verdict(found) or ""
    assert said.startswith("step b was killed (signal 9), probably out of memory: peak not known")
