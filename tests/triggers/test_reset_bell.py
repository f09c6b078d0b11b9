"""A ring reaches the stream that is meant within one look, however many streams a triggerer has."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, VariableResult

from airflow_imap_provider.triggers import reset_bell
from airflow_imap_provider.triggers.reset_bell import KEPT, VARIABLE, rung
from airflow_imap_provider.triggers.resets import Request, Resets
from airflow_imap_provider.triggers.store import AssetStore, Stream
from tests.servers.waiting import until
from tests.triggers.triggerer import State


class Supervisor:
    """Airflow's answers to questions for Variables."""

    def __init__(self) -> None:
        self.value: str | None = None
        self.broken = False
        self.asked = 0

    async def asend(self, message: GetVariable) -> VariableResult:
        self.asked += 1
        if self.broken or self.value is None:
            error = ErrorType.GENERIC_ERROR if self.broken else ErrorType.VARIABLE_NOT_FOUND
            raise AirflowRuntimeError(ErrorResponse(error=error, detail={"key": message.key}))
        assert message.key == VARIABLE
        return VariableResult(key=message.key, value=self.value)

    def ring(self, request: str, *streams: Stream) -> None:
        self.value = rung(self.value, request, [("inbox", stream.name) for stream in streams])


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    found = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    monkeypatch.setattr(reset_bell, "LOOK", 0.05)
    return found


class Streams:
    """Many streams of one triggerer, and which of them were told of a request."""

    def __init__(self, state: State, count: int) -> None:
        store = AssetStore(state.accessors())  # type: ignore[arg-type]
        self.streams = [Stream("c", f"folder {number}", "default") for number in range(count)]
        self.told: list[int] = []
        self.resets = [
            Resets(store, stream, lambda number=number: self.told.append(number))  # type: ignore[misc]
            for number, stream in enumerate(self.streams)
        ]

    def listen(self) -> None:
        for resets in self.resets:
            resets.listen()

    def stop(self) -> None:
        for resets in self.resets:
            resets.stop()


@pytest.fixture
def ten_thousand(state: State) -> Streams:
    return Streams(state, 10_000)


def ask(state: State, stream: Stream) -> None:
    state.set(stream.key("reset"), Request("one", "all", datetime.now(timezone.utc)).to_json())


async def test_one_stream_of_ten_thousand_hears_of_its_reset_with_the_next_look(
    state: State, supervisor: Supervisor, ten_thousand: Streams
) -> None:
    many = ten_thousand
    many.listen()
    await until(lambda: supervisor.asked > 2, "the Variable is looked at")
    ask(state, many.streams[7777])
    supervisor.ring("one", many.streams[7777])
    before = supervisor.asked
    await until(lambda: many.told == [7777], "it is told of it")
    assert supervisor.asked <= before + 2, "by one question, or by the one after it"
    await until(lambda: supervisor.asked > before + 5, "some looks later")
    assert many.told == [7777], "once"
    many.stop()
    asked = supervisor.asked
    await asyncio.sleep(0.2)
    assert supervisor.asked == asked, "nobody listens any more"


async def test_airflow_that_is_away_is_asked_again(state: State, supervisor: Supervisor) -> None:
    one = Streams(state, 1)
    supervisor.broken = True
    one.listen()
    await until(lambda: supervisor.asked > 2, "it is asked")
    ask(state, one.streams[0])
    supervisor.ring("one", one.streams[0])
    supervisor.broken = False
    await until(lambda: one.told == [0], "heard in the end")
    one.stop()


async def test_a_ring_without_a_request_wakes_nobody_and_the_next_one_does(
    state: State, supervisor: Supervisor
) -> None:
    one = Streams(state, 1)
    supervisor.ring("of before", one.streams[0])
    one.listen()
    await until(lambda: supervisor.asked > 3, "it has looked")
    assert one.told == []
    ask(state, one.streams[0])
    supervisor.ring("one", one.streams[0])
    await until(lambda: one.told == [0], "heard")
    one.stop()


def test_the_variable_keeps_the_newest_rings_only() -> None:
    text = None
    for number in range(KEPT + 5):
        text = rung(text, f"request {number}", [("inbox", "c/INBOX/default")])
    assert text is not None
    assert [ring[0] for ring in json.loads(text)] == [f"request {number}" for number in range(5, KEPT + 5)]


@pytest.mark.parametrize("text", ["", "by hand", '{"a": 1}', '["x", [1]]', "null"])
def test_a_variable_that_somebody_has_edited_is_begun_anew(text: str) -> None:
    assert json.loads(rung(text, "one", [("inbox", "s")])) == [["one", "inbox", "s"]]
