#!/bin/sh
# What the benchmark holds Surgate against and loads it with, where it is missing: wrk from the system's packages, and Cerbos's server, which comes as
# a package of npm with the binary inside, into .peers/. Nothing is started here.
set -eu
cd "$(dirname "$0")/.."

CERBOS=0.55.0

has() { command -v "$1" >/dev/null 2>&1; }

if [ "$(uname -m)" != x86_64 ]; then
    echo "Cerbos's server comes as a package of npm for x86-64 alone, this is $(uname -m)." >&2
    exit 1
fi
name=cerbos-linux-x64
folder=.peers/node_modules/@cerbos/$name

missing=""
has wrk || missing="$missing wrk"
[ -x "$folder/$name" ] || has npm || missing="$missing npm"
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || tools/packages.sh "The benchmark needs wrk, and npm for Cerbos's server" $missing

[ -x "$folder/$name" ] && grep -q "\"version\": *\"$CERBOS\"" "$folder/package.json" && exit 0
mkdir -p .peers
npm install --prefix .peers --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "@cerbos/$name@$CERBOS" >/dev/null
