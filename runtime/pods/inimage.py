"""Looking at an image's files, and making what a container wants of them. For a thread."""

from runtime.pods.case import Case, InImage
from runtime.pods.layout import ContainerFiles
from runtime.pods.rootfs import volumes
from runtime.pods.users import check_mapped
from runtime.spec.beneath import ensure_directory_in_root
from runtime.spec.users import read_account_file, resolve_user


def enter(case: Case, files: ContainerFiles) -> InImage:
    """Return who the process is and the image's volumes; makes these and the working directory.

    Raises:
        InvalidArgumentError: the image or the request asks for what cannot be; names it.
    """
    config = case.config
    directory = config.working_dir or case.image.config.working_dir
    if directory:
        ensure_directory_in_root(files.rootfs, directory)
    user = resolve_user(
        case.image.config.user,
        config.security,
        read_account_file(files.rootfs, "/etc/passwd"),
        read_account_file(files.rootfs, "/etc/group"),
    )
    check_mapped(user, case.modes)
    return InImage(user=user, volumes=volumes(case.image, config.mounts, files))
