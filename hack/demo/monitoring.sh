# shellcheck shell=bash disable=SC2153 # lib.sh, prepare.sh and trail.sh set the variables and functions that are used here
# The Prometheus of the third act, in the node, with the alerts of the chart. This file is sourced, not executed.

readonly HOLD=5s # how long an alert must hold in the demo, in place of the minutes in the chart

# start_prometheus: starts it with the present configuration, in place of the one of an earlier run.
start_prometheus() {
	local dir=/var/lib/postern-demo/prometheus tries
	if existing; then return; fi
	say "starting Prometheus with the chart's alerts"
	PROMETHEUS=http://$POSTERN_NODE_IP:9090
	{
		helm template postern "$ROOT/charts/postern" --show-only templates/monitoring/prometheusrule.yaml \
			--set "metrics.prometheusRule.enabled=true,metrics.prometheusRule.holdFor=$HOLD" | sed '1,/^spec:/d; s/^  //'
	} >"$WORK/rules.yaml"
	list_targets
	cp "$HERE/prometheus.yaml" "$WORK"
	promtool check config "$WORK/prometheus.yaml" >"$WORK/promtool.log" || { cat "$WORK/promtool.log" >&2 && die "the configuration of Prometheus is not valid"; }
	in_node pkill -x prometheus || true # the one of an earlier run; the node has its own process ids
	in_node bash -c "rm -rf $dir && mkdir -p $dir"
	setsid "$ROOT/hack/cluster/exec.sh" -c "$NAME" prometheus --config.file="$WORK/prometheus.yaml" --storage.tsdb.path="$dir" \
		--web.listen-address="$POSTERN_NODE_IP:9090" >"$WORK/prometheus.log" 2>&1 </dev/null &
	for ((tries = 0; tries < 100; tries++)); do
		if all_scraped; then return; fi
		sleep 0.2
	done
	tail -n 20 "$WORK/prometheus.log" >&2
	die "Prometheus does not scrape the sidecars"
}

# list_targets: writes the sidecars and the replicas of the operator as targets.
list_targets() {
	local app
	for app in orders accounts; do
		pods_of "$app" "- {targets: [\"$POD_IP:15991\"], labels: {namespace: $SHOP, policy: $app, pod: $POD_NAME}}"
	done >"$WORK/sidecars.yaml"
	kubectl get pods -n "$SYSTEM" -l app.kubernetes.io/component=operator \
		-o "go-template={{range .items}}- {targets: [\"$POD_IP:8080\"], labels: {service: postern-operator-metrics}}{{\"\n\"}}{{end}}" >"$WORK/operators.yaml"
}

all_scraped() { [[ $(prometheus_api targets?state=active | grep -o '"health":"up"' | wc -l) == $(cat "$WORK"/{sidecars,operators}.yaml | wc -l) ]]; }
prometheus_api() { curl -q -sS --noproxy '*' --max-time 5 "$PROMETHEUS/api/v1/$1" 2>/dev/null || true; }

# alert NAME: prints the alert of Prometheus' API, in a line of JSON; nothing if it is neither pending nor firing.
alert() { prometheus_api alerts | sed 's/{"labels":/\n&/g' | grep "\"alertname\":\"$1\"" | first_line || true; }

alert_is() { [[ $(alert "$1") == *"\"state\":\"$2\""* ]]; }
alert_absent() { [[ -z $(alert "$1") ]]; }

await_alert() {
	local until=$((SECONDS + 60))
	until alert_is "$1" firing || ((SECONDS > until)); do sleep 0.3; done
}
