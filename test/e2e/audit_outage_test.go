//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/api/compiled"
)

const droppedTotal = "postern_audit_dropped_total"

// creating is load whose requests create a user, so that each one that succeeds is one record.
type creating struct {
	t      *testing.T
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu sync.Mutex
	// created and refused are responses with 201, and with 503 audit-unavailable, by URL. broken are requests to which
	// the app did not respond, so that nobody knows whether there is a record.
	created, refused, broken map[string]int
	wrong                    []string
	// dropped is what the pods had dropped before, by URL.
	dropped map[string]int
}

// create201 sends requests to each of the URLs, as many as it responds to, until the load is stopped.
func (s *shop) create201(t *testing.T, token string, urls ...string) *creating {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &creating{t: t, cancel: cancel, created: map[string]int{}, refused: map[string]int{}, broken: map[string]int{}, dropped: map[string]int{}}
	for _, url := range urls {
		c.dropped[url] = int(metric(t, url, droppedTotal, ""))
		for range 3 {
			c.done.Go(func() { c.work(ctx, url, token) })
		}
	}
	t.Cleanup(func() { cancel(); c.done.Wait() })
	return c
}

// longUser is long, so that few records fill a spool.
var longUser = `{"name":"` + strings.Repeat("Linus ", 500) + `","email":"linus@example.com","role":"member"}`

func (c *creating) work(ctx context.Context, url, token string) {
	client := newHTTPClient(true)
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		got, err := sendBy(c.t, client, http.MethodPost, url+"/users", longUser,
			bearer(token), "Content-Type: application/json", "User-Agent: "+firefox)
		if c.note(url, got, err) {
			continue
		}
		select { // a refused client waits, if only shortly
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// note reports whether the request was served.
func (c *creating) note(url string, got response, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.broken[url]++
	case got.status == http.StatusCreated:
		c.created[url]++
		return true
	case got.status == http.StatusBadGateway: // the app has ended
		c.broken[url]++
	case got.status == http.StatusServiceUnavailable && problemIs(got, "session-unavailable"): // a busy machine: Redis was slow
	case got.status == http.StatusServiceUnavailable && problemIs(got, "audit-unavailable") && got.header.Get("Retry-After") != "":
		c.refused[url]++
	default:
		c.wrong = append(c.wrong, fmt.Sprintf("%s: %d %.200q", url, got.status, got.body))
	}
	return false
}

// more waits until each URL has n more of what of selects.
func (c *creating) more(what string, n int, of func() map[string]int, urls ...string) {
	c.t.Helper()
	read := func(url string) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return of()[url]
	}
	from := map[string]int{}
	for _, url := range urls {
		from[url] = read(url)
	}
	eventually(c.t, "waiting for requests that are "+what, func() error {
		for _, url := range urls {
			if have := read(url) - from[url]; have < n {
				return fmt.Errorf("%s: %d of %d", url, have, n)
			}
		}
		return nil
	})
}

func (c *creating) moreCreated(n int, urls ...string) {
	c.t.Helper()
	c.more("served", n, func() map[string]int { return c.created }, urls...)
}

func (c *creating) moreRefused(n int, urls ...string) {
	c.t.Helper()
	c.more("refused", n, func() map[string]int { return c.refused }, urls...)
}

// stop stops the load, and fails the test on responses that it does not expect.
func (c *creating) stop() {
	c.t.Helper()
	c.cancel()
	c.done.Wait()
	for _, w := range c.wrong[:min(len(c.wrong), 5)] {
		c.t.Errorf("a response: %s", w)
	}
}

func total(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// metric returns the sum of a metric of a pod over its labels. A label, as name="value", selects some.
func metric(t *testing.T, url, name, label string) (sum float64) {
	t.Helper()
	got := get(t, strings.Replace(url, strconv.Itoa(appPort), strconv.Itoa(int(compiled.AdminPort)), 1)+"/metrics").wantStatus(t, http.StatusOK)
	lines := bufio.NewScanner(strings.NewReader(got.body))
	for lines.Scan() {
		labels, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), name), " ")
		if !ok || !strings.HasPrefix(lines.Text(), name) || labels != "" && labels[0] != '{' || !strings.Contains(labels, label) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		sum += v
	}
	return sum
}

// creations returns the number of rows of this load since a time.
func (d *auditDatabase) creations(t *testing.T, from time.Time) int {
	t.Helper()
	return d.number(t, "SELECT count(*) FROM audit_logs WHERE action = 'CREATE' AND outcome = 'success' AND time >= $1", from)
}

// accounted waits until the trail has each request that was served, or has counted its record as dropped.
func (s *auditedShop) accounted(t *testing.T, what string, from time.Time, c *creating) {
	t.Helper()
	created, refused, broken := total(c.created), total(c.refused), total(c.broken)
	var have, dropped int
	eventually(t, "waiting for the rows", func() error {
		have, dropped = s.creations(t, from), 0
		for _, url := range s.urls {
			dropped += int(metric(t, url, droppedTotal, "")) - c.dropped[url]
		}
		if have+dropped != created || broken != 0 {
			return fmt.Errorf("%d rows and %d dropped, of %d requests that were served and %d without a response", have, dropped, created, broken)
		}
		return nil
	})
	eventually(t, "waiting for what the trail says of dropped records", func() error {
		said := s.number(t, "SELECT coalesce(sum(coalesce((record::json->>'count')::int, 1)), 0) FROM audit_logs WHERE action = 'audit_dropped' AND time >= $1", from)
		if said != dropped {
			return fmt.Errorf("it says %d, and the metric %d", said, dropped)
		}
		return nil
	})
	measured(t, "audit, %s: %d requests served = %d rows + %d dropped (%d refused with 503)", what, created, have, dropped, refused)
	s.settled(t)
	s.verified(t)
}

