package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// injection is what changes only with a restart of the pod.
type injection struct {
	// Template counts the changes to this package that require a restart of pods.
	Template       int
	Policy         string
	Image          string
	Resources      corev1.ResourceRequirements
	Interception   v1alpha1.Interception
	PrivilegedPort uint16
	Secrets        []string
	Claims         []string `json:",omitempty"`
	Spool          int64    `json:",omitempty"`
	VaultAudience  string
	KeysAudiences  []string `json:",omitempty"`
	DocumentKey    string
	OperatorURL    string
	// OperatorIdentity, and not the CA: a sidecar that trusts an earlier CA needs no restart while the current one is certified by it.
	OperatorIdentity string
}

const template = 3

// InjectionHash is the hash of what the sidecar's containers and volumes are made from, which a running pod cannot change: a pod
// whose InjectionAnnotation differs needs a restart. The content of documents does not change it.
func InjectionHash(s Sidecar) (string, error) {
	in := injection{
		Template:     template,
		Policy:       s.Policy.Name,
		Image:        s.image(),
		Resources:    s.resources(),
		Interception: s.Interception,
		Secrets:      s.secrets(),
		Claims:       s.Policy.Claims(),
		Spool:        s.spool(),

		VaultAudience: s.vaultAudience(),
		KeysAudiences: s.Policy.KeysAudiences(),
		DocumentKey:   s.Settings.DocumentKeyValue(),
		OperatorURL:   s.Settings.OperatorURL,

		OperatorIdentity: s.Settings.OperatorIdentity,
	}
	slices.Sort(in.Secrets)
	slices.Sort(in.Claims)
	if s.Interception == v1alpha1.InterceptTakeover {
		in.PrivilegedPort = LowestPrivilegedPort(numbers(s.Policy.Ports))
	}
	b, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16]), nil
}

// LowestPrivilegedPort returns the lowest port below 1024, which the sidecar can bind only with a sysctl; 0 if there is none.
func LowestPrivilegedPort(ports []uint16) uint16 {
	var lowest uint16
	for _, p := range ports {
		if p > 0 && p < 1024 && (lowest == 0 || p < lowest) {
			lowest = p
		}
	}
	return lowest
}

func numbers(ports []compiled.Port) []uint16 {
	var out []uint16
	for _, p := range ports {
		out = append(out, p.Number)
	}
	return out
}
