# shellcheck shell=bash
# Signing in by device code: the browser shows who you are, the gateway keeps the tokens, and none of
# them touches this computer. setup.sh reads this file, after gateway.sh.

# For how long a sign-in is waited for while nothing can be heard of it, in seconds.
LONGEST_SILENCE=900

# Shows an address and a code, and waits until the person has signed in.
sign_in() {
  local id interval silent_since='' state
  ask 10 POST "$OPENCLAW_URL/onboarding/codex/device"
  [ "$trouble" -eq 0 ] || diagnose
  [ "$status" -eq 201 ] && member "$answer" id || { its_words; refused; }
  id=$member
  case $id in *[!-A-Za-z0-9._~]*) diagnose ;; esac
  interval=5
  if member "$answer" interval; then
    case $member in '' | *[!0-9]* | ????*) ;; *) interval=$member ;; esac
  fi
  say ""
  if member "$answer" verification_uri; then decode "$member"; say "1. Open this page in your browser:  $text"; fi
  if member "$answer" user_code; then decode "$member"; say "2. Type this code there:            $text"; fi
  say "Waiting for you to finish. Keep this window open."

  while :; do
    sleep "$interval"
    # Typing in a browser takes as long as it takes.
    seconds_left=25
    ask 10 GET "$OPENCLAW_URL/onboarding/codex/device/$id"
    if [ "$trouble" -ne 0 ] || [ "$status" -ge 500 ] || [ "$status" -eq 429 ] || ! is_json; then
      if [ -z "$silent_since" ]; then
        silent_since=$SECONDS
        say "The connection is gone. Your sign-in goes on; waiting for the connection to come back."
      fi
      [ $((SECONDS - silent_since)) -lt "$LONGEST_SILENCE" ] || diagnose
      continue
    fi
    [ -z "$silent_since" ] || say "The connection is back."
    silent_since=''
    [ "$status" -eq 200 ] || { its_words; refused; }
    state=''
    if member "$answer" state; then state=$member; fi
    case $state in
      pending) ;;
      signed_in) break ;;
      denied) fail "$NOT_LET_IN" "The sign-in was declined. Run this again when you are ready." ;;
      *) fail "$NOT_LET_IN" "The sign-in took too long, and the code is no longer good. Run this again." ;;
    esac
  done
  signed_in=yes seconds_left=25
  say "Signed in. Nothing else changes: the same address, the same USER_ID ($USER_ID)."
}

# A venue's sign-in page is no answer of the gateway's.
is_json() {
  case $answer in '{'*) return 0 ;; *) return 1 ;; esac
}
