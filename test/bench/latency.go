package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/posterndev/postern/test/bench/load"
)

// steadyRate is the lower of the rates at which latency is measured, in requests per second.
const steadyRate = 2000

// delay is what one proxy adds at one rate.
type delay struct {
	*row
	p50, p99 []time.Duration
	cpu      []time.Duration
}

// latency measures the time to a response at fixed rates: at steadyRate, and at half of what the slowest of the proxies can do.
func (s *suite) latency(ctx context.Context) error {
	list, err := s.entries()
	if err != nil {
		return err
	}
	var rows []*row
	for _, e := range list {
		if !slices.Contains([]string{nginxPlain, haproxyPlain, haproxyRS, posternPlain, posternWarm, posternAll}, e.name) {
			continue
		}
		r, err := s.row(ctx, e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		rows = append(rows, r)
	}
	half, err := s.halfLoad(ctx, rows)
	if err != nil {
		return err
	}
	for _, rate := range []struct {
		place, name string
		perSecond   float64
		into        *[]*delay
	}{{"latency-steady", fmt.Sprintf("at %d requests/s", steadyRate), steadyRate, &s.steady}, {"latency-half", fmt.Sprintf("at %.0f requests/s, half of what the slowest can do", half), half, &s.half}} {
		for _, r := range rows {
			*rate.into = append(*rate.into, &delay{row: r})
		}
		if err := s.delays(ctx, *rate.into, rate.perSecond); err != nil {
			return err
		}
		if err := s.printDelays(rate.place, "Latency "+rate.name+", open loop", *rate.into); err != nil {
			return err
		}
	}
	return nil
}

// halfLoad returns half of the rate of the slowest row, in requests per second. It measures each row for one turn.
func (s *suite) halfLoad(ctx context.Context, rows []*row) (float64, error) {
	slowest := 0.0
	for i, r := range rows {
		if err := s.turnOf(ctx, r, false); err != nil { // a warm-up
			return 0, fmt.Errorf("%s: %w", r.name, err)
		}
		if err := s.turnOf(ctx, r, true); err != nil {
			return 0, fmt.Errorf("%s: %w", r.name, err)
		}
		if rate := r.rate[len(r.rate)-1]; i == 0 || rate < slowest {
			slowest = rate
		}
	}
	return slowest / 2, nil
}

// delays runs the rows in turn.
func (s *suite) delays(ctx context.Context, delays []*delay, perSecond float64) error {
	for i := range s.repetitions {
		fmt.Fprintf(s.progress, "latency at %.0f requests/s: round %d of %d\n", perSecond, i+1, s.repetitions)
		for _, d := range delays {
			before, err := d.proxy.cpu()
			if err != nil {
				return err
			}
			latencies, err := load.Open(ctx, d.target, s.clients, d.requests, load.Rate{PerSecond: perSecond, Time: s.turn})
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			after, err := d.proxy.cpu()
			if err != nil {
				return err
			}
			d.p50, d.p99 = append(d.p50, quantile(latencies, 0.5)), append(d.p99, quantile(latencies, 0.99))
			d.cpu = append(d.cpu, (after-before)/time.Duration(perSecond*s.turn.Seconds()))
		}
	}
	return nil
}

func (s *suite) printDelays(place, title string, delays []*delay) error {
	rs := find(delays, haproxyRS)
	out := [][]string{{"", "p50 µs", "p99 µs", "p99 min", "p99 max", "p99/HAProxy RS256", "CPU µs/request", "/HAProxy RS256"}}
	for _, d := range delays {
		out = append(out, []string{
			d.name, microseconds(median(d.p50)), microseconds(median(d.p99)), microseconds(slices.Min(d.p99)), microseconds(slices.Max(d.p99)),
			ratio(median(d.p99), median(rs.p99)), tenths(median(d.cpu)), ratio(median(d.cpu), median(rs.cpu)),
		})
	}
	return s.publish(place, title, out)
}

// find returns the delay of a row; one without measurements if there is none.
func find(delays []*delay, name string) *delay {
	for _, d := range delays {
		if d.name == name {
			return d
		}
	}
	return &delay{}
}
