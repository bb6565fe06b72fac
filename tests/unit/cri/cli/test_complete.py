import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest
import typer

from cri.cli import complete
from cri.cli.daemon import Daemon
from cri.cli.requests import Wish, container_config, pod_config

NAME = "example.org/a:1"


@dataclass(slots=True)
class Context:
    """What a completion sees of typer's."""

    params: dict[str, object] = field(default_factory=dict)


Offer = Callable[[typer.Context, str], list[str]]


def offered(offer: Offer, incomplete: str, address: str) -> list[str]:
    return offer(cast("typer.Context", Context({"address": address})), incomplete)


async def test_what_the_daemon_has_is_offered(daemon: Daemon, address: str) -> None:
    wish = Wish(image=NAME, name="one")
    pod = pod_config(wish)
    _ = [each async for each in daemon.pull(NAME)]
    await daemon.create(await daemon.run_pod(pod, ""), container_config(wish), pod)
    for offer, begin, names in (
        (complete.images, "exa", [NAME]),
        (complete.images, "x", []),
        (complete.pods, "", ["one"]),
        (complete.pods, "two", []),
        (complete.containers, "one/", ["one/main"]),
    ):
        assert await asyncio.to_thread(offered, offer, begin, address) == names


@pytest.mark.parametrize("offer", [complete.images, complete.pods, complete.containers])
def test_without_a_daemon_nothing_is_offered(offer: Offer) -> None:
    assert offered(offer, "", "/no/socket") == []
