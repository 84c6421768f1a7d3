package status

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

const hash = "sha256:aa"

var deployment = Workload{Kind: Deployment, Name: "orders"}

func good(name string) Pod {
	return Pod{Name: name, Workload: deployment, Governor: "orders", Bound: "orders", Report: &compiled.Report{Hash: hash}}
}

func changed(name string, change func(*Pod)) Pod {
	p := good(name)
	change(&p)
	return p
}

func input(pods ...Pod) Input {
	return Input{
		Policy: &v1alpha1.SecurityPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", Generation: 7},
			Spec:       v1alpha1.SecurityPolicySpec{Mode: v1alpha1.ModeEnforce},
		},
		Class:            &v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{Name: "default"}},
		NamespaceEnabled: true, Document: hash, Pods: pods, Now: time.Unix(1e9, 0),
	}
}

func TestOf(t *testing.T) {
	tests := map[string]struct {
		in                                         Input
		mutate                                     func(*Input)
		wantAccepted, wantProgrammed, wantEnforced string
		wantMessage                                string // of Enforced
		wantMatched, wantInjected, wantCurrent     int32
	}{
		"proved": {
			in: input(good("a"), good("b")), wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed",
			wantEnforced: "True/Enforced", wantMessage: "2 pods enforce this document", wantMatched: 2, wantInjected: 2, wantCurrent: 2,
		},
		"no pods": {
			in: input(), wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "Unknown/NoPods",
		},
		"shadow": {
			in: input(good("a")), mutate: func(in *Input) { in.Policy.Spec.Mode = v1alpha1.ModeShadow },
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/Shadow",
			wantMatched: 1, wantInjected: 1, wantCurrent: 1,
		},
		"pods without sidecar": {
			in: input(changed("orders-abc", func(p *Pod) { p.Bound, p.Report = "", nil }),
				changed("orders-def", func(p *Pod) { p.Bound, p.Report = "", nil })),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/PodsWithoutSidecar",
			wantMessage: "2 pods run without a sidecar: orders-abc, orders-def; restart the workload: kubectl rollout restart deployment/orders -n shop",
			wantMatched: 2,
		},
		"bare pod without sidecar": {
			in:           input(changed("a", func(p *Pod) { p.Bound, p.Report, p.Workload = "", nil, Workload{} })),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/PodsWithoutSidecar",
			wantMessage: "delete the pod and create it again", wantMatched: 1,
		},
		"an altered sidecar": {
			in:           input(changed("a", func(p *Pod) { p.Altered = "its container postern has the image \"x\"" }), good("b")),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/SidecarAltered",
			wantMessage: "1 pod has a sidecar that the operator did not inject (its container postern has the image \"x\"): a; restart the workload",
			wantMatched: 2, wantInjected: 2, wantCurrent: 1,
		},
		"rules that were deleted": {
			in:           input(changed("a", func(p *Pod) { p.Report = &compiled.Report{Hash: hash, Unredirected: true} }), good("b")),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/RedirectMissing",
			wantMessage: "1 pod has lost the rules that redirect traffic to the sidecar: a; restart the workload",
			wantMatched: 2, wantInjected: 2, wantCurrent: 2,
		},
		"a silent sidecar": {
			in:           input(changed("a", func(p *Pod) { p.Silent = true }), good("b")),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/ReportTooOld",
			wantMessage: "1 sidecar stopped reporting: a; look at the logs of its container postern",
			wantMatched: 2, wantInjected: 2, wantCurrent: 1,
		},
		"an app that cannot bind its port": {
			in:           input(changed("a", func(p *Pod) { p.Failing = "app" }), good("b")),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/AppFailing",
			wantMessage: "1 pod keeps failing: a; see its logs; under Takeover the sidecar listens on the app's port",
			wantMatched: 2, wantInjected: 2, wantCurrent: 2,
		},
		"stale settings": {
			in:           input(changed("a", func(p *Pod) { p.Stale = true })),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/PodsOutdated",
			wantMessage: "restart the workload", wantMatched: 1, wantInjected: 1, wantCurrent: 1,
		},
		"earlier document": {
			in:           input(changed("a", func(p *Pod) { p.Report = &compiled.Report{Hash: "sha256:bb"} })),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/PodsOutdated",
			wantMatched: 1, wantInjected: 1,
		},
		"no report yet": {
			in:           input(changed("a", func(p *Pod) { p.Report = nil })),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/PodsOutdated",
			wantMatched: 1, wantInjected: 1,
		},
		"bound to another policy": {
			in:           input(changed("a", func(p *Pod) { p.Bound = "other" })),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/PodsOutdated",
			wantMessage: "restart the workload", wantMatched: 1, wantInjected: 1,
		},
		"reachable around, although the document is current": {
			in:           input(changed("a", func(p *Pod) { p.Report.Reachable = []string{"0.0.0.0:9\x1b[2J"} })),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/ReachableAround",
			wantMessage: "0.0.0.0:9?[2J", wantMatched: 1, wantInjected: 1, wantCurrent: 1,
		},
		"refused": {
			in: input(changed("a", func(p *Pod) {
				p.Report = &compiled.Report{Hash: "sha256:bb", Refused: hash, Error: "bad\x07pattern"}
			})),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/RefusedBySidecar",
			wantMessage: "bad?pattern", wantMatched: 1, wantInjected: 1,
		},
		"refused, a restart helps": {
			in: input(changed("a", func(p *Pod) {
				p.Stale, p.Report = true, &compiled.Report{Hash: "sha256:bb", Refused: hash, Error: "no token file"}
			})),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/PodsOutdated",
			wantMessage: "restart the workload", wantMatched: 1, wantInjected: 1,
		},
		"refused an earlier one": {
			in:           input(changed("a", func(p *Pod) { p.Report = &compiled.Report{Hash: "sha256:bb", Refused: "sha256:cc"} })),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/PodsOutdated",
			wantMatched: 1, wantInjected: 1,
		},
		"worst first": {
			in: input(changed("a", func(p *Pod) { p.Bound = "" }),
				changed("b", func(p *Pod) { p.Report = &compiled.Report{Hash: hash, Reachable: []string{"[::]:80"}} })),
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/ReachableAround",
			wantMessage: "1 pod runs without a sidecar", wantMatched: 2, wantInjected: 1, wantCurrent: 1,
		},
		"conflicted": {
			in:           input(good("b"), changed("a", func(p *Pod) { p.Governor = "base" })),
			mutate:       func(in *Input) { in.Conflict = &Conflict{Older: "base", Pod: "a"} },
			wantAccepted: "False/Conflicted", wantProgrammed: "True/Programmed", wantEnforced: "False/Conflicted",
			wantMessage: `1 pod is governed by the older policy "base": a; change the selector of one of the two policies`,
			wantMatched: 2, wantInjected: 2, wantCurrent: 2,
		},
		"invalid, with an earlier document": {
			in: input(good("a")),
			mutate: func(in *Input) {
				in.Findings = []compile.Finding{{Severity: compile.Error, Field: "spec.x", Message: "is wrong"}}
			},
			wantAccepted: "False/Invalid", wantProgrammed: "False/NotAccepted", wantEnforced: "False/NotProgrammed",
			wantMessage: "All pods, including new ones, run the last good document", wantMatched: 1, wantInjected: 1, wantCurrent: 1,
		},
		"invalid, without a document": {
			in: input(),
			mutate: func(in *Input) {
				in.Document = ""
				in.Findings = []compile.Finding{{Severity: compile.Error, Field: "spec.x", Message: "is wrong"}}
			},
			wantAccepted: "False/Invalid", wantProgrammed: "False/NotAccepted", wantEnforced: "False/NotProgrammed",
			wantMessage: "No document was ever written",
		},
		"warnings are accepted": {
			in: input(good("a")),
			mutate: func(in *Input) {
				in.Findings = []compile.Finding{{Severity: compile.Warning, Field: "spec.x", Message: "is odd"}}
			},
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "True/Enforced",
			wantMatched: 1, wantInjected: 1, wantCurrent: 1,
		},
		"class missing": {
			in:           input(),
			mutate:       func(in *Input) { in.Class, in.ClassError = nil, errors.New("not found") },
			wantAccepted: "False/SidecarClassNotFound", wantProgrammed: "False/NotAccepted", wantEnforced: "False/NotProgrammed",
		},
		"namespace not labelled": {
			in:           input(good("a")),
			mutate:       func(in *Input) { in.NamespaceEnabled = false },
			wantAccepted: "True/Accepted", wantProgrammed: "False/InjectionDisabled", wantEnforced: "False/NotProgrammed",
			wantMessage: "kubectl label namespace shop postern.dev/injection=enabled", wantMatched: 1, wantInjected: 1, wantCurrent: 1,
		},
		"write failed": {
			in:           input(good("a")),
			mutate:       func(in *Input) { in.WriteError = errors.New("no route") },
			wantAccepted: "True/Accepted", wantProgrammed: "False/Pending", wantEnforced: "False/NotProgrammed",
			wantMessage: "no route", wantMatched: 1, wantInjected: 1, wantCurrent: 1,
		},
		"note of the automatic rollout": {
			in:           input(changed("a", func(p *Pod) { p.Bound, p.Report = "", nil })),
			mutate:       func(in *Input) { in.Rollout = map[Workload]string{deployment: "the operator restarts it"} },
			wantAccepted: "True/Accepted", wantProgrammed: "True/Programmed", wantEnforced: "False/PodsWithoutSidecar",
			wantMessage: "a; the operator restarts it", wantMatched: 1,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.mutate != nil {
				tt.mutate(&tt.in)
			}
			got := Of(tt.in)
			for kind, want := range map[string]string{"Accepted": tt.wantAccepted, "Programmed": tt.wantProgrammed, "Enforced": tt.wantEnforced} {
				c := condition(t, got, kind)
				if have := string(c.Status) + "/" + c.Reason; have != want {
					t.Errorf("%s is %s (%s), want %s", kind, have, c.Message, want)
				}
				if c.ObservedGeneration != 7 || c.Message == "" {
					t.Errorf("%s has generation %d and message %q", kind, c.ObservedGeneration, c.Message)
				}
			}
			if m := condition(t, got, "Enforced").Message; !strings.Contains(m, tt.wantMessage) {
				t.Errorf("Enforced says %q, want %q in it", m, tt.wantMessage)
			}
			if p := got.Pods; p.Matched != tt.wantMatched || p.Injected != tt.wantInjected || p.Current != tt.wantCurrent {
				t.Errorf("counts are %+v", p)
			}
		})
	}
}

