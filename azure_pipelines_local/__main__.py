"""``python -m azure_pipelines_local``."""

from azure_pipelines_local.cli import app

if __name__ == "__main__":
    app(prog_name="python -m azure_pipelines_local")
