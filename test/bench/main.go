// Command bench measures what Postern costs and how fast it revokes, on this machine: `make bench`. Every figure stands
// beside that of a named peer in the same run, the reverse proxy of ./peer, for a time alone says more about the machine.
// It starts a Redis, an app, sidecars (`postern run`) and peers on free ports of 127.0.0.1, and removes all of it. Nothing is
// written into the tree. docs/bench.md says what the tables mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings are how much is measured.
type settings struct {
	// fleet is the number of sidecars, and of peers, that are to hear of a revocation.
	fleet int
	// rounds are for each way of revoking, and pollRounds for the peer that takes a second for it.
	rounds, pollRounds int
	// pause is what an asker waits between a response and its next request.
	pause time.Duration
	// requests are those of one repetition, over connections; logins are those of one repetition as well.
	requests, connections, logins, repetitions int
}

func parse(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&s.fleet, "fleet", 6, "sidecars, and peers, that are to hear of a revocation")
	flags.IntVar(&s.rounds, "rounds", 80, "rounds for each way of revoking")
	flags.IntVar(&s.pollRounds, "poll-rounds", 10, "rounds with the peer that polls, of some 1.5 s each")
	flags.DurationVar(&s.pause, "pause", time.Millisecond, "what each asker waits between a response and its next request")
	flags.IntVar(&s.requests, "requests", 2000, "requests in one repetition of the cost")
	flags.IntVar(&s.connections, "connections", 16, "connections that requests are sent over")
	flags.IntVar(&s.logins, "logins", 1000, "logins, and refreshes, in one repetition")
	flags.IntVar(&s.repetitions, "repetitions", 5, "repetitions, of which the median counts; one more comes first and does not count")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	for _, n := range []int{s.fleet, s.rounds, s.pollRounds, s.requests, s.connections, s.logins, s.repetitions} {
		if n < 1 {
			return s, errors.New("a count is less than 1")
		}
	}
	return s, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGPIPE) // whoever reads has had enough: the programs must still be ended
	s, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, s, os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures, and writes the tables to out and what is going on to progress.
func run(ctx context.Context, s settings, out, progress io.Writer) error {
	b, err := newBench(ctx, s, out, progress)
	if err != nil {
		return err
	}
	defer b.close()
	for _, part := range []func(context.Context) error{b.revocation, b.cost} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}
