# shellcheck shell=bash disable=SC2153,SC2034,SC2016 # lib.sh, prepare.sh, trail.sh and monitoring.sh set what is used here
# The end of the third act: an attack, its alert, the trail of one account, and the verification of the trail. This file is sourced, not
# executed.

readonly GUESSES=900 ATTACKERS=12
readonly ALERT=PosternCredentialStuffing

act_attack() {
	if existing; then
		note "the attack, its alert and its trail need a PostgreSQL and a Prometheus beside the pods: they are shown only on the cluster that the demo creates"
		return
	fi
	await_tools
	TRANSPORT=(curl -q -sS -i --max-time 10 --noproxy '*') TRANSPORT_NAME=(curl -i)
	mapfile -t TARGETS < <(pods_of accounts "$POD_IP")
	show_attack
	show_alert
	show_trail
	show_verification
	note "not shown here: a message of the alert (Alertmanager), the way through a Redis stream, OTLP, and the encryption and erasure of personal data"
}

# build_tools: compiles postern with its commands for clusters, beside the other acts.
build_tools() {
	if existing; then return; fi
	background "$WORK/tools-build.log" nice -n 5 env -C "$ROOT" CGO_ENABLED=0 GOFLAGS= go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$WORK/bin/" ./cmd/postern
	TOOLS_BUILD=$STARTED
}

await_tools() {
	await_process "$TOOLS_BUILD" "$WORK/tools-build.log" "compiling postern" || { tail -n 30 "$WORK/tools-build.log" >&2 && die "compiling postern"; }
	stop "$TOOLS_BUILD"
	PATH=$WORK/bin:$PATH
}

# guesses: prints a configuration of curl with a login for each stolen password. Every twentieth is for the same account.
guesses() {
	local i user
	for ((i = 1; i <= GUESSES; i++)); do
		((i == 1)) || echo next
		user=user-$i
		((i % 20)) || user=sam
		cat <<-END
			url = "http://${TARGETS[i % 2]}:8080/login"
			header = "X-Forwarded-For: 203.0.113.$((i % ATTACKERS + 1))"
			header = "Content-Type: application/json"
			data = "{\"user\":\"$user\",\"password\":\"stolen-$i\"}"
			output = "/dev/null"
			write-out = "%{http_code}\n"
			noproxy = "*"
			max-time = 30
			silent
		END
	done
}

show_attack() {
	local log=$WORK/attack.log top found stuffing=(curl -q --parallel --parallel-max 40 -K "$WORK/guesses")
	SHOW=none
	scene "A list of stolen passwords: $GUESSES logins from $ATTACKERS addresses"
	note "this machine is the load balancer, which the class trusts (trustedProxies), so X-Forwarded-For has the clients' addresses"
	check "no alert about logins fires" alert_absent "$ALERT"
	guesses >"$WORK/guesses"
	ATTACKED=$EPOCHREALTIME
	for found in nina1 nina2 demo; do
		ask -X POST -H "X-Forwarded-For: 203.0.113.77" -H 'Content-Type: application/json' -d "{\"user\":\"nina\",\"password\":\"$found\"}" "http://${TARGETS[0]}:8080/login"
	done
	command_line curl -H 'X-Forwarded-For: 203.0.113.1' -H 'Content-Type: application/json' -d '{"user":"user-1","password":"stolen-1"}' "http://${TARGETS[0]}:8080/login"
	note "and so on, with many at the same time"
	background "$log" "${stuffing[@]}"
	ATTACK=$STARTED
	shown postern top accounts -n "$SHOP" --accounts --addresses --limit 3 --once
	top=$(postern top accounts -n "$SHOP" --accounts --addresses --limit 20 --interval 500ms -o json || true)
	check "postern top names the account that is tried most, and the attackers' addresses" all "grep -q '\"sam\"' <<<'$top'" "grep -q '203.0.113.[0-9]' <<<'$top'"
	wait "$ATTACK" || true
	stop "$ATTACK"
	note "$(grep -xE '[0-9]{3}' "$log" | sort | uniq -c | awk '{ printf "%s%d times %s", (NR > 1 ? ", " : ""), $1, $2 }'), in $(seconds_since "$ATTACKED") s"
	check "one login succeeded: nina uses the same password everywhere" status_is 200
	found=$(refused_guesses)
	check "$found of the guesses did not reach the app: their account or address was locked" test "${found:-0}" -ge 100
}

# refused_guesses: prints how many logins the sidecars refused.
refused_guesses() {
	local ip
	for ip in "${TARGETS[@]}"; do curl -q -sS --noproxy '*' "http://$ip:15991/metrics"; done |
		awk '/^postern_login_refused_total/ { n += $2 } END { printf "%d", n }'
}

