package compiled

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// full returns a document with every section that does not concern tokens.
func full() *Policy {
	return &Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", UID: "u", Generation: 3, Revision: 7, Mode: Enforce, UndeclaredPorts: Deny,
		Ports: []Port{{Number: 8080, Protocol: HTTP}, {Name: "raw", Protocol: TCP}},
		Providers: []Provider{{
			Name: "corp", Issuer: "https://id.example.com", Audiences: []string{"orders"}, Algorithms: []string{"HS256"},
			Keys: Keys{Secret: &SecretRef{Name: "hmac", Key: "key"}}, Leeway: Duration(30 * time.Second),
		}},
		Authorization: Authorization{Default: RequireAuthenticated, Mode: Enforce, Rules: []AuthorizationRule{
			{Name: "public", Match: []Match{{Paths: []string{"/public/**"}}}, Require: RequireAnonymous, Mode: Enforce},
		}},
		RateLimits: []RateLimit{{
			Name: "login", Limit: 5, Period: Duration(time.Minute), Burst: 5, KeyBy: []RateLimitKey{{Type: KeyHeader, Name: "X-Tenant"}}, Mode: Shadow, OnFailure: Allow,
		}},
		Headers:     &Headers{Preset: "Strict"},
		CORS:        &CORS{AllowOrigins: []string{"https://app.example.com"}, MaxAge: Duration(time.Hour)},
		Compression: &Compression{MinSize: 1024},
		Sidecar:     SidecarOptions{TrustedProxies: []string{"10.0.0.0/8"}, AccessLog: "All", LogLevel: "info", DrainTimeout: Duration(25 * time.Second)},
		Redis: &Redis{
			Mode: "Sentinel", Addresses: []string{"a:26379"}, MasterName: "m", Timeout: Duration(100 * time.Millisecond),
			Password: &SecretRef{Name: "redis", Key: "password"}, SentinelPassword: &SecretRef{Name: "redis", Key: "password"},
		},
	}
}

// served returns a section with a certificate of a Secret.
func served() *TLS {
	return &TLS{Mode: TLSRequire, MinVersion: TLS12, Certificates: []Certificate{{Chain: &SecretRef{Name: "a", Key: "tls.crt"}, Key: &SecretRef{Name: "a", Key: "tls.key"}}}}
}

func encode(t testing.TB, p *Policy) []byte {
	t.Helper()
	b, err := Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	b := encode(t, full())
	p, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := encode(t, p); !bytes.Equal(b, again) {
		t.Errorf("decoding and encoding changes the document:\n%s\n%s", b, again)
	}
	if refs := p.SecretRefs(); !slices.Equal(refs, []SecretRef{{Name: "hmac", Key: "key"}, {Name: "redis", Key: "password"}}) {
		t.Errorf("secrets = %v", refs)
	}
}

