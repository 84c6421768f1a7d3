package personal

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

func derive(t *testing.T, b byte) *Keys {
	t.Helper()
	k, err := Derive(secret.New(bytes.Repeat([]byte{b}, MinMasterKey)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func protector(t *testing.T, pseudonymise, encrypt []Field, now func() time.Time) *Protector {
	t.Helper()
	p, err := NewProtector(derive(t, 1), pseudonymise, encrypt, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func of(subject string) *record.Record {
	return &record.Record{
		ID: uuid.Must(uuid.NewV7()), Subject: subject, Issuer: "https://id", IPAddress: "192.0.2.1", UserAgent: "curl/8 <secret>",
		Changes: event.Changes{"email": {After: []byte(`"ada@example.com"`)}},
	}
}

// stored are the keys that records need.
type stored map[uuid.UUID]SubjectKey

func (s stored) keep(t *testing.T, items []spool.Item) {
	t.Helper()
	for _, i := range items {
		k, err := DecodeSubjectKey(i.Payload)
		if err != nil || i.Kind != spool.SubjectKey {
			t.Fatal(i.Kind, err)
		}
		s[k.ID] = k
	}
}

func (s stored) find(id uuid.UUID) (SubjectKey, bool, error) {
	k, ok := s[id]
	return k, ok, nil
}

// TestErasure: what is encrypted can be read until the key of the subject is erased, and the records of others after that.
func TestErasure(t *testing.T) {
	now := time.Unix(1, 0)
	p := protector(t, nil, []Field{IPAddress, UserAgent, Changes}, func() time.Time { return now })
	keys := stored{}
	var records []*record.Record
	for _, subject := range []string{"ada", "bob", "ada"} {
		r := of(subject)
		items, err := p.Protect(r)
		if err != nil {
			t.Fatal(err)
		}
		keys.keep(t, items)
		encoded, err := r.Encode()
		if err != nil || strings.Contains(string(encoded), "curl") || strings.Contains(string(encoded), "192.0.2") || strings.Contains(string(encoded), "example") {
			t.Errorf("%s, %v", encoded, err)
		}
		records = append(records, r)
	}
	if len(keys) != 2 || records[0].Encrypted.Key != records[2].Encrypted.Key {
		t.Errorf("%d keys", len(keys))
	}
	erased := derive(t, 1).SubjectHash("https://id", "ada")
	for id, k := range keys {
		if bytes.Equal(k.Subject, erased) {
			delete(keys, id)
		}
	}
	for i, want := range []bool{false, true, false} {
		complete, err := Reveal(records[i], derive(t, 1), keys.find)
		if err != nil || complete != want {
			t.Errorf("record %d: %t, %v", i, complete, err)
		}
	}
	if r := records[1]; r.IPAddress != "192.0.2.1" || r.UserAgent != "curl/8 <secret>" || string(r.Changes["email"].After) != `"ada@example.com"` || r.Encrypted != nil {
		t.Errorf("%+v", r)
	}
}

// TestKeysAreReplaced: a key is used for an hour, and the number in memory is bounded.
func TestKeysAreReplaced(t *testing.T) {
	now := time.Unix(1, 0)
	p := protector(t, nil, []Field{UserAgent}, func() time.Time { return now })
	fresh := func(subject string) bool {
		items, err := p.Protect(of(subject))
		if err != nil {
			t.Fatal(err)
		}
		return len(items) == 1
	}
	if !fresh("ada") || fresh("ada") {
		t.Error("the first key is not used again")
	}
	now = now.Add(keyLifetime)
	if !fresh("ada") {
		t.Error("an old key is used")
	}
	now = now.Add(-time.Minute)
	if !fresh("ada") {
		t.Error("a key from the future is used")
	}
	for i := range maxKeys + 10 {
		fresh(fmt.Sprint("user", i))
	}
	if len(p.subjects) > maxKeys || len(p.order) > maxKeys || !fresh("ada") {
		t.Errorf("%d keys are in memory", len(p.subjects))
	}
}

// TestCiphertextsAreBound: a ciphertext cannot be moved to another record or field, nor be read with another master key.
func TestCiphertextsAreBound(t *testing.T) {
	p, keys := protector(t, nil, []Field{IPAddress, UserAgent}, time.Now), stored{}
	hidden := func() *record.Record {
		r := of("ada")
		items, err := p.Protect(r)
		if err != nil {
			t.Fatal(err)
		}
		keys.keep(t, items)
		return r
	}
	a, b := hidden(), hidden()
	a.Encrypted.Fields["user_agent"] = b.Encrypted.Fields["user_agent"]
	b.Encrypted.Fields["user_agent"] = b.Encrypted.Fields["ip_address"]
	for name, r := range map[string]*record.Record{"another record": a, "another field": b} {
		if _, err := Reveal(r, derive(t, 1), keys.find); err == nil {
			t.Errorf("a ciphertext of %s was read", name)
		}
	}
	if _, err := Reveal(hidden(), derive(t, 2), keys.find); err == nil {
		t.Error("another master key reads it")
	}
}

// TestLineEnds: a key file of openssl has a line end, and the value that a sidecar gets may have none.
func TestLineEnds(t *testing.T) {
	const master = "0123456789abcdef0123456789abcdef"
	want := ""
	for _, text := range []string{master, master + "\n", master + "\r\n"} {
		k, err := Derive(secret.New([]byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Pseudonym("Subject", "ada") + string(k.Signing()); want == "" {
			want = got
		} else if got != want {
			t.Errorf("%q has other keys", text)
		}
	}
	if _, err := Derive(secret.New([]byte(master[1:] + "\n"))); err == nil {
		t.Error("a line end counts as a byte of the key")
	}
}

// TestPseudonyms: the same value has the same pseudonym, in each field another one, and only with the key.
func TestPseudonyms(t *testing.T) {
	p := protector(t, []Field{IPAddress, Subject}, []Field{UserAgent}, time.Now)
	a, b := of("ada"), of("bob")
	b.PerformedBy, b.Account, b.IPAddress = "ada", "", ""
	for _, r := range []*record.Record{a, b} {
		if _, err := p.Protect(r); err != nil {
			t.Fatal(err)
		}
	}
	keys := derive(t, 1)
	if a.Subject != keys.Pseudonym("subject", "ada") || a.Subject != b.PerformedBy || a.Subject == b.Subject || a.IPAddress != keys.Pseudonym("ip_address", "192.0.2.1") {
		t.Errorf("%+v\n%+v", a, b)
	}
	if keys.Pseudonym("subject", "x") == keys.Pseudonym("ip_address", "x") || keys.Pseudonym("subject", "x") == derive(t, 2).Pseudonym("subject", "x") {
		t.Error("pseudonyms do not depend on the field and the key")
	}
	if !slices.Equal(a.Pseudonyms, []string{"ip_address", "subject"}) || !slices.Equal(b.Pseudonyms, []string{"subject"}) {
		t.Errorf("%q, %q", a.Pseudonyms, b.Pseudonyms)
	}
	if bytes.Equal(keys.SubjectHash("ab", "c"), keys.SubjectHash("a", "bc")) {
		t.Error("issuer and subject run into each other")
	}
}

func TestWhatCannotBeHidden(t *testing.T) {
	for name, tt := range map[string]struct{ pseudonymise, encrypt []Field }{
		"user agent as a pseudonym": {[]Field{UserAgent}, nil}, "subject encrypted": {nil, []Field{Subject}}, "both": {[]Field{IPAddress}, []Field{IPAddress}}, "unknown": {nil, []Field{"id"}},
	} {
		if _, err := NewProtector(derive(t, 1), tt.pseudonymise, tt.encrypt, time.Now); err == nil {
			t.Errorf("%s is allowed", name)
		}
	}
	if _, err := Derive(secret.New(make([]byte, MinMasterKey-1))); err == nil {
		t.Error("a short master key is allowed")
	}
}

func FuzzSubjectKey(f *testing.F) {
	f.Add([]byte(`{"key_id":"01934567-89ab-7def-8123-456789abcdef"}`))
	f.Fuzz(func(_ *testing.T, encoded []byte) {
		_, _ = DecodeSubjectKey(encoded)
	})
}
