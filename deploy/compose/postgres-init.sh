#!/bin/sh
# Runs once, when the server's folder is empty: a role that is no superuser, and its database. C.UTF-8 orders texts by code point, which no
# update of the system's collations can change under an index.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$GATEWAY_PASSWORD" -U "${POSTGRES_USER:-postgres}" -d postgres <<'SQL'
CREATE ROLE surgate LOGIN PASSWORD :'password';
CREATE DATABASE surgate OWNER surgate TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
REVOKE ALL ON DATABASE surgate FROM PUBLIC;
SQL
