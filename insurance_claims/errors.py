"""Errors that a person can act on."""

from __future__ import annotations


class ClaimsError(Exception):
    """Something is wrong that a person can put right.

    The message says what is wrong, where, and what to do. Steps and commands print it without a traceback and exit 1.
    """


class DataError(ClaimsError):
    """A data file or folder is not what it has to be."""


class ModelError(ClaimsError):
    """A model folder is not what it has to be."""


class ParametersError(ClaimsError):
    """parameters.yml is not what it has to be."""


class RegistryError(ClaimsError):
    """The model registry does not hold what was asked for, or refuses a change."""
