package compiled

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// issuing returns full with all sections about tokens, and with every secret in Vault that can be there.
func issuing() *Policy {
	p := full()
	hour := Duration(time.Hour)
	p.Tokens = &Tokens{
		Issuer: "https://shop.example.com", Audiences: []string{"shop"}, ClientID: "shop/orders", Algorithm: "ES256", AccessLifetime: hour,
		Delivery: "Body", SameSite: "Lax", SigningKey: SigningKey{Transit: &TransitKey{Mount: "transit", Key: "shop"}}, RotationOverlap: hour, Prefix: "/auth",
	}
	p.Sessions = &Sessions{IdleTimeout: hour, AbsoluteTimeout: hour, WhenFull: "Reject", Bind: "None", SubjectFrom: "sid", OnFailure: Deny, Mode: Enforce}
	p.Revocation = &Revocation{MaxStaleness: Duration(5 * time.Second), OnFailure: Deny, Mode: Shadow}
	p.RevokedTokens = []RevokedTokens{
		{Name: "a", Kind: RevokedToken, Issuer: "i", Value: "j", Expires: 2},
		{Name: "b", Kind: RevokedSubject, Issuer: "i", Value: "s", Before: 1, Expires: 2},
		{Name: "c", Kind: RevokedKey, Issuer: "i", Value: "k"},
	}
	p.Passwords = &Passwords{Algorithm: "Argon2id", Memory: 19 << 10, Passes: 2, Parallelism: 1}
	p.Providers[0].BackChannelLogout = &BackChannelLogout{ClientIDs: []string{"c"}}
	p.Redis.Password = &SecretRef{VaultPath: "secret/redis", Key: "password", VaultVersion: 3}
	p.Redis.TLS = &RedisTLS{Certificate: &SecretRef{Name: "tls", Key: "crt"}, Key: &SecretRef{VaultPath: "secret/redis", Key: "key"}}
	p.Vault = &Vault{
		Address: "https://vault", Timeout: hour, PollInterval: hour, MaxStale: hour,
		AppRole: &VaultAppRole{Mount: "approle", RoleID: "r", SecretID: &SecretRef{Name: "id", Key: "k"}},
	}
	return p
}

func TestRoundTripOfTokens(t *testing.T) {
	b := encode(t, issuing())
	p, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := encode(t, p); !bytes.Equal(b, again) {
		t.Errorf("decoding and encoding changes the document:\n%s\n%s", b, again)
	}
	want := []SecretRef{
		{Name: "hmac", Key: "key"}, {VaultPath: "secret/redis", Key: "password", VaultVersion: 3}, {Name: "redis", Key: "password"}, {Name: "tls", Key: "crt"},
		{VaultPath: "secret/redis", Key: "key"}, {Name: "id", Key: "k"},
	}
	if refs := p.SecretRefs(); !slices.Equal(refs, want) {
		t.Errorf("secrets = %+v", refs)
	}
	for i, at := range []int64{2, 2, 0} {
		if r := p.RevokedTokens[i]; r.ExpiresAt().IsZero() != (at == 0) || at > 0 && r.ExpiresAt().Unix() != at || r.BeforeTime().IsZero() != (r.Before == 0) {
			t.Errorf("%+v: %v, %v", r, r.ExpiresAt(), r.BeforeTime())
		}
	}
}

func TestUsesVault(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Policy)
		want   bool
	}{
		"nothing":       {func(*Policy) {}, false},
		"a secret":      {func(p *Policy) { p.Redis.Password = &SecretRef{VaultPath: "a/b", Key: "k"} }, true},
		"a signing key": {func(p *Policy) { p.Tokens = &Tokens{SigningKey: SigningKey{Secret: &SecretRef{VaultPath: "a/b"}}} }, true},
		"Transit":       {func(p *Policy) { p.Tokens = &Tokens{SigningKey: SigningKey{Transit: &TransitKey{}}} }, true},
		"only a login":  {func(p *Policy) { p.Vault = issuing().Vault }, false},
	} {
		p := full()
		if tt.change(p); p.UsesVault() != tt.want {
			t.Errorf("%s: %t", name, !tt.want)
		}
	}
}

