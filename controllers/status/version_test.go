package status

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestSidecarTooOld checks that the status names the feature, the pods and the remedy. A restart does not help if the class names
// an old image.
func TestSidecarTooOld(t *testing.T) {
	schema := compiled.Schema{
		{Name: "spec.compression", Version: 2, Used: func(p *compiled.Policy) bool { return p.Compression != nil }},
		{Name: "spec.cors", Version: 3, Used: func(p *compiled.Policy) bool { return p.CORS != nil }},
	}
	reads := func(version int, stale bool) func(*Pod) {
		return func(p *Pod) {
			p.Stale, p.Report = stale, &compiled.Report{Hash: "sha256:old", SchemaVersion: version, Version: "0.1.0\x07"}
		}
	}
	tests := map[string]struct {
		pods []Pod
		// wantReason and wantTexts are those of Enforced.
		wantReason string
		wantTexts  []string
	}{
		"a restart helps": {
			[]Pod{changed("a", reads(1, true)), changed("b", reads(1, true)), good("c")}, "SidecarTooOld",
			[]string{"2 pods have sidecars older than what the policy uses (spec.compression, spec.cors)", ": a, b; ", "restart the workload: kubectl rollout restart deployment/orders -n shop"},
		},
		"the class's image is too old": {
			[]Pod{changed("a", reads(2, false))}, "SidecarTooOld",
			[]string{"(spec.cors)", "name a newer sidecar in spec.image of the SidecarClass, and then restart the workload: kubectl rollout restart deployment/orders -n shop"},
		},
		"it has no document": {
			[]Pod{changed("a", func(p *Pod) { p.Report = &compiled.Report{SchemaVersion: 1} })}, "SidecarTooOld", []string{"responds to every request with 503"},
		},
		"it has not reported": {[]Pod{changed("a", func(p *Pod) { p.Report = nil })}, "PodsOutdated", []string{"1 pod does not run"}},
		"it reads the newest": {[]Pod{changed("a", reads(3, false))}, "PodsOutdated", []string{"1 pod does not run"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := input(tt.pods...)
			in.Schema = schema
			in.Compiled = &compiled.Policy{SchemaVersion: 3, Compression: &compiled.Compression{}, CORS: &compiled.CORS{}}
			in.Pods = append([]Pod{}, tt.pods...)
			for i := range in.Pods {
				if in.Pods[i].Name == "c" {
					in.Pods[i].Report = &compiled.Report{Hash: hash, SchemaVersion: 3}
				}
			}
			got := Of(in)
			c := condition(t, got, "Enforced")
			if c.Reason != tt.wantReason {
				t.Fatalf("Enforced is %s: %s", c.Reason, c.Message)
			}
			for _, want := range tt.wantTexts {
				if !strings.Contains(c.Message, want) {
					t.Errorf("Enforced says %q, want %q in it", c.Message, want)
				}
			}
			if o := got.Pods.Offenders[0]; tt.pods[0].Report != nil && tt.pods[0].Report.Hash == "sha256:old" && tt.wantReason == "SidecarTooOld" && (!strings.Contains(o.Message, "version 0.1.0?") || !strings.Contains(o.Message, "still applies revocations")) {
				t.Errorf("the first offender is %+v", o)
			}
		})
	}
}
