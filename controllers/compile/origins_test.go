package compile_test

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// TestWildcardsUnderPublicSuffixes: where every customer of a host would get in with the user's cookies, the pattern is refused. Without
// credentials it is a warning. The suffixes are those of the registries and of hosts alike.
func TestWildcardsUnderPublicSuffixes(t *testing.T) {
	for origin, public := range map[string]bool{
		"https://*.github.io": true, "https://*.GitHub.IO": true, "https://*.github.io:*": true, "https://*.github.io:8443": true,
		"http://*.co.uk": true, "https://*.vercel.app": true, "https://*.pages.dev": true, "https://*.azurewebsites.net": true, "https://*.foo.ck": true,
		"https://*.xn--55qx5d.cn":  true,
		"https://*.shop.github.io": false, "https://shop.github.io": false, "https://*.preview.example.com": false, "https://*.example.com": false,
		"https://*.cluster.internal": false, "https://*.www.ck": false, "http://localhost:*": false,
	} {
		for name, tt := range map[string]struct {
			set       func(*v1alpha1.SecurityPolicy)
			wantField string
			want      compile.Severity
		}{
			"CORS": {func(p *v1alpha1.SecurityPolicy) {
				p.Spec.CORS = &v1alpha1.CORS{AllowOrigins: []string{"https://a.example.com", origin}}
			},
				"spec.cors.allowOrigins[1]", compile.Warning},
			"CORS with credentials": {func(p *v1alpha1.SecurityPolicy) {
				p.Spec.CORS = &v1alpha1.CORS{AllowOrigins: []string{"https://a.example.com", origin}, AllowCredentials: true}
			}, "spec.cors.allowOrigins[1]", compile.Error},
			"trusted origins": {func(p *v1alpha1.SecurityPolicy) {
				p.Spec.Tokens.Delivery = v1alpha1.DeliverCookie
				p.Spec.Tokens.Cookie = &v1alpha1.TokenCookie{TrustedOrigins: []string{"https://a.example.com", origin}}
			}, "spec.tokens.cookie.trustedOrigins[1]", compile.Error},
		} {
			t.Run(name+" "+origin, func(t *testing.T) {
				policy := read[v1alpha1.SecurityPolicy](t, "../../config/samples/tokens.yaml")
				tt.set(policy)
				document, findings := compile.Compile(policy, compile.UnknownClass())
				var got []compile.Finding
				for _, f := range findings {
					if strings.HasPrefix(f.Field, "spec.cors") || strings.HasPrefix(f.Field, "spec.tokens.cookie") {
						got = append(got, f)
					}
				}
				if !public {
					if len(got) > 0 || document == nil {
						t.Errorf("findings %v", got)
					}
					return
				}
				if len(got) != 1 || got[0].Field != tt.wantField || got[0].Severity != tt.want || !strings.Contains(got[0].Message, "anybody can register a name under") ||
					(document == nil) != (tt.want == compile.Error) {
					t.Errorf("document %t, findings %v; want one %s of %s", document != nil, got, tt.want, tt.wantField)
				}
			})
		}
	}
}
