// Command bench measures the cost of Postern and the time from revocation to refusal, on this machine: `make bench`. Each figure
// is shown beside that of a named peer in the same run, the reverse proxy of ./peer, because a time alone says more about the
// machine. It starts a Redis, a PostgreSQL, an app, sidecars (`postern run`), peers, and an API server with an operator on free ports of
// 127.0.0.1, and stops them at the end. It writes into the tree only with -write. docs/bench.md explains the tables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/posterndev/postern/test/apiserver"
)

// settings are the sizes of the measurements.
type settings struct {
	// fleet is the number of sidecars, and of peers, that must learn of a revocation.
	fleet int
	// rounds is the number of rounds for each way of revoking. pollRounds is that for the polling peer, which takes about a
	// second per round.
	rounds, pollRounds int
	// pause is the time that an asker waits between a response and its next request.
	pause time.Duration
	// requests and logins are the numbers per repetition. Requests use connections connections.
	requests, connections, logins, repetitions int
	// events is the number of audit events in one repetition.
	events int
	// clients is the number of connections of the request rows, turn the time of one row in one round, and fresh the number of
	// requests in a turn with a new token each.
	clients, fresh int
	turn           time.Duration
	// scales are the numbers of policies of the operator's rows, pods the number of pods beside the most policies, and fleetSizes the
	// numbers of those that have one policy. creation is the time for which pods are created at a fixed rate.
	scales, fleetSizes []int
	pods               int
	creation           time.Duration
	// settle is the time after which an idle operator's memory is read, and held the time for which sidecars only poll.
	settle, held time.Duration
	// rows are the parts of the bench to run.
	rows string
	// write is whether the tables and plots are written into docs.
	write bool
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&s.fleet, "fleet", 6, "number of sidecars, and of peers, that must learn of a revocation")
	flags.IntVar(&s.rounds, "rounds", 80, "rounds for each way of revoking")
	flags.IntVar(&s.pollRounds, "poll-rounds", 10, "rounds with the peer that polls, about 1.5 s each")
	flags.DurationVar(&s.pause, "pause", time.Millisecond, "pause between a response and the next request of the same asker")
	flags.IntVar(&s.requests, "requests", 2000, "requests in one repetition of the cost")
	flags.IntVar(&s.connections, "connections", 16, "connections for the requests")
	flags.IntVar(&s.logins, "logins", 1000, "logins, and refreshes, in one repetition")
	flags.IntVar(&s.events, "events", 20000, "audit events in one repetition")
	flags.IntVar(&s.repetitions, "repetitions", 5, "repetitions, of which the median counts, after one warm-up repetition")
	flags.IntVar(&s.clients, "clients", 32, "connections of the request rows")
	flags.IntVar(&s.fresh, "fresh", 2000, "requests with a new token each, in one round")
	flags.DurationVar(&s.turn, "turn", 1500*time.Millisecond, "time of one row in one round")
	flags.StringVar(&s.rows, "rows", "", "run only these parts, separated by commas: requests, latency, memory, curves, revocation, cost, audit, operator; or groups of them: "+
		"requests/postern, /cold, /peers, /h2c, /tls; curves/routes, /providers, /connections, /bodies, /revocations, /replicas; "+
		"operator/change, /admission, /pods")
	flags.BoolVar(&s.write, "write", false, "write the tables into docs/bench.md and the plots into docs/benchmarks")
	flags.Func("policies", "numbers of policies of the operator's rows, separated by commas (default 1000,5000)", func(text string) (err error) {
		s.scales, err = numbers(text)
		return err
	})
	flags.IntVar(&s.pods, "pods", 10000, "pods of the operator's rows, each with a simulated sidecar")
	flags.DurationVar(&s.creation, "creation", 15*time.Second, "time for which pods are created at a fixed rate, in each way")
	quick := flags.Bool("quick", false, "shorter turns and two repetitions, for a first look")
	s.scales, s.fleetSizes, s.settle, s.held = []int{1000, 5000}, []int{10, 100, 1000}, 10*time.Second, 30*time.Second
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if *quick {
		s.scales, s.fleetSizes, s.pods, s.creation, s.settle, s.held = []int{1000}, []int{10, 100}, 1000, 5*time.Second, 3*time.Second, 10*time.Second
		s.turn, s.repetitions, s.fresh, s.rounds, s.pollRounds = 400*time.Millisecond, 2, 500, 8, 2
		if err := flags.Parse(args); err != nil { // what is given holds
			return s, err
		}
	}
	for _, n := range []int{s.fleet, s.rounds, s.pollRounds, s.requests, s.connections, s.logins, s.events, s.repetitions, s.clients, s.fresh, s.pods} {
		if n < 1 {
			return s, errors.New("all counts must be at least 1")
		}
	}
	return s, nil
}

// numbers parses a list of numbers of at least 1.
func numbers(text string) (out []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of at least 1", part)
		}
		out = append(out, n)
	}
	return out, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctrl.SetLogger(logr.Discard()) // of the clients of an API server
	signal.Ignore(syscall.SIGPIPE) // after a closed pipe the programs must still be stopped
	s, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, s, os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures. It writes the tables to out and progress messages to progress.
func run(ctx context.Context, s settings, out, progress io.Writer) error {
	b, err := newBench(ctx, s, out, progress)
	if err != nil {
		return err
	}
	defer b.close()
	if b.selected("operator") && os.Getenv(apiserver.Assets) == "" {
		return apiserver.ErrAssets
	}
	if err := errors.Join(b.suites(ctx), b.renew()); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"revocation", b.revocation}, {"cost", b.cost}, {"audit", b.audit}, {"operator", b.operator}} {
		if !b.selected(part.name) {
			continue
		}
		if err := errors.Join(part.run(ctx), b.renew()); err != nil {
			return err
		}
	}
	return nil
}

// renew writes what was measured so far, so that a later part cannot lose it.
func (b *bench) renew() error {
	if !b.write {
		return nil
	}
	return b.writeDocs("docs")
}

// suites runs the parts that share the issuer and the proxies.
func (b *bench) suites(ctx context.Context) error {
	s, err := b.newSuite()
	if err != nil {
		return err
	}
	defer s.end()
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{{"requests", s.requests}, {"latency", s.latency}, {"memory", s.memory}, {"curves", s.curves}} {
		if !b.selected(part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return s.goals()
}

// selected reports whether a part, or a group of a part, is to run: requests or requests/cold.
func (b *bench) selected(name string) bool {
	if b.rows == "" {
		return true
	}
	for row := range strings.SplitSeq(b.rows, ",") {
		if row == name || strings.HasPrefix(name, row+"/") || strings.HasPrefix(row, name+"/") {
			return true
		}
	}
	return false
}
