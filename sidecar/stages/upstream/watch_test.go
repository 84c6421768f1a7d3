package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// watched is a stage that allows requests until over is set, with the records of these requests.
type watched struct {
	over  atomic.Bool
	asked atomic.Int64
	infos chan *request.Info
}

// end refuses the allowed requests from now on, after the first check has passed.
func (w *watched) end(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); w.asked.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no check whether the response may continue")
		}
	}
	w.over.Store(true)
}

func (w *watched) stage(next stage.Handler) stage.Handler {
	return stage.Func(func(rw http.ResponseWriter, r *http.Request) error {
		never := request.Watch{Rule: request.Rule{Stage: "other"}, Judge: func(context.Context, request.Watched) *httperr.Error { return nil }}
		revoked := request.Watch{Rule: request.Rule{Stage: "revocation"}, Judge: func(context.Context, request.Watched) *httperr.Error {
			w.asked.Add(1)
			if w.over.Load() {
				return &httperr.Error{Status: http.StatusUnauthorized, Code: "token-revoked"}
			}
			return nil
		}}
		info := &request.Info{Watches: []request.Watch{never, revoked}}
		defer func() { w.infos <- info }()
		return next.ServeHTTP(rw, request.With(r, info))
	})
}

// wantRefusal checks that the request was allowed and its response was ended later with a recorded reason.
func (w *watched) wantRefusal(t *testing.T) {
	t.Helper()
	info := wait(t, w.infos, "the end of the request")
	if len(info.Decisions) != 1 || info.Decisions[0].Stage != "revocation" || info.Decisions[0].Err.Code != "token-revoked" {
		t.Errorf("decisions %+v", info.Decisions)
	}
}

func TestWatchEndsStreams(t *testing.T) {
	ended := make(chan struct{}, 1)
	app := func(w http.ResponseWriter, r *http.Request) {
		for i := 0; r.Context().Err() == nil; i++ {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(50 * time.Millisecond)
		}
		ended <- struct{}{}
	}
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("HTTP %d", version), func(t *testing.T) {
			w := &watched{infos: make(chan *request.Info, 1)}
			d := doorTo(t, app, w.stage)
			res, err := client(t, version).Do(request1(t, "GET", "http://"+d.addr+"/", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			lines := bufio.NewReader(res.Body)
			for begin := time.Now(); time.Since(begin) < 3*lookEvery/2; { // one check passes
				if _, err := lines.ReadString('\n'); err != nil {
					t.Fatalf("the stream ended early: %v", err)
				}
			}
			w.end(t)
			for err = nil; err == nil; {
				_, err = lines.ReadString('\n')
			}
			wait(t, d.aborts, "the response to be aborted: it must not look complete")
			wait(t, ended, "the app to be told")
			w.wantRefusal(t)
		})
	}
}

// TestWatchEndsDownloads: a download that never waits for the app, because its client is slow, is ended too.
func TestWatchEndsDownloads(t *testing.T) {
	const size = 256 << 20
	w := &watched{infos: make(chan *request.Info, 1)}
	d := doorTo(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", strconv.Itoa(size))
		piece := make([]byte, 1<<20)
		for range size / len(piece) {
			if _, err := rw.Write(piece); err != nil {
				return
			}
		}
	}, w.stage)
	res, err := client(t, 1).Do(request1(t, "GET", "http://"+d.addr+"/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.CopyN(io.Discard, res.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	w.end(t)
	piece := make([]byte, 64<<10)
	for read := 1 << 20; err == nil && read < size; time.Sleep(20 * time.Millisecond) { // a slow client
		var n int
		n, err = res.Body.Read(piece)
		read += n
	}
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the download went on: %v", err)
	}
	wait(t, d.aborts, "the response to be aborted: it must not look complete")
	w.wantRefusal(t)
}

func TestWatchEndsWebSockets(t *testing.T) {
	w := &watched{infos: make(chan *request.Info, 1)}
	d := doorTo(t, echo(t), w.stage)
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+d.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	w.end(t)
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the connection is still open: %v", err)
	}
	wait(t, d.errs, "the end of the exchange")
	w.wantRefusal(t)
}

// TestWatchGivesTimeIfRefusedAtFirstCheck: a request may itself log its user out, or in as another user. Its response must arrive.
func TestWatchGivesTimeIfRefusedAtFirstCheck(t *testing.T) {
	w := &watched{infos: make(chan *request.Info, 1)}
	d := doorTo(t, func(rw http.ResponseWriter, _ *http.Request) {
		w.over.Store(true)
		time.Sleep(3 * lookEvery / 2)
		fmt.Fprint(rw, "logged ")
		_ = http.NewResponseController(rw).Flush()
		time.Sleep(5 * lookEvery / 2)
		fmt.Fprint(rw, "out")
	}, w.stage)
	res, body := do(t, client(t, 1), request1(t, "POST", "http://"+d.addr+"/", nil))
	if res.StatusCode != http.StatusOK || body != "logged out" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if info := wait(t, w.infos, "the end of the request"); len(info.Decisions) != 0 {
		t.Errorf("decisions %+v", info.Decisions)
	}
}
