"""One run: it observes the steps that a method pushes, detects, cuts, accounts, records and decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from phdyn.actions import apply_action
from phdyn.arguments import Plan
from phdyn.closing import FIRST_LOOK, Violated, frozen, not_reached, too_many, warn_of
from phdyn.crossing import ONE, GoalWatch, Watch, watch
from phdyn.energy import Account, EnergyBalance, Parts
from phdyn.errors import ArgumentError, EnergyBalanceError, EnergyWarning
from phdyn.events import same_event
from phdyn.inside import CutStep, OneInside, Part
from phdyn.interruption import Interruption
from phdyn.methods.stepping import Step
from phdyn.motion import Halt, Knot
from phdyn.progress import Progress
from phdyn.recording import Observer, Recorder, show_in_module
from phdyn.resolution import Resolution
from phdyn.solution import Guarded, Solution, State, recalled
from phdyn.tables import SwitchTable, Table
from phdyn.transitions import Transition
from phdyn.typing import Array

_INFINITE = float("inf")

_YES, _NO = np.ones(1, dtype=bool), np.zeros(1, dtype=bool)


class Run:
    """One run: it observes the steps that a method pushes, detects, cuts, accounts, records and decides."""

    def __init__(self, plan: Plan, x0: Array, observables: Mapping[str, Any] | None, *, progress: bool) -> None:
        self.plan, self.motion, self.method = plan, plan.motion, plan.method
        self.plain = not plan.motion.has_energy
        self.observer = Observer(observables)
        before = plan.before
        motion, t0 = self.motion, plan.t0
        self.mode = plan.first_mode if before is None else before.mode
        self.entered = t0 if before is None else before.entered
        self.knot = motion.knot(t0, x0)
        for member in motion.members:
            member.calm = abs(self.knot.V) + self.knot.T
        self.reference = self.knot.V if before is None else before.reference
        self.event_times: list[list[float]] = [[] for _ in plan.events]
        self.event_states: list[list[Any]] = [[] for _ in plan.events]
        self.watches: list[Watch] = []
        self.active: list[Watch] = []
        opening, sums = (None, None) if before is None else (before.account, before.sums.copy())
        keep = "all" if plan.record == "states" and plan.t_eval is None else "ends" if plan.record == "ends" else "thin"
        split = motion.has_split or motion.apart or hasattr(plan.system, "potential")
        self.account = Account(self._apart(self.knot), keep=keep, split=split, backward=plan.backward, opening=opening, sums=sums)
        self.parts = None
        if plan.control.parts:
            self.parts = Parts(self.knot, None if before is None else before.parts, keep=keep, backward=plan.backward)
        self.recorder = Recorder(motion, self.knot, self.mode, record=plan.record, t_eval=plan.t_eval, dense=plan.dense, dtype=plan.dtype)
        self.progress = Progress(t0, plan.t_end, shown=progress, energies=motion.has_energy)
        self.switches: list[dict[str, Any]] = []
        self.nsteps = 0
        self.done = self.interrupted = False
        self.attention: float = 0
        self.status, self.message = 0, ""
        self.exception: BaseException | None = None
        self.looked = FIRST_LOOK
        self.warned = False
        self.last: Step | None = None

    # --- setting up -----------------------------------------------------------------------------------------------------------
    def _apart(self, knot: Knot) -> Knot:
        """Return a knot with its energies as the account has them."""
        if not self.motion.apart:
            return knot
        T, V = self.motion.shares(knot.x, knot.T, knot.V)
        return Knot(knot.t, knot.x, V, T, knot.d, knot.g)

    def _take_up(self, before: State | None) -> None:
        """Go on with what the guards of the run before remember."""
        if before is None:
            return
        known = list(before.guards)
        for one in self.watches:
            match = recalled(known, one.name)
            if match is not None:
                one.recall(match)

    def _refuse_goals_already_met(self, *, fresh: bool) -> None:
        for one in self.watches:
            if fresh and one.source == self.mode and isinstance(one, GoalWatch) and one.side[0] <= 0:
                raise ArgumentError(
                    f"{one.name} is met at the start already: V(q0) = {self.knot.V:.6g}, goal {one.level[0]:.6g};"
                    " a switch needs a crossing"
                )

    def _arm(self) -> None:
        """Watch the events, and the guards of the current mode."""
        self.active = [one for one in self.watches if one.transition is None or (one.source == self.mode and not self._resting(one))]

    def _resting(self, one: Watch) -> bool:
        """Say whether a transition still waits for its dwell time to pass."""
        dwell = 0.0 if one.transition is None else one.transition.min_dwell
        return dwell > 0 and abs(self.knot.t - self.entered) < dwell * (1 - 1e-12)

    def _next_stop(self, stop: float) -> float:
        """Return where to march to: the stop, or the end of a dwell time before it."""
        sign = 1.0 if stop >= self.knot.t else -1.0
        dwells = [one.transition.min_dwell for one in self.watches if one.transition and one.source == self.mode and self._resting(one)]
        return sign * min([sign * stop, *(sign * self.entered + dwell for dwell in dwells)])

    def _attend(self) -> float:
        """Return the number of the next step at which something other than events, account and states is due."""
        first = 1 if self.nsteps == 0 else np.inf
        look = self.looked if self.plan.monitor else np.inf
        due = [first, look, self.plan.max_steps, self.observer.due(self.nsteps + 1), self.progress.due(self.nsteps)]
        return 0.0 if self.interrupted else float(min(due))

    # --- the loop -------------------------------------------------------------------------------------------------------------
    def solve(self) -> Solution:
        """March until the end of the span, a terminal event, or a failure; return the solution."""
        violated: EnergyBalance | None = None
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                self._begin()
            except Halt as halt:
                self.status, self.message = halt.status, halt.message
            else:
                violated = self._march()
            solution = self._solution()
        if violated is not None:
            raise EnergyBalanceError(str(violated), solution)
        return solution

    def _begin(self) -> None:
        """Look at the start: here the user's functions are called for the first time, and what they raise propagates."""
        knot, plan = self.knot, self.plan
        if not self._finite(knot.V + knot.T, knot.x) or not all(v is None or self.motion.vectors.finite(v) for v in (knot.g, knot.f)):
            what = f"loss is {knot.V:g}" if not np.isfinite(knot.V) else "the state or its derivative is not finite (nan or inf)"
            raise Halt(-2, f"{what} at t = {knot.t:g}, the start: check the data and the initial parameters")
        self.watches += [watch(edge.event, self.motion, self.reference, transition=edge) for edge in plan.transitions]
        self.watches += [watch(e, self.motion, self.reference, index=k) for k, e in enumerate(plan.events)]
        for one in self.watches:
            one.start(self.motion, knot, ONE)
        self._take_up(plan.before)
        self._refuse_goals_already_met(fresh=plan.before is None)
        self._arm()
        self.observer.look(self.motion, 0, knot.t, knot.x, knot)
        self.attention = self._attend()

    def _march(self) -> EnergyBalance | None:
        """March stretch by stretch, and turn what ends the run into its status; return a balance that ``monitor`` does not stand."""
        try:
            with self.progress, Interruption(self._interrupt):
                for stop in self.plan.stops:
                    self._march_to(stop)
                    if self.done:
                        break
                self._look()
        except Halt as halt:
            self.status, self.message = halt.status, halt.message
        except Violated as caught:
            return caught.balance
        except EnergyWarning:  # the user has made warnings errors
            raise
        except KeyboardInterrupt:
            self.status, self.message = -6, "interrupted"
        except Exception as error:  # noqa: BLE001 (whatever the user's functions raise, once the run is under way)
            self.status, self.exception = -7, error
            self.message = f"your function raised {type(error).__name__}"
        return None

    def _march_to(self, stop: float) -> None:
        for motion in self.motion.members:
            motion.on_stretch(self.knot.t, stop)
        while not self.done and (stop - self.knot.t) * (self.plan.t_end - self.plan.t0) > 0:
            if self.motion.has_energy:
                self.knot.f = None
            steps, target = self.nsteps, self._next_stop(stop)
            self.method.march(self.motion, self.knot, target, self.observe, self.plan.control)
            if self.last is not None:
                self.knot, self.last = self.last.end(), None
            rounding = 1e-12 * max(abs(target), abs(self.plan.t_end - self.plan.t0))
            if not self.done and (self.nsteps == steps or 0 < abs(target - self.knot.t) <= rounding):
                self._close(target)
            if target != stop and self.knot.t == target:
                self._awaken()

    def _awaken(self) -> None:
        """Watch what a dwell time has kept from being watched."""
        before = self.active
        self._arm()
        met = self._look_at_new(before)
        if met is not None:
            self._switch(met)

    def _close(self, stop: float) -> None:
        """Be at a stop that rounding, or less than a method can step over, keeps the run from."""
        knot = self.knot
        knot.t = stop
        self.account.post(stop, *self.motion.shares(knot.x, knot.T, knot.V), 0.0, 0.0)
        if self.parts is not None:
            self.parts.post(stop, knot.T, knot.V, 0.0, 0.0, (0.0, 0.0))
        self.recorder.finish(knot, self.mode, states=True)

    def _finite(self, height: float, x: Any) -> bool:
        if self.motion.has_energy:
            return -np.inf < height < np.inf
        return self.motion.vectors.finite(x)

    def observe(self, step: Step) -> bool:
        """Take a step that the method pushes; say whether the march must stop."""
        height = step.V1 + step.T1
        if not (-_INFINITE < height < _INFINITE and step.slope1 < _INFINITE) or self.plain:
            self._must_be_finite(step)
        suspected = None
        for one in self.active:
            if one.suspects(step):
                suspected = [*(suspected or ()), one]
        if suspected:
            return self._resolve(step, suspected)
        self._accept(step)
        return False

    def _must_be_finite(self, step: Step) -> None:
        overflowed = step.slope1 == np.inf and self.motion.vectors.finite(step.g1)  # |g|^2, not g
        if self._finite(step.V1 + step.T1, step.x1) and (step.slope1 < np.inf or overflowed):
            return
        what = "the state is not finite (nan or inf)"
        if self.motion.has_energy and not np.isfinite(step.V1):
            what = f"loss is {step.V1:g}"
        elif np.isfinite(step.V1 + step.T1):
            what = "the gradient is not finite (nan or inf)"
        raise Halt(-2, f"{what} after t = {step.t0:.6g}: try a smaller step or tighter tolerances")

    def _accept(self, step: Step) -> None:
        """Enter a step into account and records."""
        self.nsteps += 1
        self.last = step
        T, V = self.motion.shares(step.x1, step.T1, step.V1) if self.motion.apart else (step.T1, step.V1)
        self.account.post(step.t1, T, V, step.dissipated, step.supplied)
        if self.parts is not None:
            self.parts.post(step.t1, step.T1, step.V1, step.dissipated, step.supplied, step.along)
        if self.recorder.each_step:
            self.recorder.take(step, self.mode)
        if self.nsteps >= self.attention:
            self._housekeeping(step)

    def _interrupt(self) -> None:
        """Have the run end after the current step."""
        self.interrupted, self.attention = True, 0

    def _housekeeping(self, step: Step) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        if self.nsteps == 1:
            self.knot.x = self.knot.g = None  # the step has its own: long vectors are not kept twice
        if self.observer.due(self.nsteps) == self.nsteps:
            step.hold()
            self.observer.look(self.motion, self.nsteps, step.t1, step.x1, step.end_view())
        if self.nsteps >= self.looked and self.plan.monitor:
            self.looked *= 2
            self._look()
        self.progress.show(self.nsteps, step.t1, step.V1, step.V1 + step.T1, self.mode)
        if not self.done and self.nsteps >= self.plan.max_steps and (self.plan.t_end - step.t1) * (self.plan.t_end - self.plan.t0) > 0:
            raise Halt(-3, f"the budget of max_steps={self.plan.max_steps} steps is spent at t = {step.t1:.6g}")
        self.attention = self._attend()

    def _look(self) -> None:
        """See whether the balance holds so far: warn once, or raise."""
        if self.plan.monitor is None or not self.motion.has_energy or self.warned:
            return
        balance = self.account.balance(self.method.kind, self.plan.heading, self.plan.eps)
        if balance.holds:
            return
        if self.plan.monitor == "raise":
            raise Violated(balance)
        self.warned = True
        warn_of(balance)

    # --- events ---------------------------------------------------------------------------------------------------------------
    def _resolve(self, step: Step, suspected: list[Watch]) -> bool:
        """Go through the events inside a step in time order; cut it at the first that switches or ends the run."""
        step.hold()
        memory, found = [one.memory(ONE) for one in self.active], []
        resolution = Resolution(self.active, [_YES] * len(self.active), OneInside(step), lambda *what: found.append(what))
        try:
            resolution.run([_YES if one in suspected else _NO for one in self.active])
            part = resolution.part(ONE) if resolution.cutter[0] >= 0 else None
            if part is None:
                resolution.passed(ONE)
            else:
                resolution.settle(ONE, part)
        except BaseException:  # what comes after the start of the step has not happened
            for one, kept in zip(self.active, memory, strict=True):
                one.restore(ONE, kept)
            raise
        for one, _, at in found:
            self._note(one, at)
        if part is None:
            self._accept(step)
            return False
        self._cut(self.active[resolution.cutter[0]], step, part, whole=bool(resolution.theta[0] == 1.0))
        return True

    def _note(self, one: Watch, part: Part) -> None:
        if one.index is not None:
            self.event_times[one.index].append(float(part.t[0]))
            self.event_states[one.index].append(np.array(self.motion.vectors.numpy(part.x[:, 0]), dtype=self.plan.dtype))

    def _cut(self, one: Watch, step: Step, part: Part, *, whole: bool) -> None:
        """End a step at an event, then switch the mode or end the run."""
        knot = part.one()
        if one.transition is None:
            self.done, self.status = True, 1
            self.message = f"event '{one.name}' ended the run at t = {knot.t:.6g}"
        self._accept(step if whole else CutStep(step, part))
        self.knot, self.last = knot, None
        if not self.done:
            self._switch(one)

    def _switch(self, one: Watch) -> None:
        """Go over to the next mode; a goal that is met there already fires at once, and so on."""
        fired, waiting = [one], self._go_over(one, [one])
        while waiting is not None:
            fired.append(waiting)
            waiting = self._go_over(waiting, fired)

    def _go_over(self, one: Watch, fired: list[Watch]) -> Watch | None:
        """Enter the next mode: jump, record, and watch its guards; return a goal that is met there already."""
        edge, knot = one.transition, self.knot
        if edge is None:
            raise TypeError("a guard of no transition switches nothing")
        already = self.active if edge.source != edge.target else [w for w in self.active if w.transition is None]
        before = self._numpy(knot.x)
        after = self._jumped(edge, knot, before)
        self._enter(edge.target, knot, None if after is before else after)
        injected = 0.0
        if self.motion.has_energy and (self.knot.T, self.knot.V) != (knot.T, knot.V):
            injected = (self.knot.T + self.knot.V) - (knot.T + knot.V)
            self.account.jump(*self.motion.shares(self.knot.x, self.knot.T, self.knot.V), injected)
            if self.parts is not None:
                self.parts.jump(knot, self.knot)
        self.recorder.switch(knot.t, self.knot.x, self.mode)
        self.switches.append(
            {
                "trajectory": 0,
                "time": knot.t,
                "source": edge.source,
                "target": self.mode,
                "event": one.name,
                "loss": knot.V,
                "kinetic": knot.T,
                "hamiltonian": knot.V + knot.T,
                "injected": injected,
                "x_before": before,
                "x_after": after,
            }
        )
        self._limit_switches()
        if edge.rebases:
            for goal in self.watches:
                if isinstance(goal, GoalWatch) and goal.transition is not None:
                    goal.rebase(self.knot.V, ONE)
        self._arm()
        jumped = after is not before
        for other in already:
            if other.transition is None and (jumped or self.knot.V != knot.V):  # a jump across is no crossing
                other.settle(self.motion, self.knot, ONE)
        return self._look_at_new(already, fired, jumped=jumped)

    def _numpy(self, x: Array) -> Array:
        return np.array(self.motion.vectors.numpy(x), dtype=self.plan.dtype)

    def _jumped(self, edge: Transition, knot: Knot, x: Array) -> Array:
        """Return the state after a transition's actions: x itself where there are none."""
        motion = self.motion
        mass = getattr(motion.system, "mass", 1.0)
        for action in edge.jumps:
            x = apply_action(action, knot.t, x.copy(), mass, len(self.switches), split=motion.has_split)
        return x

    def _enter(self, mode: str, knot: Knot, jumped: Array | None) -> None:
        """Enter a mode, at the end of a step or where the state has jumped to; V and its gradient are taken along where they hold."""
        before, self.mode, self.entered = self.motion, mode, knot.t
        motion = self.motion = before.enter(mode, knot.t)
        if motion is before and jumped is None:  # friction alone has changed
            return
        for one in self.watches:
            one.motion = motion
        vectors: Any = motion.vectors
        x = knot.x if jumped is None else vectors.vector(jumped, knot.x)
        same = getattr(motion.system, "potential", motion) is getattr(before.system, "potential", before)
        if not motion.has_energy:
            self.knot = motion.knot(knot.t, x)
        elif same and (jumped is None or bool((motion.position(x) == motion.position(knot.x)).all())):
            self.knot = Knot(knot.t, x, knot.V, motion.kinetic(x), motion.climb(knot.t, x, knot.g), knot.g)
        else:
            self.knot = motion.knot(knot.t, x)
        if not self._finite(self.knot.V + self.knot.T, self.knot.x):
            raise Halt(-2, f"the state is not finite in mode '{mode}', entered at t = {knot.t:.6g}")

    def _look_at_new(self, known: list[Watch], fired: Sequence[Watch] = (), *, jumped: bool = False) -> Watch | None:
        """Take the sides of guards that were not watched before; return a goal that is met already.

        Of the guards that have just fired rounding tells the sign: unless the state has jumped, the sides set by decree hold.
        """
        for other in self.active:
            if other in known:
                continue
            side = next((int(one.side[0]) for one in reversed(fired) if same_event(one.event, other.event)), None)
            if side is not None and jumped:
                other.land(self.motion, self.knot, ONE)
                continue
            other.start(self.motion, self.knot, ONE)
            if side is not None:
                other.hold(ONE, side)
            led_here = bool(fired) and same_event(other.event, fired[-1].event)
            if isinstance(other, GoalWatch) and other.transition is not None and other.side[0] <= 0 and not led_here:
                other.fired[0] += 1
                return other
        return None

    def _limit_switches(self) -> None:
        if len(self.switches) >= self.plan.max_switches:
            raise Halt(-4, too_many([row["time"] for row in self.switches[-3:]], len(self.switches)))

    # --- the end --------------------------------------------------------------------------------------------------------------
    def _reached(self) -> Knot:
        """Return the last accepted state; a step that failed midway is undone."""
        last = self.last
        if last is None:
            return self.knot
        self.account.flush()
        accepted, kinetic, potential = (float(v) for v in self.account.last[:3])
        if last.t1 == accepted:
            return last.end()
        recorded = self.recorder.state_at(accepted)
        if recorded is not None:
            return Knot(accepted, recorded, potential, kinetic, float("nan"), None)
        counted, self.motion.max_nfev = self.motion.nfev, float("inf")
        try:
            return last.start()
        except Exception:  # noqa: BLE001 (what failed in the step may fail again here)
            return last.start_as_kept()
        finally:
            self.motion.nfev = counted

    def _ended(self, knot: Knot, waiting: list[GoalWatch]) -> str:
        """Return the message of the run."""
        if self.status == 0:
            return f"reached the end of the span, t = {knot.t:g}" + (f"; {_not_reached(waiting)}" if waiting else "")
        if self.status == -6:
            return f"interrupted after t = {knot.t:.6g}: sol.state goes on from there"
        if self.status == -7:
            return f"{self.message} after t = {knot.t:.6g}: {self.exception}"
        return self.message

    def _solution(self) -> Solution:
        plan, motion = self.plan, self.motion
        knot = self.knot = self._reached()
        for one in self.watches:
            one.withdraw(knot.t, ONE)
        show_in_module(motion, knot.x)
        self.recorder.finish(knot, self.mode)
        t, y, modes, dense = self.recorder.arrays()
        missed = [one for one in self.watches if isinstance(one, GoalWatch) and not one.fired[0]]
        waiting = [one for one in missed if one.source == self.mode]
        energy = self.account.energy() if motion.has_energy else None
        balance = self.account.balance(self.method.kind, plan.heading, plan.eps) if motion.has_energy else None
        if self.parts is not None and energy is not None and balance is not None:
            energy, balance = self.parts.columns(energy), self.parts.judged(balance)
        return Solution(
            t=t,
            y=y,
            sol=dense,
            t_events=[frozen(times) for times in self.event_times] if plan.has_events else None,
            y_events=[frozen(states, (motion.size,)) for states in self.event_states] if plan.has_events else None,
            nfev=motion.nfev,
            nvev=motion.nvev,
            njev=motion.njev,
            nlu=motion.nlu,
            nsteps=self.nsteps,
            nrejected=motion.nrejected,
            t_end=knot.t,
            status=self.status,
            message=self._ended(knot, waiting),
            success=self.status >= 0,
            exception=self.exception,
            energy=energy,
            modes=modes,
            switches=self._switch_table(waiting),
            near_misses=Table(
                {
                    "trajectory": [0] * len(missed),
                    "event": [one.name for one in missed],
                    "value": [float(one.closest[0]) for one in missed],
                    "goal": [float(one.level[0]) for one in missed],
                    "time": [float(one.closest_time[0]) for one in missed],
                }
            ),
            observed=self.observer.table(),
            state=self._state(knot),
            system=plan.system,
            method=self.method,
            setting=plan.setting,
            label=plan.label,
            split=motion.has_split,
            units=getattr(plan.system, "units", {}),
            balance=balance,
        )

    def _switch_table(self, waiting: list[GoalWatch]) -> SwitchTable:
        names = ("trajectory", "time", "source", "target", "event", "loss", "kinetic", "hamiltonian", "injected")
        columns: dict[str, Any] = {name: [row[name] for row in self.switches] for name in names}
        if not self.switches:
            columns = {name: np.array([], dtype=kind) for name, kind in zip(names, "ifUUUffff", strict=True)}
        hidden = {name: [row[name] for row in self.switches] for name in ("x_before", "x_after")} if self.plan.record == "states" else None
        empty = f"no switch: {_not_reached(waiting)}" if waiting else "no switch"
        return SwitchTable(columns, hidden=hidden, trajectories=None, empty=empty)

    def _state(self, knot: Knot) -> State:
        guards = tuple(
            Guarded(
                one.name,
                *(int(part[0]) for part in (one.side, one.last, one.fired)),
                *(float(part[0]) for part in (one.closest, one.closest_time, getattr(one, "level", [float("nan")]))),
            )
            for one in self.watches
        )
        _, _, _, dissipated, supplied, injected = (float(v) for v in self.account.last)
        x = np.array(self.motion.vectors.numpy(knot.x), dtype=self.plan.dtype)
        work = (self.account.h0, dissipated, supplied, injected)
        parts = None if self.parts is None else self.parts.carried()
        return State(knot.t, x, self.mode, self.entered, self.reference, guards, work, self.account.sums.copy(), parts)


def _not_reached(waiting: list[GoalWatch]) -> str:
    one = waiting[0]
    return not_reached(one.name, one.closest[0], one.closest_time[0], one.level[0])
