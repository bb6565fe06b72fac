import pytest
import typer

from cri.cli import client
from cri.cli.client import command, connect


def test_an_interrupt_ends_a_command_as_shells_expect() -> None:
    async def body() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        command(body)()
    assert ended.value.exit_code == 130


def test_a_command_keeps_its_signature_for_typer() -> None:
    async def body(name: str) -> None:
        """Do it."""
        found.append(name)

    found: list[str] = []
    plain = command(body)
    plain("x")
    assert found == ["x"]
    assert (plain.__name__, plain.__doc__) == ("body", "Do it.")
    assert client.connect is connect
