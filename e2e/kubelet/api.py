"""What a kubelet serves: pods and their states, as far as the tests look at them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Final

import aiohttp
import msgspec

_READ_ONLY: Final = "http://127.0.0.1:10255"
SECURE: Final = "https://127.0.0.1:10250"
PATIENCE: Final = 60.0
"""Seconds until a test gives up; far beyond what a busy machine takes."""


class _Struct(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A JSON object in which unknown fields are ignored."""


class Waiting(_Struct, frozen=True):
    """Why a container does not run yet, or not again."""

    reason: str = ""
    message: str = ""


class Running(_Struct, frozen=True):
    """Since when a container runs."""

    started_at: str = ""


class Terminated(_Struct, frozen=True):
    """How a container ended."""

    exit_code: int
    signal: int = 0
    reason: str = ""
    message: str = ""
    container_id: str = msgspec.field(name="containerID", default="")


class State(_Struct, frozen=True):
    """One of the three is there."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class Container(_Struct, frozen=True):
    """A container's status."""

    name: str
    state: State = State()
    last_state: State = State()
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    image_id: str = msgspec.field(name="imageID", default="")
    container_id: str = msgspec.field(name="containerID", default="")


class Condition(_Struct, frozen=True):
    """One of a pod's conditions."""

    type: str
    status: str


class Metadata(_Struct, frozen=True):
    """Whose status it is."""

    name: str
    namespace: str
    uid: str


class Address(_Struct, frozen=True):
    """One of a pod's addresses."""

    ip: str


class Status(_Struct, frozen=True):
    """A pod's status."""

    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    host_ip: str = msgspec.field(name="hostIP", default="")
    conditions: Sequence[Condition] = ()
    container_statuses: Sequence[Container] = ()
    init_container_statuses: Sequence[Container] = ()


class Pod(_Struct, frozen=True):
    """A pod as the kubelet sees it."""

    metadata: Metadata
    status: Status = Status()

    @property
    def ready(self) -> bool:
        """Whether every container is ready."""
        return any(
            each.type == "Ready" and each.status == "True" for each in self.status.conditions
        )

    def container(self, name: str = "main") -> Container:
        """Return the status of a container or init container; an empty one until there is any."""
        known = (*self.status.container_statuses, *self.status.init_container_statuses)
        return next((each for each in known if each.name == name), Container(name=name))


class _Pods(_Struct, frozen=True):
    items: Sequence[Pod] | None = ()


class Api:
    """A client of a kubelet's ports; close it by leaving the block of `session`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, path: str, base: str = _READ_ONLY) -> bytes:
        """Return what is served at `path`."""
        async with self._session.get(base + path, ssl=False) as response:
            body = await response.read()
            assert response.status == 200, f"{path}: {response.status}: {body!r}"
            return body

    async def lines(self, path: str) -> AsyncGenerator[str]:
        """Yield the lines of what the secure port streams at `path`, until it ends."""
        async with self._session.get(SECURE + path, ssl=False) as response:
            assert response.status == 200, f"{path}: {response.status}"
            async for line in response.content:
                yield line.decode().rstrip("\n")

    async def post(self, path: str) -> bytes:
        """Return the answer to an empty POST to the secure port."""
        async with self._session.post(SECURE + path, ssl=False) as response:
            body = await response.read()
            assert response.status == 200, f"{path}: {response.status}: {body!r}"
            return body

    async def pods(self) -> Mapping[str, Pod]:
        """Return every pod that the kubelet knows, by name."""
        pods = msgspec.json.decode(await self.get("/pods"), type=_Pods)
        return {pod.metadata.name: pod for pod in pods.items or ()}

    async def until(
        self, name: str, condition: Callable[[Pod], object], seconds: float = PATIENCE
    ) -> Pod:
        """Return the pod as soon as `condition` holds for it."""
        deadline = time.monotonic() + seconds
        while True:
            pod = (await self.pods()).get(name)
            if pod and condition(pod):
                return pod
            assert time.monotonic() < deadline, f"not after {seconds} s: {pod}"
            await asyncio.sleep(0.1)
