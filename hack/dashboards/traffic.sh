#!/usr/bin/env bash
# Sends traffic to the pods of the demo, after `make demo`: customers all the time, and attackers in the second third of it. Then
#
#   go run ./hack/dashboards -prometheus http://10.245.0.2:9090
#
# draws the dashboards with what was seen.
#
#   traffic.sh [SECONDS]        the default is 300
# shellcheck disable=SC2034 # lib.sh reads the variables
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../demo/lib.sh"

# request URL [CURL OPTION...]: prints a request for curl's configuration.
request() {
	printf 'url = "%s"\noutput = "/dev/null"\nnoproxy = "*"\nmax-time = 10\nsilent\n' "$1"
	while (($# > 1)); do
		shift
		printf '%s\n' "$1"
	done
	echo next
}

json() { printf 'header = "Content-Type: application/json"\ndata = "%s"\n' "${1//\"/\\\"}"; }
from() { printf 'header = "X-Forwarded-For: %s"\n' "$1"; }
bearer() { printf 'header = "Authorization: Bearer %s"\n' "$1"; }

# customers N: the requests of the Nth second.
customers() {
	local i order_pod=${ORDERS[$1 % 2]} account_pod=${ACCOUNTS[$1 % 2]} busy=$((6 + 4 * ($1 / 20 % 3)))
	for ((i = 0; i < busy; i++)); do
		request "http://$order_pod:8080/orders" "$(bearer "$GOOD")"
		request "http://$account_pod:8080/whoami" "$(bearer "$TOKEN")"
	done
	request "http://$order_pod:8080/public/page-$1"
	request "http://$order_pod:8080/slow?ms=$((10 + RANDOM % 90))" "$(bearer "$GOOD")"
	request "http://$order_pod:8080/whoami" "$(bearer "$TOKEN")"
	request "http://$account_pod:8080/login" "$(from "198.51.100.$((RANDOM % 250))")" "$(json "{\"user\":\"customer-$((RANDOM % 400))\",\"password\":\"demo\"}")"
	if (($1 % 5 == 0)); then
		request "http://$order_pod:8080/orders" "$(bearer "$EXPIRED")"
		request "http://$account_pod:8080/login" "$(from "198.51.100.$((RANDOM % 250))")" "$(json "{\"user\":\"customer-$((RANDOM % 400))\",\"password\":\"dmeo\"}")"
		request "http://$account_pod:8080/password/reset" "$(from "198.51.100.$((RANDOM % 250))")" "$(json "{\"user\":\"customer-$((RANDOM % 400))\"}")"
	fi
	if (($1 % 10 == 0)); then
		request "http://$account_pod:8080/auth/refresh" "data = \"grant_type=refresh_token&refresh_token=$REFRESH\""
	fi
}

# attackers N: stolen passwords, forged tokens, and floods of the Nth second.
attackers() {
	local i order_pod=${ORDERS[$1 % 2]} account_pod=${ACCOUNTS[$1 % 2]}
	for ((i = 0; i < 12; i++)); do
		request "http://$account_pod:8080/login" "$(from "203.0.113.$((i % 9 + 1))")" "$(json "{\"user\":\"user-$((RANDOM % 5000))\",\"password\":\"stolen\"}")"
	done
	for i in 1 2 3; do request "http://$order_pod:8080/orders" "$(bearer "$FORGED")"; done
	request "http://$order_pod:8080/login" "$(from 203.0.113.200)" "$(json '{"user":"alice","password":"x"}')"
	request "http://$account_pod:8080/password/reset" "$(from 203.0.113.210)" "$(json '{"user":"nina"}')"
	malformed "$order_pod"
}

# malformed IP: sends a request with two lengths, which is how requests are smuggled.
malformed() {
	{ exec 3<>"/dev/tcp/$1/8080" && printf 'POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' >&3 && exec 3>&-; } 2>/dev/null || true
}

# enrich: adds a provider with remote keys and a route for new passwords to the policies of the demo.
enrich() {
	kubectl patch securitypolicy orders -n "$SHOP" --type json -p '[{"op": "add", "path": "/spec/jwt/providers/1", "value": {"name": "shop", "issuer": "https://shop.example.com",
		"audiences": ["shop"], "algorithms": ["ES256"], "maxLifetime": "1h", "jwks": {"uri": "http://accounts.shop/.well-known/jwks.json", "insecureHTTP": true, "refreshInterval": "1m"}}}]'
	kubectl patch securitypolicy accounts -n "$SHOP" --type json -p '[
		{"op": "add", "path": "/spec/authorization", "value": {"rules": [{"name": "public", "match": [{"paths": ["/password/reset", "/.well-known/**"]}], "require": "Anonymous"}]}},
		{"op": "add", "path": "/spec/loginProtection/routes/1", "value": {"name": "reset", "kind": "PasswordReset", "match": [{"methods": ["POST"], "paths": ["/password/reset"]}], "account": {"json": "user"}}}]'
}

main() {
	local seconds=${1:-300} n since=$SECONDS
	use_cluster
	PATH=$WORK/bin:$PATH
	make_tokens "$WORK"
	TRANSPORT=(curl -q -sS -i --max-time 10 --noproxy '*')
	mapfile -t ORDERS < <(kubectl get pods -n "$SHOP" -l app=orders -o 'jsonpath={range .items[*]}{.status.podIP}{"\n"}{end}')
	mapfile -t ACCOUNTS < <(kubectl get pods -n "$SHOP" -l app=accounts -o 'jsonpath={range .items[*]}{.status.podIP}{"\n"}{end}')
	[[ $(kubectl get securitypolicy orders -n "$SHOP" -o 'jsonpath={.spec.jwt.providers[1].name}') == shop ]] || enrich
	kubectl delete tokenrevocation maria-laptop -n "$SHOP" --ignore-not-found
	for ((n = 0; SECONDS - since < seconds; n++)); do
		if ((n % 100 == 0)); then
			log_in "http://${ACCOUNTS[0]}:8080" "$FIREFOX"
		fi
		{
			customers "$n"
			if ((SECONDS - since > seconds / 3 && SECONDS - since < seconds * 2 / 3)); then attackers "$n"; fi
			request "http://${ACCOUNTS[0]}:8080/healthz"
		} | sed '$d' >"$WORK/traffic"
		curl -q -Z --parallel-max 20 -K "$WORK/traffic" >/dev/null 2>&1 || true
		sleep 0.3
	done
}

main "$@"