func TestDecodeRefuses(t *testing.T) {
	changes := map[string]struct {
		change  func(*Policy)
		wantErr string
	}{
		"no name":                       {func(p *Policy) { p.Name = "" }, "namespace and name"},
		"no revision":                   {func(p *Policy) { p.Revision = 0 }, "revision"},
		"no schema version":             {func(p *Policy) { p.SchemaVersion = 0 }, "schemaVersion"},
		"a newer schema version":        {func(p *Policy) { p.SchemaVersion = 2 }, "newer"},
		"an unknown mode":               {func(p *Policy) { p.Mode = "enforce" }, `mode is "enforce"`},
		"an unknown failure mode":       {func(p *Policy) { p.UndeclaredPorts = "" }, "undeclaredPorts"},
		"a port without number or name": {func(p *Policy) { p.Ports[0].Number = 0 }, "ports[0]"},
		"a port with both":              {func(p *Policy) { p.Ports[0].Name = "x" }, "ports[0]"},
		"an unknown protocol":           {func(p *Policy) { p.Ports[0].Protocol = "UDP" }, "protocol"},
		"a provider without alg":        {func(p *Policy) { p.Providers[0].Algorithms = nil }, "algorithms"},
		"a provider without keys":       {func(p *Policy) { p.Providers[0].Keys = Keys{} }, "exactly one of uri"},
		"two sources of keys":           {func(p *Policy) { p.Providers[0].Keys.URI = "https://x" }, "exactly one of uri"},
		"no audience and no claim":      {func(p *Policy) { p.Providers[0].Audiences = nil }, "audiences or requiredClaims"},
		"a secret outside its folder":   {func(p *Policy) { p.Providers[0].Keys.Secret.Key = "../../token" }, "not a valid name and key of a Secret"},
		"a secret in the parent folder": {func(p *Policy) { p.Redis.Password.Name = ".." }, "not a valid name and key of a Secret"},
		"a rule without match":          {func(p *Policy) { p.Authorization.Rules[0].Match = nil }, "rules[0]"},
		"a rule without require":        {func(p *Policy) { p.Authorization.Rules[0].Require = "" }, "require"},
		"a limit of 0":                  {func(p *Policy) { p.RateLimits[0].Limit = 0 }, "rateLimits[0]"},
		"a limit of 0 with a burst":     {func(p *Policy) { p.RateLimits[0].Limit, p.RateLimits[0].MaxInFlight = 0, 1 }, "rateLimits[0]"},
		"a limit of 0 with a cost": {func(p *Policy) {
			p.RateLimits[0] = RateLimit{Name: "a", MaxInFlight: 1, Cost: &LimitCost{Requests: 2}, KeyBy: p.RateLimits[0].KeyBy, Mode: Enforce, OnFailure: Allow}
		}, "rateLimits[0]"},
		"a limit without key":        {func(p *Policy) { p.RateLimits[0].KeyBy = nil }, "rateLimits[0]"},
		"a header key without name":  {func(p *Policy) { p.RateLimits[0].KeyBy[0].Name = "" }, "keyBy[0]"},
		"an unknown key type":        {func(p *Policy) { p.RateLimits[0].KeyBy[0].Type = "IP" }, "keyBy[0]"},
		"an unknown preset":          {func(p *Policy) { p.Headers.Preset = "strict" }, "headers.preset"},
		"a proxy that is not a CIDR": {func(p *Policy) { p.Sidecar.TrustedProxies[0] = "10.0.0.1" }, "trustedProxies[0]"},
		"an unknown log level":       {func(p *Policy) { p.Sidecar.LogLevel = "loud" }, "logLevel"},
		"TLS without a certificate":  {func(p *Policy) { p.TLS = &TLS{Mode: TLSRequire, MinVersion: TLS12} }, "certificates are required"},
		"TLS of an unknown mode":     {func(p *Policy) { p.TLS = served(); p.TLS.Mode = "Optional" }, `mode is "Optional"`},
		"TLS 1.1":                    {func(p *Policy) { p.TLS = served(); p.TLS.MinVersion = "1.1" }, "minVersion"},
		"a certificate without key":  {func(p *Policy) { p.TLS = served(); p.TLS.Certificates[0].Key = nil }, "either chain and key or pki"},
		"a certificate of nothing":   {func(p *Policy) { p.TLS = served(); p.TLS.Certificates[0] = Certificate{} }, "either chain and key or pki"},
		"a PKI without a role":       {func(p *Policy) { p.TLS = served(); p.TLS.Certificates[0] = Certificate{PKI: &VaultPKI{Mount: "a"}} }, "role and commonName"},
		"a PKI without Vault": {func(p *Policy) {
			p.TLS = served()
			p.TLS.Certificates[0] = Certificate{PKI: &VaultPKI{"a", "b", "c", nil, 0}}
		}, "vault is not set"},
		"a certificate elsewhere": {func(p *Policy) { p.TLS = served(); p.TLS.Certificates[0].Key.Name = ".." }, "not a valid name and key of a Secret"},
		"clients without a CA":    {func(p *Policy) { p.TLS = served(); p.TLS.ClientCertificates = &ClientCertificates{} }, "ca is required"},
		"an unknown identity": {func(p *Policy) {
			p.TLS = served()
			p.TLS.ClientCertificates = &ClientCertificates{CA: &SecretRef{Name: "a", Key: "b"}, Identity: "Email"}
		}, "identity"},
		"an app without a CA":     {func(p *Policy) { p.UpstreamTLS = &UpstreamTLS{ServerName: "a"} }, "upstreamTLS: ca and serverName"},
		"redis without address":   {func(p *Policy) { p.Redis.Addresses = nil }, "redis"},
		"sentinel without master": {func(p *Policy) { p.Redis.MasterName = "" }, "masterName"},
	}
	for name, tt := range changes {
		t.Run(name, func(t *testing.T) {
			p := full()
			tt.change(p)
			if _, err := Decode(encode(t, p)); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error = %v; want one with %q", err, tt.wantErr)
			}
		})
	}
	good := string(encode(t, full()))
	texts := map[string]struct{ document, wantErr string }{
		"an unknown field":     {strings.Replace(good, `"mode"`, `"modus": 1, "mode"`, 1), "unknown field"},
		"trailing data":        {good + "{}", "invalid character"},
		"trailing bracket":     {good + "]", "invalid character"},
		"an empty document":    {"", "unexpected end"},
		"null":                 {"null", "schemaVersion"},
		"a list":               {"[]", "cannot unmarshal"},
		"a negative duration":  {strings.Replace(good, `"30s"`, `"-30s"`, 1), "not a duration"},
		"a number as duration": {strings.Replace(good, `"30s"`, `30`, 1), "cannot unmarshal"},
		"a port of 65536":      {strings.Replace(good, "8080", "65536", 1), "cannot unmarshal"},
		"too large":            {strings.Repeat(" ", MaxSize) + good, "more than"},
	}
	for name, tt := range texts {
		t.Run(name, func(t *testing.T) {
			if _, err := Decode([]byte(tt.document)); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error = %v; want one with %q", err, tt.wantErr)
			}
		})
	}
}

