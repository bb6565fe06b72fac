"""Volumes and identities: what a container finds where, as whom, and what it may do with it."""

from pathlib import Path

import pytest

from e2e.images import BUSYBOX, SERVE, WEB
from e2e.kubelet.api import Pod
from e2e.kubelet.conftest import Node
from e2e.kubelet.manifests import empty_dir, host_path, mount, pod, shell


async def test_containers_share_empty_dirs_which_outlive_them(kube: Node) -> None:
    image = kube.image(BUSYBOX)
    mounts = [mount("disk", "/disk"), mount("memory", "/memory")]
    volumes = [empty_dir("disk"), empty_dir("memory", medium="Memory", sizeLimit="1Mi")]
    both = [shell(name, image, volumeMounts=mounts) for name in ("main", "other")]
    found = await kube.run(pod("sharing", both, volumes=volumes))
    name = found.metadata.name
    await kube.exec(name, "touch", "/disk/a", "/memory/b")
    assert await kube.exec(name, "ls", "/disk", "/memory", container="other") == (
        "/disk:\na\n\n/memory:\nb\n"
    )
    assert "size=1024k" in await kube.exec(name, "grep", "/memory", "/proc/mounts")
    assert await kube.exec(name, "stat", "-c", "%a", "/disk") == "777\n"
    await kube.kill(name)
    await kube.api.until(name, lambda pod: pod.ready and pod.container().restart_count)
    assert await kube.exec(name, "ls", "/disk", "/memory") == "/disk:\na\n\n/memory:\nb\n"


