package render

import (
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestSpoolVolume: the sidecar alone gets a volume that it can write to, if the class says so; a pod with another one needs a restart.
func TestSpoolVolume(t *testing.T) {
	seen := map[string]string{}
	for name, tt := range map[string]struct {
		options *compiled.AuditOptions
		want    int64 // the limit of the volume in bytes; 0 for none
	}{
		"no trail":           {nil, 0},
		"in memory":          {&compiled.AuditOptions{SpoolBytes: 16 << 20}, 0},
		"on a volume":        {&compiled.AuditOptions{SpoolBytes: 16 << 20, SpoolVolume: true}, 96 << 20},
		"on a larger volume": {&compiled.AuditOptions{SpoolBytes: 1 << 30, SpoolVolume: true}, 2<<30 + 64<<20},
	} {
		t.Run(name, func(t *testing.T) {
			s := sidecar()
			s.Policy.AuditOptions = tt.options
			got := int64(0)
			for _, v := range s.Volumes() {
				if v.EmptyDir != nil {
					got = v.EmptyDir.SizeLimit.Value()
				}
			}
			if got != tt.want {
				t.Errorf("a volume of %d bytes; want %d", got, tt.want)
			}
			containers, err := s.InitContainers(Pod{})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range containers {
				mounted, wanted := false, tt.want > 0 && c.Name == SidecarName
				for _, m := range c.VolumeMounts {
					mounted = mounted || m.Name == spoolVolume && m.MountPath == compiled.SpoolDir && !m.ReadOnly
				}
				if mounted != wanted || (environmentOf(c)[compiled.EnvSpoolDir] == compiled.SpoolDir) != wanted {
					t.Errorf("%s: mounted %t, environment %q; want %t", c.Name, mounted, environmentOf(c)[compiled.EnvSpoolDir], wanted)
				}
			}
			hash, err := InjectionHash(s)
			if err != nil {
				t.Fatal(err)
			}
			seen[hash] = name
		})
	}
	if len(seen) != 3 {
		t.Errorf("%d hashes for three kinds of pods: %v", len(seen), seen)
	}
}
