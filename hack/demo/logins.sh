# shellcheck shell=bash disable=SC2153,SC2034,SC2016 # lib.sh and prepare.sh set the variables that are read here; send reads SHOW
# The second half of the second act: an app that only checks passwords gets logins, sessions, devices and logout. This file is sourced, not executed.

readonly ACCOUNTS=http://accounts.shop

act_logins() {
	local pods
	mapfile -t pods < <(pods_of accounts "$POD_IP")
	scene "A login: the app sets one header with the user's name, and the sidecar does the rest"
	show_login "${pods[0]}" "${pods[1]}"
	show_devices "${pods[0]}" "${pods[1]}"
	show_logout_all
	show_revocation
}

as() { send -H "Authorization: Bearer $1" "$2"; }

show_login() {
	local pod said
	SHOW='content-type|cache-control|postern-subject'
	pod=$(pods_of accounts "$POD_NAME" | first_line)
	said=$(kubectl exec -n "$SHOP" "$pod" -c app -- /sample-app get -X POST -d '{"user":"maria","password":"demo"}' http://127.0.0.1:8080/login | tr -d '\r' | grep -i '^postern-subject:' || true)
	note "inside the pod, without the sidecar, the app responds to a correct password with: $said"
	log_in "http://$1:8080" "$FIREFOX"
	command_line get -X POST -H 'Content-Type: application/json' -d '{"user":"maria","password":"demo"}' "http://$1:8080/login"
	show_response_tokens
	check "through the sidecar, the client gets tokens (RFC 6749), and not this header" all "status_is 200" 'test -n "$TOKEN"' "header_absent postern-subject" "header_has cache-control no-store"
	FIRST=$TOKEN
	as "$FIRST" "http://$2:8080/whoami"
	check "the other pod accepts the token, and its app gets the caller's name: maria" all "status_is 200" "app_saw X-Auth-Subject maria"
	ask -X POST -H "Content-Type: application/json" -d '{"user":"maria","password":"guess"}' "$ACCOUNTS/login"
	check "a wrong password gets the app's own 401, and no token" all "status_is 401" 'test -z "$(member access_token)"'
	ask "$ACCOUNTS/.well-known/jwks.json"
	check "other services can verify these tokens with the keys at /.well-known/jwks.json" all "status_is 200" "grep -q '\"alg\":\"ES256\"' '$RESPONSE'"
	note "the key: $(signing_key)"
}

signing_key() {
	if existing; then
		echo "in a Secret"
	else
		kubectl get securitypolicy accounts -n "$SHOP" -o 'jsonpath={.status.conditions[?(@.type=="VaultReady")].message}; the private key never leaves Vault'
	fi
}

show_devices() {
	SHOW=www-authenticate
	scene "At most three devices"
	log_in "http://$2:8080" "$CHROME"
	log_in "http://$1:8080" "$IPHONE"
	as "$FIRST" "$ACCOUNTS/whoami"
	check "three devices of maria's are logged in" status_is 200
	log_in "http://$2:8080" "Television/1.0"
	FOURTH=$TOKEN
	check "a fourth device can log in" status_is 200
	as "$FIRST" "http://$1:8080/whoami"
	check "and the first device is logged out, also in the pod where it logged in" all "status_is 401" "problem_is token-revoked"
	as "$FOURTH" "$ACCOUNTS/auth/sessions"
	show_response_sessions
	check "maria can list her three devices" sessions_are 3
}

show_logout_all() {
	scene "Log out everywhere"
	SHOW=none
	send -X POST -H "Authorization: Bearer $FOURTH" "$ACCOUNTS/auth/logout-all"
	check "204" status_is 204
	SHOW=www-authenticate
	as "$FOURTH" "$ACCOUNTS/whoami"
	check "all tokens of maria are refused, long before they expire" all "status_is 401" "problem_is token-revoked"
}

show_revocation() {
	local started took
	scene "A revocation by manifest"
	log_in "$ACCOUNTS" "$FIREFOX"
	STOLEN=$TOKEN
	as "$STOLEN" "$ACCOUNTS/whoami"
	check "maria is logged in again" status_is 200
	kubectl delete tokenrevocation maria-laptop -n "$SHOP" --ignore-not-found >/dev/null
	sed 's/^/     /' "$HERE/revocation.yaml"
	command_line kubectl apply -f revocation.yaml
	started=$EPOCHREALTIME
	kubectl apply -f "$HERE/revocation.yaml" >/dev/null
	until revoked_everywhere || ((${EPOCHREALTIME%[.,]*} > ${started%[.,]*} + 30)); do sleep 0.1; done
	took=$(seconds_since "$started")
	as "$STOLEN" "$ACCOUNTS/whoami"
	check "401 from both pods $took s after kubectl apply was started" all "status_is 401" "problem_is token-revoked" revoked_everywhere
	kubectl wait tokenrevocation/maria-laptop -n "$SHOP" --for=condition=Enforced --timeout=30s >/dev/null || true
	shown kubectl get tokenrevocation -n "$SHOP"
	note "it applies to both policies of the namespace, in four pods"
	check "the status says that every sidecar enforces it" test "$(kubectl get tokenrevocation maria-laptop -n "$SHOP" -o 'jsonpath={.status.conditions[?(@.type=="Enforced")].status} {.status.sidecars.summary}')" = "True 4/4"
}

# revoked_everywhere: whether each of the app's pods refuses the stolen token.
revoked_everywhere() {
	local ip
	for ip in $(pods_of accounts "$POD_IP"); do
		ask -H "Authorization: Bearer $STOLEN" "http://$ip:8080/whoami"
		[[ $STATUS == 401 ]] || return 1
	done
}
