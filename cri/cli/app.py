"""The `ferry` command: its groups, put together."""

import sys
from typing import Annotated

import typer

from cri.cli import containers, images, node, pods, run
from cri.version import VERSION
from store.errors import Error

app = typer.Typer(
    name="ferry",
    help="Run pods and look at them. Every command takes --json.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (images, run, pods, containers, node):
    group.register(app)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it like this
    if wanted:
        sys.stdout.write(f"ferry {VERSION}\n")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say and end.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run `ferry` with the arguments of this process."""
    try:
        app(prog_name="ferry")
    except (Error, OSError) as error:
        sys.stderr.write(f"ferry: {error}\n")
        sys.exit(1)