func TestDecodeRefusesTokens(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*Policy)
		wantErr string
	}{
		"no issuer":                             {func(p *Policy) { p.Tokens.Issuer = "" }, "tokens: issuer"},
		"no lifetime":                           {func(p *Policy) { p.Tokens.AccessLifetime = 0 }, "accessLifetime"},
		"no signing key":                        {func(p *Policy) { p.Tokens.SigningKey = SigningKey{} }, "exactly one of transit and secret"},
		"a Transit key without name":            {func(p *Policy) { p.Tokens.SigningKey.Transit.Key = "" }, "mount and key"},
		"an unknown algorithm":                  {func(p *Policy) { p.Tokens.Algorithm = "none" }, `algorithm is "none"`},
		"an unknown delivery":                   {func(p *Policy) { p.Tokens.Delivery = "Query" }, "delivery"},
		"an unknown SameSite":                   {func(p *Policy) { p.Tokens.SameSite = "None" }, "sameSite"},
		"tokens without sessions":               {func(p *Policy) { p.Sessions = nil }, "tokens: the sections sessions and revocation"},
		"tokens without revocation":             {func(p *Policy) { p.Revocation = nil }, "tokens: the sections sessions and revocation"},
		"sessions without absoluteTimeout":      {func(p *Policy) { p.Sessions.AbsoluteTimeout = 0 }, "sessions: idleTimeout and absoluteTimeout"},
		"a negative maxPerSubject":              {func(p *Policy) { p.Sessions.MaxPerSubject = -1 }, "maxPerSubject"},
		"no whenFull":                           {func(p *Policy) { p.Sessions.WhenFull = "" }, "whenFull"},
		"an unknown binding":                    {func(p *Policy) { p.Sessions.Bind = "Cookie" }, "bind"},
		"an unknown subject":                    {func(p *Policy) { p.Sessions.SubjectFrom = "email" }, "subjectFrom"},
		"sessions without onFailure":            {func(p *Policy) { p.Sessions.OnFailure = "" }, "onFailure"},
		"sessions without mode":                 {func(p *Policy) { p.Sessions.Mode = "" }, "mode"},
		"revocation without maxStaleness":       {func(p *Policy) { p.Revocation.MaxStaleness = 0 }, "maxStaleness"},
		"revocation without mode":               {func(p *Policy) { p.Revocation.Mode = "" }, "revocation: mode"},
		"too many revoked tokens":               {func(p *Policy) { p.RevokedTokens = slices.Repeat(p.RevokedTokens, MaxRevokedTokens) }, "more than 1000"},
		"a revocation without value":            {func(p *Policy) { p.RevokedTokens[0].Value = "" }, "revokedTokens[0]"},
		"a token with before":                   {func(p *Policy) { p.RevokedTokens[0].Before = 1 }, "before is required for kind Subject"},
		"a subject without before":              {func(p *Policy) { p.RevokedTokens[1].Before = 0 }, "before is required for kind Subject"},
		"a token without expires":               {func(p *Policy) { p.RevokedTokens[0].Expires = 0 }, "expires is required"},
		"a key with expires":                    {func(p *Policy) { p.RevokedTokens[2].Expires = 1 }, "expires is required"},
		"an unknown kind revoked":               {func(p *Policy) { p.RevokedTokens[0].Kind = "Client" }, "kind"},
		"an unknown hash algorithm":             {func(p *Policy) { p.Passwords.Algorithm = "MD5" }, "passwords: algorithm"},
		"argon2id without memory":               {func(p *Policy) { p.Passwords.Memory = 0 }, "memory, passes and parallelism"},
		"bcrypt without cost":                   {func(p *Policy) { p.Passwords = &Passwords{Algorithm: "Bcrypt"} }, "cost is required"},
		"back-channel logout without clientIDs": {func(p *Policy) { p.Providers[0].BackChannelLogout.ClientIDs = nil }, "clientIDs and the section revocation"},
		"a certificate without key":             {func(p *Policy) { p.Redis.TLS.Key = nil }, "certificate and key must be set together"},
		"a secret in two places":                {func(p *Policy) { p.Redis.Password.Name = "x" }, "exactly one of name and vaultPath"},
		"a secret without name and path":        {func(p *Policy) { p.Redis.Password.VaultPath = "" }, "exactly one of name and vaultPath"},
		"a secret in Vault without key":         {func(p *Policy) { p.Redis.Password.Key = "" }, "a key is required"},
		"a negative version":                    {func(p *Policy) { p.Redis.Password.VaultVersion = -1 }, "a version must not be negative"},
		"a certificate outside its folder":      {func(p *Policy) { p.Redis.TLS.Certificate.Name = "../token" }, "not a valid name and key of a Secret"},
		"a secret ID outside its folder":        {func(p *Policy) { p.Vault.AppRole.SecretID.Key = "a/b" }, "not a valid name and key of a Secret"},
		"no Vault":                              {func(p *Policy) { p.Vault = nil }, "vault is not set"},
		"Vault without address":                 {func(p *Policy) { p.Vault.Address = "" }, "vault: address"},
		"Vault without pollInterval":            {func(p *Policy) { p.Vault.PollInterval = 0 }, "pollInterval"},
		"Vault without login":                   {func(p *Policy) { p.Vault.AppRole = nil }, "exactly one of kubernetes, appRole and tokenFile"},
		"Vault with two logins":                 {func(p *Policy) { p.Vault.TokenFile = "/t" }, "exactly one of kubernetes, appRole and tokenFile"},
		"AppRole without a role":                {func(p *Policy) { p.Vault.AppRole.RoleID = "" }, "appRole: mount and roleID"},
		"a secret ID in Vault":                  {func(p *Policy) { p.Vault.AppRole.SecretID = &SecretRef{VaultPath: "a/b", Key: "k"} }, "cannot be in Vault"},
		"Kubernetes login without audience": {func(p *Policy) {
			p.Vault.AppRole, p.Vault.Kubernetes = nil, &VaultKubernetes{Mount: "kubernetes", Audience: "vault"}
		}, "kubernetes: mount, role and audience"},
	} {
		t.Run(name, func(t *testing.T) {
			p := issuing()
			tt.change(p)
			if _, err := Decode(encode(t, p)); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error = %v; want one with %q", err, tt.wantErr)
			}
		})
	}
}

