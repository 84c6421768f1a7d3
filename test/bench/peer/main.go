// Command peer is a proxy as teams write it by hand instead of a sidecar; `make bench` compares Postern with it. It is a reverse
// proxy (net/http/httputil) that issues and verifies JWTs with golang-jwt, and looks up revocations in Redis. It is written to
// be fast: it keeps connections to the app and reuses buffers. It has none of Postern's limits and defences, so it is only for
// the bench.
//
// The flag -revoked is how it looks up revocations. With ask it makes two round trips per request (is the token revoked, does
// the session exist). With poll it reads the list once per second. With off it only proxies and does not read tokens. With verify it
// verifies the RS256 tokens of another issuer, with the public key in -key, and looks nothing up. With auth it does the same and forwards nothing: it
// answers 204 or 401, for nginx's auth_request. With answer it is no proxy: it answers 1 KiB itself, over HTTP/1.1 and h2c, which shows what the
// server of net/http costs alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	goredis "github.com/redis/go-redis/v9"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.listen, "listen", "", "address to serve at")
	flag.StringVar(&o.upstream, "upstream", "", "the app, as http://host:port")
	flag.StringVar(&o.redis, "redis", "", "address of Redis")
	flag.StringVar(&o.key, "key", "", "file with the P-256 key that signs tokens, as PEM; with verify and auth, the issuer's RSA public key")
	flag.StringVar(&o.issuer, "issuer", issuer, "issuer of the tokens")
	flag.StringVar(&o.audience, "audience", audience, "audience of the tokens")
	flag.StringVar(&o.revoked, "revoked", "ask", "ask, poll, off, verify, auth or answer")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

type options struct{ listen, upstream, redis, key, issuer, audience, revoked string }

func run(ctx context.Context, o options) error {
	app, err := url.Parse(o.upstream)
	if err != nil {
		return err
	}
	read := readTokens
	if o.revoked == "verify" || o.revoked == "auth" {
		read = readPublic
	}
	tokens, err := read(o)
	if err != nil {
		return err
	}
	client := goredis.NewClient(&goredis.Options{Addr: o.redis})
	defer client.Close()
	p := &proxy{tokens: tokens, sessions: sessions{client}, app: newReverseProxy(app)}
	server := &http.Server{Addr: o.listen, Handler: p.routes()}
	switch o.revoked {
	case "ask":
		p.revoked = asked{client}
	case "poll":
		list := newPolled(client)
		go list.run(ctx)
		p.revoked = list
	case "off":
		server.Handler = p.app
	case "verify":
		server.Handler = http.HandlerFunc(p.verified)
	case "auth":
		server.Handler = http.HandlerFunc(p.judge)
	case "answer":
		server.Handler = http.HandlerFunc(answer)
		server.Protocols = new(http.Protocols)
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
	default:
		return fmt.Errorf("-revoked %q is not ask, poll, off, verify, auth or answer", o.revoked)
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
