# shellcheck shell=bash
# The settings: read from .env, repaired, asked for, written back. setup.sh and agent read this file.
#
# For bash 3.2, which macOS has: no associative arrays, no ${name,,}, no mapfile, and an array that is
# empty can't be expanded. Everything counts in bytes, here and in tr, so that what
# people paste can't break it.

export LC_ALL=C
# Newer shells would read `&` in a replacement as "what was found".
shopt -u patsub_replacement 2>/dev/null || true

# What can be set, in the order in which it is written where it is missing.
NAMES="OPENCLAW_URL USER_ID CLAIM_CODE OPENCLAW_GATEWAY_KEY OPENAI_API_KEY MODEL PROJECT_ID"
OPENCLAW_URL='' USER_ID='' CLAIM_CODE='' OPENCLAW_GATEWAY_KEY='' OPENAI_API_KEY='' MODEL='' PROJECT_ID=''

# How a script ends; README.md has the list.
WRONG_USE=1 BAD_SETTINGS=2

BACKSLASH='\' QUOTE='"' TAB=$'\t' NEWLINE=$'\n' RETURN=$'\r'
WIDE_BLANK=$'\xc2\xa0' NO_BLANK=$'\xe2\x80\x8b' BYTE_ORDER_MARK=$'\xef\xbb\xbf'

# What has to be undone if the script is stopped: a file that is being written, and a terminal that
# shows nothing. Bash 3.2 would keep a trap for Ctrl-C waiting until a line is typed; this one it runs.
unfinished='' terminal=''
trap 'tidy_up' EXIT
tidy_up() {
  show_typing
  [ -z "$unfinished" ] || rm -f "$unfinished"
}

hide_typing() {
  terminal=$(stty -g 2>/dev/null) || terminal=''
  stty -echo 2>/dev/null
}

show_typing() {
  [ -z "$terminal" ] || stty "$terminal" 2>/dev/null
  terminal=''
}

say() { printf '%s\n' "$*"; }

# Ends with an exit code and what is wrong.
fail() {
  local code=$1
  shift
  printf '%s\n' "$*" >&2
  exit "$code"
}

is_interactive() { [ -t 0 ] && [ -t 2 ]; }

