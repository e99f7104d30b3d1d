"""The maze's graph against distances counted by hand, and ways through it."""

from itertools import pairwise

import numpy as np
import pytest

from raypipe.simulate.maze import (
    POSTER_NUMBERS,
    neighbours,
    route,
    route_length,
    shortest_route,
)
from raypipe.stages.maze import JUNCTIONS, poster_junction


def test_junctions_are_numbered_row_by_row_from_the_north() -> None:
    assert len(JUNCTIONS) == 21
    assert (JUNCTIONS[0], JUNCTIONS[4], JUNCTIONS[5], JUNCTIONS[8], JUNCTIONS[20]) == (
        (-10, 10),
        (10, 10),
        (-10, 5),
        (-10, 0),
        (10, -10),
    )
    assert [JUNCTIONS[poster_junction(p)] for p in POSTER_NUMBERS] == [
        (-5, -10),
        (-10, 5),
        (10, -5),
        (5, 10),
        (5, 0),
        (-5, 0),
    ]


@pytest.mark.parametrize(
    ("junction", "expected"), [(0, [1, 5]), (2, [1, 3, 6]), (10, [6, 9, 11, 14]), (9, [8, 10]), (20, [15, 19])]
)
def test_corridors(junction: int, expected: list[int]) -> None:
    assert neighbours(junction) == expected


@pytest.mark.parametrize(("start", "goal", "length"), [(0, 0, 0), (0, 1, 5), (0, 20, 40), (5, 7, 30), (9, 1, 20)])
def test_shortest_ways(start: int, goal: int, length: int) -> None:
    assert route_length(tuple(shortest_route(start, goal))) == length


def test_routes_follow_corridors_and_reach_their_poster_unless_they_time_out() -> None:
    random = np.random.default_rng(0)
    for poster in POSTER_NUMBERS:
        for start in range(21):
            way = route(start, poster, random, reach=True)
            assert way[0] == start and way[-1] == poster_junction(poster)
            assert all(there in neighbours(here) for here, there in pairwise(way))
            assert route(start, poster, random, reach=False)[-1] != poster_junction(poster)
