# shellcheck shell=bash disable=SC2153,SC2034 # lib.sh and prepare.sh set the names that are read here; SHOW is for send
# The second act: what the sidecar does to requests. Sourced, never run.

readonly APP=http://orders.shop

act_requests() {
	local pods
	mapfile -t pods < <(app_pods "$POD_IP")
	scene "The policy, and what the operator has proved of it"
	shown kubectl get securitypolicy -n "$SHOP"
	conditions
	check "enforced, and proved so, in both pods" both_enforced
	note "Requests come from the pod client: \"get\" is kubectl exec -n $SHOP client -- /sample-app get, which prints as curl -i does."
	show_tokens
	show_identity
	show_limit
	show_answers
	show_around "${pods[0]}"
	show_change
}

# pods_of APP TEMPLATE: a line for each of an app's pods that is not on its way out; a Go template of a pod's fields.
pods_of() {
	kubectl get pods -n "$SHOP" -l "app=$1" --field-selector status.phase=Running \
		-o "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}$2{{\"\\n\"}}{{end}}{{end}}"
}
app_pods() { pods_of orders "$1"; }
readonly POD_IP='{{.status.podIP}}' POD_NAME='{{.metadata.name}}'
readonly RESTARTS='{{range .status.initContainerStatuses}} {{.name}}={{.restartCount}}{{end}}{{range .status.containerStatuses}} {{.name}}={{.restartCount}}{{end}}'

conditions() {
	kubectl get securitypolicy orders -n "$SHOP" \
		-o 'jsonpath={range .status.conditions[*]}{.type}={.status} ({.reason}): {.message}{"\n"}{end}' | sed 's/^/     /'
}

both_enforced() {
	[[ $(kubectl get securitypolicy orders -n "$SHOP" -o 'jsonpath={.status.conditions[?(@.type=="Enforced")].status} {.status.pods.summary}') == "True 2/2" ]]
}

show_tokens() {
	SHOW=www-authenticate
	scene "No token, a good one, and three bad ones"
	send "$APP/orders"
	check "401, and a challenge that asks for a token" all "status_is 401" "header_has www-authenticate Bearer" "problem_is no-credentials"
	send -H "Authorization: Bearer $GOOD" "$APP/orders"
	check "200 with the good token" status_is 200
	send -H "Authorization: Bearer $FORGED" "$APP/orders"
	check "401: signed with another key, under the name of the right one" refused "signature"
	send -H "Authorization: Bearer $EXPIRED" "$APP/orders"
	check "401: expired" refused "expired"
	send -H "Authorization: Bearer $ELSEWHERE" "$APP/orders"
	check "401: meant for another service" refused "audience"
}

show_identity() {
	scene "Who calls: the app reads one header, and no client can write it"
	send -H "Authorization: Bearer $GOOD" -H "X-Auth-Subject: admin" -H "Connection: X-Auth-Subject" "$APP/whoami"
	note "the app saw $(grep -o '"X-Auth-Subject":\[[^]]*\]' "$ANSWER" || true)"
	check "the app saw alice, as the token says; the forged admin is gone" all "status_is 200" "app_saw X-Auth-Subject alice"
	check "the token itself stays in the sidecar" app_saw_no Authorization
	send -H "X-Auth-Subject: admin" "$APP/public/whoami"
	check "on a public route there is no token, and the forged header is gone all the same" all "status_is 200" "app_saw_no X-Auth-Subject"
}

show_limit() {
	local statuses=() shared=' (counted together, in Redis)' url=$APP
	SHOW='ratelimit|ratelimit-policy|retry-after'
	scene "Five logins a minute"
	if [[ $(kubectl get securitypolicy orders -n "$SHOP" -o 'jsonpath={.status.conditions[?(@.type=="SharedState")].status}') != True ]]; then
		shared=' (one of two pods: without Redis each counts for itself)' url=http://$(app_pods "$POD_IP" | head -n 1):8080
	fi
	for _ in {1..5}; do
		ask -X POST -d '{"user":"alice","password":"demo"}' "$url/login"
		statuses+=("$STATUS")
	done
	command_line get -X POST -d '{"user":"alice","password":"demo"}' "$url/login"
	printf '     five times: %s\n' "${statuses[*]}"
	check "five pass$shared" test "${statuses[*]}" = "200 200 200 200 200"
	send -X POST -d '{"user":"alice","password":"demo"}' "$url/login"
	check "the sixth gets 429, and is told when to come back" all "status_is 429" "header_has retry-after '[1-9]'" "problem_is rate-limited"
}

