"""``python -m controller.cli`` is ``fenghuo``."""

import sys

from controller.cli import main

sys.exit(main())
