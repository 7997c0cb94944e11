"""``python -m bridges_tabular.cli`` is the command line."""

import sys

from bridges_tabular.cli import main

if __name__ == "__main__":
    sys.exit(main())