# What people paste, less what doesn't belong to it: quotes of all kinds, blanks, and the mark that
# some editors put before a text. Sets `cleaned`.
clean() {
  local fancy before
  cleaned=$1
  for fancy in $'\xe2\x80\x9c' $'\xe2\x80\x9d' $'\xe2\x80\x9e' $'\xe2\x80\x98' $'\xe2\x80\x99' \
    $'\xe2\x80\x9a' $'\xc2\xab' $'\xc2\xbb' '`' "'"; do
    cleaned=${cleaned//$fancy/$QUOTE}
  done
  # Dashes that a word processor made longer.
  for fancy in $'\xe2\x80\x90' $'\xe2\x80\x91' $'\xe2\x80\x92' $'\xe2\x80\x93' $'\xe2\x80\x94' \
    $'\xe2\x88\x92'; do
    cleaned=${cleaned//$fancy/-}
  done
  cleaned=${cleaned//$BYTE_ORDER_MARK/}
  cleaned=${cleaned//$NO_BLANK/}
  cleaned=${cleaned//$WIDE_BLANK/ }
  cleaned=${cleaned//$TAB/ }
  cleaned=${cleaned//$RETURN/}
  while [ "${before-}" != "x$cleaned" ]; do
    before=x$cleaned
    cleaned=${cleaned# }
    cleaned=${cleaned% }
    case $cleaned in
      \"*\"*) cleaned=${cleaned#\"} cleaned=${cleaned%%\"*} ;;
      \"*) cleaned=${cleaned#\"} ;;
      *\") cleaned=${cleaned%\"} ;;
      \<*\>) cleaned=${cleaned#<} cleaned=${cleaned%>} ;;
      *' #'*) cleaned=${cleaned%%' #'*} ;;
      '#'*) cleaned='' ;;
      *[\;,]) cleaned=${cleaned%?} ;;
    esac
  done
}

# Takes a line of .env apart. Sets `name` and `raw`; fails where the line sets nothing of ours.
split_line() {
  local line=$1
  line=${line#"$BYTE_ORDER_MARK"}
  # What is left of a file in UTF-16 without its zero bytes.
  line=${line#$'\xff\xfe'} line=${line#$'\xfe\xff'}
  line=${line//$WIDE_BLANK/ }
  line=${line//$TAB/ }
  while [ "$line" != "${line# }" ]; do line=${line# }; done
  line=${line#export }
  case $line in *=*) ;; *) return 1 ;; esac
  name=${line%%=*}
  name=${name// /}
  raw=${line#*=}
  case " $NAMES " in *" $name "*) [ -n "$name" ] ;; *) return 1 ;; esac
}

# Reads one file; what is set already stays as it is.
read_file() {
  local line name raw known=' '
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in '{\rtf'*)
      fail "$BAD_SETTINGS" "$1 isn't plain text. In TextEdit choose Format > Make Plain Text, save it as .env, and run this again."
      ;;
    esac
    split_line "$line" || continue
    clean "$raw"
    # The last line of a file counts, unless another file came before.
    case $known in
      *" $name "*) ;;
      *) [ -z "${!name}" ] || continue ;;
    esac
    [ -n "$cleaned" ] || continue
    known="$known$name "
    printf -v "$name" '%s' "$cleaned"
  done < <(tr -d '\000' <"$1")
}

# Reads the settings of the kit in the folder $1, wherever they were saved, and repairs them.
read_settings() {
  local file code
  folder=$1
  if [ -f "$folder/.env" ] && [ ! -r "$folder/.env" ]; then
    fail "$BAD_SETTINGS" "The file .env can't be read. It belongs to another user of this computer: unzip the kit again, into a folder of your own."
  fi
  # Editors add .txt without telling, and some people fill in the example.
  for file in .env .env.txt env.txt env .env.example; do
    [ -f "$folder/$file" ] && [ -r "$folder/$file" ] || continue
    code=$CLAIM_CODE
    read_file "$folder/$file"
    # A code beside a key that was read before it has been used.
    if [ "$file" != .env ] && [ -n "$OPENCLAW_GATEWAY_KEY" ]; then CLAIM_CODE=$code; fi
  done
  repair_settings
}

# Makes of each setting what was meant.
repair_settings() {
  repair_url
  OPENCLAW_GATEWAY_KEY=$(without_blanks "$OPENCLAW_GATEWAY_KEY")
  OPENAI_API_KEY=$(without_blanks "$OPENAI_API_KEY")
  CLAIM_CODE=$(without_blanks "$CLAIM_CODE")
  MODEL=$(without_blanks "$MODEL")
  PROJECT_ID=$(without_blanks "$PROJECT_ID")
  put_each_in_its_place
  case $OPENCLAW_GATEWAY_KEY in
    ogk_*_*)
      [ -n "$USER_ID" ] || USER_ID=${OPENCLAW_GATEWAY_KEY#ogk_} USER_ID=${USER_ID%_*}
      ;;
  esac
  USER_ID=$(printf '%s' "${USER_ID// /-}" | tr '[:upper:]' '[:lower:]')
}

without_blanks() {
  local value=${1//[[:space:]]/}
  case $value in [Bb]earer?*) value=${value#??????} ;; esac
  printf '%s' "$value"
}

# Keys and codes in each other's place go where they belong.
put_each_in_its_place() {
  local value
  for value in "$CLAIM_CODE" "$OPENAI_API_KEY" "$OPENCLAW_GATEWAY_KEY"; do
    case $value in
      ogk_*)
        [ "$OPENAI_API_KEY" != "$value" ] || OPENAI_API_KEY=''
        [ "$CLAIM_CODE" != "$value" ] || CLAIM_CODE=''
        case $OPENCLAW_GATEWAY_KEY in ogk_*) ;; *) OPENCLAW_GATEWAY_KEY=$value ;; esac
        ;;
      sk-*)
        [ "$OPENCLAW_GATEWAY_KEY" != "$value" ] || OPENCLAW_GATEWAY_KEY=''
        [ "$CLAIM_CODE" != "$value" ] || CLAIM_CODE=''
        [ -n "$OPENAI_API_KEY" ] || OPENAI_API_KEY=$value
        ;;
      [0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z]-[0-9A-Za-z][0-9A-Za-z][0-9A-Za-z][0-9A-Za-z])
        [ "$OPENCLAW_GATEWAY_KEY" != "$value" ] || OPENCLAW_GATEWAY_KEY=''
        [ "$OPENAI_API_KEY" != "$value" ] || OPENAI_API_KEY=''
        [ -n "$CLAIM_CODE" ] || CLAIM_CODE=$value
        ;;
    esac
  done
}

# The base of the URL: no /v1 and no user behind it, https unless it stays in the building.
repair_url() {
  local url=${OPENCLAW_URL//[[:space:]]/} scheme rest before=''
  [ -n "$url" ] || return 0
  url=${url%%[?#]*}
  url=${url//"$BACKSLASH"//}
  case $url in
    [Hh][Tt][Tt][Pp]://*) scheme=http rest=${url#*://} ;;
    [Hh][Tt][Tt][Pp][Ss]://*) scheme=https rest=${url#*://} ;;
    [Hh][Tt][Tt][Pp][Ss]:/* | [Hh][Tt][Tt][Pp][Ss]//*) scheme=https rest=${url#*/} ;;
    [Hh][Tt][Tt][Pp]:/* | [Hh][Tt][Tt][Pp]//*) scheme=http rest=${url#*/} ;;
    *://*) scheme=https rest=${url#*://} ;;
    *) scheme='' rest=$url ;;
  esac
  while [ "$before" != "$rest" ]; do
    before=$rest
    rest=${rest#/}
    rest=${rest%[/.,]}
    rest=${rest%/chat/completions}
    rest=${rest%/[Vv]1}
    rest=${rest%/health}
    case $rest in
      */u/*)
        [ -n "$USER_ID" ] || USER_ID=${rest##*/u/} USER_ID=${USER_ID%%/*}
        rest=${rest%/u/*}
        ;;
    esac
  done
  host=$(printf '%s' "${rest%%/*}" | tr '[:upper:]' '[:lower:]')
  case $rest in */*) rest=$host/${rest#*/} ;; *) rest=$host ;; esac
  if is_local "$host"; then
    scheme=${scheme:-http}
  else
    scheme=https
  fi
  OPENCLAW_URL=$scheme://$rest
}

# Whether a host, with its port, is this computer or stands in the same building.
is_local() {
  local name=$1
  case $name in \[*) name=${name%%\]*} ;; *) name=${name%%:*} ;; esac
  case $name in
    '[::1' | *.localhost | *.local | *.lan) return 0 ;;
    *[!0-9.]*.*) return 1 ;;
    127.* | 10.* | 192.168.* | 172.1[6-9].* | 172.2[0-9].* | 172.3[01].*) case $name in *[!0-9.]*) return 1 ;; esac ;;
    *.*) return 1 ;;
    *) [ -n "$name" ] ;;
  esac
}

