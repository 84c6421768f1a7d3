# shellcheck shell=bash disable=SC2153,SC2034,SC2016 # lib.sh sets the variables that are read here; send reads SHOW
# The first act: Postern in front of an app on this machine, as one process, with its state in memory. This file is sourced, not
# executed.

readonly LOCAL=$WORK/local # the policy, the keys and the logs
readonly OTHER_CLIENT=127.0.0.66 # another address of the loopback interface, for requests of another client

act_local() {
	build_local
	start_app
	start_postern
	# Without the user's curl settings and proxies, so that the demo sends only the requests that it shows.
	TRANSPORT=(curl -q -sS -i --max-time 10 --noproxy '*') TRANSPORT_NAME=(curl -i)
	show_start
	show_local_tokens
	show_local_limit
	show_local_login
	show_local_sessions
	show_local_stuffing
	show_local_revocation
	show_local_change
	show_invalid_change
	show_local_trail
	stop "$POSTERN"
	stop "$SAMPLE_APP"
}

# build_local: compiles the two programs of this act. Without a Kubernetes client, postern compiles in half the time.
build_local() {
	local log=$WORK/local-build.log
	mkdir -p "$LOCAL"
	background "$log" env -C "$ROOT" CGO_ENABLED=0 go build -v -trimpath -ldflags '-s -w' -tags nocluster -o "$LOCAL/" ./cmd/postern ./hack/sample-app
	await_process "$STARTED" "$log" "compiling postern and the sample app" || { tail -n 30 "$log" >&2 && die "compiling postern and the sample app"; }
	stop "$STARTED"
	PATH=$LOCAL:$PATH
}

# free_ports N: prints the first of N consecutive free ports.
free_ports() {
	local first port
	for first in {18080..19080..10}; do
		for ((port = first; port < first + $1; port++)); do
			if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue 2; fi
		done
		echo "$first"
		return
	done
	die "no free ports from 18080 to 19090"
}

# await_url URL PID LOG: waits until the URL returns 200. On a timeout, or if the process ends, it shows the log and exits.
await_url() {
	local until=$((SECONDS + 30))
	until curl -q -sS -o /dev/null --fail --noproxy '*' "$1" 2>/dev/null; do
		if ! kill -0 "$2" 2>/dev/null || ((SECONDS > until)); then
			tail -n 20 "$3" >&2
			die "$1 is not ready"
		fi
		sleep 0.1
	done
}

start_app() {
	local port
	port=$(free_ports 4)
	APP_URL=http://127.0.0.1:$port POSTERN_URL=http://127.0.0.1:$((port + 1)) ADMIN=127.0.0.1:$((port + 2)) LOOPBACK=127.0.0.1:$((port + 3))
	background "$LOCAL/app.log" env LISTEN="127.0.0.1:$port" sample-app
	SAMPLE_APP=$STARTED
	await_url "$APP_URL/healthz" "$SAMPLE_APP" "$LOCAL/app.log"
}

# start_postern: starts it in the folder of the policy, as a user would.
start_postern() {
	make_tokens "$LOCAL"
	(umask 077 && mkdir -p "$LOCAL"/secrets/{orders-signing-key,audit} && postern token new-key >"$LOCAL/secrets/orders-signing-key/jwk" &&
		head -c 32 /dev/urandom | base64 >"$LOCAL/secrets/audit/key")
	sed "s|@JWKS@|$JWKS|" "$HERE/local.yaml" >"$LOCAL/policy.yaml"
	cd "$LOCAL" || die "$LOCAL does not exist"
	RUN=(postern run -f policy.yaml --upstream "$APP_URL" --listen "${POSTERN_URL#http://}" --admin "$ADMIN" --loopback "$LOOPBACK")
	background postern.log bash -c 'exec "$@" >trail.jsonl' run "${RUN[@]}" --log-format text
	POSTERN=$STARTED
	await_url "http://$ADMIN/readyz" "$POSTERN" postern.log
	cd "$ROOT" || die "$ROOT does not exist"
}

show_start() {
	scene "An app on this machine, and Postern in front of it"
	send "$APP_URL/orders"
	check "the app itself requires no token" status_is 200
	command_line "${RUN[@]}"
	grep -A 9 '^postern .* enforces' "$LOCAL/postern.log" | sed '/^$/,$d; s/^/     /'
	check "postern is ready: one process, no cluster, no database" curl -q -sS -o /dev/null --fail --noproxy '*' "http://$ADMIN/readyz"
}

show_local_tokens() {
	SHOW=www-authenticate
	scene "No token, a valid token, and a forged token"
	send "$POSTERN_URL/orders"
	check "401, with a challenge that asks for a token" all "status_is 401" "header_has www-authenticate Bearer" "problem_is no-credentials"
	send -H "Authorization: Bearer $GOOD" "$POSTERN_URL/whoami"
	check "200 with a valid token, and the app gets the caller's name: alice" all "status_is 200" "app_saw X-Auth-Subject alice"
	send -H "Authorization: Bearer $FORGED" "$POSTERN_URL/whoami"
	check "401: signed with another key, but with the right key's id" refused signature
}

