"""What the tests of scoring and of training share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from insurance_claims import schema
from insurance_claims.dask_cluster import dask_client
from insurance_claims.data.contract import contract
from insurance_claims.problem import Problem


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    """A client of a Dask cluster of two workers on this machine."""
    with dask_client(None, 2) as client:
        yield client


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package as that of a project which predicts what claims cost."""
    monkeypatch.setattr(schema, "PROBLEM", Problem.REGRESSION)
    contract.cache_clear()
    yield
    contract.cache_clear()
