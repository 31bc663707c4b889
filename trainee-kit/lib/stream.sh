# shellcheck shell=bash
# An agent's answer while it is being written. agent reads this file, after gateway.sh.

# How often a request is sent again that was not begun, and the longest wait before that, in seconds.
MOST_TRIES=4
LONGEST_WAIT=60

# Whether an answer is being written, and by which process.
streaming='' curl=''
trap 'interrupted; tidy_up' EXIT

# Sends a request for a stream of server-sent events and shows what is said in it. Sets `spoken`.
# What isn't answered ends the script, in the gateway's words; so does Ctrl-C.
stream() {
  local body=$1 try=1 seconds
  while :; do
    show_stream "$body"
    [ "$status" -ne 200 ] || break
    its_words
    seconds=$(header retry-after)
    case $code:$seconds in
      upstream_busy:[0-9] | upstream_busy:[0-9][0-9] | concurrency_limit_exceeded:[0-9] | rate_limit_exceeded:[0-9] | rate_limit_exceeded:[0-9][0-9]) ;;
      *) refused ;;
    esac
    { [ "$try" -lt "$MOST_TRIES" ] && [ "$seconds" -le "$LONGEST_WAIT" ]; } || refused
    try=$((try + 1))
    printf '%s\n' "It isn't your turn yet. Trying again in $seconds s." >&2
    sleep "$seconds"
  done
  printf '\n'
}

# One try. Sets `status`, `head` and `answer` as `ask` does, and `spoken`.
show_stream() {
  local line passed ended='' part=head
  status=0 head='' answer='' spoken='' trouble=0
  streaming=yes
  while IFS= read -r line || [ -n "$line" ]; do
    # What curl passes on is marked: nothing in an answer is taken for what is said of curl.
    case $line in
      "> "*) line=${line#> } line=${line%"$RETURN"} ;;
      "curl runs as "*) curl=${line##* }; continue ;;
      "curl ended "*) trouble=${line##* }; continue ;;
      *) continue ;;
    esac
    case $part:$line in
      head:HTTP/*)
        head=$line
        status=${line#* } status=${status%%[!0-9]*}
        ;;
      # Behind what comes before the answer that counts there is another head.
      head:) [ "$status" -lt 200 ] || part=body ;;
      head:*) head=$head$NEWLINE$line ;;
      body:'data: [DONE]') ended=yes ;;
      body:data:*) [ "$status" -eq 200 ] && show_event "${line#data:}" ;;
      body:HTTP/*) part=head head=$line status=${line#* } status=${status%%[!0-9]*} ;;
      body:) ;;
      body:*) [ "${#answer}" -gt 100000 ] || answer=$answer$line ;;
    esac
  done < <(
    exec 2>/dev/null 3>&1
    # Minutes may pass until the first word; only silence without end is given up.
    request POST "$OPENCLAW_URL/v1/chat/completions" "$body" |
      sh -c 'echo "curl runs as $$" >&3; exec curl "$@" 3>&-' sh \
        --no-buffer --max-time 900 --speed-limit 1 --speed-time 200 --config - |
      while IFS= read -r passed || [ -n "$passed" ]; do printf '> %s\n' "$passed"; done
    printf 'curl ended %s\n' "${PIPESTATUS[1]}"
  )
  streaming=''
  case $status in '' | *[!0-9]*) status=0 ;; esac
  [ "$status" -ne 0 ] || diagnose_stream
  [ "$status" -eq 200 ] || return 0
  if [ -z "$ended" ] && [ -z "$spoken" ]; then
    # A whole answer where a stream was asked for, or something else altogether.
    if member "$answer" content; then show "$member"; return; fi
    diagnose_stream
  fi
  if [ -z "$ended" ] || [ "$trouble" -ne 0 ]; then
    printf '\n' >&2
    keep "$spoken"
    fail "$UPSTREAM_DOWN" "The answer broke off. Your connection or the agent was lost: ask again."
  fi
}

# An answer that none of ours can have been.
diagnose_stream() {
  [ "$trouble" -ne 0 ] || [ "$status" -ne 0 ] || trouble=52
  if [ "$trouble" -eq 28 ]; then
    fail "$UPSTREAM_DOWN" "The agent took too long to answer. Ask again in a minute; if it stays so, tell the operator."
  fi
  diagnose
}

# One event of the stream: a few words, or an error.
show_event() {
  case $1 in
    *'"error"'*:*'"message"'*)
      answer=$1 streaming=''
      its_words
      printf '\n' >&2
      fail "$UPSTREAM_DOWN" "${text:-The agent stopped with an error. Ask again.}"
      ;;
  esac
  ! member "$1" content || show "$member"
}

# Shows words as they come. They may be spelled in JSON in pieces that only make sense together.
show() {
  decode "$1"
  spoken=$spoken$text
  printf '%s' "$text"
}

# Ctrl-C: what was said so far is kept. What runs beside a script doesn't hear it, so it is told.
interrupted() {
  [ -n "$streaming" ] || return 0
  streaming=''
  [ -z "$curl" ] || kill "$curl" 2>/dev/null
  printf '\n%s\n' "Stopped." >&2
  keep "$spoken"
  exit 130
}
