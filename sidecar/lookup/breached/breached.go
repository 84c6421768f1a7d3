// Package breached looks passwords up in a list of those that are known from data breaches: in a file, or by k-anonymity at a URL, which
// gets five of the forty digits of the password's SHA-1 and never learns which of about a thousand passwords was meant.
// Both have the formats of Have I Been Pwned (https://haveibeenpwned.com/API/v3#PwnedPasswords).
package breached

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // the format of the list
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/posterndev/postern/sidecar/lookup/service"
	"github.com/posterndev/postern/sidecar/span"
)

// prefix is how many digits of the hash a URL gets.
const prefix = 5

// maxRange bounds the response to one prefix, in bytes. The real ones have about 80 KiB, with padding.
const maxRange = 1 << 20

// Source counts how often a password occurs in breaches; 0 if it is not in the list. Errors match service.ErrUnavailable and contain nothing of
// the password. Implementations are safe for concurrent use.
type Source interface {
	Count(ctx context.Context, password string) (int, error)
}

func digest(password string) string {
	sum := sha1.Sum([]byte(password)) //nolint:gosec // the format of the list
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// URL is a Source that asks a server with the API of Have I Been Pwned.
type URL struct {
	// Base is the URL to which a slash and the prefix are added, such as https://api.pwnedpasswords.com/range.
	Base   string
	Client *service.Client
}

// Count implements Source.
func (u URL) Count(ctx context.Context, password string) (_ int, err error) {
	ctx, call := span.Start(ctx, "breached-passwords")
	defer func() { call.End(err) }()
	hash := digest(password)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(u.Base, "/")+"/"+hash[:prefix], nil)
	if err != nil {
		return 0, fmt.Errorf("looking up password: %w: its URL is not valid", service.ErrUnavailable)
	}
	r.Header.Set("Add-Padding", "true") // hides the number of entries from who counts bytes
	body, err := u.Client.Do(r, maxRange)
	if err != nil {
		return 0, fmt.Errorf("looking up password: %w", err)
	}
	return inRange(body, hash[prefix:])
}

// inRange returns the count of a suffix in lines of "suffix:count". A response without any such line is not one of this API.
func inRange(body []byte, suffix string) (int, error) {
	valid := false
	for line := range bytes.Lines(body) {
		hash, count, ok := readLine(line, len(suffix))
		if !ok {
			continue
		}
		valid = true
		if strings.EqualFold(hash, suffix) {
			return count, nil // padding has the count 0
		}
	}
	if !valid {
		return 0, fmt.Errorf("looking up password: %w: its response has no hashes", service.ErrUnavailable)
	}
	return 0, nil
}

// readLine reads "hash:count" with a hash of length digits.
func readLine(line []byte, length int) (hash string, count int, ok bool) {
	hash, number, found := strings.Cut(strings.TrimSpace(string(line)), ":")
	if !found || len(hash) != length || strings.Trim(hash, "0123456789abcdefABCDEF") != "" {
		return "", 0, false
	}
	count, err := strconv.Atoi(strings.TrimSpace(number))
	return hash, count, err == nil && count >= 0
}
