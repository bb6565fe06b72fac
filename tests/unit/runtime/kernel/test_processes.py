import os
import select
import subprocess

from runtime.kernel import processes


def test_a_process_is_found_by_pid_and_start_time() -> None:
    started = processes.start_time(os.getpid())
    assert started is not None
    descriptor = processes.open_process(os.getpid(), started)
    assert descriptor is not None
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert processes.open_process(os.getpid(), started + 1) is None


def test_a_name_with_brackets_does_not_mislead() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "exec -a 'x) R 1 (' sleep 60"]) as child:
        started = processes.start_time(child.pid)
        own = processes.start_time(os.getpid())
        child.kill()
    assert started is not None
    assert own is not None
    assert started >= own


def test_the_descriptor_tells_the_end_and_a_gone_process_is_none() -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        started = processes.start_time(child.pid)
        assert started is not None
        descriptor = processes.open_process(child.pid, started)
        assert descriptor is not None
        child.communicate()
    ready, _, _ = select.select([descriptor], [], [], 10)
    assert ready == [descriptor]
    os.close(descriptor)
    assert processes.start_time(child.pid) is None
    assert processes.open_process(child.pid, started) is None
