"""How a command describes its arguments, before anything of Airflow is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["JSON", "Argument"]


@dataclass(frozen=True)
class Argument:
    """One argument.

    :param flags: such as ``("-y", "--yes")``.
    :param options: what :meth:`argparse.ArgumentParser.add_argument` takes.
    """

    flags: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


JSON = Argument(("--json",), {"help": "Print JSON", "action": "store_true", "dest": "output"})
"""Airflow keeps its log off the standard output of a command that has an argument "output"."""
