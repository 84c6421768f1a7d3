package password

import (
	"errors"
	"strings"
	"testing"
)

// storedPassword is the password of stored.
const storedPassword = "Grüße aus Köln"

// stored are hashes as other systems store them, made by Django 3.2 (its scrypt by Python's hashlib in the format of Django 4),
// Werkzeug 2.2 (its scrypt likewise), passlib 1.7 and PHP 8.2.
var stored = map[string]struct{ encoded string }{
	"Django pbkdf2_sha256":                 {"pbkdf2_sha256$20000$seasalt2seasalt2$NiaBa6dskwhbl+gdHuE/37pSjY23foBUiqClGpMD9eE="},
	"Django pbkdf2_sha1":                   {"pbkdf2_sha1$20000$seasalt2seasalt2$8pPt0S35YUl26E1TcmMmFqNP9mg="},
	"Django argon2":                        {"argon2$argon2id$v=19$m=102400,t=2,p=8$c2Vhc2FsdDJzZWFzYWx0Mg$l3+b6Q5RGk+DUBhDxPF7bg"},
	"Django bcrypt_sha256":                 {"bcrypt_sha256$$2b$05$2luGGbobgUdCBe3m1gzHZOxCc1KJgg4BYggzE/WMWH7aTIsl7SHSm"},
	"Django bcrypt":                        {"bcrypt$$2b$05$egm/qKdITWsOadX0yQk9jOAIT8FOQnpsJc2f2wqtL/N44FjdC6o6m"},
	"Django scrypt":                        {"scrypt$16384$seasalt2seasalt2$8$1$eKGb9GSjyZz2CIiQ/G7h1zzQ2KYrDIy3K0uw5DedT1scSnz7QfAsIE4Pbmy54aqE+7YqYnMDZtUW8aNKJrqgnw=="},
	"Werkzeug pbkdf2:sha256":               {"pbkdf2:sha256:20000$ayM4Abby89hZDjS1$e4f30e4a018d1725a7eb43dbb7c0b5d764fa001762fab3a041a7922f0bdceddf"},
	"Werkzeug pbkdf2:sha1":                 {"pbkdf2:sha1:20000$NQlYhlUu6h7BjKNX$992753bdc6291f7e6b3e4ca07e3c7248fe4186fc"},
	"Werkzeug pbkdf2:sha512":               {"pbkdf2:sha512:20000$w8R7ch89DodTqZks$d74a14ff24b3d99c7ad4911d9d6ec99a845cacb9508e828e3c43725cb4425b1b48c8b29587fc44788c787f09f2bc27e9b72b9983de591ad34bca85e7083b19f2"},
	"passlib pbkdf2_sha1":                  {"$pbkdf2$20000$Nobw/p.zVgohJEQIYaz1vg$iSWpUoBTJf.Hc2erPdwoJe3wP3g"},
	"passlib pbkdf2_sha256":                {"$pbkdf2-sha256$20000$OYeQEmLMuZdSyvkfI6TUmg$jiMWNyECVMCZeevBVgUz/D109CH3HsWB09CWqlovJXU"},
	"passlib pbkdf2_sha512":                {"$pbkdf2-sha512$20000$X8vZ2/tfC0GodY6xdm4NIQ$lYKoXIqcZ5828ela/VSQyv/vB1hZndEJEp9vV3GV4nphBiVlJONZGcpC1voOTKsw3NbeiIxoSJxgeCC8Uf5Y6g"},
	"passlib sha512_crypt":                 {"$6$rounds=6000$SdzMyz8BRpL3K3Xx$Emy8XgQysr7j74nfWWbALOE9hW6oRgrAkWYGZXP8SXzUyY0FnoufHJP0n4XvROkOMgtkaQWMkv9mjS4eJwfYH/"},
	"passlib sha512_crypt, default rounds": {"$6$5u1bHMf/kl17F42/$kekKBByTaMTX7BJSNg7zDfeaB3U5TQy34Tf3YAwg6TsdKbFnkrsBbGSGnVB2249MNxiVjPU2dqfzJlKq3vxNp/"},
	"passlib bcrypt_sha256 v2":             {"$bcrypt-sha256$v=2,t=2b,r=5$xW2dqB/01wM5i3SWSqEeO.$Tzp7TinPVEJvRzfJWHu5TX8yiErZCSe"},
	"passlib bcrypt_sha256 v1":             {"$bcrypt-sha256$2b,5$r7vPCAGTm0gG7ZM3UWfQ.e$rAW8pM.6Cx0.9T6ItPgCUN5Ui9DTWRy"},
	"passlib phpass":                       {"$P$99u12d2s8t3vrCyYsQXn/00IRwgpri/"},
	"passlib phpass of phpBB":              {"$H$9UWcZJWE5luvfwgj2CK.sGGr8P8UlM/"},
	"passlib ldap_bcrypt":                  {"{CRYPT}$2b$05$0oDPNJwzd0McekzVvSjwCuiDlUzM6gCNaNalyk2KpAngdmbgQBeqy"},
	"passlib argon2i":                      {"$argon2i$v=19$m=1024,t=2,p=1$nXNOyXlv7V0LYWxNidHa+w$w9wIou9SgHMhA80C3fbsYA"},
	"passlib argon2d":                      {"$argon2d$v=19$m=1024,t=2,p=1$07q39j7nnLOWktI6Z0zJGQ$uN9MfbKFvpinhcifHcdEnQ"},
	"Spring {bcrypt}":                      {"{bcrypt}$2a$05$rHu23nQJktvo2ZTv6oW7IOchifLaEGyeLtMAI2Bsv3gi952oPaOB2"},
	"{BCRYPT}":                             {"{BCRYPT}$2a$05$LkSKPJWl0fBoKmzAEBxAY.NoRUpUJ4Ng5UZ1XOUbjdxeYZfDglDU6"},
	"Werkzeug scrypt":                      {"scrypt:32768:8:1$abcdefghij123456$1fb5a4f12597ac6f77dc54938845a2b6ac79ec5d9974dd9c39947ff1e6bc4c6b42aa16e8d43ddbb8835ceda9e7cf371864ef858403975afe41b66adb021acb5a"},
	"PHP":                                  {"$2y$10$SYoT.PboQ3Hyq14/pypUSun.OhE04ujHBqlgAcxHFMWYqFOfb6qw2"},
	"WordPress 6.8":                        {"$wp$2y$05$VL5lsBp/E92lF2aW.vhLtuHzrfcFIZiH6P22u0TqDJsf/WVwRDhWm"},
	"Dovecot":                              {"{BLF-CRYPT}$2y$10$SYoT.PboQ3Hyq14/pypUSun.OhE04ujHBqlgAcxHFMWYqFOfb6qw2"},
}

