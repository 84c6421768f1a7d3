package upstream

import (
	"net/http"
	"sync"
)

// maxInterims bounds the informational responses that wait for one client. More are left out, because nothing limits those of an app.
const maxInterims = 100

// interims sends the informational responses of an HTTP/2 app. They arrive in the goroutine that reads for all requests of the connection, which
// must not wait for a client.
type interims struct {
	mu      sync.Mutex
	waiting []interim
	// sent is closed when none is left; nil if nothing is being sent.
	sent chan struct{}
}

type interim struct {
	status int
	header http.Header
}

// add sends an informational response in another goroutine, after those before it. send may block.
func (i *interims) add(next interim, send func(interim)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.waiting) == maxInterims {
		return
	}
	if i.waiting = append(i.waiting, next); i.sent == nil {
		i.sent = make(chan struct{})
		go i.run(send)
	}
}

func (i *interims) run(send func(interim)) {
	for {
		next, ok := i.next()
		if !ok {
			return
		}
		send(next)
	}
}

// next takes the next one out, or ends the sending.
func (i *interims) next() (next interim, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.waiting) == 0 {
		close(i.sent)
		i.sent = nil
		return next, false
	}
	next, i.waiting = i.waiting[0], i.waiting[1:]
	return next, true
}

// await returns when all are sent. Until then nothing else may use the ResponseWriter.
func (i *interims) await() {
	i.mu.Lock()
	sent := i.sent
	i.mu.Unlock()
	if sent != nil {
		<-sent
	}
}
