# shellcheck shell=bash
# Asking the gateway, and saying in plain words what is wrong. setup.sh and agent read this file,
# after settings.sh.

# How a script ends; README.md has the list.
NO_NETWORK=3 CAPTIVE_PORTAL=4 WRONG_ADDRESS=5 NOT_LET_IN=6 NO_MORE=7 UPSTREAM_DOWN=8 CLOCK_OFF=9

# A page that always says the same, over plain HTTP: what a venue's sign-in page gets hold of first.
PROBE_URL=${KIT_PROBE_URL:-http://detectportal.firefox.com/success.txt}

# A clock that is further off than this, in seconds, breaks secure connections sooner or later.
CLOCK_TOLERANCE=300

# What stands in the place of a letter that a terminal must not get: U+FFFD.
NO_LETTER=$'\xef\xbf\xbd'

# What is left for the network, in seconds: a whole set-up takes less than 30.
seconds_left=25

# Text inside quotes: of curl's configuration, and of JSON. Sets `quoted`.
quote() {
  quoted=${1//"$BACKSLASH"/$BACKSLASH$BACKSLASH}
  quoted=${quoted//$QUOTE/$BACKSLASH$QUOTE}
  quoted=${quoted//$TAB/$BACKSLASH"t"}
  quoted=${quoted//$RETURN/}
  quoted=${quoted//$NEWLINE/$BACKSLASH"n"}
  quoted=${quoted//[$'\001'-$'\037'$'\177']/}
}

# curl's configuration for one request. It goes through curl's standard input, so that no list of
# processes shows a key.
request() {
  local method=$1 url=$2 body=${3-}
  printf 'silent\ninclude\nconnect-timeout = 5\nrequest = "%s"\nurl = "%s"\n' "$method" "$url"
  # A bracket in an address is no pattern; curl waits for nothing before it sends a body.
  printf 'globoff\nheader = "Expect:"\n'
  [ "$url" != "$PROBE_URL" ] || return 0
  printf 'header = "X-User-ID: %s"\n' "$USER_ID"
  case $OPENCLAW_GATEWAY_KEY in
    ogk_*)
      if [ -n "$OPENAI_API_KEY" ]; then
        printf 'header = "X-Gateway-Key: %s"\nheader = "Authorization: Bearer %s"\n' \
          "$OPENCLAW_GATEWAY_KEY" "$OPENAI_API_KEY"
      else
        printf 'header = "Authorization: Bearer %s"\n' "$OPENCLAW_GATEWAY_KEY"
      fi
      ;;
    # An OpenClaw of one's own has one token, and knows no gateway.
    ?*) printf 'header = "Authorization: Bearer %s"\n' "$OPENCLAW_GATEWAY_KEY" ;;
    *) [ -z "$OPENAI_API_KEY" ] || printf 'header = "Authorization: Bearer %s"\n' "$OPENAI_API_KEY" ;;
  esac
  [ -z "$PROJECT_ID" ] || printf 'header = "X-Project-ID: %s"\n' "$PROJECT_ID"
  if [ -n "$body" ]; then
    quote "$body"
    printf 'header = "Content-Type: application/json"\ndata-binary = "%s"\n' "$quoted"
  elif [ "$method" = POST ]; then
    printf 'header = "Content-Length: 0"\n'
  fi
}

# Asks for a URL, for at most $1 seconds. Sets `trouble` (curl's exit code; 0 where an answer came),
# `status`, `head` and `answer`.
ask() {
  local patience=$1 method=$2 url=$3 body=${4-} reply began=$SECONDS end=$RETURN$NEWLINE$RETURN$NEWLINE
  [ "$patience" -le "$seconds_left" ] || patience=$seconds_left
  [ "$patience" -ge 1 ] || patience=1
  status=0 head='' answer='' trouble=0
  reply=$(request "$method" "$url" "$body" | { curl --max-time "$patience" --config - 2>/dev/null | tr -d '\000'; exit "${PIPESTATUS[0]}"; }) ||
    trouble=$?
  seconds_left=$((seconds_left - (SECONDS - began)))
  # A proxy's answer and a `100 Continue` come before the one that counts.
  while :; do
    case $reply in HTTP/*"$end"*) ;; HTTP/*) reply=$reply$end ;; *) break ;; esac
    head=${reply%%"$end"*}
    reply=${reply:$((${#head} + 4))}
    status=${head#* }
    status=${status%%[!0-9]*}
  done
  answer=$reply
  case $status in '' | *[!0-9]*) status=0 ;; esac
  # What was begun and not ended in time is no answer.
  [ "$status" -ne 0 ] || [ "$trouble" -ne 0 ] || trouble=52
}

# The value of a header of the last answer; its name in small letters.
header() {
  local line name
  while IFS= read -r line; do
    name=$(printf '%s' "${line%%:*}" | tr '[:upper:]' '[:lower:]')
    case $line in
      *:*) [ "$name" != "$1" ] || { clean "${line#*:}"; printf '%s' "$cleaned"; return 0; } ;;
    esac
  done < <(printf '%s\n' "$head")
}

# The text or number of the first member of this name in JSON, as it is written there. Sets `member`.
member() {
  local text='"'$2'"[[:space:]]*:[[:space:]]*"([^"\\]*(\\.[^"\\]*)*)"'
  local number='"'$2'"[[:space:]]*:[[:space:]]*(-?[0-9]+)'
  member=''
  if [[ $1 =~ $text ]]; then
    member=${BASH_REMATCH[1]}
  elif [[ $1 =~ $number ]]; then
    member=${BASH_REMATCH[1]}
  else
    return 1
  fi
}

# Text as it is meant, out of JSON's spelling, without what would steer the terminal. Sets `text`.
decode() {
  local rest=$1 part code low
  text=''
  while :; do
    part=${rest%%"$BACKSLASH"*}
    text=$text$part
    [ "${#part}" -lt "${#rest}" ] || break
    rest=${rest:$((${#part} + 1))}
    case $rest in
      n*) text=$text$NEWLINE ;;
      t*) text=$text$TAB ;;
      [rbf]*) ;;
      u[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]*)
        code=$((16#${rest:1:4}))
        case $rest in
          u[Dd][89ABab]??"$BACKSLASH"u[Dd][C-Fc-f][0-9A-Fa-f][0-9A-Fa-f]*)
            low=$((16#${rest:7:4}))
            code=$((65536 + (code - 55296) * 1024 + low - 56320))
            rest=${rest:6}
            ;;
        esac
        letter "$code"
        text=$text$letter
        rest=${rest:4}
        ;;
      *) text=$text${rest:0:1} ;;
    esac
    rest=${rest:1}
  done
  case $text in
    *[$'\001'-$'\010'$'\013'-$'\037'$'\177']*)
      text=${text//[$'\001'-$'\010'$'\013'-$'\037'$'\177']/}
      ;;
  esac
  # C1 controls, and what turns the direction of writing: spelled in two and three bytes. They are
  # replaced, for what is taken away lets its neighbours meet.
  case $text in
    *[$'\xc2\xe2']*)
      text=${text//$'\xc2'[$'\x80'-$'\x9f']/$NO_LETTER}
      text=${text//$'\xe2\x80'[$'\xaa'-$'\xae']/$NO_LETTER}
      text=${text//$'\xe2\x81'[$'\xa6'-$'\xa9']/$NO_LETTER}
      # What the next words would complete.
      case $text in *[$'\xc2\xe2'] | *$'\xe2'[$'\x80\x81']) text=$text$NO_LETTER ;; esac
      ;;
  esac
}

# The bytes of one code point in UTF-8. Sets `letter`.
letter() {
  local code=$1 bytes
  if [ "$code" -lt 128 ]; then
    bytes=$code
  elif [ "$code" -lt 2048 ]; then
    bytes="$((192 + code / 64)) $((128 + code % 64))"
  elif [ "$code" -lt 65536 ]; then
    bytes="$((224 + code / 4096)) $((128 + code / 64 % 64)) $((128 + code % 64))"
  else
    bytes="$((240 + code / 262144)) $((128 + code / 4096 % 64)) $((128 + code / 64 % 64)) $((128 + code % 64))"
  fi
  # shellcheck disable=SC2086 # A byte each.
  printf -v bytes '\\0%03o' $bytes
  printf -v letter '%b' "$bytes"
}

# The gateway's own words for what is wrong, without any key. Sets `text`, and `code` for programs.
its_words() {
  local secret error=$answer before=${answer%%'"error"'*}
  [ "${#before}" -eq "${#answer}" ] || error=${answer:${#before}}
  code=''
  if member "$error" code; then code=$member; fi
  text=''
  if member "$error" message; then decode "$member"; fi
  for secret in "$OPENCLAW_GATEWAY_KEY" "$OPENAI_API_KEY" "$CLAIM_CODE"; do
    [ -z "$secret" ] || text=${text//"$secret"/…}
  done
}

# Ends with what the gateway, or the agent behind it, says of a request that it didn't answer.
refused() {
  its_words
  case $status in
    400) [ -n "$text" ] && fail "$BAD_SETTINGS" "$text" ;;
    401 | 410)
      # The gateway's errors have a code and say what to do; others' may say a word.
      [ -n "$code" ] && [ -n "$text" ] && fail "$NOT_LET_IN" "$text"
      fail "$NOT_LET_IN" "Your key isn't right for $OPENCLAW_URL${text:+ ($text)}. Copy it again into .env, whole, or ask the operator for a new one."
      ;;
    402 | 429) [ -n "$text" ] && fail "$NO_MORE" "$text" ;;
    403)
      case $code in
        user_blocked) fail "$NO_MORE" "$text" ;;
        *) [ -n "$text" ] && fail "$NOT_LET_IN" "$text" ;;
      esac
      ;;
    404)
      case $code in
        invalid_code) fail "$NOT_LET_IN" "$text" ;;
        *) [ -n "$text" ] && fail "$WRONG_ADDRESS" "$text" ;;
      esac
      ;;
    5??) fail "$UPSTREAM_DOWN" "${text:-The gateway has trouble of its own (it answered $status). Try again in a minute, or tell the operator.}" ;;
  esac
  case $answer in
    '{'*'"error"'*) [ -n "$text" ] && fail "$UPSTREAM_DOWN" "$text" ;;
  esac
  diagnose
}

# Whether the last answer is one of a gateway's, or of an OpenClaw's, to GET /health.
is_healthy() {
  [ "$trouble" -eq 0 ] && [ "$status" -eq 200 ] || return 1
  case $answer in
    '{'*'"status"'* | '{'*'"ok"'*) return 0 ;;
    *) return 1 ;;
  esac
}

# Seconds since 1970 of a date as HTTP has it: `Sun, 06 Nov 1994 08:49:37 GMT`. Sets `epoch`.
epoch_of() {
  local months=JanFebMarAprMayJunJulAugSepOctNovDec day month year time before
  # shellcheck disable=SC2086 # Its words.
  set -- $1
  day=${2-} month=${3-} year=${4-} time=${5-}
  case $day-$month-$year-$time in
    [0-9][0-9]-[A-Z][a-z][a-z]-[0-9][0-9][0-9][0-9]-[0-9][0-9]:[0-9][0-9]:[0-9][0-9]) ;;
    *) return 1 ;;
  esac
  before=${months%%"$month"*}
  month=$((${#before} / 3 + 1)) day=$((10#$day))
  # The years begin in March, so that the leap day is a year's last.
  year=$((month > 2 ? year : year - 1)) month=$((month > 2 ? month - 3 : month + 9))
  day=$((365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719468))
  epoch=$((day * 86400 + 10#${time%%:*} * 3600))
  time=${time#*:}
  epoch=$((epoch + 10#${time%:*} * 60 + 10#${time#*:}))
}

# Ends where this computer's clock is far from the one of whoever gave the last answer.
check_clock() {
  local here off amount
  epoch_of "$(header date)" || return 0
  here=$(date -u +%s)
  case $here in '' | *[!0-9]*) return 0 ;; esac
  off=$((here - epoch))
  [ "${off#-}" -gt "$CLOCK_TOLERANCE" ] || return 0
  amount=$(((${off#-} + 30) / 60))
  if [ "$amount" -ge 2880 ]; then amount="$(((amount + 720) / 1440)) days"
  elif [ "$amount" -ge 120 ]; then amount="$(((amount + 30) / 60)) hours"
  else amount="$amount minutes"; fi
  if [ "$off" -gt 0 ]; then amount="$amount fast"; else amount="$amount slow"; fi
  fail "$CLOCK_OFF" "Your computer's clock is $amount. Set date and time to \"automatic\" in the system's settings, then run this again."
}

# Ends with the reason why no gateway answered, after the last request came to nothing.
diagnose() {
  local answered=$trouble said=$status page=$answer way=none
  [ "$said" -eq 0 ] || check_clock
  if [ "$answered" -ne 0 ] && is_local "$host"; then
    fail "$WRONG_ADDRESS" "Nothing answers at $OPENCLAW_URL. Check OPENCLAW_URL in .env; if that is your own OpenClaw, start it first."
  fi
  if [ "$answered" -eq 0 ] && [ "$said" -ge 500 ] && [ "$said" -ne 511 ]; then
    fail "$UPSTREAM_DOWN" "The gateway has trouble of its own (it answered $said). Try again in a minute, or tell the operator."
  fi
  [ "$seconds_left" -ge 4 ] || seconds_left=4
  ask 4 GET "$PROBE_URL"
  if [ "$trouble" -eq 0 ]; then
    case $status:$answer in
      200:success | 200:success[[:space:]]*) way=open ;;
      204:*) way=open ;;
      *) way=portal ;;
    esac
  fi
  if [ "$said" -eq 511 ] || [ $way = portal ]; then captive; fi
  if [ "$answered" -eq 0 ]; then
    # Something answered that is no gateway.
    if [ $way = none ]; then
      case $said:$page in
        30?:* | 200:*'<'*) captive ;;
      esac
    fi
    fail "$WRONG_ADDRESS" "There is something at $OPENCLAW_URL, but no gateway. Compare OPENCLAW_URL in .env with the address that your operator has told you."
  fi
  [ $way = open ] ||
    fail "$NO_NETWORK" "There is no internet connection. Join the Wi-Fi, open any web page to see that it works, then run this again."
  check_clock
  case $answered in
    3 | 6) fail "$WRONG_ADDRESS" "There is no computer called $host. Compare OPENCLAW_URL in .env with the address that your operator has told you." ;;
    35 | 51 | 58 | 60 | 77 | 83 | 90 | 91) fail "$WRONG_ADDRESS" "No secure connection to $host can be made. Compare OPENCLAW_URL in .env with what your operator has told you, switch off a VPN if you have one, and run this again." ;;
  esac
  fail "$WRONG_ADDRESS" "The internet is there, but $host doesn't answer. Compare OPENCLAW_URL in .env with what your operator has told you, switch off a VPN if you have one, and run this again."
}

captive() {
  fail "$CAPTIVE_PORTAL" "The Wi-Fi wants you to sign in first. Open http://neverssl.com in your browser, accept what it asks there, then run this again."
}
