#!/bin/sh
# SPDX-License-Identifier: MIT
# Sends the message with msmtp(1) to a mail server in msmtp's configuration, with strategy exec; for
# instance one that requires a password.
#
#   command=/path/to/msmtp.sh [ACCOUNT]
#
# If that server refuses the message, its refusal is the reply; any other error is a temporary
# failure. Anyone who can connect to smtpd can send mail this way: listen on loopback or a local
# socket only.
set -u
account=${1:-default}

set --
while IFS= read -r recipient <&3; do
	set -- "$@" "$recipient"
done 3<<EOT
$SMTPD_RCPT_TO
EOT

if said=$(msmtp --account="$account" --from="${SMTPD_MAIL_FROM:-<>}" -- "$@" 2>&1); then
	exit 0
fi
printf '%s\n' "$said" >&2
printf '%s\n' "$said" | sed -n 's/^msmtp: server message: \([45][0-9][0-9]\)[ -]/\1 /p' | head -n 1
exit 75
