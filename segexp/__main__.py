"""``python -m segexp``."""

import sys

from segexp.cli import main

sys.exit(main())
