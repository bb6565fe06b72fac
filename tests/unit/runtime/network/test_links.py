from runtime.network import links


def test_names_on_the_node_fit_and_differ() -> None:
    names = {links.link_name(bridge, pod) for bridge in ("a", "b") for pod in ("x", "y" * 64)}
    assert len(names) == 4
    assert all(len(name) == 14 for name in names)
    assert links.link_name("a", "x") in names


def test_a_hardware_address_follows_from_the_address() -> None:
    assert links.hardware_address("10.88.1.2") == "0a:58:0a:58:01:02"
    assert links.hardware_address("fd00::a:1:2") == "0a:58:00:01:00:02"


def test_every_message_says_what_it_does() -> None:
    assert links.plug_in("fy0", 3).what == "put fy0 on the bridge"
    assert links.add_address("eth0", 2, "fd00::2", 64).what == "add address fd00::2/64 to eth0"
