# shellcheck shell=bash
# Words that the demo's scripts share: where things are, how a request is sent and shown, and how a claim is checked.
# Sourced, never run.
# shellcheck disable=SC2034 # the variables are for those who source it

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
WORK=$ROOT/dist/demo # the key, the images and the caches of kubectl and helm; down.sh removes it
NAME=demo            # of the cluster that the demo makes
SYSTEM=postern-system
SHOP=shop
OWNED=postern.dev/demo # the label of what the demo made, so that down.sh removes nothing else

say() { printf '%s\n' "$*" >&2; }
die() {
	say "error: $*"
	exit 1
}
# existing: whether the present kubectl context is used in place of a cluster made here.
existing() { [[ ${CLUSTER:-} == existing ]]; }
# without_cluster: whether the demo is to end after its first act.
without_cluster() { [[ ${CLUSTER:-} == none ]]; }
check_settings() {
	[[ -z ${CLUSTER:-} ]] || existing || without_cluster ||
		die "CLUSTER=${CLUSTER}: the values are existing, for the present kubectl context, and none, for the first act alone"
}

# use_cluster: puts the cluster's kubeconfig and kubectl and helm into the environment.
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

# command_line WORD...: shows a command; long tokens are cut.
command_line() {
	local word line=
	for word in "$@"; do
		[[ $word =~ ^[A-Za-z0-9_./:=@%,+-]+$ ]] || word="'$word'"
		line+=" $word"
	done
	line=$(sed -E 's/((eyJ|refresh_token=)[A-Za-z0-9_-]{5})[A-Za-z0-9_.-]+/\1…/g' <<<"$line")
	printf '   %s$%s%s\n' "$CYAN" "$line" "$PLAIN"
}

# shown COMMAND...: shows a command, runs it, and shows what it prints.
shown() {
	command_line "$@"
	"$@" 2>&1 | sed 's/^/     /'
}

# How requests are sent, and what that is called: each act sets both. Either prints as curl -i does.
TRANSPORT=() TRANSPORT_NAME=()

# ask ARGUMENT...: sends a request. The answer is then in $ANSWER, its status in STATUS (000 where no answer came). Nothing is
# shown.
ask() {
	ANSWER=$WORK/answer
	{ "${TRANSPORT[@]}" "$@" 2>&1 || true; } | tr -d '\r' >"$ANSWER"
	STATUS=$(LC_ALL=C awk 'NR == 1 && $1 ~ /^HTTP\// { print $2 }' "$ANSWER")
	STATUS=${STATUS:-000}
}

# send ARGUMENT...: asks, and shows the request, the status and those header fields that SHOW (a regular expression
# of their names) picks.
send() {
	ask "$@"
	command_line "${TRANSPORT_NAME[@]}" "$@"
	if [[ $STATUS == 000 ]]; then
		printf '     no answer: %s\n' "$(sed -nE 's/^(sample-app|curl): //p' "$ANSWER" | head -n 1)"
		return
	fi
	printf '     %s%s%s\n' "$BOLD" "$(head -n 1 "$ANSWER" | cut -d ' ' -f 2-)" "$PLAIN"
	head_of_answer | { LC_ALL=C grep -iE "^(${SHOW:-none}):" || true; } | sed 's/^/     /'
}

# head_of_answer: the status line and the header fields.
head_of_answer() { LC_ALL=C sed -n '1,/^$/p' "$ANSWER"; }

# check CLAIM COMMAND...: shows the claim with a mark that says whether the command agrees.
check() {
	local claim=$1
	shift
	CHECKS=$((CHECKS + 1))
	if "$@"; then
		printf '   %s✓%s %s\n' "$GREEN" "$PLAIN" "$claim"
		return
	fi
	FAILED=$((FAILED + 1))
	printf '   %s✗ not so: %s%s\n' "$RED" "$claim" "$PLAIN"
}

status_is() { [[ $STATUS == "$1" ]]; }
problem_is() { grep -q "\"type\":\"https://postern.dev/problems/$1\"" "$ANSWER"; }
# header_has NAME REGEX: whether the answer has such a field with such a value.
header_has() { head_of_answer | LC_ALL=C grep -qiE "^$1: .*($2)"; }
header_absent() { ! header_has "$1" ''; }
refused() { all "status_is 401" "problem_is invalid-token" "header_has www-authenticate '$1'"; }
# app_saw NAME VALUE: whether the app saw the request header with that one value.
app_saw() { grep -qF "\"$1\":[\"$2\"]" "$ANSWER"; }
app_saw_no() { ! grep -qF "\"$1\":" "$ANSWER"; }
all() {
	local claim
	for claim in "$@"; do eval "$claim" || return 1; done
}

# member NAME: a member of the answer's JSON, as far as that is a string.
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$ANSWER" | head -n 1; }

readonly FIREFOX='Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
readonly CHROME='Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36'
readonly IPHONE='Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1'

# log_in URL AGENT: as the person "maria"; the tokens are then in TOKEN and REFRESH.
log_in() {
	ask -X POST -H "Content-Type: application/json" -H "User-Agent: $2" -d '{"user":"maria","password":"demo"}' "$1/login"
	TOKEN=$(member access_token) REFRESH=$(member refresh_token)
}

# show_tokens_of_answer: the answer's JSON, with its tokens cut.
show_tokens_of_answer() { sed -nE '$ { s/("(access|refresh)_token":"[^"]{8})[^"]*/\1…/g; s/^/     /; p; }' "$ANSWER" && echo; }

# show_sessions_of_answer: a line for each session.
show_sessions_of_answer() {
	tail -n 1 "$ANSWER" | tr '{' '\n' | sed 's/$/\n/' |
		sed -nE 's/.*"current":([a-z]+)(,"browser":"([^"]*)")?(,"os":"([^"]*)")?.*"last_seen":"([^".]*).*/     current=\1  \3  \5  last seen \6/p'
}

sessions_are() { [[ $(grep -o '"id":' "$ANSWER" | wc -l) == "$1" ]]; }

# make_tokens DIR: an issuer's key, whose public half goes into the policy, and tokens good and bad. It needs the command postern.
make_tokens() {
	local orders=(--issuer https://id.example.com --audience orders --subject alice)
	[[ -s $1/key.json ]] || (umask 077 && postern token new-key >"$1/key.json")
	(umask 077 && postern token new-key >"$1/other-key.json")
	JWKS=$(postern token jwks --key "$1/key.json")
	GOOD=$(postern token sign --key "$1/key.json" "${orders[@]}")
	EXPIRED=$(postern token sign --key "$1/key.json" "${orders[@]}" --lifetime=-5m)
	ELSEWHERE=$(postern token sign --key "$1/key.json" --issuer https://id.example.com --audience billing --subject alice)
	# The forger claims the very key id that the issuer's key has.
	sed "s/\"kid\":\"[^\"]*\"/$(grep -o '"kid":"[^"]*"' "$1/key.json")/" "$1/other-key.json" >"$1/forger.json"
	FORGED=$(postern token sign --key "$1/forger.json" "${orders[@]}")
}

# seconds_since START: with one decimal; START is an EPOCHREALTIME.
seconds_since() { awk -v a="${1/,/.}" -v b="${EPOCHREALTIME/,/.}" 'BEGIN { printf "%.1f", b - a }'; }
