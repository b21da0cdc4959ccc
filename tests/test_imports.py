"""Imports point one way, stay light, and no file names a place on somebody's machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "phdyn"

# A module may import from earlier lines, and from its own (a package's files among themselves).
# Events come before friction: a switched friction is two laws and an event.
LAYERS = (
    ("errors",),
    ("typing",),
    ("counts", "vectors"),
    ("tables", "matrix_free"),
    ("potentials",),
    ("actions",),
    ("events",),
    ("transitions",),
    ("friction",),
    ("automaton", "kinetic", "row_friction"),
    ("systems",),
    ("rules", "descents"),
    ("motion",),
    ("point",),
    ("methods",),
    ("search",),
    ("inside",),
    ("location",),
    ("crossing",),
    ("resolution",),
    ("energy",),
    ("solution",),
    ("recording",),
    ("arguments",),
    ("progress", "interruption", "stability", "closing"),
    ("kept", "pieces"),
    ("run", "ensemble"),
    ("merging",),
    ("batches",),
    ("simulate",),
    ("data", "networks"),
    ("plots",),
    ("runs",),
    ("training",),
    ("studies",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

HEAVY = ("matplotlib.pyplot", "torchdiffeq", "sklearn", "pandas", "pooch", "jsonargparse")

# Spelled in parts, so that this file does not name one either.
PLACES = re.compile(rb"(?<![\w.~/-])/(?:" + b"|".join((b"work", b"root", b"home", b"Users", b"tmp")) + rb")\b")


def imports(tree: ast.Module) -> list[tuple[int, str]]:
    """Return (line, module) of each import of phdyn, those inside functions too, those for type checkers alone not."""
    ignored = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in branch.body
        for node in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module == "phdyn":  # from phdyn import plots
                found += [(node.lineno, f"phdyn.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, "." * node.level + module))
    return [(line, name) for line, name in found if name.split(".")[0] in ("phdyn", "")]


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def complaints(path: Path, source: str) -> list[str]:
    """Return what is wrong with the imports of one module."""
    here = layer_of(path)
    where = path.relative_to(ROOT).as_posix()
    if here not in RANK:
        return [f"{where}: add '{here}' to LAYERS in {Path(__file__).name}"]
    wrong = []
    for line, name in imports(ast.parse(source)):
        target = name.split(".")[1] if "." in name.strip(".") else name
        if target not in RANK:
            wrong.append(f"{where}:{line}: imports {name}, which is no layer (import from the module that defines it)")
        elif RANK[target] > RANK[here]:
            wrong.append(f"{where}:{line}: {here} imports {name}, which comes later")
    return wrong


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=[path.relative_to(PACKAGE).as_posix() for path in MODULES])
def test_imports_point_one_way(path: Path) -> None:
    assert complaints(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("from phdyn.errors import ArgumentError\nimport phdyn.vectors", 0),
        ("from phdyn.simulate import simulate", 1),
        ("def late():\n    from phdyn import plots", 1),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from phdyn.simulate import simulate", 0),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    from phdyn.simulate import simulate", 1),
        ("from phdyn import HeavyBall", 1),
        ("import phdyn", 1),
        ("from . import simulate", 1),
        ("import numpy\nfrom phdyn.systems import HeavyBall", 0),
    ],
)
def test_the_check_sees_what_it_should(source: str, number: int) -> None:
    assert len(complaints(PACKAGE / "systems.py", source)) == number


def test_import_phdyn_is_light() -> None:
    code = f"import sys, phdyn; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == [], "these belong behind their first use"


def project_files() -> list[Path]:
    """Return the files that git tracks or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in listed.split(b"\0") if name and (path := ROOT / name.decode()).is_file()]


def test_no_file_names_a_place_on_a_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in project_files()
        for match in PLACES.finditer(path.read_bytes())
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"see /%s/me/x.py", True),
        (b"'/%s'", True),
        (b"https://a.org/%s/me", False),
        (b"kinetic/%s/potential", False),
    ],
)
def test_the_pattern_sees_what_it_should(text: bytes, named: bool) -> None:
    assert bool(PLACES.search(text % b"home")) is named
