package telemetry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Protocol is how the collector is called.
type Protocol string

// Values of Protocol.
const (
	GRPC Protocol = "grpc"
	HTTP Protocol = "http"
)

// Endpoint is the connection to a collector.
type Endpoint struct {
	// Address is host:port, with a path before /v1/traces for HTTP only.
	Address  string
	Protocol Protocol
	// Headers are name=value pairs as in OTEL_EXPORTER_OTLP_HEADERS; nil for none. They are read for each request.
	Headers secret.Source
	// TLS is nil for a connection that is not encrypted.
	TLS *TLS
	// Retry is the pause before the first repetition of a request; 500 ms if zero. It doubles.
	Retry time.Duration
}

// TLS says how the collector is verified.
type TLS struct {
	// ServerName is the name in its certificate; the host of the address if it is empty.
	ServerName string
	// CABundle has the CAs in PEM; empty for those of the system.
	CABundle []byte
}

// config returns the settings for crypto/tls, or nil for plain TCP.
func (t *TLS) config() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	roots, err := check.Certificates(t.CABundle)
	if err != nil {
		return nil, fmt.Errorf("reading caBundle: %w", err)
	}
	return &tls.Config{ServerName: t.ServerName, RootCAs: roots, MinVersion: tls.VersionTLS12}, nil
}

const (
	defaultRetry = 500 * time.Millisecond
	maxRetry     = 5 * time.Second
	// requestTime bounds one request.
	requestTime = 5 * time.Second
)

func newClient(e Endpoint) (*client, error) {
	if e.Protocol != GRPC && e.Protocol != HTTP {
		return nil, fmt.Errorf("protocol %.20q is not grpc or http", e.Protocol)
	}
	if e.Address == "" {
		return nil, errors.New("the address of the collector is empty")
	}
	secure, err := e.TLS.config()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig: secure, Protocols: new(http.Protocols), DisableCompression: true, MaxConnsPerHost: 4, MaxIdleConnsPerHost: 2,
		IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 5 * time.Second}, // a connection that is cut off ends
	}
	scheme := "https"
	if secure == nil {
		scheme = "http"
	}
	switch {
	case e.Protocol == HTTP:
		transport.Protocols.SetHTTP1(true)
		transport.Protocols.SetHTTP2(secure != nil)
	case secure == nil:
		transport.Protocols.SetUnencryptedHTTP2(true)
	default:
		transport.Protocols.SetHTTP2(true)
	}
	return &client{
		endpoint: e, base: scheme + "://" + strings.TrimSuffix(e.Address, "/"), retry: cmp.Or(e.Retry, defaultRetry),
		http: &http.Client{Transport: transport, Timeout: requestTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// headers adds the configured fields to h.
func (e Endpoint) headers(ctx context.Context, h http.Header) error {
	if e.Headers == nil {
		return nil
	}
	value, err := e.Headers.Read(ctx)
	if err != nil {
		return fmt.Errorf("reading the headers for the collector: %w", err)
	}
	fields, err := parseHeaders(string(value.Reveal()))
	if err != nil {
		return err
	}
	for _, f := range fields {
		h[f.name] = append(h[f.name], f.value)
	}
	return nil
}

// maxHeaders bounds the configured fields.
const maxHeaders = 32

type headerField struct{ name, value string }

// parseHeaders reads the format of OTEL_EXPORTER_OTLP_HEADERS. Its errors say nothing of the text, which is a secret.
func parseHeaders(text string) ([]headerField, error) {
	var fields []headerField
	for pair := range strings.SplitSeq(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		decoded, err := url.PathUnescape(value)
		if !found || err != nil || check.FieldName(name) != nil || strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("reading the headers for the collector: pair %d is not name=value; write for example authorization=Bearer%%20TOKEN", len(fields)+1)
		}
		if len(fields) == maxHeaders {
			return nil, fmt.Errorf("reading the headers for the collector: there are more than %d", maxHeaders)
		}
		fields = append(fields, headerField{http.CanonicalHeaderKey(name), decoded})
	}
	return fields, nil
}
