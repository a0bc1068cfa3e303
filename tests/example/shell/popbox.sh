# popbox over HTTP with curl alone: a space for a test, and waiting for its mail. To be sourced by sh.
: "${POPBOX_URL:=http://127.0.0.1:8025}" "${POPBOX_TOKEN:=}"

# popbox_field NAME: the first such field of the JSON on standard input, a word, a number or the first of a list of words.
# Without jq: inside of a string every quote is escaped, so `"NAME":` is no part of a mail. Other escapes stay.
popbox_field() {
  grep -Eo "\"$1\": ?\\[?(\"([^\"\\\\]|\\\\.)*\"|[0-9]+)" | head -n 1 |
    sed -E 's/^"[^"]*": ?\[?"?//; s/"$//; s/\\(["\\])/\1/g'
}

# popbox_ask HEADER CURL-ARGUMENT...: the answer's body. 202 means "not yet" and is asked again. An error goes to
# standard error with its reason and ends with 1. The header is not in curl's arguments, which every user can read.
popbox_ask() {
  popbox_header=$1
  shift
  popbox_answer=$(printf '%s\n' "$popbox_header" | curl -sS --max-time 60 -H @- -w '\n%{http_code}' "$@") || return 1
  popbox_status=${popbox_answer##*
}
  popbox_body=${popbox_answer%
*}
  case $popbox_status in
    202) popbox_ask "$popbox_header" "$POPBOX_URL$(printf '%s\n' "$popbox_body" | popbox_field again)" ;;
    2*) printf '%s\n' "$popbox_body" ;;
    *)
      for popbox_name in error reason hint; do
        printf 'popbox: %s %s\n' "$popbox_status" "$(printf '%s\n' "$popbox_body" | popbox_field "$popbox_name")" >&2
      done
      printf '%s\n' "$popbox_body" >&2
      return 1 ;;
  esac
}

# popbox_space: makes a domain of its own in which every address receives; sets POPBOX_DOMAIN, and POPBOX_SMTP where
# it is not set. popbox_end removes it.
popbox_space() {
  popbox_ready=$(curl -sS -f --retry 30 --retry-delay 1 --retry-connrefused "$POPBOX_URL/readyz") || return 1
  : "${POPBOX_SMTP:=$(printf '%s\n' "$popbox_ready" | popbox_field smtp)}"
  popbox_made=$(popbox_ask "popbox-token: $POPBOX_TOKEN" -H 'content-type: application/json' -d '{}' \
    "$POPBOX_URL/v1/spaces") || return 1
  popbox_inside="popbox-space: $(printf '%s\n' "$popbox_made" | popbox_field token)"
  popbox_name_of_space=$(printf '%s\n' "$popbox_made" | popbox_field space)
  POPBOX_DOMAIN=$(printf '%s\n' "$popbox_made" | popbox_field domain)
}

# popbox_cursor: taken before the action; a wait with since=CURSOR sees only what comes later.
popbox_cursor() {
  popbox_ask "$popbox_inside" "$POPBOX_URL/v1/journeys?limit=1" | popbox_field cursor
}

# popbox_wait NAME=VALUE...: to, from, subject, since, within. The message as JSON, or where it is stuck and why.
popbox_wait() {
  popbox_within=${POPBOX_WITHIN:-30s}
  for popbox_pair; do
    shift
    set -- "$@" --data-urlencode "$popbox_pair"
  done
  popbox_ask "$popbox_inside" --get "$@" -d "within=$popbox_within" "$POPBOX_URL/v1/messages/wait"
}

popbox_end() {
  popbox_ask "popbox-token: $POPBOX_TOKEN" -X DELETE "$POPBOX_URL/v1/spaces/$popbox_name_of_space"
}
