"""The `ferry` command: its groups, put together."""

import sys

import grpc
import typer

from cri.cli import containers, images, node, pods
from cri.cli.client import explain
from store.errors import Error

app = typer.Typer(
    name="ferry",
    help="Run pods and look at them. Every command takes --json.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (images, pods, containers, node):
    group.register(app)


def main() -> None:
    """Run `ferry` with the arguments of this process."""
    try:
        app()
    except grpc.RpcError as error:
        _fail(explain(error))
    except (Error, OSError) as error:
        _fail(str(error))


def _fail(text: str) -> None:
    sys.stderr.write(f"ferry: {text}\n")
    sys.exit(1)
