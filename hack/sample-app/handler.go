package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// newHandler returns the app's routes. Endless streams end when stopping is closed.
func newHandler(stopping <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", echo)
	mux.HandleFunc("/public/", echo)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /login", login)
	mux.HandleFunc("POST /register", register)
	mux.HandleFunc("POST /password/reset", resetPassword)
	mux.HandleFunc("POST /users", createUser())
	mux.HandleFunc("POST /v1/chat", chat)
	mux.HandleFunc("GET /orders", orders)
	mux.HandleFunc("GET /headers-insecure", insecureHeaders)
	mux.HandleFunc("GET /slow", slow)
	mux.HandleFunc("GET /stream", stream)
	mux.HandleFunc("GET /trailers", trailers)
	mux.HandleFunc("GET /sse", serverSentEvents(stopping))
	mux.HandleFunc("GET /ws", webSocket)

	rpc := grpc.NewServer()
	healthpb.RegisterHealthServer(rpc, health.NewServer())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			rpc.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// seen is a request as the app received it.
type seen struct {
	Method    string      `json:"method"`
	Path      string      `json:"path"`
	Query     string      `json:"query,omitempty"`
	Proto     string      `json:"proto"`
	Host      string      `json:"host"`
	Client    string      `json:"client"`
	TLS       bool        `json:"tls,omitempty"`
	Headers   http.Header `json:"headers"`
	BodyBytes int64       `json:"bodyBytes"`
}

func echo(w http.ResponseWriter, r *http.Request) {
	size, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, "the body broke off", http.StatusBadRequest)
		return
	}
	writeJSON(w, http.StatusOK, seen{
		Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Proto: r.Proto, Host: r.Host,
		Client: r.RemoteAddr, TLS: r.TLS != nil, Headers: r.Header, BodyBytes: size,
	})
}

// login accepts {"user": …, "password": "demo"}, or email in place of user. To log its user in, an app only sets Postern-Subject to the
// user's name. Without Postern the header has no effect.
func login(w http.ResponseWriter, r *http.Request) {
	var given struct{ User, Email, Password string }
	user := ""
	if readJSON(w, r, &given) {
		user = cmp.Or(given.User, given.Email)
	}
	if user == "" || given.Password != "demo" {
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "wrong user or password"})
		return
	}
	w.Header().Set("Postern-Subject", user)
	writeJSON(w, http.StatusOK, map[string]string{"user": user})
}

// register accepts any password, as careless apps do.
func register(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusCreated, map[string]string{"note": "registered"})
}

// createUser gives each user an id, and forgets the user.
func createUser() http.HandlerFunc {
	var last atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		var given struct{ Name string }
		readJSON(w, r, &given)
		writeJSON(w, http.StatusCreated, map[string]string{"id": strconv.FormatInt(last.Add(1), 10), "name": given.Name})
	}
}

// resetPassword sends no mail.
func resetPassword(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusAccepted, map[string]string{"note": "if this account exists, it gets a mail"})
}

// chat responds as a language model does: with the number of tokens that it used, which the client chooses here.
func chat(w http.ResponseWriter, r *http.Request) {
	var given struct{ Tokens int }
	readJSON(w, r, &given)
	writeJSON(w, http.StatusOK, map[string]any{"reply": "ok", "usage": map[string]int{"total_tokens": given.Tokens}})
}

// readJSON reports whether the body is JSON.
func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	return json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(into) == nil
}

// orders responds with about 20 KiB of JSON, which is enough to compress.
func orders(w http.ResponseWriter, _ *http.Request) {
	type order struct {
		ID       int    `json:"id"`
		Customer string `json:"customer"`
		State    string `json:"state"`
		Cents    int    `json:"cents"`
	}
	list := make([]order, 300)
	for i := range list {
		list[i] = order{ID: 1000 + i, Customer: fmt.Sprintf("customer-%d", i%17), State: "shipped", Cents: 995 + 7*i}
	}
	writeJSON(w, http.StatusOK, list)
}

// insecureHeaders responds with headers that reveal the framework, as careless apps do.
func insecureHeaders(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Server", "sample-app/1.0")
	w.Header().Set("X-Powered-By", "Go")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	writeJSON(w, http.StatusOK, map[string]string{"note": "this response reveals too much"})
}

// slow responds after ?ms= milliseconds, unless the client has disconnected.
func slow(w http.ResponseWriter, r *http.Request) {
	ms, ok := number(w, r, "ms", 1000)
	if !ok {
		return
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		writeJSON(w, http.StatusOK, map[string]int64{"waitedMilliseconds": ms})
	case <-r.Context().Done():
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error here means that the client has disconnected.
	_ = json.NewEncoder(w).Encode(v)
}
