"""Is a loss goal missed, fired late, or fired twice?

Random lightly damped oscillators and multi-wells in one and two dimensions, goals from 0.9 to 1e-6 of the initial loss, steps from 0.02 to
0.25 of the fastest period. The truth is the method's own path, V(Phi_theta(x)) in each step, from an implementation of the methods that
shares only their coefficients with phdyn: sampled in every step, its extrema near the goal minimised. A run watches a LossGoal that does
not end it: the motion goes on unchanged, and every passage below the goal is a test.

    OMP_NUM_THREADS=1 python experiments/nothing_missed.py [--cases 10000] [--methods strang rk4] [--workers 2] [--seed 0]
    python experiments/nothing_missed.py --replay wrong.jsonl

A passage is decided where the own path falls below the goal by more than 1e-3 of it; between passages it must rise above it by as much.
*missed*: a decided passage without a fire. *late*: its fire comes more than 0.02 steps after the passage begins (*inexact*: 1e-6, either
side). *double*: more fires in a passage than it has entries. *false*: a fire more than a quarter step from any passage, touches to 1e-3
included. *above*: a fire at a state whose V is above the goal by more than 1e-3 of it. *run_missed*, *run_late*: the first decided passage
of a run, which a terminal goal or a switch would have acted on, found no fire at all, or was not the first to fire. *again*: passages that
begin in a step in which the path has been below the goal before, and *again_missed* those without a fire: counted apart from the others.
*apart*: runs whose last state differs from the path's by more than 1e-6, chaos at coarse steps: nothing is said of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import phdyn
from phdyn import runs
from phdyn.potentials import MultiWell, Quadratic
from phdyn.tables import Table

Array = np.ndarray
METHODS = ("strang", "blanes-moan-4", "blanes-moan-6", "rk4")
KINDS = ("1-D oscillators", "2-D oscillators", "1-D wells", "2-D wells")
MARGIN = 1e-3
"""Share of the goal within which a dip below it, or a rise above it, is undecided."""
LATE = 0.02
"""Steps after which a fire is late."""
EXACT = 1e-6
"""Steps within which a fire is at its place."""
APART = 1e-6
"""Difference of last states beyond which run and path are no longer the same."""
NEAR = 0.25
"""Steps within which a fire belongs to a passage."""
BINS = (0.05, 0.125, 0.25)
"""Upper ends of the classes of steps, in fastest periods."""


@dataclass(frozen=True)
class Config:
    """Sizes of the measurement."""

    cases: int = 10_000
    methods: tuple[str, ...] = METHODS
    seed: int = 0
    steps: tuple[float, float] = (0.02, 0.25)
    samples: int = 32
    reference_cases: int = 1_000
    finer: int = 100
    cost_every: int = 10
    chunk: int = 250


# --- the cases ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One run: V = sum_i c_i q_i^2 + a_i (1 - cos f_i q_i) + k/2 (q_0 - q_1)^2, mass 1."""

    kind: str
    c: tuple[float, ...]
    a: tuple[float, ...]
    f: tuple[float, ...]
    k: float
    q: tuple[float, ...]
    p: tuple[float, ...]
    gamma: float
    goal: float
    step: float
    steps: int
    fraction: float
    """The step, in fastest periods."""

    @property
    def dim(self) -> int:
        return len(self.c)


