package document

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

type token string

func (t token) Read(context.Context) (secret.Value, error) { return secret.New([]byte(t)), nil }

// serve runs an operator's endpoint over TLS and a poller against it.
func serve(t *testing.T, k *Keeper, handler http.HandlerFunc) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	p, err := NewPoller(PollConfig{URL: server.URL, CA: ca, Token: token("pod-token"), Keeper: k, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func TestPollAppliesAndAcknowledgesDocuments(t *testing.T) {
	o := newOperator(t)
	k := o.keeper(nil)
	first, second := o.sign(t, nil), o.sign(t, revision(20))
	reports := make(chan compiled.Report, 100)
	serve(t, k, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer pod-token" || r.URL.Path != compiled.PollPath {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		body, _ := io.ReadAll(r.Body)
		report, err := compiled.DecodeReport(body)
		if err != nil {
			t.Error(err)
		}
		reports <- report
		switch report.Hash {
		case "":
			_ = json.NewEncoder(w).Encode(first)
		case first.Hash():
			_ = json.NewEncoder(w).Encode(second)
		default:
			<-r.Context().Done() // held, as the operator does
		}
	})
	for _, want := range []string{"", first.Hash(), second.Hash()} {
		if got := <-reports; got.Hash != want || got.SchemaVersion != compiled.SchemaVersion {
			t.Errorf("report = %+v; want hash %q", got, want)
		}
	}
	k.SetReachable([]string{"0.0.0.0:9000"}) // ends the held poll: the change is reported immediately
	if got := <-reports; len(got.Reachable) != 1 {
		t.Errorf("report = %+v; want the reachable listener", got)
	}
}

func TestPollContinuesAfterErrors(t *testing.T) {
	o := newOperator(t)
	k := o.keeper(nil)
	good := o.sign(t, nil)
	var polls atomic.Int32
	serve(t, k, func(w http.ResponseWriter, r *http.Request) {
		switch polls.Add(1) {
		case 1:
			http.Error(w, "boom", http.StatusInternalServerError)
		case 2:
			_, _ = io.WriteString(w, "not JSON")
		case 3:
			http.Redirect(w, r, "https://elsewhere.invalid/", http.StatusTemporaryRedirect)
		case 4:
			panic(http.ErrAbortHandler)
		case 5:
			_, _ = io.WriteString(w, `{"document":"`+strings.Repeat("QUFB", maxResponse/2)+`"}`)
		default:
			_ = json.NewEncoder(w).Encode(good)
		}
	})
	waitFor(t, k, "the good document", func(r compiled.Report) bool { return r.Hash == good.Hash() })
}

func TestPollRefusesAnUntrustedCertificate(t *testing.T) {
	o := newOperator(t)
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a server with an untrusted certificate was polled") }))
	defer server.Close()
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if _, err := NewPoller(PollConfig{CA: []byte("no PEM")}); err == nil {
		t.Error("an invalid CA was accepted")
	}
	p, err := NewPoller(PollConfig{URL: server.URL, CA: selfSigned(t), Token: token("x"), Keeper: o.keeper(nil), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.poll(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error = %v; want one about the certificate", err)
	}
}
