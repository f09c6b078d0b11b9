"""The judge of the fault suite finds what is lost, taken twice or never wanted, and forgives what is no fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.__main__ import arguments, summary
from tests.chaos.ledger import Consumer, Verdict, judge
from tests.chaos.registry import SCENARIOS
from tests.chaos.rounds import choose


def note(ledger: Path, run_id: str, *numbers: str, at: float = 0.0, dag_id: str = "dag") -> None:
    mails = [[f"words mail-{number}", None] for number in numbers]
    with ledger.open("a") as file:
        file.write(json.dumps({"dag_id": dag_id, "run_id": run_id, "mails": mails, "at": at}) + "\n")


def verdict(ledger: Path, *, due: set[str], free: set[str] | None = None, healed: float = 0.0) -> Verdict:
    found = Verdict(1, "test", sent=len(due))
    return judge(found, [Consumer("dag", due, free or set())], ledger, healed)


def test_all_taken_once_is_good_and_the_time_is_that_of_the_last_one(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    note(ledger, "one", "a-001", at=103.0)
    note(ledger, "two", "a-002", at=107.5)
    note(ledger, "two", "a-009", at=200.0, dag_id="somebody else")
    found = verdict(ledger, due={"a-001", "a-002"}, healed=100.0)
    assert found.good
    assert (found.taken, found.seconds) == (2, 7.5)


def test_a_mail_that_nobody_noted_is_lost(tmp_path: Path) -> None:
    found = verdict(tmp_path / "ledger", due={"a-001"})
    assert (found.good, found.lost) == (False, ["dag: a-001"])


@pytest.mark.parametrize("runs", [["one", "two"], ["one"]])
def test_a_mail_in_two_runs_or_twice_in_one_is_taken_twice(tmp_path: Path, runs: list[str]) -> None:
    ledger = tmp_path / "ledger"
    for run_id in runs:
        note(ledger, run_id, *["a-001"] * (3 - len(runs)))
    found = verdict(ledger, due={"a-001"})
    assert (found.good, found.twice) == (False, ["dag: a-001"])


def test_a_run_that_is_repeated_may_note_its_mails_again(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    note(ledger, "one", "a-001")
    note(ledger, "one", "a-001")
    assert verdict(ledger, due={"a-001"}).good


def test_a_mail_that_nobody_wants_is_a_fault_and_one_that_was_removed_is_none(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    note(ledger, "one", "a-001", "s-001")
    assert verdict(ledger, due={"a-001"}).unwanted == ["dag: s-001"]
    assert verdict(ledger, due={"a-001"}, free={"s-001", "s-002"}).good


def test_actions_that_are_missing_are_a_fault(tmp_path: Path) -> None:
    found = verdict(tmp_path / "ledger", due=set())
    found.actions = (2, 3)
    assert not found.good


def test_twenty_seeds_play_every_scenario_and_a_seed_plays_the_same_ones_again() -> None:
    chosen = [[item.name for item in choose(seed, 4)] for seed in range(1, 21)]
    assert {name for names in chosen for name in names} == set(SCENARIOS)
    assert [item.name for item in choose(7, 4)] == chosen[6]
    assert all(sum(SCENARIOS[name].whole_house for name in names) == 1 for names in chosen)


def test_an_unknown_scenario_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--scenario", "no_such"])
    assert "black_hole" in capsys.readouterr().err


def test_what_was_taken_before_a_reset_comes_once_more_and_not_twice(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    for run_id in ("one", "two"):
        note(ledger, run_id, "a-001", "a-002")
    note(ledger, "two", "a-003", "a-004")
    consumer = Consumer("dag", {f"a-00{n}" for n in range(1, 5)}, again={"a-001", "a-003"}, anew={"a-001", "a-003"})
    found = judge(Verdict(1, "test", sent=4), [consumer], ledger, 0.0)
    assert (found.lost, found.twice) == (["dag: a-003 anew"], ["dag: a-002"])
    note(ledger, "three", "a-001")
    assert judge(found, [consumer], ledger, 0.0).twice == ["dag: a-001", "dag: a-002"]


def test_the_summary_adds_up() -> None:
    verdicts = [
        Verdict(1, "black_hole", sent=10, taken=9, lost=["x"], actions=(9, 10), seconds=3.0),
        Verdict(2, "black_hole", sent=5, taken=5, actions=(5, 5), seconds=5.0),
    ]
    cells = [cell.strip() for cell in summary(verdicts).splitlines()[-1].split("|")[1:-1]]
    assert cells == ["all", "2", "15", "14", "1", "0", "14/15", "4.0", "5.0"]
