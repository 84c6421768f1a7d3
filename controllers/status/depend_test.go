package status

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// issuing returns the input for those pods and a policy that signs with Transit and uses Redis.
func issuing(pods ...Pod) Input {
	in := input(pods...)
	in.Policy.Spec.Tokens = &v1alpha1.Tokens{}
	in.Compiled = &compiled.Policy{Tokens: &compiled.Tokens{SigningKey: compiled.SigningKey{Transit: &compiled.TransitKey{}}}}
	in.Class.Spec.Redis = &v1alpha1.Redis{}
	return in
}

// troubled returns a pod whose sidecar runs the document and reports problems, each as kind/reason/message.
func troubled(name string, problems ...string) Pod {
	return changed(name, func(p *Pod) {
		for _, text := range problems {
			parts := strings.SplitN(text, "/", 3)
			p.Report.Problems = append(p.Report.Problems, compiled.Problem{Kind: parts[0], Reason: parts[1], Message: parts[2]})
		}
	})
}

func TestDependencies(t *testing.T) {
	without := func(p *Pod) { p.Bound, p.Report = "", nil }
	tests := map[string]struct {
		in                            Input
		wantVault, wantKey, wantRedis string
		wantMessage                   string // in one of the three conditions
	}{
		"no problems": {
			in: issuing(good("a"), changed("b", without)), wantVault: "True/Ready", wantKey: "True/Ready", wantRedis: "True/Redis",
			wantMessage: "1 sidecar is able to use Vault",
		},
		"a sidecar that runs another document": {
			in:        issuing(changed("a", func(p *Pod) { p.Report.Hash = "sha256:before" })),
			wantVault: "Unknown/NoReport", wantKey: "Unknown/NoReport", wantRedis: "True/Redis",
		},
		"a sidecar that runs another document, and a problem": {
			in:        issuing(changed("a", func(p *Pod) { p.Report.Hash = "sha256:before" }), troubled("b", "Vault/Sealed/unseal it")),
			wantVault: "False/Sealed", wantKey: "True/Ready", wantRedis: "True/Redis",
		},
		"no pods":         {in: issuing(), wantVault: "Unknown/NoReport", wantKey: "Unknown/NoReport", wantRedis: "True/Redis"},
		"no report yet":   {in: issuing(changed("a", without)), wantVault: "Unknown/NoReport", wantKey: "Unknown/NoReport", wantRedis: "True/Redis"},
		"Vault is sealed": {in: issuing(good("a"), troubled("b", "Vault/Sealed/unseal it")), wantVault: "False/Sealed", wantKey: "True/Ready", wantRedis: "True/Redis", wantMessage: "1 sidecar reports Sealed: b (unseal it)"},
		"several problems, the most severe first": {
			in:        issuing(troubled("b", "Vault/Throttled/too much"), troubled("a", "Vault/WrongRole/no role"), troubled("c", "Vault/WrongRole/x", "Vault/WrongRole/y")),
			wantVault: "False/WrongRole", wantKey: "True/Ready", wantRedis: "True/Redis",
			wantMessage: "2 sidecars report WrongRole: a, c (no role). 1 sidecar reports Throttled: b (too much)",
		},
		"an unknown reason, and control characters": {
			in:        issuing(troubled("a", "Vault/Ready/\x1b[2J"+strings.Repeat("x", 400))),
			wantVault: "False/Unreachable", wantKey: "True/Ready", wantRedis: "True/Redis",
			wantMessage: "1 sidecar reports Unreachable: a (Ready: ?[2J" + strings.Repeat("x", 245) + "…)",
		},
		"no key": {
			in: issuing(troubled("a", "SigningKey/Unavailable/no key"), troubled("b", "SigningKey/RotationDue/since May")), wantVault: "True/Ready",
			wantKey: "False/Unavailable", wantRedis: "True/Redis", wantMessage: "1 sidecar reports RotationDue: b (since May)",
		},
		"a key that is due": {
			in: issuing(troubled("a", "SigningKey/RotationDue/since May")), wantVault: "True/Ready", wantKey: "False/RotationDue", wantRedis: "True/Redis",
		},
		"an unknown reason about a key": {
			in: issuing(troubled("a", "SigningKey/Sealed/x")), wantVault: "True/Ready", wantKey: "False/Unavailable", wantRedis: "True/Redis",
		},
		"Redis is unavailable": {
			in: issuing(troubled("b", "Redis/Timeout/dial"), good("a")), wantVault: "True/Ready", wantKey: "True/Ready", wantRedis: "False/RedisUnavailable",
			wantMessage: "1 sidecar reports RedisUnavailable: b (Timeout: dial). Their rules follow onFailure",
		},
		"Redis evicts": {
			in: issuing(troubled("b", "Redis/RedisEvicts/maxmemory-policy is allkeys-lru"), good("a")), wantVault: "True/Ready", wantKey: "True/Ready", wantRedis: "False/RedisEvicts",
			wantMessage: "1 sidecar reports RedisEvicts: b (maxmemory-policy is allkeys-lru). Sessions and revocations can be lost; set maxmemory-policy noeviction",
		},
		"Redis evicts, and is unavailable for another": {
			in: issuing(troubled("b", "Redis/RedisEvicts/x"), troubled("a", "Redis/Unavailable/dial")), wantVault: "True/Ready", wantKey: "True/Ready", wantRedis: "False/RedisUnavailable",
			wantMessage: "1 sidecar reports RedisUnavailable: a (Unavailable: dial). 1 sidecar reports RedisEvicts: b (x). Their rules follow onFailure",
		},
		"an unknown kind": {
			in: issuing(troubled("a", "Moon/Full/x")), wantVault: "True/Ready", wantKey: "True/Ready", wantRedis: "True/Redis",
		},
		"the sidecar of another policy": {
			in:        issuing(good("a"), changed("b", func(p *Pod) { p.Bound, p.Report = "other", troubled("", "Vault/Sealed/x").Report })),
			wantVault: "True/Ready", wantKey: "True/Ready", wantRedis: "True/Redis",
		},
		"a policy that needs neither": {
			in: input(troubled("a", "Vault/Sealed/x", "SigningKey/Unavailable/x", "Redis/RedisUnavailable/x")), wantRedis: "False/InProcess",
			wantMessage: "each pod counts on its own; to share limits, name",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, said := Of(tt.in), ""
			for kind, want := range map[string]string{
				v1alpha1.ConditionVaultReady: tt.wantVault, v1alpha1.ConditionSigningKeyReady: tt.wantKey, v1alpha1.ConditionSharedState: tt.wantRedis,
			} {
				have := ""
				if c := meta.FindStatusCondition(got.Conditions, kind); c != nil {
					have = string(c.Status) + "/" + c.Reason
					said += c.Message + "\n"
				}
				if have != want {
					t.Errorf("%s is %q, want %q", kind, have, want)
				}
			}
			if !strings.Contains(said, tt.wantMessage) {
				t.Errorf("the messages are:\n%swant %q in them", said, tt.wantMessage)
			}
			for _, p := range tt.in.Pods {
				if p.Report != nil {
					p.Report.Problems = nil
				}
			}
			if diff := cmp.Diff(condition(t, Of(tt.in), v1alpha1.ConditionEnforced), condition(t, got, v1alpha1.ConditionEnforced)); diff != "" {
				t.Errorf("problems change Enforced (-without +with):\n%s", diff)
			}
		})
	}
}

