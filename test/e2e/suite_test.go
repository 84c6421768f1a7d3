//go:build e2e

package e2e

import (
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(run(m.Run))
}

// TestWorkloads runs the tests that need only their own namespaces, in parallel.
func TestWorkloads(t *testing.T) {
	tests := map[string]func(*testing.T){
		"issuer":          testIssuer,
		"protocols":       testProtocols,
		"bypass":          testBypass,
		"audit":           testAudit,
		"auditStream":     testAuditStream,
		"breachedFile":    testBreachedFile,
		"delivery":        testDelivery,
		"rollingRestart":  testRollingRestart,
		"shadow":          testShadow,
		"status":          testStatus,
		"guards":          testGuards,
		"hooks":           testHooks,
		"hotReload":       testHotReload,
		"job":             testJob,
		"probes":          testProbes,
		"redirect":        testRedirect,
		"takeover":        testTakeover,
		"tls":             testTLS,
		"tlsMigration":    testTLSMigration,
		"tokens":          testTokens,
		"providerSession": testProviderSessions,
		"vaultLogin":      testVaultLogin,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tests[name](t)
		})
	}
}

// TestOutages runs the tests that stop shared components and start them again, one after the other.
func TestOutages(t *testing.T) {
	t.Run("operating", testOperating)
	t.Run("redis", testRedisOutage)
	t.Run("operator", testOperatorOutage)
	t.Run("tokens", testTokensOutage)
	t.Run("tls", testTLSOutage)
}

// TestRelease comes last: it uninstalls the chart and installs it again.
func TestRelease(t *testing.T) { testRelease(t) }
