from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.spec import (
    IdMapping,
    Json,
    MountRequest,
    NamespaceMode,
    NamespaceModes,
    Propagation,
    SpecRequest,
    UserNamespace,
)
from runtime.spec.mounts import check_propagation, document, image_volumes, rootfs_propagation
from store.errors import Error, FailedPreconditionError, InvalidArgumentError
from store.images import ImageConfig
from tests.specs import HOST, REQUEST

DATA = MountRequest(container_path="/data")


def asking(*mounts: MountRequest) -> SpecRequest:
    sources = {mount.container_path: Path("/src") for mount in mounts}
    return replace(REQUEST, mounts=mounts, sources=sources)


def entries(request: SpecRequest) -> dict[str, dict[str, Json]]:
    return {str(one["destination"]): one for one in document(request) if isinstance(one, dict)}


def options(request: SpecRequest, destination: str) -> Json:
    return entries(request)[destination]["options"]


def test_parents_come_before_children_whatever_the_order_asked() -> None:
    paths = ("/a/b/c", "/a", "/dev/mqueue/x", "/a/b", "/sys")
    order = list(entries(asking(*(MountRequest(container_path=path) for path in paths))))
    for path in order:
        parents = [str(parent) for parent in Path(path).parents if str(parent) in order]
        assert all(order.index(parent) < order.index(path) for parent in parents)


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (DATA, ["rbind", "rprivate", "rw"]),
        (replace(DATA, readonly=True), ["rbind", "rprivate", "ro"]),
        (
            replace(DATA, propagation=Propagation.HOST_TO_CONTAINER, readonly=True),
            ["rbind", "rslave", "ro"],
        ),
        (replace(DATA, readonly=True, recursive_readonly=True), ["rbind", "rprivate", "rro"]),
        (
            replace(DATA, options=("noexec", "nodev", "nosuid")),
            ["rbind", "rprivate", "rw", "noexec", "nodev", "nosuid"],
        ),
    ],
)
def test_options(mount: MountRequest, expected: list[str]) -> None:
    assert options(asking(mount), "/data") == expected


def test_a_request_replaces_the_default_at_its_path() -> None:
    for path in ("/etc/hostname", "/dev/shm", "/sys", "/proc"):  # noqa: S108 - in the container
        found = entries(asking(MountRequest(container_path=path + "/")))
        assert found[path]["source"] == "/src"


def test_the_last_request_for_a_path_counts() -> None:
    assert options(asking(DATA, replace(DATA, readonly=True)), "/data") == [
        "rbind",
        "rprivate",
        "ro",
    ]


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        (replace(DATA, container_path="data"), r"mounts\[0\].container_path"),
        (replace(DATA, container_path="/"), "the root itself"),
        (replace(DATA, container_path="/x/.."), "the root itself"),
        (replace(DATA, container_path="/a\0"), "NUL"),
        (replace(DATA, recursive_readonly=True), "not readonly"),
        (
            replace(
                DATA,
                readonly=True,
                recursive_readonly=True,
                propagation=Propagation.HOST_TO_CONTAINER,
            ),
            "propagation must be private",
        ),
        (
            replace(
                DATA,
                readonly=True,
                recursive_readonly=True,
                propagation=Propagation.BIDIRECTIONAL,
            ),
            "propagation must be private",
        ),
        (replace(DATA, image="sha256:1"), r"mounts\[0\].image: the mount must be readonly"),
        (replace(DATA, options=("suid",)), r"mounts\[0\].mount_options \['suid'\]"),
        (
            replace(DATA, uid_mappings=(IdMapping(container_id=0, host_id=1, length=1),)),
            "go together",
        ),
    ],
)
def test_requests_that_cannot_be_are_refused(mount: MountRequest, text: str) -> None:
    with pytest.raises(InvalidArgumentError, match=text):
        document(asking(mount))


@given(st.text(alphabet="/.a\0\n", max_size=12))
def test_no_path_of_a_request_leaves_the_container(path: str) -> None:
    try:
        found = entries(asking(MountRequest(container_path=path)))
    except InvalidArgumentError:
        return
    for destination in found:
        assert destination.startswith("/")
        assert destination != "/"
        assert not {"", ".", ".."} & set(destination.split("/")[1:])


def test_without_kernel_support_the_kubelets_word_comes_first() -> None:
    request = replace(
        asking(replace(DATA, readonly=True, recursive_readonly=True)),
        host=replace(HOST, recursive_readonly=False),
    )
    with pytest.raises(FailedPreconditionError, match=r"^RROUnsupported: "):
        document(request)


def test_sources_must_be_known_and_absolute() -> None:
    with pytest.raises(Error, match=r"the source of mounts\[0\] /data is not known"):
        document(replace(REQUEST, mounts=(DATA,)))
    with pytest.raises(InvalidArgumentError, match="host_path src"):
        document(replace(REQUEST, mounts=(DATA,), sources={"/data": Path("src")}))


def test_shared_memory_is_the_pods_or_the_nodes() -> None:
    on_node = NamespaceModes(ipc=NamespaceMode.NODE)
    shm = "/dev/shm"  # noqa: S108 - in the container
    assert entries(REQUEST)[shm]["source"] == "/run/ferry/s/shm"
    assert entries(replace(REQUEST, sandbox_modes=on_node))[shm]["source"] == shm
    with pytest.raises(Error, match="shm of the pod is not known"):
        document(replace(REQUEST, sandbox=replace(REQUEST.sandbox, shm=None)))


