"""Every example is a DAG file that imports and whose DAGs Airflow can store."""

from __future__ import annotations

from pathlib import Path

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
