package telemetry

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/posterndev/postern/sidecar/telemetry/collectortest"
)

func openLogs(t testing.TB, e Endpoint) *Logs {
	t.Helper()
	e.Retry = time.Millisecond
	l, err := NewLogs(LogsConfig{Endpoint: e, Identity: Identity{Service: "postern-orders", Namespace: "shop", Pod: "orders-0"}, Metrics: newMetrics(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func records(c *collectortest.Collector) (all []*logspb.LogRecord) {
	for _, r := range c.Logs() {
		for _, s := range r.ScopeLogs {
			all = append(all, s.LogRecords...)
		}
	}
	return all
}

// TestLogs: a record arrives as it is, and Export returns when it has.
func TestLogs(t *testing.T) {
	for _, protocol := range []Protocol{GRPC, HTTP} {
		t.Run(string(protocol), func(t *testing.T) {
			collector := collectortest.Start(t, protocol == HTTP, nil)
			l := openLogs(t, endpoint(collector, protocol))
			at := time.Unix(1700000000, 123456000)
			const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
			done, err := l.Export(t.Context(), []Record{
				{Time: at, Severity: Warn, Body: []byte(`{"action":"login"}`), Name: "postern.audit", TraceID: traceID}, {Time: at, Severity: Info, Body: []byte("2"), TraceID: "nope"},
			})
			if err != nil || done != (Result{Done: 2}) {
				t.Fatalf("%+v, %v", done, err)
			}
			got := records(collector)
			if len(got) != 2 {
				t.Fatalf("%d records", len(got))
			}
			first := got[0]
			if first.Body.GetStringValue() != `{"action":"login"}` || first.TimeUnixNano != uint64(at.UnixNano()) || first.SeverityText != "WARN" ||
				first.SeverityNumber != logspb.SeverityNumber_SEVERITY_NUMBER_WARN || hex.EncodeToString(first.TraceId) != traceID || first.EventName != "postern.audit" {
				t.Errorf("record %v", first)
			}
			if len(got[1].TraceId) != 0 {
				t.Errorf("an invalid trace id is sent: %v", got[1])
			}
			found := ""
			for _, a := range collector.Logs()[0].Resource.Attributes {
				found += a.Key + "=" + a.Value.GetStringValue() + " "
			}
			for _, want := range []string{"service.name=postern-orders ", "k8s.namespace.name=shop ", "k8s.pod.name=orders-0 "} {
				if !strings.Contains(found, want) {
					t.Errorf("resource %s; want %s", found, want)
				}
			}
		})
	}
}

// TestLogsArriveAtLeastOnce: what is reported as done has arrived, whatever the collector does in the middle.
func TestLogsArriveAtLeastOnce(t *testing.T) {
	for _, protocol := range []Protocol{GRPC, HTTP} {
		t.Run(string(protocol), func(t *testing.T) {
			collector := collectortest.Start(t, protocol == HTTP, nil)
			l := openLogs(t, endpoint(collector, protocol))
			l.most = 100
			var all []Record
			for i := range 50 {
				all = append(all, Record{Time: time.Unix(int64(i), 0), Severity: Info, Body: []byte(strings.Repeat("x", 30))})
			}
			code := codes.Unavailable
			if protocol == HTTP {
				code = 503
			}
			collector.Fail(status.Error(code, ""), status.Error(code, ""))
			collector.Stop()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			done, err := l.Export(ctx, all)
			cancel()
			if err == nil || done.Done != 0 {
				t.Fatalf("without a collector: %+v, %v", done, err)
			}
			collector.Restart(t)
			for left := all; len(left) > 0; left = left[done.Done:] {
				if done, err = l.Export(t.Context(), left); err != nil {
					t.Log(err)
				}
			}
			seen := map[uint64]bool{}
			for _, r := range records(collector) {
				seen[r.TimeUnixNano] = true
			}
			if len(seen) != len(all) {
				t.Errorf("%d of %d records arrived", len(seen), len(all))
			}
		})
	}
}

// TestRefusedLogs: a rejection of some records is no error, and is not repeated. A refusal is an error that says so.
func TestRefusedLogs(t *testing.T) {
	collector := collectortest.Start(t, false, nil)
	l := openLogs(t, endpoint(collector, GRPC))
	two := []Record{{Body: []byte("1")}, {Body: []byte("2")}}
	collector.Reject(1)
	done, err := l.Export(t.Context(), two)
	if err != nil || done != (Result{Done: 2, Rejected: 1, Reason: "too old?"}) || len(records(collector)) != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	collector.Reject(99)
	if done, err = l.Export(t.Context(), two); err != nil || done.Rejected != 2 {
		t.Errorf("more rejections than records: %+v, %v", done, err)
	}
	collector.Fail(status.Error(codes.PermissionDenied, "a secret"))
	var refused *RefusedError
	if done, err = l.Export(t.Context(), two); !errors.As(err, &refused) || done.Done != 0 || strings.Contains(err.Error(), "secret") {
		t.Errorf("%+v, %v", done, err)
	}
}
