from cri.metrics import Metrics
from runtime.operations import Operations


def test_calls_are_counted_by_method_and_code() -> None:
    metrics = Metrics(Operations())
    metrics.call("Version", "OK", 0.002)
    metrics.call("Version", "OK", 2.0)
    metrics.call("RunPodSandbox", "INTERNAL", 0.1)
    text = metrics.text().decode()
    assert 'ferry_rpc_total{code="OK",method="Version"} 2.0' in text
    assert 'ferry_rpc_total{code="INTERNAL",method="RunPodSandbox"} 1.0' in text
    assert 'ferry_rpc_seconds_bucket{le="0.0025",method="Version"} 1.0' in text
    assert 'ferry_rpc_seconds_sum{method="Version"} 2.002' in text
    assert "_created" not in text


def test_operations_in_flight_are_counted_by_kind_and_stage() -> None:
    now = 100.0
    operations = Operations(clock=lambda: now)
    metrics = Metrics(operations)
    assert "ferry_operation_oldest_seconds 0.0" in metrics.text().decode()
    with operations.begin("PullImage") as first, operations.begin("PullImage") as second:
        first.stage("download", "a")
        second.stage("download", "b")
        with operations.begin("gc"):
            now = 107.0
            text = metrics.text().decode()
    assert 'ferry_operations_in_flight{kind="PullImage",stage="download"} 2.0' in text
    assert 'ferry_operations_in_flight{kind="gc",stage="accepted"} 1.0' in text
    assert "ferry_operation_oldest_seconds 7.0" in text


def test_the_age_of_what_never_ends_says_nothing() -> None:
    now = 100.0
    running = Operations(clock=lambda: now)
    with running.begin("GetContainerEvents") as listening:
        listening.endless = True
        now = 5000.0
        with running.begin("PullImage"):
            now = 5002.0
            assert "ferry_operation_oldest_seconds 2.0" in Metrics(running).text().decode()


def test_two_daemons_in_one_process_do_not_meet() -> None:
    first, second = Metrics(Operations()), Metrics(Operations())
    first.call("Version", "OK", 0.1)
    assert b"Version" not in second.text()


def test_the_process_is_described() -> None:
    assert b"process_resident_memory_bytes" in Metrics(Operations()).text()
