package response

import "net/http"

// Room is the memory of a Host for the hooks of the stages inside it.
type Room [6]hooked

// hooked is the hook of a stage, and the request that the stage got.
type hooked struct {
	hook Hook
	r    *http.Request
}

// host is a Writer that keeps the hooks of stages.
type host interface {
	push(hook Hook, r *http.Request) (mark int, ok bool)
	end(mark, status int)
	drop(mark int)
}

// Host makes w keep the hooks of the stages inside it, in room as far as there is any: Decorate then needs no Writer of its own. The hooks
// are called before OnHeader, the innermost first. A type that overrides WriteHeader, Write or FlushError must call those of its Writer then.
func (w *Writer) Host(room *Room) { w.hooks = room[:0] }

// push adds a hook, and returns its place. It returns false if w is no Host.
func (w *Writer) push(hook Hook, r *http.Request) (mark int, ok bool) {
	if w.hooks == nil {
		return 0, false
	}
	w.hooks = append(w.hooks, hooked{hook, r})
	return len(w.hooks) - 1, true
}

// end calls the hooks from mark on, if the header was not sent.
func (w *Writer) end(mark, status int) {
	if !w.begun {
		w.call(mark, status)
	}
}

// drop removes the hooks from mark on.
func (w *Writer) drop(mark int) { w.hooks = w.hooks[:mark] }

// call calls the hooks from mark on, in the order in which the response passes their stages.
func (w *Writer) call(mark, status int) {
	for i := len(w.hooks) - 1; i >= mark; i-- {
		w.hooks[i].hook(w.hooks[i].r, status, w.Header())
	}
}
