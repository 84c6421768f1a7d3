#!/usr/bin/env bash
# Starts the PostgreSQL of the third act in the node of the demo's cluster, unless it runs: with TLS, and with a database postern. It ends
# with the node, and its files are below the cluster's. prepare_trail runs this in the node.
#
#   postgres.sh ADDRESS HOST
set -euo pipefail
readonly ADDRESS=$1 HOST=$2
readonly BIN=/usr/lib/postgresql/15/bin
readonly HOME_DIR=/var/lib/postern-demo/postgres # it has the sockets, the certificate, and the data
export HOME=$HOME_DIR

as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }

# make_files: creates the certificate, and an empty cluster of databases.
make_files() {
	install -d -o postgres -g postgres -m 755 "$HOME_DIR"
	cd "$HOME_DIR"
	as_postgres openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$HOST" \
		-addext "subjectAltName=DNS:$HOST,IP:$ADDRESS" -keyout server.key -out ca.crt 2>/dev/null
	as_postgres chmod 600 server.key
	as_postgres "$BIN/initdb" -D data -U postgres --no-sync --auth=peer --no-locale --encoding=UTF8 >/dev/null
	as_postgres tee data/pg_hba.conf >/dev/null <<-END
		local   all all           peer
		hostssl all all 0.0.0.0/0 scram-sha-256
	END
	as_postgres tee -a data/postgresql.conf >/dev/null <<-END
		listen_addresses = '$ADDRESS'
		unix_socket_directories = '$HOME_DIR'
		ssl = on
		ssl_cert_file = '$HOME_DIR/ca.crt'
		ssl_key_file = '$HOME_DIR/server.key'
		fsync = off
	END
}

main() {
	if [[ ! -s $HOME_DIR/data/PG_VERSION ]]; then make_files; fi
	cd "$HOME_DIR"
	if ! as_postgres "$BIN/pg_ctl" status -D data >/dev/null; then
		as_postgres "$BIN/pg_ctl" start -w -D data -l log >/dev/null || { tail -n 20 log >&2 && exit 1; }
	fi
	as_postgres createdb -h "$HOME_DIR" postern 2>/dev/null || true # it may exist
}

main
