"""The command line: demo, catalogue, a shown run, and bad input that ends in one line and status 2."""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

COMMAND = Path(sys.executable).with_name("phdyn")


def phdyn(*words):
    return subprocess.run([COMMAND, *map(str, words)], capture_output=True, text=True, check=False)


out = Path(tempfile.mkdtemp())
demo = phdyn("demo", "--out", out / "demo", "--quiet")
assert demo.returncode == 0, demo.stderr
assert "balance" in demo.stdout and "1.952" in demo.stdout and "0.868" in demo.stdout and "0.217" in demo.stdout
folders = [path.parent for path in out.rglob("numbers.json")]
assert len(folders) == 1
json.loads((folders[0] / "numbers.json").read_text())
figures = sorted(path.stem for path in folders[0].rglob("*.png"))
assert len(figures) >= 5 and figures == sorted(path.stem for path in folders[0].rglob("*.pdf"))

catalogue = phdyn("methods")
assert catalogue.returncode == 0 and "strang" in catalogue.stdout and "DOP853" in catalogue.stdout
shown = phdyn("show", folders[0])
assert shown.returncode == 0 and "1.952" in shown.stdout

(out / "bad.yaml").write_text("method: strange\nstep: -1\n")
for words in (("simulate", out / "missing.yaml"), ("simulate", out / "bad.yaml"), ("dance",), ("show", out / "nothing")):
    before = sorted(out.rglob("*"))
    bad = phdyn(*words)
    assert bad.returncode == 2 and "Traceback" not in bad.stderr and bad.stderr.strip(), words
    assert sorted(out.rglob("*")) == before  # nothing written
