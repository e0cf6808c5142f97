#!/bin/sh
# The servers that the tests start for themselves, PostgreSQL and Redis, from the system's packages where they are missing.
# Nothing is started here, and no database cluster is made.
set -eu

has() { command -v "$1" >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1; }

missing=""
{ has initdb && has postgres && has psql && has pg_dump; } || missing="$missing postgresql"
{ has redis-server && has redis-cli; } || missing="$missing redis-server"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "The tests need$missing: please install (PostgreSQL 15 or newer, Redis 7 or newer)." >&2
    exit 1
fi
root=""
[ "$(id -u)" -eq 0 ] || root="sudo"
echo "installing$missing" >&2
# Debian's package would make a cluster and start it.
$root mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" | $root tee /etc/postgresql-common/createcluster.conf >/dev/null
$root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
# shellcheck disable=SC2086 # a list of words
$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null