show_local_limit() {
	local statuses=() guess=(--interface "$OTHER_CLIENT" -X POST -H 'Content-Type: application/json' -d '{"user":"maria","password":"guess"}' "$POSTERN_URL/login")
	SHOW='ratelimit|ratelimit-policy|retry-after'
	scene "A client guesses passwords: five logins a minute"
	for _ in {1..5}; do
		ask "${guess[@]}"
		statuses+=("$STATUS")
	done
	command_line "${TRANSPORT_NAME[@]}" "${guess[@]}"
	printf '     five times: %s\n' "${statuses[*]}"
	check "five guesses reach the app, which refuses all of them" test "${statuses[*]}" = "401 401 401 401 401"
	send "${guess[@]}"
	check "the sixth gets 429, with the time until the next try" all "status_is 429" "header_has retry-after '[1-9]'" "problem_is rate-limited"
	meanwhile
}

show_local_login() {
	local said
	SHOW='content-type|postern-subject'
	scene "A login: the app sets one header with the user's name, and Postern does the rest"
	ask -X POST -d '{"user":"maria","password":"demo"}' "$APP_URL/login"
	said=$(response_head | grep -i '^postern-subject:' || true)
	note "without Postern, the app responds to a correct password with: $said"
	log_in "$POSTERN_URL" "$FIREFOX"
	DEVICE=$(response_head | sed -nE 's/^set-cookie: (__Host-postern-device-[^;]*).*/\1/ip')
	command_line "${TRANSPORT_NAME[@]}" -X POST -H 'Content-Type: application/json' -d '{"user":"maria","password":"demo"}' "$POSTERN_URL/login"
	show_response_tokens
	check "through Postern, the client gets tokens, and not this header" all "status_is 200" 'test -n "$TOKEN"' "header_absent postern-subject"
	send -H "Authorization: Bearer $TOKEN" "$POSTERN_URL/whoami"
	check "with the token, the app gets the caller's name: maria" all "status_is 200" "app_saw X-Auth-Subject maria"
}

# guess ADDRESS PASSWORD: tries to log in as maria from another address.
guess() {
	ask --interface "$1" -X POST -H 'Content-Type: application/json' -d "{\"user\":\"maria\",\"password\":\"$2\"}" "$POSTERN_URL/login"
}

# show_local_stuffing: many addresses guess the password of one account, so that no limit per address stops them.
show_local_stuffing() {
	local i statuses=() wrong login=(-X POST -H 'Content-Type: application/json')
	SHOW=none
	scene "Credential stuffing: twelve addresses guess maria's password"
	for i in {1..12}; do
		guess "127.0.0.$((100 + i))" "guess $i"
		statuses+=("$STATUS")
		[[ $i != 1 ]] || wrong=$(tail -n 1 "$RESPONSE")
	done
	command_line "${TRANSPORT_NAME[@]}" --interface 127.0.0.101 "${login[@]}" -d '{"user":"maria","password":"guess 1"}' "$POSTERN_URL/login"
	printf '     twelve times, from 127.0.0.101 to 127.0.0.112: %s\n' "${statuses[*]}"
	check "each gets what the app says to a wrong password" test "${statuses[*]}" = "401 401 401 401 401 401 401 401 401 401 401 401"
	guess 127.0.0.120 demo
	check "so does an attacker with the right password: the account is locked, and nobody can tell" all "status_is 401" "test '$wrong' = '$(tail -n 1 "$RESPONSE")'"
	send --interface 127.0.0.121 "${login[@]}" -H "Cookie: $DEVICE" -d '{"user":"maria","password":"demo"}' "$POSTERN_URL/login"
	check "maria herself logs in: her browser has a cookie of her last login" all "status_is 200" 'test -n "$(member access_token)"'
	REFUSED=$(curl -q -sS --noproxy '*' "http://$ADMIN/metrics" | sed -nE 's/^postern_login_refused_total\{kind="account",route="login"\} ([0-9]+)$/\1/p')
	check "$REFUSED of the guesses did not reach the app, and a metric says so" test "${REFUSED:-0}" -ge 3
}

show_local_sessions() {
	local old=$REFRESH
	SHOW=none
	scene "A refresh, and the sessions"
	send -d grant_type=refresh_token -d "refresh_token=$old" "$POSTERN_URL/auth/refresh"
	show_response_tokens
	TOKEN=$(member access_token) REFRESH=$(member refresh_token)
	check "the client gets new tokens, and the refresh token is replaced" all "status_is 200" 'test -n "$TOKEN"' 'test -n "$REFRESH"' "test '$old' != '$REFRESH'"
	MARIA=$TOKEN MARIA_REFRESH=$REFRESH
	log_in "$POSTERN_URL" "$IPHONE"
	check "maria also logs in with a phone" all "status_is 200" 'test -n "$TOKEN"'
	send -H "Authorization: Bearer $MARIA" "$POSTERN_URL/auth/sessions"
	show_response_sessions
	check "maria can list her two devices" sessions_are 2
}

