#!/bin/sh
# SPDX-License-Identifier: MIT
# Stores the message as an object in S3 or a compatible service, with strategy exec.
#
#   command=/path/to/s3.sh https://BUCKET.s3.REGION.amazonaws.com REGION
#
# $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY come from the environment of smtpd (EnvironmentFile=
# in a unit). curl reads them from standard input, because everyone can see command lines; the
# message is on descriptor 3. Needs curl 7.75.
set -u
url=${1:?usage: s3.sh URL REGION} region=${2:?usage: s3.sh URL REGION}

curl --config - --silent --show-error --fail --max-time 60 --aws-sigv4 "aws:amz:$region:s3" \
	--header 'Content-Type: message/rfc822' --header 'Expect:' --upload-file /proc/self/fd/3 \
	--output /dev/null -- "$url/$SMTPD_ID.eml" \
	3<&0 <<-EOT || exit 75
	user = "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"
EOT
