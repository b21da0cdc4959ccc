"""A system bound to the arrays of one run: gradients that are counted, the current friction, powers, and paths inside a step.

Every method sees a system through four operations: ``gradient`` (one evaluation, the unit of cost), ``combine`` (the vector field
from it), ``powers`` (what is dissipated and supplied) and, for the heavy ball alone, ``damping`` (the exact damped drift).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import torch

from phdyn.automaton import HybridAutomaton
from phdyn.counts import NO_LIMIT, Counts, Halt, RowCounts
from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.friction import Damping, check_rows, damping, entered
from phdyn.matrix_free import MatrixFree
from phdyn.potentials import FunctionPotential, NetworkLoss, hvp
from phdyn.potentials.base import Landscape
from phdyn.row_friction import RowFriction
from phdyn.systems import GradientFlow, HeavyBall, PortHamiltonianSystem, Sampled, Steps, height
from phdyn.typing import Array, Coefficient, FrictionLaw
from phdyn.vectors import NumpyVectors, Rows, TorchRows, Vectors, is_dual, take_rows

__all__ = ["NO_LIMIT", "Halt", "Knot", "Motion", "bind", "supports_rows"]


class Knot:
    """A state on the trajectory with what is known there: it starts a march, and ends a step.

    Of a batch: x is (size, k), and the numbers are (k,); t is a float where all rows share it.

    Attributes
    ----------
    t : float
        Time.
    x : Array (size,)
        State.
    V, T : float
        Potential and kinetic energy (without a split: H and 0).
    d : float
        dV/dt along the motion.
    g : Array or None
        Gradient of V at the position (without a split: of H at the state).
    f : Array or None
        Vector field, where a method needs it.
    """

    __slots__ = ("T", "V", "d", "f", "g", "t", "x")

    def __init__(self, t: float, x: Array, V: float, T: float, d: float, g: Array | None, f: Array | None = None) -> None:  # noqa: N803
        self.t, self.x, self.V, self.T, self.d, self.g, self.f = t, x, V, T, d, g, f

    def take(self, rows: Array) -> Knot:
        """Return some rows of a batch's knot; it owns its vectors."""
        return Knot(*(take_rows(part, rows) for part in (self.t, self.x, self.V, self.T, self.d, self.g, self.f)))


def _counter(name: str, what: str) -> Any:
    """Return a property that reads and writes a shared counter."""

    def read(motion: Motion) -> Any:
        return getattr(motion.counts, name)

    def write(motion: Motion, value: Any) -> None:
        setattr(motion.counts, name, value)

    return property(read, write, doc=what)


