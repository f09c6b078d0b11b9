"""A small client for Airflow's REST API, for the demo and for the tests that run a real Airflow.

It knows just what those two need, waits for nothing by itself, and returns the API's own dictionaries. It is no part
of the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

# Generous, since all parts of Airflow start at once on as little as two cores.
REQUEST_TIMEOUT = 30.0
# The API returns at most [api] maximum_page_limit rows at a time, 100 unless configured otherwise.
PAGE = 100

Row = dict[str, Any]


class AirflowApi:
    """One Airflow's REST API, with everybody an admin (``[core] simple_auth_manager_all_admins``).

    :param base_url: address of the API server, without a path.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._client = self._new_client()
        self._logged_in = False

    def _new_client(self) -> httpx.Client:
        return httpx.Client(base_url=self.base_url, timeout=REQUEST_TIMEOUT, trust_env=False)

    def disconnect(self) -> None:
        """Close the kept-alive connections, for which an API server that stops waits; the next request opens one."""
        self._client.close()
        self._client = self._new_client()
        self._logged_in = False

    def answers(self) -> bool:
        """Return whether the API server serves requests yet."""
        try:
            return self._client.get("/api/v2/version").is_success
        except httpx.TransportError:
            return False

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        absent: Any = ...,
    ) -> Any:
        """Send a request and return the decoded answer.

        :param path: below ``/api/v2``, with a leading slash.
        :param absent: what to return instead of raising when the answer is 404.
        :raises httpx.HTTPStatusError: for any other refusal, with the API's words.
        """
        if not self._logged_in:
            answer = self._client.get("/auth/token")
            answer.raise_for_status()
            self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            self._logged_in = True
        answer = self._client.request(method, f"/api/v2{path}", params=params, json=json)
        if answer.status_code == httpx.codes.NOT_FOUND and absent is not ...:
            return absent
        if not answer.is_success:
            raise httpx.HTTPStatusError(
                f"{method} {path}: {answer.status_code} {answer.text}", request=answer.request, response=answer
            )
        return answer.json() if answer.content else None

    def pages(self, path: str, key: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Return all rows of a listing, page by page.

        :param key: the name under which the answer holds its rows.
        """
        rows: list[Row] = []
        while True:
            page = self.request("GET", path, params={**(params or {}), "limit": PAGE, "offset": len(rows)})
            rows += page[key]
            if not page[key] or len(rows) >= page["total_entries"]:
                return rows

    # DAGs

    def dag(self, dag_id: str) -> Row | None:
        """Return the DAG's details, or None as long as the DAG processor has not stored it."""
        found: Row | None = self.request("GET", f"/dags/{dag_id}/details", absent=None)
        return found

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause; watchers follow at the next parse only (see :meth:`reparse`)."""
        self.request("PATCH", f"/dags/{dag_id}", json={"is_paused": paused})

    def reparse(self, dag_id: str) -> None:
        """Ask the DAG processor to parse this DAG's file next."""
        token = self.request("GET", f"/dags/{dag_id}")["file_token"]
        self.request("PUT", f"/parseDagFile/{token}")

    def delete_dag(self, dag_id: str) -> None:
        """Delete the DAG and all that is stored about it; its file brings it back."""
        self.request("DELETE", f"/dags/{dag_id}")

    def import_errors(self) -> list[Row]:
        """Return what the DAG processor could not import."""
        return self.pages("/importErrors", "import_errors")

    # Runs

    def run(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> Row:
        """Start a run by hand and return it."""
        started: Row = self.request(
            "POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": dict(conf or {})}
        )
        return started

    def runs(self, dag_id: str) -> list[Row]:
        """Return the DAG's runs, oldest first."""
        return self.pages(f"/dags/{dag_id}/dagRuns", "dag_runs", {"order_by": "id"})

    def task_instances(self, dag_id: str, run_id: str = "~") -> list[Row]:
        """Return the task instances of one run, or of all runs."""
        return self.pages(f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='~')}/taskInstances", "task_instances")

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """Return a task's XCom value, or None if there is none."""
        path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}/xcomEntries/{quote(key)}"
        entry = self.request("GET", path, params={"map_index": map_index, "deserialize": True}, absent=None)
        return entry["value"] if entry else None

    # Assets

    def asset(self, name: str) -> Row | None:
        """Return the active asset of exactly this name with its watchers, or None."""
        rows = self.pages("/assets", "assets", {"name_pattern": name})
        return next((row for row in rows if row["name"] == name), None)

    def asset_events(self, name: str) -> list[Row]:
        """Return the asset's events, oldest first."""
        asset = self.asset(name)
        if asset is None:
            return []
        return self.pages("/assets/events", "asset_events", {"asset_id": asset["id"], "order_by": "timestamp"})

    def asset_state(self, name: str) -> dict[str, Any]:
        """Return what triggers and tasks keep in the asset's state store, by key."""
        asset = self.asset(name)
        if asset is None:
            return {}
        rows = self.pages(f"/assets/{asset['id']}/state-store", "asset_state_store")
        return {row["key"]: row["value"] for row in rows}

    # Connections

    def connection(self, conn_id: str) -> Row | None:
        """Return the connection as the API shows it, or None."""
        found: Row | None = self.request("GET", f"/connections/{conn_id}", absent=None)
        return found

    def set_connection(self, conn_id: str, conn_type: str, **fields: Any) -> None:
        """Create the connection, or replace the one of that name.

        :param fields: ``host``, ``port``, ``login``, ``password``, and ``extra`` as JSON text.
        """
        self.request("DELETE", f"/connections/{conn_id}", absent=None)
        self.request("POST", "/connections", json={"connection_id": conn_id, "conn_type": conn_type, **fields})

    # Health

    def living_jobs(self, job_type: str) -> list[Row]:
        """Return the jobs of a kind (``SchedulerJob``, ``TriggererJob``, ``DagProcessorJob``) that have a heartbeat."""
        return self.pages("/jobs", "jobs", {"job_type": job_type, "is_alive": True})
