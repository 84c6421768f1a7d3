// Package monitoring runs the chart's alerts and dashboards in a real Prometheus, which scrapes a real sidecar.
package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestAlertsAndDashboards: no alert fires in good times. Each fires in bad times, and resolves after them. Every query of the dashboards returns data.
//
// The sidecar is real, and so are its attackers, and the outages of Redis and of the provider. The metrics of an operator, of Vault and of
// faults that need a pod are those of an exporter.
func TestAlertsAndDashboards(t *testing.T) {
	redis, provider, stub := redistest.Start(t, redistest.Options{}), &keys{}, &exporter{}
	issuer, exported := httptest.NewServer(provider), httptest.NewServer(stub)
	t.Cleanup(issuer.Close)
	t.Cleanup(exported.Close)
	s, alerts := startSidecar(t, document(redis.Addr, issuer.URL+"/jwks")), renderedRules(t)
	p := startPrometheus(t, alerts, s.metrics, strings.TrimPrefix(exported.URL, "http://"))
	clients := startClients(t, s)

	eventually(t, "metrics are scraped, and no alert fires", func() error {
		if found, err := p.query(`rate(postern_route_requests_total[` + window + `]) > 0`); err != nil || len(found) == 0 {
			return fmt.Errorf("no requests are seen: %v", err)
		}
		return wantFiring(p, nil)
	})

	clients.attack.Store(true)
	stub.bad.Store(true)
	var all []string
	for _, a := range alerts {
		if a.Alert != "PosternOperatorDown" { // it needs the exporter to be down
			all = append(all, a.Alert)
		}
	}
	seen := map[string]bool{}
	note := func() error {
		now, err := p.firing()
		for name := range now {
			seen[name] = true
		}
		return err
	}
	missing := func(names ...string) error {
		err := note()
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return seen[name] })
		if err == nil && len(names) > 0 {
			err = fmt.Errorf("%v did not fire", names)
		}
		return err
	}
	eventually(t, "attacks fire alerts", func() error {
		return missing("PosternCredentialStuffing", "PosternRefreshTokenReused", "PosternTokensMostlyRefused")
	})
	redis.Stop()
	provider.down.Store(true)
	eventually(t, "outages fire the other alerts", func() error { return missing(all...) })
	left := dashboardQueries(t)
	eventually(t, "every query of the dashboards returns data", func() error {
		left = slices.DeleteFunc(left, func(query string) bool {
			found, err := p.query(query)
			return err == nil && len(found) > 0
		})
		if len(left) > 0 {
			return fmt.Errorf("these return nothing: %s", strings.Join(left, "\n"))
		}
		return nil
	})
	stub.down.Store(true)
	eventually(t, "an operator that is down fires its alert", func() error { return missing("PosternOperatorDown") })

	redis.Restart()
	provider.down.Store(false)
	stub.down.Store(false)
	stub.bad.Store(false)
	clients.attack.Store(false)
	eventually(t, "all alerts resolve", func() error { return wantFiring(p, nil) })
}

func wantFiring(p *prometheus, want []string) error {
	now, err := p.firing()
	if err == nil && len(now) != len(want) {
		err = fmt.Errorf("alerts %v fire; want %v", now, want)
	}
	return err
}

// dashboardQueries returns every query of the chart's dashboards, with the values of their variables.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chart, "files", "dashboards", "*.json"))
	if err != nil || len(files) != 3 {
		t.Fatalf("dashboards %q, %v; want 3", files, err)
	}
	values := strings.NewReplacer("$namespace", ".*", "$policy", ".*", "$__rate_interval", window, "$__range", window)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Templating struct {
				List []struct{ Definition string }
			}
			Panels []struct{ Targets []struct{ Expr string } }
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		for _, v := range d.Templating.List {
			if metric, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
				queries = append(queries, values.Replace(metric[:strings.LastIndex(metric, ",")]))
			}
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				queries = append(queries, values.Replace(target.Expr))
			}
		}
	}
	if len(queries) < 60 {
		t.Fatalf("%d queries", len(queries))
	}
	return queries
}

// tick is the pause between the requests of a client.
const tick = 100 * time.Millisecond

// startClients sends what users send, and during an attack also what attackers send, until the test ends.
func startClients(t *testing.T, s *sidecar) *clients {
	t.Helper()
	c, ended := &clients{s: s}, make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer close(ended)
		for i := 0; ctx.Err() == nil; i++ {
			c.round(i)
			time.Sleep(tick)
		}
	}()
	t.Cleanup(func() { stop(); <-ended })
	return c
}
