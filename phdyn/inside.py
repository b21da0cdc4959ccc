"""The inside of a step as location sees it: arrays over the rows (trajectories) of a step; a single run is one row.

Detection decides which rows to look at; from then on all that is done to them (values on the path, the method's own partial steps, short
corrections) goes through here, and is the same for one trajectory and for many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from phdyn.methods.stepping import Step, field_of, nudge
from phdyn.motion import Knot, Motion
from phdyn.search import Floats, Rows
from phdyn.typing import Array

_VECTORS = ("x", "g", "f")


def _number(k: int) -> Any:
    """Return a property that reads a row of a part's numbers."""

    def read(part: Part) -> Any:
        return part.numbers[k]

    return property(read)


class Part:
    """Where partial steps end.

    Attributes
    ----------
    numbers : (8, k) array
        Times, V, T, dV/dt, and from the start of the step the work dissipated and supplied, and that of the gradient along the path by two
        rules, where it is followed: ``t`` to ``supplied`` are views of it.
    x, g, f : (size, k) Array
        As in Knot; the part owns them.
    """

    __slots__ = ("f", "g", "numbers", "x")

    x: Array
    g: Array
    f: Array

    def __init__(self, knot: Knot, dissipated: Any = 0.0, supplied: Any = 0.0, along: Any = (0.0, 0.0)) -> None:
        single = knot.x.ndim == 1
        self.numbers = np.empty((8, 1 if single else int(knot.x.shape[1])))
        for k, value in enumerate((knot.t, knot.V, knot.T, knot.d, dissipated, supplied, *along)):
            self.numbers[k] = value
        for name in _VECTORS:
            vector = getattr(knot, name)
            setattr(self, name, vector[:, None] if single and vector is not None else vector)

    t: Floats = _number(0)
    V: Floats = _number(1)
    T: Floats = _number(2)
    d: Floats = _number(3)
    dissipated: Floats = _number(4)
    supplied: Floats = _number(5)

    @property
    def along(self) -> Floats:
        """The work of the gradient along the path, (2, k)."""
        return self.numbers[6:]

    def take(self, rows: Rows) -> Part:
        """Return the part of some rows, a copy."""
        taken = Part.__new__(Part)
        taken.numbers = self.numbers.take(rows, axis=1)
        for name in _VECTORS:
            vector = getattr(self, name)
            setattr(taken, name, None if vector is None else vector[:, rows])
        return taken

    def put(self, rows: Rows, other: Part) -> None:
        """Write the part of some rows."""
        if other.f is None:
            self.f = None
        self.numbers[:, rows] = other.numbers
        for name in _VECTORS:
            target, value = getattr(self, name), getattr(other, name)
            if target is not None and value is not None:
                target[:, rows] = value

    def knot(self) -> Knot:
        """Return the ends as a knot of rows."""
        return Knot(self.t, self.x, self.V, self.T, self.d, self.g, self.f)  # type: ignore[arg-type]

    def one(self) -> Knot:
        """Return the end of the first row as the knot of a single run."""
        g, f = (None if v is None else v[:, 0] for v in (self.g, self.f))
        return Knot(float(self.t[0]), self.x[:, 0], float(self.V[0]), float(self.T[0]), float(self.d[0]), g, f)


def numbers(value: Any, k: int) -> Floats:
    """Return a number or an array as an array (k,) of its own."""
    own = np.empty(k)
    own[...] = value
    return own


class Inside:
    """A step of k rows, looked into.

    Attributes
    ----------
    ids : (k,) array
        Which trajectories of the run the rows are.
    t0, h, V0, V1, d0, d1 : (k,) arrays
        As in Step.
    """

    t0: Floats
    h: Floats
    V0: Floats
    V1: Floats
    d0: Floats
    d1: Floats

    def __init__(self, step: Step, ids: Rows) -> None:
        self.step, self.ids, self.motion = step, ids, step.motion
        for name in ("t0", "h", "V0", "V1", "d0", "d1"):
            setattr(self, name, numbers(getattr(step, name), len(ids)))

    @property
    def own_track(self) -> bool:
        """Whether heights are taken on the method's own path."""
        return self.step.own_track

    @property
    def has_split(self) -> bool:
        """Whether ends can be moved by short steps of Strang's splitting."""
        return self.motion.has_split

    def end_slope(self, rows: Rows) -> Floats:
        """Return dV/dt at the end of the step, along the path on which heights are taken."""
        if not self.own_track:
            return self.d1[rows]
        step = self._of(rows)
        return numbers(step.own_rate(step.h, step.g1), len(rows))

    def slope(self, part: Part, rows: Rows) -> Floats:
        """Return the same at the ends of partial steps."""
        if not self.own_track:
            return part.d
        step, (_, knot) = self._of(rows), self.knots(part, rows)
        return numbers(step.own_rate(knot.t - step.t0, knot.g), len(rows))

    def end(self) -> Part:
        """Return the end of the step."""
        return Part(self.step.end(), self.step.dissipated, self.step.supplied, self.step.along)

    def step_end(self) -> Floats:
        """Return the times at which the steps end."""
        return numbers(self.step.t1, len(self.ids))

    def heights(self, theta: Floats, rows: Rows) -> Floats:
        """Return V on the path at the fractions theta of the step, one value each."""
        raise TypeError("one row, or many")

    def states(self, theta: Floats, rows: Rows) -> tuple[Motion, Any, Array]:
        """Return the motion of some rows, the times of fractions of the step, and the states there, as that motion wants them."""
        raise TypeError("one row, or many")

    def beside(self, share: float, rows: Rows, *, end: bool) -> tuple[Motion, Any, Array]:
        """Return the same a share of the step from its start, or before its end, for slopes: on straight lines, at no cost.

        Where the vector field is not known at the ends (scipy's implicit solvers on a plain fun), on the path.
        """
        step = self._of(rows)
        knot, motion = step.end_view() if end else step.start_view(), step.motion
        if knot.f is None and not motion.has_energy:
            return self.states(np.full(len(rows), 1 - share if end else share), rows)
        way = (-share if end else share) * step.h
        ahead = way if motion.ids is None else motion.vectors.coefficient(way)
        return motion, knot.t + way, knot.x + ahead * field_of(motion, knot)

    def _of(self, rows: Rows) -> Step:
        """Return the step of some rows."""
        return self.step

    def until(self, theta: Floats, rows: Rows) -> Part:
        """Take the method's own partial steps to the fractions theta of the step."""
        raise TypeError("one row, or many")

    def nudged(self, part: Part, dt: Floats, rows: Rows) -> Part:
        """Move the ends of partial steps by dt, with a short step of Strang's splitting."""
        raise TypeError("one row, or many")

    def knots(self, part: Part, rows: Rows) -> tuple[Motion, Knot]:
        """Return the motion of some rows, and the ends of their parts in its shape."""
        raise TypeError("one row, or many")


