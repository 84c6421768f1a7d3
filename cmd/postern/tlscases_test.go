package main

import (
	"strings"
	"testing"
)

// TestCasesOfTLS: the cases of the sample policy with TLS: requests with and without TLS, and with client certificates.
func TestCasesOfTLS(t *testing.T) {
	stdout, stderr, err := run(t, "", "test", "-f", samples+"tls.yaml", "-f", "testdata/tls-cases.yaml")
	if err != nil || !strings.Contains(stdout, "6 cases, 0 failed") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
}