def draw(number: int, seed: int, steps: tuple[float, float]) -> list[Case]:
    """Return random cases, a quarter of each kind; case i of a kind does not depend on their number."""
    return [_draw(kind, np.random.default_rng([seed, KINDS.index(kind), i]), steps) for kind in KINDS for i in range(number // len(KINDS))]


def _draw(kind: str, rng: np.random.Generator, steps: tuple[float, float]) -> Case:
    n, wells = int(kind[0]), "wells" in kind
    omega = np.exp(rng.uniform(np.log(0.5), np.log(2.0), n)) if wells else np.exp(rng.uniform(np.log(0.4), np.log(2.5), n))
    c, a, f, k = 0.5 * omega**2, np.zeros(n), np.ones(n), 0.0
    if wells:
        a, f = np.ones(n), rng.uniform(1.5, 4.0, n)
        c = rng.uniform(0.02, 0.3, n)
        k = float(rng.choice([0.0, rng.uniform(0.0, 0.5)])) if n == 2 else 0.0
    bend = np.diag(2 * c + a * f**2) + (k * np.array([[1.0, -1.0], [-1.0, 1.0]]) if n == 2 else 0.0)
    fastest = float(np.sqrt(np.linalg.eigvalsh(bend)[-1]))
    slowest = float(np.sqrt(2 * c.min())) if wells else float(omega.min())
    q = rng.uniform(0.3, 2.0, n) * rng.choice([-1.0, 1.0], n) * (2.5 if wells else 1.0)
    one = Case(kind, tuple(c), tuple(a), tuple(f), k, tuple(q), (0.0,) * n, 0.0, 0.0, 0.0, 0, 0.0)
    height = float(potential(one).value(q))
    p = np.zeros(n)
    if rng.random() < 0.3:
        p = rng.normal(size=n)
        p *= np.sqrt(2 * height * rng.uniform(0.05, 1.0) / (p @ p))
    gamma = rng.uniform(0.0, 0.1) * slowest * (rng.random() > 0.1)
    goal = height * np.exp(rng.uniform(np.log(1e-6), np.log(0.9)))
    fraction = float(np.exp(rng.uniform(*np.log(steps))))
    h = fraction * 2 * np.pi / fastest
    steps = int(np.ceil(min(rng.uniform(6.0, 10.0) * fastest / slowest, 9.0) / fraction))
    return replace(one, p=tuple(map(float, p)), gamma=float(gamma), goal=float(goal), step=h, steps=steps, fraction=fraction)


@dataclass(frozen=True)
class Wells:
    """Two coordinates, each with the wells of a cosine on a parabola, and a spring between them."""

    c: tuple[float, ...]
    a: tuple[float, ...]
    f: tuple[float, ...]
    k: float
    dim: int = 2

    def value(self, q: Any) -> float:
        return self.value_and_grad(q)[0]

    def value_and_grad(self, q: Any) -> tuple[float, Array]:
        (x, y), (c, d), (a, b), (f, g) = q.tolist(), self.c, self.a, self.f
        s, t = np.sin(0.5 * f * x), np.sin(0.5 * g * y)
        pull = self.k * (x - y)
        height = c * x * x + d * y * y + 2 * (a * s * s + b * t * t) + 0.5 * pull * (x - y)
        slope = (2 * c * x + a * f * np.sin(f * x) + pull, 2 * d * y + b * g * np.sin(g * y) - pull)
        return float(height), np.array(slope)


def potential(case: Case) -> Any:
    """Return the potential of a case as phdyn takes it."""
    if not any(case.a):
        return Quadratic([2 * c for c in case.c])
    return MultiWell(case.c[0], case.f[0]) if case.dim == 1 else Wells(case.c, case.a, case.f, case.k)


# --- the truth: all cases of one dimension at once ------------------------------------------------------------------------------------


class Many:
    """Cases as columns of arrays."""

    def __init__(self, cases: Iterable[Case]) -> None:
        cases = list(cases)
        self.c, self.a, self.f, self.q, self.p = (np.array([getattr(one, name) for one in cases]).T for name in "cafqp")
        numbers = ("k", "gamma", "goal", "step", "steps")
        self.k, self.gamma, self.goal, self.step, self.steps = (np.array([getattr(one, name) for one in cases]) for name in numbers)
        self.curved = bool(self.a.any())

    def take(self, columns: Any) -> Many:
        """Return some of the columns, again and again where an index repeats."""
        some = object.__new__(Many)
        for name, value in vars(self).items():
            setattr(some, name, value[..., columns] if isinstance(value, np.ndarray) else value)
        return some

    def height(self, q: Array) -> Array:
        """Return V at positions (n, ..., columns)."""
        total = sum(c * x * x for c, x in zip(self.c, q, strict=True))
        if self.curved:
            total = total + sum(2 * a * np.sin(0.5 * f * x) ** 2 for a, f, x in zip(self.a, self.f, q, strict=True))
        return total if len(q) == 1 else total + 0.5 * self.k * (q[0] - q[1]) ** 2

    def slope(self, q: Array) -> Array:
        """Return the gradient of V."""
        g = np.stack([2 * c * x for c, x in zip(self.c, q, strict=True)])
        if self.curved:
            for i, (a, f) in enumerate(zip(self.a, self.f, strict=True)):
                g[i] += a * f * np.sin(f * q[i])
        if len(q) == 2 and self.curved:
            pull = self.k * (q[0] - q[1])
            g[0] += pull
            g[1] -= pull
        return g


Flow = Callable[[Array, Array], tuple[Array, Array]]


def flow(method: str, many: Many, h: Array) -> Flow:
    """Return the step of a method as a map (q, p) -> (q, p), for step lengths (samples, columns)."""
    scheme = phdyn.methods.get(method)
    if hasattr(scheme, "rows"):
        return _tableau(scheme.rows, scheme.weights, many, h)
    kicks, drifts = scheme.sequences()
    plan = []
    for b, a in zip(kicks, drifts, strict=False):
        z = many.gamma * a * h
        with np.errstate(invalid="ignore", divide="ignore"):
            plan.append((b * h, np.where(z == 0, a * h, -np.expm1(-z) / many.gamma), np.exp(-z)))

    def splitting(q: Array, p: Array) -> tuple[Array, Array]:
        for kick, drift, decay in plan:
            p = p - kick * many.slope(q)
            q = q + drift * p
            p = decay * p
        return q, (p - kicks[-1] * h * many.slope(q) if len(kicks) > len(drifts) else p)

    return splitting


def _tableau(rows: Any, weights: Any, many: Many, h: Array) -> Flow:
    def step(q: Array, p: Array) -> tuple[Array, Array]:
        speeds: list[Array] = []
        pushes: list[Array] = []
        for row in rows:
            x, v = q, p
            for a, speed, push in zip(row, speeds, pushes, strict=True):
                if a:
                    x, v = x + a * h * speed, v + a * h * push
            speeds.append(v)
            pushes.append(-many.slope(x) - many.gamma * v)
        for b, speed, push in zip(weights, speeds, pushes, strict=True):
            q, p = q + b * h * speed, p + b * h * push
        return q, p

    return step


@dataclass
class Passage:
    """A stay at or below the goal, or several with no decided rise in between; times in steps."""

    first: float
    end: float
    decided: float
    """When the own path enters for the first stay that is decided; nan if none is."""
    entries: int
    again: bool
    """Whether the path has been at or below the goal in the same step before."""


class OwnPath:
    """The own path of a method on many cases: where it passes the goal."""

    def __init__(self, method: str, many: Many, *, samples: int, finer: int = 1) -> None:
        self.method, self.many, self.finer = method, many, finer
        self.h = many.step / finer
        self.thetas = np.arange(samples + 1) / samples
        self.nodes: list[Array] = []
        self.brackets: list[Array] = []
        self.ends: Array = np.empty((2 * len(many.q), len(many.goal)))
        self._walk()

    def _walk(self) -> None:
        """Step all cases, and collect what happens near the goal."""
        order = np.argsort(-self.many.steps, kind="stable")
        many, thetas = self.many.take(order), self.thetas
        counts, m = many.steps * self.finer, len(thetas) - 1
        q, p = many.q[:, None], many.p[:, None]
        width, step = 0, None
        before = np.full(len(counts), np.nan)
        for k in range(int(counts[0])):
            active = int(np.searchsorted(-counts, -k, side="left"))
            if active != width:
                width, q, p, before = active, q[..., :active], p[..., :active], before[:active]
                some = many.take(slice(active))
                step = flow(self.method, some, thetas[1:, None] * some.step / self.finer)
            qs, ps = step(q, p)
            heights = np.concatenate([some.height(q), some.height(qs)])
            self._look(k, order, some.goal, np.concatenate([q[:, 0], p[:, 0]]), heights, before)
            before = heights[m - 1]
            q, p = qs[:, -1:], ps[:, -1:]
            for i in range(int(np.searchsorted(-counts, -(k + 1), side="left")), active):
                self.ends[:, order[i]] = np.concatenate([q[:, 0, i], p[:, 0, i]])

    def _look(self, k: int, order: Array, goal: Array, x: Array, heights: Array, before: Array) -> None:
        """Note the samples beside crossings, the extrema, and the brackets of extrema that may reach the goal."""
        m, below = len(self.thetas) - 1, heights <= goal
        crossing = below[:-1] != below[1:]
        wanted = np.zeros_like(below)
        wanted[:-1] |= crossing
        wanted[1:] |= crossing
        if k == 0:
            wanted[0] = True
        for sign in (1.0, -1.0):
            s = sign * heights
            left = np.concatenate([sign * before[None], s[:-1]])
            extreme = np.zeros_like(below)
            extreme[:-1] = (s[:-1] <= left[:-1]) & (s[:-1] <= s[1:])  # the step's end is the next one's start
            wanted |= extreme
            # one-sided where a step begins and ends: the path has a kink there
            padded = np.pad(s, ((2, 2), (0, 0)), constant_values=-np.inf)
            rise = np.max([padded[i : i + m + 1] for i in (0, 1, 3, 4)], axis=0) - s
            inside = np.pad(s, ((1, 1), (0, 0)), constant_values=np.inf)
            lowest = (s <= inside[:-2]) & (s <= inside[2:])
            near = lowest & (s > sign * goal - MARGIN * goal) & (s - rise <= sign * goal + MARGIN * goal)
            if near.any():
                j, i = np.nonzero(near)
                low, high = self.thetas[np.maximum(j - 1, 0)], self.thetas[np.minimum(j + 1, m)]
                self.brackets.append(np.vstack([order[i], np.full(len(i), k), low, high, np.full(len(i), sign), x[:, i]]))
                for shift in (-1, 0, 1):
                    wanted[np.clip(j + shift, 0, m), i] = True
        j, i = np.nonzero(wanted)
        if len(j):
            self.nodes.append(np.vstack([order[i], np.full(len(i), k), self.thetas[j], heights[j, i], x[:, i]]))

    def _on_path(self, rows: Array) -> Callable[[Array], Array]:
        """Return V at fractions of the steps in rows: case, step, ..., the state at the start."""
        columns, n = rows[0].astype(int), len(self.many.q)
        some, q, p = self.many.take(columns), rows[-2 * n : -n], rows[-n:]

        def height(theta: Array) -> Array:
            moved, _ = flow(self.method, some, theta * some.step / self.finer)(q, p)
            return some.height(moved)

        return height

    def _minimised(self) -> None:
        """Add the extrema inside the brackets to the nodes."""
        if not self.brackets:
            return
        rows = np.hstack(self.brackets)
        height = self._on_path(rows)
        best = extremum(height, rows[2], rows[3], rows[4])
        self.nodes.append(np.vstack([rows[0], rows[1], best, height(best), rows[5:]]))

    def passages(self) -> list[list[Passage]]:
        """Return the passages of every case."""
        self._minimised()
        nodes = np.hstack(self.nodes)
        nodes = nodes[:, np.lexsort((nodes[2], nodes[1], nodes[0]))]
        case, heights, keys = nodes[0].astype(int), nodes[3], (nodes[1] + nodes[2]) / self.finer
        below = heights <= self.many.goal[case]
        change = np.flatnonzero((case[1:] == case[:-1]) & (below[1:] != below[:-1]))
        roots = self._roots(nodes, change)
        starts = np.searchsorted(case, np.arange(len(self.many.goal) + 1))
        firsts = np.searchsorted(change, starts)
        found = []
        for i, goal in enumerate(self.many.goal):
            span = slice(starts[i], starts[i + 1])
            here = slice(firsts[i], firsts[i + 1])
            found.append(_passages(goal, keys[span], heights[span], change[here] - starts[i] + 1, roots[here], float(self.many.steps[i])))
        return found

    def _roots(self, nodes: Array, change: Array) -> Array:
        """Return where the path crosses the goal between nodes on either side of it; both lie in one step."""
        a, b = nodes[:, change], nodes[:, change + 1]
        low, goal = np.where(a[1] == b[1], a[2], 0.0), self.many.goal[b[0].astype(int)]
        return (b[1] + root(self._on_path(b), low, b[2], goal, a[3] <= goal)) / self.finer


def extremum(height: Callable[[Array], Array], low: Array, high: Array, sign: Array) -> Array:
    """Return where sign V is lowest in each bracket (golden section)."""
    ratio = 0.5 * (np.sqrt(5) - 1)
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    va, vb = sign * height(a), sign * height(b)
    for _ in range(44):
        left = va < vb
        low, high = np.where(left, low, a), np.where(left, b, high)
        new = np.where(left, high - ratio * (high - low), low + ratio * (high - low))
        v = sign * height(new)
        a, b, va, vb = np.where(left, new, b), np.where(left, a, new), np.where(left, v, vb), np.where(left, va, v)
    return np.where(va < vb, a, b)


def root(height: Callable[[Array], Array], low: Array, high: Array, goal: Array, start_below: Array) -> Array:
    """Return where V changes its side of the goal in each bracket (bisection)."""
    for _ in range(52):
        middle = 0.5 * (low + high)
        same = (height(middle) <= goal) == start_below
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return high


def passages_of(height: Callable[[Array], Array], times: Array, goal: float, unit: float) -> list[Passage]:
    """Return the passages of any path, V(t), sampled at these times and minimised between them; times in units."""
    heights = height(times)
    keys, values = [times], [heights]
    for sign in (1.0, -1.0):
        s = sign * heights
        left, middle, right = s[:-2], s[1:-1], s[2:]
        near = 2 * middle - np.maximum(left, right) <= goal * (sign + MARGIN)
        j = 1 + np.flatnonzero((middle <= left) & (middle <= right) & near)
        if len(j):
            keys.append(extremum(height, times[j - 1], times[j + 1], np.full(len(j), sign)))
            values.append(height(keys[-1]))
    order = np.argsort(np.concatenate(keys), kind="stable")
    t, v = np.concatenate(keys)[order], np.concatenate(values)[order]
    change = np.flatnonzero((v[1:] <= goal) != (v[:-1] <= goal))
    roots = root(height, t[change], t[change + 1], np.full(len(change), goal), v[change] <= goal) if len(change) else np.array([])
    found = _passages(goal, t / unit, v, change + 1, roots / unit, float(times[-1]) / unit)
    return [replace(one, again=False) for one in found]


def _passages(goal: float, keys: Array, heights: Array, changes: Array, roots: Array, last: float) -> list[Passage]:
    """Group the stays at or below the goal that no decided rise separates; touches to 1e-3 are undecided stays."""
    stays: list[tuple[float, float, float]] = []
    for j, (piece_keys, piece) in enumerate(zip(np.split(keys, changes), np.split(heights, changes), strict=True)):
        bounds = (roots[j - 1] if j else 0.0, roots[j] if j < len(roots) else last)
        if j % 2:
            stays.append((*bounds, float(piece.min())))
        else:
            lowest = 1 + np.flatnonzero((piece[1:-1] <= piece[:-2]) & (piece[1:-1] <= piece[2:]) & (piece[1:-1] <= goal * (1 + MARGIN)))
            stays += [(float(piece_keys[i]), float(piece_keys[i]), float(piece[i])) for i in lowest]
    found: list[Passage] = []
    for number, (begin, end, depth) in enumerate(stays):
        if found:
            between = heights[(keys > found[-1].end) & (keys < begin)]
            apart = bool(len(between)) and between.max() > goal * (1 + MARGIN)
        if not found or apart:
            again = any(to > since and to >= np.floor(begin) for since, to, _ in stays[:number])
            found.append(Passage(begin, end, float("nan"), 0, again))
        group = found[-1]
        group.end, group.entries = end, group.entries + 1
        if np.isnan(group.decided) and depth <= goal * (1 - MARGIN):
            group.decided = begin
    return found


# --- the runs, and what is said of them -----------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What a run did with the passages of its path."""

    passages: int = 0
    again: int = 0
    again_missed: int = 0
    missed: int = 0
    late: int = 0
    inexact: int = 0
    double: int = 0
    false: int = 0
    above: int = 0
    run_missed: int = 0
    run_late: int = 0
    lateness: float = 0.0
    when: tuple[float, ...] = ()

    @property
    def wrong(self) -> list[str]:
        return [name for name in ("missed", "late", "double", "false", "above") if getattr(self, name)]


def judge(truth: list[Passage], fires: Array, heights: Array, goal: float) -> Verdict:
    """Compare fires (in steps) with the passages of the own path."""
    said = Verdict(above=int((heights > goal * (1 + MARGIN)).sum()))
    when: list[float] = list(fires[heights > goal * (1 + MARGIN)])
    mine: list[list[float]] = [[] for _ in truth]
    for fire in fires:
        away = [max(one.first - fire, fire - one.end, 0.0) for one in truth]
        if not truth or min(away) > NEAR:
            said.false += 1
            when.append(fire)
        else:
            mine[int(np.argmin(away))].append(fire)
    decided = [(one, own) for one, own in zip(truth, mine, strict=True) if not np.isnan(one.decided)]
    for one, own in decided:
        if one.again:
            said.again, said.again_missed = said.again + 1, said.again_missed + (not own)
            continue
        delay = own[0] - one.decided if own else 0.0
        said.lateness, said.inexact = max(said.lateness, delay), said.inexact + (abs(delay) > EXACT)
        if not own or delay > LATE:
            said.missed, said.late = said.missed + (not own), said.late + bool(own)
            when.append(one.decided)
    for one, own in zip(truth, mine, strict=True):
        said.double += max(len(own) - one.entries, 0)
        when += own[one.entries :]
    said.passages = len(decided) - said.again
    if decided:
        said.run_missed = int(len(fires) == 0)
        said.run_late = int(len(fires) > 0 and fires[0] > decided[0][0].decided + LATE)
    said.when = tuple(map(float, when))
    return said


def run_case(case: Case, method: str, *, watched: bool = True, **options: Any) -> phdyn.Solution:
    """Run a case with phdyn."""
    system = phdyn.HeavyBall(options.pop("potential", None) or potential(case), friction=case.gamma)
    events = [*options.pop("events", ()), *([phdyn.LossGoal(value=case.goal)] if watched else [])]
    span = (0.0, case.steps * case.step)
    options |= {"method": method, "step": case.step, "record": "ends", "monitor": None, "events": events or None}
    return phdyn.simulate(system, span, [*case.q, *case.p], **options)


def fires_of(case: Case, sol: phdyn.Solution, event: int = 0) -> tuple[Array, Array]:
    """Return when a run fired, in steps, and V there."""
    energy = potential(case)
    states = np.asarray(sol.y_events[event]).reshape(-1, 2 * case.dim)
    return np.asarray(sol.t_events[event]) / case.step, np.array([float(energy.value(x[: case.dim])) for x in states])


class Counted:
    """A potential that counts."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.dim, self.gradients, self.values = inner, inner.dim, 0, 0

    def value(self, q: Any) -> float:
        self.values += 1
        return self.inner.value(q)

    def value_and_grad(self, q: Any) -> tuple[float, Array]:
        self.gradients += 1
        return self.inner.value_and_grad(q)


def costs(case: Case, method: str) -> list[dict[str, Any]]:
    """Return what detection and location cost in each step in which they cost something: a probe counts at the steps' ends."""
    counted = Counted(potential(case))
    seen: dict[int, tuple[int, int, float]] = {}

    def probe(t: float, x: Array) -> float:
        k = round(t / case.step)
        if abs(t / case.step - k) < 1e-9 and k not in seen:
            seen[k] = (counted.gradients, counted.values, float(counted.inner.value(x[: case.dim])))
        return 1.0

    sol = run_case(case, method, potential=counted, events=(probe,))
    bare = run_case(case, method, watched=False)
    seen[case.steps + 1] = (counted.gradients, counted.values, np.nan)
    grid = (bare.nfev - 1) / case.steps
    fires, _ = fires_of(case, sol, 1)
    rows = []
    for k in range(1, case.steps + 1):
        (gradients, values, v1), (more, most, _), v0 = seen[k], seen[k + 1], seen[k - 1][2]
        extra = more - gradients - (grid if k < case.steps else 0)
        fired = int(((fires > k - 1) & (fires <= k)).sum())
        if extra or most > values or fired:
            search = "end crossing" if v0 > case.goal >= v1 else "dip"
            rows.append({"method": method, "search": search, "fired": fired, "gradients": extra, "values": most - values})
    return rows


Job = tuple[list[tuple[int, Case]], tuple[str, ...], Config]


def measure(job: Job) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run a chunk of cases of one kind with every method; return a row a run, and rows of costs."""
    torch.set_num_threads(1)
    numbered, methods, config = job
    many = Many(case for _, case in numbered)
    rows: list[dict[str, Any]] = []
    spent: list[dict[str, Any]] = []
    for method in methods:
        path = OwnPath(method, many, samples=config.samples)
        truths = path.passages()
        for column, ((number, case), truth) in enumerate(zip(numbered, truths, strict=True)):
            sol = run_case(case, method)
            fires, heights = fires_of(case, sol)
            apart = bool(np.abs(sol.y[:, -1] - path.ends[:, column]).max() > APART)
            said = Verdict() if apart else judge(truth, fires, heights, case.goal)
            first = next((one.decided for one in truth if not np.isnan(one.decided)), np.nan)
            row = {"case": number, "kind": case.kind, "method": method, "fraction": case.fraction, "fires": len(fires)}
            row |= {f.name: getattr(said, f.name) for f in fields(said) if f.name != "when"}
            row |= {"apart": apart, "nfev": sol.nfev, "nvev": sol.nvev, "steps": sol.nsteps, "first": first * case.step}
            row |= {"first_fire": fires[0] * case.step if len(fires) else np.nan, "step": case.step}
            if said.wrong:
                row["dump"] = {"what": said.wrong, "method": method, "when": said.when, "fires": fires.tolist(), "case": asdict(case)}
            rows.append(row)
            if number % config.cost_every == 0:
                spent += costs(case, method)
    return rows, spent


def reference(job: tuple[list[tuple[int, Case]], Config]) -> dict[int, float]:
    """Return when each case first enters its goal, decided, on the path of Blanes-Moan 6 with finer steps; nan where never."""
    numbered, config = job
    truths = OwnPath("blanes-moan-6", Many(case for _, case in numbered), samples=2, finer=config.finer).passages()
    first = (next((one.decided for one in truth if not np.isnan(one.decided)), np.nan) for truth in truths)
    return {number: t * case.step for (number, case), t in zip(numbered, first, strict=True)}


def chunked(cases: list[Case], size: int) -> Iterator[list[tuple[int, Case]]]:
    """Yield numbered cases of one kind at a time."""
    for kind in KINDS:
        numbered = [(i, case) for i, case in enumerate(cases) if case.kind == kind]
        for k in range(0, len(numbered), size):
            yield numbered[k : k + size]


@dataclass
class Found:
    """Everything measured."""

    rows: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    references: dict[int, float]


def measure_all(config: Config, cases: list[Case], workers: int) -> Found:
    """Run all cases, in processes of their own."""
    found = Found([], [], {})
    per_kind = len(cases) // len(KINDS)
    share = min(config.reference_cases // len(KINDS), per_kind)
    fine = [numbered[:share] for numbered in chunked(cases, max(per_kind, 1))] if share else []
    total = len(cases) + len(fine) * share
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool, tqdm(total=total, unit="case") as bar:
        jobs: list[tuple[Callable[[Any], Any], Any]] = [(reference, (numbered, config)) for numbered in fine]
        jobs += [(measure, (numbered, config.methods, config)) for numbered in chunked(cases, config.chunk)]
        for size, result in _results(jobs, pool):
            if isinstance(result, dict):
                found.references |= result
            else:
                found.rows += result[0]
                found.costs += result[1]
            bar.update(size)
    found.rows.sort(key=lambda row: (row["case"], row["method"]))
    return found


def _results(jobs: list[tuple[Callable[[Any], Any], Any]], pool: ProcessPoolExecutor | None) -> Iterator[tuple[int, Any]]:
    if pool is None:
        for function, job in jobs:
            yield len(job[0]), function(job)
        return
    running = {pool.submit(function, job): len(job[0]) for function, job in jobs}
    for done in as_completed(running):
        yield running[done], done.result()


# --- tables ---------------------------------------------------------------------------------------------------------------------------


COUNTS = ("missed", "late", "double", "false", "above", "inexact", "again", "again_missed", "apart")


def classes(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return all rows, and those with steps of a class."""
    edges = zip((0.0, *BINS), BINS, strict=False)
    return [("all", rows), *((f"step {low:g} to {high:g}", [row for row in rows if low < row["fraction"] <= high]) for low, high in edges)]


def detection(rows: list[dict[str, Any]], config: Config) -> Table:
    """Return the verdicts by method and kind, in total, and by class of steps."""
    lines = []
    for method in config.methods:
        own = [row for row in rows if row["method"] == method]
        for name, group in [*((kind, [row for row in own if row["kind"] == kind]) for kind in KINDS), *classes(own)]:
            line = {"method": method, "cases": name, "runs": len(group), "entering": sum(row["passages"] > 0 for row in group)}
            line |= {key: sum(row[key] for row in group) for key in ("run_missed", "run_late", "passages", *COUNTS)}
            lines.append(line | {"delay": max((row["lateness"] for row in group), default=0.0)})
    return columns(lines)


def spending(found: Found, config: Config) -> Table:
    """Return gradients and loss values a step in which something was looked for, beyond those of the grid."""
    lines = []
    for method in config.methods:
        steps = sum(row["steps"] for row in found.rows if row["method"] == method and row["case"] % config.cost_every == 0)
        for search in ("end crossing", "dip"):
            for fired in (True, False):
                group = [row for row in found.costs if (row["method"], row["search"], row["fired"] > 0) == (method, search, fired)]
                if group:
                    gradients, values = (np.array([row[key] for row in group]) for key in ("gradients", "values"))
                    line = {"method": method, "search": search, "fired": fired, "number": len(group)}
                    line |= {"per_1000_steps": 1000 * len(group) / steps, "gradients": gradients.mean(), "most_gradients": gradients.max()}
                    lines.append(line | {"values": values.mean(), "most_values": values.max()})
    return columns(lines)


def discretization(found: Found, config: Config) -> Table:
    """Compare first entries with those of the finer reference: by the own path alone, and as fired. Late: by more than a step."""
    lines = []
    for method in config.methods:
        own = [row for row in found.rows if row["method"] == method and row["case"] in found.references]
        for name, group in classes(own):
            true = np.array([found.references[row["case"]] for row in group])
            line: dict[str, Any] = {"method": method, "cases": name, "runs": len(group), "entering": int(np.isfinite(true).sum())}
            for who, key in (("path", "first"), ("fired", "first_fire")):
                when, h = (np.array([row[k] for row in group]) for k in (key, "step"))
                line[f"{who}_missed"] = int((np.isfinite(true) & np.isnan(when)).sum())
                line[f"{who}_late"] = int((when > true + h).sum())
                line[f"{who}_alone"] = int((np.isnan(true) & np.isfinite(when)).sum())
            lines.append(line)
    return columns(lines)


def columns(lines: list[dict[str, Any]]) -> Table:
    """Return a table of rows."""
    return Table({name: [line[name] for line in lines] for name in lines[0]} if lines else {})


def dump(rows: list[dict[str, Any]], file: Path) -> None:
    """Write the runs with something wrong, each so that it can be replayed."""
    file.write_text("".join(json.dumps(row["dump"]) + "\n" for row in rows if "dump" in row), encoding="utf-8")


def replay(file: Path, samples: int) -> Table:
    """Run the cases of a dump again."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        entry = json.loads(text)
        case = Case(**{name: tuple(v) if isinstance(v, list) else v for name, v in entry["case"].items()})
        truth = OwnPath(entry["method"], Many([case]), samples=samples).passages()[0]
        fires, heights = fires_of(case, run_case(case, entry["method"]))
        said = judge(truth, fires, heights, case.goal)
        now, was = (" ".join(what) or "right" for what in (said.wrong, entry["what"]))
        line = {"method": entry["method"], "kind": case.kind, "step": case.fraction, "goal": case.goal, "was": was, "is": now}
        lines.append(line | {"when": " ".join(f"{t:.6f}" for t in said.when[:3])})
    return columns(lines)


def show(title: str, table: Table) -> None:
    """Print a table whole."""
    print(f"\n{title}\n")
    for start in range(0, len(table), 40):
        print(Table({name: list(table[name][start : start + 40]) for name in table.keys()}))  # noqa: SIM118 (iterating a table gives its rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=Config.cases)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seed", type=int, default=Config.seed)
    parser.add_argument("--reference-cases", type=int, default=Config.reference_cases)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/nothing_missed"))
    parser.add_argument("--dump", type=Path, help="write the runs with something wrong to this file, as JSON lines")
    parser.add_argument("--replay", type=Path, help="run the cases of such a file again")
    options = parser.parse_args()
    if options.replay:
        show(f"the cases of {options.replay}", replay(options.replay, Config.samples))
        return
    config = Config(options.cases, tuple(options.methods), options.seed, reference_cases=options.reference_cases)
    started = time.perf_counter()
    with runs.create(config, options.out) as run:
        found = measure_all(config, draw(config.cases, config.seed, config.steps), options.workers)
        named = {
            "detection": ("against the method's own path", detection(found.rows, config)),
            "costs": ("beyond the grid's gradients, in a step in which something was looked for", spending(found, config)),
            "discretization": (f"first entry against steps {config.finer} times smaller", discretization(found, config)),
        }
        plain = [{name: value for name, value in row.items() if name != "dump"} for row in found.rows]
        for name, table in [*((name, table) for name, (_, table) in named.items()), ("runs", columns(plain))]:
            run.save_table(table, name)
        totals = [row for row in named["detection"][1] if row.cases == "all"]
        for row in totals:
            run.numbers |= {f"{row.method}_{key}": int(getattr(row, key)) for key in COUNTS}
    for title, table in named.values():
        show(title, table)
    if options.dump:
        dump(found.rows, options.dump)
    print(f"\n{time.perf_counter() - started:.0f} s; run folder {run.path}")


if __name__ == "__main__":
    main()
