"""TLS contexts kept, the ones used last: each costs about 20 ms and 0.9 MiB, so there is one per settings."""

from __future__ import annotations

import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence

from airflow_imap_provider.transport.clock import Deadline
from airflow_imap_provider.transport.flights import Flights

__all__ = ["Contexts"]

_SYSTEM = "the system's certificates"


class Contexts:
    """Contexts by settings, and by the state of the files that these name.

    The lock is for the dictionary alone. Files are looked at and read outside of it, one thread for equal settings: a
    file that does not answer costs only the connections that name it.

    :param most: contexts kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, ssl.SSLContext] = OrderedDict()
        self._flights: Flights[ssl.SSLContext] = Flights()

    def __iter__(self) -> Iterator[Hashable]:
        with self._lock:
            return iter(list(self._kept))

    def clear(self) -> None:
        """Forget them all."""
        with self._lock:
            self._kept.clear()

    def get(
        self,
        settings: Hashable,
        make: Callable[[], ssl.SSLContext],
        deadline: Deadline,
        *,
        names: Sequence[str],
        stamps: Callable[[], Hashable],
    ) -> ssl.SSLContext:
        """The context for these settings, made once; made again when a file has changed.

        :param make: makes it; what it raises comes out here.
        :param names: the fields that name files, as people see them; empty if none does.
        :param stamps: looks at these files.
        :raises ImapTimeoutError: stage ``settings``; a file does not answer.
        """

        def find() -> ssl.SSLContext:
            key = (settings, stamps())
            return self._found(key) or self._keep(key, make())

        if not names and (found := self._found((settings, stamps()))):
            return found
        return self._flights.run(settings, find, deadline, tab="Encryption", names=names or (_SYSTEM,))

    def _found(self, key: Hashable) -> ssl.SSLContext | None:
        with self._lock:
            context = self._kept.get(key)
            if context is not None:
                self._kept.move_to_end(key)
            return context

    def _keep(self, key: Hashable, context: ssl.SSLContext) -> ssl.SSLContext:
        with self._lock:
            self._kept[key] = context
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return context