class Motion:
    """What the four kinds of motion share; see the subclasses for the mathematics.

    Parameters
    ----------
    system : object
        The system.
    vectors : Vectors
        Back end of the run's arrays.
    size : int
        Length of the state.
    tensors : bool
        Whether the user's own potential object gets tensors (x0 was one).
    batch : int, optional
        Number of trajectories of a batch, whose vectors are (size, batch).

    Attributes
    ----------
    counts : Counts
        What was evaluated, and the budget; motions of some rows share it.
    ids : (k,) int array or None
        Which trajectories of the run the rows are; None for a run of one.
    calm : float, (k,) array or None
        ``|V| + T`` at the start of the run; a method may ask whether energies burst.
    product_gradients : int
        As how many gradients a Hessian-vector product counts: 2 where the potential has none of its own, and gradients are differenced.
    modes : (k,) int array or None
        The mode of each row, an index into ``list(system.laws)``; changed by ``set_modes`` alone.
    """

    has_energy = True
    """Whether there is an account to keep (not for a plain ``fun``)."""
    has_split = False
    """Whether H = T(p) + V(q) with x = (q, p)."""
    quadratic = False
    """Whether it has, and T = p.p/2m."""
    quickness: float = 0.0
    """Largest speed at kinetic energy 1: the square root of 2/m."""
    free_powers = False
    """Whether dissipated and supplied power need no gradient."""
    apart = False
    """Whether a part of an energy that does not split is known as the potential's: see ``shares``."""

    def __init__(self, system: Any, vectors: Vectors, size: int, *, tensors: bool, batch: int | None = None) -> None:
        self.system = system
        self.vectors = vectors
        self.size = size
        self.dim = size
        self.tensors = tensors
        self.counts: Any = Counts() if batch is None else RowCounts(batch)
        self.family: dict[str, Motion] = {}
        self.ids = None if batch is None else np.arange(batch)
        self.modes = None if batch is None else np.zeros(batch, dtype=np.intp)
        self.every: Any = slice(None)
        self.calm: Any = None
        self.at_home = False
        self._first: tuple[Any, Array] | None = None
        self.hvp: Callable[[Array, Any], Any]
        self.product_gradients = 1
        self.input: Callable[[float, Any], Any] | None = getattr(system, "u", None)
        self.gradient: Callable[[Array], tuple[float, Array]]
        self.value: Callable[[Array], float]

    # --- counting -------------------------------------------------------------------------------------------------------------
    nfev = _counter("nfev", "Gradients (or calls of fun).")
    nvev = _counter("nvev", "Values alone.")
    njev = _counter("njev", "Jacobians.")
    nlu = _counter("nlu", "Factorisations.")
    nrejected = _counter("nrejected", "Steps rejected.")
    max_nfev = _counter("max_nfev", "Budget of gradients; in a batch of each trajectory.")

    def _bind(self, energy: Any) -> None:
        """Set ``gradient``, ``value`` and ``hvp`` for an energy function on this run's kind of array."""
        self.product_gradients = 1 if hasattr(energy, "hvp") else 2
        if self.ids is not None:
            self._bind_rows(energy)
        elif isinstance(energy, NetworkLoss):
            self._bind_network(energy)
        elif isinstance(self.vectors, NumpyVectors) and (self.tensors or isinstance(energy, FunctionPotential)):
            self._bind_tensors(energy)
        else:
            self._bind_arrays(energy)

    def _bind_arrays(self, energy: Any) -> None:
        value_and_grad = energy.value_and_grad

        def gradient(q: Array) -> tuple[float, Array]:
            self.counts.gradient()
            V, slope = value_and_grad(q)
            return float(V), slope

        def height_only(q: Array) -> float:
            self.counts.nvev += 1
            return float(height(energy, q))

        self.gradient, self.value, self.hvp = gradient, height_only, partial(hvp, energy)

    def _bind_tensors(self, energy: Any) -> None:
        value_and_grad, tensor = energy.value_and_grad, torch.from_numpy

        def gradient(q: Array) -> tuple[float, Array]:
            self.counts.gradient()
            V, slope = value_and_grad(tensor(q))
            return V.item(), slope.detach().numpy()

        def height_only(q: Array) -> float:
            self.counts.nvev += 1
            return float(height(energy, tensor(q)))

        self.gradient, self.value = gradient, height_only
        self.hvp = lambda q, v: hvp(energy, tensor(q), v)

    def _bind_network(self, loss: NetworkLoss) -> None:
        """Step in the module's own buffers where the precision is the same; otherwise one copy a gradient."""
        vectors = self.vectors
        dtype = np.dtype(str(loss.dtype).removeprefix("torch."))
        home = dtype == vectors.dtype

        def gradient(q: Array) -> tuple[float, Array]:
            self.counts.gradient()
            evaluate = loss.value_and_grad if self.at_home else loss.evaluate_scratch
            V, slope = evaluate(vectors.tensor(q))
            if isinstance(vectors, NumpyVectors):
                slope = slope.numpy() if home else slope.numpy().astype(vectors.dtype)
            return V.item(), slope

        def height_only(q: Array) -> float:
            self.counts.nvev += 1
            return float(loss.value(vectors.tensor(q).to(loss.dtype)))

        self.gradient, self.value = gradient, height_only
        self.hvp = lambda q, v: hvp(loss, vectors.tensor(q), v)

    def _counted(self) -> tuple[Any, ...]:
        """Return what the counters need to know: the rows of a batch."""
        return () if self.ids is None else (self.every,)

    def _bind_rows(self, energy: Any) -> None:
        """Evaluate all rows in one call; a slope that is component-major already is not copied."""
        if isinstance(energy, NetworkLoss):
            raise ArgumentError("a network's loss takes one trajectory at a time")
        counts, every, ids = self.counts, self.every, self.ids
        vectors: Any = self.vectors
        k, owned = 0 if ids is None else len(ids), isinstance(energy, Landscape)
        as_tensors = isinstance(vectors, TorchRows) or self.tensors or isinstance(energy, FunctionPotential)
        users = vectors.tensor if as_tensors else vectors.numpy
        held = vectors.from_tensor if as_tensors else vectors.from_numpy

        def heights(answer: Any) -> Any:
            V = np.asarray(answer.detach().cpu().numpy() if as_tensors else answer)
            if V.shape != (k,):
                raise ArgumentError(_not_row_by_row(V.shape, (k, self.dim)))
            return V if owned and V.dtype == np.float64 else V.astype(np.float64)  # a potential may answer in one buffer

        def gradient(q: Array) -> tuple[Any, Array]:
            counts.gradient(every)
            V, slope = energy.value_and_grad(users(q))
            return heights(V), held(slope)

        def height_only(q: Array) -> Any:
            counts.nvev[every] += 1
            return heights(height(energy, users(q)))

        self.gradient, self.value = gradient, height_only
        self.hvp = lambda q, v: hvp(energy, users(q), v)

    def take(self, rows: Any) -> Any:
        """Return the motion of some rows of a batch: it shares the counters, and its modes are its own.

        Parameters
        ----------
        rows : (k,) int array
            Places among this motion's rows, each at most once.
        """
        if self.ids is None or self.modes is None:
            raise TypeError("a run of one trajectory has no rows to take")
        part = copy(self)
        rows = np.asarray(rows, dtype=np.intp)
        part.ids, part.modes, part._first = self.ids[rows], self.modes[rows], None
        part.every = part.ids
        if self.calm is not None:
            part.calm = self.calm[rows]
        return part

    # --- what methods use -----------------------------------------------------------------------------------------------------
    def position(self, x: Array) -> Array:
        """Return the part of the state that the energy's gradient is taken at."""
        return x

    def live(self, x: Array) -> Array:
        """Return the vector that a fixed-step run advances in place, holding x: a network's own buffer, or a copy."""
        potential = getattr(self.system, "potential", None)
        if not isinstance(potential, NetworkLoss):
            return self.vectors.clone(x)
        buffer: Array = self.vectors.from_tensor(potential.state_buffer[: self.size])
        if buffer.dtype != x.dtype:
            return self.vectors.clone(x)
        self.at_home = True
        self.vectors.copy(x, buffer)
        return buffer

    def enter(self, mode: str, t: float) -> Motion:
        """Follow another mode from time t on; return the motion to go on with, another one where modes are systems."""
        motion = self.family.get(mode, self)
        motion.follow(mode, t)
        return motion

    def follow(self, mode: str, t: float) -> None:
        """Take up a mode's law."""

    @property
    def members(self) -> list[Motion]:
        """The motions of the run: this one, or one a mode."""
        return list(self.family.values()) or [self]

    def join(self, family: dict[str, Motion]) -> None:
        """Be one mode of several, which count together."""
        self.family = family
        self.counts = next(iter(family.values())).counts

    def on_stretch(self, low: float, high: float) -> None:
        """Announce a stretch of time without jumps of the input: the input's value at its ends is the limit from inside."""
        within = getattr(getattr(self.system, "u", None), "within", None)
        if within is not None:
            self.input = within(low, high)

    def force(self, t: Any, z: Array) -> Array | None:
        """Return the input u at (t, z) in the run's kind of array, or None without an input."""
        if self.input is None:
            return None
        if self.ids is not None:
            return self._force_rows(t, z)
        u = np.asarray(self.input(t, self.vectors.numpy(z)), dtype=self.vectors.dtype)
        return u if isinstance(self.vectors, NumpyVectors) else torch.as_tensor(u, device=z.device)

    def _force_rows(self, t: Any, z: Array) -> Array:
        """Return the input of each row, (size, k): a function is called a trajectory at a time, an input of time alone once."""
        vectors: Any = self.vectors
        user: Any = self.input
        k = z.shape[1]
        if isinstance(self.system.u, (Steps, Sampled)) and np.ndim(t) == 0:
            u = np.broadcast_to(np.asarray(user(t, None), dtype=vectors.dtype), (k, z.shape[0]))
        else:
            positions, times = np.ascontiguousarray(vectors.numpy(z)), np.broadcast_to(t, (k,)).tolist()
            u = np.array([user(*each) for each in zip(times, positions, strict=True)], dtype=vectors.dtype)
        return vectors.from_numpy(u)

    def combine(self, t: float, x: Array, g: Array, out: Array) -> Array:
        """Write the vector field at (t, x) into out, from the gradient there, and return it."""
        raise TypeError("a motion defines its vector field")

    def powers(self, t: float, x: Array, g: Array | None) -> tuple[float, float]:
        """Return dissipated and supplied power at (t, x)."""
        raise TypeError("a motion defines its powers")

    def field(self, t: float, x: Array, out: Array) -> tuple[float, Array, Array]:
        """Evaluate once: return V (or H), its gradient, and the vector field, which is written into out."""
        V, slope = self.gradient(self.position(x))
        return V, slope, self.combine(t, x, slope, out)

    def kinetic(self, x: Array) -> Any:
        """Return T at a state (0 without a split)."""
        return 0.0 if self.ids is None else np.zeros(len(self.ids))

    def hessian_product(self, q: Array, v: Array) -> Array:
        """Return Hess V at q times a vector: counted as a gradient, by differences (a potential without ``hvp``) as the two it takes.

        Raises
        ------
        ArgumentError
            The potential's own product has another shape than q.
        """
        for _ in range(self.product_gradients):
            self.counts.gradient(*self._counted())
        vectors: Any = self.vectors
        answer = self.hvp(q, vectors.tensor(v))
        if isinstance(answer, torch.Tensor):
            answer = vectors.from_tensor(answer)
        elif self.ids is not None:
            answer = vectors.from_numpy(answer)
        if tuple(np.shape(answer)) != tuple(q.shape):
            raise ArgumentError(f"the potential's hvp(q, v) has shape {tuple(np.shape(answer))}, not {tuple(q.shape)}, that of q")
        return answer

    def shares(self, x: Array, T: float, V: float) -> tuple[float, float]:  # noqa: N803 (the field's letters)
        """Return T and V as the account has them: those of the run, or, where they are ``apart``, what is the potential's and the rest."""
        return T, V

    def climb(self, t: float, x: Array, g: Array) -> float:
        """Return dV/dt at a state."""
        return self.vectors.dot(g, self.combine(t, x, g, self.vectors.empty(self.size, x)))

    def knot(self, t: float, x: Array) -> Knot:
        """Evaluate at (t, x), one gradient; the knot keeps x itself and a copy of the gradient."""
        if self._first is None:
            V, slope = self.gradient(self.position(x))
        else:
            self.counts.gradient(*self._counted())
            (V, slope), self._first = self._first, None
        slope = self.vectors.clone(slope)
        return Knot(t, x, V, self.kinetic(x), self.climb(t, x, slope), slope)

    def check(self, t: float, x: Array) -> None:
        """Look once, before any work, at what the user's functions return.

        Raises
        ------
        ArgumentError, ArgumentTypeError
            With the way out.
        """

    def _check_energy(self, energy: Any, z: Array) -> None:
        """Check shapes of an energy function and its gradient at z."""
        if isinstance(energy, NetworkLoss):
            if len(z) != energy.dim:
                start = "V.initial_state()" if self.has_split else "V.initial_state()[:V.dim]"
                raise ArgumentError(f"the network has {energy.dim} parameters, x0 brings {len(z)} positions: use {start}")
            return
        n = getattr(energy, "dim", None)
        if n is not None and n != len(z):
            raise ArgumentError(f"the potential has {n} dimensions, x0 brings {len(z)} positions")
        if isinstance(energy, FunctionPotential) and self.ids is None:
            self._start_with(*energy.check(self.vectors.tensor(z)))
            return
        if self.ids is not None:
            self._check_rows(energy, z)
            return
        argument = self.vectors.tensor(z) if self.tensors else z
        V, slope = getattr(energy, "check_start", energy.value_and_grad)(argument)
        if np.shape(V) != ():
            raise ArgumentError(f"the potential returned shape {tuple(np.shape(V))}, not (): end with .sum(-1)")
        if tuple(np.shape(slope)) != (len(z),):
            raise ArgumentError(f"the potential's gradient has shape {tuple(np.shape(slope))}, not ({len(z)},)")
        _check_kind(slope, argument)
        self._start_with(V, slope)

    def spend_check(self) -> None:
        """Count the evaluation of the check, which this motion does not begin with."""
        if self._first is not None:
            self._first = None
            self.counts.gradient()

    def _check_rows(self, energy: Any, z: Array) -> None:
        """Check the shapes of a batch's answers: row by row."""
        vectors: Any = self.vectors
        as_tensors = isinstance(vectors, TorchRows) or self.tensors or isinstance(energy, FunctionPotential)
        argument = vectors.tensor(z) if as_tensors else vectors.numpy(z)
        shape = tuple(argument.shape)
        if isinstance(energy, FunctionPotential):
            V, slope = FunctionPotential(_row_by_row(energy.function)).check(argument)
        else:
            V, slope = energy.value_and_grad(argument)
        if tuple(np.shape(V)) != shape[:1]:
            raise ArgumentError(_not_row_by_row(np.shape(V), shape))
        if tuple(np.shape(slope)) != shape:
            raise ArgumentError(f"the potential's gradient has shape {tuple(np.shape(slope))}, not {shape}, that of its argument")
        _check_kind(slope, argument)
        heights = np.array(V.detach().cpu().numpy() if isinstance(V, torch.Tensor) else V, dtype=np.float64)
        self._first = (heights, vectors.clone((vectors.from_tensor if as_tensors else vectors.from_numpy)(slope)))

    def _start_with(self, height: Any, slope: Any) -> None:
        """Keep the evaluation of the check: it is the run's first."""
        if isinstance(slope, torch.Tensor):
            slope = self.vectors.from_tensor(slope if is_dual(slope) else slope.detach())  # detaching drops a tangent
        self._first = (float(height), slope)


