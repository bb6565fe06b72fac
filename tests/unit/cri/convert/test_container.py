import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.api.runtime.v1 import api_pb2 as pb
from cri.convert.container import (
    container_config_from,
    container_filter_from,
    container_status_to,
    container_to,
)
from runtime.pods import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ContainerStatus,
    Filter,
    ImageRequest,
    PodContainer,
)
from runtime.spec import (
    DeviceRequest,
    IdMapping,
    MountRequest,
    ProcessUser,
    Propagation,
    Resources,
    Security,
)
from store.errors import InvalidArgumentError

CONFIG = ContainerConfig(
    metadata=ContainerMetadata(name="c", attempt=1),
    image=ImageRequest(image="sha256:1", user_specified="busybox", annotations={"i": "1"}),
    labels={"l": "1"},
    annotations={"a": "2"},
)
STATUS = ContainerStatus(
    id="c1",
    container=PodContainer(
        sandbox_id="s1",
        config=CONFIG,
        image_id="sha256:1",
        image_ref="docker.io/library/busybox@sha256:2",
        image_name="docker.io/library/busybox:latest",
        log_path="/logs/c/0.log",
        stop_signal="SIGTERM",
        user=ProcessUser(uid=1, gid=2, supplemental_groups=(3,)),
        resources=Resources(cpu_shares=4),
    ),
    state=ContainerState.EXITED,
    created_at=10,
    started_at=11,
    finished_at=12,
    exit_code=137,
    reason="OOMKilled",
    message="no memory",
    pid=99,
)


def test_every_field_of_a_config_arrives() -> None:
    message = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name="c", attempt=1),
        image=pb.ImageSpec(
            image="sha256:1", user_specified_image="busybox", annotations={"i": "1"}
        ),
        command=["sh"],
        args=["-c", "true"],
        working_dir="/w",
        envs=[pb.KeyValue(key="K", value=b"\xff"), pb.KeyValue(key="K", value=b"2")],
        mounts=[pb.Mount(container_path="/c", host_path="/h")],
        devices=[
            pb.Device(container_path="/dev/a", host_path="/dev/b", permissions="r"),
            pb.Device(container_path="/dev/c", host_path="/dev/c"),
        ],
        CDI_devices=[pb.CDIDevice(name="vendor/x=1")],
        labels={"l": "1"},
        annotations={"a": "2"},
        log_path="c/0.log",
        stdin=True,
        stdin_once=True,
        tty=True,
        linux=pb.LinuxContainerConfig(
            resources=pb.LinuxContainerResources(cpu_shares=4),
            security_context=pb.LinuxContainerSecurityContext(privileged=True),
        ),
        stop_signal=pb.SIGNAL_SIGINT,
    )
    assert container_config_from(message) == dataclasses.replace(
        CONFIG,
        command=("sh",),
        args=("-c", "true"),
        working_dir="/w",
        env=(("K", b"\xff"), ("K", b"2")),
        mounts=(MountRequest(container_path="/c", host_path="/h"),),
        devices=(
            DeviceRequest(container_path="/dev/a", host_path="/dev/b", permissions="r"),
            DeviceRequest(container_path="/dev/c", host_path="/dev/c"),
        ),
        cdi_devices=("vendor/x=1",),
        log_path="c/0.log",
        stdin=True,
        stdin_once=True,
        tty=True,
        resources=Resources(cpu_shares=4),
        security=Security(privileged=True),
        stop_signal="SIGINT",
    )


def test_an_unknown_propagation_is_refused_by_its_mount() -> None:
    bad = pb.Mount(propagation=pb.MountPropagation.ValueType(3))
    with pytest.raises(InvalidArgumentError, match=r"config\.mounts\[1\]\.propagation: unknown"):
        container_config_from(pb.ContainerConfig(mounts=[pb.Mount(), bad]))


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ids = st.integers(0, 2**32 - 1)
mappings = st.lists(
    st.builds(IdMapping, container_id=ids, host_id=ids, length=ids), max_size=2
).map(tuple)
mounts = st.builds(
    MountRequest,
    container_path=words,
    host_path=words,
    readonly=st.booleans(),
    recursive_readonly=st.booleans(),
    propagation=st.sampled_from(Propagation),
    selinux_relabel=st.booleans(),
    uid_mappings=mappings,
    gid_mappings=mappings,
    image=words,
    image_sub_path=words,
    options=st.lists(words, max_size=2).map(tuple),
)


