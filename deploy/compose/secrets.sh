#!/bin/sh
# Makes what compose.yaml needs and nobody else may know: run it once, in this folder, by a user that may chown (root). What is there already stays.
# Keep a copy of all of it somewhere else: without secrets/seal-key.pem nobody can seal the record on from where it is.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

word() { openssl rand -hex 24; }

if [ ! -e .env ]; then
    printf 'POSTGRES_ADMIN_PASSWORD=%s\nPOSTGRES_PASSWORD=%s\nREDIS_PASSWORD=%s\nGRAFANA_PASSWORD=%s\n' "$(word)" "$(word)" "$(word)" "$(word)" > .env
fi

# One key for all nodes: what one of them seals, every other one must be able to vouch for.
[ -e secrets/seal-key.pem ] || openssl genpkey -algorithm ed25519 -out secrets/seal-key.pem

# What the gateway may do in Redis, and nothing else: the keys of its own, and the commands that it uses. The file holds the password's hash.
password=$(sed -n 's/^REDIS_PASSWORD=//p' .env)
hash=$(printf %s "$password" | openssl dgst -sha256 -r | cut -d' ' -f1)
commands='+@hash +@stream +@connection +@transaction +eval +evalsha +script|load +set +get +del +exists +rename +expire +persist +cluster|slots +cluster|shards +cluster|nodes -@dangerous +info'
printf 'user default off\nuser surgate on #%s ~surgate:* %s\n' "$hash" "$commands" > secrets/users.acl

# For a trial alone: put the hospital's own certificate, its chain and its key in this file before others may reach it.
if [ ! -e secrets/tls.pem ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=surgate -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout secrets/tls.key -out secrets/tls.crt
    cat secrets/tls.crt secrets/tls.key > secrets/tls.pem
    rm secrets/tls.crt secrets/tls.key
fi

# Who reads them inside the containers: the gateway, Redis, HAProxy.
if [ "$(id -u)" = 0 ]; then
    chown 10001 secrets/seal-key.pem
    chown 999 secrets/users.acl
    chown 99 secrets/tls.pem
    chmod 711 secrets
else
    echo 'chown 10001 secrets/seal-key.pem; chown 999 secrets/users.acl; chown 99 secrets/tls.pem; chmod 711 secrets' >&2
    echo 'has to be done by root' >&2
fi
