package personal

import (
	"bytes"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
)

// Field is a field of a record that can be hidden, by its name in the JSON.
type Field string

// The fields.
const (
	IPAddress Field = "ip_address"
	Subject   Field = "subject"
	UserAgent Field = "user_agent"
	Changes   Field = "changes"
)

const (
	// keyLifetime is how long a writer uses the key of a subject. After an erasure, records of the subject that are written with a key from
	// before cannot be read either.
	keyLifetime = time.Hour
	// maxKeys bounds the keys in memory. The least recently made one is forgotten; its subject then gets another one.
	maxKeys = 10_000
)

// Protector hides fields of records. It implements trail.Protector, and is for one goroutine.
type Protector struct {
	keys *Keys
	// pseudonymise and encrypt are the fields.
	pseudonymise, encrypt []Field
	now                   func() time.Time
	// subjects are the keys in use, by the hash of the subject, and order their names in the order in which they were made.
	subjects map[string]subjectCipher
	order    []string
}

type subjectCipher struct {
	SubjectKey
	cipher.AEAD
}

// NewProtector returns a Protector for IPAddress and Subject as pseudonyms, and IPAddress, UserAgent and Changes encrypted.
func NewProtector(keys *Keys, pseudonymise, encrypt []Field, now func() time.Time) (*Protector, error) {
	for _, f := range pseudonymise {
		if f != IPAddress && f != Subject || slices.Contains(encrypt, f) {
			return nil, fmt.Errorf("hiding personal data: the field %s cannot have a pseudonym, or is encrypted too", f)
		}
	}
	for _, f := range encrypt {
		if f != IPAddress && f != UserAgent && f != Changes {
			return nil, fmt.Errorf("hiding personal data: the field %s cannot be encrypted", f)
		}
	}
	return &Protector{keys: keys, pseudonymise: pseudonymise, encrypt: encrypt, now: now, subjects: map[string]subjectCipher{}}, nil
}

// Protect hides the fields of r. It returns the key of the record's subject if it is new.
func (p *Protector) Protect(r *record.Record) (items []spool.Item, err error) {
	if items, err = p.encrypted(r); err != nil {
		return nil, err
	}
	for _, f := range p.pseudonymise {
		names := []*string{&r.IPAddress}
		if f == Subject {
			names = []*string{&r.Subject, &r.Account, &r.PerformedBy}
		}
		for _, value := range names {
			if *value == "" {
				continue
			}
			*value = p.keys.Pseudonym(string(f), *value)
			if !slices.Contains(r.Pseudonyms, string(f)) {
				r.Pseudonyms = append(r.Pseudonyms, string(f))
			}
		}
	}
	return items, nil
}

// encrypted encrypts fields of r under the key of its subject, or of its account if it has no subject.
func (p *Protector) encrypted(r *record.Record) (items []spool.Item, err error) {
	values := map[Field]any{}
	for _, f := range p.encrypt {
		switch {
		case f == IPAddress && r.IPAddress != "":
			values[f], r.IPAddress = r.IPAddress, ""
		case f == UserAgent && r.UserAgent != "":
			values[f], r.UserAgent = r.UserAgent, ""
		case f == Changes && len(r.Changes) > 0:
			values[f], r.Changes = r.Changes, nil
		}
	}
	if len(values) == 0 {
		return nil, nil
	}
	key, fresh, err := p.cipher(r)
	if err != nil {
		return nil, err
	}
	if fresh {
		encoded, err := key.Encode()
		if err != nil {
			return nil, err
		}
		items = append(items, spool.Item{Kind: spool.SubjectKey, Payload: encoded})
	}
	r.Encrypted = &record.Encrypted{Key: key.ID, Fields: map[string][]byte{}}
	for f, value := range values {
		plain, err := marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encrypting %s: %w", f, err)
		}
		r.Encrypted.Fields[string(f)] = key.Seal(nil, nil, plain, context(r, f))
	}
	return items, nil
}

func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// context binds a ciphertext to its record and its field.
func context(r *record.Record, f Field) []byte { return append(r.ID[:], f...) }

// cipher returns the key of the record's subject. fresh says that it was made now.
func (p *Protector) cipher(r *record.Record) (c subjectCipher, fresh bool, err error) {
	hash := p.keys.SubjectHash(r.Issuer, r.Subject)
	if r.Subject == "" {
		hash = p.keys.SubjectHash("", r.Account)
	}
	now := p.now()
	if c, ok := p.subjects[string(hash)]; ok && now.Sub(c.Created) < keyLifetime && !now.Before(c.Created) {
		return c, false, nil
	}
	if c.SubjectKey, c.AEAD, err = p.keys.newSubjectKey(hash, now); err != nil {
		return c, false, err
	}
	if len(p.order) >= maxKeys {
		delete(p.subjects, p.order[0])
		p.order = p.order[1:]
	}
	p.subjects[string(hash)], p.order = c, append(p.order, string(hash))
	return c, true, nil
}
