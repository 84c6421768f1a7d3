package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// table writes rows of cells in columns. The first column is text, the others are numbers.
func table(out io.Writer, title string, rows [][]string) error {
	fmt.Fprintf(out, "\n%s\n\n", title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	for _, row := range rows {
		fmt.Fprintf(w, "%-*s\t", width, row[0])
		for _, cell := range row[1:] {
			fmt.Fprintf(w, "%s\t", cell)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }
func microseconds(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/1e3) }

// ratio returns a divided by b.
func ratio[T time.Duration | float64](a, b T) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

// aim is the aim of Postern for the median time from revocation to refusal on every sidecar of one machine. It is printed, not
// tested.
const aim = 100 * time.Millisecond

func (b *bench) printRevocation(results []timing) error {
	polling := median(results[pollingWay].fromCall)
	times := [][]string{{"", "rounds", "ms, median", "p95", "p99", "max", "slowest: median", "slowest: p95", "polling peer/this"}}
	after := [][]string{{"", "requests", "sent later", "to the same member", "after a 401", "ms to refusal: median"}}
	for _, t := range results {
		times = append(times, []string{
			t.name, fmt.Sprint(t.rounds), milliseconds(median(t.fromCall)), milliseconds(quantile(t.fromCall, 0.95)),
			milliseconds(quantile(t.fromCall, 0.99)), milliseconds(slices.Max(t.fromCall)),
			milliseconds(median(t.slowest)), milliseconds(quantile(t.slowest, 0.95)), ratio(polling, median(t.fromCall)),
		})
		after = append(after, []string{
			t.name, fmt.Sprint(t.late), fmt.Sprint(t.lateSent), fmt.Sprint(t.own), fmt.Sprint(t.again), milliseconds(median(t.fromResponse)),
		})
	}
	err := b.publish("revocation", fmt.Sprintf("From the revoke call to the first refusal, on each of %d", b.fleet), times)
	if err != nil {
		return err
	}
	slowest := time.Duration(0)
	for _, t := range results[:pollingWay] {
		slowest = max(slowest, median(t.slowest))
	}
	fmt.Fprintf(b.out, "\n  Aim: under %s at the median, on every sidecar. Here: %s ms.\n", aim, milliseconds(slowest))
	return b.publish("accepted", "Responses with status 200 after the response to the revoke call", after)
}

func (b *bench) printCost(legs []*leg) error {
	header := []string{"CPU of the proxy's process", "requests", "µs/request", "min", "max"}
	rows := [][]string{append(header, "/no rules", "/bare peer", "/asking peer", "/polling peer")}
	for _, l := range legs {
		at := median(l.cpu)
		row := []string{l.name, fmt.Sprint(l.count * len(l.cpu)), microseconds(at), microseconds(slices.Min(l.cpu)), microseconds(slices.Max(l.cpu))}
		for _, than := range []int{passingLeg, bareLeg, askingLeg, pollingLeg} {
			row = append(row, ratio(at, median(legs[than].cpu)))
		}
		rows = append(rows, row)
	}
	return b.publish("cost", fmt.Sprintf("Cost per request, over %d connections", b.connections), rows)
}

func (b *bench) printLogins(legs []*leg) error {
	rows := [][]string{{"", "count", "sidecar/s", "peer/s", "sidecar/peer", "sidecar µs CPU", "peer µs CPU", "sidecar/peer"}}
	for i := 0; i+1 < len(legs); i += 2 {
		s, p := legs[i], legs[i+1]
		rows = append(rows, []string{
			s.name, fmt.Sprint(s.count * len(s.cpu)), fmt.Sprintf("%.0f", median(s.perSecond)), fmt.Sprintf("%.0f", median(p.perSecond)),
			ratio(median(s.perSecond), median(p.perSecond)),
			microseconds(median(s.cpu)), microseconds(median(p.cpu)), ratio(median(s.cpu), median(p.cpu)),
		})
	}
	return b.publish("logins", fmt.Sprintf("Logins and refreshes, over %d connections, and the peer that asks", b.connections), rows)
}
