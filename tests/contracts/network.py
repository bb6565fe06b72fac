"""What every network must do; a subclass gives the fixtures.

`bench` makes networks over the same records, as a restarted daemon would, and namespaces for pods.
The range is 10.99.0.0/28: 13 pods.
"""

import ipaddress
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from runtime.network import AttachRequest, Network, PortMapping
from store.errors import (
    AlreadyExistsError,
    Error,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
)

SUBNET = "10.99.0.0/28"
PODS = 13


class Bench(Protocol):
    """Where networks are tried."""

    async def network(self) -> Network:
        """Return a network over the same records; an earlier one is closed first."""
        ...

    def netns(self, name: str) -> Path:
        """Return the pinned namespace of a new pod."""
        ...


def request(bench: Bench, name: str, *ports: PortMapping) -> AttachRequest:
    return AttachRequest(sandbox_id=name, netns=bench.netns(name), ports=ports)


def tcp(port: int, host_ip: str = "") -> PortMapping:
    return PortMapping(protocol="TCP", container_port=80, host_port=port, host_ip=host_ip)


class NetworkContract:
    """The fixture `bench` is where the implementation under test lives.

    `exhausted` is how an error names the range that has no address left.
    """

    exhausted: ClassVar[str] = SUBNET

    async def test_a_pod_gets_an_address_of_the_range(self, bench: Bench) -> None:
        network = await bench.network()
        await network.recover(())
        assert network.status().ready
        assert network.status().reason
        attachment = await network.attach(request(bench, "a"))
        assert attachment.interface == "eth0"
        (address,) = attachment.addresses
        assert ipaddress.ip_address(address) in ipaddress.ip_network(SUBNET)
        await network.detach("a")

    async def test_no_address_is_given_twice_and_the_last_names_the_range(
        self, bench: Bench
    ) -> None:
        network = await bench.network()
        await network.recover(())
        given = [
            (await network.attach(request(bench, f"pod{number}"))).addresses[0]
            for number in range(PODS)
        ]
        assert len(set(given)) == PODS
        with pytest.raises(ResourceExhaustedError, match=self.exhausted):
            await network.attach(request(bench, "late"))
        await network.detach("pod5")
        assert (await network.attach(request(bench, "next"))).addresses == (given[5],)
        for name in [*(f"pod{number}" for number in range(PODS)), "next"]:
            await network.detach(name)

    async def test_a_freed_address_is_the_last_to_be_used_again(self, bench: Bench) -> None:
        network = await bench.network()
        await network.recover(())
        first = await network.attach(request(bench, "a"))
        await network.detach("a")
        for name in ("b", "c", "d"):
            assert (await network.attach(request(bench, name))).addresses != first.addresses
            await network.detach(name)

    async def test_detach_is_idempotent_and_takes_unknown_ids(self, bench: Bench) -> None:
        network = await bench.network()
        await network.recover(())
        attached = request(bench, "a")
        await network.attach(attached)
        await network.detach("a", attached.netns)
        await network.detach("a", attached.netns)
        await network.detach("never seen")

    async def test_a_taken_port_names_port_protocol_and_holder(self, bench: Bench) -> None:
        network = await bench.network()
        await network.recover(())
        await network.attach(request(bench, "first", tcp(8080)))
        with pytest.raises(AlreadyExistsError, match=r"8080/tcp.*first"):
            await network.attach(request(bench, "second", tcp(9090), tcp(8080)))
        with pytest.raises(AlreadyExistsError, match="8080/tcp"):
            await network.attach(request(bench, "third", tcp(8080, "127.0.0.1")))
        await network.attach(request(bench, "fourth", tcp(9090)))
        await network.detach("first")
        await network.attach(request(bench, "fifth", tcp(8080, "127.0.0.1")))
        await network.attach(request(bench, "sixth", tcp(8080, "127.0.0.2")))
        for name in ("fourth", "fifth", "sixth"):
            await network.detach(name)

    @pytest.mark.parametrize(
        ("mapping", "field"),
        [
            (PortMapping(protocol="icmp", container_port=1, host_port=1), "protocol"),
            (PortMapping(protocol="tcp", container_port=1, host_port=70000), "host_port"),
            (PortMapping(protocol="tcp", container_port=0, host_port=1), "container_port"),
            (PortMapping(protocol="tcp", container_port=1, host_port=1, host_ip="x"), "host_ip"),
        ],
    )
    async def test_a_bad_mapping_names_its_field(
        self, bench: Bench, mapping: PortMapping, field: str
    ) -> None:
        network = await bench.network()
        await network.recover(())
        with pytest.raises(InvalidArgumentError, match=field):
            await network.attach(request(bench, "a", mapping))

    async def test_a_failed_attach_leaves_nothing(self, bench: Bench, tmp_path: Path) -> None:
        network = await bench.network()
        await network.recover(())
        missing = AttachRequest(sandbox_id="a", netns=tmp_path / "gone", ports=(tcp(8080),))
        for _ in range(PODS + 1):
            with pytest.raises(Error, match="cannot connect sandbox a"):
                await network.attach(missing)
        await network.attach(request(bench, "a", tcp(8080)))
        await network.detach("a")

    async def test_recovery_keeps_the_known_and_frees_the_rest(self, bench: Bench) -> None:
        network = await bench.network()
        await network.recover(())
        kept = await network.attach(request(bench, "kept", tcp(8080)))
        await network.attach(request(bench, "lost", tcp(9090)))
        again = await bench.network()
        await again.recover({"kept", "never connected"})
        with pytest.raises(AlreadyExistsError, match="kept"):
            await again.attach(request(bench, "new", tcp(8080)))
        given = {(await again.attach(request(bench, "new", tcp(9090)))).addresses}
        for number in range(PODS - 2):
            given.add((await again.attach(request(bench, f"pod{number}"))).addresses)
        assert kept.addresses not in given
        assert len(given) == PODS - 1
        for name in ("kept", "new", *(f"pod{number}" for number in range(PODS - 2))):
            await again.detach(name)

    async def test_the_pod_cidr_moves_the_range_and_is_kept(self, bench: Bench) -> None:
        network = await bench.network()
        await network.recover(())
        await network.set_pod_cidr("10.98.0.0/24")
        assert network.status().ready
        again = await bench.network()
        await again.recover(())
        (address,) = (await again.attach(request(bench, "a"))).addresses
        assert ipaddress.ip_address(address) in ipaddress.ip_network("10.98.0.0/24")
        await again.set_pod_cidr("10.98.0.0/24")
        with pytest.raises(FailedPreconditionError, match=r"10\.98\.0\.0/24"):
            await again.set_pod_cidr("10.97.0.0/24")
        await again.detach("a")

    @pytest.mark.parametrize(
        "cidr", ["", "10.0.0.0/33", "10.0.0.0/31", "10.0.0.0/24,10.1.0.0/24", "x", "fd00::/64,,"]
    )
    async def test_a_bad_pod_cidr_is_refused(self, bench: Bench, cidr: str) -> None:
        network = await bench.network()
        await network.recover(())
        with pytest.raises(InvalidArgumentError, match="pod_cidr"):
            await network.set_pod_cidr(cidr)
        await network.attach(request(bench, "a"))
        await network.detach("a")
