package compression

import "testing"

func TestNegotiate(t *testing.T) {
	tests := map[string]struct {
		lines []string
		want  string
	}{
		"nothing":            {want: "identity"},
		"empty":              {lines: []string{""}, want: "identity"},
		"a browser":          {lines: []string{"gzip, deflate, br, zstd"}, want: "zstd"},
		"an older browser":   {lines: []string{"gzip, deflate, br"}, want: "br"},
		"gzip":               {lines: []string{"gzip"}, want: "gzip"},
		"capitals":           {lines: []string{"GZIP;Q=1"}, want: "gzip"},
		"x-gzip":             {lines: []string{"x-gzip"}, want: "gzip"},
		"several lines":      {lines: []string{"deflate", "br"}, want: "br"},
		"weights":            {lines: []string{"zstd;q=0.5, br;q=0.8, gzip;q=0.9"}, want: "gzip"},
		"three digits":       {lines: []string{"zstd;q=0.001, br ; q=0.002"}, want: "br"},
		"refused":            {lines: []string{"gzip;q=0"}, want: "identity"},
		"all except two":     {lines: []string{"*, zstd;q=0, br;q=0.0"}, want: "gzip"},
		"wildcard":           {lines: []string{"*"}, want: "zstd"},
		"wildcard refused":   {lines: []string{"gzip, *;q=0"}, want: "gzip"},
		"identity refused":   {lines: []string{"identity;q=0"}, want: "identity"},
		"unknown":            {lines: []string{"deflate, compress"}, want: "identity"},
		"no weight after q":  {lines: []string{"gzip;q=, br;q=0.1"}, want: "br"},
		"a weight beyond 1":  {lines: []string{"gzip;q=1.5, br;q=0.1"}, want: "br"},
		"too many digits":    {lines: []string{"gzip;q=0.9999, br;q=0.1"}, want: "br"},
		"a negative weight":  {lines: []string{"gzip;q=-1"}, want: "identity"},
		"not a number":       {lines: []string{"gzip;q=0.x"}, want: "identity"},
		"another parameter":  {lines: []string{"gzip;level=1"}, want: "identity"},
		"an extra parameter": {lines: []string{"gzip;q=1;a=b"}, want: "identity"},
		"a longer name":      {lines: []string{"gzipped"}, want: "identity"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := negotiate(tt.lines).name(); got != tt.want {
				t.Errorf("negotiate(%q) = %s; want %s", tt.lines, got, tt.want)
			}
		})
	}
}

func FuzzNegotiate(f *testing.F) {
	for _, seed := range []string{"gzip, br;q=0.5", "*;q=0", "zstd;q=1.000", ";;,q=", "gzip;q=0.1234"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if c := negotiate([]string{line}); c < 0 || c > identity {
			t.Fatalf("negotiate(%q) = %d", line, c)
		}
		if c := negotiate([]string{line, "zstd;q=0,br;q=0,gzip;q=0"}); c != identity {
			t.Fatalf("%q accepts no coding, got %s", line, c.name())
		}
		if w, ok := parseWeight(line); w < 0 || (ok && w > 1000) {
			t.Fatalf("parseWeight(%q) = %d, %v", line, w, ok)
		}
	})
}
