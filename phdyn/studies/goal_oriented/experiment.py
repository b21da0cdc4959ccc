"""The study as a whole: it runs the cells, and leaves tables and figures in one run folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from phdyn import data, runs
from phdyn.data import Dataset
from phdyn.errors import ArgumentError
from phdyn.studies.goal_oriented.arms import Spans
from phdyn.studies.goal_oriented.cells import Setup
from phdyn.studies.goal_oriented.config import Config, check
from phdyn.studies.goal_oriented.figures import draw
from phdyn.studies.goal_oriented.phases import Findings, Phases
from phdyn.studies.goal_oriented.pool import runner
from phdyn.studies.goal_oriented.store import CELLS, Store
from phdyn.studies.goal_oriented.tables import tables
from phdyn.studies.goal_oriented.training import build, loaded
from phdyn.studies.processes import cores, processes
from phdyn.studies.study import Study


def run(
    config: Config,
    out: str | Path,
    *,
    data_dir: str | Path | None = None,
    workers: int = 0,
    cells: Sequence[str | Path] = (),
    executor: Executor | None = None,
    progress: bool = False,
) -> Study:
    """Run the study; leave tables, figures and every training run in one run folder.

    Finished training runs are kept in a folder beside it as they come, so that a study that was stopped goes on with the same call. Runs
    that are equal until they brake are trained together, in groups that are smaller the more workers there are, and kept together.

    Parameters
    ----------
    config : Config
        The configuration; its hash names the folder.
    out : str or Path
        Where the folder lies.
    data_dir : str or Path, optional
        Where the files of a data set lie, for those that have files; the cache folder otherwise.
    workers : int
        Processes, one thread each; 0: as many as cores.
    cells : sequence of paths
        Files ``cells.jsonl`` of earlier studies; what they hold is not run again.
    executor : Executor, optional
        Runs the cells instead of processes of our own.
    progress : bool
        Whether to show progress on stderr.

    Returns
    -------
    Study
        Tables "tuning", "arms", "brakes", "horizon", "goal_map", "differences", "pairs" and "runs".

    Raises
    ------
    ArgumentError
        Wrong entries of the configuration, before anything is run; another process is at work on the same study.
    DataError, MissingExtraError
        The data set cannot be had.
    KeyboardInterrupt
        Ctrl-C; the message says what is kept.
    """
    begun = datetime.now(UTC).isoformat(timespec="seconds"), perf_counter()
    check(config)
    if workers < 0:
        raise ArgumentError(f"workers is {workers}: a number of processes, or 0 for as many as cores, is needed")
    record = runs.create(config, root=out)
    if data_dir is not None and config.dataset in ("digits", "mnist1d"):
        raise ArgumentError(f"data_dir is for data sets of files, and {config.dataset} needs none")
    place = None if data_dir is None else str(data_dir)
    ready = prepare(config, place)
    if executor is None:
        loaded.cache_clear()  # workers have their own
    aside = record.path.with_name(f"{record.path.name}-cells")
    earlier = [*map(Path, cells), *([record.path / CELLS] if (record.path / CELLS).is_file() else [])]
    with Store(aside, earlier) as store:
        known = set(store.results)
        try:
            with processes(executor, workers) as pool:
                go = runner(ready.setup, place, store, pool, workers=workers or cores(), progress=progress)
                found = Phases(config, ready.tuning, ready.final, go).all()
            with record:
                record.environment["started"] = begun[0]
                record.numbers.update(ready.numbers, **_numbers(store, found, known))
                store.export(record.path / CELLS)
                for name, table in tables(config, ready.setup, ready.final, found).items():
                    record.save_table(table, name)
                draw(record, record.path / runs.FIGURES)
                record.numbers["seconds"] = perf_counter() - begun[1]
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"{len(store.results):,} finished runs are kept in {aside}") from error
        store.remove()
    done = runs.open_run(record.path)
    return Study(done.path, done.tables(), done.figures, failures(done))


def failures(run: runs.Run) -> tuple[str, ...]:
    """Return a line for each training run that failed."""
    return tuple(run.numbers["failures"])


@dataclass(frozen=True)
class Ready:
    """What is known before anything is run."""

    setup: Setup
    tuning: Spans
    final: Spans
    numbers: dict[str, Any]


def prepare(config: Config, data_dir: str | None) -> Ready:
    """Load the data, build the network once, count steps.

    Raises
    ------
    ArgumentError
        The network does not fit the data, a batch is larger than what tuning trains on, or run lengths are no longer apart than a step.
    """
    raw = data.load(config.dataset, data_dir)
    setup = Setup(
        dataset=config.dataset,
        network=config.network,
        sizes=config.sizes,
        images=config.images,
        batch=config.batch,
        validation=config.validation,
        split=config.seed,
        levels=config.goals,
        fingerprint=_fingerprint(raw, config.images),
    )
    dataset = loaded(config.dataset, config.images, data_dir)
    count = sum(parameter.numel() for parameter in build(setup, dataset, 0).parameters())
    images = len(dataset.x_train)
    held_out = round(config.validation * images)
    if not 0 < held_out < images or config.batch > images - held_out:
        raise ArgumentError(f"batch is {config.batch}, and tuning trains on {images - held_out} of {images} images: less is needed")
    final = Spans((images // config.batch), config.epochs)
    tuning = Spans((images - held_out) // config.batch, config.epochs)
    marks = [final.steps(length) for length in config.lengths]
    if len(set(marks)) < len(marks):
        raise ArgumentError(f"lengths is {list(config.lengths)}: these are {marks} steps, and must be different")
    numbers = {
        "parameters": count,
        "images": images,
        "held_out": held_out,
        "test_images": len(dataset.x_test),
        "steps_an_epoch": final.epoch,
        "source": dataset.source,
        "fingerprint": setup.fingerprint,
    }
    return Ready(setup, tuning, final, numbers)


def _fingerprint(raw: Dataset, images: int | None) -> str:
    """Return 16 digits that name the data: inputs to 8 bits, and labels."""
    digest = hashlib.sha256()
    for x, y in ((raw.x_train[:images], raw.y_train[:images]), (raw.x_test, raw.y_test)):
        digest.update((x * 255).round().byte().numpy().tobytes())
        digest.update(y.numpy().tobytes())
    return digest.hexdigest()[:16]


def _numbers(store: Store, found: Findings, known: set[str]) -> dict[str, Any]:
    used = [store.results[name] for name in store.used if name in store.results]
    return {
        "runs": len(used),
        "found_finished": len(known & store.used.keys()),
        "run_seconds": sum(result.seconds for result in used),
        "failures": [f"run {name}: {text}" for name, text in store.errors.items()],
        "twins": found.twins,
    }
