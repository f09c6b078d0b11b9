"""Every example is a DAG file that imports and whose DAGs Airflow can store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization

EXAMPLES = sorted((Path(__file__).parent.parent / "example_dags").glob("*.py"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_has_dags_of_its_name_that_airflow_can_store(file: Path) -> None:
    bag = DagBag(dag_folder=str(file), bundle_path=file.parent, bundle_name="examples")
    assert bag.import_errors == {}
    assert bag.dags
    for dag in bag.dags.values():
        assert dag.dag_id.startswith(file.stem)
        assert DagSerialization.to_dict(dag)["dag"]["dag_id"] == dag.dag_id


@pytest.mark.parametrize(
    ("text", "approved"),
    [
        ("yes", True),
        ("\r\n  YES!\r\n\r\nRegards\r\n> Answer with yes or no", True),
        ('"Yes."', True),
        ("", False),
        ("no\nyes", False),
        ("Yesterday I said no: do NOT publish.", False),
        ("Yes? Certainly not.", False),
        ("yes?", False),
        ("Yes, please, but not today", False),
        ("> Answer with yes or no\nno", False),
        ("yes no", False),
    ],
)
def test_only_a_yes_alone_in_the_first_line_is_an_approval(text: str, approved: bool) -> None:
    [file] = [each for each in EXAMPLES if each.stem == "example_imap4_approval"]
    bag = DagBag(dag_folder=str(file), bundle_path=file.parent, bundle_name="examples")
    task: Any = bag.dags["example_imap4_approval"].get_task("approved")
    assert task.python_callable([{"text": text}]) is approved
