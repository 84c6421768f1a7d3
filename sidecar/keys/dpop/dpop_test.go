package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// The values of RFC 9449: the token and the proof of §7.1, and the thumbprint of §6.1.
const (
	rfcToken = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfcProof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5" +
		"IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1I" +
		"joiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1" +
		"OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	rfcThumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
)

var rules = Rules{Algorithms: Algorithms(), MaxAge: time.Minute, Leeway: 5 * time.Second}

func TestExampleOfRFC9449(t *testing.T) {
	b, err := NewBinding(rfcThumbprint, rfcToken)
	if err != nil {
		t.Fatal(err)
	}
	q := Request{Method: "GET", Scheme: "https", Host: "resource.example.org", Path: "/protectedresource"}
	at := time.Unix(1562262618, 0)
	for range 2 { // the second time with the known key
		if id, err := b.Verify(rfcProof, q, rules, at); err != nil || id != "e1j3V_bKic8-LAEB" {
			t.Fatalf("jti %q, %v", id, err)
		}
	}
	tests := map[string]struct {
		token, key string
		q          Request
		at         time.Time
		want       jwt.Reason
	}{
		"another token":  {token: rfcToken + "x", key: rfcThumbprint, q: q, at: at, want: Invalid},
		"another key":    {token: rfcToken, key: strings.Repeat("A", 43), q: q, at: at, want: OtherKey},
		"another method": {token: rfcToken, key: rfcThumbprint, q: Request{"POST", "https", "resource.example.org", "/protectedresource"}, at: at, want: Invalid},
		"too late":       {token: rfcToken, key: rfcThumbprint, q: q, at: at.Add(66 * time.Second), want: Invalid},
		"too early":      {token: rfcToken, key: rfcThumbprint, q: q, at: at.Add(-6 * time.Second), want: Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := NewBinding(tt.key, tt.token)
			if err != nil {
				t.Fatal(err)
			}
			if id, err := b.Verify(rfcProof, tt.q, rules, tt.at); err == nil || jwt.ReasonOf(err) != tt.want || id != "" {
				t.Errorf("jti %q, %v; want %s", id, err, tt.want)
			}
		})
	}
}

type object map[string]any

func (o object) with(name string, value any) object {
	o = maps.Clone(o)
	if o[name] = value; value == nil {
		delete(o, name)
	}
	return o
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signer is a key of a client.
type signer struct {
	algorithm string
	jwk       object
	private   crypto.Signer
}

func ecSigner(t testing.TB, algorithm, name string, curve elliptic.Curve) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	half := (len(point) - 1) / 2
	return signer{algorithm, object{"kty": "EC", "crv": name, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}, key}
}

func edSigner(t testing.TB) signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{"EdDSA", object{"kty": "OKP", "crv": "Ed25519", "x": b64(public)}, private}
}

func rsaSigner(t testing.TB, algorithm string) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return signer{algorithm, object{"kty": "RSA", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}, key}
}

// sign signs a proof with any header and claims.
func (s signer) sign(t testing.TB, header, claims object) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := b64(h) + "." + b64(c)
	name := s.algorithm
	if name == "Ed25519" {
		name = "EdDSA"
	}
	signature, err := gojwt.GetSigningMethod(name).Sign(signed, s.private)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(signature)
}

func (s signer) header() object {
	return object{"typ": "dpop+jwt", "alg": s.algorithm, "jwk": s.jwk}
}

// thumbprint computes RFC 7638 in another way than the package: encoding/json sorts the names.
func (s signer) thumbprint(t testing.TB) string {
	t.Helper()
	b, err := json.Marshal(s.jwk)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return b64(sum[:])
}

const token = "a.b.c"

var (
	now   = time.Unix(1_800_000_000, 0)
	query = Request{Method: "POST", Scheme: "https", Host: "orders.example.com", Path: "/orders?x=1"}
)

func good() object {
	sum := sha256.Sum256([]byte(token))
	return object{"jti": "j1", "htm": "POST", "htu": "https://orders.example.com/orders", "iat": now.Unix(), "ath": b64(sum[:])}
}

