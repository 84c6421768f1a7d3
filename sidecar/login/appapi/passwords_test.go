package appapi

import (
	"encoding/json"
	"testing"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// rawBody returns JSON that is sent as it is.
func rawBody(text string) json.RawMessage { return json.RawMessage(text) }

func TestPasswords(t *testing.T) {
	tests := map[string]struct {
		path string
		body any
		err  error
		want int
	}{
		"hash":              {"hash", object{"password": "p"}, nil, 200},
		"empty":             {"hash", object{"password": ""}, nil, 422},
		"not JSON":          {"hash", "x", nil, 400},
		"lone surrogate":    {"hash", rawBody(`{"password":"x\ud800"}`), nil, 400},
		"verify, surrogate": {"verify", rawBody(`{"password":"x\udfff","hash":"hash of p"}`), nil, 400},
		"too long":          {"hash", object{"password": "p"}, password.ErrTooLong, 422},
		"NUL":               {"hash", object{"password": "p"}, password.ErrNUL, 422},
		"busy":              {"hash", object{"password": "p"}, password.ErrBusy, 503},
		"other":             {"hash", object{"password": "p"}, errUnavailable, 500},
		"match":             {"verify", object{"password": "p", "hash": "hash of p"}, nil, 200},
		"verify, unknown":   {"verify", object{"password": "p", "hsah": ""}, nil, 400},
		"malformed hash":    {"verify", object{"password": "p", "hash": "x"}, password.ErrMalformed, 422},
		"costly hash":       {"verify", object{"password": "p", "hash": "x"}, password.ErrTooCostly, 422},
		"verify, busy":      {"verify", object{"password": "p", "hash": "x"}, password.ErrBusy, 503},
		"for bcrypt":        {"verify", object{"password": "p", "hash": "x"}, password.ErrTooLongForBcrypt, 422},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, passwords{err: tt.err})
			status, response := w.call(t, "POST", "/v1/passwords/"+tt.path, tt.body)
			if status != tt.want {
				t.Fatalf("status %d, %v; want %d", status, response, tt.want)
			}
			if long := response["type"] == "https://postern.dev/problems/password-too-long"; long != (tt.err == password.ErrTooLongForBcrypt) {
				t.Errorf("response %v", response)
			}
			if status == 200 && response["hash"] != "hash of p" && (response["match"] != true || response["rehash"] != true) {
				t.Errorf("response %v", response)
			}
		})
	}
}