class HeavyBallMotion(Motion):
    """q' = p/m, p' = -grad V - gamma p/m + u."""

    has_split = quadratic = free_powers = True

    def __init__(self, system: HeavyBall, vectors: Vectors, size: int, *, tensors: bool, batch: int | None = None) -> None:
        super().__init__(system, vectors, size, tensors=tensors, batch=batch)
        self.dim = size // 2
        mass = system.mass if batch is None or np.ndim(system.mass) == 0 else np.asarray(system.mass)[:, None]
        self.drift_mass = mass
        self.mass: Coefficient = vectors.coefficient(mass)
        self.inverse_mass: Coefficient = vectors.coefficient(1 / mass)
        self.quickness = float(np.sqrt(2 / np.min(system.mass)))
        for law in system.laws.values():
            check_rows(law, batch)
        self.law: FrictionLaw = next(iter(system.laws.values()))
        if self.ids is not None and self.modes is not None:
            self.law = RowFriction(list(system.laws.values()), self.modes, self.ids)  # type: ignore[assignment]
        self._bind(system.potential)

    def position(self, x: Array) -> Array:
        """Return q, a view."""
        return x[: self.dim]

    def follow(self, mode: str, t: float) -> None:
        """See Motion; a law whose clock starts at the entry is told the time."""
        if self.ids is not None:
            raise TypeError("the modes of a batch are set by rows")
        laws = self.system.laws
        self.law = entered(laws[mode] if mode in laws else laws[""], t)

    def set_modes(self, rows: Any, mode: int, t: Any = float("nan")) -> None:
        """Have some rows of a batch follow the law of a mode, an index into ``list(system.laws)``, from time t (or (k,)) on."""
        self._row_law().set(np.asarray(rows, dtype=np.intp), mode, t)

    @property
    def version(self) -> int:
        """How often modes of the batch have changed: coefficients computed before are stale for ``changed_since`` alone."""
        return self._row_law().version

    def changed_since(self, version: int) -> Any:
        """Return the rows whose mode was set after a version, (j,) int; None where all must be taken for changed."""
        return self._row_law().changed_since(version)

    def _row_law(self) -> RowFriction:
        if not isinstance(self.law, RowFriction):
            raise TypeError("a run of one trajectory has no rows")
        return self.law

    def take(self, rows: Any) -> Any:
        """See Motion."""
        part = super().take(rows)
        part.law = self._row_law().take(np.asarray(rows, dtype=np.intp))
        part.modes = part.law.modes
        part._bind(self.system.potential)
        return part

    def damping(self, t: Any, h: Any) -> Damping:
        """Return the exact damped drift of the current law from t over h.

        In a batch a part is a float or (n, 1) where all rows share it, (k,) or (n, k) otherwise; ``lost`` (k,) is the host's.
        """
        coefficient = self.vectors.coefficient
        if isinstance(self.law, RowFriction):
            decay, drift, lost = self.law.damping(self.drift_mass, t, h)
            return Damping(coefficient(decay), coefficient(drift), lost if np.ndim(lost) == 1 else coefficient(lost))
        decay, drift, lost = damping(self.law, self.drift_mass, t, h)
        return Damping(coefficient(decay), coefficient(drift), coefficient(lost))

    def weigh(self, weight: Coefficient, p: Array) -> Any:
        """Return the sum of weight p^2."""
        dot = self.vectors.dot
        if isinstance(weight, float):
            return weight * dot(p, p)
        if self.ids is not None and weight.ndim == 1:  # a weight of each row
            return weight * dot(p, p)
        return dot(weight * p, p)

    def kinetic(self, x: Array) -> Any:
        """Return T = p.p / 2m."""
        return self.weigh(self.inverse_mass, x[self.dim :]) / 2

    def climb(self, t: Any, x: Array, g: Array) -> Any:
        """Return dV/dt = grad V . p/m."""
        p, w = x[self.dim :], self.inverse_mass
        return w * self.vectors.dot(g, p) if isinstance(w, float) else self.vectors.dot(w * g, p)

    def rate(self, t: Any) -> Coefficient:
        """Return gamma at time t as a coefficient."""
        rate = self.law.rate(t)
        return rate if self.ids is None else self.vectors.coefficient(rate)

    def acceleration(self, t: Any, x: Array, g: Array) -> Array:
        """Return q'' at a state, as a new vector."""
        push = -g - self.rate(t) * (x[self.dim :] * self.inverse_mass)
        u = self.force(t, self.position(x))
        return (push if u is None else push + u) * self.inverse_mass

    def combine(self, t: Any, x: Array, g: Array, out: Array) -> Array:
        """Write (p/m, -grad V - gamma p/m + u) into out."""
        n = self.dim
        velocity = x[n:] * self.inverse_mass
        out[:n] = velocity
        out[n:] = -g
        out[n:] -= self.rate(t) * velocity
        u = self.force(t, x[:n])
        if u is not None:
            out[n:] += u
        return out

    def powers(self, t: Any, x: Array, g: Array | None = None) -> tuple[Any, Any]:
        """Return gamma |p/m|^2 and u . p/m; no gradient is needed."""
        velocity = x[self.dim :] * self.inverse_mass
        u = self.force(t, self.position(x))
        dot = self.vectors.dot
        rate = self.law.rate(t)
        if self.ids is None:
            return float(rate) * dot(velocity, velocity), 0.0 if u is None else dot(u, velocity)
        lost: Any = dot(velocity, velocity)
        return rate * lost, np.zeros_like(lost) if u is None else dot(u, velocity)

    def check(self, t: float, x: Array) -> None:
        """See Motion."""
        q = self.position(x)
        self._check_energy(self.system.potential, q)
        if np.ndim(self.system.mass) and len(self.system.mass) != self.dim:
            raise ArgumentError(f"mass has {len(self.system.mass)} entries, the system {self.dim} positions")
        positions = self.vectors.numpy(q)
        _check_input(self.input, t, positions if self.ids is None else positions[0], self.dim)