def test_the_pods_files_follow_the_root() -> None:
    readonly = replace(REQUEST, security=replace(REQUEST.security, readonly_rootfs=True))
    assert options(readonly, "/etc/hostname") == ["rbind", "rprivate", "ro"]
    bare = replace(REQUEST, sandbox=replace(REQUEST.sandbox, resolv_conf=None, hostname=None))
    assert not {"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"} & entries(bare).keys()


def test_the_root_propagates_as_far_as_a_mount_needs() -> None:
    slave = replace(DATA, propagation=Propagation.HOST_TO_CONTAINER)
    shared = replace(DATA, propagation=Propagation.BIDIRECTIONAL)
    assert rootfs_propagation((DATA,)) == ""
    assert rootfs_propagation((DATA, slave)) == "rslave"
    assert rootfs_propagation((slave, shared, DATA)) == "rshared"


def test_volumes_stay_in_the_root_and_give_way_to_requests() -> None:
    image = ImageConfig(volumes=("/../../canary", "/data/", "/b/./c", "/canary"))
    assert image_volumes(image, (DATA,)) == ("/b/c", "/canary")


@pytest.mark.parametrize("volume", ["/", "/..", "/proc", "/sys/fs", "/dev/pts", "rel", "/a\0"])
def test_volumes_elsewhere_are_refused(volume: str) -> None:
    with pytest.raises(InvalidArgumentError, match="the image's VOLUME"):
        image_volumes(ImageConfig(volumes=(volume,)), ())


MOUNTINFO = (
    "20 1 8:1 / / rw shared:1 - ext4 /dev/vda rw\n"
    "21 20 0:5 / /private rw - tmpfs tmpfs rw\n"
    "22 20 0:6 / /with\\040space rw master:3 - tmpfs tmpfs rw\n"
)


@pytest.mark.parametrize(
    ("source", "propagation", "fits"),
    [
        ("/any/where", Propagation.BIDIRECTIONAL, True),
        ("/private/x", Propagation.PRIVATE, True),
        ("/private/x", Propagation.HOST_TO_CONTAINER, False),
        ("/private", Propagation.BIDIRECTIONAL, False),
        ("/with space/x", Propagation.HOST_TO_CONTAINER, True),
        ("/with space/x", Propagation.BIDIRECTIONAL, False),
    ],
)
def test_propagation_needs_a_source_that_has_it(
    source: str, propagation: Propagation, *, fits: bool
) -> None:
    mounts = (replace(DATA, propagation=propagation),)
    sources = {"/data": Path(source)}
    if fits:
        check_propagation(mounts, sources, MOUNTINFO)
        return
    with pytest.raises(FailedPreconditionError, match=f"{source} .*{propagation.value}"):
        check_propagation(mounts, sources, MOUNTINFO)


def mapped(length: int, network: NamespaceMode = NamespaceMode.POD) -> SpecRequest:
    ids = (IdMapping(container_id=0, host_id=200000, length=length),)
    users = UserNamespace(mode=NamespaceMode.POD, uids=ids, gids=ids)
    return replace(REQUEST, sandbox_modes=NamespaceModes(network=network, user=users))


def test_terminals_have_their_group_if_the_pod_has_it() -> None:
    own = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    assert options(mapped(6), "/dev/pts") == [*own, "gid=5"]
    assert options(mapped(5), "/dev/pts") == own


def test_on_the_nodes_network_a_mapped_pod_sees_the_nodes_sys() -> None:
    assert entries(mapped(65536))["/sys"]["type"] == "sysfs"
    sys = entries(mapped(65536, NamespaceMode.NODE))["/sys"]
    assert (sys["type"], sys["source"]) == ("bind", "/sys")
    assert sys["options"] == ["rbind", "rprivate", "nosuid", "noexec", "nodev", "rro"]


def test_a_volume_shows_the_pods_ids_as_deep_as_it_can() -> None:
    ids = (IdMapping(container_id=0, host_id=200000, length=65536),)
    volume = MountRequest(
        container_path="/vol", host_path="/srv", uid_mappings=ids, gid_mappings=ids
    )
    shallow = replace(mapped(65536), mounts=(volume,), sources={"/vol": Path("/srv")})
    deep = replace(shallow, deeply_mapped=frozenset({"/vol"}))
    assert options(shallow, "/vol") == ["rbind", "rprivate", "rw"]
    assert options(deep, "/vol") == ["rbind", "rprivate", "rw", "ridmap"]
    assert entries(deep)["/vol"]["uidMappings"] == entries(shallow)["/vol"]["uidMappings"]


def test_an_image_is_mounted_without_ids_and_nothing_travels() -> None:
    ids = (IdMapping(container_id=0, host_id=200000, length=65536),)
    volume = MountRequest(
        container_path="/vol",
        image="sha256:1",
        readonly=True,
        propagation=Propagation.HOST_TO_CONTAINER,
        uid_mappings=ids,
        gid_mappings=ids,
    )
    request = replace(mapped(65536), mounts=(volume,), sources={"/vol": Path("/images/0")})
    assert entries(request)["/vol"] == {
        "destination": "/vol",
        "type": "bind",
        "source": "/images/0",
        "options": ["rbind", "rprivate", "ro"],
    }
