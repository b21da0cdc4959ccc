"""The scripts behind the figures of docs/training.md and the table of what observing costs."""

from __future__ import annotations

import math

import numpy as np
import observer_cost
import pytest
import training_figures

from phdyn import networks, training


def test_the_schedules_are_those_of_torch():
    steps = training_figures.schedule(training_figures.SCHEDULES["steps of 1/10"])
    first = training.heavy_ball_from_sgd(lr=0.1, momentum=0.9)[1]
    np.testing.assert_allclose(steps.friction[[0, 250, 399]] / first, [1.0, math.sqrt(10), 10.0], rtol=1e-12)
    assert np.flatnonzero(steps.jumps != 1.0).tolist() == [200, 300]
    np.testing.assert_allclose(steps.jumps[[200, 300]], 0.1, rtol=1e-12)
    constant = training_figures.schedule(training_figures.SCHEDULES["constant"])
    assert np.ptp(constant.friction) == 0
    cycle = training_figures.schedule(training_figures.SCHEDULES["one cycle"])
    assert cycle.lr.max() == pytest.approx(0.1, rel=1e-3) and cycle.friction[-1] > 20 * first


def test_the_observed_training_brakes_and_its_balance_closes():
    scheduler, observer = training_figures.observed(epochs=4)
    assert scheduler.mode == "exploit" and observer.switches[0].target == "friction 3"
    balance = observer.energy_balance()
    assert balance.verdict == "balanced" and balance.supplied > 0 and abs(balance.injected) < 1e-6


def test_loops_with_and_without_parts_train_alike():
    def build():
        return networks.mlp((64, 64, 64, 10))

    bare, *others = [observer_cost.Loop(build, (8, 64), part) for part in (None, *observer_cost.PARTS.values())]
    for loop in (bare, *others):
        assert loop.run(3) > 0
    for loop in others:
        assert all((a == b).all() for a, b in zip(bare.model.parameters(), loop.model.parameters(), strict=True))
