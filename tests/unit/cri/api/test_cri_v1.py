"""Our .proto against a table of CRI v1 that was made from its published definition."""

import itertools
import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from grpc_tools import protoc

from cri.api.runtime.v1 import api_pb2 as pb

TABLE = Path(__file__).parent / "cri-v1.txt"
PROTO = "cri/api/runtime/v1/api.proto"
ROOT = Path(__file__).parents[4]

SCALARS = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in ("bool", "bytes", "double", "int32", "int64", "string", "uint32", "uint64")
}


def section(lines: list[str], kind: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    current = ""
    for line in lines:
        if not line.startswith(" "):
            current = line
            continue
        found.setdefault(current, []).append(line.strip())
    return {
        name.removeprefix(f"{kind} "): entries
        for name, entries in found.items()
        if name.startswith(f"{kind} ")
    }


LINES = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
SERVICES = section(LINES, "service")
MESSAGES = section(LINES, "message")
ENUMS = section(LINES, "enum")


def short(full_name: str) -> str:
    return full_name.removeprefix("runtime.v1.")


def type_name(field: FieldDescriptor) -> str:
    kind = field.message_type or field.enum_type
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return f"map<{SCALARS[key.type]},{SCALARS[value.type]}>"
    name = short(kind.full_name) if kind else SCALARS[field.type]
    return f"repeated {name}" if field.is_repeated else name


@pytest.mark.parametrize("name", SERVICES)
def test_every_call_has_its_messages(name: str) -> None:
    service = pb.DESCRIPTOR.services_by_name[name]
    ours = {
        f"{one.name} {short(one.input_type.full_name)} {short(one.output_type.full_name)}"
        + (" stream" if one.server_streaming else "")
        for one in service.methods
    }
    assert ours == set(SERVICES[name])
    assert not any(one.client_streaming for one in service.methods)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_has_its_number_and_type(name: str) -> None:
    ours = [
        f"{field.number} {type_name(field)} {field.name}"
        for field in pb.DESCRIPTOR.message_types_by_name[name].fields
    ]
    assert sorted(ours) == sorted(MESSAGES[name])


@pytest.mark.parametrize("name", ENUMS)
def test_every_value_has_its_number(name: str) -> None:
    inner = {
        short(enum.full_name): enum
        for message in pb.DESCRIPTOR.message_types_by_name.values()
        for enum in message.enum_types
    }
    enum = {**pb.DESCRIPTOR.enum_types_by_name, **inner}[name]
    assert {f"{value.number} {value.name}" for value in enum.values} == set(ENUMS[name])


def test_there_is_nothing_else() -> None:
    empty = {name for name, one in pb.DESCRIPTOR.message_types_by_name.items() if not one.fields}
    assert set(pb.DESCRIPTOR.message_types_by_name) - empty == set(MESSAGES)
    assert all(name.endswith(("Request", "Response")) for name in empty)
    assert set(pb.DESCRIPTOR.services_by_name) == set(SERVICES)
    assert (len(SERVICES["RuntimeService"]), len(SERVICES["ImageService"])) == (37, 6)
    assert pb.DESCRIPTOR.package == "runtime.v1"


def test_the_generated_code_is_of_this_proto(tmp_path: Path) -> None:
    assert protoc.main(["protoc", f"-I{ROOT}", f"--python_out={tmp_path}", PROTO]) == 0
    generated = PROTO.replace(".proto", "_pb2.py")
    assert (tmp_path / generated).read_text() == (ROOT / generated).read_text()


def test_every_service_call_message_and_enum_says_what_it_is_for() -> None:
    lines = (ROOT / PROTO).read_text().splitlines()
    named = [
        (above.strip(), line.strip())
        for above, line in itertools.pairwise(lines)
        if re.match(r"\s*(service|rpc|message|enum) ", line)
    ]
    assert [line for above, line in named if not above.startswith("// ")] == []
    assert len(named) > 43 + 180
