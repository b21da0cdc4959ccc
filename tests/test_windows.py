"""The slope of the residual on the dissipated work, window by window."""

import numpy as np
import pytest

import phdyn
from phdyn import potentials
from phdyn.energy.windows import FEWEST
from phdyn.errors import ArgumentError
from phdyn.events import Guard


def ball(steps=400, step=0.1, friction=0.1, **options):
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=friction)
    return phdyn.simulate(system, (0, steps * step), [1.4, 0.3], method="strang", step=step, monitor=None, **options)


def by_hand(energy, window):
    """Least squares, rows of equal weight: steps of equal length."""
    rows = [slice(k + 1, k + 1 + window) for k in range(0, len(energy.t) - window, window)]
    return [np.polyfit(energy.dissipated[row], energy.residual[row], 1)[0] for row in rows]


@pytest.mark.parametrize("window", [40, 100, 150, 400])
def test_slopes_are_least_squares(window):
    sol = ball()
    balance = sol.energy_balance(window=window)
    assert list(balance.slopes) and list(dict(balance.slopes)) == ["time", "slope"]
    np.testing.assert_allclose(balance.slopes["slope"], by_hand(sol.energy, window), rtol=1e-6)
    np.testing.assert_allclose(balance.slopes["time"], 0.1 * window * np.arange(1, 400 // window + 1), rtol=1e-12)


def test_one_window_over_all_is_the_balances_own_slope():
    sol = ball()
    balance = sol.energy_balance(window=400)
    assert balance.slopes["slope"][0] == pytest.approx(balance.slope, rel=1e-9)
    plain = sol.energy_balance()
    assert plain.slopes is None
    assert str(plain) == str(balance)


def test_steps_that_were_cut_count_by_their_length():
    """A switch cuts a step in two: both parts are rows, weighted with their lengths."""
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=phdyn.SwitchedFriction(0.05, 0.5, phdyn.LossGoal(reduction=0.9)))
    sol = phdyn.simulate(system, (0, 20), [1.9, 0.0], method="strang", step=0.1, monitor=None)
    assert len(sol.switches) == 1 and len(sol.t) == 202
    rows, t = slice(1, 202), sol.energy.t
    weights = np.sqrt(np.diff(t))
    wanted = np.polyfit(sol.energy.dissipated[rows], sol.energy.residual[rows], 1, w=weights)[0]
    balance = sol.energy_balance(window=201)
    assert balance.slopes["slope"][0] == pytest.approx(wanted, rel=1e-6)
    assert balance.slope == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("z", [0.1, 0.5, 1.5, 1.9, 2.0, 2.05])
def test_gradient_descent_undoes_half_its_step_times_the_curvature(z):
    """V+ - V + h g^2 = h^2/2 g H g for one step on a quadratic: slope h lambda/2, which is 1 at the stability limit."""
    flow = phdyn.GradientFlow(potentials.Quadratic([2.0]))
    sol = phdyn.simulate(flow, (0, 20 * z), [1.0], method="explicit-euler", step=z / 2, monitor=None)
    np.testing.assert_allclose(sol.energy_balance(window=10).slopes["slope"][:2], z / 2, rtol=1e-5)


def test_in_several_directions_it_is_the_curvature_along_the_gradient():
    """Far from the limit in the soft directions, at it in the stiff one, which has all the gradient in the end."""
    flow = phdyn.GradientFlow(potentials.Quadratic([0.5, 1.0, 20.0]))
    sol = phdyn.simulate(flow, (0, 40), [1.0, 1.0, 1e-4], method="explicit-euler", step=0.1, monitor=None)
    slopes = sol.energy_balance(window=50).slopes["slope"]
    np.testing.assert_allclose(slopes[:2], 0.04, rtol=0.1)  # h/2 times a mean of the two soft curvatures is .025 to .05
    np.testing.assert_allclose(slopes[-4:], 1.0, rtol=1e-4)
    assert (np.diff(slopes[1:]) > 0).all()


def test_no_friction_no_slope():
    slopes = ball(friction=0.0).energy_balance(window=100).slopes["slope"]
    assert np.isnan(slopes).all() and len(slopes) == 4


def test_thinned_energies_give_nearly_the_same():
    whole, thin = ball(9000, 0.01), ball(9000, 0.01, record="energy")
    assert len(thin.energy.t) == 9000 // 4 + 1
    for window in (1000, 1003):
        found = thin.energy_balance(window=window).slopes
        np.testing.assert_allclose(found["time"], whole.energy_balance(window=1000).slopes["time"], rtol=1e-12)
        np.testing.assert_allclose(found["slope"], whole.energy_balance(window=1000).slopes["slope"], rtol=0.05, atol=1e-6)
    with pytest.raises(ArgumentError, match=r"energies are kept once in 4 steps: a window of 16 steps at least is needed"):
        thin.energy_balance(window=12)


def test_energies_that_were_not_kept():
    with pytest.raises(ArgumentError, match='record="states" or "energy" is needed'):
        ball(record="ends").energy_balance(window=100)


def test_times_to_record_at_do_not_matter():
    """They choose states, not energies."""
    found = ball(t_eval=[0.0, 1.0, 40.0]).energy_balance(window=100).slopes
    np.testing.assert_array_equal(found["slope"], ball().energy_balance(window=100).slopes["slope"])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_late_windows_are_as_good_or_nan(dtype):
    """Work falls by 35 decades: the slope stays what it is until the work is rounding, and then is not known."""
    system = phdyn.HeavyBall(potentials.Quadratic([1.0, 2.0]), friction=0.2)
    x0 = np.array([1.0, 0.5, 0.0, 0.0], dtype=dtype)
    sol = phdyn.simulate(system, (0, 400), x0, method="strang", step=0.25, monitor=None)
    slopes = sol.energy_balance(window=100).slopes["slope"]
    known = np.isfinite(slopes)
    assert known[: known.sum()].all()  # first all of them, then none
    assert known.sum() in (6, 7, 8)
    np.testing.assert_allclose(slopes[:2], slopes[0], atol=2e-3)
    assert np.abs(slopes[known]).max() < 0.05
    assert slopes[0] != 0


def test_friction_that_ends():
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=phdyn.SwitchedFriction(0.5, 0.0, phdyn.LossGoal(reduction=0.9)))
    sol = phdyn.simulate(system, (0, 40), [1.9, 0.0], method="strang", step=0.05, monitor=None)
    end = float(sol.switches.first())
    slopes = sol.energy_balance(window=50).slopes
    late = slopes["time"] > end + 2.6
    assert late.sum() > 5 and np.isnan(slopes["slope"][late]).all()
    assert np.isfinite(slopes["slope"][slopes["time"] < end]).all()


