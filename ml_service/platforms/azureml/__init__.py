"""Azure Machine Learning through its SDK v1. Importing this package imports nothing of the SDK."""

from __future__ import annotations

import os

# The SDK and MLflow read these when they are imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Keeps the SDK's own telemetry off; its other switch is a file in the installed package.
os.environ.setdefault("HBI_WORKSPACE_JOB", "true")
os.environ.setdefault("AZUREML_LOG_DEPRECATION_WARNING_ENABLED", "False")
