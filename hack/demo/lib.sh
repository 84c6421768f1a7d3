# shellcheck shell=bash
# Functions that the demo's scripts share: paths, how to send and show a request, and how to check a claim.
# This file is sourced, not executed.
# shellcheck disable=SC2034 # the variables are used by the scripts that source this file

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
WORK=$ROOT/dist/demo # the key, the images and the caches of kubectl and helm; down.sh removes it
NAME=demo            # of the cluster that the demo creates
SYSTEM=postern-system
SHOP=shop
OWNED=postern.dev/demo # the label of objects that the demo created, so that down.sh removes only these

say() { printf '%s\n' "$*" >&2; }
die() {
	say "error: $*"
	exit 1
}
# first_line: prints the first line of its input, of which it reads all: a command that still writes to head would end the demo with SIGPIPE.
first_line() { sed -n 1p; }
# existing: whether the demo uses the current kubectl context and creates no cluster.
existing() { [[ ${CLUSTER:-} == existing ]]; }
# without_cluster: whether the demo ends after its first act.
without_cluster() { [[ ${CLUSTER:-} == none ]]; }
check_settings() {
	[[ -z ${CLUSTER:-} ]] || existing || without_cluster ||
		die "CLUSTER=${CLUSTER} is not existing (use the current kubectl context) or none (only the first act)"
}

# use_cluster: sets the environment for the cluster: kubeconfig, kubectl and helm.
use_cluster() {
	local tool
	export KUBECACHEDIR=$WORK/kubectl HELM_CACHE_HOME=$WORK/helm/cache HELM_CONFIG_HOME=$WORK/helm/config HELM_DATA_HOME=$WORK/helm/data
	if ! existing; then
		eval "$("$ROOT/hack/cluster/env.sh" "$NAME")"
		return
	fi
	for tool in kubectl helm; do
		command -v "$tool" >/dev/null || die "CLUSTER=existing needs $tool on the PATH"
	done
}