func TestSharedState(t *testing.T) {
	in := input()
	if c := condition(t, Of(in), "SharedState"); c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonInProcess {
		t.Errorf("without Redis: %+v", c)
	}
	in.Class.Spec.Redis = &v1alpha1.Redis{}
	if c := condition(t, Of(in), "SharedState"); c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonRedis {
		t.Errorf("with Redis: %+v", c)
	}
}

func TestTransitionTimeStays(t *testing.T) {
	in := input(good("a"))
	in.Policy.Status = Of(in)
	in.Now = in.Now.Add(time.Hour)
	if diff := cmp.Diff(in.Policy.Status, Of(in)); diff != "" {
		t.Errorf("only the time changed, but the status did, too:\n%s", diff)
	}
}

// TestGolden compares the whole status of a policy with every kind of offender.
func TestGolden(t *testing.T) {
	in := input(good("orders-1"),
		changed("orders-2", func(p *Pod) { p.Bound, p.Report = "", nil }),
		changed("orders-3", func(p *Pod) { p.Report = &compiled.Report{Hash: hash, Reachable: []string{"10.0.0.7:9090"}} }),
		changed("orders-4", func(p *Pod) { p.Report = &compiled.Report{Hash: "sha256:bb", Refused: hash, Error: "no such key"} }),
		changed("orders-5", func(p *Pod) { p.Stale = true }),
		changed("orders-6", func(p *Pod) { p.Governor = "base" }),
		changed("orders-7", func(p *Pod) { p.Report = nil }))
	in.Conflict = &Conflict{Older: "base", Pod: "orders-6"}
	got, err := yaml.Marshal(Of(in))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "offenders.yaml")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the status changed (UPDATE_GOLDEN=1 accepts it):\n%s", diff)
	}
}

func condition(t *testing.T, s v1alpha1.SecurityPolicyStatus, kind string) metav1.Condition {
	t.Helper()
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	t.Fatalf("there is no condition %s", kind)
	return metav1.Condition{}
}
