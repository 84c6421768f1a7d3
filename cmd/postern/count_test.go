package main

import (
	"testing"

	"github.com/posterndev/postern/api/v1alpha1"
)

func TestEnumerate(t *testing.T) {
	policies := func(n int) counted { return counted{n, "policy", "policies"} }
	classes := func(n int) counted { return counted{n, "class", "classes"} }
	revocations := func(n int) counted { return counted{n, "revocation", "revocations"} }
	for want, in := range map[string][]counted{
		"":                                      {policies(0), classes(0)},
		"1 policy":                              {policies(1), classes(0)},
		"2 policies and 1 class":                {policies(2), classes(1)},
		"1 policy, 2 classes and 3 revocations": {policies(1), classes(2), revocations(3)},
		"1 policy and 1 revocation":             {policies(1), classes(0), revocations(1)},
	} {
		if got := enumerate(in...); got != want {
			t.Errorf("enumerate(%v) = %q, want %q", in, got, want)
		}
	}
}

func TestRevocationCounts(t *testing.T) {
	for n, want := range map[int]string{3: ": 4/4 sidecars of a, b, c", 4: ": 4/4 sidecars of a, b, c and 1 more policy", 5: ": 4/4 sidecars of a, b, c and 2 more policies"} {
		status := v1alpha1.TokenRevocationStatus{Policies: []string{"a", "b", "c", "d", "e"}[:n], Sidecars: &v1alpha1.SidecarCounts{Summary: "4/4"}}
		if got := counts(&status); got != want {
			t.Errorf("%d policies: %q, want %q", n, got, want)
		}
	}
}
