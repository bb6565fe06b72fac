"""`ferry`, the command line for people: one module for each command group.

Commands talk to the daemon over its socket and print tables, or JSON with `--json`. Errors say what
to do next, on standard error, with exit code 1; bad usage has exit code 2.
"""

from cri.cli.app import main

__all__ = ["main"]
