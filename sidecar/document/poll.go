package document

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// PollConfig says where the operator is and how it is authenticated.
type PollConfig struct {
	// URL of the operator, without a path.
	URL string
	// CA has the PEM certificates that verify the operator's certificate.
	CA []byte
	// Token returns the pod's service-account token for the operator. It is called for every poll, because the
	// kubelet renews the token.
	Token  secret.Source
	Keeper *Keeper
	Logger *slog.Logger
}

// Poller holds a long poll to the operator: the request reports what the sidecar runs, and the response is a newer
// document.
type Poller struct {
	cfg    PollConfig
	client *http.Client
}

const (
	// pollTimeout is longer than the time for which the operator holds a poll.
	pollTimeout  = 60 * time.Second
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 15 * time.Second
	// maxResponse bounds a response in bytes: a document in base64 and its signature.
	maxResponse = 2*compiled.MaxSize + 4096
)

// NewPoller returns a Poller. An unusable CA is an error.
func NewPoller(cfg PollConfig) (*Poller, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(cfg.CA) {
		return nil, errors.New("reading the operator's CA: it contains no PEM certificate")
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Poller{cfg: cfg, client: client}, nil
}

// Run polls until ctx ends. It logs once that the operator is unavailable, and once that it is available again.
func (p *Poller) Run(ctx context.Context) {
	defer p.client.CloseIdleConnections()
	backoff, away := firstBackoff, false
	for ctx.Err() == nil {
		err := p.poll(ctx)
		if err == nil {
			if away {
				p.cfg.Logger.InfoContext(ctx, "long poll works again")
			}
			backoff, away = firstBackoff, false
			continue
		}
		if !away && ctx.Err() == nil {
			p.cfg.Logger.WarnContext(ctx, "long poll failed, the active document is kept", "error", err)
		}
		away = true
		sleep(ctx, backoff/2+rand.N(backoff))
		backoff = min(2*backoff, maxBackoff)
	}
}

// poll makes one request. It ends early without an error when the report changes. The next request then sends the new
// report.
func (p *Poller) poll(ctx context.Context) error {
	report, changed := p.cfg.Keeper.Report()
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	interrupted := make(chan struct{})
	go func() {
		select {
		case <-changed:
			close(interrupted)
			cancel()
		case <-ctx.Done():
		}
	}()
	signed, err := p.exchange(ctx, report)
	select {
	case <-interrupted:
		return nil
	default:
	}
	if err != nil || signed == nil {
		return err
	}
	if err := p.cfg.Keeper.Offer(context.WithoutCancel(ctx), *signed); err != nil {
		return fmt.Errorf("applying the operator's document: %w", err)
	}
	return nil
}

// exchange returns the operator's document, or nil if there is nothing new.
func (p *Poller) exchange(ctx context.Context, report compiled.Report) (*compiled.Signed, error) {
	token, err := p.cfg.Token.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the operator token: %w", err)
	}
	body, err := encode(report)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.URL+compiled.PollPath, body)
	if err != nil {
		return nil, fmt.Errorf("creating the poll request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+string(token.Reveal()))
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("polling the operator: %w", err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err != nil {
		return nil, fmt.Errorf("reading the operator's response: %w", err)
	}
	return parseResponse(resp.StatusCode, content)
}

// encode does not escape <, > and &, because a report is not HTML and its size is bounded.
func encode(report compiled.Report) (*bytes.Buffer, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(report); err != nil {
		return nil, fmt.Errorf("encoding report: %w", err)
	}
	return &b, nil
}

func parseResponse(status int, body []byte) (*compiled.Signed, error) {
	switch status {
	case http.StatusNoContent:
		return nil, nil
	case http.StatusOK:
		signed := &compiled.Signed{}
		if err := json.Unmarshal(body, signed); err != nil {
			return nil, fmt.Errorf("decoding the operator's response: %w", err)
		}
		return signed, nil
	}
	return nil, fmt.Errorf("the operator responded with %d: %.200q", status, body)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
