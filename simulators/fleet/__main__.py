"""``python -m simulators.fleet``: a simulated county as a process of its own."""

import sys

from simulators.fleet.program import main

if __name__ == "__main__":
    sys.exit(main())
