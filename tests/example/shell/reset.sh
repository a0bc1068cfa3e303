#!/bin/sh
# A password reset, end to end: POPBOX_URL=http://... POPBOX_TOKEN=... sh reset.sh
# Needs curl 7.55 or newer, grep with -o. FAULTY=1: the application mails another address, to show what a failure says.
set -eu
cd "$(dirname "$0")"
. ./popbox.sh

# What a project has of its own: an application that mails a link and a code.
request_password_reset() {
  printf 'To: %s\r\nSubject: Reset your password\r\n\r\nCode 482913, or https://shop.example/reset?t=1.\r\n' "$1" |
    curl -sS --max-time 60 "smtp://$POPBOX_SMTP" --mail-from no-reply@shop.example \
      --mail-rcpt "${FAULTY:+x}$1" --upload-file -
}

popbox_space
trap 'popbox_end >/dev/null' EXIT
joe="joe@$POPBOX_DOMAIN"
since=$(popbox_cursor)
request_password_reset "$joe"
mail=$(popbox_wait "to=$joe" "subject=Reset your password" "since=$since")
code=$(printf '%s\n' "$mail" | popbox_field codes)
link=$(printf '%s\n' "$mail" | popbox_field href)
test "$code" = 482913
test "$link" = 'https://shop.example/reset?t=1'
echo "passed: code $code, link $link"
