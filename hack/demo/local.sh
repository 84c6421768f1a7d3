# shellcheck shell=bash disable=SC2153,SC2034,SC2016 # lib.sh sets the names that are read here; SHOW is for send
# The first act: Postern in front of an app on this machine, as one process, with its state in memory. Sourced, never run.

readonly LOCAL=$WORK/local # the policy, the keys and the logs
readonly OTHER_CLIENT=127.0.0.66 # an address of this machine's loopback interface; it stands for another client

act_local() {
	build_local
	start_app
	start_postern
	# Quiet, without the user's settings and proxies: only what is shown is asked.
	TRANSPORT=(curl -q -sS -i --max-time 10 --noproxy '*') TRANSPORT_NAME=(curl -i)
	show_start
	show_local_tokens
	show_local_limit
	show_local_login
	show_local_sessions
	show_local_revocation
	show_local_change
	show_invalid_change
	stop "$POSTERN"
	stop "$SAMPLE_APP"
}

# build_local: the two programs of this act. A postern without a client for clusters compiles in half the time.
build_local() {
	local log=$WORK/local-build.log
	mkdir -p "$LOCAL"
	background "$log" env -C "$ROOT" CGO_ENABLED=0 go build -v -trimpath -ldflags '-s -w' -tags nocluster -o "$LOCAL/" ./cmd/postern ./hack/sample-app
	await_process "$STARTED" "$log" "compiling postern and the sample app" || { tail -n 30 "$log" >&2 && die "compiling postern and the sample app"; }
	stop "$STARTED"
	PATH=$LOCAL:$PATH
}

# free_ports N: the first of N ports in a row at which nobody listens.
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

# await_url URL PID LOG: until it is 200. Where it is not in time, or the process ends before, the log is shown.
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
	APP_URL=http://127.0.0.1:$port GATE=http://127.0.0.1:$((port + 1)) ADMIN=127.0.0.1:$((port + 2)) LOOPBACK=127.0.0.1:$((port + 3))
	background "$LOCAL/app.log" env LISTEN="127.0.0.1:$port" sample-app
	SAMPLE_APP=$STARTED
	await_url "$APP_URL/healthz" "$SAMPLE_APP" "$LOCAL/app.log"
}

# start_postern: in the folder of the policy, as a person would.
start_postern() {
	make_tokens "$LOCAL"
	(umask 077 && mkdir -p "$LOCAL/secrets/orders-signing-key" && postern token new-key >"$LOCAL/secrets/orders-signing-key/jwk")
	sed "s|@JWKS@|$JWKS|" "$HERE/local.yaml" >"$LOCAL/policy.yaml"
	cd "$LOCAL" || die "$LOCAL is not there"
	RUN=(postern run -f policy.yaml --upstream "$APP_URL" --listen "${GATE#http://}" --admin "$ADMIN" --loopback "$LOOPBACK")
	background postern.log "${RUN[@]}" --log-format text
	POSTERN=$STARTED
	await_url "http://$ADMIN/readyz" "$POSTERN" postern.log
	cd "$ROOT" || die "$ROOT is not there"
}

show_start() {
	scene "An app on this machine, and Postern in front of it"
	send "$APP_URL/orders"
	check "the app asks nobody for a token" status_is 200
	command_line "${RUN[@]}"
	grep -A 9 '^postern .* enforces' "$LOCAL/postern.log" | sed '/^$/,$d; s/^/     /'
	check "postern is ready: one process, no cluster, no database" curl -q -sS -o /dev/null --fail --noproxy '*' "http://$ADMIN/readyz"
}

show_local_tokens() {
	SHOW=www-authenticate
	scene "No token, a good one, and a forged one"
	send "$GATE/orders"
	check "401, and a challenge that asks for a token" all "status_is 401" "header_has www-authenticate Bearer" "problem_is no-credentials"
	send -H "Authorization: Bearer $GOOD" "$GATE/whoami"
	check "200 with a good token, and the app is told who calls: alice" all "status_is 200" "app_saw X-Auth-Subject alice"
	send -H "Authorization: Bearer $FORGED" "$GATE/whoami"
	check "401: signed with another key, under the name of the right one" refused signature
}

show_local_limit() {
	local statuses=() guess=(--interface "$OTHER_CLIENT" -X POST -d '{"user":"maria","password":"guess"}' "$GATE/login")
	SHOW='ratelimit|ratelimit-policy|retry-after'
	scene "Somebody guesses passwords: five logins a minute"
	for _ in {1..5}; do
		ask "${guess[@]}"
		statuses+=("$STATUS")
	done
	command_line "${TRANSPORT_NAME[@]}" "${guess[@]}"
	printf '     five times: %s\n' "${statuses[*]}"
	check "five guesses reach the app, which refuses each" test "${statuses[*]}" = "401 401 401 401 401"
	send "${guess[@]}"
	check "the sixth gets 429, and is told when to come back" all "status_is 429" "header_has retry-after '[1-9]'" "problem_is rate-limited"
	meanwhile
}

