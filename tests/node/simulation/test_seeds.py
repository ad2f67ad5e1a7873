"""Hundreds of short simulations: whatever goes wrong, once it is over everything is as declared."""

import pytest

from beemesh_node.simulation.run import Scenario, Simulation

SHORT = range(1, 201)


def check(scenario):
    violations = Simulation(scenario).run().violations
    assert not violations, "\n".join([*violations, f"replay: {scenario.command}"])


@pytest.mark.parametrize("seed", SHORT)
def test_trouble_of_every_kind_leaves_nothing_behind(seed):
    check(Scenario(seed, machines=3 + seed % 5, minutes=0.5))


@pytest.mark.parametrize("seed", [1020, 1034, 1068])
def test_rollouts_of_leased_slots_survive_partitions(seed):
    check(Scenario(seed, machines=7, minutes=3))


def test_a_larger_mesh_with_gossip_modelled_as_a_whole():
    check(Scenario(1, machines=60, minutes=2))


def test_the_seed_decides_everything():
    scenario = Scenario(5, machines=6, minutes=1)
    first, second = (Simulation(scenario).run() for _ in range(2))
    assert first == second