if [[ -t 1 ]]; then
	readonly BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' CYAN=$'\e[36m' PLAIN=$'\e[0m'
else
	readonly BOLD='' DIM='' GREEN='' RED='' CYAN='' PLAIN=''
fi

SCENE=0
CHECKS=0
FAILED=0

# act TITLE: a part of the demo.
act() { printf '\n%s%s%s\n' "$BOLD$CYAN" "$1" "$PLAIN"; }
# scene TITLE: a numbered heading.
scene() { printf '\n%s%d. %s%s\n' "$BOLD" $((++SCENE)) "$1" "$PLAIN"; }
note() { printf '   %s%s%s\n' "$DIM" "$*" "$PLAIN"; }

# command_line WORD...: shows a command. Long tokens are shortened.
command_line() {
	local word line=
	for word in "$@"; do
		[[ $word =~ ^[A-Za-z0-9_./:=@%,+-]+$ ]] || word="'$word'"
		line+=" $word"
	done
	line=$(sed -E 's/((eyJ|refresh_token=)[A-Za-z0-9_-]{5})[A-Za-z0-9_.-]+/\1…/g' <<<"$line")
	printf '   %s$%s%s\n' "$CYAN" "$line" "$PLAIN"
}

# shown COMMAND...: shows a command, runs it, and shows its output.
shown() {
	command_line "$@"
	"$@" 2>&1 | sed 's/^/     /'
}

# The command that sends requests, and its name in the output. Each act sets both. The command prints the response like curl -i.
TRANSPORT=() TRANSPORT_NAME=()

# ask ARGUMENT...: sends a request without showing it. Afterwards the file $RESPONSE has the response, and STATUS has its status (000
# without a response).
ask() {
	RESPONSE=$WORK/response
	{ "${TRANSPORT[@]}" "$@" 2>&1 || true; } | tr -d '\r' >"$RESPONSE"
	STATUS=$(LC_ALL=C awk 'NR == 1 && $1 ~ /^HTTP\// { print $2 }' "$RESPONSE")
	STATUS=${STATUS:-000}
}

# send ARGUMENT...: sends a request, and shows it with the response's status and the headers whose names match the regular expression
# SHOW.
send() {
	ask "$@"
	command_line "${TRANSPORT_NAME[@]}" "$@"
	if [[ $STATUS == 000 ]]; then
		printf '     no response: %s\n' "$(sed -nE 's/^(sample-app|curl): //p' "$RESPONSE" | first_line)"
		return
	fi
	printf '     %s%s%s\n' "$BOLD" "$(head -n 1 "$RESPONSE" | cut -d ' ' -f 2-)" "$PLAIN"
	response_head | { LC_ALL=C grep -iE "^(${SHOW:-none}):" || true; } | sed 's/^/     /'
}

# response_head: prints the status line and the headers.
response_head() { LC_ALL=C sed -n '1,/^$/p' "$RESPONSE"; }

# check CLAIM COMMAND...: runs the command, and shows the claim with a mark for its success or failure.
check() {
	local claim=$1
	shift
	CHECKS=$((CHECKS + 1))
	if "$@"; then
		printf '   %s✓%s %s\n' "$GREEN" "$PLAIN" "$claim"
		return
	fi
	FAILED=$((FAILED + 1))
	printf '   %s✗ failed: %s%s\n' "$RED" "$claim" "$PLAIN"
}

status_is() { [[ $STATUS == "$1" ]]; }
problem_is() { grep -q "\"type\":\"https://postern.dev/problems/$1\"" "$RESPONSE"; }
# header_has NAME REGEX: whether the response has a header with this name and a matching value.
header_has() { response_head | LC_ALL=C grep -qiE "^$1: .*($2)"; }
header_absent() { ! header_has "$1" ''; }
refused() { all "status_is 401" "problem_is invalid-token" "header_has www-authenticate '$1'"; }
# app_saw NAME VALUE: whether the app received the request header with only this value.
app_saw() { grep -qF "\"$1\":[\"$2\"]" "$RESPONSE"; }
app_saw_no() { ! grep -qF "\"$1\":" "$RESPONSE"; }
all() {
	local claim
	for claim in "$@"; do eval "$claim" || return 1; done
}

# shows REGEX COMMAND...: whether the command prints a line that matches, whatever its status is.
shows() { { "${@:2}" 2>/dev/null || true; } | grep -E "$1" >/dev/null; }

# member NAME: prints a string member of the response's JSON.
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$RESPONSE" | first_line; }

readonly FIREFOX='Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
readonly CHROME='Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'
readonly IPHONE='Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1'

# log_in URL AGENT: logs in as the user "maria". Afterwards TOKEN and REFRESH have the tokens.
log_in() {
	ask -X POST -H "Content-Type: application/json" -H "User-Agent: $2" -d '{"user":"maria","password":"demo"}' "$1/login"
	TOKEN=$(member access_token) REFRESH=$(member refresh_token)
}

# show_response_tokens: shows the response's JSON, with shortened tokens.
show_response_tokens() { sed -nE '$ { s/("(access|refresh)_token":"[^"]{8})[^"]*/\1…/g; s/^/     /; p; }' "$RESPONSE" && echo; }

# show_response_sessions: shows a line for each session.
show_response_sessions() {
	tail -n 1 "$RESPONSE" | tr '{' '\n' | sed 's/$/\n/' |
		sed -nE 's/.*"current":([a-z]+)(,"browser":"([^"]*)")?(,"os":"([^"]*)")?.*"last_seen":"([^".]*).*/     current=\1  \3  \5  last seen \6/p'
}

sessions_are() { [[ $(grep -o '"id":' "$RESPONSE" | wc -l) == "$1" ]]; }

# make_tokens DIR: creates an issuer's key, whose public key goes into the policy, and valid and invalid tokens. It needs the command
# postern.
make_tokens() {
	local orders=(--issuer https://id.example.com --audience orders --subject alice)
	[[ -s $1/key.json ]] || (umask 077 && postern token new-key >"$1/key.json")
	(umask 077 && postern token new-key >"$1/other-key.json")
	JWKS=$(postern token jwks --key "$1/key.json")
	GOOD=$(postern token sign --key "$1/key.json" "${orders[@]}")
	EXPIRED=$(postern token sign --key "$1/key.json" "${orders[@]}" --lifetime=-5m)
	OTHER_AUDIENCE=$(postern token sign --key "$1/key.json" --issuer https://id.example.com --audience billing --subject alice)
	# The forged token has the same key id as the issuer's key.
	sed "s/\"kid\":\"[^\"]*\"/$(grep -o '"kid":"[^"]*"' "$1/key.json")/" "$1/other-key.json" >"$1/forger.json"
	FORGED=$(postern token sign --key "$1/forger.json" "${orders[@]}")
}

# seconds_since START: prints the seconds since START with one decimal. START is an EPOCHREALTIME.
seconds_since() { awk -v a="${1/,/.}" -v b="${EPOCHREALTIME/,/.}" 'BEGIN { printf "%.1f", b - a }'; }
