package server

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/api/compiled"
)

// TestDocumentMetrics: there is one series of the active document, which a document that cannot run does not replace.
func TestDocumentMetrics(t *testing.T) {
	e, registry := newEnforcer(t, hello), prometheus.NewRegistry()
	var err error
	if e.documents, err = newDocumentMetrics(registry); err != nil {
		t.Fatal(err)
	}
	want := func(lines string) {
		t.Helper()
		const head = `
# HELP postern_document_revision Revision of the active document: the time of its write in milliseconds since 1970.
# TYPE postern_document_revision gauge
# HELP postern_documents_rejected_total Documents that this sidecar could not run, so that it kept the one before.
# TYPE postern_documents_rejected_total counter
# HELP postern_policy_info 1 for the active document: its policy as namespace/name, its hash, and the mode of the policy (Enforce, Shadow, or Deleted, which passes all requests).
# TYPE postern_policy_info gauge
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(head+lines)); err != nil {
			t.Error(err)
		}
	}
	apply := func(hash string, change func(*compiled.Policy)) error {
		return e.apply(t.Context(), makeDocument(change), hash)
	}
	if n, err := testutil.GatherAndCount(registry); n != 1 || err != nil {
		t.Errorf("%d series without a document, %v", n, err)
	}
	if err := apply("aaaa", func(p *compiled.Policy) { p.Revision = 7 }); err != nil {
		t.Fatal(err)
	}
	if err := apply("bbbb", func(p *compiled.Policy) { p.Revision, p.Mode = 8, compiled.Shadow }); err != nil {
		t.Fatal(err)
	}
	want(`
postern_document_revision 8
postern_documents_rejected_total 0
postern_policy_info{document="bbbb",mode="Shadow",security_policy="shop/orders"} 1
`)
	if err := apply("cccc", func(p *compiled.Policy) { p.Authorization.Default = "Sometimes" }); err == nil {
		t.Fatal("the document should not be possible")
	}
	if err := apply("dddd", func(p *compiled.Policy) { p.Revision, p.Deleted = 9, true }); err != nil {
		t.Fatal(err)
	}
	want(`
postern_document_revision 9
postern_documents_rejected_total 1
postern_policy_info{document="dddd",mode="Deleted",security_policy="shop/orders"} 1
`)
}
