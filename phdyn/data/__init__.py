"""Data sets of the studies, as tensors with inputs in [0, 1].

``digits`` and ``mnist1d`` need no files. ``fashion_mnist`` and ``cifar10`` are downloaded once, verified, into the cache
folder, or read from a folder of yours.
"""

from phdyn.data.catalogue import load, names
from phdyn.data.cifar import cifar10
from phdyn.data.dataset import Dataset
from phdyn.data.fashion import fashion_mnist
from phdyn.data.handwritten import digits
from phdyn.data.signals import mnist1d

__all__ = ["Dataset", "cifar10", "digits", "fashion_mnist", "load", "mnist1d", "names"]
