"""A bounded queue and a thread that sends what is in it: whoever puts something in never waits for the network.

When nobody takes what is sent, the oldest items are dropped and counted, memory stays bounded, and the end of the
process is held up for a moment at most.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Send = Callable[[Sequence[Item]], bool]
"""Sends a batch; says whether it is done with: taken, or refused for good. Otherwise it is sent again later."""

_LOG = logging.getLogger(__name__)
_CAPACITY = 4096
_BATCH = 200
_LINGER = 0.05
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class Delivery(Generic[Item]):
    """Sends items from a thread of its own, which starts with the first item and lives as long as the process.

    A forked process starts with an empty queue and, as soon as it needs one, with a thread of its own.

    Args:
        make_send: makes what sends a batch. It is called in the thread, so that slow imports hold up nobody.
        capacity: items that wait at most.
    """

    def __init__(self, make_send: Callable[[], Send[Item]], capacity: int = _CAPACITY) -> None:
        self._make_send = make_send
        self._capacity = capacity
        self._dropped = 0
        self._reset()
        own = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _reset(own))

    def _reset(self) -> None:
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._sending = False
        self._flushing = False
        self._failed = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Items that were not sent, because the queue was full or could not be emptied before the end."""
        return self._dropped

    def put(self, item: Item) -> None:
        """Add an item; where the queue is full, the oldest one is dropped."""
        with self._changed:
            if len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Send what waits, now. Says whether all of it was done with: in time, and at the first attempt."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._flushing = True
            self._failed = False
            self._changed.notify_all()
            while (self._waiting or self._sending) and not self._failed:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._flushing = False
            return not (self._waiting or self._sending)

    def own_thread(self) -> bool:
        """Whether the caller is the thread that sends."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        send: Send[Item] | None = None
        pause = 0.0
        while True:
            batch = self._take(pause)
            try:
                send = send or self._make_send()
                done = send(batch)
            except Exception as problem:
                # Nothing that fails in here may reach the work that is reported on.
                _LOG.warning("telemetry is dropped: %s: %s", type(problem).__name__, problem)
                done = True
                self._dropped += len(batch)
            with self._changed:
                if not done:
                    self._put_back(batch)
                    self._failed = True
                self._sending = False
                self._changed.notify_all()
            pause = 0.0 if done else min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)

    def _take(self, pause: float) -> list[Item]:
        with self._changed:
            # Whoever flushes wants one more attempt at once, and only one.
            if pause:
                self._changed.wait_for(lambda: self._flushing and not self._failed, pause)
            self._changed.wait_for(lambda: bool(self._waiting))
            if not self._flushing:
                self._changed.wait_for(
                    lambda: self._flushing or len(self._waiting) >= _BATCH, _LINGER
                )
            self._sending = True
            return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]

    def _put_back(self, batch: list[Item]) -> None:
        kept = batch[max(0, len(batch) + len(self._waiting) - self._capacity) :]
        self._dropped += len(batch) - len(kept)
        self._waiting.extendleft(reversed(kept))


def _reset(own: weakref.ref[Delivery[Item]]) -> None:
    delivery = own()
    if delivery is not None:
        delivery._reset()
