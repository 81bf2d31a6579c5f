"""`python -m inril`: the command line, also where the package is not installed."""

import sys

from inril.cli import main

sys.exit(main())
