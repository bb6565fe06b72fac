import pytest

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert import enums
from store.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("table", "enum"),
    [
        (enums.NAMESPACE_MODES, pb.NamespaceMode),
        (enums.PROPAGATIONS, pb.MountPropagation),
        (enums.PROFILE_KINDS, pb.SecurityProfile.ProfileType),
        (enums.GROUPS_POLICIES, pb.SupplementalGroupsPolicy),
        (enums.PROTOCOLS, pb.Protocol),
        (enums.SANDBOX_STATES, pb.PodSandboxState),
        (enums.CONTAINER_STATES, pb.ContainerState),
        (enums.SIGNALS, pb.Signal),
    ],
)
def test_every_number_of_cri_has_its_own_meaning(
    table: dict[int, str], enum: type[pb.Signal]
) -> None:
    assert sorted(table) == sorted(enum.values())
    assert len(set(table.values())) == len(table)


def test_a_number_of_a_newer_cri_is_refused_by_field() -> None:
    with pytest.raises(InvalidArgumentError, match=r"config\.x: unknown value 9; known are 0 to 3"):
        enums.known(enums.NAMESPACE_MODES, pb.NamespaceMode.ValueType(9), "config.x")


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (pb.SIGNAL_RUNTIME_DEFAULT, ""),
        (pb.SIGNAL_SIGTERM, "SIGTERM"),
        (pb.SIGNAL_SIGRTMINPLUS3, "SIGRTMIN+3"),
        (pb.SIGNAL_SIGRTMAXMINUS14, "SIGRTMAX-14"),
        (pb.SIGNAL_SIGRTMAX, "SIGRTMAX"),
    ],
)
def test_signals_have_the_names_that_images_use(number: pb.Signal.ValueType, name: str) -> None:
    assert enums.SIGNALS[number] == name


@pytest.mark.parametrize("number", enums.SIGNALS)
def test_signals_survive_both_ways(number: pb.Signal.ValueType) -> None:
    assert enums.signal_to(enums.SIGNALS[number]) == number


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("term", pb.SIGNAL_SIGTERM),
        ("15", pb.SIGNAL_SIGTERM),
        ("RTMIN+3", pb.SIGNAL_SIGRTMINPLUS3),
        ("", pb.SIGNAL_RUNTIME_DEFAULT),
        ("SIGNONE", pb.SIGNAL_RUNTIME_DEFAULT),
        ("999", pb.SIGNAL_RUNTIME_DEFAULT),
    ],
)
def test_a_signals_other_spellings_are_understood(name: str, number: pb.Signal.ValueType) -> None:
    assert enums.signal_to(name) == number
