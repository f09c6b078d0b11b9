"""Jinja templates inside of conditions and actions: their JSON is rendered text by text, so no value breaks out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from airflow_imap_provider.mail.templates import templated

__all__ = ["render_json"]


def render_json(text: str, render: Callable[[str], Any]) -> str:
    """Render the texts in a JSON document, each by itself, and return it in canonical form.

    :param text: JSON as ``Conditions.dumps`` and ``dump_actions`` write it.
    :param render: renders one template.
    """
    if not templated(text):
        return text
    return json.dumps(_rendered(json.loads(text), render), sort_keys=True, separators=(",", ":"))


def _rendered(value: Any, render: Callable[[str], Any]) -> Any:
    if isinstance(value, str):
        return str(render(value)) if templated(value) else value
    if isinstance(value, list):
        return [_rendered(each, render) for each in value]
    if isinstance(value, dict):
        return {name: _rendered(each, render) for name, each in value.items()}
    return value
