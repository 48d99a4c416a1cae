# SPDX-License-Identifier: MIT
"""What can go wrong at each system call."""

import re
import subprocess

STORAGE = ("EIO", "ENOSPC", "EDQUOT", "EFBIG")
CONNECTION = ("EPIPE", "ECONNRESET", "ETIMEDOUT", "ENOBUFS")
DESCRIPTORS = ("EMFILE", "ENFILE", "ENOMEM")
NAMES = ("EACCES", "EIO", "ENOMEM", "ELOOP")
FILES = ("ENOENT", *NAMES)

ERRORS = {
    "access": NAMES, "faccessat": NAMES, "faccessat2": NAMES, "readlink": FILES,
    "readlinkat": FILES, "chdir": FILES,
    "arch_prctl": ("EINVAL",), "prctl": ("EINVAL", "EPERM"), "set_robust_list": ("EINVAL",),
    "rseq": ("EINVAL",),
    "bind": ("EADDRINUSE", "EACCES"), "listen": ("EADDRINUSE",),
    "accept4": ("EINTR", "EAGAIN", "ECONNABORTED", *DESCRIPTORS),
    "brk": (), "mmap": ("ENOMEM", "EAGAIN"), "munmap": ("ENOMEM",), "mprotect": ("ENOMEM",),
    "madvise": ("ENOMEM",),
    "clone": ("EAGAIN", "ENOMEM"), "clone3": ("EAGAIN", "ENOMEM"), "fork": ("EAGAIN", "ENOMEM"),
    "vfork": ("EAGAIN", "ENOMEM"),
    "close": ("late EINTR", "late EIO"), "close_range": ("ENOMEM", "EMFILE"),
    "connect": ("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EADDRNOTAVAIL", "EINTR", "EAGAIN",
                "EACCES", "ENOBUFS"),
    "dup2": ("EMFILE", "EINTR", "EBUSY"), "dup3": ("EMFILE", "EINTR", "EBUSY"),
    "fcntl": ("EMFILE", "EINVAL"),
    "execve": ("ENOENT", "EACCES", "ENOMEM", "E2BIG", "ETXTBSY", "EIO", "EMFILE", "ENOEXEC",
               "EAGAIN"),
    "fstat": ("EIO", "ENOMEM"), "newfstatat": ("EIO", "ENOMEM"), "statx": ("EIO", "ENOMEM"),
    "ftruncate": ("EIO", "EFBIG", "EINTR"), "lseek": ("EIO", "ESPIPE"),
    "fallocate": ("ENOSPC", "EINTR"),
    "futex": ("EAGAIN",), "getcwd": ("ENOENT", "ENOMEM"), "getdents64": ("EIO", "ENOENT"),
    "getpeername": ("ENOTCONN", "ENOBUFS", "EINVAL"), "getsockname": ("ENOBUFS",),
    "getsockopt": ("ENOPROTOOPT", "ENOMEM"), "setsockopt": ("ENOPROTOOPT", "ENOMEM"),
    "getrandom": ("EINTR", "EAGAIN", "ENOSYS"), "ioctl": ("EIO", "ENOTTY"),
    "kill": ("ESRCH", "EPERM"),
    "linkat": ("ENOSPC", "EIO"), "memfd_create": DESCRIPTORS,
    "open": (*FILES, *DESCRIPTORS, "EINTR", "ENOSPC", "EROFS", "EOPNOTSUPP"),
    "openat": (*FILES, *DESCRIPTORS, "EINTR", "ENOSPC", "EROFS", "EOPNOTSUPP"),
    "pidfd_open": (*DESCRIPTORS, "ENODEV", "ENOSYS"), "pidfd_send_signal": ("ESRCH", "EPERM"),
    "pipe2": DESCRIPTORS, "poll": ("EINTR", "ENOMEM"), "ppoll": ("EINTR", "ENOMEM"),
    "prlimit64": ("EPERM",),
    "pread64": ("EINTR", "EIO", "EAGAIN", "ENOMEM"), "pwrite64": ("EINTR", *STORAGE),
    "read": ("EINTR", "EAGAIN", "EIO", "ECONNRESET", "ETIMEDOUT", "ENOMEM"),
    "recvfrom": ("EINTR", "EAGAIN", "ECONNRESET", "ETIMEDOUT", "ENOMEM"),
    "recvmsg": ("EINTR", "EAGAIN", "ECONNRESET", "ETIMEDOUT", "ENOMEM"),
    "rt_sigaction": ("EINVAL",), "rt_sigprocmask": ("EINVAL",), "rt_sigreturn": (),
    "sendto": ("EINTR", "EAGAIN", "ENOMEM", *CONNECTION),
    "sendmsg": ("EINTR", "EAGAIN", "ENOMEM", *CONNECTION),
    "setpgid": ("EPERM", "EACCES", "ESRCH"), "set_tid_address": (),
    "shutdown": ("ENOTCONN", "ENOBUFS"),
    "signalfd4": (*DESCRIPTORS, "ENODEV"), "sysinfo": ("EFAULT",), "uname": ("EFAULT",),
    "unlink": ("EIO", "EACCES"),
    "socket": (*DESCRIPTORS, "ENOBUFS", "EACCES", "EAFNOSUPPORT", "EPROTONOSUPPORT"),
    "socketpair": DESCRIPTORS,
    "timerfd_create": DESCRIPTORS, "wait4": ("ECHILD", "EINTR"), "waitid": ("ECHILD", "EINTR"),
    "write": ("EINTR", "EAGAIN", "EPIPE", *STORAGE),
    "writev": ("EINTR", "EAGAIN", "EPIPE", *STORAGE),
    "seccomp": ("EINVAL", "ENOSYS"), "landlock_create_ruleset": ("ENOSYS", "EOPNOTSUPP"),
    "landlock_add_rule": ("ENOMEM",),
    "landlock_restrict_self": ("E2BIG",), "exit_group": (), "exit": (), "getpid": (), "getppid": (),
    "getuid": (),
    "geteuid": (), "getgid": (), "getegid": (), "gettid": (), "clock_gettime": (), "umask": (),
}  # fmt: skip

UNKNOWN = ("EIO", "ENOMEM", "EPERM")
# their count argument
COUNTED = {"read": 2, "write": 2, "pread64": 2, "pwrite64": 2, "sendto": 2, "recvfrom": 2,
           "getrandom": 1}
OF_DESCRIPTORS = (*COUNTED, "poll", "fcntl", "lseek", "close", "fstat", "newfstatat", "shutdown",
                  "ioctl", "sendmsg", "recvmsg")
OF_SANITIZERS = ("brk", "mmap", "munmap", "mprotect", "madvise", "mremap", "sigaltstack")


def call_names():
    """Of this machine: number -> name."""
    said = subprocess.run(["cc", "-E", "-dM", "-include", "sys/syscall.h", "-xc", "/dev/null"],
                          capture_output=True, check=True)
    return {int(n): name for name,
            n in re.findall(r"#define __NR_(\w+) (\d+)\n", said.stdout.decode())}
