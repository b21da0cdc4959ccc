"""Many runs at once: the trajectories of a batch step together, and each does at its own time what a single run does.

What differs from a single run is bookkeeping. A step is examined for all rows at once; the rows in which something may have happened are
taken out, resolved as a single run resolves its step, switched, taken through the rest of the step and put back, all within the step. A
trajectory that ends (a terminal event, a failure, a spent budget) is taken out for good, with what it has reached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from phdyn.arguments import Plan
from phdyn.closing import FIRST_LOOK, Violated, frozen, not_reached, too_many, warn_of
from phdyn.crossing import GoalWatch, Watch, watch
from phdyn.energy import Account, EnergyBalance
from phdyn.errors import ArgumentError, EnergyBalanceError, EnergyWarning
from phdyn.events import same_event
from phdyn.inside import ManyInside, Part
from phdyn.interruption import Interruption
from phdyn.kept import Event, Kept, near_misses
from phdyn.methods.stepping import Step
from phdyn.motion import Halt, Knot
from phdyn.pieces import Pieces
from phdyn.progress import Progress
from phdyn.resolution import Resolution
from phdyn.search import Floats, Rows
from phdyn.solution import Guarded, Solution, State, recalled
from phdyn.tables import Table
from phdyn.transitions import Transition
from phdyn.typing import Array

_ROUNDING = 1e-12
"""A switch that is nearer to the end of a step than this share of it is at its end."""
Ender = Callable[[Rows, Halt], None]
"""Ends some rows of a step."""

_THEN = "{then}"
"""In a message, the time at which a trajectory has ended."""


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
        self.motion.calm = np.abs(self.knot.V) + self.knot.T
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
                                    backward=plan.backward, opening=opening, sums=sums, defects=self.method.kind == "exact")
        self.progress = Progress(plan.t0, plan.t_end, shown=progress, energies=self.motion.has_energy)
        numpy = self.motion.vectors.numpy
        self.x = np.array(numpy(self.knot.x).T, dtype=plan.dtype, order="C")  # of trajectories that have ended, and at the end of all
        self.t_end = np.full(count, plan.t0)
        self.status, self.live = np.zeros(count, dtype=np.int64), np.ones(count, dtype=bool)
        self.messages: dict[int, str] = {}
        self.exception: BaseException | None = None
        self.nsteps = np.zeros(count, dtype=np.int64)
        self.steps = self.cuts = 0
        self.switched = np.zeros(count, dtype=np.int64)
        self.kept = Kept(count, self.names, len(plan.events), plan.dtype)
        self.kept.record(plan.t0, self.x, self.mode)
        self.buffered: list[Event] = []
        self.failed, self.sound = np.zeros(count, dtype=bool), np.ones(count, dtype=bool)
        self.step: Step | None = None
        self.accepted = plan.t0
        self.looked, self.warned, self.interrupted, self.shrunk = FIRST_LOOK, False, False, False
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
        plan, knot = self.plan, self.knot
        self.watches = [watch(edge.event, self.motion, self._reference(), count=self.count, transition=edge) for edge in plan.transitions]
        self.watches += [watch(e, self.motion, self._reference(), count=self.count, index=k) for k, e in enumerate(plan.events)]
        good = np.isfinite(knot.V + knot.T) & np.asarray(self.motion.vectors.finite(knot.g))
        self.sound = good
        for k in np.flatnonzero(~good):
            what = f"loss is {knot.V[k]:g}" if not np.isfinite(knot.V[k]) else "the state or its derivative is not finite (nan or inf)"
            self._end(np.array([k]), -2, f"{what} at t = {knot.t:g}, the start: check the data and the initial parameters")
        for one in self.watches:
            self._start_watch(one, knot)
        if plan.before is not None:
            self._take_up(plan.before)
        else:
            self._refuse_goals_already_met()
        self._look_at_budgets(plan.t0)
        if self.shrunk:
            self._shrink(knot)

    def _start_watch(self, one: Watch, knot: Knot) -> None:
        """Take the sides of a guard at the start; where it is not a number the trajectory ends there."""
        rows = np.flatnonzero(self.live)
        while len(rows):
            every = len(rows) == self.count
            try:
                one.start(self.motion if every else self.motion.take(rows), knot if every else knot.take(rows), rows)
                return
            except Halt as halt:
                if halt.rows is None:
                    raise
                self._end(np.asarray(halt.rows), halt.status, halt.message)
                rows = np.flatnonzero(self.live)

    def _reference(self) -> Any:
        """Return V at the start of each run; what is not finite ends its trajectory, and has no reduction."""
        return np.where(np.isfinite(self.reference), self.reference, np.inf)

    def _take_up(self, before: State) -> None:
        known = list(before.guards)
        for one in self.watches:
            match = recalled(known, one.name)
            if match is not None:
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
        except Violated as caught:
            violated = caught.balance
            self._keep_last()
        except EnergyWarning:  # the user has made warnings errors
            raise
        except KeyboardInterrupt:
            self._end_all(-6, f"interrupted after t = {_THEN}: sol.state goes on from there")
        except Halt as halt:
            self._end_all(halt.status, halt.message)
        except Exception as error:  # noqa: BLE001 (whatever the user's functions raise, once the run is under way)
            self.exception = error
            self._end_all(-7, f"your function raised {type(error).__name__} after t = {_THEN}: {error}")
        return violated

    def _march_to(self, stop: float) -> None:
        self.motion.on_stretch(self.knot.t, stop)
        sign = 1.0 if self.plan.t_end > self.plan.t0 else -1.0
        rounding = 1e-12 * max(abs(stop), abs(self.plan.t_end - self.plan.t0))
        while self.live.any() and (stop - self.knot.t) * sign > 0:
            steps, self.step = self.steps, None
            self.knot.f = None  # the input may have jumped
            self.method.march(self.motion, self.knot, stop, self.observe, self.plan.control)
            last: Step | None = self.step
            if last is not None:
                self.knot = last.end()
                self._keep_states(self.knot.x, self.knot.t)
            if self.shrunk:
                self._shrink(self.knot)
            elif self.steps == steps or 0 < abs(stop - self.knot.t) <= rounding:
                self._close(stop)

    def _close(self, stop: float) -> None:
        """Be at a stop that rounding keeps the run from."""
        knot = self.knot
        knot.t = stop
        self.account.post(stop, self._whole(knot.T), self._whole(knot.V), 0.0, 0.0, live=self.live.copy())
        self._keep_states(knot.x, stop)
        if self.plan.record == "states":
            self.kept.record(stop, self.x, self.mode)

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
        good = self._finite(step)
        if not good.all():
            rows = np.flatnonzero(~good)
            for row, what in zip(rows, _not_finite(step, rows), strict=True):
                self._undo(step, np.array([row]), -2, what)
        suspected, active = self._suspected(step, self.ids, lambda rows, halt: self._undo(step, rows, halt.status, halt.message))
        some = np.flatnonzero(suspected.any(axis=0))
        if len(some):
            self._resolve(step, some, suspected[:, some], active[:, some])
        self._accept(step)
        return self.shrunk

    @staticmethod
    def _finite(step: Step) -> Any:
        """Say of each row whether its energies and its gradient are finite; the gradient may be, and its square not."""
        height, slope = step.V1 + step.T1, step.slope1
        good = np.isfinite(height) & (slope < np.inf)
        if good.all():
            return good
        return np.isfinite(height) & ((slope < np.inf) | ((slope == np.inf) & np.asarray(step.motion.vectors.finite(step.g1))))

    def _mine(self, rows: Rows) -> Rows:
        """Return which trajectories rows of the step are."""
        return rows if isinstance(self.ids, slice) else self.ids[rows]

    def _suspected(self, step: Step, ids: Any, end: Ender) -> tuple[Any, Any]:
        """Return which rows may hold an event of each watch, and which it watches; ``end`` ends rows whose guard is not a number."""
        rows = len(np.asarray(step.V1))
        suspected, active = np.zeros((len(self.watches), rows), dtype=bool), np.ones((len(self.watches), rows), dtype=bool)
        mode = self.mode[ids]
        for k, one in enumerate(self.watches):
            going = self.live[ids]
            active[k] = going if one.source is None else going & (mode == self.names.index(one.source))
            while active[k].any():
                try:
                    suspected[k] = one.suspected(step, ids, None if active[k].all() else active[k])
                    break
                except Halt as halt:
                    if halt.rows is None:
                        raise
                    bad = np.isin(np.arange(self.count)[ids], halt.rows) & active[k]
                    if not bad.any():
                        raise
                    end(np.flatnonzero(bad), halt)
                    active[k] &= ~bad
        going = self.live[ids]
        return (suspected, active) if going.all() else (suspected & going, active & going)

    # --- rows that end --------------------------------------------------------------------------------------------------------
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
        self.messages.update((int(k), message.replace(_THEN, f"{self.t_end[k]:.6g}")) for k in ids)

    def _end_all(self, status: int, message: str) -> None:
        """End all trajectories that go on, where they are."""
        self._keep_last()
        self._end(np.flatnonzero(self.live), status, message)

    def _keep_last(self) -> None:
        """Write the states that were last accepted; a step that failed midway is undone."""
        step = self.step
        if step is None or self.plan.record == "states":  # they are written step by step
            return
        if self.accepted == step.t1:
            self._keep_states(step.x1, step.t1)
            return
        counts = self.motion.counts
        kept = counts.nfev.copy(), counts.max_nfev
        counts.max_nfev = np.inf
        try:
            start = step.start()
        except Exception:  # noqa: BLE001 (what failed in the step may fail again here)
            start = step.start_as_kept()
        counts.nfev[:], counts.max_nfev = kept
        self._keep_states(start.x, self.accepted)

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
            took &= ~self.failed
            if not took.any():  # nobody got to the end of the step
                return
            self.account.post(step.t1, *(self._whole(part) for part in posted), live=took)
        self.accepted = step.t1
        if self.plan.record == "states":
            self._keep_states(step.x1, step.t1)
            self.kept.record(step.t1, self.x, self.mode)
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
                raise Violated(balance)
        if self.progress.due(self.steps) <= self.steps:
            going = int(np.count_nonzero(self.live))
            mean = float(np.mean(step.V1)), float(np.mean(step.V1 + step.T1))
            self.progress.show(self.steps, step.t1, *mean, f"mean of {going}")
        if self.motion.counts.max_nfev != np.inf or self.steps + self.cuts >= self.plan.max_steps:
            self._keep_states(step.x1, step.t1)
            self._look_at_budgets(step.t1)

    def _look_at_budgets(self, t: float) -> None:
        """End trajectories that cannot pay for another step."""
        if (self.plan.t_end - t) * (self.plan.t_end - self.plan.t0) <= 0:
            return
        counts, ids = self.motion.counts, np.arange(self.count)[self.ids]
        spent = ids[self.live[ids] & (counts.nfev[ids] + self.method.stages > counts.max_nfev)]
        if len(spent):
            self._end(spent, -3, f"the budget of max_nfev={counts.max_nfev:g} gradient evaluations is spent")
        spent = ids[self.live[ids] & (self.nsteps[ids] >= self.plan.max_steps)]
        if len(spent):
            self._end(spent, -3, f"the budget of max_steps={self.plan.max_steps} steps is spent at t = {t:.6g}")

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
        current = step.take(rows)
        pieces = Pieces(rows, self._mine(rows), Part(current.end(), current.dissipated, current.supplied))
        places = np.arange(len(rows))
        try:
            while len(places):
                resolution, cut, at = self._resolved(step, current, pieces, places, suspected, active)
                if not len(cut):
                    break
                pieces.cut(places[cut], at)
                going = self._fire(resolution, cut, at, pieces.ids[places])
                going &= (resolution.theta[cut] < 1.0) & (np.abs(step.t1 - at.t) > _ROUNDING * abs(step.t1 - step.t0))
                places, at = places[cut[going]], at.take(np.flatnonzero(going))
                if len(places):
                    kept, current, suspected, active = self._rest_of_step(at, step.t1, pieces.ids[places])
                    places = places[kept]
        except BaseException:
            self._stay(step, pieces)
            raise
        self._put_back(step, pieces)

    def _put_back(self, step: Step, pieces: Pieces) -> None:
        """Put rows that have been cut back where the step ends, with the work of all their pieces."""
        rows, moved, live, end = pieces.rows, pieces.moved, self.live[pieces.ids], pieces.end
        back, ended = np.flatnonzero(moved & live), np.flatnonzero(moved & ~live)
        if len(back):
            end.f = None  # not that of the mode before a switch at the end of the step
            step.put(rows[back], end.take(back).knot())
        every, works = np.flatnonzero(moved), pieces.works
        columns = (("dissipated", every, works[0]), ("supplied", every, works[1]), ("V1", ended, end.V), ("T1", ended, end.T))
        for name, places, values in columns:  # the account takes the last energies of what has ended
            if len(places):
                whole = np.array(np.broadcast_to(getattr(step, name), np.shape(step.V1)))
                whole[rows[places]] = values[places]
                setattr(step, name, whole)

    def _stay(self, step: Step, pieces: Pieces) -> None:
        """Leave trajectories where their step was last cut, the others at its start: what comes after has failed."""
        self._keep_last()
        some = np.flatnonzero(pieces.moved & self.live[pieces.ids])
        if len(some):
            ids, at = pieces.ids[some], pieces.end.take(some)
            self.x[:, ids], self.t_end[ids] = self.motion.vectors.numpy(at.x).T, at.t
            posted, live = np.zeros((4, self.count)), np.zeros(self.count, dtype=bool)
            posted[:, ids], live[ids] = (at.T, at.V, *pieces.works[:, some]), True
            self.account.post(float(step.t1), *posted, live=live)
            if self.plan.record == "states":
                self.kept.record(float(step.t1), self.x, self.mode)
        self.step = None

    def _resolved(
        self, step: Step, current: Step, pieces: Pieces, places: Rows, suspected: Any, active: Any
    ) -> tuple[Resolution, Rows, Any]:
        """Resolve a step or its rest, again without the trajectories whose guard is not a number or whose budget is spent.

        Returns
        -------
        resolution, cut, at
            With the rows that are cut, and where (None: none is).
        """
        mine = pieces.ids[places]
        counts = self.motion.counts
        memory = [one.memory(mine) for one in self.watches]
        spent = counts.nfev[mine], counts.nvev[mine]
        while True:
            self.buffered.clear()
            resolution = Resolution(self.watches, list(active), ManyInside(current, mine), self._note)
            try:
                resolution.run(list(suspected))
                on = self.live[mine]
                free, cut = np.flatnonzero((resolution.cutter < 0) & on), np.flatnonzero((resolution.cutter >= 0) & on)
                at = resolution.part(cut) if len(cut) else None
                if at is not None:
                    resolution.settle(cut, at)
                break
            except Halt as halt:
                if halt.rows is None:
                    raise
                for one, kept in zip(self.watches, memory, strict=True):
                    one.restore(mine, kept)
                bad = np.isin(mine, halt.rows)
                counts.nfev[mine[~bad]], counts.nvev[mine[~bad]] = (one[~bad] for one in spent)
                self._lose(step, pieces, places[bad], halt)
                suspected, active = suspected & ~bad, active & ~bad
        self.kept.events += self.buffered
        if len(free):
            resolution.passed(free)
            taken = current if len(free) == len(mine) else current.take(free)
            pieces.arrive(places[free], Part(taken.end(), taken.dissipated, taken.supplied))
        return resolution, cut, at

    def _lose(self, step: Step, pieces: Pieces, places: Rows, halt: Halt) -> None:
        """End trajectories where their step was last cut, or else where it began."""
        moved = pieces.moved[places]
        if (~moved).any():
            self._undo(step, pieces.rows[places[~moved]], halt.status, halt.message)
        if moved.any():
            some = places[moved]
            self.nsteps[pieces.ids[some]] -= 1
            self._stop_at(pieces.ids[some], pieces.end.take(some), halt.status, halt.message)

    def _note(self, one: Watch, ids: Rows, part: Part) -> None:
        if one.index is not None:
            states = np.array(self.motion.vectors.numpy(part.x), dtype=self.plan.dtype)
            self.buffered.append((one.index, ids, part.t.copy(), states))

    def _fire(self, resolution: Resolution, cut: Rows, at: Part, mine: Rows) -> Any:
        """Switch the rows whose step is cut, or end them; return which of them go on."""
        going = np.ones(len(cut), dtype=bool)
        for k in np.unique(resolution.cutter[cut]):
            some = np.flatnonzero(resolution.cutter[cut] == k)
            one, ids, part = self.watches[k], mine[cut[some]], at.take(some)
            if one.transition is None:
                going[some] = False
                self._stop_at(ids, part, 1, f"event '{one.name}' ended the run at t = {_THEN}")
            else:
                self._switch(one, ids, part)
                going[some] = self.live[ids]
        return going

    def _switch(self, one: Watch, ids: Rows, part: Part) -> None:
        """Go over to the next mode; a goal that is met there already fires at once, and so on."""
        waiting: list[tuple[tuple[Watch, ...], Rows, Part]] = [((one,), ids, part)]
        while waiting:
            fired, ids, part = waiting.pop()
            ids, part = self._go_over(fired[-1], ids, part)
            for goal, some in self._look_at_new(fired, ids, part):
                waiting.append(((*fired, goal), ids[some], part.take(some)))

    def _go_over(self, one: Watch, ids: Rows, part: Part) -> tuple[Rows, Part]:
        """Enter and record the next mode; return the trajectories that may go on switching."""
        edge: Transition = one.transition  # type: ignore[assignment]
        self.mode[ids], self.entered[ids] = self.names.index(edge.target), part.t
        self._set_modes(ids, part.t)
        x = np.array(self.motion.vectors.numpy(part.x), dtype=self.plan.dtype)
        row = {"trajectory": ids, "time": part.t, "loss": part.V, "kinetic": part.T, "x": x}
        self.kept.switches.append({**row, "source": edge.source, "target": edge.target, "event": one.name})
        self.switched[ids] += 1
        spent = self.switched[ids] >= self.plan.max_switches
        if spent.any():
            for k in np.flatnonzero(spent):
                self._stop_at(ids[[k]], part.take(np.array([k])), -4, too_many(self.kept.last_switches(ids[k], 3), self.plan.max_switches))
            ids, part = ids[~spent], part.take(np.flatnonzero(~spent))
        if edge.rebases:
            for goal in self.watches:
                if isinstance(goal, GoalWatch) and goal.transition is not None:
                    goal.rebase(part.V, ids)
        return ids, part

    def _set_modes(self, ids: Rows, t: Floats) -> None:
        """Tell the motion of the run, whose next steps are in the new mode."""
        rows = ids if isinstance(self.ids, slice) else np.searchsorted(self.ids, ids)
        self.motion.set_modes(rows, int(self.mode[ids[0]]), t)

    def _stop_at(self, ids: Rows, part: Part, status: int, message: str) -> None:
        """End trajectories where a step of theirs was cut."""
        self.x[:, ids], self.t_end[ids] = self.motion.vectors.numpy(part.x).T, part.t
        self._end(ids, status, message)

    def _look_at_new(self, fired: tuple[Watch, ...], ids: Rows, part: Part) -> list[tuple[Watch, Rows]]:
        """Take the sides of guards that were not watched before; return goals that are met already, and of which of these trajectories.

        Of the guards that have just fired rounding tells the sign: the sides set by decree hold.
        """
        edge: Transition = fired[-1].transition  # type: ignore[assignment]
        met: list[tuple[Watch, Rows]] = []
        if edge.source == edge.target:
            return met
        places = np.arange(len(ids))
        for other in self.watches:
            if not len(places):
                break
            if other.transition is None or other.source != edge.target:
                continue
            places = places[self._started(other, ids[places], part.take(places))]
            known = [one for one in fired if same_event(one.event, other.event)]
            if known:
                other.hold(ids[places], known[-1].side[ids[places]])
            if isinstance(other, GoalWatch) and not same_event(other.event, fired[-1].event):
                below = other.side[ids[places]] <= 0
                if below.any():
                    other.fired[ids[places[below]]] += 1
                    met.append((other, places[below]))
                    places = places[~below]
        return met

    def _started(self, one: Watch, ids: Rows, part: Part) -> Rows:
        """Take the sides of a guard where its mode is entered; return which trajectories go on: where it is no number they end."""
        places = np.arange(len(ids))
        while len(ids):
            try:
                one.start(self._motion_of(ids), part.knot(), ids)
                break
            except Halt as halt:
                if halt.rows is None:
                    raise
                bad = np.isin(ids, halt.rows)
                self._stop_at(ids[bad], part.take(np.flatnonzero(bad)), halt.status, halt.message)
                ids, part, places = ids[~bad], part.take(np.flatnonzero(~bad)), places[~bad]
        return places

    def _motion_of(self, ids: Rows) -> Any:
        rows = ids if isinstance(self.ids, slice) else np.searchsorted(self.ids, ids)
        return self.motion.take(rows)

    def _rest_of_step(self, at: Part, t1: Any, ids: Rows) -> tuple[Rows, Any, Any, Any]:
        """Take the rest of a step from where it was cut.

        Returns
        -------
        kept, step, suspected, active
            The places of those that could take it, the rest, what the watches suspect of it, and the rows that they watch.
        """
        counts = self.motion.counts

        def stop(places: Rows, status: int, message: str) -> None:
            self._stop_at(ids[places], at.take(places), status, message)

        kept, step = np.arange(len(ids)), None
        while step is None:
            spent = counts.nfev.copy()
            motion, knot = self._motion_of(ids[kept]), at.take(kept).knot()
            knot.f = None  # the mode has changed
            stepper = self.method.begin(motion, knot)
            try:
                stepper.advance(knot.t, np.full(len(kept), t1), t1 - knot.t)
                step = stepper.step
                if self.plan.control.dense:  # as in whole steps
                    step.know_start(knot)
            except Halt as halt:
                if halt.rows is None:
                    raise
                bad = np.isin(ids[kept], halt.rows)
                counts.nfev[ids[kept[~bad]]] = spent[ids[kept[~bad]]]
                stop(kept[bad], halt.status, halt.message)
                kept = kept[~bad]
                if not len(kept):
                    return kept, None, None, None
        bad = ~self._finite(step)
        if bad.any():
            for place, what in zip(kept[bad], _not_finite(step, np.flatnonzero(bad)), strict=True):
                stop(np.array([place]), -2, what)
            kept, step = kept[~bad], step.take(np.flatnonzero(~bad))
        step.hold()
        self.nsteps[ids[kept]] += 1
        self.cuts += 1

        def lose(places: Rows, halt: Halt) -> None:
            self.nsteps[ids[kept[places]]] -= 1
            stop(kept[places], halt.status, halt.message)

        suspected, active = self._suspected(step, ids[kept], lose)
        return kept, step, suspected, active

    # --- the end --------------------------------------------------------------------------------------------------------------
    def _solution(self) -> Solution:
        plan, counts = self.plan, self.plan.motion.counts
        ended = self.status == 0
        if plan.record != "states" and (len(self.kept.times) < 2 or self.kept.times[-1] != self.account.t):
            self.kept.record(float(self.account.t), self.x, self.mode)
        for one in self.watches:
            one.withdraw(self.t_end, slice(None))
        t, y, modes = self.kept.arrays(self.x)
        missed = [(one, np.flatnonzero((one.fired == 0) & self.sound)) for one in self.watches if isinstance(one, GoalWatch)]
        none = frozen(np.zeros(self.count, dtype=np.int64))
        times, states = self.kept.event_arrays(self.x.shape[0])
        return Solution(
            t=t,
            y=y,
            sol=None,
            t_events=times if plan.has_events else None,
            y_events=states if plan.has_events else None,
            nfev=frozen(counts.nfev),
            nvev=frozen(counts.nvev),
            njev=none,
            nlu=none,
            nsteps=frozen(self.nsteps),
            nrejected=none,
            t_end=frozen(self.t_end),
            status=frozen(self.status),
            message=self._messages(ended),
            success=frozen(self.status >= 0),
            exception=[self.exception if status == -7 else None for status in self.status.tolist()],
            energy=self.account.energy(),
            modes=modes,
            switches=self.kept.switch_table(backward=plan.backward, states=plan.record == "states"),
            near_misses=near_misses(missed),
            observed=Table({"time": []}),
            state=self._state(),
            system=plan.system,
            method=self.method,
            setting=plan.setting,
            label=plan.label,
            split=plan.motion.has_split,
            units=getattr(plan.system, "units", {}),
            balance=self.account.balance(self.method.kind, plan.heading, plan.eps),
        )

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


def _not_finite(step: Step, rows: Rows) -> list[str]:
    """Return what to say of rows of a step that are not finite."""
    heights, energies = np.asarray(step.V1)[rows], np.asarray(step.V1 + step.T1)[rows]
    whats = []
    for height, energy in zip(heights, energies, strict=True):
        what = "the gradient is not finite (nan or inf)" if np.isfinite(energy) else "the state is not finite (nan or inf)"
        what = what if np.isfinite(height) else f"loss is {height:g}"
        whats.append(f"{what} after t = {_THEN}: try a smaller step or tighter tolerances")
    return whats