show_answers() {
	SHOW='content-security-policy|strict-transport-security|x-content-type-options|x-frame-options|x-team|server|x-powered-by'
	scene "Headers of the answer"
	send -H "Authorization: Bearer $GOOD" "$APP/headers-insecure"
	check "security headers are there" all "header_has strict-transport-security max-age" "header_has x-content-type-options nosniff" \
		"header_has x-frame-options deny" "header_has content-security-policy default-src"
	check "Server and X-Powered-By, which the app sent, are gone" all "header_absent server" "header_absent x-powered-by"
	SHOW='access-control-.*|vary'
	send -X OPTIONS -H "Origin: https://app.example.com" -H "Access-Control-Request-Method: GET" -H "Access-Control-Request-Headers: authorization" "$APP/orders"
	check "a CORS preflight needs no token and allows the policy's origin" all "status_is 204" \
		"header_has access-control-allow-origin https://app.example.com" "header_has access-control-allow-credentials true" "header_has vary Origin"
	send -X OPTIONS -H "Origin: https://evil.example" -H "Access-Control-Request-Method: GET" "$APP/orders"
	check "and no other origin" all "status_is 403" "header_absent access-control-allow-origin"
	SHOW='content-encoding|vary'
	send -H "Authorization: Bearer $GOOD" -H "Accept-Encoding: gzip" "$APP/orders"
	check "a long answer is compressed" all "status_is 200" "header_has content-encoding gzip"
}

# show_around IP: of one of the app's pods.
show_around() {
	SHOW=www-authenticate
	scene "Around the sidecar: straight to the pod, not through the Service"
	send "http://$1:8080/orders"
	check "the app's own port answers as the sidecar" all "status_is 401" "problem_is no-credentials"
	send -timeout 5s "http://$1:9999/orders"
	check "a port that the app opened and nobody declared: no connection" status_is 000
	note "and yet the app listens there: $(listens "$(app_pods "$POD_NAME" | head -n 1)")"
}

listens() {
	kubectl exec -n "$SHOP" "$1" -c app -- /sample-app get http://127.0.0.1:9999/healthz 2>/dev/null | head -n 1 |
		sed 's|^|inside of the pod, http://127.0.0.1:9999/healthz says |'
}

# show_change: closes a route while the pods run.
show_change() {
	local before started took
	SHOW=content-type
	scene "The policy changes; the pods stay"
	before=$(app_pods "$POD_NAME {{.metadata.uid}}$RESTARTS")
	send -H "Authorization: Bearer $GOOD" "$APP/reports"
	check "the route is open" status_is 200
	policy >"$WORK/policy.yaml"
	sed '/^    rules:/a\    - {name: reports, match: [{paths: [/reports/**]}], require: Deny}' "$WORK/policy.yaml" >"$WORK/changed.yaml"
	{ diff "$WORK/policy.yaml" "$WORK/changed.yaml" || true; } | sed -n 's/^> /     + /p'
	command_line kubectl apply -f changed.yaml
	started=$EPOCHREALTIME
	kubectl apply -f "$WORK/changed.yaml" >/dev/null
	until closed_everywhere || ((${EPOCHREALTIME%[.,]*} > ${started%[.,]*} + 30)); do sleep 0.1; done
	took=$(seconds_since "$started")
	send -H "Authorization: Bearer $GOOD" "$APP/reports"
	check "403 from both pods $took s after kubectl apply was started" all "status_is 403" "problem_is access-denied" closed_everywhere
	app_pods "$POD_NAME, restarts:$RESTARTS" | sed 's/^/     /'
	check "the same pods, and no container has restarted" test "$before" = "$(app_pods "$POD_NAME {{.metadata.uid}}$RESTARTS")"
	kubectl wait securitypolicy/orders -n "$SHOP" --for=condition=Enforced --timeout=30s >/dev/null || true
	shown kubectl get securitypolicy -n "$SHOP"
	check "enforced again, in both pods" both_enforced
}

# closed_everywhere: whether each of the app's pods refuses the closed route.
closed_everywhere() {
	local ip
	for ip in $(app_pods "$POD_IP"); do
		ask -H "Authorization: Bearer $GOOD" "http://$ip:8080/reports"
		[[ $STATUS == 403 ]] || return 1
	done
}