@given(st.lists(mounts, max_size=3).map(tuple))
def test_a_status_reports_the_mounts_that_were_asked_for(value: tuple[MountRequest, ...]) -> None:
    config = dataclasses.replace(CONFIG, mounts=value)
    container = dataclasses.replace(STATUS.container, config=config)
    status = container_status_to(dataclasses.replace(STATUS, container=container))
    again = container_config_from(pb.ContainerConfig(mounts=status.mounts))
    assert again.mounts == value


def test_an_image_mount_reports_what_was_mounted() -> None:
    config = dataclasses.replace(
        CONFIG, mounts=(MountRequest(container_path="/i", image="sha256:9"),)
    )
    container = dataclasses.replace(
        STATUS.container, config=config, mount_image_refs={"/i": "sha256:9"}
    )
    status = container_status_to(dataclasses.replace(STATUS, container=container))
    assert status.mounts[0].image == pb.ImageSpec(image="sha256:9", image_ref="sha256:9")


def test_a_list_shows_what_the_kubelet_compares() -> None:
    assert container_to(STATUS) == pb.Container(
        id="c1",
        pod_sandbox_id="s1",
        metadata=pb.ContainerMetadata(name="c", attempt=1),
        image=pb.ImageSpec(
            image="docker.io/library/busybox:latest",
            user_specified_image="busybox",
            annotations={"i": "1"},
        ),
        image_ref="docker.io/library/busybox@sha256:2",
        state=pb.CONTAINER_EXITED,
        created_at=10,
        labels={"l": "1"},
        annotations={"a": "2"},
        image_id="sha256:1",
    )


def test_a_status_tells_everything() -> None:
    assert container_status_to(STATUS) == pb.ContainerStatus(
        id="c1",
        metadata=pb.ContainerMetadata(name="c", attempt=1),
        state=pb.CONTAINER_EXITED,
        created_at=10,
        started_at=11,
        finished_at=12,
        exit_code=137,
        image=pb.ImageSpec(
            image="docker.io/library/busybox:latest",
            user_specified_image="busybox",
            annotations={"i": "1"},
        ),
        image_ref="docker.io/library/busybox@sha256:2",
        reason="OOMKilled",
        message="no memory",
        labels={"l": "1"},
        annotations={"a": "2"},
        log_path="/logs/c/0.log",
        resources=pb.ContainerResources(linux=pb.LinuxContainerResources(cpu_shares=4)),
        image_id="sha256:1",
        user=pb.ContainerUser(linux=pb.LinuxContainerUser(uid=1, gid=2, supplemental_groups=[3])),
        stop_signal=pb.SIGNAL_SIGTERM,
    )


def test_filters_keep_zero_states_apart_from_none() -> None:
    assert container_filter_from(pb.ContainerFilter()) == Filter()
    message = pb.ContainerFilter(
        id="c",
        state=pb.ContainerStateValue(state=pb.CONTAINER_CREATED),
        pod_sandbox_id="s",
        label_selector={"l": "1"},
    )
    expected = Filter(id="c", state="created", sandbox_id="s", labels={"l": "1"})
    assert container_filter_from(message) == expected


def test_a_damaged_container_has_what_clients_insist_on() -> None:
    lost = ContainerStatus(
        id="c1",
        container=PodContainer(
            sandbox_id="",
            config=ContainerConfig(
                metadata=ContainerMetadata(name=""), image=ImageRequest(image="")
            ),
            image_id="",
            image_ref="",
            image_name="",
            log_path="",
            stop_signal="",
            user=ProcessUser(),
            resources=Resources(),
            damage="its record is damaged",
        ),
        state=ContainerState.UNKNOWN,
        created_at=0,
    )
    status = container_status_to(lost)
    assert status.metadata.name == status.image.image == status.image_ref == "unknown"
    assert status.created_at == container_to(lost).created_at == 1
    assert status.state == pb.CONTAINER_UNKNOWN
