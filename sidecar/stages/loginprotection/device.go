package loginprotection

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Bounds of the cookie: the accounts that one browser remembers, and its length in bytes.
const (
	maxMarks      = 5
	maxCookie     = 1 << 10
	deviceKeySize = 32
	// keyLasts is how long the key of the cookies is kept after it was stored, and keyCached how long a process keeps it.
	keyLasts  = 366 * 24 * time.Hour
	keyCached = time.Minute
	// maxSkew is how far the clocks of two pods may differ: a mark from further in the future is not known.
	maxSkew = 5 * time.Minute
)

// CookieName returns the name of the cookie that marks known devices of a policy.
func CookieName(scope string) string {
	sum := sha256.Sum256([]byte("device\x00" + scope))
	return "__Host-postern-device-" + hex.EncodeToString(sum[:4])
}

// mark says that an account logged in on the device that sends it. Its text is the base64url of: 16 bytes that stand for the account, 12
// of the device, 4 of the time, and 16 of an HMAC over these.
type mark [48]byte

const (
	markAccount = 16
	markDevice  = 28
	markTime    = 32
)

// devices makes and verifies marks with a key that all replicas share.
type devices struct {
	store Store
	key   string
	lasts time.Duration
	now   func() time.Time

	mu     sync.Mutex
	secret []byte
	read   time.Time
}

// take removes the cookie from the request, and returns its marks.
func (d *devices) take(r *http.Request, name string) (marks []mark) {
	fields := r.Header["Cookie"]
	if len(fields) == 0 {
		return nil
	}
	found := false
	for _, f := range fields {
		found = found || strings.Contains(f, name)
	}
	if !found {
		return nil
	}
	var kept []string
	for _, f := range fields {
		var pairs []string
		for pair := range strings.SplitSeq(f, ";") {
			pair = strings.TrimSpace(pair)
			if value, ok := strings.CutPrefix(pair, name+"="); ok {
				marks = append(marks, parseMarks(value)...)
			} else if pair != "" {
				pairs = append(pairs, pair)
			}
		}
		if len(pairs) > 0 {
			kept = append(kept, strings.Join(pairs, "; "))
		}
	}
	if r.Header["Cookie"] = kept; len(kept) == 0 {
		r.Header.Del("Cookie")
	}
	return marks[:min(len(marks), maxMarks)]
}

func parseMarks(value string) (marks []mark) {
	if len(value) > maxCookie {
		return nil
	}
	for text := range strings.SplitSeq(value, ".") {
		b, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err == nil && len(b) == len(mark{}) && len(marks) < maxMarks {
			marks = append(marks, mark(b))
		}
	}
	return marks
}

// secretKey returns the key, which the first replica makes. It returns nil while the store is unavailable: then no device is known.
func (d *devices) secretKey(ctx context.Context) []byte {
	d.mu.Lock()
	secret, fresh := d.secret, d.now().Sub(d.read) < keyCached
	d.mu.Unlock()
	if secret != nil && fresh {
		return secret
	}
	made := secret // if the store has lost it, devices stay known
	if made == nil {
		made = make([]byte, deviceKeySize)
		_, _ = rand.Read(made) // never fails, crypto/rand.Read
	}
	stored, err := d.store.Put(ctx, d.key, made, keyLasts, true)
	if err != nil || len(stored) != deviceKeySize {
		return secret
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.secret, d.read = stored, d.now()
	return stored
}

func sumOf(secret []byte, label string, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(label))
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(nil)
}

// find returns the device of the account's mark, or "".
func (d *devices) find(ctx context.Context, marks []mark, account string) string {
	if len(marks) == 0 {
		return ""
	}
	secret := d.secretKey(ctx)
	if secret == nil {
		return ""
	}
	owner := sumOf(secret, "account\x00", []byte(account))[:markAccount]
	for _, m := range marks {
		made := time.Unix(int64(binary.BigEndian.Uint32(m[markDevice:])), 0)
		valid := hmac.Equal(m[markTime:], sumOf(secret, "mark\x00", m[:markTime])[:16])
		if valid && hmac.Equal(m[:markAccount], owner) && d.now().Before(made.Add(d.lasts)) && !made.After(d.now().Add(maxSkew)) {
			return hex.EncodeToString(m[markAccount:markDevice])
		}
	}
	return ""
}

// remember adds the cookie to a response: the account's mark, for the device that is known or a new one, and those of other accounts.
func (d *devices) remember(ctx context.Context, h http.Header, a *attempt) {
	secret := d.secretKey(ctx)
	if secret == nil {
		return
	}
	var m mark
	copy(m[:], sumOf(secret, "account\x00", []byte(a.name))[:markAccount])
	if b, err := hex.DecodeString(a.device); err == nil && len(b) == markDevice-markAccount {
		copy(m[markAccount:], b)
	} else {
		_, _ = rand.Read(m[markAccount:markDevice]) // never fails, crypto/rand.Read
	}
	binary.BigEndian.PutUint32(m[markDevice:], uint32(d.now().Unix()))
	copy(m[markTime:], sumOf(secret, "mark\x00", m[:markTime]))
	texts := []string{base64.RawURLEncoding.EncodeToString(m[:])}
	for _, other := range a.known {
		if len(texts) < maxMarks && !hmac.Equal(other[:markAccount], m[:markAccount]) {
			texts = append(texts, base64.RawURLEncoding.EncodeToString(other[:]))
		}
	}
	h.Add("Set-Cookie", (&http.Cookie{
		Name: a.cookie, Value: strings.Join(texts, "."), Path: "/", MaxAge: int(d.lasts / time.Second), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}).String())
}