class RelativisticMotion(HeavyBallMotion):
    """q' = v(p), p' = -grad V - gamma p/m, of one trajectory."""

    quadratic = free_powers = False

    def __init__(self, system: HeavyBall, vectors: Vectors, size: int, *, tensors: bool) -> None:
        super().__init__(system, vectors, size, tensors=tensors)
        self.shape: Any = system.kinetic

    def check(self, t: float, x: Array) -> None:
        """See Motion; the square of p is a number, which no tangent follows."""
        if isinstance(x, torch.Tensor) and is_dual(x):
            raise ArgumentError(f"{self.shape} has no forward-mode derivatives: take those of a PortHamiltonianSystem, or differences")
        super().check(t, x)

    def _share(self, p: Array) -> float:
        """Return s of v = s p."""
        return float(self.shape.speed_over_momentum(float(self.vectors.dot(p, p)), self.drift_mass))

    def drift(self, t: float, h: float, q: Array, p: Array) -> float:
        """Apply the exact damped drift to q and p; return the work of friction."""
        vectors = self.vectors
        decay, along, lost = self.shape.drift(float(vectors.dot(p, p)), self.drift_mass, self.law, t, h)
        vectors.axpy(along, p, q)
        vectors.scale(decay, p)
        return float(lost)

    def kinetic(self, x: Array) -> Any:
        """Return T of |p|^2."""
        p = x[self.dim :]
        return float(self.shape.energy(float(self.vectors.dot(p, p)), self.drift_mass))

    def climb(self, t: Any, x: Array, g: Array) -> Any:
        """Return dV/dt = grad V . v."""
        p = x[self.dim :]
        return self._share(p) * self.vectors.dot(g, p)

    def acceleration(self, t: Any, x: Array, g: Array) -> Array:
        """Return q'' at a state: ``v' = (s p' - s^3 (p.p') p/c^2)``, s = v/p."""
        p, dot = x[self.dim :], self.vectors.dot
        s = self._share(p)
        push = -g - self.rate(t) * (p * self.inverse_mass)
        return s * push - (s**3 * float(dot(p, push)) / self.shape.c**2) * p

    def combine(self, t: Any, x: Array, g: Array, out: Array) -> Array:
        """Write (v, -grad V - gamma p/m) into out."""
        n = self.dim
        out[:n] = self._share(x[n:]) * x[n:]
        out[n:] = -g
        out[n:] -= self.rate(t) * (x[n:] * self.inverse_mass)
        return out

    def powers(self, t: Any, x: Array, g: Array | None = None) -> tuple[Any, Any]:
        """Return (gamma/m) p.v, and 0; no gradient is needed."""
        p = x[self.dim :]
        return float(self.law.rate(t)) / self.drift_mass * self._share(p) * float(self.vectors.dot(p, p)), 0.0


