package chain

import (
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/audit/otlpsink"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/stream"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/telemetry/collectortest"
)

// TestAuditByCollectorAndStream: a collector and a stream in Redis get the same trail, also if they are away at first.
func TestAuditByCollectorAndStream(t *testing.T) {
	t.Parallel()
	server, collector := redistest.Start(t, redistest.Options{}), collectortest.Start(t, false, nil)
	collector.Stop()
	w := newWorld(t)
	shared := w.sharedBy(resources.Config{})
	s := w.sidecarOf(shared, w.audited(func(p *compiled.Policy) {
		onRedis(p, server.Addr)
		p.Audit.Sinks, p.Audit.RetainDays = []string{compiled.AuditOTLP, compiled.AuditPostgreSQL}, 400
		p.Database = &compiled.Database{Via: compiled.ViaRedisStream}
		p.Telemetry = &compiled.Telemetry{OTLP: &compiled.OTLP{Endpoint: collector.Addr(), Protocol: compiled.OTLPGRPC}}
	})).ready()
	ada := s.login("ada")
	collector.Restart(t)
	s.send(sent{method: "POST", path: "/auth/logout", bearer: ada.access})
	s.snapshot.Load().Close()
	shared.Close()
	want := []string{"policy_activated success", "login success ada", "session_ended success ada", "logout success ada"}

	exported := checkTrail(t)
	for _, r := range collector.Logs() {
		for _, l := range r.ScopeLogs[0].LogRecords {
			kind := spool.Record
			if l.EventName == otlpsink.CheckpointEvent {
				kind = spool.Checkpoint
			}
			if err := exported.item(spool.Item{Kind: kind, Payload: []byte(l.Body.GetStringValue())}); err != nil {
				t.Fatal(err)
			}
		}
	}
	exported.finish(want...)

	streamed := checkTrail(t)
	messages, err := server.Client().XRange(t.Context(), stream.Key("shop"), "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		e, err := stream.Decode(m.Values)
		if err != nil || e.RetainDays != 400 {
			t.Fatalf("%v %+v", err, e)
		}
		if err := streamed.item(e.Item); err != nil {
			t.Fatal(err)
		}
	}
	streamed.finish(want...)
}
