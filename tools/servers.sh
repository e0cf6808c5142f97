#!/bin/sh
# What the tests start for themselves, PostgreSQL, Redis and HAProxy, and a C compiler, from the system's packages where they are missing.
# Nothing is started here, and no database cluster is made.
set -eu

has() { command -v "$1" >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1; }

missing=""
{ has initdb && has postgres && has psql && has pg_dump; } || missing="$missing postgresql"
{ has redis-server && has redis-cli; } || missing="$missing redis-server"
{ has haproxy || [ -x /usr/sbin/haproxy ]; } || missing="$missing haproxy"
# A test steps the clock of one process by a few lines of C.
has cc || missing="$missing gcc libc6-dev"
[ -n "$missing" ] || exit 0

# Debian's package would make a cluster and start it.
if command -v apt-get >/dev/null 2>&1; then
    root=""
    [ "$(id -u)" -eq 0 ] || root="sudo"
    $root mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" | $root tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
# shellcheck disable=SC2086 # a list of words
exec "$(dirname "$0")/packages.sh" "The tests need PostgreSQL 15 or newer, Redis 7 or newer, HAProxy and a C compiler" $missing