func (s signer) binding(t testing.TB) *Binding {
	t.Helper()
	b, err := NewBinding(s.thumbprint(t), token)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAlgorithms(t *testing.T) {
	ed := edSigner(t)
	ed2 := ed
	ed2.algorithm = "Ed25519"
	for name, s := range map[string]signer{
		"ES256": ecSigner(t, "ES256", "P-256", elliptic.P256()), "ES384": ecSigner(t, "ES384", "P-384", elliptic.P384()),
		"ES512": ecSigner(t, "ES512", "P-521", elliptic.P521()), "EdDSA": ed, "Ed25519": ed2, "RS256": rsaSigner(t, "RS256"), "PS512": rsaSigner(t, "PS512"),
	} {
		t.Run(name, func(t *testing.T) {
			b := s.binding(t)
			proof := s.sign(t, s.header(), good())
			for range 2 {
				if id, err := b.Verify(proof, query, rules, now); err != nil || id != "j1" {
					t.Fatalf("jti %q, %v", id, err)
				}
			}
			others := Rules{Algorithms: []string{"ES256K"}, MaxAge: time.Minute}
			if _, err := b.Verify(proof, query, others, now); jwt.ReasonOf(err) != Invalid {
				t.Errorf("the algorithm is not allowed: %v", err)
			}
			last := proof[:len(proof)-4] + "AAAA"
			if last == proof {
				last = proof[:len(proof)-4] + "BBBB"
			}
			if _, err := b.Verify(last, query, rules, now); jwt.ReasonOf(err) != Invalid {
				t.Errorf("another signature: %v", err)
			}
		})
	}
}

func TestRefusedProofs(t *testing.T) {
	s, other := ecSigner(t, "ES256", "P-256", elliptic.P256()), ecSigner(t, "ES256", "P-256", elliptic.P256())
	private := s.private.(*ecdsa.PrivateKey)
	d, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	h, c := s.header(), good()
	hmac := b64([]byte(`{"typ":"dpop+jwt","alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`)) + "." + b64([]byte(`{}`)) + ".AAAA"
	tests := map[string]struct {
		proof string
		want  jwt.Reason
	}{
		"empty":                    {"", Invalid},
		"not a JWT":                {"x", Invalid},
		"too large":                {s.sign(t, h, c.with("x", strings.Repeat("x", MaxSize))), Invalid},
		"two proofs":               {s.sign(t, h, c) + "," + s.sign(t, h, c), Invalid},
		"without typ":              {s.sign(t, h.with("typ", nil), c), Invalid},
		"typ of a token":           {s.sign(t, h.with("typ", "at+jwt"), c), Invalid},
		"alg none":                 {b64([]byte(`{"typ":"dpop+jwt","alg":"none"}`)) + "." + b64([]byte(`{}`)) + ".", Invalid},
		"symmetric":                {hmac, Invalid},
		"crit":                     {s.sign(t, h.with("crit", []string{"x"}), c), Invalid},
		"without jwk":              {s.sign(t, h.with("jwk", nil), c), Invalid},
		"jwk is a text":            {s.sign(t, h.with("jwk", "x"), c), Invalid},
		"private jwk":              {s.sign(t, h.with("jwk", s.jwk.with("d", b64(d))), c), Invalid},
		"jwk for another alg":      {s.sign(t, h.with("jwk", s.jwk.with("alg", "ES384")), c), Invalid},
		"jwk for encryption":       {s.sign(t, h.with("jwk", s.jwk.with("use", "enc")), c), Invalid},
		"jwk without y":            {s.sign(t, h.with("jwk", s.jwk.with("y", nil)), c), Invalid},
		"jwk with JSON in a value": {s.sign(t, h.with("jwk", s.jwk.with("crv", `P-256","x":"`)), c), Invalid},
		"another key":              {other.sign(t, other.header(), c), OtherKey},
		"signed by another key":    {other.sign(t, h, c), Invalid},
		"without jti":              {s.sign(t, h, c.with("jti", nil)), Invalid},
		"jti is a number":          {s.sign(t, h, c.with("jti", 1)), Invalid},
		"jti too long":             {s.sign(t, h, c.with("jti", strings.Repeat("j", maxID+1))), Invalid},
		"without htm":              {s.sign(t, h, c.with("htm", nil)), Invalid},
		"htm in lower case":        {s.sign(t, h, c.with("htm", "post")), Invalid},
		"without htu":              {s.sign(t, h, c.with("htu", nil)), Invalid},
		"another path":             {s.sign(t, h, c.with("htu", "https://orders.example.com/order")), Invalid},
		"without ath":              {s.sign(t, h, c.with("ath", nil)), Invalid},
		"ath of another token":     {s.sign(t, h, c.with("ath", b64(make([]byte, 32)))), Invalid},
		"without iat":              {s.sign(t, h, c.with("iat", nil)), Invalid},
		"iat is a text":            {s.sign(t, h, c.with("iat", "1800000000")), Invalid},
		"iat is huge":              {s.sign(t, h, c.with("iat", 1e300)), Invalid},
		"iat in the future":        {s.sign(t, h, c.with("iat", now.Unix()+6)), Invalid},
		"iat too long ago":         {s.sign(t, h, c.with("iat", now.Unix()-66)), Invalid},
	}
	for name, tt := range tests {
		for _, known := range []bool{false, true} {
			b := s.binding(t)
			if known {
				if _, err := b.Verify(s.sign(t, h, c), query, rules, now); err != nil {
					t.Fatal(err)
				}
			}
			if id, err := b.Verify(tt.proof, query, rules, now); err == nil || jwt.ReasonOf(err) != tt.want || id != "" {
				t.Errorf("%s: jti %q, %v; want %s", name, id, err, tt.want)
			}
		}
	}
}

// TestWeakKeys: a key that an issuer could not use is no key of a client.
func TestWeakKeys(t *testing.T) {
	small := signer{"RS256", object{"kty": "RSA", "e": "AQAB", "n": b64(append([]byte{0x80}, make([]byte, 127)...))}, nil}
	lowOrder := signer{"EdDSA", object{"kty": "OKP", "crv": "Ed25519", "x": b64(append([]byte{1}, make([]byte, 31)...))}, nil}
	offCurve := signer{"ES256", object{"kty": "EC", "crv": "P-256", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}, nil}
	for name, s := range map[string]signer{"1024 bits": small, "low order": lowOrder, "not on the curve": offCurve} {
		h, err := json.Marshal(s.header())
		if err != nil {
			t.Fatal(err)
		}
		c, err := json.Marshal(good())
		if err != nil {
			t.Fatal(err)
		}
		proof := b64(h) + "." + b64(c) + "." + b64(make([]byte, 64))
		if _, err := s.binding(t).Verify(proof, query, rules, now); jwt.ReasonOf(err) != Invalid || !strings.Contains(err.Error(), "jwk") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTargets(t *testing.T) {
	tests := map[string]struct {
		htu  string
		q    Request
		want bool
	}{
		"equal":                  {"https://a.example/x", Request{Scheme: "https", Host: "a.example", Path: "/x"}, true},
		"query and fragment":     {"https://a.example/x?y#z", Request{Scheme: "https", Host: "a.example", Path: "/x?q"}, true},
		"case of the host":       {"HTTPS://A.Example/x", Request{Scheme: "https", Host: "a.eXAMPLE", Path: "/x"}, true},
		"case of the path":       {"https://a.example/X", Request{Scheme: "https", Host: "a.example", Path: "/x"}, false},
		"default port":           {"https://a.example:443/x", Request{Scheme: "https", Host: "a.example", Path: "/x"}, true},
		"default port of http":   {"http://a.example/x", Request{Scheme: "http", Host: "a.example:80", Path: "/x"}, true},
		"port of another scheme": {"https://a.example:80/x", Request{Scheme: "https", Host: "a.example", Path: "/x"}, false},
		"another port":           {"https://a.example:8443/x", Request{Scheme: "https", Host: "a.example", Path: "/x"}, false},
		"empty port":             {"https://a.example:/x", Request{Scheme: "https", Host: "a.example", Path: "/x"}, true},
		"IPv6":                   {"https://[2001:DB8::1]/x", Request{Scheme: "https", Host: "[2001:db8::1]:443", Path: "/x"}, true},
		"empty path":             {"https://a.example", Request{Scheme: "https", Host: "a.example", Path: "/"}, true},
		"no slash, a query":      {"https://a.example?x", Request{Scheme: "https", Host: "a.example", Path: "/?y"}, true},
		"escapes":                {"https://a.example/%7ea%2fb", Request{Scheme: "https", Host: "a.example", Path: "/~a%2Fb"}, true},
		"an escaped slash":       {"https://a.example/a/b", Request{Scheme: "https", Host: "a.example", Path: "/a%2Fb"}, false},
		"bytes above ASCII":      {"https://a.example/%C3%A9", Request{Scheme: "https", Host: "a.example", Path: "/é"}, true},
		"dot segments":           {"https://a.example/a/./b/../c", Request{Scheme: "https", Host: "a.example", Path: "/a/c"}, true},
		"dots at the end":        {"https://a.example/a/b/..", Request{Scheme: "https", Host: "a.example", Path: "/a/"}, true},
		"above the root":         {"https://a.example/../../c", Request{Scheme: "https", Host: "a.example", Path: "/c"}, true},
		"a hidden file":          {"https://a.example/.c", Request{Scheme: "https", Host: "a.example", Path: "/.c"}, true},
		"empty segments":         {"https://a.example//c", Request{Scheme: "https", Host: "a.example", Path: "/c"}, false},
		"scheme":                 {"http://a.example/x", Request{Scheme: "https", Host: "a.example", Path: "/x"}, false},
		"unknown scheme, http":   {"http://a.example/x", Request{Host: "a.example", Path: "/x"}, true},
		"unknown scheme, https":  {"https://a.example/x", Request{Host: "a.example:443", Path: "/x"}, true},
		"ftp":                    {"ftp://a.example/x", Request{Host: "a.example", Path: "/x"}, false},
		"relative":               {"/x", Request{Scheme: "https", Host: "a.example", Path: "/x"}, false},
		"user":                   {"https://a.example@b.example/x", Request{Scheme: "https", Host: "b.example", Path: "/x"}, false},
		"host as the user":       {"https://b.example/x", Request{Scheme: "https", Host: "a@b.example", Path: "/x"}, false},
		"another host":           {"https://a.example.evil/x", Request{Scheme: "https", Host: "a.example", Path: "/x"}, false},
		"no host":                {"https:///x", Request{Scheme: "https", Path: "/x"}, false},
		"backslash":              {`https://a.example\@b.example/x`, Request{Scheme: "https", Host: "a.example", Path: "/x"}, false},
	}
	for name, tt := range tests {
		if err := tt.q.matches(tt.htu); (err == nil) != tt.want {
			t.Errorf("%s: %v; want %v", name, err, tt.want)
		}
	}
}

func TestThumbprints(t *testing.T) {
	for name, text := range map[string]string{"short": rfcThumbprint[:42], "long": rfcThumbprint + "A", "unused bits": rfcThumbprint[:42] + "J", "line break": rfcThumbprint[:42] + "\n", "padding": rfcThumbprint[:42] + "="} {
		if _, err := ParseThumbprint(text); err == nil {
			t.Errorf("%s: %q is accepted", name, text)
		}
	}
	if k, err := ParseThumbprint(rfcThumbprint); err != nil || k.String() != rfcThumbprint {
		t.Errorf("%s, %v", k, err)
	}
}

// FuzzVerify: only a proof that its key has signed is good, and nothing else panics.
func FuzzVerify(f *testing.F) {
	s := ecSigner(f, "ES256", "P-256", elliptic.P256())
	proof := s.sign(f, s.header(), good())
	f.Add(proof)
	f.Add(rfcProof)
	f.Add(strings.Replace(proof, ".", "..", 1))
	b := s.binding(f)
	signed := proof[:strings.LastIndexByte(proof, '.')]
	f.Fuzz(func(t *testing.T, input string) {
		if _, err := b.Verify(input, query, rules, now); err == nil && !strings.HasPrefix(input, signed+".") {
			t.Fatalf("%q is accepted", input)
		}
	})
}

// FuzzTarget: an htu that matches names the host of the request.
func FuzzTarget(f *testing.F) {
	f.Add("https://a.example/x", "a.example", "/x")
	f.Add("https://a.example:443/%7e/../x?y", "A.example", "/x")
	f.Fuzz(func(t *testing.T, htu, host, path string) {
		q := Request{Scheme: "https", Host: host, Path: path}
		if q.matches(htu) != nil {
			return
		}
		bare := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(host), ":443"), ":")
		if !strings.HasPrefix(strings.ToLower(htu), "https://"+bare) {
			t.Fatalf("%q matches the host %q", htu, host)
		}
		if again := pathOf(pathOf(path)); again != pathOf(path) {
			t.Fatalf("%q is normalised to %q, and that to %q", path, pathOf(path), again)
		}
	})
}
