from runtime.spec.annotations import select

GIVEN = {
    "org.systemd.property.TimeoutStopUSec": "uint64 1",
    "run.oci.hooks.stdout": "/etc/x",
    "io.example/a": "1",
    "io.example/b": "2",
}


def test_nothing_passes_without_permission() -> None:
    assert select(GIVEN, ()) == {}


def test_patterns_of_the_handler_let_through_what_they_name() -> None:
    assert select(GIVEN, ("io.example/*",)) == {"io.example/a": "1", "io.example/b": "2"}
    assert select(GIVEN, ("run.oci.hooks.stdout", "IO.*")) == {"run.oci.hooks.stdout": "/etc/x"}
