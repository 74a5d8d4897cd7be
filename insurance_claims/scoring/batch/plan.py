"""The plan of a batch: written before the first row is scored, and what a restart has to agree with."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from insurance_claims import schema
from insurance_claims.errors import DataError
from insurance_claims.files import read_json, write_json
from insurance_claims.scoring.batch.inputs import Input
from insurance_claims.scoring.batch.parts import remove_leftovers, unwritable

PLAN_FILE = "plan.json"
SCORES_FILE = "scores.json"
FORMAT = "insurance_claims batch 1"

_LISTED = 3


def make_plan(
    inputs: Sequence[Input], model: Mapping[str, Any], headroom: float, chunk_rows: int
) -> dict[str, Any]:
    """Everything that the output depends on.

    Args:
        inputs: in the order in which they are scored.
        model: name, version and sha256.
        headroom: of the row checks.
        chunk_rows: rows of a part.
    """
    return {
        "format": FORMAT,
        "schema_version": schema.SCHEMA_VERSION,
        "model": dict(model),
        "headroom": headroom,
        "chunk_rows": chunk_rows,
        "inputs": [item.to_json() for item in inputs],
    }


def plan_sha256(plan: Mapping[str, Any]) -> str:
    """Names a plan: parts carry it."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


@contextmanager
def planned(output: Path, plan: Mapping[str, Any]) -> Iterator[None]:
    """Reserve an output folder for a plan: write the plan there, or agree with the one that is there.

    Raises:
        DataError: the folder is another plan's, holds something else, is in use, or cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(output, error) from None
    with _alone(output):
        path = output / PLAN_FILE
        remove_leftovers(output)
        if path.exists():
            _refuse_another(output, read_json(path), plan)
        elif any(output.iterdir()):
            raise DataError(
                f"{output} holds other files: choose a new or an empty folder for the scores"
            )
        else:
            try:
                write_json(path, plan)
            except OSError as error:
                raise unwritable(path, error) from None
        yield


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    # The lock is on the folder itself and leaves no file. It ends with the process, however that ends.
    handle = os.open(output, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"another process is scoring into {output}: wait for it, or choose another folder"
            ) from None
        except OSError:
            # A file system without locks: that nobody else writes there is up to the caller.
            pass
        yield
    finally:
        os.close(handle)


def _refuse_another(output: Path, then: Any, now: Mapping[str, Any]) -> None:
    if then == now:
        return
    if not isinstance(then, dict) or then.get("format") != FORMAT or then.keys() != now.keys():
        raise DataError(f"{output / PLAN_FILE} is no plan of this version: use another folder")
    reasons = [*_other_inputs(then["inputs"], now["inputs"])]
    for key, name in (("model", "the model"), ("headroom", "headroom")):
        if then[key] != now[key]:
            reasons.append(f"{name} was {_short(then[key])}, and is {_short(now[key])}")
    for key in ("chunk_rows", "schema_version"):
        if then[key] != now[key]:
            reasons.append(f"{key} was {then[key]}, and is {now[key]}")
    more = f"; and {len(reasons) - _LISTED} more" if len(reasons) > _LISTED else ""
    raise DataError(
        f"{output} was begun with something else: {'; '.join(reasons[:_LISTED])}{more}. "
        "Use another output folder, or put back what was there to go on"
    )


def _other_inputs(
    then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    before = {item["path"]: item for item in then}
    after = {item["path"]: item for item in now}
    for path, item in after.items():
        if path not in before:
            yield f"input {path} is new"
        elif before[path] != item:
            yield f"input {path} was changed"
    for path in before.keys() - after.keys():
        yield f"input {path} is gone"
    if before == after and list(before) != list(after):
        yield "the inputs came in another order"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['name']} version {value['version']} ({value['sha256'][:12]})"
    return str(value)
