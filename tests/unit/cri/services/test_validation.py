import pytest
from google.protobuf.message import Message

from cri.api.ferry.v1 import node_pb2
from cri.api.runtime.v1 import api_pb2 as pb
from cri.services import rules
from cri.services.validation import MAX_ITEMS, MAX_MAP, MAX_STRING, check
from store.errors import InvalidArgumentError

ID = "c" * 64


Pod = pb.PodSandboxConfig
Container = pb.ContainerConfig
Security = pb.LinuxContainerSecurityContext
Resources = pb.LinuxContainerResources


def run(changes: Pod) -> pb.RunPodSandboxRequest:
    config = Pod(metadata=pb.PodSandboxMetadata(name="n", uid="u", namespace="ns"))
    config.MergeFrom(changes)
    return pb.RunPodSandboxRequest(config=config)


def create(changes: Container) -> pb.CreateContainerRequest:
    config = Container(
        metadata=pb.ContainerMetadata(name="c"), image=pb.ImageSpec(image="sha256:1")
    )
    config.MergeFrom(changes)
    return pb.CreateContainerRequest(pod_sandbox_id=ID, config=config)


def security(context: Security) -> pb.CreateContainerRequest:
    return create(Container(linux=pb.LinuxContainerConfig(security_context=context)))


def resources(limits: Resources) -> pb.CreateContainerRequest:
    return create(Container(linux=pb.LinuxContainerConfig(resources=limits)))


IMAGE = pb.ImageSpec(image="sha256:1")

GOOD = [
    pb.VersionRequest(),
    pb.StopPodSandboxRequest(pod_sandbox_id="c0ffee"),
    run(Pod(hostname="h", log_directory="/var/log/pods/x", labels={"a": ""})),
    create(
        Container(
            mounts=[
                pb.Mount(container_path="/a", host_path="/b"),
                pb.Mount(container_path="/i", image=IMAGE, readonly=True, image_sub_path="x/y"),
                pb.Mount(
                    container_path="/r", host_path="/b", readonly=True, recursive_read_only=True
                ),
            ],
            log_path="c/0.log",
            envs=[pb.KeyValue(key="A", value=b"\xff=")],
            devices=[pb.Device(host_path="/dev/null", container_path="/dev/x", permissions="rw")],
        )
    ),
    resources(
        Resources(
            cpu_quota=-1, cpu_period=100_000, cpuset_cpus="0-3,7", memory_swap_limit_in_bytes=-1
        )
    ),
    pb.ListContainersRequest(filter=pb.ContainerFilter(id="c0", label_selector={"a": "b"})),
    pb.ListImagesRequest(filter=pb.ImageFilter(image=pb.ImageSpec())),
    pb.ExecSyncRequest(container_id=ID, cmd=["true", ""], timeout=5),
    pb.UpdateRuntimeConfigRequest(),
]


@pytest.mark.parametrize("request_", GOOD, ids=lambda one: str(one.DESCRIPTOR.name))
def test_what_kubelets_send_passes(request_: Message) -> None:
    check(request_)


