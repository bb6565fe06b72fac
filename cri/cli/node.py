"""`ferry ops`, `doctor` and `version`."""

import sys

import grpc
import typer

from cri.api.ferry.v1 import node_pb2
from cri.api.runtime.v1 import api_pb2
from cri.cli.client import DEFAULT_ADDRESS, Address, Json, command, connect
from cri.cli.output import print_json, print_messages, print_table
from cri.version import VERSION

_GRADES = {
    node_pb2.Finding.OK: "ok",
    node_pb2.Finding.LIMITED: "limited",
    node_pb2.Finding.BROKEN: "BROKEN",
}


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(command(ops))
    app.command()(command(doctor))
    app.command()(command(version))


async def ops(
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """List what the daemon is doing now, at which stage, for how long, on what."""
    async with connect(address) as client:
        answer = await client.node.Operations(node_pb2.OperationsRequest())
    own = [operation for operation in answer.operations if not _is_this(operation)]
    if json:
        print_messages(own)
        return
    rows = [(str(o.number), o.kind, f"{o.age_seconds:.1f}s", o.subject, o.where) for o in own]
    print_table(("NUMBER", "OPERATION", "AGE", "SUBJECT", "WHERE"), rows)
    for call in answer.stuck_calls:
        sys.stdout.write(f"hangs in the kernel, nobody waits for it any more: {call}\n")


def _is_this(operation: node_pb2.Operation) -> bool:
    return operation.kind.endswith("Operations")


async def doctor(
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Say what this node can and cannot do, and how to mend it; exit code 1 if pods cannot run."""
    async with connect(address) as client:
        findings = (await client.node.Doctor(node_pb2.DoctorRequest())).findings
    if json:
        print_messages(findings)
    else:
        print_table(
            ("", "SUBJECT", "FINDING"),
            (
                (_GRADES[f.grade], f.subject, "; ".join(filter(None, (f.text, f.mend))))
                for f in findings
            ),
        )
    if any(finding.grade == node_pb2.Finding.BROKEN for finding in findings):
        raise typer.Exit(1)


def _text(finding: node_pb2.Finding) -> str:
    return f"{finding.text}; {finding.mend}" if finding.mend else finding.text


async def version(
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Print the versions of this command and of the daemon, if it answers."""
    try:
        async with connect(address) as client:
            answer = await client.runtime.Version(api_pb2.VersionRequest(), timeout=2)
            daemon = answer.runtime_version
    except grpc.RpcError:
        daemon = ""
    if json:
        print_json({"ferry": VERSION, "ferryd": daemon or None})
    else:
        sys.stdout.write(f"ferry {VERSION}\nferryd {daemon or 'does not answer'}\n")
