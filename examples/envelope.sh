#!/bin/sh
# SPDX-License-Identifier: MIT
# A shell script for strategy exec: the example class in the manual of Python's smtpd.py.
#
#   smtpd --strategy=exec --command=examples/envelope.sh <examples/session.txt
#
# What it prints to standard error appears in the log of smtpd.
{
	printf 'Receiving message from: %s %s\n' "$SMTPD_PEER" "$SMTPD_PEER_PORT"
	printf 'Message addressed from: %s\n' "$SMTPD_MAIL_FROM"
	printf '%s\n' "$SMTPD_RCPT_TO" | while IFS= read -r recipient; do
		printf 'Message addressed to  : %s\n' "$recipient"
	done
	printf 'Message length        : %s\n' "$(wc -c)"
} >&2