// TestConditionsThatNoLongerApply checks that the conditions about keys are removed from a policy that no longer has tokens.
func TestConditionsThatNoLongerApply(t *testing.T) {
	in := issuing(good("a"))
	status := Of(in)
	in = input(good("a"))
	in.Policy.Status = status
	for _, c := range Of(in).Conditions {
		if c.Type == v1alpha1.ConditionVaultReady || c.Type == v1alpha1.ConditionSigningKeyReady {
			t.Errorf("the status still has %s", c.Type)
		}
	}
}

func TestInProcessWarnsOfSessions(t *testing.T) {
	in := input(good("a"))
	in.Policy.Spec.Sessions = &v1alpha1.Sessions{}
	want := "sessions and the app's revocations are known to one pod only"
	if m := condition(t, Of(in), v1alpha1.ConditionSharedState).Message; !strings.Contains(m, want) {
		t.Errorf("SharedState says %q, want %q in it", m, want)
	}
}

// TestUntrustedProxy: the condition exists only while a sidecar reports a proxy that is not trusted.
func TestUntrustedProxy(t *testing.T) {
	find := func(in Input) string {
		if c := meta.FindStatusCondition(Of(in).Conditions, v1alpha1.ConditionClientAddressKnown); c != nil {
			return string(c.Status) + "/" + c.Reason + ": " + c.Message
		}
		return ""
	}
	got := find(input(good("a"), troubled("b", "ClientAddress/UntrustedProxy/192.0.2.7 sends X-Forwarded-*")))
	for _, want := range []string{"False/UntrustedProxy: ", "b (192.0.2.7 sends X-Forwarded-*)", "add its network to spec.trustedProxies"} {
		if !strings.Contains(got, want) {
			t.Errorf("the condition is %q; want %q in it", got, want)
		}
	}
	if got := find(input(good("a"))); got != "" {
		t.Errorf("without a report the condition is %q", got)
	}
}