class GradientFlowMotion(Motion):
    """q' = -grad V."""

    def __init__(self, system: GradientFlow, vectors: Vectors, size: int, *, tensors: bool, batch: int | None = None) -> None:
        super().__init__(system, vectors, size, tensors=tensors, batch=batch)
        self._bind(system.potential)

    def take(self, rows: Any) -> Any:
        """See Motion."""
        part = super().take(rows)
        part._bind(self.system.potential)
        return part

    def combine(self, t: float, x: Array, g: Array, out: Array) -> Array:
        """Write -grad V into out."""
        out[:] = -g
        return out

    def powers(self, t: Any, x: Array, g: Array | None) -> tuple[Any, Any]:
        """Return |grad V|^2 and 0."""
        lost: Any = self.vectors.dot(g, g)
        return lost, 0.0 if self.ids is None else np.zeros_like(lost)

    def check(self, t: float, x: Array) -> None:
        """See Motion."""
        self._check_energy(self.system.potential, x)


class PortMotion(Motion):
    """x' = (J - R) grad H + G u, y = G^T grad H."""

    def __init__(self, system: PortHamiltonianSystem, vectors: Vectors, size: int, *, tensors: bool) -> None:
        super().__init__(system, vectors, size, tensors=tensors and not getattr(system.energy, "either_kind", False))
        self.as_tensors = tensors
        self._bind(system.energy)
        self.apart = hasattr(system.energy, "potential_of")

    def shares(self, x: Array, T: float, V: float) -> tuple[float, float]:  # noqa: N803
        """See Motion; V is the whole energy, T is 0."""
        if not self.apart:
            return T, V
        share = float(self.system.energy.potential_of(V, x))
        return V - share, share

    def _matrix(self, matrix: Any, x: Array) -> Any:
        """Return J, R or G at x in the run's kind of array."""
        vectors = self.vectors
        if isinstance(vectors, NumpyVectors):
            return np.asarray(matrix(vectors.tensor(x)) if callable(matrix) else matrix, dtype=vectors.dtype)
        return torch.as_tensor(matrix(x) if callable(matrix) else matrix, dtype=x.dtype, device=x.device)

    def product(self, matrix: Any, x: Array, v: Array) -> Array:
        """Return J, R or G at x times a vector."""
        if not isinstance(matrix, MatrixFree):
            return self._matrix(matrix, x) @ v
        if matrix.either_kind or not self.as_tensors:
            return matrix.product(x, v)
        tensor = self.vectors.tensor
        return self.vectors.from_tensor(matrix.product(tensor(x), tensor(v)))

    def combine(self, t: float, x: Array, g: Array, out: Array) -> Array:
        """Write (J - R) grad H + G u into out."""
        out[:] = self.product(self.system.J, x, g)
        out -= self.product(self.system.R, x, g)
        u = self.force(t, x)
        if u is not None:
            out += self.product(self.system.G, x, u)
        return out

    def powers(self, t: float, x: Array, g: Array | None) -> tuple[float, float]:
        """Return grad H . R grad H and y . u."""
        dissipated = float(g @ self.product(self.system.R, x, g))
        u = self.force(t, x)
        return dissipated, 0.0 if u is None else float(g @ self.product(self.system.G, x, u))

    def check(self, t: float, x: Array) -> None:
        """See Motion."""
        n, system = len(x), self.system
        if system.size is not None and system.size != n:
            raise ArgumentError(f"x0 has {n} components, the matrices of the system are for {system.size}")
        self._check_energy(system.energy, x)
        for name in ("J", "R"):
            matrix = getattr(system, name)
            if isinstance(matrix, MatrixFree):
                shape = tuple(self.product(matrix, x, self.vectors.clone(x)).shape)
                if shape != (n,):
                    raise ArgumentError(f"the product of {name} with a vector has shape {shape}, not ({n},)")
                continue
            shape = self._matrix(matrix, x).shape
            if tuple(shape) != (n, n):
                raise ArgumentError(f"{name}(x) has shape {tuple(shape)}, not ({n}, {n})")
        if system.G is not None:
            shape = tuple(self._matrix(system.G, x).shape)
            if len(shape) != 2 or shape[0] != n:
                raise ArgumentError(f"G(x) has shape {shape}, not ({n}, m)")
            _check_input(self.input, t, self.vectors.numpy(x), shape[1])


