package simulation

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/chain"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// Request is one request of a client.
type Request struct {
	Method, Path, Host string
	Header             http.Header
	// Address is that of the client or proxy that connects.
	Address netip.Addr
	Body    string
	// Plain says that the request comes without TLS although the policy serves it.
	Plain bool
	// Certificate is that of the client, made for the run; nil for none.
	Certificate *ClientCertificate
	// Sent are certificates of the client that exist, its own first; empty for none. They are in place of Certificate, and need Config.VerifyClients.
	Sent []*x509.Certificate
	// App is what the app responds if the request reaches it.
	App AppResponse
}

// Result is what happened to a request.
type Result struct {
	Status int
	Header http.Header
	Body   string
	// App is the request that the app got, without its body; nil for none.
	App *http.Request
	// Aborted says that the response ended before its end.
	Aborted bool
	Steps   []*request.Step
}

// DefaultAddress is the address of a client without one. It is reserved for documentation, RFC 5737.
var DefaultAddress = netip.AddrFrom4([4]byte{192, 0, 2, 1})

// Send sends r through the chain. An error says what in r is not a request.
func (s *Simulation) Send(ctx context.Context, r Request) (*Result, error) {
	session, err := s.session(r)
	if err != nil {
		return nil, err
	}
	in, err := r.http(context.WithValue(ctx, tlsKey{}, session))
	if err != nil {
		return nil, err
	}
	s.app.expect(r.App)
	t := &request.Trace{}
	w := &recorder{header: http.Header{}}
	result := &Result{}
	func() {
		defer func() {
			if v := recover(); v != nil {
				if v != http.ErrAbortHandler {
					panic(v)
				}
				result.Aborted = true
			}
		}()
		s.snapshot.ServeHTTP(w, request.WithTrace(in, t))
	}()
	w.finish()
	result.Status, result.Header, result.Body = w.status, w.sent, w.body.String()
	result.App, result.Steps = s.app.reached(), t.Steps
	for _, name := range chain.StageNames() {
		if !slices.ContainsFunc(result.Steps, func(s *request.Step) bool { return s.Stage == name }) {
			result.Steps = append(result.Steps, &request.Step{Stage: name, Outcome: request.NotReached})
		}
	}
	return result, nil
}

func (r Request) address() netip.Addr {
	if !r.Address.IsValid() {
		return DefaultAddress
	}
	return r.Address
}

func (r Request) http(ctx context.Context) (*http.Request, error) {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Host == "" {
		r.Host = "app.example.com"
	}
	r.Address = r.address()
	if !strings.HasPrefix(r.Path, "/") {
		path, _, _ := strings.Cut(r.Path, "?") // the query may have a key
		return nil, fmt.Errorf("the path %q does not start with /", path)
	}
	u, err := url.ParseRequestURI(r.Path)
	if err != nil {
		return nil, errors.New("the path is not valid in a request: write it as a client sends it, with %20 for a space")
	}
	in, err := http.NewRequestWithContext(ctx, r.Method, "http://"+r.Host+"/", strings.NewReader(r.Body))
	if err != nil {
		return nil, errors.New("the method or the host is not valid in a request")
	}
	if r.Body == "" {
		in.Body = http.NoBody
	}
	in.URL, in.RequestURI, in.Host = u, r.Path, r.Host
	in.RemoteAddr = netip.AddrPortFrom(r.Address, 40000).String()
	in.Header = http.Header{}
	for name, values := range r.Header {
		in.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if in.Header.Get("Content-Length") != "" || in.Header.Get("Transfer-Encoding") != "" || in.Header.Get("Host") != "" {
		return nil, errors.New("Content-Length and Transfer-Encoding follow from the body, and Host is the field host")
	}
	return in, nil
}

// recorder keeps the final response.
type recorder struct {
	header, sent http.Header
	status       int
	body         bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status != 0 || status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.status, w.sent = status, w.header.Clone()
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len()+len(b) > maxBody {
		return 0, io.ErrShortWrite
	}
	return w.body.Write(b)
}

// Flush does nothing: the body is kept.
func (w *recorder) Flush() {}

func (w *recorder) finish() {
	w.WriteHeader(http.StatusOK)
}