func TestDecodeReportOfProblems(t *testing.T) {
	problem := func(text string) string { return fmt.Sprintf(`{"kind":"Vault","reason":"Sealed","message":%q}`, text) }
	good := problem(strings.Repeat("x", maxReportText-len("VaultSealed")))
	r, err := DecodeReport([]byte(`{"problems":[` + good + strings.Repeat(","+problem("x"), maxProblems-1) + `]}`))
	if err != nil || len(r.Problems) != maxProblems || r.Problems[0].Kind != ProblemVault {
		t.Errorf("a good report: %+v, %v", r, err)
	}
	for name, report := range map[string]string{
		"too many problems": `{"problems":[` + problem("x") + strings.Repeat(","+problem("x"), maxProblems) + `]}`,
		"too long a text":   `{"problems":[` + problem(strings.Repeat("x", maxReportText)) + `]}`,
	} {
		if _, err := DecodeReport([]byte(report)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzDecodeReport checks that a report from a hostile pod stays within its bounds.
func FuzzDecodeReport(f *testing.F) {
	f.Add([]byte(`{"hash":"sha256:x","schemaVersion":1,"reachable":["0.0.0.0:9000"],"problems":[{"kind":"Vault","reason":"Sealed"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeReport(b)
		if err != nil {
			return
		}
		if len(r.Problems) > maxProblems || len(r.Reachable) > maxReachable || len(r.Hash)+len(r.Error)+len(r.Refused)+len(r.Version) > 4*maxReportText {
			t.Errorf("the report exceeds its bounds: %+v", r)
		}
	})
}
