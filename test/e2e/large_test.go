//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Bodies of largeBody bytes are streamed concurrently in both directions, and may use only a small part of their size in memory.
const (
	largeBody    = 100 << 20
	largeStreams = 2
	largeMemory  = 48 << 20
)

// checkLarge: the sidecar's memory does not depend on the size of bodies.
func checkLarge(t *testing.T, address, metrics string) {
	before := residentMemory(t, metrics)
	ctx, stop := context.WithCancel(t.Context())
	peak := make(chan int64)
	go func() { peak <- watchMemory(ctx, t, metrics) }()

	start := time.Now()
	var all sync.WaitGroup
	for range largeStreams {
		all.Go(func() { download(t, address) })
		all.Go(func() { upload(t, address) })
	}
	all.Wait()
	took := since(start)
	stop()
	grown := max(<-peak, before) - before
	measured(t, "large bodies: %d streams of %d MiB at once in %v; the sidecar's memory grew from %d to %d MiB",
		2*largeStreams, largeBody>>20, took, before>>20, (before+grown)>>20)
	if grown > largeMemory {
		t.Errorf("the sidecar's memory grew by %d MiB", grown>>20)
	}
}

func download(t *testing.T, address string) {
	response, err := http.Get(fmt.Sprintf("http://%s/stream?bytes=%d", address, largeBody))
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	if n, err := io.Copy(io.Discard, response.Body); err != nil || n != largeBody || response.Header.Get("X-Round") == "" {
		t.Errorf("downloaded %d bytes: %v", n, err)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func upload(t *testing.T, address string) {
	response, err := http.Post("http://"+address+"/", "application/octet-stream", io.LimitReader(zeros{}, largeBody))
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	var got seen
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil || got.BodyBytes != largeBody {
		t.Errorf("uploaded %d bytes: %v", got.BodyBytes, err)
	}
}

// watchMemory returns the maximum memory of the sidecar until ctx ends.
func watchMemory(ctx context.Context, t *testing.T, metrics string) (peak int64) {
	for ctx.Err() == nil {
		peak = max(peak, residentMemory(t, metrics))
		time.Sleep(100 * time.Millisecond)
	}
	return peak
}

// residentMemory returns the sidecar's memory in bytes, or 0 if it is unknown.
func residentMemory(t *testing.T, metrics string) int64 {
	got, err := send(t, http.MethodGet, metrics, "")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(got.body) {
		if value, ok := strings.CutPrefix(line, "process_resident_memory_bytes "); ok {
			bytes, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return int64(bytes)
		}
	}
	return 0
}
