"""Rosenbrock's valley under five discretizations in one call: errors, measured orders, work against precision."""
import tempfile
from pathlib import Path

import numpy as np

import phdyn
from phdyn import plots, studies
from phdyn.potentials import Rosenbrock

system = phdyn.HeavyBall(Rosenbrock(), friction=0.5)
methods = ("strang", "yoshida-4", "blanes-moan-4", "rk4", "DOP853")
result = studies.compare(system, (0.0, 2.0), phdyn.at_rest([-1.2, 1.0]), methods,
                         steps=(0.004, 0.002, 0.001), rtols=(1e-4, 1e-7, 1e-10), progress=True)
print(result)
ax = plots.plot_work_precision(result)
out = Path(tempfile.mkdtemp())
plots.save(ax, out / "rosenbrock")
result.table.to_csv(out / "rosenbrock.csv")

assert len(result.table) == 5 * 3
rows = {(row.method, row.setting): row for row in result.table}
measured = {row.method: row.measured for row in result.orders}
assert abs(measured["strang"] - 2) < 0.1 and abs(measured["yoshida-4"] - 4) < 0.3 and measured["rk4"] > 3.7
for name in methods:
    errors = np.array([row.error for row in result.table if row.method == name])
    assert np.all(np.diff(errors) < 0), name  # finer settings, smaller errors
assert 500 <= rows["strang", 0.004].nfev <= 502  # one gradient a step
assert 2000 <= rows["rk4", 0.004].nfev <= 2002
assert rows["blanes-moan-4", 0.004].error < rows["strang", 0.004].error / 100
assert ax.get_xscale() == "log" and ax.get_yscale() == "log"
assert "gradient" in ax.get_xlabel()
assert (out / "rosenbrock.png").exists() and (out / "rosenbrock.pdf").exists()
assert (out / "rosenbrock.csv").read_text().startswith("method,")
