"""The command line: ``phdyn demo | discretizations CONFIG | goal-oriented CONFIG | methods | simulate CONFIG | show RUN``.

Tables go to stdout, the rest to stderr. Exit status: 0 done; 1 a run stopped or failed, or a balance was violated; 2 bad input, one line on
stderr and nothing written; 130 stopped by Ctrl-C, with the command that goes on where finished runs are kept.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from phdyn.errors import ArgumentError, PhdynError, WorkerError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130

_WITH_CONFIG = ("simulate", "discretizations", "goal-oriented")
"""Commands whose first word may be a configuration file."""

_GOAL_ORIENTED = ("data_dir", "workers", "cells")
"""Options of goal-oriented that change nothing of what it finds."""

_WORKERS = ("workers",)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``phdyn``; those of the process if None.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # small networks run faster on one thread, and repeat bit for bit
    try:
        _check_command(words)
        options = _options(_config_as_flag(words))
        return _COMMANDS[options.command](options[options.command])
    except WorkerError as error:
        print(f"phdyn: {_one_line(str(error))}; to go on: {shlex.join(['phdyn', *words])}", file=sys.stderr)
        return FAILED
    except (argparse.ArgumentError, PhdynError) as error:
        print(f"phdyn: {_one_line(str(error))}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as stop:
        kept = f": {stop}; to go on: {shlex.join(['phdyn', *words])}" if str(stop) else ""
        print(f"phdyn: stopped{kept}", file=sys.stderr)
        return STOPPED


def _check_command(words: list[str]) -> None:
    known = f"there are {', '.join(_COMMANDS)}; phdyn COMMAND --help says more"
    if not words:
        raise ArgumentError(f"a command is needed: {known}")
    if not words[0].startswith("-") and words[0] not in _COMMANDS:
        raise ArgumentError(f"unknown command '{words[0]}': {known}")


def _config_as_flag(words: list[str]) -> list[str]:
    """Turn ``simulate CONFIG`` into ``simulate --config CONFIG``."""
    if words[0] in _WITH_CONFIG and words[1:] and not words[1].startswith("-"):
        if not Path(words[1]).is_file():
            raise ArgumentError(f"there is no configuration file {words[1]}")
        return [words[0], "--config", *words[1:]]
    if words == ["goal-oriented"]:  # its defaults take a quarter of an hour
        raise ArgumentError("goal-oriented needs a configuration file, such as experiments/goal_oriented_digits.yaml")
    return words


def _options(words: list[str]) -> Any:
    """Return the options of a command, its configuration built; what a configuration refuses is an ArgumentError."""
    parser = _parser()
    try:
        return parser.instantiate(parser.parse_args(words))
    except (ValueError, TypeError) as error:
        raise ArgumentError(str(error.__cause__ or error)) from error


def _one_line(message: str) -> str:
    """Make a parser's message one line, without what it says about the alternative None."""
    for noise in (
        r"Does not validate against any of the Union subtypes\s+Subtypes: \[.*?\]\s+Errors:\s+- ",
        r"- Expected a <class 'NoneType'>\s+",
        r"Given value type: \S+ \S+\s+",
    ):
        message = re.sub(noise, "", message, flags=re.DOTALL)
    return " ".join(message.split())


def _parser() -> ArgumentParser:
    """Return the parser of all commands; it raises instead of exiting."""
    from jsonargparse import ArgumentParser

    from phdyn.studies import demo, discretizations, goal_oriented, single

    parser = ArgumentParser(prog="phdyn", description="Training as port-Hamiltonian motion: studies and single runs.", exit_on_error=False)
    parser.add_argument("--version", action="version", version=f"phdyn {metadata.version('phdyn')}")
    commands = parser.add_subcommands(dest="command")
    studies = {
        "demo": (demo, "three experiments, with tables and figures"),
        "simulate": (single, "one run from a YAML file"),
        "discretizations": (discretizations, "order, cost, structure and stability of discretizations of one system"),
        "goal-oriented": (goal_oriented, "goal-triggered braking against standard SGD, over seeds"),
    }
    for name, (module, text) in studies.items():
        command = ArgumentParser(description=module.__doc__, exit_on_error=False)
        command.add_argument("--config", action="config", help=f"YAML file; for {' and '.join(_WITH_CONFIG)} also the first word")
        command.add_class_arguments(module.Config, nested_key=None)
        command.add_argument("--out", type=Path, default=Path("runs") / name, help="where the run folder lies")
        command.add_argument("--quiet", action="store_true", help="no progress")
        if name in ("discretizations", "goal-oriented"):
            command.add_argument("--workers", type=int, default=0, help="processes, one thread each; 0: as many as cores")
        if name == "goal-oriented":
            command.add_argument("--data-dir", type=Path, help="where the files of cifar10 or fashion-mnist lie; downloaded if not given")
            command.add_argument("--cells", type=Path, nargs="+", default=[], help="files cells.jsonl: what they hold is not run again")
        commands.add_subcommand(name, command, help=text)
    listing = ArgumentParser(description="The catalogue of methods.", exit_on_error=False)
    listing.add_argument("--all", action="store_true", help="all, not only those recommended to start with")
    commands.add_subcommand("methods", listing, help="the catalogue of methods")
    show = ArgumentParser(description="Print a run's tables and redraw its figures, from its files alone.", exit_on_error=False)
    show.add_argument("run", type=Path, help="run folder")
    show.add_argument("--out", type=Path, help="folder for the figures; the run's own if not given")
    show.add_argument("--quiet", action="store_true", help="do not name the figures")
    commands.add_subcommand("show", show, help="print a run's tables and redraw its figures")
    return parser


def _study(name: str, options: Any, more: Sequence[str] = ()) -> int:
    """Run a study, print its report; ``more`` are the options, beside those of every study, that it takes."""
    from phdyn import runs

    study = import_module(f"phdyn.studies.{name}")
    fields = {key: options[key] for key in study.Config.__dataclass_fields__}
    config = study.Config(**fields)
    chosen = {key: options[key] for key in more}
    done = study.run(config, options.out, progress=not options.quiet and sys.stderr.isatty(), **chosen)
    finished = runs.open_run(done.folder)
    print(study.report(finished))
    if name == "single" and study.interrupted(finished):
        return STOPPED
    return FAILED if done.failures else DONE


def _methods(options: Any) -> int:
    from phdyn import methods

    print(methods.table(recommended=not options.all))
    if not options.all:
        print("phdyn methods --all lists the others", file=sys.stderr)
    return DONE


def _show(options: Any) -> int:
    """Print a run's tables, and redraw its figures where its study can."""
    from phdyn import runs

    run = runs.open_run(options.run)
    place = str(run.environment.get("experiment", "")).split(".")
    if place[:2] == ["phdyn", "studies"]:
        study = import_module(".".join(place[:3]))
        print(study.report(run))
        figures = study.draw(run, run.path / runs.FIGURES if options.out is None else options.out)
        if not options.quiet:
            print(*(f"drew {figure}" for figure in figures), sep="\n", file=sys.stderr)
        return DONE
    print("\n\n".join(f"{name}\n{table}" for name, table in run.tables().items()))
    return DONE


_COMMANDS = {
    "demo": lambda options: _study("demo", options),
    "discretizations": lambda options: _study("discretizations", options, _WORKERS),
    "goal-oriented": lambda options: _study("goal_oriented", options, _GOAL_ORIENTED),
    "simulate": lambda options: _study("single", options),
    "methods": _methods,
    "show": _show,
}
