package render

import (
	"reflect"
	"testing"
)

func TestRunsImage(t *testing.T) {
	const digest = "@sha256:0000000000000000000000000000000000000000000000000000000000000000"
	for name, tc := range map[string]struct {
		image, got string
		want       bool
	}{
		"the same":                   {"docker.io/postern/sidecar:1", "docker.io/postern/sidecar:1", true},
		"registry replaced":          {"docker.io/postern/sidecar:1", "corp.example/postern/sidecar:1", true},
		"mirror in front":            {"docker.io/postern/sidecar:1", "corp.example/docker.io/postern/sidecar:1", true},
		"mirror with a path":         {"docker.io/postern/sidecar:1", "corp.example:5000/cache/postern/sidecar:1", true},
		"no registry":                {"postern/sidecar:1", "corp.example/postern/sidecar:1", true},
		"no registry, docker.io":     {"postern/sidecar:1", "corp.example/docker.io/postern/sidecar:1", true},
		"a digest":                   {"docker.io/postern/sidecar" + digest, "corp.example/postern/sidecar" + digest, true},
		"a port":                     {"registry:5000/sidecar:1", "corp.example/registry:5000/sidecar:1", true},
		"another tag":                {"docker.io/postern/sidecar:1", "corp.example/postern/sidecar:2", false},
		"a tag for a digest":         {"docker.io/postern/sidecar" + digest, "corp.example/postern/sidecar:1", false},
		"another repository":         {"docker.io/postern/sidecar:1", "corp.example/postern/other:1", false},
		"a shorter path":             {"docker.io/postern/sidecar:1", "corp.example/sidecar:1", false},
		"a longer path":              {"docker.io/postern/sidecar:1", "corp.example/evil/postern/sidecar:1", false},
		"another mirror":             {"docker.io/postern/sidecar:1", "evil.example/postern/sidecar:1", false},
		"a mirror's name as a part":  {"docker.io/postern/sidecar:1", "evil.example/corp.example/postern/sidecar:1", false},
		"a mirror's name as a start": {"docker.io/postern/sidecar:1", "corp.example.evil/postern/sidecar:1", false},
		"empty":                      {"docker.io/postern/sidecar:1", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sidecar()
			s.Class.Spec.Image, s.Settings.ImageMirrors = tc.image, []string{"corp.example", "corp.example:5000/cache"}
			if got := s.RunsImage(tc.got); got != tc.want {
				t.Errorf("%s for %s: %t", tc.got, tc.image, got)
			}
			s.Settings.ImageMirrors = nil
			if s.RunsImage(tc.got) != (tc.image == tc.got) {
				t.Errorf("without mirrors %s is accepted for %s", tc.got, tc.image)
			}
		})
	}
}

func TestParseImageMirrors(t *testing.T) {
	for list, want := range map[string][]string{
		"": nil, " corp.example , localhost/x,": {"corp.example", "localhost/x"}, "corp:5000": {"corp:5000"},
		"https://corp.example": nil, "corp": nil, "corp.example/": nil, "corp.example//x": nil, "*.example": nil, "corp.example/x@y": nil, "/x": nil,
	} {
		got, err := ParseImageMirrors(list)
		if !reflect.DeepEqual(got, want) || (err == nil) != (want != nil || list == "") {
			t.Errorf("%q: got %v, %v", list, got, err)
		}
	}
}
