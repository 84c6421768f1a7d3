package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/posterndev/postern/sidecar/secret"
)

// maxDocument bounds the list's text, in bytes; an environment variable cannot hold more (Linux MAX_ARG_STRLEN).
const maxDocument = 128 << 10

// document is an entry as it is written.
type document struct {
	Name    string `json:"name"`
	HTTP    *HTTP  `json:"http"`
	TCP     *TCP   `json:"tcp"`
	GRPC    *GRPC  `json:"grpc"`
	Timeout string `json:"timeout"`
	Token   string `json:"token"`
}

// Decode reads the list as the webhook writes it into the environment (POSTERN_PROBES), and validates it:
//
//	[{"name":"app/liveness","http":{"scheme":"HTTP","port":8080,"path":"/healthz","headers":[{"name":"A","value":"b"}],"host":""},
//	  "timeout":"1s","token":"…"}, {"name":"app/startup","tcp":{"port":5432},"timeout":"1s"},
//	 {"name":"app/readiness","grpc":{"port":9000,"service":"shop"},"timeout":"1s"}]
//
// Empty text is an empty list. Unknown fields, repeated names and anything after the list are refused; an error never
// quotes the text, which holds tokens.
func Decode(text []byte) ([]Probe, error) {
	if len(text) == 0 {
		return nil, nil
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("decoding probes: %d bytes are more than %d", len(text), maxDocument)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	var list []document
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("decoding probes: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding probes: there is more after the list")
	}
	probes := make([]Probe, 0, len(list))
	for _, d := range list {
		timeout, err := time.ParseDuration(d.Timeout)
		if err != nil {
			return nil, fmt.Errorf("decoding probe %.100q: timeout %.20q is not a duration such as 1s", d.Name, d.Timeout)
		}
		probes = append(probes, Probe{
			Name: d.Name, HTTP: d.HTTP, TCP: d.TCP, GRPC: d.GRPC, Timeout: timeout, Token: secret.New([]byte(d.Token)),
		})
	}
	return probes, validate(probes)
}

func validate(probes []Probe) error {
	if len(probes) > MaxProbes {
		return fmt.Errorf("checking probes: %d are more than %d", len(probes), MaxProbes)
	}
	seen := make(map[string]bool, len(probes))
	for _, p := range probes {
		if err := p.Validate(); err != nil {
			return err
		}
		if seen[p.Name] {
			return fmt.Errorf("checking probes: %q is there twice", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}
