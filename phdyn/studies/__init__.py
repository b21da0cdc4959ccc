"""Studies: one question each, a configuration in, tables and figures out; and the comparison of methods that they share."""

from phdyn.studies.compare import Comparison, compare
from phdyn.studies.order import measure_order

__all__ = ["Comparison", "compare", "measure_order"]