async def test_host_paths_are_mounted_as_they_are_asked_for(kube: Node, tmp_path: Path) -> None:
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "file").write_text("below\n")
    (tmp_path / "file").write_text("alone\n")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    volumes = [
        host_path("folder", tmp_path / "folder"),
        host_path("file", tmp_path / "file", "File"),
        host_path("link", tmp_path / "link"),
        host_path("made", tmp_path / "made", "DirectoryOrCreate"),
    ]
    mounts = [
        mount("folder", "/writable"),
        mount("folder", "/read-only", readOnly=True),
        mount("folder", "/sub", subPath="sub"),
        mount("folder", "/expanded", subPathExpr="$(POD)"),
        mount("file", "/file"),
        mount("link", "/link"),
        mount("made", "/made"),
    ]
    script = """\
exec 2>&1
touch /writable/written /made/inside
touch /read-only/refused || echo "read-only"
cat /file /sub/file /link/sub/file
touch /expanded/mine
"""
    main = shell(
        "main",
        kube.image(BUSYBOX),
        script,
        volumeMounts=mounts,
        env=[{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    )
    name = kube.apply(pod("paths", [main], volumes=volumes, restartPolicy="Never"))
    await kube.api.until(name, lambda pod: pod.status.phase == "Succeeded")
    assert await kube.log(name) == (
        "touch: /read-only/refused: Read-only file system\nread-only\nalone\nbelow\nbelow\n"
    )
    assert sorted(each.name for each in (tmp_path / "folder").iterdir()) == [
        *(name, "sub", "written")
    ]
    assert [each.name for each in (tmp_path / "folder" / name).iterdir()] == ["mine"]
    assert [each.name for each in (tmp_path / "made").iterdir()] == ["inside"]


async def test_mounts_propagate_where_that_is_asked_for(kube: Node, tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    image = kube.image(BUSYBOX)

    def sees(name: str, propagation: str, **fields: object) -> dict[str, object]:
        view = mount("top", "/top", mountPropagation=propagation)
        return {**shell(name, image, volumeMounts=[view]), **fields}

    both = sees("main", "Bidirectional", securityContext={"privileged": True})
    containers = [both, sees("slave", "HostToContainer"), sees("private", "None")]
    found = await kube.run(
        pod("spreading", containers, volumes=[host_path("top", tmp_path / "top")])
    )
    name = found.metadata.name
    await kube.exec(name, "mkdir", "/top/mounted")
    await kube.exec(name, "mount", "-t", "tmpfs", "tmpfs", "/top/mounted")
    await kube.exec(name, "touch", "/top/mounted/new")
    seen = {
        each: await kube.exec(name, "ls", "/top/mounted", container=each)
        for each in ("main", "slave", "private")
    }
    assert seen == {"main": "new\n", "slave": "new\n", "private": ""}
    assert (tmp_path / "top" / "mounted" / "new").exists()
    await kube.exec(name, "umount", "/top/mounted")
    assert not (tmp_path / "top" / "mounted" / "new").exists()


async def test_a_pod_reads_about_itself(kube: Node) -> None:
    # Not by a projected volume: a kubelet without an API server refuses every one of them.
    def field(path: str) -> dict[str, object]:
        return {"fieldRef": {"fieldPath": path}}

    items = [
        {"path": "name", **field("metadata.name")},
        {"path": "labels", **field("metadata.labels")},
        {"path": "deep/namespace", "mode": 0o400, **field("metadata.namespace")},
    ]
    volume = {"name": "about", "downwardAPI": {"items": items}}
    limit = {"resource": "limits.memory", "divisor": "1Mi"}
    main = shell(
        "main",
        kube.image(BUSYBOX),
        volumeMounts=[mount("about", "/about")],
        resources={"limits": {"memory": "48Mi", "cpu": "250m"}},
        env=[
            {"name": "IP", "valueFrom": field("status.podIP")},
            {"name": "MEMORY", "valueFrom": {"resourceFieldRef": limit}},
        ],
    )
    found = await kube.run(pod("selfish", [main], volumes=[volume]))
    name = found.metadata.name
    assert await kube.exec(name, "cat", "/about/name", "/about/labels") == f'{name}e2e="selfish"'
    assert await kube.exec(name, "stat", "-Lc", "%a", "/about/deep/namespace") == "400\n"
    environment = (await kube.exec(name, "env")).splitlines()
    assert {f"IP={found.status.pod_ip}", "MEMORY=48"} <= set(environment)
    assert found.status.pod_ip in await kube.exec(name, "cat", "/etc/hosts")
    assert await kube.exec(name, "cat", "/etc/resolv.conf") == "nameserver 192.0.2.53\n"
    assert await kube.exec(name, "hostname") == f"{name}\n"


async def test_a_container_is_who_and_may_what_its_context_says(kube: Node) -> None:
    whole = {
        "runAsUser": 1000,
        "runAsGroup": 100,
        "fsGroup": 4711,
        "supplementalGroups": [4712],
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "1000"}],
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    strict = {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = [mount("own", "/own")]
    main = shell("main", kube.image(BUSYBOX), securityContext=strict, volumeMounts=mounts)
    free = shell("free", kube.image(BUSYBOX), securityContext={"runAsUser": 0, "privileged": True})
    manifest = pod("strict", [main, free], securityContext=whole, volumes=[empty_dir("own")])
    found = await kube.run(manifest)
    name = found.metadata.name
    assert await kube.exec(name, "id", "-u") == "1000\n"
    assert set((await kube.exec(name, "id", "-G")).split()) == {"100", "4711", "4712", "50000"}
    assert await kube.exec(name, "stat", "-c", "%g:%a", "/own") == "4711:2777\n"
    status = await kube.exec(name, "grep", "-E", "CapEff|NoNewPrivs|Seccomp:", "/proc/1/status")
    assert status.split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]
    status = await kube.exec(
        name, "grep", "-E", "CapEff|NoNewPrivs|Seccomp:", "/proc/1/status", container="free"
    )
    assert status.split()[2:] == ["NoNewPrivs:", "0", "Seccomp:", "0"]
    start = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    assert await kube.exec(name, "cat", start) == "1000\n"


async def test_images_are_volumes_as_a_whole_or_in_part(kube: Node) -> None:
    volume = {"name": "image", "image": {"reference": kube.image(WEB)}}
    mounts = [
        mount("image", "/whole", readOnly=True),
        mount("image", "/part", readOnly=True, subPath="srv"),
    ]
    main = shell("main", kube.image(BUSYBOX), volumeMounts=mounts)
    found = await kube.run(pod("pictures", [main], volumes=[volume]))
    name = found.metadata.name
    served = await kube.exec(name, "cat", "/part/serve.py")
    assert served == SERVE
    assert await kube.exec(name, "cat", "/whole/srv/serve.py") == served
    mounted = (await kube.exec(name, "cat", "/proc/mounts")).splitlines()
    (options,) = (line.split()[3] for line in mounted if line.split()[1] == "/whole")
    assert "ro" in options.split(",")


@pytest.mark.ferry
async def test_a_part_that_an_image_lacks_is_named(kube: Node) -> None:
    kube.expect("ImageVolumeMountFailed")
    volume = {"name": "image", "image": {"reference": kube.image(WEB)}}
    mounts = [mount("image", "/part", readOnly=True, subPath="none/such")]
    main = shell("main", kube.image(BUSYBOX), volumeMounts=mounts)
    name = kube.apply(pod("partial", [main], volumes=[volume]))

    def refused(pod: Pod) -> bool:
        waiting = pod.container().state.waiting
        return waiting is not None and waiting.message.startswith("ImageVolumeMountFailed: ")

    found = await kube.api.until(name, refused)
    waiting = found.container().state.waiting
    assert waiting is not None
    assert "none/such" in waiting.message


async def test_root_in_a_pod_may_be_nobody_on_the_node(kube: Node, tmp_path: Path) -> None:
    volumes = [empty_dir("own"), host_path("host", tmp_path)]
    mounts = [mount("own", "/own"), mount("host", "/host")]
    both = [shell(name, kube.image(BUSYBOX), volumeMounts=mounts) for name in ("main", "other")]
    found = await kube.run(pod("mapped", both, volumes=volumes, hostUsers=False))
    name = found.metadata.name
    inside, outside, size = (await kube.exec(name, "cat", "/proc/self/uid_map")).split()
    assert inside == "0"
    assert int(outside) >= 65536
    assert int(size) == 65536
    assert await kube.exec(name, "id", "-u") == "0\n"
    # Mounts are mapped, too: what root writes there is root's.
    await kube.exec(name, "touch", "/own/a", "/host/b")
    assert (tmp_path / "b").stat().st_uid == 0
    assert await kube.exec(name, "stat", "-c", "%u", "/own/a", container="other") == "0\n"
    pid = await kube.cri.pid(found.container().container_id.partition("://")[2])
    assert Path(f"/proc/{pid}").stat().st_uid == int(outside)
