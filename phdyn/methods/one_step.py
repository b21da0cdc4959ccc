"""One step of a method without the loop around it: the map that its structure and its stability are properties of."""

from __future__ import annotations

from typing import Any

import numpy as np

from phdyn.counts import Halt
from phdyn.methods.stepping import Control, Step
from phdyn.motion import bind
from phdyn.typing import Method
from phdyn.vectors import vectors_of

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


class OneStep:
    """A step of a method of fixed steps on a system; nothing is refused, however unstable.

    Parameters
    ----------
    method : Method
        The method.
    system : HeavyBall
        The system.
    size : int
        Length of the state.
    """

    def __init__(self, method: Method, system: Any, size: int) -> None:
        self.method = method
        vectors, _ = vectors_of(np.zeros(size))
        self.motion = bind(system, vectors, size, tensors=False)

    def __call__(self, x: FloatArray, h: float, t: float = 0.0) -> FloatArray:
        """Return the state after a step of length h from (t, x); nan where the method's equations cannot be solved."""
        ends: list[FloatArray] = []

        def observe(step: Step) -> bool:
            ends.append(np.array(step.x1, dtype=np.float64))
            return True

        start = self.motion.knot(t, np.array(x, dtype=np.float64))
        try:
            self.method.march(self.motion, start, t + h, observe, Control(h, t))
        except Halt:
            return np.full(len(x), np.nan)
        return ends[0]
