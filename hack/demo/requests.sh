# shellcheck shell=bash disable=SC2153,SC2034 # lib.sh and prepare.sh set the variables that are read here; send reads SHOW
# The second act: what the sidecar does with requests. This file is sourced, not executed.

readonly APP=http://orders.shop

act_requests() {
	local pods
	mapfile -t pods < <(app_pods "$POD_IP")
	scene "The policy and its status"
	shown kubectl get securitypolicy -n "$SHOP"
	conditions
	check "the policy is enforced in both pods" both_enforced
	note "Requests come from the pod client: \"get\" is kubectl exec -n $SHOP client -- /sample-app get, which prints the response like curl -i."
	show_tokens
	show_identity
	show_limit
	show_response_headers
	show_around "${pods[0]}"
	show_change
}

# pods_of APP TEMPLATE: prints a line for each pod of an app that is not terminating. TEMPLATE is a Go template of a pod's fields.
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
	scene "No token, a valid token, and three invalid tokens"
	send "$APP/orders"
	check "401, with a challenge that asks for a token" all "status_is 401" "header_has www-authenticate Bearer" "problem_is no-credentials"
	send -H "Authorization: Bearer $GOOD" "$APP/orders"
	check "200 with the valid token" status_is 200
	send -H "Authorization: Bearer $FORGED" "$APP/orders"
	check "401: signed with another key, but with the right key's id" refused "signature"
	send -H "Authorization: Bearer $EXPIRED" "$APP/orders"
	check "401: expired" refused "expired"
	send -H "Authorization: Bearer $OTHER_AUDIENCE" "$APP/orders"
	check "401: issued for another service" refused "audience"
}

show_identity() {
	scene "The caller's name: the app reads one header, and clients cannot set it"
	send -H "Authorization: Bearer $GOOD" -H "X-Auth-Subject: admin" -H "Connection: X-Auth-Subject" "$APP/whoami"
	note "the app saw $(grep -o '"X-Auth-Subject":\[[^]]*\]' "$RESPONSE" || true)"
	check "the app saw alice, from the token, and not the forged admin" all "status_is 200" "app_saw X-Auth-Subject alice"
	check "the app does not get the token" app_saw_no Authorization
	send -H "X-Auth-Subject: admin" "$APP/public/whoami"
	check "the forged header is also removed on a public route without a token" all "status_is 200" "app_saw_no X-Auth-Subject"
}

show_limit() {
	local statuses=() shared=' (both pods count together, in Redis)' url=$APP
	SHOW='ratelimit|ratelimit-policy|retry-after'
	scene "Five logins a minute"
	if [[ $(kubectl get securitypolicy orders -n "$SHOP" -o 'jsonpath={.status.conditions[?(@.type=="SharedState")].status}') != True ]]; then
		shared=' (at one of two pods, because without Redis each pod counts alone)' url=http://$(app_pods "$POD_IP" | first_line):8080
	fi
	for _ in {1..5}; do
		ask -X POST -d '{"user":"alice","password":"demo"}' "$url/login"
		statuses+=("$STATUS")
	done
	command_line get -X POST -d '{"user":"alice","password":"demo"}' "$url/login"
	printf '     five times: %s\n' "${statuses[*]}"
	check "five are allowed$shared" test "${statuses[*]}" = "200 200 200 200 200"
	send -X POST -d '{"user":"alice","password":"demo"}' "$url/login"
	check "the sixth gets 429, with the time until the next try" all "status_is 429" "header_has retry-after '[1-9]'" "problem_is rate-limited"
}

show_response_headers() {
	SHOW='content-security-policy|referrer-policy|x-content-type-options|x-frame-options|x-team|server|x-powered-by'
	scene "Response headers"
	send -H "Authorization: Bearer $GOOD" "$APP/headers-insecure"
	check "the response has security headers" all "header_has referrer-policy no-referrer" "header_has x-content-type-options nosniff" \
		"header_has x-frame-options deny" "header_has content-security-policy default-src"
	check "Server and X-Powered-By of the app are removed" all "header_absent server" "header_absent x-powered-by"
	SHOW='access-control-.*|vary'
	send -X OPTIONS -H "Origin: https://app.example.com" -H "Access-Control-Request-Method: GET" -H "Access-Control-Request-Headers: authorization" "$APP/orders"
	check "a CORS preflight needs no token and allows the policy's origin" all "status_is 204" \
		"header_has access-control-allow-origin https://app.example.com" "header_has access-control-allow-credentials true" "header_has vary Origin"
	send -X OPTIONS -H "Origin: https://evil.example" -H "Access-Control-Request-Method: GET" "$APP/orders"
	check "a preflight from another origin is refused" all "status_is 403" "header_absent access-control-allow-origin"
	SHOW='content-encoding|vary'
	send -H "Authorization: Bearer $GOOD" -H "Accept-Encoding: gzip" "$APP/orders"
	check "a long response is compressed" all "status_is 200" "header_has content-encoding gzip"
}

# show_around IP: sends requests to the IP of one of the app's pods.
show_around() {
	SHOW=www-authenticate
	scene "Bypassing the Service: requests directly to the pod"
	send "http://$1:8080/orders"
	check "on the app's port, the sidecar responds" all "status_is 401" "problem_is no-credentials"
	send -timeout 5s "http://$1:9999/orders"
	check "no connection to a port that the app opened but did not declare" status_is 000
	note "but the app listens on it: $(listens "$(app_pods "$POD_NAME" | first_line)")"
}

listens() {
	kubectl exec -n "$SHOP" "$1" -c app -- /sample-app get http://127.0.0.1:9999/healthz 2>/dev/null | first_line |
		sed 's|^|inside the pod, http://127.0.0.1:9999/healthz returns |'
}

# show_change: denies a route while the pods run.
show_change() {
	local before started took
	SHOW=content-type
	scene "The policy changes while the pods run"
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
	check "the pods are the same, and no container restarted" test "$before" = "$(app_pods "$POD_NAME {{.metadata.uid}}$RESTARTS")"
	kubectl wait securitypolicy/orders -n "$SHOP" --for=condition=Enforced --timeout=30s >/dev/null || true
	shown kubectl get securitypolicy -n "$SHOP"
	check "the policy is enforced again in both pods" both_enforced
}

# closed_everywhere: whether each of the app's pods refuses the denied route.
closed_everywhere() {
	local ip
	for ip in $(app_pods "$POD_IP"); do
		ask -H "Authorization: Bearer $GOOD" "http://$ip:8080/reports"
		[[ $STATUS == 403 ]] || return 1
	done
}
