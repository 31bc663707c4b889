#!/usr/bin/env bash
# Signs a person in to Codex through the gateway: it shows a web address and a code, and waits.
# The tokens go from the provider to the gateway; none of them touches this computer.
#
#   bash setup.sh --auth codex
#
# Reads OPENCLAW_URL, USER_ID and a key (OPENCLAW_GATEWAY_KEY, or the OPENAI_API_KEY that was used
# until now) from the file .env beside it, or from the environment. Runs in bash 3.2 with curl.
#
# Ends with 0 when signed in; 1 wrong use, 2 something is missing in .env, 3 the gateway can't be
# reached, 4 it refused, 5 the sign-in was denied or took too long.
set -euo pipefail

say() { printf '%s\n' "$*"; }
fail() { local code=$1; shift; printf '%s\n' "$*" >&2; exit "$code"; }

# The value of a name in .env: the last line counts; quotes, blanks and Windows line ends go.
setting() {
  local name=$1 value=${!1:-} file
  file=$(dirname "$0")/.env
  if [ -z "$value" ] && [ -f "$file" ]; then
    value=$(tr -d '\r' <"$file" | sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}${name}[[:space:]]*=//p" | tail -n 1)
  fi
  printf '%s' "$value" | sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' \
    -e 's/^"\(.*\)"$/\1/' -e "s/^'\(.*\)'\$/\1/" -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//'
}

# The text of a member in a small JSON object; empty where it isn't there.
member() {
  printf '%s' "$1" | sed -n 's/.*"'"$2"'":"\{0,1\}\([^",}]*\)"\{0,1\}.*/\1/p' | head -n 1
}

# Asks the gateway. The key goes to curl through its standard input, so that no list of processes
# shows it. Sets `status` and `answer`.
ask() {
  local method=$1 path=$2 reply
  reply=$(printf '%s' "$credential" | curl --silent --show-error --max-time 30 --config - \
    --request "$method" --header "X-User-ID: $user_id" --header 'Content-Length: 0' \
    --write-out '\n%{http_code}' "$url$path") ||
    fail 3 "The gateway at $url can't be reached. Check your internet connection and OPENCLAW_URL in .env."
  status=${reply##*$'\n'}
  answer=${reply%$'\n'*}
}

refused() {
  local message
  message=$(printf '%s' "$answer" | sed -n 's/.*"message":"\(\([^"\\]\|\\.\)*\)".*/\1/p' | sed 's/\\\(.\)/\1/g')
  fail 4 "The gateway refused (${status}): ${message:-its answer makes no sense. Check OPENCLAW_URL in .env.}"
}

[ "$*" = "--auth codex" ] || fail 1 "Use: bash setup.sh --auth codex"
command -v curl >/dev/null || fail 1 "This needs curl. Install it, then run this again."

url=$(setting OPENCLAW_URL | sed -e 's#/*$##' -e 's#/v1$##' -e 's#/u/[^/]*$##')
user_id=$(setting USER_ID | tr '[:upper:]' '[:lower:]')
gateway_key=$(setting OPENCLAW_GATEWAY_KEY)
own_key=$(setting OPENAI_API_KEY)
[ -n "$url" ] || fail 2 "OPENCLAW_URL is missing in .env. Your operator has told you this address."
[ -n "$user_id" ] || fail 2 "USER_ID is missing in .env. Use the one that you have used until now."
case $gateway_key$own_key in *[\"\\[:cntrl:]]*) fail 2 "Your key in .env has a character that no key has. Copy it again." ;; esac
if [ -n "$gateway_key" ]; then
  credential="header = \"X-Gateway-Key: $gateway_key\""
elif [ -n "$own_key" ]; then
  credential="header = \"Authorization: Bearer $own_key\""
else
  fail 2 "Your key is missing in .env: OPENCLAW_GATEWAY_KEY, or the OPENAI_API_KEY that you have used until now."
fi

ask POST /onboarding/codex/device
[ "$status" = 201 ] || refused
id=$(member "$answer" id)
interval=$(member "$answer" interval)
case $interval in '' | *[!0-9]*) interval=5 ;; esac
say "1. Open this page in your browser:  $(member "$answer" verification_uri)"
say "2. Type this code there:            $(member "$answer" user_code)"
say "Waiting for you to finish. Keep this window open."

while :; do
  sleep "$interval"
  ask GET "/onboarding/codex/device/$id"
  [ "$status" = 200 ] || refused
  case $(member "$answer" state) in
    pending) ;;
    signed_in) break ;;
    denied) fail 5 "The sign-in was declined. Run this again when you are ready." ;;
    *) fail 5 "The sign-in took too long, and the code is no longer good. Run this again." ;;
  esac
done
say "Signed in. Nothing else changes: the same address, the same USER_ID ($user_id)."
