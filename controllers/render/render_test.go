package render

import (
	"crypto/ed25519"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// sidecar returns a small but complete input.
func sidecar() Sidecar {
	return Sidecar{
		Policy:       &compiled.Policy{Namespace: "shop", Name: "orders"},
		Class:        &v1alpha1.SidecarClass{},
		Interception: v1alpha1.InterceptRedirect,
		Settings: Settings{
			OperatorURL:     "https://postern.postern-system.svc:9443",
			OperatorCA:      "-----BEGIN CERTIFICATE-----\n",
			DocumentKey:     ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)),
			Image:           "registry.example/postern:1",
			ImagePullPolicy: corev1.PullIfNotPresent,
		},
	}
}

// secretPolicy refers to three Secrets, one of them twice.
func secretPolicy() *compiled.Policy {
	return &compiled.Policy{
		Namespace: "shop", Name: "orders",
		Providers: []compiled.Provider{
			{Keys: compiled.Keys{Secret: &compiled.SecretRef{Name: "keys", Key: "a"}}},
			{Keys: compiled.Keys{Secret: &compiled.SecretRef{Name: "keys", Key: "b"}}},
			{Keys: compiled.Keys{Secret: &compiled.SecretRef{Name: "dotted.name", Key: "a"}}},
		},
		Redis: &compiled.Redis{Password: &compiled.SecretRef{Name: "redis", Key: "password"}},
	}
}

// claimPolicy refers to a claim.
func claimPolicy() *compiled.Policy {
	return &compiled.Policy{Namespace: "shop", Name: "orders", PasswordPolicy: &compiled.PasswordPolicy{
		Breached: &compiled.BreachedPasswords{File: &compiled.VolumeFile{Claim: "breached.lists", Path: "pwned.txt"}}}}
}

func environmentOf(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	return env
}
