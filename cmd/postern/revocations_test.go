package main

import (
	"os"
	"strings"
	"testing"
)

// withRevocation returns the sample policy, in namespace shop, and a TokenRevocation with this spec.
func withRevocation(t *testing.T, spec string) string {
	t.Helper()
	b, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "---\napiVersion: postern.dev/v1alpha1\nkind: TokenRevocation\nmetadata:\n  name: r\n  namespace: shop\nspec:\n" + spec
}

func TestLintRevocations(t *testing.T) {
	tests := map[string]struct {
		file    string
		want    string
		wantErr bool
	}{
		"applied": {
			file: withRevocation(t, "  tokenID: j\n"), want: "-: 1 policy and 1 revocation are valid\n",
		},
		"of another issuer": {
			file: withRevocation(t, "  tokenID: j\n  issuer: https://other.example.com\n"),
			want: `warning: TokenRevocation/r: spec.issuer: no SecurityPolicy of the files and the namespace accepts tokens of issuer "https://other.example.com"`,
		},
		"of a missing policy": {
			file: withRevocation(t, "  tokenID: j\n  policyName: ordres\n"),
			want: `warning: TokenRevocation/r: spec.policyName: there is no SecurityPolicy "ordres" in the files and the namespace`,
		},
		"expired": {
			file: withRevocation(t, "  tokenID: j\n  expires: \"2020-01-01T00:00:00Z\"\n"),
			want: "warning: TokenRevocation/r: spec: the last of the tokens has expired",
		},
		"without a policy in the file": {
			file: "apiVersion: postern.dev/v1alpha1\nkind: TokenRevocation\nmetadata: {name: r}\nspec: {tokenID: j}\n",
			want: "-: 1 revocation is valid\n",
		},
		"two targets": {
			file: withRevocation(t, "  tokenID: j\n  subject: u\n"), wantErr: true,
			want: "error: TokenRevocation/r: spec: Invalid value: set exactly one of tokenID, sessionID, subject and keyID",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, tt.file, "lint", "-f", "-")
			if (err != nil) != tt.wantErr || !strings.Contains(out, tt.want) {
				t.Errorf("error %v, output:\n%s\nwant %q in it", err, out, tt.want)
			}
			if strings.HasPrefix(tt.want, "-:") && out != tt.want {
				t.Errorf("output:\n%s", out)
			}
		})
	}
}

// TestCompileRevocations checks that a file's revocations are in the document, as if they were created now.
func TestCompileRevocations(t *testing.T) {
	file := withRevocation(t, "  subject: user-42\n")
	out, stderr, err := run(t, file, "compile", "-f", "-")
	if err != nil || strings.Contains(stderr, "warning") || !strings.Contains(out, `"value": "user-42"`) || strings.Contains(out, `"before": -`) {
		t.Errorf("error %v, %s, output:\n%s", err, stderr, out)
	}
	elsewhere := strings.Replace(file, "name: r\n  namespace: shop", "name: r\n  namespace: elsewhere", 1)
	if out, _, err := run(t, elsewhere, "compile", "-f", "-"); err != nil || strings.Contains(out, "user-42") {
		t.Errorf("of another namespace: error %v, output:\n%s", err, out)
	}
	two := file + "---\n" + changed(t, "name: orders", "name: carts")
	other := strings.Replace(two, "subject: user-42", "subject: user-42\n  policyName: carts", 1)
	if out, stderr, err := run(t, other, "compile", "-f", "-", "--policy", "orders"); err != nil || strings.Contains(stderr, "warning") || strings.Contains(out, "user-42") {
		t.Errorf("of another policy of the file: error %v, %s, output:\n%s", err, stderr, out)
	}
}
