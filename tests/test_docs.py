"""The documentation keeps its word: its Python blocks run as they stand, its relative links lead somewhere.

A block stands for itself, as a reader would paste it. An HTML comment on the line before a block changes that:
``<!-- context: NAME -->`` runs CONTEXTS[NAME] first, for names that the text takes as given; ``<!-- not run -->`` skips
the block.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("how_to", "events", "edge", "methods", "training", "two_term"))]

CONTEXTS = {
    "network": """
import torch
from phdyn.data import digits
from phdyn.networks import mlp
torch.manual_seed(0)
data = digits()
X, y = data.x_train[:400].double(), data.y_train[:400]
model = mlp((64, 16, 10)).double()
""",
    "loop": """
import phdyn
import torch
from phdyn.data import digits
from phdyn.networks import mlp
torch.manual_seed(0)
inputs, targets = digits().x_train[:400], digits().y_train[:400]
model, loss_function = mlp((64, 16, 10)), torch.nn.functional.cross_entropy
loader = [(inputs[rows], targets[rows]) for rows in torch.arange(400).repeat(10).split(50)]
""",
}

FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n(?:[ \t]*\n)?)?```python\n(?P<code>.*?)^```$", flags=re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!\w+:|#)(?P<target>[^)#\s]+)")


class Block(NamedTuple):
    """One fenced block of Python: where it begins, its mark (or an empty string), its code."""

    line: int
    mark: str
    code: str


def blocks_of(text: str) -> list[Block]:
    return [
        Block(text.count("\n", 0, match.start("code")) + 1, match["mark"] or "", match["code"])
        for match in FENCE.finditer(text)
    ]


def program(page: Path) -> str:
    """Return a program that runs a page's blocks in order, each in a namespace of its own."""
    lines = ["import warnings", "import matplotlib.pyplot as plt", "warnings.simplefilter('error')"]
    for block in blocks_of(page.read_text(encoding="utf-8")):
        if block.mark == "not run":
            continue
        context = CONTEXTS[block.mark.removeprefix("context: ")] if block.mark else ""
        code = "\n" * (block.line - 1) + block.code  # tracebacks give the page's own lines
        lines += [
            "names = {'__name__': '__main__'}",
            f"exec({context!r}, names)",
            f"exec(compile({code!r}, {page.name!r}, 'exec'), names)",
            "plt.close('all')",
        ]
    return "\n".join(lines)


@pytest.mark.parametrize("page", RUN, ids=[page.name for page in RUN])
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-c", program(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, f"{page.name}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_nothing_is_left_to_fill_in(page: Path) -> None:
    assert "TODO" not in page.read_text(encoding="utf-8")


def test_the_extraction_sees_what_it_should() -> None:
    text = (
        "a\n```python\nx = 1\n```\n"
        "<!-- not run -->\n```python\ny\n```\n"
        "```sh\nls\n```\n"
        "<!-- context: network -->\n\n```python\nz\n```\n"
    )
    expected = [Block(3, "", "x = 1\n"), Block(7, "not run", "y\n"), Block(15, "context: network", "z\n")]
    assert blocks_of(text) == expected


def test_every_page_that_is_run_has_blocks() -> None:
    assert all(blocks_of(page.read_text(encoding="utf-8")) for page in RUN)