show_alert() {
	local json field link anchor
	scene "The alert"
	note "Prometheus scrapes the sidecars, and evaluates the rules of the chart; this one must hold for $(held_for), which the demo shortens to $HOLD (holdFor of the chart)"
	await_alert "$ALERT"
	json=$(alert "$ALERT")
	command_line curl "$PROMETHEUS/api/v1/alerts"
	for field in alertname severity namespace policy state summary description runbook_url; do
		printf '     %-12s %s\n' "$field" "$(sed -nE "s/.*\"$field\":\"(([^\"\\\\]|\\\\.)*)\".*/\1/p" <<<"$json")"
	done
	check "the alert fires for the policy shop/accounts, $(seconds_since "$ATTACKED") s after the first guess" all "alert_is $ALERT firing" "grep -q '\"policy\":\"accounts\"' <<<'${json//\'/}'"
	link=$(sed -nE 's/.*"runbook_url":"([^"]*)".*/\1/p' <<<"$json")
	anchor=${link##*#}
	sed -n "/^## $ALERT\$/,/^## /p" "$ROOT/docs/runbooks.md" | grep '^- ' | sed 's/^/     /'
	check "its link leads to a section of docs/runbooks.md, which says what to look at and what to do" test "$anchor" = "$(sed -n "s/^## \($ALERT\)\$/\L\1/p" "$ROOT/docs/runbooks.md")"
}

# held_for: prints how long the alert must hold by the chart.
held_for() { awk -v a="$ALERT" '$2 == "alert:" && $3 == a { found = 1 } found && $1 == "for:" { print $2; exit }' "$ROOT/charts/postern/files/alerts.yaml"; }

show_trail() {
	scene "The trail of one account, in PostgreSQL"
	note "each sidecar inserts with an account of its own that Vault made (database/creds/postern-audit), and may do nothing else"
	note "an auditor reads it; the variables PGHOST, PGUSER and so on are set as for psql"
	await_search login --subject nina
	audited postern audit search --subject nina --account nina --since 10m
	check "somebody with the address 203.0.113.77 guessed twice, and then logged in as nina" all \
		"shows 'login_failed .*account=nina address=203.0.113.77' search --account nina" "shows ' login success subject=nina address=203.0.113.77' search --subject nina"
	shown postern sessions end --subject nina -n "$SHOP" --policy accounts
	await_search session_ended --subject nina
	audited postern audit search --subject nina --since 10m --limit 2
	check "the intruder's session is ended, and the trail says who did that" shows ' end_sessions success subject=nina by=' search --subject nina
}

# audited COMMAND...: as shown, as the auditor.
audited() {
	command_line "$@"
	as_user auditor env -C "$WORK" "$@" 2>&1 | sed 's/^/     /' || true # verify exits with 1 if it finds something
}

# search FLAG...: searches the trail as the auditor.
search() { as_user auditor postern audit search --since 10m "$@"; }

# await_search ACTION FLAG...: waits until the trail has a record of the action.
await_search() {
	local until=$((SECONDS + 20))
	until shows " $1 " search "${@:2}" || ((SECONDS > until)); do sleep 0.3; done
}

verify() { as_user auditor postern audit verify --key-file "$WORK/trail/key"; }

show_verification() {
	local until=$((SECONDS + 20)) row
	scene "Nobody can change the trail unnoticed"
	while shows 'after the last checkpoint' verify && ((SECONDS < until)); do sleep 0.5; done
	audited postern audit verify --key-file trail/key
	check "the hashes, the order and the signed checkpoints of all records are right" shows ': no fault found$' verify
	superuser -c 'SET ROLE postern_audit_writer' -c 'UPDATE audit_logs SET subject = NULL' >"$WORK/update.log" 2>&1 || true
	sed 's/^/     /' "$WORK/update.log"
	check "the sidecars' role cannot change a record" grep -q 'permission denied for table audit_logs' "$WORK/update.log"
	row=$(superuser -At -F ' ' -c "SELECT seq, writer FROM audit_logs WHERE action = 'login' AND subject = 'nina' AND ip_address = '203.0.113.77' ORDER BY time LIMIT 1")
	note "the superuser of the database can. He hides where nina's password was used, in the record, its column and its hash:"
	sed 's/^/     /' "$HERE/tamper.sql"
	superuser -f - <"$HERE/tamper.sql"
	audited postern audit verify --key-file trail/key
	check "verify names it: record ${row% *} of writer ${row#* }" shows "^changed: record ${row% *} .*of writer ${row#* }" verify
	restore_record
	check "the demo puts the record back, and no fault is left" shows ': no fault found$' verify
}
