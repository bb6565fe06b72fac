"""What every command takes, and what a shell completes."""

from typing import Annotated, Final

import typer

ADDRESS_VARIABLE: Final = "FERRY_ADDRESS"
DEFAULT_ADDRESS: Final = "/run/ferry/ferry.sock"

Address = Annotated[
    str, typer.Option("--address", envvar=ADDRESS_VARIABLE, help="The daemon's socket.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# What comes after a command's first argument belongs to the program in the container.
PROGRAM: Final = {"ignore_unknown_options": True, "allow_interspersed_args": False}
