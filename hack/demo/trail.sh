# shellcheck shell=bash disable=SC2153,SC2034 # lib.sh and prepare.sh set the variables that are read here
# Prepares the database of the audit trail for the third act: PostgreSQL in the node, its roles and tables, and accounts that Vault makes for
# the sidecars. This file is sourced, not executed.

readonly DATABASE_HOST=postgres.$SYSTEM.svc
TRAIL=() # values of the chart

# in_node COMMAND...: runs a command in the cluster's node.
in_node() { "$ROOT/hack/cluster/exec.sh" -c "$NAME" "$@"; }

# superuser ARGUMENT...: runs psql in the trail's database as its superuser.
superuser() {
	in_node setpriv --reuid=postgres --regid=postgres --init-groups env -C / psql -X -q -v ON_ERROR_STOP=1 -h /var/lib/postern-demo/postgres -d postern "$@"
}

# prepare_trail: starts the database, makes its users, and lets Vault make the sidecars' accounts. It can be repeated.
prepare_trail() {
	local user
	if existing; then return; fi
	say "starting PostgreSQL"
	mkdir -p "$WORK/trail"
	in_node "$HERE/postgres.sh" "$POSTERN_NODE_IP" "$DATABASE_HOST"
	in_node cat /var/lib/postern-demo/postgres/ca.crt >"$WORK/trail/ca.crt"
	sed -e "s|@ADDRESS@|$POSTERN_NODE_IP|" -e "s|@NAMESPACE@|$SYSTEM|" "$HERE/postgres.yaml" | kubectl apply -f - >/dev/null
	postern audit roles | superuser -f -
	superuser -f - <"$HERE/users.sql"
	for user in owner auditor vault; do
		(umask 077 && openssl rand -hex 16 >"$WORK/trail/$user")
		echo "ALTER ROLE $user PASSWORD '$(<"$WORK/trail/$user")';" | superuser -f -
	done
	as_user owner postern audit migrate >/dev/null
	restore_record
	prepare_vault_accounts
	TRAIL=(--set-file "defaultClass.database.tls.caBundle=$WORK/trail/ca.crt"
		--set "defaultClass.database.address=$DATABASE_HOST:5432,defaultClass.database.name=postern"
		--set "defaultClass.database.credentials.vault.path=database/creds/postern-audit"
		--set "defaultClass.audit.keyRef.vault.path=secret/postern/audit,defaultClass.audit.keyRef.vault.key=key"
		--set "defaultClass.audit.checkpointInterval=2s,defaultClass.trustedProxies={$POSTERN_HOST_IP/32}")
}

# as_user USER COMMAND...: runs a command with the variables of psql for a user of the database.
as_user() {
	env PGHOST="$POSTERN_NODE_IP" PGDATABASE=postern PGUSER="$1" PGSSLROOTCERT="$WORK/trail/ca.crt" PGPASSWORD="$(<"$WORK/trail/$1")" "${@:2}"
}

# vault_api METHOD PATH JSON: sends a request to Vault as its administrator.
vault_api() {
	curl -q -sS --fail-with-body --noproxy '*' --max-time 20 --cacert "$WORK/vault/ca.crt" --resolve "vault.vault.svc:8200:$VAULT_IP" \
		-H @"$WORK/trail/vault-token" -X "$1" -d "$3" "https://vault.vault.svc:8200/v1/$2"
}

# must_vault METHOD PATH JSON: the same, and the demo ends if Vault refuses for 20 seconds. Vault connects to the database at once, and the
# node routes connections to a Service shortly after it was created.
must_vault() {
	local until=$((SECONDS + 20))
	until vault_api "$@" >"$WORK/trail/vault.log" 2>&1; do
		if ((SECONDS > until)); then cat "$WORK/trail/vault.log" >&2 && die "Vault refused $1 $2"; fi
		sleep 0.5
	done
}

# prepare_vault_accounts: gives Vault the database, in which it makes a short-lived account for each sidecar, and the key of the trail.
prepare_vault_accounts() {
	local creation='CREATE ROLE \"{{name}}\" LOGIN PASSWORD '"'{{password}}'"' VALID UNTIL '"'{{expiration}}'"' CONNECTION LIMIT 4 IN ROLE postern_audit_writer;'
	local acl='path \"database/creds/postern-audit\" { capabilities = [\"read\"] } path \"sys/leases/revoke\" { capabilities = [\"update\"] }'
	VAULT_IP=$(kubectl get service vault -n vault -o 'jsonpath={.spec.clusterIP}')
	(umask 077 && printf 'X-Vault-Token: %s\n' "$(kubectl get secret vault-root -n vault -o 'jsonpath={.data.token}' | base64 -d)" >"$WORK/trail/vault-token")
	vault_api POST sys/mounts/database '{"type":"database"}' >/dev/null 2>&1 || true # it may exist
	must_vault POST database/config/postern "{\"plugin_name\":\"postgresql-database-plugin\",\"allowed_roles\":\"postern-audit\",\"username\":\"vault\",\"password\":\"$(<"$WORK/trail/vault")\",
		\"tls_ca\":\"$(awk '{ printf "%s\\n", $0 }' "$WORK/trail/ca.crt")\",
		\"connection_url\":\"postgresql://{{username}}:{{password}}@$DATABASE_HOST:5432/postern?sslmode=verify-full\"}"
	must_vault POST database/roles/postern-audit "{\"db_name\":\"postern\",\"default_ttl\":\"1h\",\"max_ttl\":\"24h\",\"creation_statements\":[\"$creation\"],\"revocation_statements\":[\"DROP ROLE IF EXISTS \\\"{{name}}\\\";\"]}"
	must_vault POST sys/policies/acl/postern-audit "{\"policy\":\"$acl\"}"
	must_vault POST auth/kubernetes/role/postern "{\"bound_service_account_names\":\"*\",\"bound_service_account_namespaces\":\"$SHOP\",\"audience\":\"vault\",
		\"token_policies\":\"postern,postern-audit\",\"token_ttl\":\"1m\",\"token_max_ttl\":\"10m\"}"
	in_node bash -c 'umask 077 && cd /var/lib/postern-demo && { [[ -s audit-key ]] || head -c 32 /dev/urandom | base64 >audit-key; } && cat audit-key' >"$WORK/trail/key"
	must_vault POST secret/data/postern/audit "{\"data\":{\"key\":\"$(<"$WORK/trail/key")\"}}"
}

# restore_record: undoes the change that the third act makes to a record.
restore_record() { superuser -f - <"$HERE/restore.sql"; }
