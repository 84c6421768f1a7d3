package main

import (
	"fmt"
	"time"
)

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }

// perThing divides a time by a number of things.
func perThing(d time.Duration, n int) string { return milliseconds(d / time.Duration(n)) }

// share returns a CPU time in percent of one core.
func share(s spent) string { return fmt.Sprintf("%.1f", 100*float64(s.cpu)/float64(s.time)) }

func (b *bench) printScales(rows []*scale) error {
	applied := [][]string{{"", "applied in, s", "all Ready after, s", "operator's CPU, ms/policy", "reconciles/policy", "peak MiB", "10 s later, MiB", "CPU idle, % of a core"}}
	again := [][]string{{"", "ready after, s", "all reconciled after, s", "CPU, ms/policy", "peak MiB", "10 s later, MiB"}}
	for _, s := range rows {
		name := fmt.Sprintf("%d policies", s.policies)
		applied = append(applied, []string{
			name, seconds(s.applied), seconds(s.first.time), perThing(s.first.cpu, s.policies), fmt.Sprintf("%.1f", s.reconciles/float64(s.policies)),
			mebibytes(s.first.peak), mebibytes(s.idle.resident), share(s.idle),
		})
		again = append(again, []string{
			name, seconds(s.ready), seconds(s.again.time), perThing(s.again.cpu, s.policies), mebibytes(s.again.peak), mebibytes(s.settled),
		})
	}
	if err := b.publish("operator-policies", "Policies applied at once", applied); err != nil {
		return err
	}
	return b.publish("operator-restart", "The operator restarted, with all policies present", again)
}

func (b *bench) printChanges(n int, took, ready []time.Duration, cpu time.Duration, reconciles float64) error {
	return b.publish("operator-change", fmt.Sprintf("One of %d policies changed", n), [][]string{
		{"", "changes", "ms, median", "p95", "max", "operator's CPU, ms/change", "reconciles/change"},
		{
			"until its document is written", fmt.Sprint(len(took)), milliseconds(median(took)), milliseconds(quantile(took, 0.95)), milliseconds(quantile(took, 1)),
			milliseconds(cpu), fmt.Sprintf("%.1f", reconciles),
		},
		{"until its status is Ready again", fmt.Sprint(len(ready)), milliseconds(median(ready)), milliseconds(quantile(ready, 0.95)), milliseconds(quantile(ready, 1)), "", ""},
	})
}

func (b *bench) printAdmission(n int, ways []*admitted, webhook histogram) error {
	rows := [][]string{{"", "calls", "ms, p50", "p99", "max", "p50/without", "p99/without", "operator's CPU, ms/call", "API server's CPU, ms/call"}}
	without := ways[0]
	for _, w := range ways {
		rows = append(rows, []string{
			w.name, fmt.Sprint(len(w.took)), milliseconds(median(w.took)), milliseconds(quantile(w.took, 0.99)), milliseconds(quantile(w.took, 1)),
			ratio(median(w.took), median(without.took)), ratio(quantile(w.took, 0.99), quantile(without.took, 0.99)), perThing(w.cpu, len(w.took)), perThing(w.server, len(w.took)),
		})
	}
	mean := time.Duration(webhook.sum / max(1, webhook.count) * float64(time.Second))
	rows = append(rows, []string{
		"the webhook, as the API server measures it", fmt.Sprintf("%.0f", webhook.count), "mean " + milliseconds(mean), "at most " + milliseconds(webhook.atMost(0.99)), "", "", "", "", "",
	})
	return b.publish("operator-admission", fmt.Sprintf("%d pods a second, beside %d policies", podRate, n), rows)
}

func (b *bench) printPods(n int, p *population) error {
	return b.publish("operator-pods", fmt.Sprintf("%d pods beside %d policies", p.pods, n), [][]string{
		{"", "s", "operator's CPU, s", "% of a core", "peak MiB", "at the end, MiB"},
		{fmt.Sprintf("pods created, until all statuses count them (%s ms after the last)", milliseconds(p.late)), seconds(p.counted.time), seconds(p.counted.cpu), share(p.counted), mebibytes(p.counted.peak), mebibytes(p.counted.resident)},
		{"sidecars connect, until all statuses have them as current", seconds(p.connected.time), seconds(p.connected.cpu), share(p.connected), mebibytes(p.connected.peak), mebibytes(p.connected.resident)},
		{"nothing changes, every sidecar polls", seconds(p.held.time), seconds(p.held.cpu), share(p.held), mebibytes(p.held.peak), mebibytes(p.held.resident)},
		{fmt.Sprintf("restarted (ready after %s s), until every sidecar polls again", seconds(p.ready)), seconds(p.again.time), seconds(p.again.cpu), share(p.again), mebibytes(p.again.peak), mebibytes(p.again.resident)},
	})
}

func (b *bench) printDelivered(rows []*delivered) error {
	out := [][]string{{"", "changes", "first sidecar, ms", "half of them", "last sidecar", "last sidecar, max", "Enforced in the status"}}
	for _, d := range rows {
		out = append(out, []string{
			fmt.Sprintf("%d sidecars", d.sidecars), fmt.Sprint(len(d.last)), milliseconds(median(d.first)), milliseconds(median(d.half)),
			milliseconds(median(d.last)), milliseconds(quantile(d.last, 1)), milliseconds(median(d.enforced)),
		})
	}
	return b.publish("operator-delivery", "From apply to the sidecars of one policy", out)
}
