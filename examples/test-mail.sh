#!/bin/sh
# SPDX-License-Identifier: MIT
# A test as a shell script: runs a program that sends a mail to port $MAIL_PORT of 127.0.0.1, and
# waits for that mail.
#
#   test-mail.sh COMMAND [ARGUMENT...]
#
# Prints the mail; the exit status is 1 if none arrives within ten seconds. $SMTPD can be set to the
# path of smtpd.
set -eu
[ $# -gt 0 ] || { echo 'usage: test-mail.sh COMMAND [ARGUMENT...]' >&2; exit 64; }
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || :; rm -rf "$folder"' EXIT
mkdir "$folder/mails"
: >"$folder/log"

"${SMTPD:-smtpd}" --listen=127.0.0.1:0 --strategy=maildir --maildir="$folder/mails" \
	--user="$(id -u)" 2>"$folder/log" &
server=$!
until MAIL_PORT=$(sed -n 's/.*listening address=127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$folder/log") &&
	[ "$MAIL_PORT" ]; do
	kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
	sleep 0.1
done
export MAIL_PORT

"$@"

n=0
until mail=$(ls "$folder/mails/new" 2>/dev/null) && [ "$mail" ]; do
	n=$((n + 1))
	[ $n -lt 100 ] || { echo 'no mail arrived' >&2; exit 1; }
	sleep 0.1
done
cat "$folder/mails/new/"*
