"""Typed YAML: what fits comes back, and what does not is named, all of it at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from insurance_claims.errors import DataError
from insurance_claims.typed_yaml import load_typed, parse_typed


class Shop(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    floors: int


def test_a_file_that_fits(tmp_path: Path) -> None:
    file = tmp_path / "shops.yml"
    file.write_text("north: {name: A, floors: 2}")
    assert load_typed(dict[str, Shop], file, DataError) == {"north": Shop(name="A", floors=2)}


def test_every_problem_is_a_line() -> None:
    content = {"north": {"name": 1, "floors": "x", "flors": 2}}
    with pytest.raises(DataError) as caught:
        parse_typed(dict[str, Shop], content, "shops.yml", DataError, "a list of shops")
    title, *lines = str(caught.value).splitlines()
    assert title == "shops.yml is not a list of shops:"
    assert [line.split(":")[0] for line in lines] == [
        *("  north.name", "  north.floors", "  north.flors")
    ]


def test_a_file_of_another_kind() -> None:
    with pytest.raises(DataError, match="shops.yml is not valid:\n  file: "):
        parse_typed(Shop, [1], "shops.yml", DataError)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"a: [", "is not YAML"),
        (b"\xff\xfe\xfa", "not YAML"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "shops.yml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=said):
        load_typed(Shop, file, DataError)