// TestStoredHashes: the password matches and its hash is to be replaced; nothing else matches.
func TestStoredHashes(t *testing.T) {
	h := newHasher(t, with(func(c *Config) { c.Memory = DefaultMemory }))
	for name, tt := range stored {
		t.Run(name, func(t *testing.T) {
			if got, err := h.Verify(t.Context(), storedPassword, tt.encoded); err != nil || !got.Match || !got.Rehash {
				t.Errorf("Verify = %+v, %v; want a match to be hashed again", got, err)
			}
			for _, wrong := range []string{"", storedPassword + "x", storedPassword + "\x00", strings.ToUpper(storedPassword), strings.Repeat("x", 600)} {
				if got, err := h.Verify(t.Context(), wrong, tt.encoded); err != nil && !errors.Is(err, ErrTooLongForBcrypt) || got.Match {
					t.Errorf("Verify of %.20q = %+v, %v", wrong, got, err)
				}
			}
		})
	}
}

// TestDamagedHashes: no hash matches after a character of it is changed or removed, and none makes Verify panic.
func TestDamagedHashes(t *testing.T) {
	h := newHasher(t, cheap())
	for name, tt := range stored {
		t.Run(name, func(t *testing.T) {
			for i := range tt.encoded {
				for _, damaged := range []string{tt.encoded[:i], tt.encoded[:i] + tt.encoded[i+1:], tt.encoded[:i] + "\xff" + tt.encoded[i+1:]} {
					parsed, err := parse(damaged, h.cfg.Memory)
					if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooCostly) {
						t.Fatalf("%q: %v", damaged, err)
					}
					if err == nil && (parsed.memory() > h.cfg.Memory || parsed.work(0) > maxVerify) {
						t.Fatalf("%q is out of bounds", damaged)
					}
				}
			}
		})
	}
}

