"""A system bound to the arrays of one run: gradients that are counted, the current friction, powers, and paths inside a step.

Every method sees a system through four operations: ``gradient`` (one evaluation, the unit of cost), ``combine`` (the vector field
from it), ``powers`` (what is dissipated and supplied) and, for the heavy ball alone, ``damping`` (the exact damped drift).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from phdyn.automaton import HybridAutomaton
from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.friction import Damping, damping, entered
from phdyn.potentials import FunctionPotential, NetworkLoss
from phdyn.systems import GradientFlow, HeavyBall, PortHamiltonianSystem, QuadraticForm, height
from phdyn.typing import Array, Coefficient, FrictionLaw
from phdyn.vectors import NumpyVectors, Vectors

NO_LIMIT = float("inf")


class Halt(Exception):  # noqa: N818 (not an error: how a run that cannot go on says so)
    """Ends a run with a status; raised inside solvers that cannot be stopped otherwise."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Knot:
    """A state on the trajectory with what is known there: it starts a march, and ends a step.

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


class Counts:
    """What a run has cost; the motions of its modes share it."""

    __slots__ = ("nfev", "nvev", "njev", "nlu", "nrejected", "max_nfev")  # noqa: RUF023 (the order in which Motion names them)

    def __init__(self) -> None:
        self.nfev = self.nvev = self.njev = self.nlu = self.nrejected = 0
        self.max_nfev: float = NO_LIMIT


def _counted(name: str) -> Any:
    """Return a property of a motion that its counts hold."""

    def read(motion: Motion) -> Any:
        return getattr(motion.counts, name)

    def write(motion: Motion, value: Any) -> None:
        setattr(motion.counts, name, value)

    return property(read, write, doc=f"{name} of the run so far; see Solution.")


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
    """

    has_energy = True
    """Whether there is an account to keep (not for a plain ``fun``)."""
    has_split = False
    """Whether H = T(p) + V(q) with x = (q, p)."""
    quickness: float = 0.0
    """Largest speed at kinetic energy 1: the square root of 2/m."""
    free_powers = False
    """Whether dissipated and supplied power need no gradient."""
    nfev, nvev, njev, nlu, nrejected, max_nfev = (_counted(name) for name in Counts.__slots__)

    def __init__(self, system: Any, vectors: Vectors, size: int, *, tensors: bool) -> None:
        self.system = system
        self.vectors = vectors
        self.size = size
        self.dim = size
        self.tensors = tensors
        self.counts = Counts()
        self.family: dict[str, Motion] = {}
        self.at_home = False
        self._first: tuple[float, Array] | None = None
        self.input: Callable[[float, Any], Any] | None = getattr(system, "u", None)
        self.gradient: Callable[[Array], tuple[float, Array]]
        self.value: Callable[[Array], float]

    # --- counting -------------------------------------------------------------------------------------------------------------
    def _count(self) -> None:
        counts = self.counts
        counts.nfev += 1
        if counts.nfev > counts.max_nfev:
            counts.nfev -= 1
            raise Halt(-3, f"the budget of max_nfev={counts.max_nfev:g} gradient evaluations is spent")

    def _bind(self, energy: Any) -> None:
        """Set ``gradient`` and ``value`` for an energy function on this run's kind of array."""
        if isinstance(energy, NetworkLoss):
            self._bind_network(energy)
        elif isinstance(self.vectors, NumpyVectors) and (self.tensors or isinstance(energy, FunctionPotential)):
            self._bind_tensors(energy)
        else:
            self._bind_arrays(energy)

    def _bind_arrays(self, energy: Any) -> None:
        value_and_grad = energy.value_and_grad

        def gradient(q: Array) -> tuple[float, Array]:
            self._count()
            V, slope = value_and_grad(q)
            return float(V), slope

        def height_only(q: Array) -> float:
            self.counts.nvev += 1
            return float(height(energy, q))

        self.gradient, self.value = gradient, height_only

    def _bind_tensors(self, energy: Any) -> None:
        value_and_grad, tensor = energy.value_and_grad, torch.from_numpy

        def gradient(q: Array) -> tuple[float, Array]:
            self._count()
            V, slope = value_and_grad(tensor(q))
            return V.item(), slope.detach().numpy()

        def height_only(q: Array) -> float:
            self.counts.nvev += 1
            return float(height(energy, tensor(q)))

        self.gradient, self.value = gradient, height_only

    def _bind_network(self, loss: NetworkLoss) -> None:
        """Step in the module's own buffers where the precision is the same; otherwise one copy a gradient."""
        vectors = self.vectors
        dtype = np.dtype(str(loss.dtype).removeprefix("torch."))
        home = dtype == vectors.dtype

        def gradient(q: Array) -> tuple[float, Array]:
            self._count()
            evaluate = loss.value_and_grad if self.at_home else loss.evaluate_scratch
            V, slope = evaluate(vectors.tensor(q))
            if isinstance(vectors, NumpyVectors):
                slope = slope.numpy() if home else slope.numpy().astype(vectors.dtype)
            return V.item(), slope

        def height_only(q: Array) -> float:
            self.counts.nvev += 1
            return float(loss.value(vectors.tensor(q).to(loss.dtype)))

        self.gradient, self.value = gradient, height_only

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

    def force(self, t: float, z: Array) -> Array | None:
        """Return the input u at (t, z) in the run's kind of array, or None without an input."""
        if self.input is None:
            return None
        u = np.asarray(self.input(t, self.vectors.numpy(z)), dtype=self.vectors.dtype)
        return u if isinstance(self.vectors, NumpyVectors) else torch.as_tensor(u, device=z.device)

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

    def kinetic(self, x: Array) -> float:
        """Return T at a state (0 without a split)."""
        return 0.0

    def climb(self, t: float, x: Array, g: Array) -> float:
        """Return dV/dt at a state."""
        return float(self.vectors.dot(g, self.combine(t, x, g, self.vectors.empty(self.size, x))))

    def knot(self, t: float, x: Array) -> Knot:
        """Evaluate at (t, x), one gradient; the knot keeps x itself and a copy of the gradient."""
        if self._first is None:
            V, slope = self.gradient(self.position(x))
        else:
            self._count()
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
        if isinstance(energy, FunctionPotential):
            self._start_with(*energy.check(self.vectors.tensor(z)))
            return
        argument = self.vectors.tensor(z) if self.tensors else z
        V, slope = energy.value_and_grad(argument)
        if np.shape(V) != ():
            raise ArgumentError(f"the potential returned shape {tuple(np.shape(V))}, not (): end with .sum(-1)")
        if tuple(np.shape(slope)) != (len(z),):
            raise ArgumentError(f"the potential's gradient has shape {tuple(np.shape(slope))}, not ({len(z)},)")
        if type(slope) is not type(argument):
            raise ArgumentTypeError(
                f"the potential's gradient is a {type(slope).__name__}, its argument a {type(argument).__name__}: answer in kind"
            )
        if slope.dtype != argument.dtype:
            got, given = (str(a.dtype).removeprefix("torch.") for a in (slope, argument))
            raise ArgumentTypeError(f"the potential's gradient is {got} at a position of {given}: give its constants q's dtype")
        self._start_with(V, slope)

    def spend_check(self) -> None:
        """Count the evaluation of the check, which this motion does not begin with."""
        if self._first is not None:
            self._first = None
            self._count()

    def _start_with(self, height: Any, slope: Any) -> None:
        """Keep the evaluation of the check: it is the run's first."""
        g = self.vectors.from_tensor(slope.detach()) if isinstance(slope, torch.Tensor) else slope
        self._first = (float(height), g)


