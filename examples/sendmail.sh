#!/bin/sh
# SPDX-License-Identifier: MIT
# Hands the message to the system's mailer, with strategy exec. Its exit status, of sysexits.h, is
# the verdict.
#
#   command=/path/to/sendmail.sh [SENDMAIL]
#
# Whoever can connect can send mail to everybody this way: listen on loopback or a local socket
# only.
set -eu
sendmail=${1:-/usr/sbin/sendmail}

# One argument for each recipient, whatever characters are in it. The list comes on descriptor 3:
# standard input is the message.
set --
while IFS= read -r recipient <&3; do
	set -- "$@" "$recipient"
done 3<<EOT
$SMTPD_RCPT_TO
EOT

# <> is the null sender. Nothing behind -- can be taken for an option.
exec "$sendmail" -i -f "${SMTPD_MAIL_FROM:-<>}" -- "$@"
