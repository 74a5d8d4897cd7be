"""Runs Azure DevOps pipeline YAML on this machine: templates, expressions, conditions, outputs, artifacts.

It knows nothing of any project: `python -m azure_pipelines_local run FILE` works in every repository.
"""
