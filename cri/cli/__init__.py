"""`ferry`, the command line for people: one module for each command group.

Commands talk to the daemon over its socket and print tables, or JSON with `--json`. Errors say what
to do next, on standard error, with exit code 1; bad usage has exit code 2, an interrupt 130.

Start-up is most of what a short command costs, and gRPC most of start-up. So the groups only know
`client.connect`, which imports `daemon` (all of gRPC and protobuf) when a daemon is there to talk
to; help, completion and errors of usage come without.
"""

from cri.cli.app import main

__all__ = ["main"]
