package overview

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/screen"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/status"
)

var now = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

const document = "sha256:0123456789abcdef"

// fixture is a namespace shop in which the policy orders is enforced on one pod. Cases change it.
type fixture struct {
	in     Input
	policy *v1alpha1.SecurityPolicy
	class  *v1alpha1.SidecarClass
	pod    *corev1.Pod
	report compiled.Report
	// silent is the age of the report.
	silent time.Duration
}

func newFixture() *fixture {
	f := &fixture{report: compiled.Report{Hash: document, SchemaVersion: 1, Version: "v0.1.0"}, silent: time.Minute}
	f.policy = newPolicy("orders", "app", "orders")
	f.class = &v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}}}
	f.pod = newPod("orders-7d8f9c-abcde", "orders")
	f.in = Input{
		Namespaces:   []Namespace{{Name: "shop", Labels: map[string]string{v1alpha1.InjectionLabel: "enabled"}, Known: true}},
		ClassesKnown: true, PodsKnown: true, WorkloadsKnown: true, Now: now,
		Workloads: []Workload{{Namespace: "shop", Workload: status.Workload{Kind: status.Deployment, Name: "orders"}, Labels: map[string]string{"app": "orders"}, Replicas: 1}},
	}
	return f
}

func newPolicy(name, key, value string) *v1alpha1.SecurityPolicy {
	p := &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 2, CreationTimestamp: metav1.NewTime(now.Add(-48 * time.Hour))}}
	p.Spec.Selector.MatchLabels = map[string]string{key: value}
	p.Spec.RateLimits = make([]v1alpha1.RateLimit, 2)
	p.Spec.JWT = &v1alpha1.JWT{Providers: make([]v1alpha1.JWTProvider, 1)}
	p.Status.ObservedGeneration, p.Status.Document = 2, document
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed, v1alpha1.ConditionEnforced} {
		p.Status.Conditions = append(p.Status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: kind, LastTransitionTime: metav1.NewTime(now.Add(-5 * time.Hour)),
		})
	}
	return p
}

func newPod(name, policy string) *corev1.Pod {
	deployment, _, _ := strings.Cut(name, "-")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": deployment, "pod-template-hash": "7d8f9c"}}}
	controller := true
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: deployment + "-7d8f9c", Controller: &controller}}
	if policy != "" {
		pod.Spec.InitContainers = []corev1.Container{{Name: render.SidecarName, Image: "postern/sidecar:v0.1.0", Env: []corev1.EnvVar{{Name: compiled.EnvPolicy, Value: policy}}}}
	}
	return pod
}

// setCondition replaces a condition of the policy.
func (f *fixture) setCondition(kind string, is metav1.ConditionStatus, reason, message string) {
	for i := range f.policy.Status.Conditions {
		if c := &f.policy.Status.Conditions[i]; c.Type == kind {
			c.Status, c.Reason, c.Message = is, reason, message
			return
		}
	}
	f.policy.Status.Conditions = append(f.policy.Status.Conditions, metav1.Condition{Type: kind, Status: is, Reason: reason, Message: message})
}

func (f *fixture) offender(reason, message string) {
	f.policy.Status.Pods = &v1alpha1.PodCounts{Offenders: []v1alpha1.PodOffence{{Name: f.pod.Name, Reason: reason, Message: message}}}
	f.setCondition(v1alpha1.ConditionEnforced, metav1.ConditionFalse, reason, message)
}

func (f *fixture) input(t *testing.T) Input {
	t.Helper()
	if f.policy != nil {
		f.in.Policies = append([]v1alpha1.SecurityPolicy{*f.policy}, f.in.Policies...)
	}
	if f.class != nil {
		f.in.Classes = append([]v1alpha1.SidecarClass{*f.class}, f.in.Classes...)
	}
	if f.pod != nil {
		if f.report.SchemaVersion > 0 {
			message, err := json.Marshal(f.report)
			if err != nil {
				t.Fatal(err)
			}
			f.pod.Status.Conditions = []corev1.PodCondition{{
				Type: deliver.ConditionSidecar, Status: corev1.ConditionTrue, Message: string(message),
				LastProbeTime: metav1.NewTime(now.Add(-f.silent)), LastTransitionTime: metav1.NewTime(now.Add(-3 * time.Hour)),
			}}
		}
		f.in.Pods = append(f.in.Pods, *f.pod)
	}
	return f.in
}

