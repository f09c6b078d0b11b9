"""Delivers an invoice to a running demo: ``python -m scripts.demo.deliver PORT``, as the demo prints it."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

from scripts.demo.letters import invoice
from scripts.demo.mailbox import deliver

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Deliver an invoice.

    :param arguments: the port of the demo's mailbox.
    """
    [port] = arguments
    # Numbered by the time of day, to be told from those that the demo has sent.
    letter = invoice(int(f"{datetime.now(timezone.utc):%H%M%S}"), positions=2)
    deliver(int(port), [letter])
    print(f"delivered: {letter.subject!r} from {letter.sender}")


if __name__ == "__main__":
    main(sys.argv[1:])
