"""``python -m phdyn``: the command line."""

import sys

from phdyn.cli import main

if __name__ == "__main__":
    sys.exit(main())
