#!/bin/sh
# SPDX-License-Identifier: MIT
# Posts the message to a URL, with strategy exec.
#
#   command=/path/to/webhook.sh https://app.example/incoming
#
# The body is the message as it came (message/rfc822), the envelope is in header fields. The
# message is accepted if the answer is 2xx. curl's exit statuses are not those of sysexits.h (67
# is "login denied", and would be "no such recipient"): hence the 75.
set -u
url=${1:?usage: webhook.sh URL}

recipients=$(printf '%s\n' "$SMTPD_RCPT_TO" | sed 's/.*/<&>/' | paste -s -d, -)
curl --silent --show-error --fail --max-time 60 --request POST \
	--header 'Content-Type: message/rfc822' --header 'Expect:' \
	--header "X-Mail-From: <$SMTPD_MAIL_FROM>" --header "X-Rcpt-To: $recipients" \
	--header "X-Mail-Id: $SMTPD_ID" --header "X-Mail-Client: $SMTPD_PEER" \
	--data-binary @- --output /dev/null -- "$url" || exit 75
