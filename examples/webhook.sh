#!/bin/sh
# SPDX-License-Identifier: MIT
# Posts the message to a URL, with strategy exec.
#
#   command=/path/to/webhook.sh https://app.example/incoming
#
# The body is the unchanged message (message/rfc822), and header fields have the envelope. The
# message is accepted if the response is 2xx. curl's exit statuses are not those of sysexits.h: 67
# is "login denied", but would mean "no such recipient". Hence the 75.
set -u
url=${1:?usage: webhook.sh URL}

recipients=$(printf '%s\n' "$SMTPD_RCPT_TO" | sed 's/.*/<&>/' | paste -s -d, -)
curl --silent --show-error --fail --max-time 60 --request POST \
	--header 'Content-Type: message/rfc822' --header 'Expect:' \
	--header "X-Mail-From: <$SMTPD_MAIL_FROM>" --header "X-Rcpt-To: $recipients" \
	--header "X-Mail-Id: $SMTPD_ID" --header "X-Mail-Client: $SMTPD_PEER" \
	--data-binary @- --output /dev/null -- "$url" || exit 75