show_local_login() {
	local said
	SHOW='content-type|postern-subject'
	scene "A login: the app names its user in one header, and Postern does the rest"
	ask -X POST -d '{"user":"maria","password":"demo"}' "$APP_URL/login"
	said=$(head_of_answer | grep -i '^postern-subject:' || true)
	note "the app by itself responds to a right password with: $said"
	log_in "$GATE" "$FIREFOX"
	command_line "${TRANSPORT_NAME[@]}" -X POST -d '{"user":"maria","password":"demo"}' "$GATE/login"
	show_tokens_of_answer
	check "through Postern, the client gets tokens, and the header stays inside" all "status_is 200" 'test -n "$TOKEN"' "header_absent postern-subject"
	send -H "Authorization: Bearer $TOKEN" "$GATE/whoami"
	check "and the app knows the caller by them: maria" all "status_is 200" "app_saw X-Auth-Subject maria"
}

show_local_sessions() {
	local old=$REFRESH
	SHOW=none
	scene "A refresh, and the sessions"
	send -d grant_type=refresh_token -d "refresh_token=$old" "$GATE/auth/refresh"
	show_tokens_of_answer
	TOKEN=$(member access_token) REFRESH=$(member refresh_token)
	check "a refresh token brings new tokens, and is replaced itself" all "status_is 200" 'test -n "$TOKEN"' 'test -n "$REFRESH"' "test '$old' != '$REFRESH'"
	MARIA=$TOKEN MARIA_REFRESH=$REFRESH
	log_in "$GATE" "$IPHONE"
	check "maria logs in with a telephone, too" all "status_is 200" 'test -n "$TOKEN"'
	send -H "Authorization: Bearer $MARIA" "$GATE/auth/sessions"
	show_sessions_of_answer
	check "she sees her two devices" sessions_are 2
}

show_local_revocation() {
	SHOW=www-authenticate
	scene "A revocation: everything of maria's, at once"
	shown postern revoke --subject maria --server "http://$LOOPBACK"
	send -H "Authorization: Bearer $MARIA" "$GATE/whoami"
	check "her token is refused, long before it expires" all "status_is 401" "problem_is token-revoked"
	send -d grant_type=refresh_token -d "refresh_token=$MARIA_REFRESH" "$GATE/auth/refresh"
	check "and so is her refresh token" refresh_refused
	ask -H "Authorization: Bearer $GOOD" "$GATE/whoami"
	check "alice does not notice" status_is 200
	meanwhile
}

refresh_refused() { [[ $STATUS == 40[01] ]] && test -z "$(member access_token)"; }

# show_local_change: closes a route while postern runs.
show_local_change() {
	local started took
	SHOW=content-type
	scene "The policy changes; the process stays"
	send -H "Authorization: Bearer $GOOD" "$GATE/reports"
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
	send -H "Authorization: Bearer $GOOD" "$GATE/reports"
	check "403, $took s after policy.yaml was saved" all "status_is 403" "problem_is access-denied"
	log_shown "changed policy active"
}

# show_invalid_change: a mistake in the file must not open what was closed.
show_invalid_change() {
	scene "A mistake in the policy"
	sed -i 's|5/minute|often|' "$LOCAL/policy.yaml"
	note "policy.yaml now says \"limit: often\"; the log says"
	await_log "changed policy file refused"
	log_shown 'error: .*limit'
	log_shown "changed policy file refused"
	check "the mistake is named, with its line and field" grep -qE 'policy.yaml:[0-9]+: error: .*spec.rateLimits\[0\].limit' "$LOCAL/postern.log"
	send -H "Authorization: Bearer $GOOD" "$GATE/reports"
	check "and the policy before it stays in force" all "status_is 403" "problem_is access-denied" "kill -0 '$POSTERN'"
}

reports_are() {
	ask -H "Authorization: Bearer $GOOD" "$GATE/reports"
	[[ $STATUS == "$1" ]]
}

await_log() {
	local until=$((SECONDS + 30))
	until grep -q "$1" "$LOCAL/postern.log" || ((SECONDS > until)); do sleep 0.1; done
}

# log_shown REGEX: the last such line of postern's log, cut.
log_shown() { { grep "$1" "$LOCAL/postern.log" || true; } | tail -n 1 | cut -c 1-150 | sed 's/^/     /'; }
