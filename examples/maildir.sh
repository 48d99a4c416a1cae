#!/bin/sh
# SPDX-License-Identifier: MIT
# Stores the message in a Maildir, with strategy exec.
#
#   command=/path/to/maildir.sh DIRECTORY
#
# As in maildir(5): the message is written to tmp, synced, and only then moved to new. Any error is
# a temporary failure.
set -u
umask 077
maildir=${1:?usage: maildir.sh DIRECTORY}
name=$(date +%s).$SMTPD_ID.$SMTPD_HOSTNAME

store() {
	mkdir -p "$maildir/tmp" "$maildir/new" "$maildir/cur" &&
		{ printf 'Return-Path: <%s>\n' "$SMTPD_MAIL_FROM" && cat; } >"$maildir/tmp/$name" &&
		sync "$maildir/tmp/$name" &&
		mv "$maildir/tmp/$name" "$maildir/new/$name" &&
		sync "$maildir/new"
}

store || {
	rm -f "$maildir/tmp/$name"
	exit 75
}
