package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestSlowAppStallsNoOtherUpload: while an app does not take one body, another body of the same HTTP/2 connection arrives: the
// bytes that wait for the first app do not use up the window of the connection, for which the second client would be punished.
func TestSlowAppStallsNoOtherUpload(t *testing.T) {
	reading, proceed := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(reading)
			<-proceed
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Errorf("reading the other body after %d bytes: %v", n, err)
		}
	})
	stall := stallConfig{stall: time.Minute, minRate: func() int { return 1 << 10 }, window: time.Second}
	server := httptest.NewUnstartedServer(nil)
	server.Config = newHTTP2Server(appConfig{handler: handler, stall: stall, logger: slog.New(slog.DiscardHandler)})
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(proceed) })
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	post := func(path string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path, bytes.NewReader(make([]byte, 4<<20)))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	go func() { _ = post("/slow") }()
	<-reading
	time.Sleep(300 * time.Millisecond) // the first client fills its window
	if err := post("/other"); err != nil {
		t.Error(err)
	}
}
