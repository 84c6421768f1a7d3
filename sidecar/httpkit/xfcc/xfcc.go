// Package xfcc reads and writes the header X-Forwarded-Client-Cert in the format of Envoy: elements are separated by commas, and each has pairs of
// key and value, separated by semicolons. A value that has a comma, a semicolon or an equals sign is in double quotes, and a double quote in it is
// escaped by a backslash. Keys ignore case.
//
// The header says which certificate a proxy has verified. It is no proof of its own: only a trusted proxy's is read.
package xfcc

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Header is the canonical name of the header.
const Header = "X-Forwarded-Client-Cert"

// maxSize is the maximum length of a value that is read, and maxPairs that of the pairs of an element.
const (
	maxSize  = 32 << 10
	maxPairs = 64
)

// ErrSeveral is the error of a header with several elements: it does not say which of them is the client's.
var ErrSeveral = errors.New("it has several elements")

// Certificate returns the SHA-256 of the certificate (DER) that the header names by Hash, Cert or both; ok is false if it names none, or is absent. A
// header with several lines or elements is an error: with several proxies, or a proxy that appends to what a client sent, none of them is certainly
// the client's.
func Certificate(lines []string) (sum [sha256.Size]byte, ok bool, err error) {
	switch {
	case len(lines) == 0:
		return sum, false, nil
	case len(lines) > 1:
		return sum, false, fmt.Errorf("reading X-Forwarded-Client-Cert: %w", ErrSeveral)
	}
	pairs, err := parse(lines[0])
	if err != nil {
		return sum, false, fmt.Errorf("reading X-Forwarded-Client-Cert: %w", err)
	}
	for _, p := range pairs {
		var named [sha256.Size]byte
		switch {
		case p.value == "":
			continue // Envoy writes keys without a value
		case strings.EqualFold(p.key, "Hash"):
			named, err = hashOf(p.value)
		case strings.EqualFold(p.key, "Cert"):
			named, err = sumOf(p.value)
		default:
			continue
		}
		switch {
		case err != nil:
			return sum, false, fmt.Errorf("reading X-Forwarded-Client-Cert: %w", err)
		case ok && named != sum:
			return sum, false, errors.New("reading X-Forwarded-Client-Cert: it names two certificates")
		}
		sum, ok = named, true
	}
	return sum, ok, nil
}

type pair struct{ key, value string }

// parse returns the pairs of the only element.
func parse(value string) ([]pair, error) {
	if len(value) > maxSize {
		return nil, fmt.Errorf("it has more than %d bytes", maxSize)
	}
	var pairs []pair
	for rest := value; ; {
		rest = strings.TrimLeft(rest, " \t")
		key, after, ok := strings.Cut(rest, "=")
		if !ok || key == "" || strings.ContainsAny(key, "\",; \t") {
			return nil, errors.New("it is not of pairs of key and value")
		}
		if len(pairs) == maxPairs {
			return nil, fmt.Errorf("it has more than %d pairs", maxPairs)
		}
		text, end, err := cutValue(after)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{key: key, value: text})
		switch end = strings.TrimLeft(end, " \t"); {
		case end == "":
			return pairs, nil
		case end[0] == ',':
			return nil, ErrSeveral
		case end[0] != ';':
			return nil, errors.New("text follows a value in quotes")
		}
		rest = strings.TrimLeft(end, " \t")[1:]
	}
}

// cutValue returns the value at the start of s, and what follows it.
func cutValue(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ",;")
		if end < 0 {
			end = len(s)
		}
		if strings.ContainsRune(s[:end], '"') {
			return "", "", errors.New("a value has a quote inside")
		}
		return strings.TrimRight(s[:end], " \t"), s[end:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], nil
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", errors.New("a value in quotes has no end")
}

// hashOf decodes Hash: the SHA-256 of the certificate in hexadecimal.
func hashOf(value string) (sum [sha256.Size]byte, err error) {
	b, err := hex.DecodeString(value)
	if err != nil || len(b) != len(sum) {
		return sum, errors.New("its Hash is not a SHA-256 in hexadecimal")
	}
	return [sha256.Size]byte(b), nil
}

// sumOf hashes Cert: the certificate in URL-encoded PEM.
func sumOf(value string) (sum [sha256.Size]byte, err error) {
	text, err := url.PathUnescape(value) // + is a character of base64
	if err != nil {
		return sum, errors.New("its Cert is not URL-encoded")
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return sum, errors.New("its Cert is not one certificate in PEM")
	}
	return sha256.Sum256(block.Bytes), nil
}
