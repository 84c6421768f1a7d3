package render

import (
	"crypto/ed25519"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func TestInjectionHash(t *testing.T) {
	base, err := InjectionHash(sidecar())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change      func(*Sidecar)
		wantRestart bool
	}{
		"image of class":        {func(s *Sidecar) { s.Class.Spec.Image = "other" }, true},
		"image of installation": {func(s *Sidecar) { s.Settings.Image = "other" }, true},
		"resources": {func(s *Sidecar) {
			s.Class.Spec.Resources = &corev1.ResourceRequirements{
				Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}
		}, true},
		"interception": {func(s *Sidecar) { s.Interception = v1alpha1.InterceptTakeover }, true},
		"secrets":      {func(s *Sidecar) { s.Policy = secretPolicy() }, true},
		"a claim":      {func(s *Sidecar) { s.Policy = claimPolicy() }, true},
		"a list at a URL": {func(s *Sidecar) {
			s.Policy.PasswordPolicy = &compiled.PasswordPolicy{Breached: &compiled.BreachedPasswords{URL: "https://p.example.com/range"}}
		}, false},
		"a token for Vault": {func(s *Sidecar) {
			s.Policy.Vault = &compiled.Vault{Kubernetes: &compiled.VaultKubernetes{Role: "r", Audience: "vault"}}
		}, true},
		"a Vault without that token": {func(s *Sidecar) { s.Policy.Vault = &compiled.Vault{TokenFile: "/run/token"} }, false},
		"a token for a key set": {func(s *Sidecar) {
			s.Policy.Providers = []compiled.Provider{{Keys: compiled.Keys{URI: "https://a", Bearer: &compiled.Bearer{ServiceAccount: &compiled.ServiceAccountToken{}}}}}
		}, true},
		"document key":           {func(s *Sidecar) { s.Settings.DocumentKey = ed25519.PublicKey(make([]byte, 31)) }, true},
		"operator's URL":         {func(s *Sidecar) { s.Settings.OperatorURL = "https://other" }, true},
		"operator's CA, bridged": {func(s *Sidecar) { s.Settings.OperatorCA = "other" }, false},
		"operator's identity":    {func(s *Sidecar) { s.Settings.OperatorIdentity = "other" }, true},
		"policy":                 {func(s *Sidecar) { s.Policy = &compiled.Policy{Namespace: "shop", Name: "other"} }, true},
		"only the document": {func(s *Sidecar) {
			s.Policy.Mode, s.Policy.Generation, s.Policy.Sidecar.LogLevel = compiled.Shadow, 7, "debug"
			s.Policy.Ports = []compiled.Port{{Number: 80}}
		}, false},
		"pull policy": {func(s *Sidecar) { s.Settings.ImagePullPolicy = corev1.PullAlways }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sidecar()
			tc.change(&s)
			got, err := InjectionHash(s)
			if err != nil {
				t.Fatal(err)
			}
			if (got != base) != tc.wantRestart {
				t.Errorf("restart needed: %t, want %t", got != base, tc.wantRestart)
			}
		})
	}
}

func TestInjectionHashOfTakenOverPorts(t *testing.T) {
	hash := func(ports ...compiled.Port) string {
		s := sidecar()
		s.Interception, s.Policy.Ports = v1alpha1.InterceptTakeover, ports
		got, err := InjectionHash(s)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if hash() != hash(compiled.Port{Number: 8080}) {
		t.Error("a port that every user may bind requires a restart")
	}
	if hash() == hash(compiled.Port{Number: 80}) {
		t.Error("a port below 1024, which needs a sysctl, requires no restart")
	}
}

func TestLowestPrivilegedPort(t *testing.T) {
	for name, tc := range map[string]struct {
		ports []uint16
		want  uint16
	}{
		"none":  {nil, 0},
		"high":  {[]uint16{1024, 8080}, 0},
		"some":  {[]uint16{8080, 443, 80, 1023}, 80},
		"named": {[]uint16{0, 443}, 443},
	} {
		t.Run(name, func(t *testing.T) {
			if got := LowestPrivilegedPort(tc.ports); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}
