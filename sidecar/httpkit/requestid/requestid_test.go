package requestid

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

const kept = "4bf92f35-77b3.4da6_A~1:2/3+4=@;|"

func TestOf(t *testing.T) {
	tests := map[string]struct {
		keep    Source
		trusted bool
		sent    []string
		want    string // "" for a new id
	}{
		"none sent":                 {keep: Always},
		"never":                     {keep: Never, trusted: true, sent: []string{kept}},
		"from a trusted proxy":      {keep: TrustedProxies, trusted: true, sent: []string{kept}, want: kept},
		"from another peer":         {keep: TrustedProxies, sent: []string{kept}},
		"from every client":         {keep: Always, sent: []string{kept}, want: kept},
		"empty":                     {keep: Always, sent: []string{""}},
		"several":                   {keep: Always, sent: []string{kept, kept}},
		"a list":                    {keep: Always, sent: []string{"a,b"}},
		"a space":                   {keep: Always, sent: []string{"a b"}},
		"a line break":              {keep: Always, sent: []string{"a\nb"}},
		"a quote":                   {keep: Always, sent: []string{`a"b`}},
		"HTML":                      {keep: Always, sent: []string{"<b>"}},
		"not ASCII":                 {keep: Always, sent: []string{"é"}},
		"as long as possible":       {keep: Always, sent: []string{strings.Repeat("a", MaxLength)}, want: strings.Repeat("a", MaxLength)},
		"longer":                    {keep: Always, sent: []string{strings.Repeat("a", MaxLength+1)}},
		"a bad one by a good proxy": {keep: TrustedProxies, trusted: true, sent: []string{"{}"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ids, err := New(Config{Header: "x-request-id", Keep: tt.keep, Trusted: func(*http.Request) bool { return tt.trusted }})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["X-Request-Id"] = tt.sent
			got := ids.Of(r, time.Now())
			if tt.want != "" && got != tt.want || tt.want == "" && !uuid7.MatchString(got) {
				t.Errorf("%q; want %q, or a UUID if that is empty", got, tt.want)
			}
		})
	}
}

// uuid7 is RFC 9562 §5.7.
var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestMake(t *testing.T) {
	// The example of RFC 9562, appendix A.6.
	at := time.UnixMilli(0x017F22E279B0)
	if id := Make(at); !strings.HasPrefix(id, "017f22e2-79b0-7") {
		t.Errorf("%s does not begin with its time", id)
	}
	seen := map[string]bool{}
	for range 1000 {
		id := Make(at)
		if !uuid7.MatchString(id) || seen[id] {
			t.Fatalf("%q is no UUID, or not new", id)
		}
		seen[id] = true
	}
	// The race detector makes the random bytes escape, which are 16.
	if n := testing.AllocsPerRun(100, func() { Make(at) }); n > 1+escaping {
		t.Errorf("an id takes %v allocations; want 1, the string", n)
	}
}

func TestNew(t *testing.T) {
	for name, c := range map[string]Config{
		"no header":  {Keep: Never},
		"no source":  {Header: "X-Request-ID"},
		"no proxies": {Header: "X-Request-ID", Keep: TrustedProxies},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add(kept)
	f.Add("a\r\nX: y")
	printable := regexp.MustCompile(`^[!-~]{1,128}$`)
	ids, err := New(Config{Header: "X-Request-ID", Keep: Always})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		r := &http.Request{Header: http.Header{ids.Header(): {sent}}}
		if id := ids.Of(r, time.Now()); !printable.MatchString(id) || strings.ContainsAny(id, "\"<>&\\',{}") {
			t.Errorf("%q is kept as %q", sent, id)
		}
	})
}
