#!/bin/sh
# Install packages of the system: packages.sh WHAT-IS-NEEDED PACKAGE...
set -eu

needed=$1
shift
if ! command -v apt-get >/dev/null 2>&1; then
    echo "$needed. Please install $*." >&2
    exit 1
fi
root=""
[ "$(id -u)" -eq 0 ] || root="sudo"
echo "installing $*" >&2
$root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >/dev/null
