"""Several discretizations of one system, at several settings each, against one tight reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.methods.catalogue import check_fit, resolve, table
from phdyn.simulate import simulate
from phdyn.solution import Solution, State
from phdyn.tables import Row, Table
from phdyn.typing import Method

Key = tuple[str, float]
FloatArray = np.ndarray[Any, np.dtype[np.float64]]

ROUNDING = 1e-12
"""Relative errors below this are no longer the method's."""

_STIFF_SIZE = 400
_BUDGET = 400_000
"""Gradients of DOP853 after which a system of at most that many components counts as stiff."""

_BUDGET_SPENT, _INTERRUPTED = -3, -6


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found; printing it shows both tables, and the messages of runs that stopped.

    Attributes
    ----------
    table : Table
        A row a run: ``method, order, setting, nfev, error, residual, balance``. ``setting`` is the step or rtol (a row's ``option`` says
        which, its ``seconds`` how long the run took); ``error`` that of the state at the end, relative to the larger of the reference's
        norm there and the initial state's, nan where a run did not reach the end; ``residual`` the largest of the energy account;
        ``balance`` its verdict, or what became of the run ("status -2", "refused").
    orders : Table
        A row a method: ``method, declared, measured``. Measured is the slope of the finest pair of settings whose errors lie above
        rounding; nan for adaptive methods, and where there is no such pair.
    solutions : dict
        ``solutions[method, setting]``: the runs, with energies at every step and states at both ends. Refused ones are missing.
    messages : dict
        ``messages[method, setting]``: why a run stopped or was refused.
    reference : array or None
        The state at the end that errors refer to.
    """

    table: Table
    orders: Table
    solutions: dict[Key, Solution] = field(repr=False)
    messages: dict[Key, str] = field(default_factory=dict, repr=False)
    reference: FloatArray | None = field(default=None, repr=False)

    def __str__(self) -> str:
        measured = [f"{row.method} {row.measured:.2f} ({row.declared})" for row in self.orders if np.isfinite(row.measured)]
        lines = comparison_lines(self.table, self.messages)
        return "\n".join([*lines, f"measured orders (declared): {', '.join(measured)}"] if measured else lines)


def compare(
    system: Any,
    t_span: tuple[float, float],
    x0: Any,
    methods: Iterable[Any] | Mapping[Any, Iterable[float]],
    *,
    steps: Sequence[float] = (),
    rtols: Sequence[float] = (),
    reference: Any = "auto",
    progress: bool = False,
) -> Comparison:
    """Run several methods at several settings each; compare cost, error at the end and energy balance.

    Parameters
    ----------
    system, t_span, x0
        As for ``simulate``; float64 (below an error of 1e-6 a float32 run shows rounding).
    methods : sequence, or mapping to settings
        Names or Method objects. A mapping gives each method settings of its own: ``{"strang": (0.2, 0.1), "RK45": (1e-4, 1e-6)}``.
    steps : sequence of float
        For each fixed-step method, coarse to fine or not.
    rtols : sequence of float
        For each adaptive method, with ``atol = rtol/100``.
    reference : {"auto"}, array, Solution or None
        The state at the end that errors refer to. "auto": DOP853 at rtol 1e-13, switches located alike; a system of at most 400 components
        that is too stiff for it, by Radau at 1e-11. None: no errors.
    progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    Comparison
        A run that fails, or that its method refuses (unstable steps), is a row with a nan error and does not raise.

    Raises
    ------
    ArgumentError
        Wrong arguments, before any work; no reference could be computed; or no run could start.
    """
    cells = _cells(system, methods, tuple(steps), tuple(rtols))
    start, end = _start(x0), _reference(system, t_span, x0, reference)
    seconds: dict[Key, float] = {}
    solutions: dict[Key, Solution] = {}
    messages: dict[Key, str] = {}
    refusals: list[ArgumentError] = []
    for method, setting in tqdm(cells, disable=not progress, leave=False, desc="compare", unit="run"):
        key = (method.name, setting)
        options: dict[str, Any] = {"step": setting} if method.fixed else {"rtol": setting, "atol": setting / 100}
        begun = perf_counter()
        try:
            solution = simulate(system, t_span, x0, method=method, record="energy", monitor=None, **options)
        except ArgumentError as refusal:
            messages[key] = str(refusal)
            refusals.append(refusal)
            continue
        if solution.status == _INTERRUPTED:
            raise KeyboardInterrupt
        solutions[key], seconds[key] = solution, perf_counter() - begun
        if not solution.success:
            messages[key] = f"status {solution.status}: {solution.message}"
    if len(refusals) == len(cells):
        raise refusals[0]
    rows = [_row(method, setting, solutions.get((method.name, setting)), start, end) for method, setting in cells]
    times = [seconds.get((method.name, setting), float("nan")) for method, setting in cells]
    return Comparison(_table(rows, times), _orders(cells, rows), solutions, messages, end)


def gradients_at(rows: Iterable[Row], target: float) -> float:
    """Return the gradients from which on a method's errors stay below a target.

    Parameters
    ----------
    rows : iterable of Row
        Rows of ``Comparison.table`` of one method; runs that failed count as errors without bound.
    target : float
        The error.

    Returns
    -------
    float
        Between the last setting above the target and the next dearer one, on the double logarithmic line; nan where the dearest setting is
        above the target, those of the cheapest one where all are below.
    """
    points = sorted((row.nfev, row.error) for row in rows if row.balance != "refused" and row.error != 0)
    costs, errors = np.array(points, dtype=float).reshape(-1, 2).T
    above = np.flatnonzero(~(errors <= target))
    if not len(errors) or (len(above) and above[-1] + 1 == len(errors)):
        return float("nan")
    if not len(above):
        return float(costs[0])
    k = above[-1]
    if not np.isfinite(errors[k]):
        return float(costs[k + 1])
    share = np.log(errors[k] / target) / np.log(errors[k] / errors[k + 1])
    return float(costs[k] * (costs[k + 1] / costs[k]) ** share)


def comparison_lines(rows: Iterable[Row], messages: Mapping[Key, str] | None = None) -> list[str]:
    """Return the lines that show rows of a comparison's table: what a terminal shows, aligned.

    Parameters
    ----------
    rows : iterable of Row
        Rows of ``Comparison.table``.
    messages : mapping
        ``Comparison.messages``.
    """
    orders = {row.method: row.order for row in table()}
    lines = [f"{'method':<16} {'order':>8}   {'setting':<12} {'gradients':>10} {'error':>9} {'residual':>10}   energy balance"]
    for row in rows:
        known = (messages or {}).get((row.method, row.setting))
        numbers = f"{row.nfev:>10,} {_short(row.error):>9} {_short(row.residual):>10}"
        verdict = known or ("VIOLATED" if row.balance == "violated" else row.balance)
        setting = f"{row.option} {short_power(row.setting)}"
        lines.append(f"{row.method:<16} {orders.get(row.method, row.order)!s:>8}   {setting:<12} {numbers}   {verdict}")
    return lines


def short_power(number: float) -> str:
    """Return a number as text, with ``1e-5`` for ``1e-05``."""
    return re.sub(r"e([+-])0(\d)", r"e\1\2", f"{number:g}").replace("e+", "e")


def _short(number: float) -> str:
    return "-" if not np.isfinite(number) else f"{number:.1e}"


def _cells(system: Any, methods: Any, steps: tuple[float, ...], rtols: tuple[float, ...]) -> list[tuple[Method, float]]:
    """Return the runs to make: (method, setting); everything about them that can be wrong is checked here."""
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise ArgumentTypeError(f"methods is {methods!r}: a sequence is needed, such as ({methods!r},)")
    own = methods if isinstance(methods, Mapping) else {}
    chosen = [(resolve(method), own.get(method)) for method in methods]
    names = [method.name for method, _ in chosen]
    if not names or len(set(names)) < len(names):
        raise ArgumentError(f"compare needs methods, each once, not {', '.join(names) or 'none'}")
    cells = []
    for method, settings in chosen:
        check_fit(method, system)
        wanted = tuple(settings) if settings is not None else steps if method.fixed else rtols
        option = "steps" if method.fixed else "rtols"
        if not wanted:
            raise ArgumentError(f"method '{method.name}' needs {option}: pass {option}=(...)")
        if len(set(wanted)) < len(wanted) or not all(np.isfinite(value) and value > 0 for value in wanted):
            raise ArgumentError(f"{option} of '{method.name}' are {wanted}: different positive finite numbers are needed")
        cells += [(method, float(value)) for value in wanted]
    return cells


def _start(x0: Any) -> FloatArray:
    array = x0.detach().cpu().numpy() if isinstance(x0, torch.Tensor) else x0.x if isinstance(x0, State) else x0
    return np.array(array, dtype=np.float64)


def _reference(system: Any, t_span: tuple[float, float], x0: Any, reference: Any) -> FloatArray | None:
    """Return the state at the end that errors refer to."""
    if reference is None:
        return None
    if not isinstance(reference, str):
        end = reference.y[:, -1] if isinstance(reference, Solution) else np.asarray(reference, dtype=np.float64)
        if end.shape != _start(x0).shape:
            raise ArgumentError(f"reference has shape {end.shape}, the state {_start(x0).shape}: pass the state at the end, or a Solution")
        return np.array(end, dtype=np.float64)
    if reference != "auto":
        raise ArgumentError(f"reference={reference!r}: pass 'auto', the state at the end, a Solution, or None")
    return reference_end(system, t_span, x0)


def reference_end(system: Any, t_span: tuple[float, float], x0: Any) -> FloatArray:
    """Return the state at the end by DOP853 at rtol 1e-13, switches located alike.

    A system of at most 400 components that is too stiff for it is run by Radau at 1e-11.

    Raises
    ------
    ArgumentError
        x0 is float32, or the run does not reach the end.
    """
    if str(getattr(x0, "dtype", "")).endswith("float32"):
        raise ArgumentError("reference='auto' needs float64: x0 and the model in .double(); or pass reference=...")
    small = _start(x0).size <= _STIFF_SIZE
    options: dict[str, Any] = {"record": "ends", "monitor": None}
    tight = simulate(system, t_span, x0, method="DOP853", max_nfev=_BUDGET if small else None, rtol=1e-13, atol=1e-15, **options)
    if tight.status == _BUDGET_SPENT and small:
        tight = simulate(system, t_span, x0, method="Radau", rtol=1e-11, atol=1e-13, **options)
    if tight.status == _INTERRUPTED:
        raise KeyboardInterrupt
    if not tight.success:
        stopped = f"{tight.method.name} ended with status {tight.status}, {tight.message}"
        raise ArgumentError(f"there is no reference: {stopped}; pass reference=...")
    return np.array(tight.y[:, -1], dtype=np.float64)


def _row(method: Method, setting: float, solution: Solution | None, start: FloatArray, end: FloatArray | None) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method.name, "order": method.order, "setting": setting, "nfev": 0}
    row |= {"error": np.nan, "residual": np.nan, "balance": "refused", "option": "step" if method.fixed else "rtol"}
    if solution is None:
        return row
    row["nfev"] = solution.nfev
    if not solution.success:
        return row | {"balance": f"status {solution.status}"}
    if end is not None:
        scale = max(float(np.linalg.norm(end)), float(np.linalg.norm(start))) or 1.0
        row["error"] = float(np.linalg.norm(solution.y[:, -1] - end)) / scale
    if solution.balance is None:
        return row | {"balance": "none"}
    return row | {"residual": solution.balance.residual, "balance": solution.balance.verdict}


def _table(rows: list[dict[str, Any]], seconds: list[float]) -> Table:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    option = columns.pop("option")
    return Table(columns, hidden={"option": option, "seconds": seconds})


def _orders(cells: list[tuple[Method, float]], rows: list[dict[str, Any]]) -> Table:
    methods = {method.name: method for method, _ in cells}
    return Table(
        {
            "method": list(methods),
            "declared": [method.order for method in methods.values()],
            "measured": [_measured([r for r in rows if r["method"] == name]) if m.fixed else np.nan for name, m in methods.items()],
        }
    )


def _measured(rows: list[dict[str, Any]]) -> float:
    """Return the slope of the finest pair of settings whose errors lie above rounding."""
    pairs = sorted((row["setting"], row["error"]) for row in rows if row["error"] > ROUNDING)[:2]
    if len(pairs) < 2:
        return float("nan")
    (fine, small), (coarse, large) = pairs
    return float(np.log(large / small) / np.log(coarse / fine))
