import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.kernel import options
from runtime.kernel.syscalls import MountAttributes


def test_flags_propagation_and_data_are_told_apart() -> None:
    asked = options.parse(["rbind", "ro", "rslave", "size=1m", "mode=755", "nosuid", ""])
    assert asked.flags == options.MS_BIND | options.MS_REC | options.MS_RDONLY | options.MS_NOSUID
    assert asked.propagation == (options.MS_SLAVE | options.MS_REC,)
    assert asked.data == ("size=1m", "mode=755")
    assert asked.bind


@pytest.mark.parametrize(
    ("given_options", "flags"),
    [
        (["ro", "rw"], 0),
        (["rw", "ro"], options.MS_RDONLY),
        (["noatime", "strictatime"], options.MS_STRICTATIME),
        (["relatime", "norelatime"], 0),
        (["defaults"], 0),
    ],
)
def test_the_later_of_two_opposites_wins(given_options: list[str], flags: int) -> None:
    assert options.parse(given_options).flags == flags


def test_a_remount_is_no_bind() -> None:
    assert not options.parse(["remount", "bind", "ro"]).bind


@pytest.mark.parametrize(
    ("given_options", "expected"),
    [
        (["bind"], MountAttributes()),
        (["bind", "ro", "noexec"], MountAttributes(set=0x9)),
        (["bind", "rw"], MountAttributes(clear=0x1)),
        (["bind", "noatime"], MountAttributes(set=0x10, clear=0x70)),
        (["bind", "relatime"], MountAttributes(clear=0x70)),
        (["bind", "strictatime", "nosymfollow"], MountAttributes(set=0x200020, clear=0x70)),
    ],
)
def test_attributes_are_those_of_mount_setattr(
    given_options: list[str], expected: MountAttributes
) -> None:
    assert options.parse(given_options).attributes() == expected


def escape(path: str) -> str:
    """Write a path as the kernel's `seq_path` does."""
    for letter in ("\\", " ", "\t", "\n"):
        path = path.replace(letter, f"\\{ord(letter):03o}")
    return path


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_unescape_undoes_what_the_kernel_writes(path: str) -> None:
    assert options.unescape(escape(path)) == path
