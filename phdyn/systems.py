"""What moves: the heavy ball with friction, gradient flow, the general port-Hamiltonian system, and their inputs.

A system is data. ``phdyn.motion`` binds it to the arrays of a run.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.friction import SwitchedFriction, as_friction
from phdyn.kinetic import RelativisticKinetic
from phdyn.matrix_free import MatrixFree
from phdyn.potentials import NetworkLoss, as_potential
from phdyn.potentials.products import direction, position
from phdyn.transitions import Transition
from phdyn.typing import FrictionLaw, Potential


class HeavyBall:
    """The heavy ball with friction: q' = p/m, p' = -grad V(q) - gamma p/m + u.

    Its energy H = p.p/2m + V(q) obeys dH/dt = -gamma |p|^2/m^2 + (p/m).u. With another kinetic energy T(p) the velocity is v = dT/dp,
    friction still acts on the momentum, ``p' = -grad V - gamma p/m``, and dH/dt = -(gamma/m) p.v: the flow stays conformally symplectic.

    Parameters
    ----------
    potential : Potential or callable
        The height V: a torch function ``(..., n) -> (...)``, or an object with ``value`` and ``value_and_grad``.
    mass : float or (n,) array
        Inertia; per parameter if an array (the flow is then not conformally symplectic: friction is gamma p/m).
    friction : float, (batch,) floats, law, or SwitchedFriction
        gamma >= 0 (1/time at mass 1).
    kinetic : RelativisticKinetic, optional
        T instead of p.p/2m; of one mass, without an input.
    u : callable, Steps or Sampled, optional
        Force ``u(t, q) -> (n,)`` through the port; NumPy.

    Raises
    ------
    ArgumentError
        A mass that is not positive and finite, a negative friction; a kinetic energy with masses or an input.
    """

    def __init__(
        self,
        potential: Potential | Callable[[Any], Any],
        *,
        mass: Any = 1.0,
        friction: Any = 0.0,
        kinetic: RelativisticKinetic | None = None,
        u: Any = None,
    ) -> None:
        self.potential: Any = as_potential(potential)
        self.mass = _checked_mass(mass)
        self.kinetic = _checked_kinetic(kinetic, self.mass, u)
        self.friction = friction if isinstance(friction, SwitchedFriction) else as_friction(friction)
        self.u = _checked_input(u)

    @property
    def laws(self) -> Mapping[str, FrictionLaw]:
        """Friction in each mode; one mode without a name where nothing switches."""
        return self.friction.laws if isinstance(self.friction, SwitchedFriction) else {"": self.friction}

    @property
    def transitions(self) -> list[Transition]:
        """What switches the mode."""
        return self.friction.transitions if isinstance(self.friction, SwitchedFriction) else []

    def hamiltonian(self, x: Any) -> Any:
        """Return H = T + V at states x: ``(..., 2n) -> (...)``, in kind (a list gives NumPy)."""
        x = _in_kind(x)
        n = x.shape[-1] // 2
        p = x[..., n:]
        if self.kinetic is not None:
            return self.kinetic.energy((p * p).sum(-1), self.mass) + height(self.potential, x[..., :n])
        return (p * p / _like(2 * self.mass, x)).sum(-1) + height(self.potential, x[..., :n])

    def __repr__(self) -> str:
        return f"HeavyBall({describe(self.potential)})"


class GradientFlow:
    """Steepest descent in continuous time: q' = -grad V(q); its energy is H = V and dH/dt = -|grad V|^2.

    Parameters
    ----------
    potential : Potential or callable
        As for HeavyBall. The state is x = q.
    """

    def __init__(self, potential: Potential | Callable[[Any], Any]) -> None:
        self.potential: Any = as_potential(potential)

    def hamiltonian(self, x: Any) -> Any:
        """Return V at states x: ``(..., n) -> (...)``, in kind (a list gives NumPy)."""
        return height(self.potential, _in_kind(x))

    def __repr__(self) -> str:
        return f"GradientFlow({describe(self.potential)})"


class PortHamiltonianSystem:
    """The general system x' = (J - R) grad H(x) + G u, y = G^T grad H(x), with dH/dt = -grad H^T R grad H + y.u.

    Parameters
    ----------
    hamiltonian : callable, Potential or (n, n) array
        H: a torch function ``(..., n) -> (...)``, an object with ``value`` and ``value_and_grad``, or the symmetric matrix Q of
        H = x^T Q x / 2.
    J, R : (n, n) array or callable
        Interconnection (skew) and dissipation (symmetric, positive semidefinite), or torch functions of x. Arrays are checked here;
        functions are not: the energy balance judges them. ``MatrixFree(product)`` is a matrix that is not formed: for states as large as a
        network.
    G : (n, m) array or callable, optional
        Port matrix.
    u : callable, Steps or Sampled, optional
        Input ``u(t, x) -> (m,)``; NumPy.
    units : dict, optional
        Labels for figures, such as ``{"energy": "J", "time": "s"}``.

    Raises
    ------
    ArgumentError
        Shapes that do not fit, J not skew, R not symmetric positive semidefinite, u without G.
    """

    def __init__(
        self,
        hamiltonian: Any,
        J: Any,  # noqa: N803 (the field's letters)
        R: Any,  # noqa: N803
        G: Any = None,  # noqa: N803
        *,
        u: Any = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        self.energy: Any = QuadraticForm(hamiltonian) if _is_matrix(hamiltonian) else as_potential(hamiltonian)
        self.J = J if callable(J) or isinstance(J, MatrixFree) else _checked_skew(J)
        self.R = R if callable(R) or isinstance(R, MatrixFree) else _checked_dissipation(R)
        self.G = G if callable(G) or G is None else _finite_matrix(G, "G")
        self.u = _checked_input(u)
        self.units = dict(units or {})
        if u is not None and G is None:
            raise ArgumentError("an input u needs a port matrix G (n, m) through which it acts")
        sizes = {name: len(m) for name, m in (("J", self.J), ("R", self.R), ("G", self.G)) if isinstance(m, np.ndarray)}
        if isinstance(self.energy, QuadraticForm):
            sizes["Q"] = self.energy.dim
        if len(set(sizes.values())) > 1:
            raise ArgumentError(f"the matrices differ in size: {sizes}")
        self.size: int | None = next(iter(sizes.values()), None)

    def hamiltonian(self, x: Any) -> Any:
        """Return H at states x: ``(..., n) -> (...)``, in kind (a list gives NumPy)."""
        return height(self.energy, _in_kind(x))

    def output(self, t: float, x: Any) -> Any:
        """Return y = G^T grad H at one state: ``(n,) -> (m,)``, in kind (a list gives NumPy).

        Raises
        ------
        ArgumentError
            The system has no port matrix.
        """
        if self.G is None:
            raise ArgumentError("the system has no port matrix G, so no output")
        x = _in_kind(x)
        gradient = self.energy.value_and_grad(x)[1]
        state = x if isinstance(x, torch.Tensor) else torch.tensor(x)
        port = torch.as_tensor(self.G(state) if callable(self.G) else self.G, dtype=state.dtype, device=state.device)
        return port.T @ gradient if isinstance(x, torch.Tensor) else port.numpy().T @ gradient

    def __repr__(self) -> str:
        return f"PortHamiltonianSystem({describe(self.energy)})"


class QuadraticForm:
    """H = x^T Q x / 2 for a symmetric matrix Q, on NumPy or torch."""

    either_kind = True  # an array where x0 was a tensor will do

    def __init__(self, matrix: Any) -> None:
        self.Q = _finite_matrix(matrix, "the matrix Q of the Hamiltonian")
        if not np.allclose(self.Q, self.Q.T, rtol=1e-12, atol=0):
            raise ArgumentError("the matrix Q of the Hamiltonian is not symmetric")
        self.dim = len(self.Q)

    def value(self, x: Any) -> Any:
        """Return H: ``(..., n) -> (...)``."""
        return self.value_and_grad(x)[0]

    def value_and_grad(self, x: Any) -> tuple[Any, Any]:
        """Return H and its gradient Q x."""
        gradient = x @ _like(self.Q, x)
        return (x * gradient).sum(-1) / 2, gradient

    def hvp(self, x: Any, v: Any) -> Any:
        """Return Q v."""
        x = position(x)
        return direction(x, v) @ _like(self.Q, x)

    def __repr__(self) -> str:
        return f"QuadraticForm(n = {self.dim})"


class Steps:
    """An input that is constant from each time on, and zero before the first: its jumps are step ends of every method.

    Parameters
    ----------
    times : (k,) array_like
        Increasing.
    values : (k, m) array_like
        The input from each time on.
    """

    def __init__(self, times: Any, values: Any) -> None:
        self.times, self.values = _checked_samples(times, values)

    def __call__(self, t: float, x: Any = None) -> np.ndarray[Any, Any]:
        """Return u(t), right-continuous."""
        return self.within(t, t)(t, x)

    def within(self, low: float, high: float) -> Callable[[float, Any], np.ndarray[Any, Any]]:
        """Return the input on a stretch without jumps, as it is inside: its value at either end is the limit from within."""
        k = bisect_right(self.times, (low + high) / 2)
        value = self.values[k - 1] if k else np.zeros_like(self.values[0])
        return lambda t, x: value  # noqa: ARG005


class Sampled:
    """An input linear between samples: zero before the first, held after the last. The samples' times are step ends.

    Parameters
    ----------
    times : (k,) array_like
        Increasing.
    values : (k, m) array_like
        The input at these times.
    """

    def __init__(self, times: Any, values: Any) -> None:
        self.times, self.values = _checked_samples(times, values)

    def __call__(self, t: float, x: Any = None) -> np.ndarray[Any, Any]:
        """Return u(t), right-continuous."""
        return self.within(t, t)(t, x)

    def within(self, low: float, high: float) -> Callable[[float, Any], np.ndarray[Any, Any]]:
        """Return the input on a stretch without samples inside."""
        k = bisect_right(self.times, (low + high) / 2)
        if k in (0, len(self.times)):
            value = self.values[-1] if k else np.zeros_like(self.values[0])
            return lambda t, x: value  # noqa: ARG005
        (t0, t1), (a, b) = self.times[k - 1 : k + 1], self.values[k - 1 : k + 1]
        return lambda t, x: a + (t - t0) / (t1 - t0) * (b - a)  # noqa: ARG005


def at_rest(q: Any) -> Any:
    """Return the state at positions q with zero momenta: ``(..., n) -> (..., 2n)``, in kind (a list gives NumPy)."""
    if isinstance(q, torch.Tensor):
        q = q if q.is_floating_point() else q.double()
        return torch.cat([q, torch.zeros_like(q)], dim=-1)
    q = np.asarray(q)
    q = q if q.dtype.kind == "f" else q.astype(np.float64)
    if q.ndim == 0:
        raise ArgumentError(f"at_rest({q}): positions are an array (..., n), such as [{q}]")
    return np.concatenate([q, np.zeros_like(q)], axis=-1)


def height(energy: Any, x: Any) -> Any:
    """Return an energy's value, from ``value_and_grad`` where the user's object has no ``value``."""
    value = getattr(energy, "value", None)
    return energy.value_and_grad(x)[0] if value is None else value(x)


def network_of(system: Any) -> NetworkLoss | None:
    """Return the network that a system moves: its potential, its energy, or what its energy is made of; None without one."""
    energy = getattr(system, "energy", None)
    parts = (getattr(system, "potential", None), energy, getattr(energy, "potential", None))
    return next((part for part in parts if isinstance(part, NetworkLoss)), None)


def describe(part: Any) -> str:
    """Return how an object is called in tables: a function by its name, an object by its class and size or by what it is made of."""
    inner = getattr(part, "potential", None)
    if hasattr(inner, "value_and_grad"):
        return f"{type(part).__name__}({describe(inner)})"
    function = getattr(part, "function", None)
    name = getattr(function, "__name__", None) if function is not None else type(part).__name__
    dim = getattr(part, "dim", None)
    return f"{name}, n = {dim}" if dim is not None else str(name)


def _in_kind(x: Any) -> Any:
    """Return tensors and arrays as they are, lists as float64 arrays."""
    return x if isinstance(x, (torch.Tensor, np.ndarray)) else np.asarray(x, dtype=np.float64)


def _like(value: Any, x: Any) -> Any:
    """Return numbers in the kind and precision of x, and on its device."""
    if isinstance(x, torch.Tensor):
        return torch.as_tensor(value, dtype=x.dtype, device=x.device)
    return np.asarray(value, dtype=x.dtype if x.dtype.kind == "f" else np.float64)


def _checked_mass(mass: Any) -> Any:
    array = np.asarray(mass.detach().cpu() if isinstance(mass, torch.Tensor) else mass, dtype=np.float64)
    if array.ndim > 1 or not (np.isfinite(array).all() and (array > 0).all()):
        raise ArgumentError(f"mass is {mass}: positive finite numbers are needed, one or one a parameter")
    return float(array) if array.ndim == 0 else array


def _checked_kinetic(kinetic: Any, mass: Any, u: Any) -> RelativisticKinetic | None:
    if kinetic is None:
        return None
    if not isinstance(kinetic, RelativisticKinetic):
        raise ArgumentTypeError(f"kinetic is a RelativisticKinetic, not {kinetic!r}: left out, T is p.p/2m")
    if np.ndim(mass) or u is not None:
        raise ArgumentError(f"with {kinetic} a heavy ball has one mass and no input: write it as a PortHamiltonianSystem instead")
    return kinetic


def _checked_input(u: Any) -> Any:
    if u is not None and not callable(u):
        raise ArgumentTypeError(f"the input u is a function of (t, x), Steps or Sampled, not {u!r}; a constant: lambda t, x: [1.0]")
    return u


def _checked_samples(times: Any, values: Any) -> tuple[list[float], np.ndarray[Any, Any]]:
    t, v = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if t.ndim != 1 or v.ndim != 2 or len(t) != len(v) or len(t) == 0:
        raise ArgumentError(f"an input has times (k,) and values (k, m); these have shapes {t.shape} and {v.shape}")
    if not (np.isfinite(t).all() and np.isfinite(v).all() and (np.diff(t) > 0).all()):
        raise ArgumentError("an input's times must increase, and all its numbers must be finite")
    return t.tolist(), v


def _is_matrix(candidate: Any) -> bool:
    return isinstance(candidate, (list, tuple, np.ndarray, torch.Tensor))


def _finite_matrix(matrix: Any, name: str) -> np.ndarray[Any, Any]:
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ArgumentError(f"{name} has shape {array.shape}: a matrix of finite numbers is needed")
    if name != "G" and array.shape[0] != array.shape[1]:
        raise ArgumentError(f"{name} has shape {array.shape}: a square matrix is needed")
    return array


def _checked_skew(matrix: Any) -> np.ndarray[Any, Any]:
    array = _finite_matrix(matrix, "J")
    defect = np.abs(array + array.T).max(initial=0.0)
    if defect > 1e-12 * np.abs(array).max(initial=1.0):
        raise ArgumentError(f"J is not skew: J + J^T has an entry of {defect:.3g}")
    return array


def _checked_dissipation(matrix: Any) -> np.ndarray[Any, Any]:
    array = _finite_matrix(matrix, "R")
    scale = np.abs(array).max(initial=0.0)
    if np.abs(array - array.T).max(initial=0.0) > 1e-12 * scale:
        raise ArgumentError("R is not symmetric")
    lowest = float(np.linalg.eigvalsh(array)[0]) if array.size else 0.0
    if lowest < -1e-12 * scale:
        raise ArgumentError(f"R is not positive semidefinite: it has the eigenvalue {lowest:.3g}, which feeds energy in")
    return array
