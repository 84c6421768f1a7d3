package main

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// TestExportOfChangedRecords: somebody who may add rows cannot keep a person from the other records. The command writes the document, and then fails.
func TestExportOfChangedRecords(t *testing.T) {
	keys, err := personal.Derive(secret.New([]byte(masterKey)))
	if err != nil {
		t.Fatal(err)
	}
	e := &subjectExport{keys: keys, names: rows.Person{Subjects: []string{"ada"}}}
	r := &record.Record{
		Version: 1, ID: uuid.Must(uuid.NewV7()), Writer: uuid.Must(uuid.NewV7()), Seq: 1, Category: record.Authentication, Action: "login", Subject: "ada",
		Encrypted: &record.Encrypted{Key: uuid.Must(uuid.NewV7()), Fields: map[string][]byte{"changes": []byte("x")}},
	}
	encoded, err := e.readable(r, func(id uuid.UUID) (personal.SubjectKey, bool, error) {
		return personal.SubjectKey{ID: id, Subject: make([]byte, 32), Wrapped: []byte("nonsense")}, true, nil
	})
	if err != nil || !strings.Contains(string(encoded), `"subject":"ada"`) {
		t.Errorf("%s, %v", encoded, err)
	}
	e.notes()
	if err := e.incomplete(); err == nil || !strings.Contains(err.Error(), "1 record") || !strings.Contains(e.missing[1].Why, "audit verify") {
		t.Errorf("%v, %v", err, e.missing)
	}
	if err := (&subjectExport{}).incomplete(); err != nil {
		t.Error(err)
	}
}
