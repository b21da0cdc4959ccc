"""Many runs at once: the trajectories of a batch step together, and each does at its own time what a single run does.

What differs from a single run is bookkeeping. A step is examined for all rows at once; the rows in which something may have happened are
taken out, resolved as a single run resolves its step, switched, taken through the rest of the step and put back, all within the step. A
trajectory that ends (a terminal event, a failure, a spent budget) is taken out for good, with what it has reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from phdyn.arguments import Plan
from phdyn.closing import frozen, not_reached, warn_of
from phdyn.crossing import GoalWatch, Watch, watch
from phdyn.energy import Account, EnergyBalance
from phdyn.errors import ArgumentError, EnergyBalanceError
from phdyn.inside import ManyInside, Part
from phdyn.interruption import Interruption
from phdyn.methods.stepping import Step
from phdyn.motion import Halt, Knot
from phdyn.progress import Progress
from phdyn.resolution import Resolution
from phdyn.search import Floats, Rows
from phdyn.solution import Guarded, Solution, State
from phdyn.tables import SwitchTable, Table
from phdyn.transitions import Transition
from phdyn.typing import Array

_FIRST_LOOK = 64
_ROUNDING = 1e-12
"""A switch that is nearer to the end of a step than this share of it is at its end."""
_MEMORY = ("side", "last", "fired", "left", "closest", "closest_time", "level", "now", "before", "turned", "touch")
"""What watches remember, of each trajectory."""


class Ensemble:
    """A run of B trajectories.

    Attributes
    ----------
    motion : Motion
        That of the trajectories that go on.
    ids : slice or (k,) array
        Which these are.
    """

    def __init__(self, plan: Plan, x0: Array, *, progress: bool) -> None:
        self.plan = plan
        self.motion: Any = plan.motion
        self.method: Any = plan.method
        before = plan.before
        self.count = count = int(x0.shape[1])
        self.ids: Any = slice(None)
        self.names: list[str] = list(plan.modes)
        self.knot: Any = self.motion.knot(plan.t0, x0)
        self.mode = np.zeros(count, dtype=np.intp)
        self.entered = np.full(count, plan.t0)
        self.reference = np.array(self.knot.V, dtype=np.float64)
        if before is not None:
            self.mode = np.array([self.names.index(name) for name in before.mode])
            self.entered, self.reference = np.array(before.entered), np.array(before.reference)
        self._set_first_modes()
        opening, sums = (None, None) if before is None else (before.account, before.sums.copy())
        keep = "all" if plan.record == "states" else "ends" if plan.record == "ends" else "thin"
        self.account: Any = Account(self.knot, keep=keep, split=self.motion.has_split or hasattr(plan.system, "potential"),
                                    backward=plan.backward, opening=opening, sums=sums)
        self.progress = Progress(plan.t0, plan.t_end, shown=progress, energies=self.motion.has_energy)
        numpy = self.motion.vectors.numpy
        self.x = np.array(numpy(self.knot.x).T, dtype=plan.dtype, order="C")  # of trajectories that have ended, and at the end of all
        self.t_end = np.full(count, plan.t0)
        self.status, self.live = np.zeros(count, dtype=np.int64), np.ones(count, dtype=bool)
        self.messages: dict[int, str] = {}
        self.exception: BaseException | None = None
        self.nsteps = np.zeros(count, dtype=np.int64)
        self.steps = 0
        self.switched = np.zeros(count, dtype=np.int64)
        self.switches: list[dict[str, Any]] = []
        self.events: list[list[tuple[Rows, Floats, Array]]] = [[] for _ in plan.events]
        self.buffered: list[tuple[int, Rows, Floats, Array]] = []
        self.times, self.states, self.modes = [plan.t0], [self.x.copy()], [self.mode.copy()]
        self.failed = np.zeros(count, dtype=bool)
        self.step: Step | None = None
        self.accepted = plan.t0
        self.looked, self.warned, self.interrupted, self.shrunk = _FIRST_LOOK, False, False, False
        self.watches: list[Watch] = []

    def _set_first_modes(self) -> None:
        for k, law in enumerate(getattr(self.plan.system, "laws", {}).values()):
            rows = np.flatnonzero(self.mode == k)
            if len(rows) and (k or hasattr(law, "entered")):
                self.motion.set_modes(rows, k, self.entered[rows])

    # --- the loop -------------------------------------------------------------------------------------------------------------
    def solve(self) -> Solution:
        """March until every trajectory has ended; return the solution."""
        violated: EnergyBalance | None = None
        with np.errstate(over="ignore", invalid="ignore"):
            self._begin()
            violated = self._march()
            solution = self._solution()
        if violated is not None:
            raise EnergyBalanceError(str(violated), solution)
        return solution

    def _begin(self) -> None:
        """Look at the start: here the user's functions are called for the first time, and what they raise propagates."""
        plan, knot, every = self.plan, self.knot, np.arange(self.count)
        self.watches = [watch(edge.event, self.motion, self._reference(), count=self.count, transition=edge) for edge in plan.transitions]
        self.watches += [watch(e, self.motion, self._reference(), count=self.count, index=k) for k, e in enumerate(plan.events)]
        good = self._finite(knot.V + knot.T, knot.g)
        if not good.all():
            for k in np.flatnonzero(~good):
                what = f"loss is {knot.V[k]:g}" if not np.isfinite(knot.V[k]) else "the state or its derivative is not finite (nan or inf)"
                self._end(np.array([k]), -2, f"{what} at t = {knot.t:g}, the start: check the data and the initial parameters")
        for one in self.watches:
            one.start(self.motion, knot, every)
        if plan.before is not None:
            self._take_up(plan.before)
        else:
            self._refuse_goals_already_met()
        if self.shrunk:
            self._shrink(knot)

    def _reference(self) -> Any:
        """Return V at the start of each run; what is not finite ends its trajectory, and has no reduction."""
        return np.where(np.isfinite(self.reference), self.reference, np.inf)

    def _take_up(self, before: State) -> None:
        known = list(before.guards)
        for one in self.watches:
            match = next((g for g in known if g.name == one.name), None)
            if match is not None:
                known.remove(match)
                one.recall(match)

    def _refuse_goals_already_met(self) -> None:
        for one in self.watches:
            if isinstance(one, GoalWatch) and one.transition is not None:
                met = (one.side <= 0) & (self.mode == self.names.index(str(one.source))) & self.live
                for k in np.flatnonzero(met)[:1]:
                    raise ArgumentError(
                        f"{one.name} is met at the start of trajectory {k} already: V(q0) = {self.knot.V[k]:.6g}, goal {one.level[k]:.6g};"
                        f" a switch needs a crossing ({np.count_nonzero(met)} of {self.count} trajectories)"
                    )

    def _march(self) -> EnergyBalance | None:
        violated = None
        try:
            with self.progress, Interruption(self._interrupt):
                for stop in self.plan.stops:
                    self._march_to(stop)
                violated = self._look()
        except _Violated as caught:
            violated = caught.balance
        except KeyboardInterrupt:
            self._end_all(-6, "interrupted after t = {t:.6g}: sol.state goes on from there")
        except Halt as halt:
            self._end_all(halt.status, halt.message)
        except Exception as error:  # noqa: BLE001 (whatever the user's functions raise, once the run is under way)
            self.exception = error
            self._end_all(-7, f"your function raised {type(error).__name__} after t = {{t:.6g}}: {error}")
        return violated

    def _march_to(self, stop: float) -> None:
        self.motion.on_stretch(self.knot.t, stop)
        sign = 1.0 if self.plan.t_end > self.plan.t0 else -1.0
        rounding = 1e-12 * max(abs(stop), abs(self.plan.t_end - self.plan.t0))
        while self.live.any() and (stop - self.knot.t) * sign > 0:
            steps, self.step = self.steps, None
            self.method.march(self.motion, self.knot, stop, self.observe, self.plan.control)
            last: Step | None = self.step
            if last is not None:
                self.knot = last.end()
                self._keep_states(self.knot.x, self.knot.t)
            if self.shrunk:
                self._shrink(self.knot)
            elif self.steps == steps or 0 < abs(stop - self.knot.t) <= rounding:
                self.knot.t = stop

    def _shrink(self, knot: Knot) -> None:
        """Go on with the trajectories that have not ended."""
        self.shrunk = False
        ids = np.arange(self.count) if isinstance(self.ids, slice) else self.ids
        places = np.flatnonzero(self.live[ids])
        self.ids = ids[places]
        self.motion = self.motion.take(places)
        self.knot = knot.take(places)

    def _interrupt(self) -> None:
        self.interrupted = True

    def observe(self, step: Step) -> bool:
        """Take a step that the method pushes; say whether the march must stop."""
        self.steps += 1
        self.step = step
        if not isinstance(self.ids, slice) and self.ids.shape != np.shape(step.V1):
            raise TypeError("a step has the rows that go on")
        self.nsteps[self.ids] += 1
        good = self._finite(step.V1 + step.T1, step.g1) & (step.slope1 < np.inf)
        if not good.all():
            self._fail(step, np.flatnonzero(~good))
        suspected, active = self._suspected(step)
        some = np.flatnonzero(suspected.any(axis=0))
        if len(some):
            self._resolve(step, some, suspected[:, some], active[:, some])
        self._accept(step)
        return self.shrunk

    def _finite(self, height: Any, g: Any) -> Any:
        return np.isfinite(height) & (np.asarray(self.motion.vectors.finite(g)) if not np.isfinite(height).all() else True)

    def _mine(self, rows: Rows) -> Rows:
        """Return which trajectories rows of the step are."""
        return rows if isinstance(self.ids, slice) else self.ids[rows]

    def _suspected(self, step: Step) -> tuple[Any, Any]:
        """Return which rows may hold an event of each watch, and which it watches."""
        rows = len(np.asarray(step.V1))
        suspected, active = np.zeros((len(self.watches), rows), dtype=bool), np.ones((len(self.watches), rows), dtype=bool)
        going = self.live[self.ids]
        mode = self.mode[self.ids]
        for k, one in enumerate(self.watches):
            active[k] = going if one.source is None else going & (mode == self.names.index(one.source))
            if active[k].any():
                suspected[k] = self._asked(one, step, self.ids, active[k])
        return suspected, active

    def _asked(self, one: Watch, step: Step, ids: Any, active: Any) -> Any:
        """Return what a watch suspects; where its guard is not a number the trajectory ends."""
        try:
            return one.suspected(step, ids, None if active.all() else active)
        except Halt as halt:
            if halt.rows is None:
                raise
            every = np.arange(self.count)[ids] if isinstance(ids, slice) else ids
            bad = np.isin(every, halt.rows)
            self._fail_rows(step, np.flatnonzero(bad), halt)
            active &= ~bad
            return self._asked(one, step, ids, active) if active.any() else active.copy()

    # --- rows that end --------------------------------------------------------------------------------------------------------
    def _fail(self, step: Step, rows: Rows) -> None:
        """End trajectories whose step is not finite, where it began."""
        heights = np.asarray(step.V1)[rows]
        for row, height in zip(rows, heights, strict=True):
            what = f"loss is {height:g}" if not np.isfinite(height) else "the gradient is not finite (nan or inf)"
            self._undo(step, np.array([row]), -2, f"{what} after t = {{t:.6g}}: try a smaller step or tighter tolerances")

    def _fail_rows(self, step: Step, rows: Rows, halt: Halt) -> None:
        self._undo(step, rows, halt.status, halt.message)

    def _undo(self, step: Step, rows: Rows, status: int, message: str) -> None:
        """End trajectories at the start of a step; what it takes to know that is not counted."""
        counts = self.motion.counts
        kept = counts.nfev.copy(), counts.max_nfev
        counts.max_nfev = np.inf
        start = step.take(rows).start()
        counts.nfev[:], counts.max_nfev = kept
        ids = self._mine(rows)
        self.x[:, ids] = self.motion.vectors.numpy(start.x).T
        self.t_end[ids] = step.t0
        self.nsteps[ids] -= 1
        self.failed[ids] = True
        self._end(ids, status, message)

    def _end(self, ids: Rows, status: int, message: str) -> None:
        """Take trajectories out of the run."""
        self.live[ids], self.status[ids], self.shrunk = False, status, True
        self.messages.update((int(k), message.format(t=self.t_end[k])) for k in ids)

    def _end_all(self, status: int, message: str) -> None:
        """End all trajectories that go on, where they are."""
        if self.step is not None and self.accepted == self.step.t1:
            self._keep_states(self.step.x1, self.step.t1)
        elif self.step is not None:  # it failed midway
            self._keep_states(self.step.start_as_kept().x, self.step.t0)
        self._end(np.flatnonzero(self.live), status, message)

    # --- accepting ------------------------------------------------------------------------------------------------------------
    def _keep_states(self, x: Array, t: float) -> None:
        """Write the states of the trajectories that go on."""
        numpy, going = self.motion.vectors.numpy, self.live[self.ids]
        if going.all():
            self.x[:, self.ids] = numpy(x).T
            self.t_end[self.ids] = t
        else:
            places = np.flatnonzero(going)
            self.x[:, self._mine(places)] = numpy(x)[places].T
            self.t_end[self._mine(places)] = t

    def _accept(self, step: Step) -> None:
        """Enter a step into account and records."""
        posted = (step.T1, step.V1, step.dissipated, step.supplied)
        if isinstance(self.ids, slice) and not self.shrunk:
            self.account.post(step.t1, *posted)
        else:
            took = np.zeros(self.count, dtype=bool)
            took[self.ids] = True
            self.account.post(step.t1, *(self._whole(part) for part in posted), live=took & ~self.failed)
        self.accepted = step.t1
        if self.plan.record == "states":
            self._keep_states(step.x1, step.t1)
            self.times.append(step.t1)
            self.states.append(self.x.copy())
            self.modes.append(self.mode.copy())
        self._housekeeping(step)

    def _whole(self, part: Any) -> Any:
        """Return an array over all trajectories."""
        if isinstance(self.ids, slice) or np.ndim(part) == 0:
            return part
        whole = np.zeros(self.count)
        whole[self.ids] = part
        return whole

    def _housekeeping(self, step: Step) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        if self.steps >= self.looked and self.plan.monitor:
            self.looked *= 2
            balance = self._look()
            if balance is not None:
                raise _Violated(balance)
        if self.progress.due(self.steps) <= self.steps:
            going = int(np.count_nonzero(self.live))
            mean = float(np.mean(step.V1)), float(np.mean(step.V1 + step.T1))
            self.progress.show(self.steps, step.t1, *mean, f"mean of {going}")
        if self.motion.counts.max_nfev != np.inf or self.steps >= self.plan.max_steps:
            self._look_at_budgets(step)

    def _look_at_budgets(self, step: Step) -> None:
        """End trajectories that cannot pay for another step."""
        if (self.plan.t_end - step.t1) * (self.plan.t_end - self.plan.t0) <= 0:
            return
        self._keep_states(step.x1, step.t1)
        counts, ids = self.motion.counts, np.arange(self.count)[self.ids]
        spent = ids[self.live[ids] & (counts.nfev[ids] + self.method.stages > counts.max_nfev)]
        if len(spent):
            self._end(spent, -3, f"the budget of max_nfev={counts.max_nfev:g} gradient evaluations is spent")
        if self.steps >= self.plan.max_steps:
            self._end(ids[self.live[ids]], -3, f"the budget of max_steps={self.plan.max_steps} steps is spent at t = {step.t1:.6g}")

    def _look(self) -> EnergyBalance | None:
        """See whether the balances hold so far: warn once, or return what ``monitor`` does not stand."""
        if self.plan.monitor is None or self.warned:
            return None
        balance: EnergyBalance = self.account.balance(self.method.kind, self.plan.heading, self.plan.eps)
        if balance.holds.all():
            return None
        if self.plan.monitor == "raise":
            return balance
        self.warned = True
        warn_of(balance)
        return None

    # --- events ---------------------------------------------------------------------------------------------------------------
    def _resolve(self, step: Step, rows: Rows, suspected: Any, active: Any) -> None:
        """Resolve the step of some rows: cut, switch, take the rest of the step, and put the rows back."""
        step.hold()
        part = step.take(rows)
        end = Part(part.end(), part.dissipated, part.supplied)
        places, current = np.arange(len(rows)), part
        ids = self._mine(rows)
        works = np.zeros((2, len(rows)))
        moved = np.zeros(len(rows), dtype=bool)
        while len(places):
            mine = ids[places]
            resolution = self._resolved(current, places, mine, suspected, active, step, rows)
            on = self.live[mine]
            free = np.flatnonzero((resolution.cutter < 0) & on)
            cut = np.flatnonzero((resolution.cutter >= 0) & on)
            if len(free):
                resolution.passed(free)
                self._arrive(end, places[free], current, free, works)
            if not len(cut):
                break
            at = resolution.part(cut)
            resolution.settle(cut, at)
            works[:, places[cut]] += (at.dissipated, at.supplied)
            end.put(places[cut], at)
            moved[places[cut]] = True
            going = self._fire(resolution, cut, at, mine)
            rest = going & (resolution.theta[cut] < 1.0) & (np.abs(step.t1 - at.t) > _ROUNDING * abs(step.t1 - step.t0))
            places, onward = places[cut[rest]], cut[rest]
            if not len(places):
                break
            current, suspected, active = self._rest_of_step(current, onward, at.take(np.flatnonzero(rest)), step.t1, ids[places])
            good = np.isfinite(current.V1 + current.T1) & (current.slope1 < np.inf)
            if not good.all():
                self._stop_at(ids[places[~good]], end.take(places[~good]), -2, "the loss or the gradient is not finite after t = {t:.6g}:"
                              " try a smaller step")
                places, current = places[good], current.take(np.flatnonzero(good))
                suspected, active = suspected[:, good], active[:, good]
            self.nsteps[ids[places]] += 1
        back = np.flatnonzero(moved & self.live[ids])
        if len(back):
            step.put(rows[back], end.take(back).knot())
        every = np.flatnonzero(moved)
        for name, work in zip(("dissipated", "supplied"), works, strict=True):
            whole = np.array(np.broadcast_to(getattr(step, name), np.shape(step.V1)))
            whole[rows[every]] = work[every]
            setattr(step, name, whole)
        ended = np.flatnonzero(moved & ~self.live[ids])
        if len(ended):  # the account takes the trajectory's last energies
            for name, value in (("V1", end.V), ("T1", end.T)):
                whole = np.array(getattr(step, name))
                whole[rows[ended]] = value[ended]
                setattr(step, name, whole)

    def _resolved(
        self, current: Step, places: Rows, mine: Rows, suspected: Any, active: Any, step: Step, rows: Rows
    ) -> Resolution:
        """Resolve a step, again without the trajectories whose guard is not a number."""
        memory = [{name: getattr(one, name)[mine].copy() for name in _MEMORY if hasattr(one, name)} for one in self.watches]
        while True:
            self.buffered.clear()
            resolution = Resolution(self.watches, list(active), ManyInside(current, mine), self._note)
            try:
                resolution.run(list(suspected))
            except Halt as halt:
                if halt.rows is None:
                    raise
                for one, kept in zip(self.watches, memory, strict=True):
                    for name, value in kept.items():
                        getattr(one, name)[mine] = value
                bad = np.isin(mine, halt.rows)
                self._undo(step, rows[places[bad]], halt.status, halt.message)
                suspected, active = suspected & ~bad, active & ~bad
                continue
            for index, who, t, x in self.buffered:
                self.events[index].append((who, t, x))
            return resolution

    def _note(self, one: Watch, ids: Rows, part: Part) -> None:
        if one.index is not None:
            states = np.array(self.motion.vectors.numpy(part.x), dtype=self.plan.dtype)
            self.buffered.append((one.index, ids, part.t.copy(), states))

    def _arrive(self, end: Part, places: Rows, current: Step, rows: Rows, works: Floats) -> None:
        """Enter the ends of steps that nothing cuts."""
        taken = current if len(rows) == len(np.asarray(current.V1)) else current.take(rows)
        part = Part(taken.end(), taken.dissipated, taken.supplied)
        end.put(places, part)
        works[:, places] += (part.dissipated, part.supplied)

    def _fire(self, resolution: Resolution, cut: Rows, at: Part, mine: Rows) -> Any:
        """Switch the rows whose step is cut, or end them; return which of them go on."""
        going = np.ones(len(cut), dtype=bool)
        for k in np.unique(resolution.cutter[cut]):
            some = np.flatnonzero(resolution.cutter[cut] == k)
            one, ids, part = self.watches[k], mine[cut[some]], at.take(some)
            if one.transition is None:
                going[some] = False
                self._stop_at(ids, part, 1, f"event '{one.name}' ended the run at t = {{t:.6g}}")
            else:
                self._switch(one, ids, part)
                going[some] = self.live[ids]
        return going

    def _switch(self, one: Watch, ids: Rows, part: Part) -> None:
        """Go over to the next mode: record, and watch its guards; a goal that is met already fires at once."""
        edge: Transition = one.transition  # type: ignore[assignment]
        self.mode[ids], self.entered[ids] = self.names.index(edge.target), part.t
        self._set_modes(ids, part.t)
        x = np.array(self.motion.vectors.numpy(part.x), dtype=self.plan.dtype)
        row = {"trajectory": ids, "time": part.t, "loss": part.V, "kinetic": part.T, "x": x}
        self.switches.append({**row, "source": edge.source, "target": edge.target, "event": one.name})
        self.switched[ids] += 1
        spent = self.switched[ids] >= self.plan.max_switches
        if spent.any():
            message = f"{self.plan.max_switches} switches (max_switches), the last at t = {{t:.6g}}: do the guards chatter?"
            self._stop_at(ids[spent], part.take(np.flatnonzero(spent)), -4, message)
            ids, part = ids[~spent], part.take(np.flatnonzero(~spent))
        if edge.rebases:
            for goal in self.watches:
                if isinstance(goal, GoalWatch) and goal.transition is not None:
                    goal.rebase(part.V, ids)
        if edge.source != edge.target and len(ids):
            self._look_at_new(one, ids, part)

    def _set_modes(self, ids: Rows, t: Floats) -> None:
        """Tell the motion of the run, whose next steps are in the new mode."""
        rows = ids if isinstance(self.ids, slice) else np.searchsorted(self.ids, ids)
        self.motion.set_modes(rows, int(self.mode[ids[0]]), t)

    def _stop_at(self, ids: Rows, part: Part, status: int, message: str) -> None:
        """End trajectories where a step of theirs was cut."""
        self.x[:, ids], self.t_end[ids] = self.motion.vectors.numpy(part.x).T, part.t
        self._end(ids, status, message)

    def _look_at_new(self, fired: Watch, ids: Rows, part: Part) -> None:
        """Take the sides of guards that were not watched before; a goal that is met already fires at once.

        Of the guard that just fired rounding tells the sign: the side set by decree holds.
        """
        target = self.names[self.mode[ids[0]]]
        for other in self.watches:
            if other.transition is None or other.source != target:
                continue
            some = np.arange(len(ids))
            motion = self._motion_of(ids)
            other.start(motion, part.knot(), ids)
            if other.event is fired.event:
                other.hold(ids, fired.side[ids])
            elif isinstance(other, GoalWatch):
                met = some[other.side[ids] <= 0]
                if len(met):
                    other.fired[ids[met]] += 1
                    self._switch(other, ids[met], part.take(met))
                    rest = np.setdiff1d(some, met)
                    ids, part = ids[rest], part.take(rest)
            if not len(ids):
                return

    def _motion_of(self, ids: Rows) -> Any:
        rows = ids if isinstance(self.ids, slice) else np.searchsorted(self.ids, ids)
        return self.motion.take(rows)

    def _rest_of_step(self, current: Step, rows: Rows, at: Part, t1: Any, ids: Rows) -> tuple[Step, Any, Any]:
        """Take the rest of a step from where it was cut; return it with what the watches suspect of it, and the rows that they watch."""
        motion = self._motion_of(ids)
        knot = at.knot()
        stepper = self.method.begin(motion, knot)
        stepper.advance(knot.t, np.full(len(ids), t1), t1 - knot.t)
        step = stepper.step
        suspected, active = np.zeros((len(self.watches), len(ids)), dtype=bool), np.ones((len(self.watches), len(ids)), dtype=bool)
        for k, one in enumerate(self.watches):
            if one.source is not None:
                active[k] = self.mode[ids] == self.names.index(one.source)
            if active[k].any():
                suspected[k] = one.suspected(step, ids, None if active[k].all() else active[k])
        return step, suspected, active

    # --- the end --------------------------------------------------------------------------------------------------------------
    def _solution(self) -> Solution:
        plan, motion = self.plan, self.plan.motion
        ended = self.status == 0
        if plan.record != "states" and (len(self.times) < 2 or self.times[-1] != self.account.t):
            self.times.append(float(self.account.t))
            self.states.append(self.x.copy())
            self.modes.append(self.mode.copy())
        counts = motion.counts
        size, kept = self.x.shape[0], len(self.times)
        y = np.empty((self.count, size, kept), dtype=plan.dtype)
        modes = np.array(self.names)[np.stack(self.modes, axis=-1)]
        for k, state in enumerate(self.states):
            y[:, :, k] = state.T
        y[:, :, -1] = self.x.T
        for array in (y, modes):
            array.flags.writeable = False
        missed = [(one, np.flatnonzero(one.fired == 0)) for one in self.watches if isinstance(one, GoalWatch)]
        zeros = np.zeros(self.count, dtype=np.int64)
        zeros.flags.writeable = False
        times, states = self._event_arrays()
        return Solution(
            t=frozen(self.times),
            y=y,
            sol=None,
            t_events=times if plan.has_events else None,
            y_events=states if plan.has_events else None,
            nfev=frozen(counts.nfev),
            nvev=frozen(counts.nvev),
            njev=zeros,
            nlu=zeros,
            nsteps=frozen(self.nsteps),
            nrejected=zeros,
            t_end=frozen(self.t_end),
            status=frozen(self.status),
            message=self._messages(ended),
            success=frozen(self.status >= 0),
            exception=[self.exception if status == -7 else None for status in self.status.tolist()],
            energy=self.account.energy(),
            modes=modes,
            switches=self._switch_table(),
            near_misses=_near_misses(missed),
            observed=Table({"time": []}),
            state=self._state(),
            system=plan.system,
            method=self.method,
            setting=plan.setting,
            label=plan.label,
            split=motion.has_split,
            units=getattr(plan.system, "units", {}),
            balance=self.account.balance(self.method.kind, plan.heading, plan.eps),
        )

    def _event_arrays(self) -> tuple[list[Any], list[Any]]:
        """Return times and states of each event, a list over the trajectories."""
        times, states = [], []
        for chunks in self.events:
            who = np.concatenate([ids for ids, _, _ in chunks]) if chunks else np.empty(0, dtype=np.intp)
            order = np.argsort(who, kind="stable")
            when = np.concatenate([t for _, t, _ in chunks])[order] if chunks else np.empty(0)
            where = np.concatenate([x for _, _, x in chunks])[order] if chunks else np.empty((0, self.x.shape[0]), dtype=self.plan.dtype)
            places = np.searchsorted(who[order], np.arange(1, self.count))
            for array in (when, where):
                array.flags.writeable = False
            times.append(np.split(when, places))
            states.append(np.split(where, places))
        return times, states

    def _messages(self, ended: Any) -> np.ndarray[Any, Any]:
        """Return what happened to each trajectory."""
        plain = f"reached the end of the span, t = {self.plan.t_end:g}"
        messages = dict.fromkeys(np.flatnonzero(ended).tolist(), plain) | self.messages
        for one in self.watches:
            if isinstance(one, GoalWatch) and one.transition is not None:
                waits = ended & (one.fired == 0) & (self.mode == self.names.index(str(one.source)))
                for k in np.flatnonzero(waits).tolist():
                    if messages[k] is plain:
                        messages[k] = f"{plain}; {not_reached(one.name, one.closest[k], one.closest_time[k], one.level[k])}"
        return frozen([messages[k] for k in range(self.count)])

    def _switch_table(self) -> SwitchTable:
        """Return the switches of all, in the order of time."""
        empty = f"no switch in any of the {self.count} trajectories"
        names = ("trajectory", "time", "source", "target", "event", "loss", "kinetic", "hamiltonian", "injected")
        if not self.switches:
            columns: dict[str, Any] = {name: np.array([], dtype=kind) for name, kind in zip(names, "ifUUUffff", strict=True)}
            return SwitchTable(columns, trajectories=self.count, empty=empty)
        lengths = [len(row["time"]) for row in self.switches]
        joined = {name: np.concatenate([row[name] for row in self.switches]) for name in ("trajectory", "time", "loss", "kinetic", "x")}
        for name in ("source", "target", "event"):
            joined[name] = np.repeat([row[name] for row in self.switches], lengths)
        joined["hamiltonian"], joined["injected"] = joined["loss"] + joined["kinetic"], np.zeros(len(joined["time"]))
        order = np.argsort(-joined["time"] if self.plan.backward else joined["time"], kind="stable")
        hidden = {name: list(joined["x"][order]) for name in ("x_before", "x_after")} if self.plan.record == "states" else None
        return SwitchTable({name: joined[name][order] for name in names}, hidden=hidden, trajectories=self.count, empty=empty)

    def _state(self) -> State:
        def kept(one: Watch, name: str) -> Any:
            return np.array(getattr(one, name, np.full(self.count, np.nan)))

        guards = tuple(
            Guarded(one.name, *(kept(one, name) for name in ("side", "last", "fired", "closest", "closest_time", "level")))
            for one in self.watches
        )
        _, _, _, *works = self.account.last
        same = bool((self.t_end == self.t_end[0]).all())
        return State(
            float(self.t_end[0]) if same else self.t_end.copy(),
            np.ascontiguousarray(self.x.T),
            np.array(self.names)[self.mode],
            self.entered.copy(),
            self.reference.copy(),
            guards,
            (self.account.h0.copy(), *(work.copy() for work in works)),
            self.account.settled().copy(),
        )


def _near_misses(missed: Sequence[tuple[GoalWatch, Rows]]) -> Table:
    """Return the goals that were not reached."""
    def joined(parts: list[Any], kind: Any) -> Any:
        return np.concatenate(parts) if parts else np.array([], dtype=kind)

    return Table(
        {
            "trajectory": joined([rows for _, rows in missed], int),
            "event": joined([np.full(len(rows), one.name) for one, rows in missed], str),
            "value": joined([one.closest[rows] for one, rows in missed], float),
            "goal": joined([one.level[rows] for one, rows in missed], float),
            "time": joined([one.closest_time[rows] for one, rows in missed], float),
        }
    )


class _Violated(Exception):  # noqa: N818 (carried out of the solver, then raised as EnergyBalanceError)
    def __init__(self, balance: EnergyBalance) -> None:
        super().__init__()
        self.balance = balance
