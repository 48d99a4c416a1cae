# SPDX-License-Identifier: MIT
"""A Maildir on a file system of its own."""

from conftest import private_mounts


def with_maildir_on(argv, maildir, options):
    """The command line with a file system of its own, seen by nobody else, for the Maildir; what is
    in it is listed at the end."""
    text = ('mount -t tmpfs -o mode=700 none "$1" && mkdir "$1/tmp" "$1/new" "$1/cur" && mount -o '
            '"remount,$2" "$1" || exit 99\n'
            'maildir=$1; shift 2; "$@"; status=$?\nls -A "$maildir/tmp" "$maildir/new" '
            '"$maildir/cur" >&2; exit $status')
    return [*private_mounts(), "sh", "-c", text, "sh", str(maildir), options, *argv]
