#!/bin/sh
# SPDX-License-Identifier: MIT
# Passes the message to the system's sendmail, with strategy exec. Its exit status (sysexits.h) is
# the verdict.
#
#   command=/path/to/sendmail.sh [SENDMAIL]
#
# Anyone who can connect to smtpd can send mail to anyone this way: listen on loopback or a local
# socket only.
set -eu
sendmail=${1:-/usr/sbin/sendmail}

# One argument for each recipient, whatever characters it contains. The list is read from descriptor
# 3, because standard input is the message.
set --
while IFS= read -r recipient <&3; do
	set -- "$@" "$recipient"
done 3<<EOT
$SMTPD_RCPT_TO
EOT

# <> is the null sender. Nothing after -- is taken for an option.
exec "$sendmail" -i -f "${SMTPD_MAIL_FROM:-<>}" -- "$@"
