from runtime import operations
from runtime.operations import Operations


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_operation_is_listed_until_its_block_ends() -> None:
    every = Operations()
    with every.begin("RunPodSandbox", "default/web") as operation:
        assert every.list() == [operation]
        assert operations.current() is operation
    assert every.list() == []
    assert operations.current() is None


def test_it_says_where_it_is_for_how_long_on_what() -> None:
    clock = Clock()
    with Operations(clock).begin("RunPodSandbox", "default/web") as operation:
        clock.now += 1
        assert operation.where() == "stage accepted for 1.0 s: default/web"
        operations.stage("network", "bridge ferry0")
        clock.now += 41
        assert operation.where() == "stage network for 41.0 s: bridge ferry0"
        operations.stage("record")
        clock.now += 0.5
        assert operation.times() == {"network": 41000.0, "record": 500.0}


def test_the_same_stage_goes_on_with_another_subject() -> None:
    clock = Clock()
    with Operations(clock).begin("PullImage") as operation:
        operations.stage("download", "1 of 2")
        clock.now += 1
        operations.stage("download", "2 of 2")
        clock.now += 1
        assert operation.where() == "stage download for 2.0 s: 2 of 2"


def test_one_that_joined_says_where_the_other_is() -> None:
    every = Operations(Clock())
    with every.begin("CreateContainer", "web") as first:
        operations.stage("snapshot", "x")
        with every.begin("CreateContainer", "web") as second:
            operations.follow(first)
            assert second.where() == (
                f"joined operation {first.number}, stage snapshot for 0.0 s: x"
            )


def test_a_stage_outside_an_operation_is_nothing() -> None:
    operations.stage("network")
    operations.follow(None)
    assert operations.current() is None


def test_one_that_goes_on_as_long_as_its_client_wants_says_so() -> None:
    operations.endless("listen")
    with Operations(Clock()).begin("GetContainerEvents") as operation:
        operations.endless("listen", "events")
        assert operation.endless
        assert operation.where() == "stage listen for 0.0 s: events"
