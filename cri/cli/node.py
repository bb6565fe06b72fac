"""`ferry ops`, `doctor` and `version`."""

import sys
from typing import TYPE_CHECKING, Final

import typer

from cri.cli.client import command, connect
from cri.cli.options import DEFAULT_ADDRESS, Address, Json
from cri.cli.output import document, print_json, print_table, printable
from cri.cli.reach import obstacle, plain_path
from cri.version import VERSION
from store.errors import Error, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.doctor import Finding

_OK: Final = "ok"
_BROKEN: Final = "broken"


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(command(ops))
    app.command()(command(doctor))
    app.command()(command(version))


async def ops(address: Address = DEFAULT_ADDRESS, json: Json = False) -> None:
    """List what the daemon is doing now, at which stage, for how long, on what."""
    async with connect(address) as daemon:
        answer = await daemon.operations()
    if json:
        print_json(document(answer))
        return
    rows = [
        (str(each.number), each.kind, f"{each.age_seconds:.1f}s", each.subject, each.where)
        for each in answer.operations
    ]
    print_table(("NUMBER", "OPERATION", "AGE", "SUBJECT", "WHERE"), rows)
    for call in answer.stuck_calls:
        sys.stdout.write(f"hangs in the kernel, nobody waits for it any more: {printable(call)}\n")


async def doctor(address: Address = DEFAULT_ADDRESS, json: Json = False) -> None:
    """Say what this node can and cannot do, and how to mend it; exit code 1 if pods cannot run.

    Without a daemon the node is looked at from here.
    """
    try:
        async with connect(address) as daemon:
            findings = await daemon.findings()
    except UnavailableError as error:
        from cri.cli.examine import without_daemon  # noqa: PLC0415 - takes the daemon's modules

        findings = await without_daemon(str(error))
    if json:
        print_json(
            [
                {"subject": f.subject, "grade": f.grade.value, "text": f.text, "mend": f.mend}
                for f in findings
            ]
        )
    else:
        _print(findings)
    if any(finding.grade == _BROKEN for finding in findings):
        raise typer.Exit(1)


def _print(findings: "Iterable[Finding]") -> None:
    """Print a line for each finding, and below it what to do."""
    for finding in findings:
        grade = finding.grade.value if finding.grade == _OK else finding.grade.value.upper()
        sys.stdout.write(f"{grade:8} {printable(f'{finding.subject}: {finding.text}')}\n")
        for line in filter(None, finding.mend.split("\n")):
            sys.stdout.write(f"{'':8} -> {printable(line)}\n")


async def version(address: Address = DEFAULT_ADDRESS, json: Json = False) -> None:
    """Print the versions of this command and of the daemon, if it answers."""
    path, daemon = plain_path(address), ""
    why = obstacle(path)
    if not why:
        try:
            async with connect(path) as connected:
                daemon = await connected.version()
        except Error as error:
            why = str(error)
    if json:
        print_json({"ferry": VERSION, "ferryd": daemon or None})
    else:
        told = daemon or f"does not answer at {path}: {why}"
        sys.stdout.write(f"ferry {VERSION}\nferryd {told}\n")
