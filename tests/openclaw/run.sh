#!/bin/sh
# Starts OpenClaw for the tests: run.sh HOSTS_FILE COMMAND...
#
# OpenClaw looks up catalog.openclaw.ai, clawhub.ai and telemetry.openclaw.ai, and has no switch
# for all of them. So it gets a private mount namespace where HOSTS_FILE is /etc/hosts, and a
# private process namespace that takes every child along when it ends. Where neither root nor user
# namespaces are to be had it runs without, and this script says so.
#
# It ends OpenClaw as soon as standard input closes: whoever holds the other end of that pipe can
# be killed in any way, and nothing stays behind.
set -u
hosts=$1
shift
exec 3<&0

inside='mount --bind "$0" /etc/hosts && exec "$@"'
ending=KILL
spaces='--mount --pid --fork --kill-child=KILL --mount-proc'
# shellcheck disable=SC2086 # the options are words of their own
if unshare $spaces true 2>/dev/null; then
    unshare $spaces sh -c "$inside" "$hosts" "$@" &
elif unshare --map-root-user $spaces true 2>/dev/null; then
    unshare --map-root-user $spaces sh -c "$inside" "$hosts" "$@" &
else
    echo "run.sh: no private namespaces here: OpenClaw may look up names outside" >&2
    # Asked to, OpenClaw ends what it started.
    ending=TERM
    "$@" &
fi
child=$!

# KILL for the process that holds the namespaces ends all that is in them.
(
    cat >/dev/null
    kill "-$ending" "$child"
    tries=50
    while kill -0 "$child" && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    kill -KILL "$child"
) <&3 2>/dev/null &
watcher=$!

wait "$child"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
