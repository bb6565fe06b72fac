import shutil
from pathlib import Path

from runtime.monitor import scan
from runtime.process import spawn


async def test_a_monitor_is_known_by_its_directory(tmp_path: Path) -> None:
    binary = tmp_path / "conmon"
    shutil.copy("/bin/sh", binary)
    script = "while :; do sleep 0.01; done"
    mine = spawn((str(binary), "-c", script, "--persist-dir", str(tmp_path / "a"), "--name", "a"))
    other = spawn(("/bin/sh", "-c", script, "--persist-dir", str(tmp_path / "b")))
    cut = spawn((str(binary), "-c", script, "--persist-dir"))
    found = {path: pid for path, pid in scan.monitors().items() if path.is_relative_to(tmp_path)}
    assert found == {tmp_path / "a": mine.pid}
    for process in (mine, other, cut):
        process.send(9)
        await process.wait()
    assert tmp_path / "a" not in scan.monitors()