# Asks for a setting where somebody is there to answer; $3 is `hidden` for what nobody may see.
ask_for() {
  local name=$1 question=$2 hidden=${3-} typed=''
  is_interactive || return 1
  # Before the question, so that what is typed at once isn't shown either.
  [ -z "$hidden" ] || hide_typing
  printf '%s ' "$question" >&2
  # Where there is no stty, Bash hides it.
  read -r ${hidden:+-s} typed
  if [ -n "$hidden" ]; then
    show_typing
    printf '\n' >&2
  fi
  clean "$typed"
  printf -v "$name" '%s' "$cleaned"
  repair_settings
  [ -n "$cleaned" ]
}

# Asks for what is missing, and refuses what can't be right.
complete_settings() {
  [ -n "$OPENCLAW_URL" ] || ask_for OPENCLAW_URL 'The address that your operator has told you (https://…):' ||
    fail "$BAD_SETTINGS" "OPENCLAW_URL is missing in .env. Your operator has told you this address."
  [ -n "$USER_ID" ] || ask_for USER_ID 'Your USER_ID (such as ada-lovelace):' ||
    fail "$BAD_SETTINGS" "USER_ID is missing in .env. Your operator has told you yours."
  if [ -z "$CLAIM_CODE$OPENCLAW_GATEWAY_KEY$OPENAI_API_KEY" ]; then
    # Whatever is typed here finds its place.
    ask_for CLAIM_CODE 'Your code (such as ABCD-EFGH) or your key; it stays hidden while you type:' hidden ||
      fail "$BAD_SETTINGS" "Your code or your key is missing in .env: CLAIM_CODE, or OPENCLAW_GATEWAY_KEY, or the OPENAI_API_KEY that you have used until now."
  fi
  check_settings
}