class HeavyBallMotion(Motion):
    """q' = p/m, p' = -grad V - gamma p/m + u."""

    has_split = True
    free_powers = True

    def __init__(self, system: HeavyBall, vectors: Vectors, size: int, *, tensors: bool) -> None:
        super().__init__(system, vectors, size, tensors=tensors)
        self.dim = size // 2
        self.mass: Coefficient = vectors.coefficient(system.mass)
        self.inverse_mass: Coefficient = vectors.coefficient(1 / system.mass)
        self.quickness = float(np.sqrt(2 / np.min(system.mass)))
        self.law: FrictionLaw = next(iter(system.laws.values()))
        self._bind(system.potential)

    def position(self, x: Array) -> Array:
        """Return q, a view."""
        return x[: self.dim]

    def follow(self, mode: str, t: float) -> None:
        """See Motion; a law whose clock starts at the entry is told the time."""
        laws = self.system.laws
        self.law = entered(laws[mode] if mode in laws else laws[""], t)

    def damping(self, t: float, h: float) -> Damping:
        """Return the exact damped drift of the current law from t over h."""
        decay, drift, lost = damping(self.law, self.system.mass, t, h)
        coefficient = self.vectors.coefficient
        return Damping(coefficient(decay), coefficient(drift), coefficient(lost))

    def weigh(self, weight: Coefficient, p: Array) -> float:
        """Return the sum of weight p^2."""
        dot = self.vectors.dot
        return weight * dot(p, p) if isinstance(weight, float) else dot(weight * p, p)

    def kinetic(self, x: Array) -> float:
        """Return T = p.p / 2m."""
        return self.weigh(self.inverse_mass, x[self.dim :]) / 2

    def climb(self, t: float, x: Array, g: Array) -> float:
        """Return dV/dt = grad V . p/m."""
        p, w = x[self.dim :], self.inverse_mass
        return w * self.vectors.dot(g, p) if isinstance(w, float) else self.vectors.dot(w * g, p)

    def acceleration(self, t: float, x: Array, g: Array) -> Array:
        """Return q'' at a state, as a new vector."""
        push = -g - self.law.rate(t) * (x[self.dim :] * self.inverse_mass)
        u = self.force(t, self.position(x))
        return (push if u is None else push + u) * self.inverse_mass

    def combine(self, t: float, x: Array, g: Array, out: Array) -> Array:
        """Write (p/m, -grad V - gamma p/m + u) into out."""
        n = self.dim
        velocity = x[n:] * self.inverse_mass
        out[:n] = velocity
        out[n:] = -g
        out[n:] -= self.law.rate(t) * velocity
        u = self.force(t, x[:n])
        if u is not None:
            out[n:] += u
        return out

    def powers(self, t: float, x: Array, g: Array | None = None) -> tuple[float, float]:
        """Return gamma |p/m|^2 and u . p/m; no gradient is needed."""
        velocity = x[self.dim :] * self.inverse_mass
        u = self.force(t, self.position(x))
        dot = self.vectors.dot
        return float(self.law.rate(t)) * dot(velocity, velocity), 0.0 if u is None else dot(u, velocity)

    def check(self, t: float, x: Array) -> None:
        """See Motion."""
        q = self.position(x)
        self._check_energy(self.system.potential, q)
        if np.ndim(self.system.mass) and len(self.system.mass) != self.dim:
            raise ArgumentError(f"mass has {len(self.system.mass)} entries, the system {self.dim} positions")
        _check_input(self.input, t, self.vectors.numpy(q), self.dim)


