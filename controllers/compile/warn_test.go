package compile_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// TestCompileIsQuick: a policy within the schema's bounds is compiled for each new pod of its namespace. It must not keep the
// operator from the pods of others.
func TestCompileIsQuick(t *testing.T) {
	p := &v1alpha1.SecurityPolicy{Spec: v1alpha1.SecurityPolicySpec{Authorization: &v1alpha1.Authorization{}}}
	for i := range 64 {
		r := v1alpha1.AuthorizationRule{Name: fmt.Sprint("r", i), Require: "Deny"}
		for j := range 16 {
			var m v1alpha1.RouteMatch
			for k := range 63 {
				m.Paths = append(m.Paths, fmt.Sprint("/", k))
			}
			last := fmt.Sprint("/m", j)
			if j == 15 {
				last = fmt.Sprint("/r", i)
			}
			m.Paths = append(m.Paths, last)
			r.Match = append(r.Match, m)
		}
		if i%2 == 1 {
			slices.Reverse(r.Match)
		}
		p.Spec.Authorization.Rules = append(p.Spec.Authorization.Rules, r)
	}
	began := time.Now()
	if d, findings := compile.Compile(p, &v1alpha1.SidecarClass{}); d == nil {
		t.Fatal(findings)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
}
