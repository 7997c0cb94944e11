"""The command line: ``bridges-tabular compare``, ``train``, ``predict``, ``tune`` and ``report``.

Nothing is imported here but what Ctrl-C needs: it has to be answered in a line from the very start.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridges_tabular.cli.interrupts import Interrupt, Interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        The exit status: 0, 1 where a model failed, 2 for bad input, or 130 after Ctrl-C.
    """
    return _main(arguments, Interrupts())


def script() -> int:
    """Run a command in a process of its own: what the console calls."""
    return _main(None, Interrupts(own_process=True))


def _main(arguments: Sequence[str] | None, interrupts: Interrupts) -> int:
    with interrupts:
        try:
            from bridges_tabular.cli.commands import run

            return run(arguments, interrupts)
        except Interrupt:
            interrupts.tell()
            return 130
