package password

import (
	"strings"
	"time"
)

// A format is a text form of hashes, recognised by its prefix. The parser gets the hash with its prefix.
type format struct {
	prefix string
	parse  func(encoded string) (computation, error)
}

// maxVerify is the estimated time of a core above which a hash is refused as too costly.
const maxVerify = 2 * time.Second

// storedFormats returns the formats that are only verified, never written: what other systems have stored. docs/tokens.md lists them.
func storedFormats() []format {
	return []format{
		{"$argon2i$", asComputation(parseArgon2)},
		{"$argon2d$", asComputation(parseArgon2)},
		{"argon2$argon2", within("argon2", asComputation(parseArgon2))}, // Django
		{"pbkdf2_sha256$", parseDjangoPBKDF2},
		{"pbkdf2_sha1$", parseDjangoPBKDF2},
		{"bcrypt_sha256$$", within("bcrypt_sha256$", parseDjangoBcryptSHA256)},
		{"bcrypt$$", within("bcrypt$", asComputation(parseBcrypt))},
		{"scrypt$", parseDjangoScrypt},
		{"pbkdf2:", parseWerkzeugPBKDF2},
		{"scrypt:", parseWerkzeugScrypt},
		{"$pbkdf2$", parsePasslibPBKDF2},
		{"$pbkdf2-sha256$", parsePasslibPBKDF2},
		{"$pbkdf2-sha512$", parsePasslibPBKDF2},
		{"$bcrypt-sha256$", parsePasslibBcryptSHA256},
		{"$6$", parseSHA512Crypt},
		{"$P$", parsePHPass},
		{"$H$", parsePHPass}, // phpBB
		{"$wp$2", within("$wp", parseWordPress)},
		{"{BCRYPT}", within("{BCRYPT}", asComputation(parseBcrypt))},
		{"{bcrypt}", within("{bcrypt}", asComputation(parseBcrypt))}, // Spring Security
		{"{BLF-CRYPT}", within("{BLF-CRYPT}", asComputation(parseBcrypt))},
		{"{CRYPT}$2", within("{CRYPT}", asComputation(parseBcrypt))},
		{"{CRYPT}$6$", within("{CRYPT}", parseSHA512Crypt)},
	}
}

// asComputation is a parser of argon2 or bcrypt as one of a stored format.
func asComputation(parse func(string) (hash, error)) func(string) (computation, error) {
	return func(encoded string) (computation, error) { return parse(encoded) }
}

// within parses what follows prefix.
func within(prefix string, parse func(string) (computation, error)) func(string) (computation, error) {
	return func(encoded string) (computation, error) { return parse(strings.TrimPrefix(encoded, prefix)) }
}

// storedHash is a hash in a format of another system. It is replaced at the next login.
type storedHash struct{ computation }

func (storedHash) weaker(Config) bool { return true }

// matches refuses NUL bytes: HMAC, on which PBKDF2 and scrypt are built, pads its key with them, so that "a" and "a\x00" have the same hash.
func (h storedHash) matches(password string) bool {
	return h.computation.matches(password) && strings.IndexByte(password, 0) < 0
}

// parse reads a hash in any of the formats. Its memory is bounded by most, in KiB, and its work by maxVerify, for a short password. The error is ErrMalformed or
// ErrTooCostly.
func parse(encoded string, most uint32) (hash, error) {
	if len(encoded) > maxEncoded {
		return nil, ErrMalformed
	}
	h, err := parseFormat(encoded)
	switch {
	case err != nil:
		return nil, err
	case h.memory() > most || h.work(0) > maxVerify:
		return nil, ErrTooCostly
	}
	return h, nil
}

func parseFormat(encoded string) (hash, error) {
	switch {
	case strings.HasPrefix(encoded, "$argon2id$"):
		return parseArgon2(encoded)
	case strings.HasPrefix(encoded, "$2"):
		return parseBcrypt(encoded)
	}
	for _, f := range storedFormats() {
		if strings.HasPrefix(encoded, f.prefix) {
			h, err := f.parse(encoded)
			if err != nil {
				return nil, err
			}
			return storedHash{h}, nil
		}
	}
	return nil, ErrMalformed
}