class PlainMotion(Motion):
    """A plain ``fun(t, x)``: no energy, no gradient, the vector field alone."""

    has_energy = False

    def __init__(self, system: Callable[..., Any], vectors: Vectors, size: int, *, tensors: bool, args: tuple[Any, ...] = ()) -> None:
        super().__init__(system, vectors, size, tensors=tensors)
        self.args = args
        self.input = None

    def field(self, t: float, x: Array, out: Array) -> tuple[float, Any, Array]:
        """Call fun; the energy is 0 and its gradient None."""
        self.counts.gradient()
        vectors = self.vectors
        f = np.asarray(self.system(t, vectors.numpy(x), *self.args))
        if f.dtype.kind == "c":
            raise ArgumentTypeError("fun(t, x) returned complex numbers: write real and imaginary parts as components")
        f = f.astype(vectors.dtype, copy=False)
        if f.shape != (self.size,):
            raise ArgumentError(f"fun(t, x) returned shape {f.shape}, x has ({self.size},)")
        out[:] = f if isinstance(vectors, NumpyVectors) else torch.as_tensor(f, device=x.device)
        return 0.0, None, out

    def climb(self, t: float, x: Array, g: Array | None) -> float:
        """Return 0: there is no V."""
        return 0.0

    def knot(self, t: float, x: Array) -> Knot:
        """Call fun at (t, x)."""
        x = self.vectors.clone(x)
        f = self.field(t, x, self.vectors.empty(self.size, x))[2]
        return Knot(t, x, 0.0, 0.0, 0.0, None, f)


