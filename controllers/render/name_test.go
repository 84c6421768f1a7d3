package render

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 253)
	for name, tc := range map[string]struct{ policy, wantConfigMap, wantLabel string }{
		"short":              {"orders", "postern-orders", "orders"},
		"dotted":             {"orders.v2", "postern-orders.v2", "orders.v2"},
		"too long for label": {strings.Repeat("a", 64), "postern-" + strings.Repeat("a", 64), "sha256_" + digest(strings.Repeat("a", 64))},
		"longest in full":    {long[:245], "postern-" + long[:245], "sha256_" + digest(long[:245])},
		"too long":           {long, "postern." + digest(long), "sha256_" + digest(long)},
	} {
		t.Run(name, func(t *testing.T) {
			got := ConfigMapName(tc.policy)
			if got != tc.wantConfigMap {
				t.Errorf("ConfigMapName is %q, want %q", got, tc.wantConfigMap)
			}
			if errs := validation.IsDNS1123Subdomain(got); len(errs) > 0 {
				t.Errorf("ConfigMapName %q: %v", got, errs)
			}
			label := LabelValue(tc.policy)
			if label != tc.wantLabel {
				t.Errorf("LabelValue is %q, want %q", label, tc.wantLabel)
			}
			if errs := validation.IsValidLabelValue(label); len(errs) > 0 {
				t.Errorf("LabelValue %q: %v", label, errs)
			}
		})
	}
}

// TestVolumeNames: no two Secrets and claims share the name of a volume.
func TestVolumeNames(t *testing.T) {
	seen := map[string]string{}
	long := strings.Repeat("s", 253)
	for _, secret := range []string{"keys", "a.b", "a-b", long, long[:252], "hashed-" + digest("a.b"), "0", "hashed-claim-" + digest("a.b")} {
		for kind, name := range map[string]string{"Secret": secretVolumeName(secret), "claim": claimVolumeName(secret)} {
			if errs := validation.IsDNS1123Label(name); len(errs) > 0 {
				t.Errorf("%s %q: %v", kind, name, errs)
			}
			if other, ok := seen[name]; ok {
				t.Errorf("%s %q and %s share the volume %q", kind, secret, other, name)
			}
			if !strings.HasPrefix(name, VolumePrefix) {
				t.Errorf("%q does not have the prefix", name)
			}
			seen[name] = kind + " " + secret
		}
	}
}
