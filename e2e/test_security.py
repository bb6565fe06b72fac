"""Processes of others, confinement, and what the node says it can do."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from grpc import StatusCode, aio

from cri.api.runtime.v1 import api_pb2 as pb
from e2e.client import Client, Container, Pod, code
from e2e.images import BUSYBOX, WEB

pytestmark = pytest.mark.root

Images = Mapping[str, str]

USERS = (200_000, 65_536)
SLEEP = ["sleep", "600"]


@pytest.mark.parametrize("users", [None, USERS], ids=["node's users", "mapped"])
async def test_an_ephemeral_container_sees_its_targets_processes(
    cri: Client, images: Images, handler: str, logs: Path, users: tuple[int, int] | None
) -> None:
    pod = Pod(name="target", logs=logs, users=users)
    async with cri.pod(pod, handler) as running:
        main = await cri.run(running, Container(name="main", image=images[WEB]))
        other = await cri.run(
            running, Container(name="other", image=images[BUSYBOX], command=SLEEP)
        )
        debugger = Container(name="debugger", image=images[BUSYBOX], command=SLEEP)
        config = debugger.config(pod)
        options = config.linux.security_context.namespace_options
        options.pid = pb.NamespaceMode.Value("TARGET")
        options.target_id = main
        ephemeral = await cri.run(running, debugger, config)
        assert "serve.py" in await cri.output(ephemeral, "ps")
        assert "serve.py" not in await cri.output(other, "ps")
        link = ("readlink", "/proc/self/ns/pid")
        assert await cri.output(ephemeral, *link) == await cri.output(main, *link)
        assert "httpd" not in await cri.output(ephemeral, "cat", "/proc/1/cmdline")
        await cri.stop(main)
        assert (await cri.exited(ephemeral)).exit_code == 137  # with its target
        config.metadata.attempt = 1
        with pytest.raises(aio.AioRpcError, match="it is not running"):
            await cri.create(running, debugger, config)


async def test_a_target_in_another_pod_is_refused(cri: Client, images: Images, logs: Path) -> None:
    async with cri.pod(Pod(name="one", logs=logs)) as one:
        main = await cri.run(one, Container(name="main", image=images[BUSYBOX], command=SLEEP))
        async with cri.pod(Pod(name="two", logs=logs)) as two:
            container = Container(name="debugger", image=images[BUSYBOX], command=SLEEP)
            config = container.config(two.pod)
            options = config.linux.security_context.namespace_options
            options.pid = pb.NamespaceMode.Value("TARGET")
            options.target_id = main
            with pytest.raises(aio.AioRpcError, match="not in sandbox"):
                await cri.create(two, container, config)


async def test_confinement_that_the_kernel_lacks_is_refused(
    cri: Client, images: Images, logs: Path
) -> None:
    if Path("/sys/kernel/security/apparmor").exists() or Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("this kernel has AppArmor or SELinux")
    pod = Pod(name="confined", logs=logs)
    async with cri.pod(pod) as running:
        container = Container(name="main", image=images[BUSYBOX], command=SLEEP)
        config = container.config(pod)
        config.linux.security_context.apparmor_profile = "localhost/strict"
        with pytest.raises(aio.AioRpcError, match=r"'strict'.*no AppArmor") as refused:
            await cri.create(running, container, config)
        assert code(refused.value) is StatusCode.FAILED_PRECONDITION
        config = container.config(pod)
        config.linux.security_context.selinux_options.level = "s0:c1,c2"
        with pytest.raises(aio.AioRpcError, match="no SELinux") as refused:
            await cri.create(running, container, config)
        assert code(refused.value) is StatusCode.FAILED_PRECONDITION


async def test_the_node_tells_what_its_handlers_can(cri: Client) -> None:
    status = await cri.runtime.Status(pb.StatusRequest())
    found = {
        handler.name: (
            handler.features.user_namespaces,
            handler.features.recursive_read_only_mounts,
        )
        for handler in status.runtime_handlers
    }
    assert found == {"": (True, True), "crun": (True, True), "runc": (True, True)}
    assert status.features.user_namespaces_host_network
    assert status.features.mount_options
