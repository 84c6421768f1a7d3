package password

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// Hashes made by other software: the argon2 reference tool, and bcrypt by crypt_blowfish.
const (
	foreignArgon2 = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	foreignBcrypt = "$2y$10$.vGA1O9wmRjrwAVXD98HNOgsNpDczlqm3Jq7KnEd1rVAGv3Fykk1a"
)

func TestForeignHashes(t *testing.T) {
	h := newHasher(t, cheap())
	tests := map[string]struct{ password, encoded string }{
		"argon2id reference":  {"password", foreignArgon2},
		"bcrypt of libxcrypt": {"Grüße aus Köln", "$2y$08$usesomesillystringforeVXxNnLOHpQvMzSNUb024FJu7FCi3A32"},
		"bcrypt 2a":           {"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := h.Verify(t.Context(), tt.password, tt.encoded); err != nil || !got.Match {
				t.Errorf("Verify = %+v, %v; want a match", got, err)
			}
			if got, err := h.Verify(t.Context(), tt.password+"x", tt.encoded); err != nil || got.Match {
				t.Errorf("Verify of another = %+v, %v", got, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const rest = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	argon := func(cost string) string { return "$argon2id$v=19$" + cost + rest }
	tests := map[string]struct {
		encoded string
		want    error
	}{
		"text":                  {"hunter2", ErrMalformed},
		"argon2, no variant":    {strings.Replace(foreignArgon2, "2id", "2", 1), ErrMalformed},
		"old version":           {strings.Replace(foreignArgon2, "v=19", "v=16", 1), ErrMalformed},
		"no version":            {strings.Replace(foreignArgon2, "$v=19", "", 1), ErrMalformed},
		"four parts":            {foreignArgon2 + "$x", ErrMalformed},
		"too long":              {foreignArgon2 + strings.Repeat("A", maxEncoded), ErrMalformed},
		"repeated":              {argon("m=65536,t=2,m=65536"), ErrMalformed},
		"unknown parameter":     {argon("m=65536,t=2,x=1"), ErrMalformed},
		"four parameters":       {argon("m=65536,t=2,p=1,x=1"), ErrMalformed},
		"no name":               {argon("m=65536,t=2,1"), ErrMalformed},
		"empty name":            {argon("m=65536,t=2,=1"), ErrMalformed},
		"costly in any order":   {argon("p=1,t=1,m=4294967295"), ErrTooCostly},
		"leading zero":          {argon("m=065536,t=2,p=1"), ErrMalformed},
		"sign":                  {argon("m=+65536,t=2,p=1"), ErrMalformed},
		"overflow":              {argon("m=4294967296,t=2,p=1"), ErrMalformed},
		"threads overflow":      {argon("m=65536,t=2,p=256"), ErrMalformed},
		"no threads":            {argon("m=65536,t=2,p=0"), ErrMalformed},
		"no passes":             {argon("m=65536,t=0,p=1"), ErrMalformed},
		"memory below 8*p":      {argon("m=15,t=2,p=2"), ErrMalformed},
		"missing":               {argon("m=65536,t=2"), ErrMalformed},
		"excessive memory":      {argon("m=4294967295,t=1,p=1"), ErrTooCostly},
		"memory over policy":    {argon("m=131073,t=1,p=1"), ErrTooCostly},
		"excessive time":        {argon("m=8,t=4294967295,p=1"), ErrTooCostly},
		"excessive threads":     {argon("m=65536,t=2,p=255"), ErrTooCostly},
		"excessive work":        {argon("m=131072,t=9,p=1"), ErrTooCostly},
		"short salt":            {strings.Replace(foreignArgon2, "c29tZXNhbHQ", "c29t", 1), ErrMalformed},
		"padded salt":           {strings.Replace(foreignArgon2, "c29tZXNhbHQ", "c29tZXNhbHQ=", 1), ErrMalformed},
		"line break in salt":    {strings.Replace(foreignArgon2, "c29tZXNhbHQ", "c29tZX\nNhbHQ", 1), ErrMalformed},
		"short sum":             {"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFh", ErrMalformed},
		"bcrypt 2x":             {strings.Replace(foreignBcrypt, "2y", "2x", 1), ErrMalformed},
		"bcrypt short":          {foreignBcrypt[:59], ErrMalformed},
		"bcrypt long":           {foreignBcrypt + "a", ErrMalformed},
		"bcrypt alphabet":       {foreignBcrypt[:59] + "-", ErrMalformed},
		"bcrypt cost text":      {strings.Replace(foreignBcrypt, "$10$", "$1a$", 1), ErrMalformed},
		"bcrypt cost too low":   {strings.Replace(foreignBcrypt, "$10$", "$03$", 1), ErrMalformed},
		"bcrypt excessive cost": {strings.Replace(foreignBcrypt, "$10$", "$31$", 1), ErrTooCostly},
		"bcrypt cost 16":        {strings.Replace(foreignBcrypt, "$10$", "$16$", 1), ErrTooCostly},
	}
	h := newHasher(t, cheap())
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := h.Verify(t.Context(), "p", tt.encoded); !errors.Is(err, tt.want) {
				t.Errorf("error = %v; want %v", err, tt.want)
			}
		})
	}
}