@pytest.mark.parametrize("flow", [phdyn.GradientFlow(potentials.Quadratic([1.0])), phdyn.HeavyBall(potentials.DoubleWell(), friction=1.0)])
def test_what_stands_still_has_no_slope(flow):
    x0 = [0.0] if isinstance(flow, phdyn.GradientFlow) else [0.0, 0.0]
    slopes = phdyn.simulate(flow, (0, 10), x0, method="rk4", step=0.1, monitor=None).energy_balance(window=20).slopes["slope"]
    assert np.isnan(slopes).all()


@pytest.mark.parametrize("method", ["strang", "RK45"])
def test_batches_that_were_run_one_by_one(method, tmp_path):
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=0.1)
    x0 = np.array([[1.4, 0.3], [1.2, 0.0]])
    observed = {"step": 0.1, "observables": {"x": lambda point: float(point.q[0])}}
    options = observed if method == "strang" else {"t_eval": np.linspace(0, 40, 401)}
    batch = phdyn.simulate(system, (0, 40), x0, method=method, monitor=None, **options)
    singles = [phdyn.simulate(system, (0, 40), x, method=method, monitor=None, **options) for x in x0]
    if method == "RK45":  # the rows of two grids are not those of one
        with pytest.raises(ArgumentError, match="a run of its own for each trajectory that chooses its steps"):
            batch.energy_balance(window=20)
    balance = batch.energy_balance(window=20 if method == "strang" else None)
    for k, single in enumerate(singles):
        assert balance[k].residual == pytest.approx(single.energy_balance().residual, rel=1e-9)
        if method == "strang":
            np.testing.assert_allclose(balance[k].slopes["slope"], single.energy_balance(window=20).slopes["slope"], rtol=1e-6)
        assert batch.trajectory(k).energy_balance().verdict == single.energy_balance().verdict
    batch.save(tmp_path / "batch.npz")
    np.testing.assert_array_equal(phdyn.load(tmp_path / "batch.npz").energy_balance().residual, batch.energy_balance().residual)


