from pathlib import Path

from store.snapshots.mounted import mounted, numbers

ROOT = Path("/var/lib/ferry/snap shots")
OVERLAY = (
    r"90 27 0:50 / /run/ferry/c1/rootfs rw,relatime shared:7 - overlay overlay rw,"
    r"lowerdir=/var/lib/ferry/snap\040shots/12/fs:/var/lib/ferry/snap\040shots/3/fs,"
    r"upperdir=/var/lib/ferry/snap\040shots/45/fs,workdir=/var/lib/ferry/snap\040shots/45/work,"
    r"index=off,volatile"
)
LENT = (
    r"95 27 0:51 / /run/ferry/c2/root\040fs rw,relatime shared:8 - overlay overlay rw,"
    r"lowerdir=/run/ferry/c2/root\040fs/13/fs:/run/ferry/c2/root\040fs/14/fs,"
    r"upperdir=/run/ferry/c2/root\040fs/46/fs,workdir=/run/ferry/c2/root\040fs/46/work,volatile"
)
BIND = r"91 27 254:0 /ferry/snap\040shots/7/fs /mnt rw,relatime - ext4 /dev/vda rw"
DELETED = r"92 27 254:0 /ferry/snap\040shots/8/fs//deleted /mnt rw,relatime - ext4 /dev/vda rw"
INSIDE = r"93 27 254:0 /ferry/snap\040shots/9/fs/etc/hosts /mnt rw,relatime - ext4 /dev/vda rw"


def test_overlays_and_binds_name_their_directories() -> None:
    text = f"{OVERLAY}\n{BIND}\n{DELETED}\n{INSIDE}\n"
    assert numbers(text, ROOT) == {12, 3, 45, 7, 8, 9}


def test_an_overlay_of_idmapped_layers_names_them_below_its_own_place() -> None:
    assert numbers(LENT, ROOT) == {13, 14, 46}


def test_other_mounts_name_none() -> None:
    text = "\n".join(
        (
            OVERLAY.replace("ferry", "other"),
            LENT.replace("shared:8 - overlay", "shared:8 - ext4"),
            LENT.replace("lowerdir=/run/ferry/c2", "lowerdir=/run/ferry/c3")
            .partition(",upper")[0]
            .replace(":/run/ferry/c2", ":/run/ferry/c3"),
            "22 27 0:21 / /proc rw,relatime - proc proc rw",
            r"94 27 254:0 /ferry/snap\040shots/trash/9/fs /mnt rw - ext4 /dev/vda rw",
            r"95 27 254:0 /ferry/snap\040shots/9/fs-not /mnt rw - ext4 /dev/vda rw",
            "",
            "garbage",
        )
    )
    assert numbers(text, ROOT) == set()


def test_the_running_system_can_be_read(tmp_path: Path) -> None:
    assert mounted(tmp_path) == set()