BAD: list[tuple[Message, str]] = [
    (pb.RunPodSandboxRequest(), "config: must be set"),
    (
        pb.RunPodSandboxRequest(config=pb.PodSandboxConfig()),
        "config.metadata: must be set",
    ),
    (
        pb.RunPodSandboxRequest(
            config=pb.PodSandboxConfig(metadata=pb.PodSandboxMetadata(name="n", namespace="x"))
        ),
        "config.metadata.uid: must not be empty",
    ),
    (
        pb.RunPodSandboxRequest(config=run(Pod()).config, runtime_handler="a/b"),
        "runtime_handler: must not",
    ),
    (run(Pod(hostname="x" * 65)), "config.hostname: must have at most 64"),
    (run(Pod(log_directory="logs")), "config.log_directory: must be an absolute path"),
    (run(Pod(log_directory="/a/../b")), "config.log_directory: must not contain '..'"),
    (run(Pod(labels={"a": "b\0"})), "config.labels['a']: must not contain NUL"),
    (run(Pod(labels={"": "b"})), "config.labels['']: must not be empty"),
    (run(Pod(annotations={"a": "x" * (MAX_MAP + 1)})), "config.annotations: must have at most"),
    (
        run(Pod(dns_config=pb.DNSConfig(servers=["1.1.1.1", "dns"]))),
        "config.dns_config.servers[1]: must be an IP address",
    ),
    (
        run(Pod(dns_config=pb.DNSConfig(searches=["a\nnameserver 6.6.6.6"]))),
        "config.dns_config.searches[0]: must not contain spaces",
    ),
    (
        run(Pod(linux=pb.LinuxPodSandboxConfig(sysctls={"net/../kernel.x": "1"}))),
        "config.linux.sysctls['net/../kernel.x']: must be names",
    ),
    (
        run(Pod(linux=pb.LinuxPodSandboxConfig(cgroup_parent="/a/../.."))),
        "config.linux.cgroup_parent",
    ),
    (pb.StopPodSandboxRequest(), "pod_sandbox_id: must not be empty"),
    (pb.StopPodSandboxRequest(pod_sandbox_id="../x"), "pod_sandbox_id: must be letters"),
    (pb.ContainerStatusRequest(container_id="x" * 10_240), "container_id: must have at most 253"),
    (pb.ContainerStatusRequest(container_id="a\nb"), "container_id: must be letters"),
    (pb.CreateContainerRequest(pod_sandbox_id=ID), "config: must be set"),
    (
        pb.CreateContainerRequest(
            pod_sandbox_id=ID,
            config=pb.ContainerConfig(metadata=pb.ContainerMetadata(name="c")),
        ),
        "config.image: must be set",
    ),
    (create(Container(log_path="/abs")), "config.log_path: must be a relative path"),
    (create(Container(log_path="../../etc/x")), "config.log_path: must not contain '..'"),
    (create(Container(working_dir="rel")), "config.working_dir: must be an absolute path"),
    (create(Container(args=["a", "b\0"])), "config.args[1]: must not contain NUL"),
    (create(Container(args=["x" * (MAX_STRING + 1)])), "config.args[0]: must have at most"),
    (create(Container(args=["x"] * (MAX_ITEMS + 1))), "config.args: must have at most"),
    (
        create(Container(envs=[pb.KeyValue(key="A=B")])),
        "config.envs[0].key: must be a name without",
    ),
    (
        create(Container(envs=[pb.KeyValue(key="A", value=b"\0")])),
        "config.envs[0].value: must not contain",
    ),
    (
        create(Container(mounts=[pb.Mount(host_path="/a")])),
        "config.mounts[0].container_path: must not be",
    ),
    (
        create(Container(mounts=[pb.Mount(container_path="/a")])),
        "config.mounts[0].host_path: must be set if",
    ),
    (
        create(Container(mounts=[pb.Mount(container_path="/a", host_path="/a", image=IMAGE)])),
        "config.mounts[0].host_path: must be set if",
    ),
    (
        create(Container(mounts=[pb.Mount(container_path="/a", image=IMAGE)])),
        "config.mounts[0].readonly: must be true for an image",
    ),
    (
        create(
            Container(mounts=[pb.Mount(container_path="/a", host_path="/b", image_sub_path="c")])
        ),
        "config.mounts[0].image_sub_path: must be empty without",
    ),
    (
        create(
            Container(
                mounts=[pb.Mount(container_path="/a", host_path="/b", recursive_read_only=True)]
            )
        ),
        "config.mounts[0].recursive_read_only: wants `readonly`",
    ),
    (
        create(
            Container(
                mounts=[
                    pb.Mount(
                        container_path="/a",
                        host_path="/b",
                        readonly=True,
                        recursive_read_only=True,
                        propagation=pb.PROPAGATION_BIDIRECTIONAL,
                    )
                ]
            )
        ),
        "config.mounts[0].recursive_read_only: wants",
    ),
    (
        create(Container(devices=[pb.Device(host_path="/dev/x", permissions="rx")])),
        "config.devices[0].permissions: must be of the letters",
    ),
    (
        security(Security(run_as_group=pb.Int64Value(value=1))),
        "run_as_group: must not be set without",
    ),
    (
        security(Security(namespace_options=pb.NamespaceOption(pid=pb.TARGET))),
        "config.linux.security_context.namespace_options.target_id: must not be empty",
    ),
    (
        security(Security(capabilities=pb.Capability(add_capabilities=["NET ADMIN"]))),
        "security_context.capabilities.add_capabilities[0]: must be a capability",
    ),
    (
        resources(Resources(oom_score_adj=1001)),
        "config.linux.resources.oom_score_adj: must be -1000 to 1000",
    ),
    (resources(Resources(cpu_quota=5)), "config.linux.resources.cpu_quota: must be -1, 0, 1000 to"),
    (resources(Resources(memory_limit_in_bytes=-1)), "memory_limit_in_bytes: must be 0 to"),
    (resources(Resources(cpuset_cpus="all")), "cpuset_cpus: must be a list such as"),
    (resources(Resources(unified={"../x": "1"})), "unified['../x']: must be a cgroup file"),
    (pb.StopContainerRequest(container_id=ID, timeout=-1), "timeout: must be 0 to"),
    (pb.ExecSyncRequest(container_id=ID), "cmd: must not be empty"),
    (pb.ExecSyncRequest(container_id=ID, cmd=["a"], timeout=-5), "timeout: must be 0 to"),
    (pb.UpdateContainerResourcesRequest(container_id=ID), "linux: must be set"),
    (pb.ListContainersRequest(filter=pb.ContainerFilter(id="a/b")), "filter.id: must be letters"),
    (pb.PullImageRequest(), "image: must be set"),
    (pb.PullImageRequest(image=pb.ImageSpec()), "image.image: must not be empty"),
    (pb.RemoveImageRequest(image=pb.ImageSpec(image="a b")), "image.image: must not contain spa"),
]


@pytest.mark.parametrize(("request_", "text"), BAD, ids=[text[:60] for _, text in BAD])
def test_what_can_never_work_is_refused_by_field(request_: Message, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        check(request_)
    assert text in str(raised.value)


def test_fields_that_are_not_read_are_not_checked() -> None:
    check(
        pb.PullImageRequest(
            image=IMAGE, sandbox_config=pb.PodSandboxConfig(hostname="\0", log_directory="x")
        )
    )


def test_every_rule_names_a_field_of_cri() -> None:
    messages = {**node_pb2.DESCRIPTOR.message_types_by_name}
    messages |= pb.DESCRIPTOR.message_types_by_name
    for key in (*rules.TEXT, *rules.NUMBERS, *rules.REQUIRED, *rules.UNREAD):
        owner, field = key.split(".")
        assert field in messages[owner].fields_by_name, key


@pytest.mark.parametrize(
    "name",
    [
        message.name
        for message in pb.DESCRIPTOR.message_types_by_name.values()
        if message.name.endswith("Request")
        and {"pod_sandbox_id", "container_id"} & {*message.fields_by_name}
    ],
)
def test_every_request_about_something_wants_its_id(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"_id: must not be empty"):
        check(getattr(pb, name)())
