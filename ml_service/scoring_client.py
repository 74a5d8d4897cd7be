"""Scores a file's rows over HTTP, in requests of a size that any endpoint takes."""

from __future__ import annotations

import http.client
import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from insurance_claims import schema
from insurance_claims.data.load import read_table
from insurance_claims.data.validate import check
from insurance_claims.parameters import load_parameters
from ml_service.platforms.base import Endpoint, Log, PlatformError

_TIMEOUT = 60.0
_ROWS = 5000


def score_file(endpoint: Endpoint, file: Path, log: Log) -> str:
    """Score every row of a file.

    Args:
        endpoint: that answers.
        file: CSV or Parquet; a target column is allowed and ignored.
        log: progress.

    Returns:
        CSV: id, score, model_version, and row_id, by which `mlops labels add` knows the row; in the file's order.

    Raises:
        DataError: the file does not keep the contract.
        PlatformError: the endpoint does not answer as it should.
    """
    table = check(read_table(file), require_target=False)
    rows = table[list(schema.FEATURE_NAMES)].to_numpy(dtype=float)
    ids = table[schema.ID].to_numpy()
    size = min(_ROWS, load_parameters().scoring.max_rows)
    out = io.StringIO()
    out.write("id,score,model_version,row_id\n")
    for start in range(0, len(rows), size):
        answer = _post(endpoint, {"data": rows[start : start + size].tolist()})
        version, request_id = answer["model"]["version"], answer["request_id"]
        scored = zip(ids[start : start + size], answer["result"], strict=True)
        for row, (identity, value) in enumerate(scored):
            out.write(f"{identity},{value!r},{version},{request_id}:{row}\n")
        log(f"scored {min(start + size, len(rows)):,} of {len(rows):,} rows")
    return out.getvalue()


def _post(endpoint: Endpoint, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        endpoint.url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {endpoint.key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise PlatformError(
            f"{endpoint.url} answered {error.code}: {error.read().decode(errors='replace')[:500]}"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PlatformError(
            f"{endpoint.url} did not answer: {error}. See `mlops endpoints`, or deploy again"
        ) from None