func TestOf(t *testing.T) {
	const restart = "kubectl rollout restart deployment/orders -n shop"
	const logs = "kubectl logs orders-7d8f9c-abcde -c postern -n shop --tail=20"
	tests := map[string]struct {
		change      func(f *fixture)
		want        State
		wantReason  string
		wantWhat    string // a part of the first problem
		wantCommand string // one of the first problem's commands
		wantWarning bool   // the first problem does not prevent enforcement
	}{
		"enforced": {change: func(*fixture) {}, want: Enforced, wantReason: "Enforced"},
		"no sidecar": {
			change: func(f *fixture) { f.pod.Spec.InitContainers, f.report.SchemaVersion = nil, 0 },
			want:   NotEnforced, wantReason: "PodsWithoutSidecar", wantWhat: "orders-7d8f9c-abcde: no sidecar", wantCommand: restart,
		},
		"no sidecar, a pod without a workload": {
			change: func(f *fixture) {
				f.pod.Spec.InitContainers, f.report.SchemaVersion, f.pod.OwnerReferences = nil, 0, nil
			},
			want: NotEnforced, wantReason: "PodsWithoutSidecar", wantCommand: "kubectl delete pod orders-7d8f9c-abcde -n shop   # and create it again",
		},
		"no sidecar, a Job": {
			change: func(f *fixture) {
				f.pod.Spec.InitContainers, f.report.SchemaVersion = nil, 0
				f.pod.OwnerReferences[0].APIVersion, f.pod.OwnerReferences[0].Kind, f.pod.OwnerReferences[0].Name = "batch/v1", "Job", "import"
			},
			want: NotEnforced, wantReason: "PodsWithoutSidecar", wantCommand: "kubectl delete pod orders-7d8f9c-abcde -n shop   # job/import creates it again",
		},
		"another policy's sidecar": {
			change: func(f *fixture) { f.pod = newPod(f.pod.Name, "accounts") },
			want:   NotEnforced, wantReason: "PodsOutdated", wantWhat: `the sidecar of policy "accounts"`, wantCommand: restart,
		},
		"an outdated image": {
			change: func(f *fixture) { f.class.Spec.Image = "postern/sidecar:v0.2.0" },
			want:   NotEnforced, wantReason: "PodsOutdated", wantWhat: "the sidecar image is postern/sidecar:v0.1.0, and SidecarClass default names postern/sidecar:v0.2.0", wantCommand: restart,
		},
		"an outdated document": {
			change: func(f *fixture) { f.report.Hash = "sha256:fedcba9876543210" },
			want:   NotEnforced, wantReason: "PodsOutdated", wantWhat: "document fedcba98 in place of 01234567", wantCommand: logs,
		},
		"no report":        {change: func(f *fixture) { f.report.SchemaVersion = 0 }, want: NotEnforced, wantReason: "PodsOutdated", wantWhat: "has not reported yet", wantCommand: logs},
		"an old report":    {change: func(f *fixture) { f.silent = time.Hour }, want: NotEnforced, wantReason: "ReportTooOld", wantWhat: "no report since 2026-11-29T08:00:00Z", wantCommand: "postern doctor"},
		"a refusal":        {change: func(f *fixture) { f.report.Refused, f.report.Error = document, "no keys" }, want: NotEnforced, wantReason: "RefusedBySidecar", wantWhat: "the sidecar refused the document: no keys", wantCommand: logs},
		"reachable around": {change: func(f *fixture) { f.report.Reachable = []string{"0.0.0.0:9000"} }, want: NotEnforced, wantReason: "ReachableAround", wantWhat: "at 0.0.0.0:9000"},
		"no redirection":   {change: func(f *fixture) { f.report.Unredirected = true }, want: NotEnforced, wantReason: "RedirectMissing", wantWhat: "rules that redirect traffic to the sidecar were deleted", wantCommand: restart},
		"stale settings": {change: func(f *fixture) {
			f.offender("PodsOutdated", "has a sidecar with settings that change only with a restart; restart it")
		}, want: NotEnforced, wantReason: "PodsOutdated", wantWhat: "orders-7d8f9c-abcde: has a sidecar with settings that change only with a restart", wantCommand: restart},
		"an altered image":  {change: func(f *fixture) { f.offender("SidecarAltered", "has another command; restart") }, want: NotEnforced, wantReason: "SidecarAltered", wantCommand: restart},
		"a failing app":     {change: func(f *fixture) { f.offender("AppFailing", "keeps failing; see its logs") }, want: NotEnforced, wantReason: "AppFailing", wantCommand: "kubectl logs orders-7d8f9c-abcde -n shop --previous --tail=20"},
		"an unknown reason": {change: func(f *fixture) { f.offender("Newer", "of a newer operator") }, want: NotEnforced, wantReason: "Newer", wantWhat: "of a newer operator"},
		"the operator knows more": {
			change: func(f *fixture) {
				f.setCondition(v1alpha1.ConditionEnforced, metav1.ConditionFalse, "PodsOutdated", "7 pods do not run it")
			},
			want: NotEnforced, wantReason: "PodsOutdated", wantWhat: "7 pods do not run it",
		},
		"no label": {
			change: func(f *fixture) { f.in.Namespaces[0].Labels = nil },
			want:   NotEnforced, wantReason: "InjectionDisabled", wantWhat: "has no label", wantCommand: "kubectl label namespace shop postern.dev/injection=enabled",
		},
		"a wrong label": {
			change: func(f *fixture) { f.in.Namespaces[0].Labels[v1alpha1.InjectionLabel] = "true" },
			want:   NotEnforced, wantReason: "InjectionDisabled", wantWhat: `has the value "true"`, wantCommand: "kubectl label namespace shop postern.dev/injection=enabled --overwrite",
		},
		"no label, as the operator says": {
			change: func(f *fixture) {
				f.in.Namespaces[0] = Namespace{Name: "shop"}
				f.setCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, "InjectionDisabled", "new pods get no sidecar")
			},
			want: NotEnforced, wantReason: "InjectionDisabled", wantWhat: "new pods get no sidecar", wantCommand: "kubectl label namespace shop postern.dev/injection=enabled",
		},
		"an excluded namespace": {
			change: func(f *fixture) {
				f.setCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, "InjectionDisabled", "the installation excludes it")
			},
			want: NotEnforced, wantReason: "InjectionDisabled", wantWhat: "excludes it",
		},
		"no class, several exist": {
			change: func(f *fixture) { name := "edge"; f.policy.Spec.SidecarClassName = &name },
			want:   NotEnforced, wantReason: "SidecarClassNotFound", wantWhat: `there is no SidecarClass "edge"`,
			wantCommand: `kubectl patch securitypolicy orders -n shop --type merge -p '{"spec":{"sidecarClassName":"default"}}'`,
		},
		"no default class": {
			change: func(f *fixture) { f.class.Annotations = nil },
			want:   NotEnforced, wantReason: "SidecarClassNotFound", wantCommand: "kubectl annotate sidecarclass default postern.dev/is-default-class=true",
		},
		"no class at all": {
			change: func(f *fixture) { f.class = nil },
			want:   NotEnforced, wantReason: "SidecarClassNotFound", wantCommand: "kubectl apply -f sidecarclass.yaml",
		},
		"no class, as the operator says": {
			change: func(f *fixture) {
				f.in.ClassesKnown, f.class = false, nil
				f.setCondition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, "SidecarClassNotFound", `sidecar class not found: there is no SidecarClass "edge"`)
			},
			want: NotEnforced, wantReason: "SidecarClassNotFound", wantWhat: `there is no SidecarClass "edge"`, wantCommand: "kubectl get sidecarclasses",
		},
		"invalid": {
			change: func(f *fixture) {
				f.setCondition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, "Invalid", "spec.jwt.providers[0].jwks.inline: no key. All pods run revision 4")
			},
			want: NotEnforced, wantReason: "Invalid", wantWhat: "no key", wantCommand: "kubectl explain securitypolicy.spec.jwt.providers.jwks.inline",
		},
		"in conflict": {
			change: func(f *fixture) {
				f.setCondition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, "Conflicted", `the older policy "a" selects some of the same pods`)
			},
			want: NotEnforced, wantReason: "Conflicted", wantCommand: "kubectl edit securitypolicy orders -n shop",
		},
		"no webhook": {
			change: func(f *fixture) {
				f.setCondition(v1alpha1.ConditionProgrammed, metav1.ConditionFalse, "WebhookMissing", "the webhook is missing")
			},
			want: NotEnforced, wantReason: "WebhookMissing", wantCommand: "postern doctor",
		},
		"not processed": {change: func(f *fixture) { f.policy.Generation = 3 }, want: Unknown, wantReason: "Pending", wantWhat: "has not processed generation 3", wantCommand: "postern doctor"},
		"no status":     {change: func(f *fixture) { f.policy.Status = v1alpha1.SecurityPolicyStatus{} }, want: Unknown, wantReason: "Pending", wantCommand: "postern doctor"},
		"shadow mode": {
			change: func(f *fixture) { f.policy.Spec.Mode = v1alpha1.ModeShadow },
			want:   Shadow, wantReason: "Shadow", wantCommand: `kubectl patch securitypolicy orders -n shop --type merge -p '{"spec":{"mode":"Enforce"}}'`, wantWarning: true,
		},
		"scaled to 0": {
			change: func(f *fixture) { f.pod, f.in.Workloads[0].Replicas = nil, 0 },
			want:   NoPods, wantReason: "NoPods", wantWhat: "deployment/orders wants 0 pods", wantCommand: "kubectl scale deployment/orders --replicas=1 -n shop", wantWarning: true,
		},
		"pods that do not start": {
			change: func(f *fixture) { f.pod = nil },
			want:   NoPods, wantReason: "NoPods", wantWhat: "deployment/orders wants 1", wantCommand: "kubectl describe deployment/orders -n shop", wantWarning: true,
		},
		"a selector of nothing": {
			change: func(f *fixture) { f.pod, f.in.Workloads = nil, nil },
			want:   NoPods, wantReason: "NoPods", wantWhat: "compare it with their labels", wantCommand: "kubectl get pods -n shop --show-labels", wantWarning: true,
		},
		"a finished pod": {change: func(f *fixture) { f.pod.Status.Phase = corev1.PodSucceeded }, want: NoPods, wantReason: "NoPods", wantWarning: true},
		"no right to list pods, enforced": {
			change: func(f *fixture) { f.pod, f.in.PodsKnown = nil, false }, want: Enforced, wantReason: "Enforced",
		},
		"no right to list pods, not enforced": {
			change: func(f *fixture) {
				f.pod, f.in.PodsKnown = nil, false
				f.setCondition(v1alpha1.ConditionEnforced, metav1.ConditionFalse, "PodsWithoutSidecar", "2 pods run without a sidecar")
			},
			want: NotEnforced, wantReason: "PodsWithoutSidecar", wantWhat: "2 pods run without a sidecar",
		},
		"Redis unavailable": {
			change: func(f *fixture) {
				f.report.Problems = []compiled.Problem{{Kind: compiled.ProblemRedis, Reason: "RedisUnavailable"}}
				f.setCondition(v1alpha1.ConditionSharedState, metav1.ConditionFalse, "RedisUnavailable", "1 sidecar reports it")
			},
			want: Enforced, wantReason: "Enforced", wantWhat: "1 sidecar reports it", wantCommand: logs, wantWarning: true,
		},
		"Redis evicts": {
			change: func(f *fixture) {
				f.setCondition(v1alpha1.ConditionSharedState, metav1.ConditionFalse, "RedisEvicts", "keys may be lost")
			},
			want: Enforced, wantReason: "Enforced", wantCommand: "redis-cli CONFIG SET maxmemory-policy noeviction", wantWarning: true,
		},
		"an untrusted proxy": {
			change: func(f *fixture) {
				f.setCondition(v1alpha1.ConditionClientAddressKnown, metav1.ConditionFalse, "UntrustedProxy", "a proxy")
			},
			want: Enforced, wantReason: "Enforced", wantCommand: "kubectl edit sidecarclass default", wantWarning: true,
		},
		"warnings": {
			change: func(f *fixture) {
				f.setCondition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Accepted", "the policy is valid; warnings: spec.headers: none")
			},
			want: Enforced, wantReason: "Enforced", wantWhat: "spec.headers: none", wantCommand: "kubectl edit securitypolicy orders -n shop", wantWarning: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			tt.change(f)
			o := Of(f.input(t))
			p := o.Policies[0]
			if p.State != tt.want || p.Reason != tt.wantReason || o.Enforced != (tt.want == Enforced || tt.want == NoPods) {
				t.Errorf("state %s, reason %s, enforced %v; want %s, %s", p.State, p.Reason, o.Enforced, tt.want, tt.wantReason)
			}
			if tt.wantWhat == "" && tt.wantCommand == "" {
				if tt.want == Enforced && len(p.Problems) > 0 {
					t.Errorf("problems: %+v", p.Problems)
				}
				return
			}
			if len(p.Problems) == 0 {
				t.Fatal("there is no problem")
			}
			first := p.Problems[0]
			if !strings.Contains(first.What, tt.wantWhat) || tt.wantCommand != "" && !slices.Contains(first.Commands, tt.wantCommand) || (first.Severity != Error) != tt.wantWarning {
				t.Errorf("the problem is %+v, want %q and %q", first, tt.wantWhat, tt.wantCommand)
			}
		})
	}
}

