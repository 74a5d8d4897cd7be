"""What the tests of scoring and of training share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from insurance_claims.dask_cluster import dask_client


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    """A client of a Dask cluster of two workers on this machine."""
    with dask_client(None, 2) as client:
        yield client