// TestCostlyStoredHashes: a user who can write a hash cannot make the sidecar compute for minutes, or use up its memory.
func TestCostlyStoredHashes(t *testing.T) {
	tests := map[string]struct {
		name, from, to string
		want           error
	}{
		"PBKDF2":                     {"Django pbkdf2_sha256", "$20000$", "$2000000000$", ErrTooCostly},
		"PBKDF2, Django's default":   {"Django pbkdf2_sha256", "$20000$", "$1200000$", nil},
		"PBKDF2, no iterations":      {"Django pbkdf2_sha256", "$20000$", "$0$", ErrMalformed},
		"PBKDF2, negative":           {"Django pbkdf2_sha256", "$20000$", "$-1$", ErrMalformed},
		"PBKDF2 of an unknown kind":  {"Werkzeug pbkdf2:sha256", "sha256", "md5", ErrMalformed},
		"PBKDF2 of another length":   {"Werkzeug pbkdf2:sha256", "sha256", "sha1", ErrMalformed},
		"scrypt, N":                  {"Werkzeug scrypt", "32768", "1073741824", ErrTooCostly},
		"scrypt, memory":             {"Werkzeug scrypt", "32768", "1048576", ErrTooCostly},
		"scrypt, p":                  {"Werkzeug scrypt", ":1$", ":16$", ErrTooCostly},
		"scrypt, p of Django 5":      {"Django scrypt", "$8$1$", "$8$5$", nil},
		"scrypt, no power of two":    {"Werkzeug scrypt", "32768", "32767", ErrMalformed},
		"scrypt, N of 1":             {"Werkzeug scrypt", "32768", "1", ErrMalformed},
		"SHA-512-crypt":              {"passlib sha512_crypt", "rounds=6000", "rounds=999999999", ErrTooCostly},
		"SHA-512-crypt of passlib":   {"passlib sha512_crypt", "rounds=6000", "rounds=656000", nil},
		"phpass":                     {"passlib phpass", "$P$9", "$P$z", ErrTooCostly},
		"phpass, too few rounds":     {"passlib phpass", "$P$9", "$P$1", ErrMalformed},
		"bcrypt inside bcrypt":       {"Django bcrypt_sha256", "$2b$05$", "$2b$16$", ErrTooCostly},
		"passlib's bcrypt_sha256":    {"passlib bcrypt_sha256 v2", "r=5", "r=31", ErrTooCostly},
		"passlib's, another version": {"passlib bcrypt_sha256 v2", "v=2", "v=3", ErrMalformed},
		"argon2i":                    {"passlib argon2i", "m=1024,t=2", "m=1024,t=4000000000", ErrTooCostly},
		"argon2 of Django, memory":   {"Django argon2", "m=102400", "m=4294967295", ErrTooCostly},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			encoded := strings.Replace(stored[tt.name].encoded, tt.from, tt.to, 1)
			if encoded == stored[tt.name].encoded {
				t.Fatal("nothing was replaced")
			}
			if _, err := parse(encoded, DefaultMemory); !errors.Is(err, tt.want) {
				t.Errorf("%q: %v; want %v", encoded, err, tt.want)
			}
		})
	}
}