show_local_revocation() {
	SHOW=www-authenticate
	scene "A revocation: all tokens and sessions of maria"
	shown postern revoke --subject maria --server "http://$LOOPBACK"
	send -H "Authorization: Bearer $MARIA" "$POSTERN_URL/whoami"
	check "maria's token is refused, long before it expires" all "status_is 401" "problem_is token-revoked"
	send -d grant_type=refresh_token -d "refresh_token=$MARIA_REFRESH" "$POSTERN_URL/auth/refresh"
	check "her refresh token is also refused" refresh_refused
	ask -H "Authorization: Bearer $GOOD" "$POSTERN_URL/whoami"
	check "alice's token is still accepted" status_is 200
	meanwhile
}

refresh_refused() { [[ $STATUS == 40[01] ]] && test -z "$(member access_token)"; }

# show_local_change: denies a route while postern runs.
show_local_change() {
	local started took
	SHOW=content-type
	scene "The policy changes while the process runs"
	send -H "Authorization: Bearer $GOOD" "$POSTERN_URL/reports"
	check "the route is open" status_is 200
	cat >"$LOCAL/addition" <<-'END'
		  authorization:
		    rules: [{name: reports, match: [{paths: [/reports/**]}], require: Deny}]
	END
	sed 's/^/     + /' "$LOCAL/addition"
	started=$EPOCHREALTIME
	cat "$LOCAL/addition" >>"$LOCAL/policy.yaml"
	until reports_are 403 || ((${EPOCHREALTIME%[.,]*} > ${started%[.,]*} + 30)); do sleep 0.1; done
	took=$(seconds_since "$started")
	send -H "Authorization: Bearer $GOOD" "$POSTERN_URL/reports"
	check "403, $took s after policy.yaml was saved" all "status_is 403" "problem_is access-denied"
	log_shown "changed policy active"
}

# show_invalid_change: a mistake in the file must not open a route.
show_invalid_change() {
	scene "A mistake in the policy"
	sed -i 's|5/minute|often|' "$LOCAL/policy.yaml"
	note "policy.yaml now has \"limit: often\"; the log has"
	await_log "changed policy file refused"
	log_shown 'error: .*limit'
	log_shown "changed policy file refused"
	check "the error names the line and the field" grep -qE 'policy.yaml:[0-9]+: error: .*spec.rateLimits\[0\].limit' "$LOCAL/postern.log"
	send -H "Authorization: Bearer $GOOD" "$POSTERN_URL/reports"
	check "the previous policy stays active" all "status_is 403" "problem_is access-denied" "kill -0 '$POSTERN'"
}

# show_local_trail: the trail of everything above, and a change of one record.
show_local_trail() {
	local key=(--key-file secrets/audit/key) number
	scene "The audit trail of all that, and a changed record"
	cd "$LOCAL" || die "$LOCAL does not exist"
	note "postern has written each event to its standard output, trail.jsonl, with the hash of the record before and with signed checkpoints"
	await_checkpoint "${key[@]}"
	shown postern audit search -f trail.jsonl --account maria --since 10m --limit 3
	shown postern audit search -f trail.jsonl --subject maria --action login --since 10m --limit 2
	check "the trail says what happened to maria's account, and from where" shows ' login_failed .*account=maria address=127\.0\.0\.1' postern audit search -f trail.jsonl --account maria
	shown postern audit verify -f trail.jsonl "${key[@]}"
	check "no record is changed or missing" verified "${key[@]}"
	number=$(sed -nE '/"action":"login_failed"/ { s/.*"seq":([0-9]+).*/\1/p; q; }' trail.jsonl)
	command_line sed -i "/\"seq\":$number,/s/127\\.0\\.0\\.[0-9]*/10.0.0.1/" trail.jsonl
	sed -i "/\"seq\":$number,/s/127\.0\.0\.[0-9]*/10.0.0.1/" trail.jsonl
	shown postern audit verify -f trail.jsonl "${key[@]}" || true # it exits with 1
	check "somebody who hides the address of the first guess is found: record $number was changed" shows "^changed: record $number .*of writer" postern audit verify -f trail.jsonl "${key[@]}"
	cd "$ROOT" || die "$ROOT does not exist"
}

# await_checkpoint FLAG...: waits until a checkpoint covers the whole trail.
await_checkpoint() {
	local until=$((SECONDS + 30))
	while shows 'after the last checkpoint' postern audit verify -f trail.jsonl "$@" && ((SECONDS < until)); do sleep 0.2; done
}

verified() { shows ': no fault found$' postern audit verify -f trail.jsonl "$@"; }

reports_are() {
	ask -H "Authorization: Bearer $GOOD" "$POSTERN_URL/reports"
	[[ $STATUS == "$1" ]]
}

await_log() {
	local until=$((SECONDS + 30))
	until grep -q "$1" "$LOCAL/postern.log" || ((SECONDS > until)); do sleep 0.1; done
}

# log_shown REGEX: shows the last matching line of postern's log, shortened.
log_shown() { { grep "$1" "$LOCAL/postern.log" || true; } | tail -n 1 | cut -c 1-150 | sed 's/^/     /'; }
