"""Which scenarios a seed plays: the documented command plays those of the documented table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chaos.__main__ import AT_ONCE, arguments
from tests.chaos.registry import SCENARIOS
from tests.chaos.rounds import choose

PAGE = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()


def test_the_command_beside_the_tables_plays_what_they_show() -> None:
    command = re.search(r"\$ make chaos SEED=(\d+) SEEDS=(\d+) WITHOUT=(\S+) +# the tables below", PAGE)
    assert command is not None
    first, count = int(command[1]), int(command[2])
    rows = {
        int(row[1]): row[2].split(", ") for row in re.finditer(r"^\| (\d+) +\| ([a-z_, ]+?) +\|", PAGE, re.MULTILINE)
    }
    played = {
        seed: [item.name for item in choose(seed, AT_ONCE, without=arguments(["--without", command[3]]).without)]
        for seed in range(first, first + count)
    }
    assert played == rows


def test_what_is_left_out_is_played_by_no_seed() -> None:
    names = {item.name for seed in range(200) for item in choose(seed, AT_ONCE, without=["black_hole"])}
    assert names == set(SCENARIOS) - {"black_hole"}
    with pytest.raises(SystemExit):
        arguments(["--without", "blackhole"])
