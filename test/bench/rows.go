package main

import (
	"context"
	"fmt"
	"time"

	"github.com/posterndev/postern/test/bench/load"
)

// worker is what has a cost: a proxy, or several.
type worker interface{ cpu() (time.Duration, error) }

// row is one kind of request to one proxy, measured in rounds.
type row struct {
	group, name string
	proxy       worker
	target      load.Target
	// others are further targets, which share the load.
	others []load.Target
	// requests are sent in turn. fresh, if not nil, makes new ones for each round, of which each is sent once.
	requests load.Requests
	fresh    func(n int) (load.Requests, error)
	// clients is the number of connections, if it is not that of the bench.
	clients int

	cpu  []time.Duration // for each request
	rate []float64       // requests per second
}

// get renders a GET with an access token; an empty token is none.
func get(path, token string) []byte {
	head := "GET " + path + " HTTP/1.1\r\nHost: bench.example.com\r\nUser-Agent: bench/1\r\nAccept: */*\r\nOrigin: https://shop.example.com\r\n"
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	return []byte(head + "\r\n")
}

// gets renders a GET for each token.
func gets(path string, tokens []string) load.Requests {
	out := make(load.Requests, len(tokens))
	for i, token := range tokens {
		out[i] = get(path, token)
	}
	return out
}

// interleave measures the rows in turn, because the machine is noisy. The first round is a warm-up and does not count.
func (b *bench) interleave(ctx context.Context, what string, rows []*row) error {
	for i := range b.repetitions + 1 {
		fmt.Fprintf(b.progress, "%s: round %d of %d\n", what, i, b.repetitions)
		for _, r := range rows {
			if err := b.turnOf(ctx, r, i > 0); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
		}
	}
	return nil
}

func (b *bench) turnOf(ctx context.Context, r *row, counts bool) error {
	requests, until := r.requests, load.Until{Time: b.turn}
	if r.fresh != nil {
		var err error
		if requests, err = r.fresh(b.fresh); err != nil {
			return err
		}
		until = load.Until{Requests: len(requests)}
	}
	clients := b.clients
	if r.clients > 0 {
		clients = r.clients
	}
	s, err := load.NewSession(ctx, clients, append([]load.Target{r.target}, r.others...)...)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Run(ctx, requests[:min(len(requests), 1)], load.Until{Requests: 4 * clients}); err != nil { // opens connections to the app
		return err
	}
	before, err := r.proxy.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	n, err := s.Run(ctx, requests, until)
	if err != nil {
		return err
	}
	elapsed := time.Since(began)
	after, err := r.proxy.cpu()
	if err == nil && counts {
		r.cpu = append(r.cpu, (after-before)/time.Duration(n))
		r.rate = append(r.rate, float64(n)/elapsed.Seconds())
	}
	return err
}
