#!/bin/sh
# The custom class of the manual of Python's smtpd module, as a shell script for strategy exec.
#
#   smtpd --strategy=exec --command=examples/envelope.sh <examples/session.txt
#
# What it prints to standard error appears in the log of smtpd.
{
	echo "Receiving message from: $SMTPD_PEER $SMTPD_PEER_PORT"
	echo "Message addressed from: $SMTPD_MAIL_FROM"
	echo "$SMTPD_RCPT_TO" | while IFS= read -r recipient; do
		echo "Message addressed to  : $recipient"
	done
	echo "Message length        : $(wc -c)"
} >&2
