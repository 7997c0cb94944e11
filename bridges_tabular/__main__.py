"""``python -m bridges_tabular`` is the command line."""

import sys

from bridges_tabular.cli import script

if __name__ == "__main__":
    sys.exit(script())
