import asyncio

from tests.fakes.network import MemoryNetwork


async def test_ranges_that_move_during_the_set_up_are_those_of_the_bridge() -> None:
    network = MemoryNetwork()
    network.wires.hold.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(network.recover(()))
        await asyncio.to_thread(network.wires.setting_up.wait, 10)
        group.create_task(network.set_pod_cidr("10.98.0.0/24"))
        await asyncio.sleep(0)
        network.wires.hold.set()
    assert network.status().ready
    assert [str(subnet) for subnet in network.wires.subnets] == ["10.98.0.0/24"]