// TestOfCounts: pods, workloads and pods without a policy are counted, and problems name each workload once.
func TestOfCounts(t *testing.T) {
	f := newFixture()
	for i := range 5 {
		f.in.Pods = append(f.in.Pods, *newPod(fmt.Sprintf("orders-7d8f9c-old%d", i), ""), *newPod(fmt.Sprintf("legacy-7d8f9c-%d", i), ""))
	}
	o := Of(f.input(t))
	p := o.Policies[0]
	if p.Matched != 6 || p.Current != 1 || len(p.Pods) != 6 || p.Since != nil {
		t.Errorf("%+v", p)
	}
	if want := []Group{{Name: "deployment/orders", Pods: 6, Current: 1}}; !reflect.DeepEqual(p.Workloads, want) {
		t.Errorf("workloads %+v", p.Workloads)
	}
	if want := []Group{{Namespace: "shop", Name: "deployment/legacy", Pods: 5}}; !reflect.DeepEqual(o.Unguarded, want) {
		t.Errorf("unguarded %+v", o.Unguarded)
	}
	want := Problem{
		Severity: Error, Reason: "PodsWithoutSidecar", Commands: []string{"kubectl rollout restart deployment/orders -n shop"},
		What: "5 pods: no sidecar (orders-7d8f9c-old0, orders-7d8f9c-old1, orders-7d8f9c-old2 and 2 more)",
		Do:   "nothing of the policy applies there: a pod gets its sidecar when it is created",
	}
	if len(p.Problems) != 1 || !reflect.DeepEqual(p.Problems[0], want) {
		t.Errorf("%+v", p.Problems)
	}
}