// FuzzParse checks that accepted hashes are within the bounds, and that argon2 strings parse as written.
func FuzzParse(f *testing.F) {
	h, err := New(cheap())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(foreignArgon2)
	f.Add(foreignBcrypt)
	f.Add(strings.Replace(foreignArgon2, "m=65536,t=2,p=1", "p=1,t=2,m=65536", 1))
	for _, tt := range stored {
		f.Add(tt.encoded)
	}
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, encoded string) {
		parsed, err := parse(encoded, h.cfg.Memory)
		if err != nil {
			return
		}
		if parsed.memory() > h.cfg.Memory || parsed.work(0) > maxVerify || parsed.work(maxPassword) > 8*maxVerify || parsed.work(0) <= 0 {
			t.Errorf("%q was read as %+v, which is out of bounds", encoded, parsed)
		}
		switch parsed := parsed.(type) {
		case argon2Hash:
			if !parsed.cost.bounded() || parsed.cost.Memory > h.cfg.Memory || parsed.encode() != canonical(encoded) || parsed.work(0) <= 0 {
				t.Errorf("%q was read as %+v", encoded, parsed)
			}
		case bcryptHash:
			if parsed.cost > maxCost || parsed.encoded != encoded || parsed.work(0) <= 0 {
				t.Errorf("%q was read as %+v", encoded, parsed)
			}
		}
	})
}

// canonical returns an argon2id string with its parameters in the order m, t, p.
func canonical(encoded string) string {
	parts := strings.Split(encoded, "$")
	fields := strings.Split(parts[3], ",")
	slices.SortFunc(fields, func(a, b string) int { return strings.IndexByte("mtp", a[0]) - strings.IndexByte("mtp", b[0]) })
	parts[3] = strings.Join(fields, ",")
	return strings.Join(parts, "$")
}

// TestArgon2ParametersInAnyOrder: npm's argon2 writes m, p, t.
func TestArgon2ParametersInAnyOrder(t *testing.T) {
	h := newHasher(t, cheap())
	hashed := newArgon2("password", Argon2{Memory: 64, Time: 2, Threads: 3})
	for _, order := range []string{"m=64,t=2,p=3", "m=64,p=3,t=2", "t=2,m=64,p=3", "t=2,p=3,m=64", "p=3,m=64,t=2", "p=3,t=2,m=64"} {
		encoded := strings.Replace(hashed, "m=64,t=2,p=3", order, 1)
		if got, err := h.Verify(t.Context(), "password", encoded); err != nil || !got.Match {
			t.Errorf("%s: %+v, %v", order, got, err)
		}
		if got, err := h.Verify(t.Context(), "passwore", encoded); err != nil || got.Match {
			t.Errorf("%s, a wrong password: %+v, %v", order, got, err)
		}
	}
}
