"""AppArmor: which profiles the kernel has, and giving it the default one.

The kernel keeps profiles by name; apparmor_parser(8) compiles and loads them. What a container
runs under is decided when its program is executed, so a profile that is not loaded must be found
out before that.
"""

import re
from pathlib import Path
from typing import Final

from runtime import process
from runtime.spec import Profile, ProfileKind
from store.errors import Error, FailedPreconditionError

DEFAULT: Final = "ferry-default"
"""The profile that RuntimeDefault stands for; `DEFAULT_TEXT` is its source."""

_PARAMETER: Final = Path("/sys/module/apparmor/parameters/enabled")

PROFILES: Final = Path("/sys/kernel/security/apparmor/profiles")

DEFAULT_TEXT: Final = """\
abi <abi/3.0>,
include <tunables/global>

profile ferry-default flags=(attach_disconnected, mediate_deleted) {
  include <abstractions/base>

  capability,
  file,
  network,
  umount,

  # Those who stop containers, confined themselves on some distributions.
  signal (receive) peer=unconfined,
  signal (receive) peer=crun,
  signal (receive) peer=runc,
  # With no_new_privs the runtime's own name stays, stacked with this profile's.
  signal (send, receive) peer=ferry-default,
  signal (send, receive) peer="crun//&ferry-default",
  signal (send, receive) peer="ferry-default//&runc",
  ptrace (read, readby, trace, tracedby) peer=ferry-default,
  ptrace (read, readby, trace, tracedby) peer="crun//&ferry-default",
  ptrace (read, readby, trace, tracedby) peer="ferry-default//&runc",

  # Mounting is left to what the runtime mounts before the program starts.
  deny mount,

  # Of the kernel's switches, only those of the container's own namespaces.
  deny @{PROC}/sys/{[^fkn]**,f[^s]**,fs/[^m]**,fs/m[^q]**} wklx,
  deny @{PROC}/sys/kernel/{[^ms]**,m[^s]**,s[^eh]**,se[^m]**,sh[^m]**} wklx,
  deny @{PROC}/{kcore,kmem,mem,kallsyms,kmsg} rwklx,
  deny @{PROC}/{sysrq-trigger,acpi/**,bus/**,irq/**,scsi/**} wklx,
  deny /sys/[^f]** wklx,
  deny /sys/f[^s]** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
}
"""

_LINE: Final = re.compile(r"(?P<name>.+) \((?P<mode>[a-z]+)\)")
_TIMEOUT: Final = 30.0


def enabled(parameter: Path = _PARAMETER) -> bool:
    """Tell whether the kernel has AppArmor, and it is on."""
    try:
        return parameter.read_text().startswith("Y")
    except OSError:
        return False


def loaded(profiles: Path = PROFILES) -> frozenset[str]:
    """Return the names of the profiles that the kernel has.

    Raises:
        FailedPreconditionError: it cannot be asked.
    """
    try:
        lines = profiles.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise FailedPreconditionError(
            f"cannot read {profiles}: {error.strerror}; AppArmor needs securityfs"
        ) from error
    return frozenset(match["name"] for line in lines if (match := _LINE.fullmatch(line)))


def check_loaded(profile: Profile | None, profiles: Path = PROFILES) -> None:
    """Refuse a named profile that the kernel does not have.

    Raises:
        FailedPreconditionError: as said.
    """
    if profile is None or profile.kind is not ProfileKind.LOCALHOST:
        return
    if profile.localhost not in loaded(profiles):
        raise FailedPreconditionError(
            f"cannot use AppArmor profile {profile.localhost!r}: it is not loaded"
        )


def missing_default(parser: Path | None, profiles: Path = PROFILES) -> str:
    """Return why RuntimeDefault confines nothing; empty if its profile is loaded.

    Args:
        parser: apparmor_parser, if it is there.
        profiles: where the kernel lists them.
    """
    try:
        if DEFAULT in loaded(profiles):
            return ""
    except FailedPreconditionError as error:
        return str(error)
    if parser is None:
        return "apparmor_parser is missing (apt-get install apparmor)"
    return f"the profile {DEFAULT} is not loaded, which ferryd does when it starts"


async def load_default(parser: Path | None, profiles: Path = PROFILES) -> None:
    """Let the kernel have the default profile as it is here; an earlier ferry's is replaced.

    Raises:
        FailedPreconditionError: there is no parser, and no profile of that name.
        Error: the parser fails, quoted.
    """
    if parser is None:
        if DEFAULT in loaded(profiles):
            return
        raise FailedPreconditionError(
            f"cannot load the AppArmor profile {DEFAULT}: apparmor_parser is missing "
            "(apt-get install apparmor)"
        )
    argv = (str(parser), "--replace", "--skip-cache")
    result = await process.run(argv, stdin=DEFAULT_TEXT.encode(), timeout=_TIMEOUT)
    if result.code != 0:
        said = result.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise Error(f"cannot load the AppArmor profile {DEFAULT}: {said or result.code}")