class OneInside(Inside):
    """The inside of a step of a single run."""

    def __init__(self, step: Step) -> None:
        super().__init__(step, np.zeros(1, dtype=np.intp))

    def heights(self, theta: Floats, rows: Rows) -> Floats:
        """See Inside."""
        return np.array([self.motion.value(self.step.track(float(theta[0])))])

    def states(self, theta: Floats, rows: Rows) -> tuple[Motion, Any, Array]:
        """See Inside."""
        fraction = float(theta[0])
        return self.motion, self.step.t0 + fraction * self.step.h, self.step.at(fraction)

    def until(self, theta: Floats, rows: Rows) -> Part:
        """See Inside."""
        step = self.step.until(float(theta[0]) * self.step.h)
        return Part(step.end(), step.dissipated, step.supplied, step.along)

    def nudged(self, part: Part, dt: Floats, rows: Rows) -> Part:
        """See Inside."""
        knot, dissipated, supplied = nudge(self.motion, part.one(), float(dt[0]))
        along = part.along + (part.d + knot.d) / 2 * dt
        return Part(knot, part.dissipated + dissipated, part.supplied + supplied, along)

    def knots(self, part: Part, rows: Rows) -> tuple[Motion, Knot]:
        """See Inside."""
        return self.motion, part.one()


class ManyInside(Inside):
    """The inside of a step of several rows of a batch; the step is one that ``Step.take`` has made."""

    def _of(self, rows: Rows) -> Step:
        """See Inside."""
        return self.step if len(rows) == len(self.ids) else self.step.take(rows)

    def heights(self, theta: Floats, rows: Rows) -> Floats:
        """See Inside."""
        step = self._of(rows)
        return np.array(step.motion.value(step.track(theta)), dtype=np.float64)

    def states(self, theta: Floats, rows: Rows) -> tuple[Motion, Any, Array]:
        """See Inside."""
        step = self._of(rows)
        return step.motion, self.t0[rows] + theta * self.h[rows], step.at(theta)

    def until(self, theta: Floats, rows: Rows) -> Part:
        """See Inside."""
        part = self._of(rows).until(theta * self.h[rows])
        return Part(part.end(), part.dissipated, part.supplied)

    def nudged(self, part: Part, dt: Floats, rows: Rows) -> Part:
        """See Inside."""
        knot, dissipated, supplied = nudge(self._of(rows).motion, part.knot(), dt)
        return Part(knot, part.dissipated + dissipated, part.supplied + supplied)

    def knots(self, part: Part, rows: Rows) -> tuple[Motion, Knot]:
        """See Inside."""
        return self._of(rows).motion, part.knot()


class CutStep(Step):
    """The step from the start of a step to a located event inside it."""

    def __init__(self, step: Step, part: Part) -> None:
        super().__init__(step.motion)
        self.whole = step
        self.begin(part.one())
        self.t0, self.V0, self.T0, self.d0, self.slope0 = step.t0, step.V0, step.T0, step.d0, step.slope0
        self.dissipated, self.supplied, *along = (float(v) for v in part.numbers[4:, 0])
        self.along = (along[0], along[1])

    def start(self) -> Knot:
        """See Step."""
        return self.whole.start()

    def until(self, tau: float) -> Step:
        """See Step."""
        return self.whole.until(tau)

    def path(self) -> Callable[[Any], Array]:
        """See Step."""
        if not self.whole.ends_on_path:
            return super().path()
        path, share = self.whole.path(), self.h / self.whole.h
        return lambda theta: path(theta * share)
