"""Wires the model package to a platform: data versions, pipelines, models and endpoints, on a laptop or on Azure."""