// settled waits until all sinks have everything, with checkpoints.
func (s *auditedShop) settled(t *testing.T) {
	t.Helper()
	eventually(t, "waiting for the sinks", func() error {
		for _, url := range s.urls {
			if n := metric(t, url, "postern_audit_pending_items", ""); n != 0 {
				return fmt.Errorf("%s: %v items", url, n)
			}
		}
		if n := s.number(t, "SELECT count(*) FROM (SELECT writer, max(seq) AS last FROM audit_logs GROUP BY writer) w WHERE last > (SELECT max(size) FROM audit_checkpoints c WHERE c.writer = w.writer)"); n > 0 {
			return fmt.Errorf("%d writers have records after their last checkpoint", n)
		}
		return nil
	})
}

// testDatabaseOutage: PostgreSQL stops under load, until the spools of both pods are full and requests are refused, and starts again.
func (s *auditedShop) testDatabaseOutage(t *testing.T) {
	token := s.mustLogin(t, s.urls[0], "otto", firefox).Access
	began := time.Now()
	c := s.create201(t, token, s.urls...)
	c.moreCreated(50, s.urls...)
	s.Stop()
	c.moreRefused(5, s.urls...)
	for _, url := range s.urls {
		get(t, url+"/public/x").wantStatus(t, http.StatusServiceUnavailable)
		if used, limit := metric(t, url, "postern_audit_spool_bytes", ""), metric(t, url, "postern_audit_spool_limit_bytes", ""); used < limit/2 || used > limit || limit != 1<<20 {
			t.Errorf("the full spool has %v of %v bytes", used, limit)
		}
	}
	s.Restart(t)
	c.moreCreated(50, s.urls...)
	c.stop()
	s.accounted(t, "PostgreSQL stopped and started under load", began, c)
}

// testDrops: with onFailure: Allow, requests are served while the spools are full, and their records are dropped and counted.
func (s *auditedShop) testDrops(t *testing.T) {
	base := s.shop.in(t)
	base.apply(audited, "CLASS", s.shop.name, "KEY", s.shop.name, "onFailure: Deny", "onFailure: Allow")
	base.enforced("accounts", 2)
	token := s.mustLogin(t, s.urls[0], "otto", firefox).Access
	began := time.Now()
	c := s.create201(t, token, s.urls...)
	c.moreCreated(50, s.urls...)
	s.Stop()
	eventually(t, "waiting for full spools", func() error {
		for _, url := range s.urls {
			if n := metric(t, url, droppedTotal, ""); n < 20 {
				return fmt.Errorf("%s has dropped %v", url, n)
			}
		}
		return nil
	})
	s.Restart(t)
	c.moreCreated(50, s.urls...)
	c.stop()
	s.accounted(t, "the same with onFailure: Allow", began, c)
	base.apply(audited, "CLASS", s.shop.name, "KEY", s.shop.name)
	base.enforced("accounts", 2)
}

// writers returns the accounts that Vault has made for the pods.
func (s *auditedShop) writers(t *testing.T) []string {
	t.Helper()
	return query(t, s.auditDatabase, pgx.RowTo[string], "SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY 1")
}

// testLease: the accounts of both pods are revoked under load. They get new ones.
func (s *auditedShop) testLease(t *testing.T) {
	token := s.mustLogin(t, s.urls[1], "otto", firefox).Access
	began, before := time.Now(), s.writers(t)
	c := s.create201(t, token, s.urls...)
	c.moreCreated(50, s.urls...)
	s.auditDatabase.vault.write(t, "sys/leases/revoke-prefix/"+s.credentials(), map[string]any{"sync": true})
	revoked := time.Now()
	eventually(t, "waiting for new accounts", func() error {
		now := s.writers(t)
		if len(now) < len(s.urls) || slices.ContainsFunc(now, func(name string) bool { return slices.Contains(before, name) }) {
			return fmt.Errorf("there are %v; before there were %v", now, before)
		}
		return nil
	})
	measured(t, "audit: after all accounts were revoked in Vault, both pods have new ones within %s", since(revoked))
	c.moreCreated(50, s.urls...)
	c.stop()
	s.accounted(t, "accounts revoked under load", began, c)
}

// testPodDeleted: PostgreSQL does not reply while a pod under load is deleted, and then does. The pod delivers its rest before it ends.
func (s *auditedShop) testPodDeleted(t *testing.T) {
	gone := s.pods("accounts")[0]
	url := podURL(&gone, appPort)
	token := s.mustLogin(t, url, "otto", firefox).Access
	began := time.Now()
	c := s.create201(t, token, url)
	c.moreCreated(50, url)
	s.Pause(t)
	c.moreCreated(100, url)
	waiting := metric(t, url, "postern_audit_pending_items", `sink="PostgreSQL"`)
	if _, err := kubectl("delete", "pod", "-n", s.shop.name, gone.Name, "--wait=false"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "waiting for the pod to stop serving", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.broken[url] == 0 {
			return errors.New("it serves")
		}
		return nil
	})
	s.Resume(t)
	c.stop()
	if _, err := kubectl("wait", "-n", s.shop.name, "--for=delete", "pod/"+gone.Name, "--timeout=120s"); err != nil {
		t.Error(err)
	}
	have, created := s.creations(t, began), total(c.created)
	if waiting == 0 || have < created || have > created+total(c.broken) {
		t.Errorf("%d rows of %d requests that were served; %v items waited when the pod was deleted", have, created, waiting)
	}
	measured(t, "audit, a pod deleted while PostgreSQL did not reply: %d requests served = %d rows (%v items waited, %d requests without a response)", created, have, waiting, total(c.broken))
	s.rolledOut("accounts")
	s.findPods()
	s.settled(t)
	s.verified(t)
}
