package boilerplate

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// good is a secret that no template has.
const good = "Kq7sN2xVb9Rf4TzLm1Yc8WdHg6Pj3EuA"

// translated is a result with its objects.
type translated struct {
	*Result
	policy v1alpha1.SecurityPolicy
	class  v1alpha1.SidecarClass
}

func translateFile(t testing.TB, file string, change func(*Options)) (translated, error) {
	t.Helper()
	s, err := Read([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	o := shop()
	if change != nil {
		change(&o)
	}
	result, err := Translate(s, o)
	if err != nil {
		return translated{}, err
	}
	out := translated{Result: result}
	if err := yaml.Unmarshal(result.Policy, &out.policy); err != nil {
		t.Fatalf("%v in\n%s", err, result.Policy)
	}
	if err := yaml.Unmarshal(result.Class, &out.class); err != nil {
		t.Fatalf("%v in\n%s", err, result.Class)
	}
	return out, nil
}

// TestOldTokens: which tokens of the former code are accepted, and why others are not.
func TestOldTokens(t *testing.T) {
	tests := map[string]struct {
		file       string
		change     func(*Options)
		wantLegacy bool
		wantShort  bool
		wantReport string
	}{
		"a good secret":               {file: "JWT_SECRET=" + good, wantLegacy: true},
		"HS512 needs more":            {file: "JWT_SECRET=" + good + "\nJWT_ALGORITHM=HS512", wantReport: "JWT_SECRET: it is shorter than HS512 requires (RFC 7518 §3.2)"},
		"HS512 with enough":           {file: "JWT_SECRET=" + good + good + "\nALGORITHM=hs512", wantLegacy: true},
		"short":                       {file: "SECRET_KEY=kq7sN2xVb9Rf4TzLm1", wantReport: "SECRET_KEY: it is shorter than HS256 requires"},
		"short, accepted":             {file: "SECRET_KEY=kq7sN2xVb9Rf4TzLm1", change: func(o *Options) { o.AcceptWeak = true }, wantLegacy: true, wantShort: true, wantReport: "make legacy.until as early as you can"},
		"too short to be accepted":    {file: "SECRET_KEY=secret", change: func(o *Options) { o.AcceptWeak = true }, wantReport: "it has less than 16 bytes"},
		"an example":                  {file: "JWT_SECRET=please-change-this-secret-in-production-now", wantReport: "it looks like the example of a template"},
		"the example of FastAPI":      {file: "SECRET_KEY=09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", wantReport: "example of a template"},
		"an insecure key of Django":   {file: "DJANGO_SECRET_KEY='django-insecure-" + good + "'", wantReport: "example of a template"},
		"no signature":                {file: "JWT_SECRET=" + good + "\nJWT_ALGORITHM=none", wantReport: "JWT_ALGORITHM: tokens without a signature can be made by anybody"},
		"a public key":                {file: "JWT_SECRET=" + good + "\nJWT_ALGORITHM=RS256", wantReport: "JWT_ALGORITHM: only HS256, HS384 and HS512"},
		"no secret":                   {file: "DEBUG=1", wantReport: "the settings have no secret that signs them"},
		"a secret of the environment": {file: "JWT_SECRET=${OTHER}", wantLegacy: true},
		"an unknown algorithm":        {file: "JWT_SECRET=" + good + "\nALGORITHM=${OTHER}", wantReport: "ALGORITHM: it refers to ${OTHER}"},
		"base64":                      {file: "JWT_SECRET=S3E3c04yeFZiOVJmNFR6TG0xWWM4V2RIZzZQajNFdUE=", change: func(o *Options) { o.Base64 = true }, wantLegacy: true},
		"base64 of less":              {file: "JWT_SECRET=" + good, change: func(o *Options) { o.Base64 = true }, wantReport: "it is shorter than HS256"},
		"no base64":                   {file: "JWT_SECRET='not base64!'", change: func(o *Options) { o.Base64 = true }, wantReport: "it is not base64"},
		"the new issuer":              {file: "JWT_SECRET=" + good + "\nJWT_ISSUER=https://shop.example.com", wantReport: "JWT_ISSUER: it is the issuer of the new tokens too"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := translateFile(t, tt.file, tt.change)
			if err != nil {
				t.Fatal(err)
			}
			jwt := got.policy.Spec.JWT
			if (jwt != nil) != tt.wantLegacy || !strings.Contains(got.Report, tt.wantReport) || got.Until.IsZero() == tt.wantLegacy {
				t.Errorf("policy:\n%s\nreport:\n%s", got.Policy, got.Report)
			}
			if jwt != nil && (jwt.Providers[0].Legacy.ShortSecret == v1alpha1.FailAllow) != tt.wantShort {
				t.Errorf("shortSecret is %q", jwt.Providers[0].Legacy.ShortSecret)
			}
			if strings.Contains(string(got.Policy)+string(got.Class)+string(got.Commands)+got.Report, good) {
				t.Error("the secret is in the output")
			}
		})
	}
}

// TestCarried: settings that become fields, and those that are reported.
func TestCarried(t *testing.T) {
	tests := map[string]struct {
		file                   string
		rates                  []string
		wantPolicy, wantClass  string
		wantReport, wantAbsent string
	}{
		"* with credentials":           {file: "CORS_ORIGINS=*\nCORS_CREDENTIALS=true", wantReport: "CORS_ORIGINS: * with credentials", wantAbsent: "  cors:"},
		"* without credentials":        {file: "CORS_ORIGINS=*", wantPolicy: `allowOrigins: ["*"]`},
		"all origins of Django":        {file: "CORS_ALLOW_ALL_ORIGINS=True", wantPolicy: `allowOrigins: ["*"]`},
		"origins as JSON":              {file: `CORS_ORIGINS=["https://A.example/","https://a.example:443"]`, wantPolicy: `allowOrigins: ["https://a.example"]`},
		"origins as Python":            {file: `CORS_ORIGINS=['https://a.example', 'https://b.example']`, wantPolicy: `allowOrigins: ["https://a.example", "https://b.example"]`},
		"origins, one wrong":           {file: "CORS_ORIGINS=https://a.example,hunter2", wantPolicy: `["https://a.example"]`, wantReport: "CORS_ORIGINS: entry 2: it is not an origin"},
		"an origin that breaks out":    {file: "CORS_ORIGINS='https://a\"]\n    x: [\"'", wantReport: "CORS_ORIGINS: entry 1", wantAbsent: "x: ["},
		"* as method with credentials": {file: "CORS_ORIGINS=https://a.example\nCORS_METHODS=*\nCORS_CREDENTIALS=1", wantReport: "CORS_METHODS: entry 1", wantAbsent: "allowMethods"},
		"a limit of a route":           {file: "", rates: []string{"otp=POST /otp/ 5/minute;20/day"}, wantPolicy: `{name: "otp-2", match: [{methods: [POST], paths: ["/otp"]}], limit: 20/day}`},
		"a limit of no known route":    {file: "RATE_LIMIT_OTP=5/minute", wantReport: "--rate-limit 'otp=POST /otp 5/minute'", wantAbsent: "name: \"otp\""},
		"a limit that is given":        {file: "RATE_LIMIT_OTP=5/minute", rates: []string{"otp=POST /2fa 5/minute"}, wantPolicy: `paths: ["/2fa"]`, wantAbsent: "name: \"otp-2\""},
		"express":                      {file: "RATE_LIMIT_WINDOW_MS=900000\nRATE_LIMIT_MAX=100", wantPolicy: `{name: "api", limit: 100/15m}`},
		"per minute":                   {file: "RATE_LIMIT_PER_MINUTE=60", wantPolicy: `{name: "api", limit: 60/minute}`},
		"a window without a unit":      {file: "RATE_LIMIT_WINDOW=15\nRATE_LIMIT_MAX=100", wantReport: "RATE_LIMIT_WINDOW: its unit is not known"},
		"a rate that is none":          {file: "RATE_LIMIT_API=often", wantReport: "RATE_LIMIT_API: it is not a rate"},
		"a long access token":          {file: "ACCESS_TOKEN_EXPIRE_MINUTES=11520", wantReport: "ACCESS_TOKEN_EXPIRE_MINUTES: an access token", wantAbsent: "accessLifetime"},
		"an expression":                {file: "ACCESS_TOKEN_EXPIRE_MINUTES=60 * 24", wantReport: "ACCESS_TOKEN_EXPIRE_MINUTES: its unit is not known", wantAbsent: "accessLifetime"},
		"a lifetime of jsonwebtoken":   {file: "JWT_EXPIRES_IN=15m\nJWT_REFRESH_EXPIRES_IN=7d", wantPolicy: "accessLifetime: 15m\n    refreshLifetime: 168h"},
		"a number of jsonwebtoken":     {file: "JWT_EXPIRES_IN=3600", wantReport: "JWT_EXPIRES_IN: its unit is not known"},
		"cookies":                      {file: "JWT_COOKIE_NAME=jwt\nCOOKIE_SAMESITE=Strict", wantPolicy: "delivery: Cookie\n    cookie: {sameSite: Strict}"},
		"cookies of other sites":       {file: "JWT_COOKIE_NAME=jwt\nCOOKIE_SAMESITE=None\nCOOKIE_SECURE=false\nCOOKIE_DOMAIN=.example.com", wantReport: "COOKIE_SAMESITE: the cookies are Lax or Strict", wantAbsent: "sameSite"},
		"cookies with *":               {file: "JWT_COOKIE_NAME=jwt\nCORS_ORIGINS=*", wantReport: "CORS_ORIGINS: * with credentials"},
		"bcrypt":                       {file: "BCRYPT_ROUNDS=12", wantReport: "BCRYPT_ROUNDS: it is the app's cost of hashes"},
		"composition":                  {file: "PASSWORD_REQUIRE_UPPERCASE=true", wantReport: "PASSWORD_REQUIRE_UPPERCASE: rules about the kinds of characters"},
		"unknown":                      {file: "STRIPE_KEY=hunter2hunter2hunter2", wantReport: "left to the app: STRIPE_KEY"},
		"log level":                    {file: "LOG_LEVEL=WARNING", wantClass: "logLevel: warn"},
		"proxies":                      {file: "TRUSTED_PROXIES=10.1.2.3/8,*,0.0.0.0/0", wantClass: `trustedProxies: ["10.0.0.0/8"]`, wantReport: "TRUSTED_PROXIES: entry 3 is every address"},
		"a Redis of parts":             {file: "REDIS_HOST=r\nREDIS_PORT=7000\nREDIS_DB=4\nREDIS_PASSWORD=swordfish\nREDIS_SSL=true", wantClass: "addresses: [\"r:7000\"]\n    database: 4\n    passwordRef: {secretKeyRef: {name: \"shop-redis\", key: password}}\n    tls: {}"},
		"a password beside a URL":      {file: "REDIS_URL=redis://r\nREDIS_PASSWORD=swordfish", wantClass: "passwordRef"},
		"a password that is not known": {file: "REDIS_HOST=r\nREDIS_PASSWORD=${X}", wantClass: "passwordRef"},
		"two servers":                  {file: "REDIS_CACHE_URL=redis://a\nREDIS_QUEUE_URL=redis://b", wantClass: `["a:6379"]`, wantReport: "REDIS_QUEUE_URL: a class has one Redis"},
		"a server of the pod":          {file: "REDIS_URL=redis://localhost", wantReport: "in a pod is the pod itself"},
		"certificates unchecked":       {file: "REDIS_URL=rediss://r?ssl_cert_reqs=none", wantClass: "tls: {}", wantReport: "its parameter ssl_cert_reqs has no field"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := translateFile(t, tt.file, func(o *Options) { o.RateLimits = tt.rates })
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(got.Policy), tt.wantPolicy) || !strings.Contains(string(got.Class), tt.wantClass) || !strings.Contains(got.Report, tt.wantReport) {
				t.Errorf("policy:\n%s\nclass:\n%s\nreport:\n%s", got.Policy, got.Class, got.Report)
			}
			all := string(got.Policy) + string(got.Class) + string(got.Commands) + got.Report
			if tt.wantAbsent != "" && strings.Contains(string(got.Policy), tt.wantAbsent) || strings.Contains(all, "hunter2") || strings.Contains(all, "swordfish") {
				t.Errorf("it has what it must not have:\n%s", all)
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	tests := map[string]struct {
		change func(*Options)
		want   string
	}{
		"name":         {func(o *Options) { o.Name = "a; rm -rf /" }, "the name"},
		"namespace":    {func(o *Options) { o.Namespace = "$(id)" }, "the namespace"},
		"selector":     {func(o *Options) { o.Selector = "app" }, "the selector"},
		"port":         {func(o *Options) { o.Port = 70000 }, "the port"},
		"framework":    {func(o *Options) { o.Framework = "rails" }, "the framework"},
		"account":      {func(o *Options) { o.Account = "email" }, "the account"},
		"login":        {func(o *Options) { o.LoginPath = "login" }, "the path"},
		"issuer":       {func(o *Options) { o.Issuer = "http://shop" }, "the issuer"},
		"rate":         {func(o *Options) { o.RateLimits = []string{"otp"} }, "--rate-limit"},
		"same rate":    {func(o *Options) { o.RateLimits = []string{"a=1/s", "a=1/s"} }, "--rate-limit"},
		"vault alone":  {func(o *Options) { o.VaultPath = "secret/shop" }, "--vault-address"},
		"vault path":   {func(o *Options) { o.VaultPath, o.VaultAddress = "secret", "https://v" }, "--vault-path"},
		"vault bytes":  {func(o *Options) { o.VaultPath, o.VaultAddress, o.Base64 = "secret/a", "https://v", true }, "stores text only"},
		"subject":      {func(o *Options) { o.SubjectClaim = strings.Repeat("a", 300) }, "the subject claim"},
		"file":         {func(o *Options) { o.EnvFile = "a\nb" }, "the path"},
		"too many":     {func(o *Options) { o.RateLimits = many(33) }, "up to 32"},
		"leaked value": {func(o *Options) { o.Selector = "app=" + good }, "is part of another setting"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := translateFile(t, "JWT_SECRET="+good, tt.change); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func many(n int) []string {
	var rates []string
	for i := range n {
		rates = append(rates, "a"+strings.Repeat("b", i)+"=1/s")
	}
	return rates
}

// TestSecret: the commands name secrets by ids that give exactly the value.
func TestSecret(t *testing.T) {
	const file = "JWT_SECRET='" + good + "$x #y'\nREDIS_URL=redis://:p%40ss@r\nREDIS_PASSWORD=other"
	s, err := Read([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{"legacy-secret": good + "$x #y", "redis-password": "p@ss"} {
		if got, err := Secret(s, shop(), id); err != nil || got != want {
			t.Errorf("%s is %q, %v", id, got, err)
		}
	}
	if _, err := Secret(s, shop(), "x"); err == nil || !strings.Contains(err.Error(), "legacy-secret, redis-password") {
		t.Errorf("an unknown id: %v", err)
	}
	got, err := translateFile(t, file, func(o *Options) {
		o.VaultPath, o.VaultAddress, o.EnvFile = "secret/shop", "https://vault.example.com:8200", "it's .env"
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`--env-file 'it'\''s .env'`, "| vault kv put secret/shop/legacy secret=-", "| vault kv put secret/shop/redis password=-", "| vault kv put secret/shop/signing key.pem=-"} {
		if !strings.Contains(string(got.Commands), want) {
			t.Errorf("%q is not in\n%s", want, got.Commands)
		}
	}
	if ref := got.policy.Spec.JWT.Providers[0].JWKS.Vault; ref == nil || ref.Path != "secret/shop/legacy" || got.class.Spec.Vault == nil {
		t.Errorf("references to Vault are missing:\n%s%s", got.Policy, got.Class)
	}
}

// TestUntil: the old tokens end after a cut-over and their longest lifetime, and never later than lint accepts without a warning.
func TestUntil(t *testing.T) {
	given := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	tests := map[string]struct {
		file  string
		given time.Time
		want  string
	}{
		"no lifetime": {want: "2026-03-31T00:00:00Z"},
		"a lifetime":  {file: "\nREFRESH_TOKEN_EXPIRE_DAYS=7", want: "2026-04-07T00:00:00Z"},
		"a long one":  {file: "\nREFRESH_TOKEN_EXPIRE_DAYS=365", want: "2026-05-30T00:00:00Z"},
		"given":       {given: given, want: "2026-05-06T07:08:09Z"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := translateFile(t, "JWT_SECRET="+good+tt.file, func(o *Options) { o.Until = tt.given })
			if err != nil || got.Until.Format(time.RFC3339) != tt.want || !strings.Contains(string(got.Policy), `until: "`+tt.want+`"`) {
				t.Errorf("until %s, %v; want %s", got.Until, err, tt.want)
			}
		})
	}
}

// FuzzTranslate: whatever the settings are, the files are YAML of the two kinds, and have no secret.
func FuzzTranslate(f *testing.F) {
	f.Add([]byte("JWT_SECRET=" + good + "\nJWT_ISSUER=x\nREDIS_URL=redis://:" + good + "@r\nCORS_ORIGINS=https://a.example\nRATE_LIMIT_LOGIN=5/m"))
	f.Add([]byte("jwt.secret: '" + good + "'\nJWT_COOKIE_NAME=a\nJWT_AUDIENCE=\"a\\\"b\"\nTRUSTED_PROXIES=::1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Read(data)
		if err != nil {
			return
		}
		result, err := Translate(s, shop())
		if err != nil {
			return
		}
		var policy v1alpha1.SecurityPolicy
		var class v1alpha1.SidecarClass
		if err := yaml.Unmarshal(result.Policy, &policy); err != nil || policy.Kind != "SecurityPolicy" || policy.Namespace != "shop" {
			t.Fatalf("%v\n%s", err, result.Policy)
		}
		if err := yaml.Unmarshal(result.Class, &class); err != nil || class.Kind != "SidecarClass" {
			t.Fatalf("%v\n%s", err, result.Class)
		}
		if value, err := Secret(s, shop(), "legacy-secret"); err == nil && strings.Contains(string(result.Policy)+string(result.Commands)+result.Report, value) {
			t.Fatal("the secret is in the output")
		}
	})
}