class GradientFlowMotion(Motion):
    """q' = -grad V."""

    def __init__(self, system: GradientFlow, vectors: Vectors, size: int, *, tensors: bool) -> None:
        super().__init__(system, vectors, size, tensors=tensors)
        self._bind(system.potential)

    def combine(self, t: float, x: Array, g: Array, out: Array) -> Array:
        """Write -grad V into out."""
        out[:] = -g
        return out

    def powers(self, t: float, x: Array, g: Array | None) -> tuple[float, float]:
        """Return |grad V|^2 and 0."""
        return float(self.vectors.dot(g, g)), 0.0

    def check(self, t: float, x: Array) -> None:
        """See Motion."""
        self._check_energy(self.system.potential, x)


class PortMotion(Motion):
    """x' = (J - R) grad H + G u, y = G^T grad H."""

    def __init__(self, system: PortHamiltonianSystem, vectors: Vectors, size: int, *, tensors: bool) -> None:
        super().__init__(system, vectors, size, tensors=tensors)
        self._bind(system.energy)

    def _matrix(self, matrix: Any, x: Array) -> Any:
        """Return J, R or G at x in the run's kind of array."""
        vectors = self.vectors
        if isinstance(vectors, NumpyVectors):
            return np.asarray(matrix(vectors.tensor(x)) if callable(matrix) else matrix, dtype=vectors.dtype)
        return torch.as_tensor(matrix(x) if callable(matrix) else matrix, dtype=x.dtype, device=x.device)

    def combine(self, t: float, x: Array, g: Array, out: Array) -> Array:
        """Write (J - R) grad H + G u into out."""
        out[:] = (self._matrix(self.system.J, x) - self._matrix(self.system.R, x)) @ g
        u = self.force(t, x)
        if u is not None:
            out += self._matrix(self.system.G, x) @ u
        return out

    def powers(self, t: float, x: Array, g: Array | None) -> tuple[float, float]:
        """Return grad H . R grad H and y . u."""
        dissipated = float(g @ (self._matrix(self.system.R, x) @ g))
        u = self.force(t, x)
        return dissipated, 0.0 if u is None else float(g @ (self._matrix(self.system.G, x) @ u))

    def check(self, t: float, x: Array) -> None:
        """See Motion."""
        n, system = len(x), self.system
        if system.size is not None and system.size != n:
            raise ArgumentError(f"x0 has {n} components, the matrices of the system are for {system.size}")
        self._check_energy(system.energy, x)
        for name in ("J", "R"):
            shape = self._matrix(getattr(system, name), x).shape
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
        self._count()
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


def bind(system: Any, vectors: Vectors, size: int, *, tensors: bool, args: tuple[Any, ...] = ()) -> Motion:
    """Bind a system, or a plain ``fun(t, x, *args)``, to the arrays of a run.

    Raises
    ------
    ArgumentTypeError
        Not a system.
    """
    if isinstance(system, HybridAutomaton):
        family = {name: bind(mode, vectors, size, tensors=tensors, args=args) for name, mode in system.modes.items()}
        for motion in family.values():
            motion.join(family)
        return family[system.initial]
    if isinstance(system, HeavyBall):
        return HeavyBallMotion(system, vectors, size, tensors=tensors)
    if isinstance(system, GradientFlow):
        return GradientFlowMotion(system, vectors, size, tensors=tensors)
    if isinstance(system, PortHamiltonianSystem):
        return PortMotion(system, vectors, size, tensors=tensors and not isinstance(system.energy, QuadraticForm))
    if callable(system) and not isinstance(system, type):
        return PlainMotion(system, vectors, size, tensors=tensors, args=args)
    raise ArgumentTypeError(f"the system is a HeavyBall, GradientFlow, PortHamiltonianSystem or fun(t, x), not {system!r}")


def _check_input(u: Callable[[float, Any], Any] | None, t: float, z: np.ndarray[Any, Any], size: int) -> None:
    if u is not None:
        shape = np.shape(u(t, z.copy()))
        if shape != (size,):
            raise ArgumentError(f"the input u returned shape {shape}, the port takes ({size},)")
