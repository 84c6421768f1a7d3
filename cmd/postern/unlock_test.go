package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestUnlock(t *testing.T) {
	const request = `POST /v1/login-locks/clear {"account":"ada@example.com"}`
	ada := []string{"--account", "ada@example.com"}
	tests := map[string]struct {
		args     []string
		status   int
		response string
		// want is the request, and wantOut a part of the output.
		want, wantOut, wantErr string
	}{
		"all pods":           {args: ada, status: 200, response: `{"shared":true}`, want: request, wantOut: "cleared, in all pods"},
		"one pod":            {args: ada, status: 200, response: `{"shared":false}`, want: request, wantOut: "cleared, in one pod only"},
		"no section":         {args: ada, status: 404, response: `{"detail":"The policy has no section loginProtection."}`, want: request, wantErr: "404 Not Found: The policy has no section loginProtection"},
		"no Redis":           {args: ada, status: 503, response: `{"detail":"Try again."}`, want: request, wantErr: "503 Service Unavailable: Try again"},
		"not a loopback API": {args: ada, status: 200, response: "<html>", want: request, wantErr: "not a sidecar's loopback API"},
		"another API":        {args: ada, status: 200, response: "{}", want: request, wantErr: "not a sidecar's loopback API"},
		"no account":         {wantErr: "--account is required"},
		"an argument":        {args: append([]string{"ada"}, ada...), wantErr: "ada"},
		"a policy":           {args: append([]string{"--policy", "p"}, ada...), wantErr: "--policy cannot be used with --server"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = r.Method + " " + r.RequestURI + " " + string(body)
				if r.Header.Get("Postern-Request") != "true" {
					t.Error("the header of the loopback API is missing")
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.response)
			}))
			defer server.Close()
			out, _, err := run(t, "", append(append([]string{"unlock"}, tt.args...), "--server", server.URL)...)
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v; want %q", err, tt.wantErr)
			}
			if got != tt.want || !strings.Contains(out, tt.wantOut) {
				t.Errorf("request %q, output %q; want %q, %q", got, out, tt.want, tt.wantOut)
			}
		})
	}
}
