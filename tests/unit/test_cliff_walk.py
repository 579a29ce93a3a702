"""The cliff walk of Sutton and Barto (2018, example 6.6): Q-learning learns the shortest path, SARSA the safe one.

A grid of 4 x 12. Each step costs 1; stepping into the cliff, the lowest row between start and goal, costs 100 and leads back to
the start. Epsilon is 0.1, the discount 1. Along the cliff's edge the goal is 13 steps away, but an exploring walker falls.

The figures of the example are of learning rate 0.5. With it the values of SARSA never come to rest, since the exploring walker's falls
move them; its path is looked at after as many episodes more with learning rate 0.05.
"""

from __future__ import annotations

import numpy as np
import pytest

from models.config import Policy as Settings
from models.config import Strategy
from models.policies import make_policy
from models.policies.base import Step
from models.policies.state import Context

ROWS, COLUMNS = 4, 12
START, GOAL = (3, 0), (3, 11)
MOVES = {"up": (-1, 0), "right": (0, 1), "down": (1, 0), "left": (0, -1)}
EDGE = 2  # the row along the cliff
EPISODES, LAST, SEEDS = 500, 100, 3
CONTEXTS = [Context(state, np.ones(1)) for state in range(ROWS * COLUMNS)]


def context(place):
    return CONTEXTS[place[0] * COLUMNS + place[1]]


def move(place, action):
    """Next place and reward."""
    down, right = list(MOVES.values())[action]
    row, column = min(ROWS - 1, max(0, place[0] + down)), min(COLUMNS - 1, max(0, place[1] + right))
    if row == ROWS - 1 and 0 < column < COLUMNS - 1:
        return START, -100.0
    return (row, column), -1.0


def walker(name, *, seed, learning_rate=0.5):
    settings = Settings(
        name=name,
        strategies={move: Strategy() for move in MOVES},
        action_epsilon=0.1,
        action_epsilon_decay=1.0,
        learning_rate=learning_rate,
        discount=1.0,
        reward_max=100.0,
        seed=seed,
    )
    return make_policy(settings, states=ROWS * COLUMNS, features=1)


def walk(policy):
    """Let the policy walk and learn; returns the sum of rewards of each episode."""
    returns, draw = np.zeros(EPISODES), 0
    for episode in range(EPISODES):
        place, action = START, policy.choose(context(START), draw)[0]
        while place != GOAL:
            draw += 1
            after, reward = move(place, action)
            following = policy.choose(context(after), draw)[0]
            come = (None, None) if after == GOAL else (context(after), following)
            policy.learn(Step(context(place), action, reward, *come))
            returns[episode] += reward
            place, action = after, following
    return returns


def path(policy):
    """Where it goes without exploring, until it arrives or goes round in circles."""
    places = [START]
    while places[-1] != GOAL and len(places) < 50:
        places.append(move(places[-1], int(np.argmax(policy.values(context(places[-1])))))[0])
    return places


@pytest.fixture(scope="module")
def walked():
    """Paths of the two at rest, and their mean return while they learned."""
    found = {}
    for name in ("q_learning", "sarsa"):
        paths, returns = [], []
        for seed in range(SEEDS):
            policy = walker(name, seed=seed)
            returns.append(walk(policy)[-LAST:].mean())
            settled = walker(name, seed=seed, learning_rate=0.05)
            settled.load(policy.tables())
            walk(settled)
            paths.append(path(settled))
        found[name] = paths, np.mean(returns)
    return found


def test_q_learning_learns_the_shortest_path_along_the_edge(walked):
    assert walked["q_learning"][0] == [[START, *((EDGE, column) for column in range(COLUMNS)), GOAL]] * SEEDS


def test_sarsa_learns_the_safe_path_along_the_far_side(walked):
    up, down = [(row, 0) for row in (3, 2, 1)], [(row, COLUMNS - 1) for row in (1, 2, 3)]
    assert walked["sarsa"][0] == [[*up, *((0, column) for column in range(COLUMNS)), *down]] * SEEDS


def test_while_it_learns_q_learning_falls_more_often_than_sarsa(walked):
    """About -50 and -25 an episode in the figure of the example."""
    assert -65 < walked["q_learning"][1] < -40
    assert -35 < walked["sarsa"][1] < -20