// TestSections: each field of a policy is a section or a setting, so that a new one is decided about.
func TestSections(t *testing.T) {
	spec := reflect.TypeFor[v1alpha1.SecurityPolicySpec]()
	known := map[string]bool{}
	for i := range spec.NumField() {
		name, _, _ := strings.Cut(spec.Field(i).Tag.Get("json"), ",")
		known[name] = true
		kind := spec.Field(i).Type.Kind()
		if section := kind == reflect.Slice || kind == reflect.Pointer && spec.Field(i).Type.Elem().Kind() == reflect.Struct; !section && !slices.Contains(settings, name) {
			t.Errorf("the field %s looks like a setting: add it to settings", name)
		}
	}
	for _, name := range settings {
		if !known[name] {
			t.Errorf("there is no field %s", name)
		}
	}
	f := newFixture()
	if got := guards(sections(&f.policy.Spec)); got != "jwt(1) rateLimits(2)" {
		t.Errorf("sections %q", got)
	}
}

// TestTextEscapes: names and messages of a hostile cluster cannot control the terminal.
func TestTextEscapes(t *testing.T) {
	f := newFixture()
	f.policy.Spec.SidecarClassName = new(string)
	*f.policy.Spec.SidecarClassName = "x\x1b[2J"
	f.pod.Name = "orders\x1b]0;x\a"
	f.pod.OwnerReferences = nil
	f.report.Reachable, f.report.Version = []string{"\x1b[31m"}, "\x9bv\u202e"
	in := f.input(t)
	in.Unread = []Unread{{Error: "no\x1b[1m", Consequence: "c"}}
	in.Pods = append(in.Pods, *newPod("free\x1b[1m", ""))
	for _, wide := range []bool{false, true} {
		got := Of(in).Text(Options{Wide: wide, Namespaces: true, Where: "x\x1b", Now: now})
		if strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && screen.Escape(string(r)) != string(r) }) {
			t.Errorf("%q", got)
		}
	}
}
