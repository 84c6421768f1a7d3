package boilerplate

import (
	"strings"
	"testing"
)

// TestReportOfRefusedTokens: the report names no field that the policy does not have, and no value that another one replaced.
func TestReportOfRefusedTokens(t *testing.T) {
	const unnamed, carried = "The settings do not name the algorithm", "jwt.providers, algorithms"
	for name, tt := range map[string]struct {
		file       string
		port       int
		want, none []string
	}{
		"no algorithm":                  {file: "JWT_SECRET=" + good, want: []string{unnamed}},
		"no algorithm, and none needed": {file: "JWT_SECRET=short", none: []string{unnamed, "jwt.providers"}},
		"an algorithm":                  {file: "JWT_SECRET=" + good + "\nALGORITHM=HS256", want: []string{"ALGORITHM: " + carried}, none: []string{unnamed}},
		"an algorithm of no use":        {file: "JWT_SECRET=short\nALGORITHM=HS256", want: []string{"ALGORITHM: the old tokens are refused"}, none: []string{carried}},
		"a port":                        {file: "PORT=5000", want: []string{"PORT: spec.ports, 5000"}},
		"another port":                  {file: "PORT=5000", port: 8000, want: []string{"PORT: --port says 8000, which spec.ports has"}},
		"the same port":                 {file: "PORT=8000", port: 8000, want: []string{"PORT: spec.ports, 8000"}},
		"a port of the environment":     {file: "PORT=${OTHER}", want: []string{"PORT: its value is not in the settings, so spec.ports has 8000"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := translateFile(t, tt.file, func(o *Options) { o.Port = tt.port })
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if strings.Count(got.Report, want) != 1 {
					t.Errorf("no %q in\n%s", want, got.Report)
				}
			}
			for _, none := range tt.none {
				if strings.Contains(got.Report, none) {
					t.Errorf("%q in\n%s", none, got.Report)
				}
			}
		})
	}
}