func TestSignatures(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Sign(full(), private)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Open(public); err != nil || p.Name != "orders" {
		t.Fatalf("opening: %v", err)
	}
	for name, bad := range map[string]Signed{
		"an edited document":          {Document: bytes.Replace(s.Document, []byte("Deny"), []byte("Allow"), 1), Signature: s.Signature},
		"no signature":                {Document: s.Document},
		"a short signature":           {Document: s.Document, Signature: s.Signature[:63]},
		"a signature without context": {Document: s.Document, Signature: ed25519.Sign(private, s.Document)},
	} {
		if _, err := bad.Open(public); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	if _, err := s.Open(nil); !errors.Is(err, ErrSignature) {
		t.Errorf("no key: error = %v", err)
	}
}

func TestResolvePorts(t *testing.T) {
	declared := []ContainerPort{{"http", 8080}, {"", 9090}, {"http", 8081}}
	tests := map[string]struct {
		ports   []Port
		want    []ResolvedPort
		wantErr bool
	}{
		"all declared":               {nil, []ResolvedPort{{8080, HTTP}, {9090, HTTP}, {8081, HTTP}}, false},
		"a number":                   {[]Port{{Number: 1234, Protocol: TCP}}, []ResolvedPort{{1234, TCP}}, false},
		"a name that two ports have": {[]Port{{Name: "http", Protocol: HTTP}}, []ResolvedPort{{8080, HTTP}, {8081, HTTP}}, false},
		"name and number":            {[]Port{{Number: 8080, Protocol: TCP}, {Name: "http", Protocol: HTTP}}, []ResolvedPort{{8080, TCP}, {8081, HTTP}}, false},
		"an unknown name":            {[]Port{{Name: "grpc", Protocol: HTTP}}, nil, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := (&Policy{Ports: tt.ports}).ResolvePorts(declared)
			if (err != nil) != tt.wantErr || !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestDecodeReport(t *testing.T) {
	if r, err := DecodeReport([]byte(`{"hash":"sha256:x","schemaVersion":1,"reachable":["0.0.0.0:9000"]}`)); err != nil || r.Hash != "sha256:x" {
		t.Errorf("a good report: %+v, %v", r, err)
	}
	for name, report := range map[string]string{
		"not JSON":           "{",
		"too large":          strings.Repeat(" ", MaxReportSize+1),
		"too long a text":    `{"error":"` + strings.Repeat("x", maxReportText+1) + `"}`,
		"too many listeners": `{"reachable":["a"` + strings.Repeat(`,"a"`, maxReachable) + `]}`,
	} {
		if _, err := DecodeReport([]byte(report)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, full()))
	f.Add(encode(f, issuing()))
	f.Add([]byte(`{"schemaVersion":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(encode(t, p))
		if err != nil || !bytes.Equal(encode(t, again), encode(t, p)) {
			t.Errorf("not stable: %v", err)
		}
	})
}
