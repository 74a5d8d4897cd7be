"""Checks of what sets up an environment, without a cloud or a cluster: ``python -m environment_setup.check``."""