check_settings() {
  local value
  case $OPENCLAW_URL in
    *[!-A-Za-z0-9._~:/%\[\]]* | *://) fail "$BAD_SETTINGS" "OPENCLAW_URL in .env isn't an address. It looks like https://gateway.example.com: copy it again." ;;
  esac
  case $USER_ID in
    *[!a-z0-9._-]* | [!a-z0-9]*) fail "$BAD_SETTINGS" "USER_ID in .env has a character that no USER_ID has. It looks like ada-lovelace: letters without accents, digits, dots, dashes." ;;
  esac
  for value in "$OPENCLAW_GATEWAY_KEY" "$OPENAI_API_KEY" "$CLAIM_CODE"; do
    case $value in
      *[\"\\]* | *[!\ -~]*) fail "$BAD_SETTINGS" "Your key in .env has a character that no key has. Copy it again." ;;
    esac
  done
  case $MODEL$PROJECT_ID in
    *[!-A-Za-z0-9._:/@]*) fail "$BAD_SETTINGS" "MODEL or PROJECT_ID in .env has a character that doesn't belong there. Leave them empty, or ask your operator." ;;
  esac
}

# Makes sure that .env can be written, before anything is spent that can't be had twice.
begin_writing() {
  local old_umask
  [ -z "$unfinished" ] || return 0
  old_umask=$(umask)
  umask 077
  unfinished=$(mktemp "$folder/.env.XXXXXX" 2>/dev/null) || unfinished=''
  umask "$old_umask"
  [ -n "$unfinished" ]
}

# Writes the settings into .env in one step, readable by its owner alone. What else is in the file
# stays, and so does the file where nothing is new.
write_settings() {
  local line name raw written=' ' text='' old='' base="$folder/.env"
  [ -f "$base" ] || base="$folder/.env.example"
  if [ -f "$base" ]; then
    old=$(tr -d '\000' <"$base"; printf x)
    while IFS= read -r line || [ -n "$line" ]; do
      line=${line%"$RETURN"}
      line=${line#"$BYTE_ORDER_MARK"}
      line=${line#$'\xff\xfe'} line=${line#$'\xfe\xff'}
      if split_line "$line"; then
        case $written in *" $name "*) continue ;; esac
        written="$written$name "
        [ "$raw" = "${!name}" ] || line=$name=${!name}
      fi
      text=$text$line$NEWLINE
    done < <(printf '%s' "${old%x}")
  fi
  for name in $NAMES; do
    case $written in *" $name "*) continue ;; esac
    [ -z "${!name}" ] || text=$text$name=${!name}$NEWLINE
  done
  if [ "$base" = "$folder/.env" ] && [ "$text" = "${old%x}" ]; then
    chmod 600 "$base" 2>/dev/null || true
    return 0
  fi
  begin_writing && printf '%s' "$text" >"$unfinished" && chmod 600 "$unfinished" &&
    mv -f "$unfinished" "$folder/.env" && unfinished=''
}
