#!/usr/bin/env bash
# Makes this computer ready for your agent. What it does and how it ends: bash setup.sh --help
#
# It needs bash (3.2 or newer) and curl, no administrator, and nothing else.
# `sh setup.sh` is the same: another shell hands over, and a bash called sh remembers what it is.
[ -n "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set +o posix
set -uo pipefail

usage() {
  cat <<'END'
Use: bash setup.sh                checks your settings, gets your key, tries the agent: "Agent ready."
     bash setup.sh --doctor       says what is wrong, if something is, and changes nothing
     bash setup.sh --auth codex   signs you in with a code in your browser, where that is needed
     bash setup.sh --help         this text

It may be run again at any time. It ends with
  0  Agent ready.
  1  used wrongly, or a part of the kit, or curl, is missing
  2  a setting in .env is missing, can't be right, or can't be saved
  3  no internet connection
  4  the Wi-Fi wants you to sign in first
  5  the address in .env isn't a gateway's, or it doesn't answer
  6  not let in: the key, the code or the sign-in is not good
  7  nothing more for now: blocked, no requests left, or too many at once
  8  the gateway or the agent behind it has trouble
  9  this computer's clock is wrong
END
}

kit=$(cd "$(dirname "$0")" && pwd) || exit 1
for part in settings gateway sign-in; do
  if [ ! -r "$kit/lib/$part.sh" ]; then
    printf '%s\n' "A part of the kit is missing. Unzip the whole kit into a folder, then run setup.sh there." >&2
    exit 1
  fi
done
# shellcheck source=lib/settings.sh
. "$kit/lib/settings.sh"
# shellcheck source=lib/gateway.sh
. "$kit/lib/gateway.sh"
# shellcheck source=lib/sign-in.sh
. "$kit/lib/sign-in.sh"
command -v curl >/dev/null || fail "$WRONG_USE" "This needs curl. Install it, or ask your operator, then run this again."

# Turns the claim code into a gateway key, which is in .env before anything else happens.
claim() {
  local code=$CLAIM_CODE
  begin_writing || fail "$BAD_SETTINGS" "Your key couldn't be saved here: the folder $kit can't be written to. Move the kit to a folder of your own, such as Documents, and run this again."
  quote "$code"
  ask 8 POST "$OPENCLAW_URL/onboarding/claim" "{\"user_id\":\"$USER_ID\",\"code\":\"$quoted\"}"
  [ "$trouble" -eq 0 ] || diagnose
  if [ "$status" -eq 201 ] && member "$answer" gateway_key; then
    OPENCLAW_GATEWAY_KEY=$member CLAIM_CODE=''
    write_settings || fail "$BAD_SETTINGS" "Your key couldn't be saved in .env. Ask the operator for a new code and run this again, in a folder of your own."
    say "  ok  Your key is in .env now. Keep that file to yourself."
    return
  fi
  # A code that was used may have been used here.
  if [ "$status" -eq 410 ]; then
    [ -n "$OPENCLAW_GATEWAY_KEY" ] || read_file "$kit/.env" 2>/dev/null
    if [ -n "$OPENCLAW_GATEWAY_KEY" ]; then
      CLAIM_CODE=''
      return
    fi
  fi
  refused
}

# One real request, as the agent will send them. Fails where the answer is a refusal.
try_agent() {
  ask 25 POST "$OPENCLAW_URL/v1/chat/completions" \
    "{\"model\":\"${MODEL:-openclaw/default}\",\"messages\":[{\"role\":\"user\",\"content\":\"Answer with one word: ready\"}]}"
  if [ "$trouble" -eq 28 ]; then
    fail "$UPSTREAM_DOWN" "The gateway is there, but the agent took too long to answer. Run this again in a minute; if it stays so, tell the operator."
  fi
  [ "$trouble" -eq 0 ] || diagnose
  if [ "$status" -eq 200 ]; then
    case $answer in
      '{'*'"choices"'*) return 0 ;;
      *) fail "$WRONG_ADDRESS" "$OPENCLAW_URL answered, but not as an agent does. Check OPENCLAW_URL in .env, or tell the operator." ;;
    esac
  fi
  its_words
  return 1
}

# Waits where the gateway says that waiting helps, for as long as there is time.
wait_for_turn() {
  local seconds
  case $code in upstream_busy | concurrency_limit_exceeded | rate_limit_exceeded) ;; *) return 1 ;; esac
  seconds=$(header retry-after)
  case $seconds in '' | *[!0-9]* | ????*) return 1 ;; esac
  [ $((seconds + 3)) -le "$seconds_left" ] || return 1
  say "  …   The agent is busy with others. Trying again in $seconds s."
  sleep "$seconds"
  seconds_left=$((seconds_left - seconds))
}

# Tries the agent, and gets what it turns out to need.
reach_agent() {
  local asked=''
  until try_agent; do
    case $code in
      missing_key)
        # The gateway key was there, so it is the person's own that is missing.
        if [ -n "$OPENCLAW_GATEWAY_KEY" ] && [ -z "$OPENAI_API_KEY" ]; then
          # Whoever signs in ahead of the switch has no such key, and needs none later.
          [ -z "$signed_in" ] || return 0
          if [ -z "$asked" ] && ask_for OPENAI_API_KEY "Your own API key (sk-…) pays here; it stays hidden while you type:" hidden; then
            asked=yes
            check_settings
            continue
          fi
          fail "$BAD_SETTINGS" "Your own API key (sk-…) is missing. Write it into .env behind OPENAI_API_KEY= and run this again."
        fi
        refused
        ;;
      no_codex_session | codex_session_expired)
        { [ -z "$signed_in" ] && is_interactive && [ -z "$doctor" ]; } || refused
        sign_in
        ;;
      *) wait_for_turn || refused ;;
    esac
  done
}

doctor='' auth='' signed_in=''
case $* in
  '') ;;
  --doctor) doctor=yes ;;
  '--auth codex') auth=codex ;;
  --help | -h) usage; exit 0 ;;
  *) usage >&2; exit "$WRONG_USE" ;;
esac

read_settings "$kit"
if [ -n "$doctor" ]; then
  # It asks for nothing, and leaves everything as it is.
  complete_settings </dev/null
else
  complete_settings
fi
say "  ok  Your settings: $USER_ID at $OPENCLAW_URL"

ask 6 GET "$OPENCLAW_URL/health"
is_healthy || diagnose
say "  ok  The gateway answers"
[ -z "$doctor" ] || check_clock

if [ -n "$doctor" ]; then
  if [ -z "$OPENCLAW_GATEWAY_KEY$OPENAI_API_KEY" ]; then
    fail "$BAD_SETTINGS" "There is a code in .env, and no key yet. Run \`bash setup.sh\` first."
  fi
else
  [ -z "$CLAIM_CODE" ] || claim
  write_settings || say "  !!  .env couldn't be saved here; everything else goes on."
fi

[ -z "$auth" ] || sign_in
reach_agent
[ -n "$doctor" ] || write_settings || true
say "  ok  The agent answered"
say ""
say "Agent ready."
[ -n "$doctor" ] || say "Begin with:  bash agent"
