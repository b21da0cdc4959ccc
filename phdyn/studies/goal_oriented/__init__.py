"""Goal-triggered braking against standard SGD: does it win, is it friction, is it the event.

Arms: plain SGD, constant momentum, momentum switched at a goal or at a fixed time, a cosine schedule, AdamW; each tuned over a grid of
the same size on images that are held out, then compared on fresh seeds. Four brakes at the same step of the same seed tell friction from
a cut of the learning rate, and each brake at a fixed step tells the event from a schedule. Every arm is then applied untouched at other
run lengths.
"""

from phdyn.studies.goal_oriented.config import Config, GoalMap, Grids
from phdyn.studies.goal_oriented.experiment import failures, run
from phdyn.studies.goal_oriented.figures import draw
from phdyn.studies.goal_oriented.text import report

__all__ = ["Config", "GoalMap", "Grids", "draw", "failures", "report", "run"]
