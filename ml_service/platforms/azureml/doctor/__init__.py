"""Is a workspace of Azure Machine Learning, with all that belongs to it, fit to run the project? Changes nothing."""

from __future__ import annotations

from ml_service.platforms.azureml.doctor.examine import examine

__all__ = ["examine"]
