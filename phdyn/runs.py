"""A run folder: configuration, versions, seeds, numbers, tables, figures and the trajectory of one run, in one place.

A folder is named after its configuration, written aside and renamed into place: it is there whole, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shlex
import shutil
import sys
import uuid
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import torch

from phdyn.errors import ArgumentError, ArgumentTypeError
from phdyn.tables import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from phdyn.solution import Solution

CONFIG: Final = "config.json"
NUMBERS: Final = "numbers.json"
ENVIRONMENT: Final = "environment.json"
FIGURES: Final = "figures"
PACKAGES: Final = ("phdyn", "numpy", "scipy", "torch", "torchdiffeq", "matplotlib")


class Run:
    """A run folder, to be read.

    Attributes
    ----------
    path : Path
        The folder.
    config : dict
        The fields of the configuration.
    numbers : dict
        What the run found; a NaN reads as None.
    environment : dict
        Versions, seeds, threads, platform and command.
    """

    def __init__(self, path: Path, config: dict[str, Any], numbers: dict[str, Any], environment: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.numbers = numbers
        self.environment = environment

    def __str__(self) -> str:
        """Return the folder's name below its root: ``demo/3f9a1c07``."""
        return f"{self.path.parent.name}/{self.path.name}" if self.path.parent.name else self.path.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def tables(self) -> dict[str, Table]:
        """Read the tables of the folder, by name; the numbers of figures are not among them."""
        return {file.stem: Table.from_csv(file) for file in sorted(self.path.glob("*.csv"))}

    @property
    def figures(self) -> list[Path]:
        """The figures of the folder, as PNG."""
        return sorted((self.path / FIGURES).glob("*.png"))


class NewRun(Run):
    """A run folder being written: a context. See :func:`create`.

    Inside, ``path`` is a folder aside; afterwards the final one.
    """

    def __init__(self, config: Any, root: str | Path) -> None:
        if not is_dataclass(config) or isinstance(config, type):
            raise ArgumentTypeError(f"the configuration of a run is an instance of a dataclass, not {config!r}")
        super().__init__(Path(root) / config_hash(config), plain(asdict(config)), {}, {})
        self.experiment = _qualified_name(config)
        self._final = self.path
        _check_place(self._final, self.config)

    def __str__(self) -> str:
        return f"{self._final.parent.name}/{self._final.name}" if self._final.parent.name else self._final.name

    def __enter__(self) -> Self:
        self.path = self._final.with_name(f".{self._final.name}-{uuid.uuid4().hex[:8]}")
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise ArgumentError(f"no run folder can be made in {self._final.parent}: {error.strerror}") from error
        _write_json(self.path / CONFIG, self.config)
        self.environment.update(started=datetime.now(UTC).isoformat(timespec="seconds"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        aside, self.path = self.path, self._final
        try:
            if kind is None:
                self.environment.update(_environment(self.experiment, self.config))
                _write_json(aside / NUMBERS, self.numbers)
                _write_json(aside / ENVIRONMENT, self.environment)
                _put_in_place(aside, self._final)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def save_solution(self, solution: Solution, name: str = "trajectory") -> Path:
        """Save a trajectory as ``<name>.npz``; return its path."""
        path = self._file(name, ".npz")
        solution.save(path)
        return path

    def save_table(self, table: Table, name: str) -> Path:
        """Save a table as ``<name>.csv``; return its path."""
        path = self._file(name, ".csv")
        table.to_csv(path)
        return path

    def save_figure(self, ax: Axes | Sequence[Axes], name: str, *, title: str | None = None) -> Path:
        """Save a figure as ``figures/<name>.png``, ``.pdf`` and, its numbers, ``.csv``; return the PNG's path.

        The figure stays open; ``matplotlib.pyplot.close(ax.figure)`` frees it.
        """
        from phdyn import plots

        return plots.save(ax, self._file(name, "", folder=FIGURES), title=title, run=self)

    def _file(self, name: str, suffix: str, folder: str = ".") -> Path:
        if self.path == self._final:
            raise ArgumentError(f"run {self} is not being written: save inside 'with phdyn.runs.create(config) as run'")
        if not name or Path(name).name != name:
            raise ArgumentError(f"{name!r} is not the name of a file: leave folder and suffix to the run")
        return self.path / folder / f"{name}{suffix}"


def create(config: Any, root: str | Path = "runs") -> NewRun:
    """Return the folder of a configuration, to be written as a context.

    Parameters
    ----------
    config : dataclass instance
        The configuration; its hash names the folder.
    root : str or Path
        Where run folders lie. Nothing is written before the context is entered.

    Returns
    -------
    NewRun
        ``with create(config) as run`` writes aside: set ``run.numbers[...]``, call ``run.save_solution(sol)``,
        ``run.save_table(table, name)``, ``run.save_figure(ax, name)``. At the end of the context the folder is renamed
        into place, and replaces an older one of the same configuration whole. An exception removes it, and replaces
        nothing.

    Raises
    ------
    ArgumentTypeError
        If the configuration is no dataclass instance, or has a field that JSON cannot hold.
    ArgumentError
        If a folder of that name is there that is not a run of this configuration, or the root cannot be written.
    """
    return NewRun(config, root)


def open_run(path: str | Path) -> Run:
    """Open a run folder for reading.

    Parameters
    ----------
    path : str or Path
        The folder.

    Raises
    ------
    ArgumentError
        If it is missing, or not a run folder.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ArgumentError(f"no run folder at {folder}")
    missing = [name for name in (CONFIG, NUMBERS, ENVIRONMENT) if not (folder / name).is_file()]
    if missing:
        raise ArgumentError(f"{folder} is not a run folder: it has no {', '.join(missing)}")
    return Run(folder, *(_read_json(folder / name) for name in (CONFIG, NUMBERS, ENVIRONMENT)))


def config_hash(config: Any) -> str:
    """Return 8 hexadecimal digits that name a configuration: of its class and its fields."""
    fields = {"class": _qualified_name(config), "fields": plain(asdict(config))}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN as null, infinities and paths as text, arrays and tuples as lists.

    Raises
    ------
    ArgumentTypeError
        If there is no such form.
    """
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return plain(value.tolist())
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    raise ArgumentTypeError(f"a run's configuration and numbers hold plain values, and {value!r} is a {type(value).__name__}")


def _qualified_name(config: Any) -> str:
    return f"{type(config).__module__}.{type(config).__qualname__}"


def _check_place(final: Path, config: dict[str, Any]) -> None:
    """Refuse a place that holds anything but a run of this configuration: it would be replaced."""
    if not final.exists():
        return
    if not (final / CONFIG).is_file() or _read_json(final / CONFIG) != config:
        raise ArgumentError(f"{final} is not a run of this configuration: move it away, or choose another root")


def _put_in_place(aside: Path, final: Path) -> None:
    """Rename a folder into place; an older one is renamed away first, and back where that fails."""
    old = aside.with_name(f"{aside.name}.old")
    replaces = final.exists()
    if replaces:
        final.rename(old)
    try:
        aside.rename(final)
    except OSError:
        if replaces:
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _environment(experiment: str, config: Mapping[str, Any]) -> dict[str, Any]:
    seeds = {"torch": torch.initial_seed()}
    if "seed" in config:
        seeds["config"] = config["seed"]
    return {
        "experiment": experiment,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "seeds": seeds,
        "threads": {"torch": torch.get_num_threads(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")},
        "platform": platform.platform(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArgumentError(f"{path} is not JSON, so its folder is not a run folder") from error
    if not isinstance(value, dict):
        raise ArgumentError(f"{path} holds no names and values, so its folder is not a run folder")
    return value