def supports_rows(system: Any) -> bool:
    """Say whether a batch of a system steps all rows at once: a HeavyBall or GradientFlow whose potential is no network's loss."""
    plain = isinstance(system, (HeavyBall, GradientFlow)) and not isinstance(system.potential, NetworkLoss)
    return plain and getattr(system, "kinetic", None) is None


def bind(
    system: Any, vectors: Vectors, size: int, *, tensors: bool, args: tuple[Any, ...] = (), batch: int | None = None
) -> Motion:
    """Bind a system, or a plain ``fun(t, x, *args)``, to the arrays of a run.

    With ``vectors`` of a batch (``NumpyRows``, ``TorchRows``), ``batch`` is its number of trajectories.

    Raises
    ------
    ArgumentTypeError
        Not a system.
    """
    if isinstance(vectors, Rows) != (batch is not None):
        raise TypeError("vectors of a batch and its number of trajectories go together")
    if isinstance(system, HybridAutomaton):
        family = {name: bind(mode, vectors, size, tensors=tensors, args=args) for name, mode in system.modes.items()}
        for motion in family.values():
            motion.join(family)
        return family[system.initial]
    if isinstance(system, HeavyBall) and system.kinetic is not None and batch is None:
        return RelativisticMotion(system, vectors, size, tensors=tensors)
    if isinstance(system, HeavyBall):
        return HeavyBallMotion(system, vectors, size, tensors=tensors, batch=batch)
    if isinstance(system, GradientFlow):
        return GradientFlowMotion(system, vectors, size, tensors=tensors, batch=batch)
    if batch is not None:
        raise ArgumentTypeError(f"a batch is of a HeavyBall or a GradientFlow, not {system!r}: one trajectory at a time")
    if isinstance(system, PortHamiltonianSystem):
        return PortMotion(system, vectors, size, tensors=tensors)
    if callable(system) and not isinstance(system, type):
        return PlainMotion(system, vectors, size, tensors=tensors, args=args)
    raise ArgumentTypeError(f"the system is a HeavyBall, GradientFlow, PortHamiltonianSystem or fun(t, x), not {system!r}")


