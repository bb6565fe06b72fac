"""The system calls of the RuntimeDefault profile, by what they are for.

A call is here because programs need it and because the kernel checks its every use against the
caller's own ids and capabilities. Calls that act on the whole machine come with the capability the
kernel asks for (`BY_CAPABILITY`), so a filter never takes what the request has granted.

Left out on purpose: keyrings (`keyctl`: not namespaced), `userfaultfd` and `io_uring_*` (most used
by kernel exploits), `kexec_*`, `swapon`, `nfsservctl`, `vm86`, and everything obsolete. Names that
an architecture does not have are skipped by the OCI runtimes.
"""

from collections.abc import Mapping
from typing import Final

_FILES: Final = """
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3
    faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown
    fchown32 fchownat fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
    ftruncate ftruncate64 futimesat getcwd getdents getdents64 ioctl lchown lchown32 link linkat
    _llseek lseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open
    openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead
    readlink readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 splice stat
    stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs
    tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice
    write writev cachestat file_getattr file_setattr
"""

_EXTENDED_ATTRIBUTES: Final = """
    fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr
    lremovexattr lsetxattr removexattr setxattr getxattrat listxattrat removexattrat setxattrat
"""

_WAITING: Final = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup
    io_submit _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4
"""

_MEMORY: Final = """
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall
    mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
    pkey_mprotect process_mrelease remap_file_pages
"""

_PROCESSES: Final = """
    execve execveat exit exit_group fork getpgid getpgrp getpid getppid getrusage getsid gettid
    get_robust_list get_thread_area kill pause pidfd_open pidfd_send_signal prctl restart_syscall
    rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo set_robust_list set_thread_area
    set_tid_address setpgid setsid sigaltstack sigprocmask sigreturn tgkill times tkill uname
    uretprobe uprobe vfork wait4 waitid waitpid
"""

_TRACING: Final = "ptrace process_vm_readv process_vm_writev"
"""Bound by yama and by the caller's ids; safe beside seccomp since Linux 4.8."""

_THREADS: Final = """
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake getcpu getpriority
    ioprio_get ioprio_set sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield setpriority
"""

_TIME: Final = """
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep
    setitimer time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
    timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64
"""

_SOCKETS: Final = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
"""

_IPC: Final = """
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
    mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
    semtimedop_time64 shmat shmctl shmdt shmget
"""

_IDENTITY: Final = """
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32
    getresgid getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid
    setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32
    setresuid setresuid32 setreuid setreuid32 setuid setuid32
"""

_LIMITS_AND_CONFINEMENT: Final = """
    getrandom getrlimit landlock_add_rule landlock_create_ruleset landlock_restrict_self listmount
    lsm_get_self_attr lsm_list_modules lsm_set_self_attr prlimit64 seccomp setrlimit statmount
    sysinfo ugetrlimit
"""

_FAMILIES: Final = (
    _FILES,
    _EXTENDED_ATTRIBUTES,
    _WAITING,
    _MEMORY,
    _PROCESSES,
    _TRACING,
    _THREADS,
    _TIME,
    _SOCKETS,
    _IPC,
    _IDENTITY,
    _LIMITS_AND_CONFINEMENT,
)

ALWAYS: Final = frozenset(name for family in _FAMILIES for name in family.split())
"""Allowed to every container, whatever the arguments."""

BY_ARCHITECTURE: Final[Mapping[str, tuple[str, ...]]] = {
    "x86_64": ("arch_prctl", "modify_ldt"),
    "aarch64": (
        "arm_fadvise64_64",
        "arm_sync_file_range",
        "breakpoint",
        "cacheflush",
        "set_tls",
    ),
}
"""What programs for one machine need besides."""

BY_CAPABILITY: Final[Mapping[str, tuple[str, ...]]] = {
    "CAP_BPF": ("bpf",),
    "CAP_DAC_READ_SEARCH": ("open_by_handle_at",),
    "CAP_PERFMON": ("perf_event_open",),
    "CAP_SYS_ADMIN": (
        "bpf",
        "clone",
        "clone3",
        "fanotify_init",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "lookup_dcookie",
        "mount",
        "mount_setattr",
        "move_mount",
        "open_tree",
        "open_tree_attr",
        "perf_event_open",
        "pivot_root",
        "quotactl",
        "quotactl_fd",
        "setdomainname",
        "sethostname",
        "setns",
        "syslog",
        "umount",
        "umount2",
        "unshare",
    ),
    "CAP_SYS_BOOT": ("reboot",),
    "CAP_SYS_CHROOT": ("chroot",),
    "CAP_SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "CAP_SYS_NICE": (
        "get_mempolicy",
        "mbind",
        "migrate_pages",
        "move_pages",
        "set_mempolicy",
        "set_mempolicy_home_node",
    ),
    "CAP_SYS_PACCT": ("acct",),
    "CAP_SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "CAP_SYS_RAWIO": ("ioperm", "iopl"),
    "CAP_SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "CAP_SYS_TTY_CONFIG": ("vhangup",),
    "CAP_SYSLOG": ("syslog",),
}
"""Allowed to whoever holds the capability."""
