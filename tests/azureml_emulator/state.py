"""What the emulator knows: JSON documents in tables on SQLite, so that it survives a restart, and files beside them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any


class Store:
    """All documents of an emulator. Used from one thread.

    Args:
        path: of the database, made on first use.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS documents ("
            "number INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT, name TEXT, key TEXT, document TEXT, "
            "UNIQUE (scope, name, key))"
        )

    def table(self, scope: str, name: str) -> Table:
        """Documents of one kind.

        Args:
            scope: a workspace's name, or empty for what belongs to none.
            name: of the table.
        """
        return Table(self._database, scope, name)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


class Table(MutableMapping[str, Any]):
    """Documents by key, in the order in which they were added first.

    A document that was read is a copy: change it and assign it again.
    """

    def __init__(self, database: sqlite3.Connection, scope: str, name: str) -> None:
        self._database = database
        self._where = (scope, name)

    def __getitem__(self, key: str) -> Any:
        row = self._database.execute(
            "SELECT document FROM documents WHERE scope = ? AND name = ? AND key = ?",
            (*self._where, key),
        ).fetchone()
        if row is None:
            raise KeyError(key)
        return json.loads(row[0])

    def __setitem__(self, key: str, document: Any) -> None:
        self._database.execute(
            "INSERT INTO documents (scope, name, key, document) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (scope, name, key) DO UPDATE SET document = excluded.document",
            (*self._where, key, json.dumps(document)),
        )

    def __delitem__(self, key: str) -> None:
        done = self._database.execute(
            "DELETE FROM documents WHERE scope = ? AND name = ? AND key = ?", (*self._where, key)
        )
        if not done.rowcount:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        rows = self._database.execute(
            "SELECT key FROM documents WHERE scope = ? AND name = ? ORDER BY number", self._where
        ).fetchall()
        return iter([row[0] for row in rows])

    def __len__(self) -> int:
        row = self._database.execute(
            "SELECT count(*) FROM documents WHERE scope = ? AND name = ?", self._where
        ).fetchone()
        return int(row[0])