@pytest.mark.parametrize("window", [0, -3, 3, 2.5, True, "all"])
def test_windows_that_are_none(window):
    with pytest.raises(ArgumentError, match=f"a whole number of steps, {FEWEST} at least, is needed"):
        ball().energy_balance(window=window)


def test_a_window_longer_than_the_run():
    with pytest.raises(ArgumentError, match="window is 401, and the run has 400 steps"):
        ball().energy_balance(window=401)
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=0.1)
    batch = phdyn.simulate(system, (0, 5), np.array([[1.4, 0.3], [1.2, 0.0]]), method="strang", step=0.1, monitor=None)
    with pytest.raises(ArgumentError, match="window is 51, and the longest trajectory has 50 steps"):
        batch.energy_balance(window=51)
    for window in ("all", float("nan"), 2.5):
        with pytest.raises(ArgumentError, match="a whole number of steps"):
            batch.energy_balance(window=window)


def test_a_plain_function_has_none():
    with pytest.raises(ArgumentError, match="no energy to balance"):
        phdyn.simulate(lambda _t, x: -x, (0, 1), [1.0]).energy_balance(window=10)


def test_batches_have_theirs_by_trajectory():
    """One leaves early, after less than two windows, one before the first is full."""
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=0.1)
    x0 = np.array([[1.4, 0.3], [1.2, 0.0], [1.9, 0.0]])
    goal = Guard(lambda point: point.q[..., 0] - 0.7, name="wall", terminal=True)
    batch = phdyn.simulate(system, (0, 40), x0, method="strang", step=0.1, monitor=None, events=goal)
    slopes = batch.energy_balance(window=20).slopes
    singles = [phdyn.simulate(system, (0, 40), x, method="strang", step=0.1, monitor=None, events=goal) for x in x0]
    assert len({int(one.nsteps) for one in singles}) > 1
    for k, single in enumerate(singles):
        own = slopes["trajectory"] == k
        if single.nsteps < 20:
            assert not own.any()
            continue
        wanted = single.energy_balance(window=20).slopes
        np.testing.assert_allclose(slopes["slope"][own], wanted["slope"], rtol=1e-6)
        of_its_own = batch.energy_balance(window=20)[k].slopes
        np.testing.assert_array_equal(of_its_own["slope"], slopes["slope"][own])
        assert list(dict(of_its_own)) == ["time", "slope"]
    np.testing.assert_array_equal(batch.energy_balance(window=20)[-1].slopes["time"], slopes["time"][slopes["trajectory"] == 2])
    assert batch.energy_balance()[0].slopes is None


def test_backwards_in_time():
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=0.1)
    sol = phdyn.simulate(system, (10, 0), [1.4, 0.3], method="strang", step=0.05, monitor=None)
    slopes = sol.energy_balance(window=200).slopes
    assert slopes["slope"][0] == pytest.approx(sol.energy_balance().slope, rel=1e-9)


def test_a_saved_solution_has_them(tmp_path):
    sol = ball()
    sol.save(tmp_path / "ball.npz")
    found = phdyn.load(tmp_path / "ball.npz").energy_balance(window=100).slopes
    np.testing.assert_array_equal(found["slope"], sol.energy_balance(window=100).slopes["slope"])


def test_a_run_that_goes_on_has_its_own_windows():
    first = ball(200)
    system = phdyn.HeavyBall(potentials.DoubleWell(), friction=0.1)
    second = phdyn.simulate(system, (20.0, 40.0), first.state, method="strang", step=0.1, monitor=None)
    whole = ball(400).energy_balance(window=100).slopes
    found = second.energy_balance(window=100).slopes
    np.testing.assert_allclose(found["time"], whole["time"][-len(found) :], rtol=1e-12)
    np.testing.assert_allclose(found["slope"], whole["slope"][-len(found) :], rtol=1e-6)
