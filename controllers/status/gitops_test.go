package status

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// applied are objects with the statuses that the operator gives them, and what tools should make of them.
func applied() map[string]struct {
	object      any
	wantKstatus kstatus.Status
	// wantArgo is for the health check by Ready, and wantEnforced for that by Enforced; empty for objects that it is not for.
	wantArgo, wantEnforced string
} {
	type row = struct {
		object                 any
		wantKstatus            kstatus.Status
		wantArgo, wantEnforced string
	}
	policy := func(change func(*Input)) *v1alpha1.SecurityPolicy {
		in := input(good("a"))
		change(&in)
		in.Policy.Status = Of(in)
		in.Policy.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "SecurityPolicy"}
		return in.Policy
	}
	class := func(is metav1.ConditionStatus, reason string) *v1alpha1.SidecarClass {
		c := &v1alpha1.SidecarClass{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "SidecarClass"}, ObjectMeta: metav1.ObjectMeta{Generation: 3}}
		c.Status.ObservedGeneration = 3
		c.Status.Conditions = OfClass(metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: is, Reason: reason, Message: "m", ObservedGeneration: 3})
		return c
	}
	revocation := func(carriers ...Carrier) *v1alpha1.TokenRevocation {
		r := &v1alpha1.TokenRevocation{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TokenRevocation"}, ObjectMeta: metav1.ObjectMeta{Generation: 1}}
		r.Status = OfRevocation(RevocationInput{Revocation: r, Carriers: carriers, Now: time.Unix(1e9, 0)})
		return r
	}
	unseen := policy(func(*Input) {})
	unseen.Generation++
	created := policy(func(*Input) {})
	created.Status = v1alpha1.SecurityPolicyStatus{ObservedGeneration: -1} // the CRD's default
	notWritten := carrier("a", 1)
	notWritten.Since = 0
	return map[string]row{
		"policy, new":            {created, kstatus.InProgressStatus, "Progressing", "Progressing"},
		"policy, changed":        {unseen, kstatus.InProgressStatus, "Progressing", "Progressing"},
		"policy, enforced":       {policy(func(*Input) {}), kstatus.CurrentStatus, "Healthy", "Healthy"},
		"policy, without pods":   {policy(func(in *Input) { in.Pods = nil }), kstatus.CurrentStatus, "Healthy", "Healthy"},
		"policy, pods outdated":  {policy(func(in *Input) { in.Pods[0].Report = nil }), kstatus.CurrentStatus, "Healthy", "Progressing"},
		"policy, no sidecar":     {policy(func(in *Input) { in.Pods[0].Bound = "" }), kstatus.CurrentStatus, "Healthy", "Progressing"},
		"policy, shadow":         {policy(func(in *Input) { in.Policy.Spec.Mode = v1alpha1.ModeShadow }), kstatus.CurrentStatus, "Healthy", "Suspended"},
		"policy, no class yet":   {policy(func(in *Input) { in.Class, in.ClassError = nil, errors.New("none") }), kstatus.InProgressStatus, "Progressing", "Progressing"},
		"policy, no label yet":   {policy(func(in *Input) { in.NamespaceEnabled = false }), kstatus.InProgressStatus, "Progressing", "Progressing"},
		"policy, excluded":       {policy(func(in *Input) { in.NamespaceExcluded = true }), kstatus.InProgressStatus, "Progressing", "Progressing"},
		"policy, no webhook":     {policy(func(in *Input) { in.WebhookProblem = "it is missing" }), kstatus.InProgressStatus, "Progressing", "Progressing"},
		"policy, not written":    {policy(func(in *Input) { in.WriteError = errors.New("quota") }), kstatus.InProgressStatus, "Progressing", "Progressing"},
		"policy, missing rights": {policy(func(in *Input) { in.MissingRights = []string{"create configmaps"} }), kstatus.InProgressStatus, "Progressing", "Progressing"},
		"policy, in conflict":    {policy(func(in *Input) { in.Conflict = &Conflict{Older: "x", Pod: "a"} }), kstatus.FailedStatus, "Degraded", "Degraded"},
		"policy, invalid": {policy(func(in *Input) {
			in.Findings = []compile.Finding{{Severity: compile.Error, Field: "spec", Message: "m"}}
		}), kstatus.FailedStatus, "Degraded", "Degraded"},
		"class, accepted":           {class(metav1.ConditionTrue, v1alpha1.ReasonAccepted), kstatus.CurrentStatus, "Healthy", ""},
		"class, invalid":            {class(metav1.ConditionFalse, v1alpha1.ReasonInvalid), kstatus.FailedStatus, "Degraded", ""},
		"class, in conflict":        {class(metav1.ConditionFalse, v1alpha1.ReasonConflicted), kstatus.FailedStatus, "Degraded", ""},
		"revocation, in force":      {revocation(carrier("a", 5)), kstatus.CurrentStatus, "Healthy", ""},
		"revocation, not yet":       {revocation(carrier("a", 1)), kstatus.CurrentStatus, "Healthy", ""},
		"revocation, not written":   {revocation(notWritten), kstatus.InProgressStatus, "Progressing", ""},
		"revocation, no policy":     {revocation(), kstatus.InProgressStatus, "Progressing", ""},
		"revocation, no room":       {revocation(with(carrier("a"), became(v1alpha1.ReasonTooMany))), kstatus.FailedStatus, "Degraded", ""},
		"revocation, has expired":   {revocation(with(carrier("a"), became(v1alpha1.ReasonExpired))), kstatus.CurrentStatus, "Healthy", ""},
		"revocation, being created": {&v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Status: v1alpha1.TokenRevocationStatus{ObservedGeneration: -1}}, kstatus.InProgressStatus, "Progressing", ""},
	}
}

