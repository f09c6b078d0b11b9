"""The mails that the demo sends: an invoice, something else, and a burst of invoices.

Each invoice carries a CSV file of its own, so that what the DAG read can be compared with what was sent.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

# More than fit into one DAG run's parallel tasks, fewer than would bore somebody who watches.
BURST = 30

FILE = "positions.csv"

SENDER = "billing@example.com"
"""What the example's conditions ask for, besides "invoice" in the subject."""

Row = dict[str, str]


@dataclass(frozen=True)
class Letter:
    """A mail of the demo.

    :ivar expected: whether the DAG's conditions hold for it.
    :ivar rows: what its CSV file holds; nothing if it has none.
    :ivar named_twice: whether the file's name stands in Content-Type, too, as most mail programs write it.
    """

    subject: str
    sender: str
    expected: bool
    rows: tuple[Row, ...] = ()
    named_twice: bool = True
    message_id: str = field(default_factory=lambda: make_msgid(domain="demo.example.com"))

    def as_bytes(self) -> bytes:
        """Return the mail as it is delivered."""
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = "invoices@example.com"
        message["Subject"] = self.subject
        message["Date"] = format_datetime(datetime.now(timezone.utc))
        message["Message-ID"] = self.message_id
        message.set_content(f"{self.subject}\n")
        if self.rows:
            table = io.StringIO()
            writer = csv.DictWriter(table, fieldnames=list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
            params = {"name": FILE} if self.named_twice else {}
            message.add_attachment(table.getvalue(), subtype="csv", filename=FILE, params=params)
        return message.as_bytes()


def invoice(number: int, positions: int, *, named_twice: bool = True) -> Letter:
    """Return an invoice with so many positions."""
    rows = tuple(
        {"invoice": f"2026-{number:03}", "article": f"A{position}", "amount": f"{number * 10 + position}.50"}
        for position in range(1, positions + 1)
    )
    subject, sender = f"Your invoice 2026-{number:03}", f"Billing <{SENDER}>"
    return Letter(subject, sender, expected=True, rows=rows, named_twice=named_twice)


def single_letters() -> list[Letter]:
    """Return one mail that matches and one that does not."""
    return [
        invoice(1, positions=3, named_twice=False),
        Letter("Lunch on Friday?", "A friend <friend@example.org>", expected=False),
    ]


def burst_letters() -> list[Letter]:
    """Return many invoices, to be delivered at once."""
    return [invoice(number, positions=1) for number in range(2, 2 + BURST)]
