"""The lab's double-T maze as a graph of corridors, and the ways a monkey takes through it."""

from itertools import pairwise

import numpy as np

from raypipe.stages.maze import CORRIDOR, JUNCTIONS, poster_junction

WALKING_SPEED = 5.1609  # Unity units per second, as the lab's log header says
DETOUR_FRACTION = 0.25
POSTER_NUMBERS = range(1, 7)
START_JUNCTION = 2  # (0, 10), looking into the maze


def neighbours(junction: int) -> list[int]:
    """List the junctions one corridor away."""
    distance = np.abs(np.array(JUNCTIONS) - JUNCTIONS[junction]).sum(axis=1)
    return [int(j) for j in np.flatnonzero(distance == CORRIDOR)]


def shortest_route(start: int, goal: int) -> list[int]:
    """List the junctions of a shortest way, both ends included."""
    came_from = {start: start}
    front = [start]
    while goal not in came_from:
        behind, front = front, []
        for here in behind:
            for there in neighbours(here):
                if there not in came_from:
                    came_from[there] = here
                    front.append(there)
    way = [goal]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return way[::-1]


def route(start: int, poster: int, random: np.random.Generator, *, reach: bool) -> tuple[int, ...]:
    """Choose a way to a poster: mostly the shortest, sometimes by a detour; without `reach` it strays elsewhere."""
    goal = poster_junction(poster)
    by = int(random.integers(len(JUNCTIONS)))
    detour = random.uniform() < DETOUR_FRACTION
    if not reach:
        astray = by if by != goal else neighbours(goal)[0]
        return tuple(shortest_route(start, astray))
    if detour:
        return tuple(shortest_route(start, by) + shortest_route(by, goal)[1:])
    return tuple(shortest_route(start, goal))


def route_length(way: tuple[int, ...]) -> float:
    """Measure a way in Unity units."""
    return CORRIDOR * sum(1 for _ in pairwise(way))