// decoded returns the object as tools see it.
func decoded(t *testing.T, object any) map[string]any {
	t.Helper()
	b, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestKstatus computes the state of each object as Flux and helm --wait do.
func TestKstatus(t *testing.T) {
	for name, tt := range applied() {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(tt.object)
			if err != nil {
				t.Fatal(err)
			}
			u := &unstructured.Unstructured{}
			if err := json.Unmarshal(b, &u.Object); err != nil {
				t.Fatal(err)
			}
			integers(u.Object)
			got, err := kstatus.Compute(u)
			if err != nil || got.Status != tt.wantKstatus {
				t.Errorf("%+v, %v; want %s", got, err, tt.wantKstatus)
			}
		})
	}
}

// integers turns whole numbers into int64, as the Kubernetes decoder does.
func integers(object map[string]any) {
	for k, v := range object {
		switch v := v.(type) {
		case float64:
			object[k] = int64(v)
		case map[string]any:
			integers(v)
		}
	}
}

// healthChecks returns the health checks of docs/gitops.md by kind: first those by Ready, then that by Enforced.
func healthChecks(t *testing.T) []map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/gitops.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, part := range strings.Split(string(page), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(part, "\n```")
		var cm struct{ Data map[string]string }
		if !strings.HasPrefix(text, "data:") {
			continue
		}
		if err := yaml.Unmarshal([]byte(text), &cm); err != nil {
			t.Fatal(err)
		}
		checks := map[string]string{}
		for key, script := range cm.Data {
			kind, ok := strings.CutPrefix(key, "resource.customizations.health."+v1alpha1.GroupVersion.Group+"_")
			if !ok {
				t.Errorf("Argo CD does not know the key %s", key)
			}
			checks[kind] = script
		}
		out = append(out, checks)
	}
	if len(out) != 2 || len(out[0]) != 3 || len(out[1]) != 1 {
		t.Fatalf("docs/gitops.md has the health checks %v", out)
	}
	return out
}

// TestArgoHealth runs the health checks of docs/gitops.md, with no more of Lua's library than Argo CD allows.
func TestArgoHealth(t *testing.T) {
	checks := healthChecks(t)
	for name, tt := range applied() {
		t.Run(name, func(t *testing.T) {
			object := decoded(t, tt.object)
			kind, _ := object["kind"].(string)
			if kind == "" {
				kind = "TokenRevocation"
			}
			if got, message := health(t, checks[0][kind], object); got != tt.wantArgo || message == "" {
				t.Errorf("%s (%s), want %s", got, message, tt.wantArgo)
			}
			if tt.wantEnforced == "" {
				return
			}
			if got, message := health(t, checks[1][kind], object); got != tt.wantEnforced || message == "" {
				t.Errorf("by Enforced: %s (%s), want %s", got, message, tt.wantEnforced)
			}
		})
	}
	for kind, script := range checks[0] { // Argo CD may see an object before the API server has given it a status
		if got, _ := health(t, script, map[string]any{"metadata": map[string]any{"generation": 1.0}}); got != "Progressing" {
			t.Errorf("%s without a status is %s", kind, got)
		}
	}
}

// health runs a health check.
func health(t *testing.T, script string, object map[string]any) (status, message string) {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable} {
		l.Push(l.NewFunction(open))
		l.Call(0, 0)
	}
	l.SetGlobal("obj", luaValue(l, object))
	if err := l.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the health check returns %s", l.Get(-1))
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String()
}

func luaValue(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case map[string]any:
		table := l.NewTable()
		for key, member := range v {
			table.RawSetString(key, luaValue(l, member))
		}
		return table
	case []any:
		table := l.NewTable()
		for _, member := range v {
			table.Append(luaValue(l, member))
		}
		return table
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	}
	return lua.LNil
}