def _check_input(u: Callable[[float, Any], Any] | None, t: float, z: np.ndarray[Any, Any], size: int) -> None:
    if u is not None:
        shape = np.shape(u(t, z.copy()))
        if shape != (size,):
            raise ArgumentError(f"the input u returned shape {shape}, the port takes ({size},)")


def _check_kind(slope: Any, argument: Any) -> None:
    """Check that a gradient is of the kind and precision of its argument."""
    if type(slope) is not type(argument):
        raise ArgumentTypeError(
            f"the potential's gradient is a {type(slope).__name__}, its argument a {type(argument).__name__}: answer in kind"
        )
    if slope.dtype != argument.dtype:
        got, given = (str(a.dtype).removeprefix("torch.") for a in (slope, argument))
        raise ArgumentTypeError(f"the potential's gradient is {got} at a position of {given}: give its constants q's dtype")


def _not_row_by_row(shape: Any, batch: tuple[int, ...]) -> str:
    return f"the potential returned shape {tuple(shape)} for a batch of shape {batch}, not ({batch[0]},): row by row, as in (q**2).sum(-1)"


def _row_by_row(function: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
    """Return a potential's function that says so when its answer is not one height a row."""

    def checked(q: torch.Tensor) -> Any:
        V = function(q)
        if isinstance(V, torch.Tensor) and V.shape != q.shape[:-1]:
            raise ArgumentError(_not_row_by_row(V.shape, tuple(q.shape)))
        return V

    return checked
