from dataclasses import replace

import pytest

from runtime.spec import Profile, ProfileKind, Security, SELinux, SpecRequest
from runtime.spec.security import linux, process_labels, selinux
from store.errors import FailedPreconditionError, InvalidArgumentError
from tests.specs import HOST, REQUEST

CONFINED = replace(HOST, apparmor=True, apparmor_default="ferry-default", selinux=True)


def asking(security: Security, *, confined: bool = True) -> SpecRequest:
    return replace(REQUEST, security=security, host=CONFINED if confined else HOST)


def apparmor(kind: ProfileKind, name: str = "") -> Security:
    return Security(apparmor=Profile(kind=kind, localhost=name))


def test_paths_are_hidden_and_protected_as_asked() -> None:
    assert linux(REQUEST) == {
        "maskedPaths": ["/proc/kcore", "/sys/firmware"],
        "readonlyPaths": ["/proc/sys"],
    }
    assert linux(replace(REQUEST, security=Security())) == {}


def test_privileged_hides_nothing() -> None:
    assert linux(replace(REQUEST, security=replace(REQUEST.security, privileged=True))) == {}


def test_relative_paths_are_refused_by_field() -> None:
    with pytest.raises(InvalidArgumentError, match="masked_paths 'proc'"):
        linux(asking(Security(masked_paths=("proc",))))
    with pytest.raises(InvalidArgumentError, match="readonly_paths 'proc'"):
        linux(asking(Security(readonly_paths=("proc",))))


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        (Security(), "ferry-default"),
        (Security(privileged=True), ""),
        (apparmor(ProfileKind.UNCONFINED), ""),
        (apparmor(ProfileKind.RUNTIME_DEFAULT), "ferry-default"),
        (replace(apparmor(ProfileKind.RUNTIME_DEFAULT), privileged=True), ""),
        (apparmor(ProfileKind.LOCALHOST, "strict"), "strict"),
        (replace(apparmor(ProfileKind.LOCALHOST, "strict"), privileged=True), "strict"),
    ],
)
def test_apparmor(security: Security, expected: str) -> None:
    assert process_labels(asking(security)).get("apparmorProfile", "") == expected


def test_apparmor_where_the_kernel_has_none() -> None:
    default = apparmor(ProfileKind.RUNTIME_DEFAULT)
    assert process_labels(asking(default, confined=False)) == {}
    with pytest.raises(FailedPreconditionError, match=r"'strict'.*no AppArmor"):
        process_labels(asking(apparmor(ProfileKind.LOCALHOST, "strict"), confined=False))


def test_an_unnamed_apparmor_profile_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="localhost_ref is empty"):
        process_labels(asking(apparmor(ProfileKind.LOCALHOST)))


def test_selinux_labels_are_completed_and_only_used_where_the_kernel_has_them() -> None:
    labels = SELinux(level="s0:c1,c2", type="spc_t")
    assert selinux(labels) == (
        "system_u:system_r:spc_t:s0:c1,c2",
        "system_u:object_r:container_file_t:s0:c1,c2",
    )
    asked = Security(selinux=labels)
    assert process_labels(asking(asked))["selinuxLabel"] == selinux(labels)[0]
    assert linux(asking(asked)) == {"mountLabel": selinux(labels)[1]}
    assert process_labels(asking(asked, confined=False)) == {}
    assert linux(asking(asked, confined=False)) == {}


def test_selinux_labels_that_confine_need_a_kernel_that_can() -> None:
    for labels in (SELinux(), SELinux(type="container_t"), SELinux(level="s0:c1,c2")):
        with pytest.raises(FailedPreconditionError, match=r"selinux_options.*no SELinux"):
            process_labels(asking(Security(selinux=labels), confined=False))
