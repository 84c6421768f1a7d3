package lifecycle

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/jsonscan"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// observer sees the response of the app while it passes.
type observer struct {
	response.Writer
	request *http.Request
	info    *request.Info
	rules   []*rule
	// overridden says that the rules match only if the app replaces the method.
	overridden bool
	// form is the body in which a method is, and method is that of the rules; nil if the method is elsewhere.
	form   *form
	method string
	// body is nil if no rule needs the request's body, or there is none.
	body *body
	// rule applies to the response; nil before the response and if none does. Its event was emitted if pending is false.
	rule    *rule
	pending bool
	// answered says that the app has responded.
	answered bool
	// id is known before the end of the response, if it is not in its body.
	id string
	// scanner looks for the id in the response. It is nil if it has it, or need not look. encoded collects a body that has to be decoded first.
	scanner *jsonscan.Scanner
	encoded *encoded
}

// decide is called for the header of the app's response, before it is sent.
func (o *observer) decide(status int, h http.Header) response.Action {
	o.answered = true
	if status == http.StatusSwitchingProtocols {
		return response.Action{}
	}
	for _, r := range o.rules {
		if !r.wants(status) {
			continue
		}
		o.rule, o.pending = r, true
		if r.responseJSON == nil || status == http.StatusPartialContent || status == http.StatusNoContent {
			// The beginning of a part is not that of the JSON: a client could choose what is found.
			if o.id = o.knownID(h); o.form == nil && o.body.complete() && !isGRPC(h) {
				o.emit(o.id)
			}
			break
		}
		o.scanner = jsonscan.New(r.responseJSON)
		if coding := codingOf(h); coding != "" {
			o.encoded = &encoded{coding: coding}
		}
		break
	}
	return response.Action{}
}

// knownID returns the id from a place other than the response's body.
func (o *observer) knownID(h http.Header) string {
	id := &o.rule.ID
	switch {
	case id.Segment != nil:
		// Apps that match a path with empty segments ignore these: //users/42 is the user 42.
		segments := strings.FieldsFunc(o.info.Path, func(r rune) bool { return r == '/' })
		if n := *id.Segment; n >= 0 && n < len(segments) {
			return segments[n]
		}
	case id.ResponseHeader != "":
		if lines := h.Values(id.ResponseHeader); len(lines) == 1 {
			return strings.ToValidUTF8(lines[0], "\uFFFD")
		}
	case o.rule.requestJSON != nil:
		if object, ok := o.body.object(); ok {
			value, _, sure := member(object, o.rule.requestJSON)
			return idOf(value, sure)
		}
	}
	return ""
}

// idOf returns a string or a number as an id.
func idOf(value any, sure bool) string {
	switch v := value.(type) {
	case string:
		if sure {
			return v
		}
	case json.Number:
		if sure {
			return v.String()
		}
	}
	return ""
}

// Write passes p on and reads it.
func (o *observer) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	switch {
	case o.scanner == nil:
	case o.encoded != nil:
		o.encoded.keep(p)
	default:
		o.scanner.Write(p)
		if id, found := o.scanner.Text(); found {
			o.emit(id)
		}
	}
	return n, err
}

// end emits the event of a response that has ended without the id, and of a request of which nothing is known. err is the error of the proxy.
func (o *observer) end(err error) {
	if !o.answered && perhapsDone(err) {
		o.rule, o.pending = o.rules[0], true
		o.id = o.knownID(http.Header{})
	}
	if !o.pending {
		return
	}
	id := o.id
	if o.encoded != nil {
		o.encoded.decode(o.scanner)
		id, _ = o.scanner.Text()
	}
	o.emit(id)
}

// emit emits the event once.
func (o *observer) emit(id string) {
	o.pending, o.scanner = false, nil
	done, known := o.done()
	if known && !done || o.form != nil && !o.form.names(o.method) {
		return
	}
	if len(id) > event.MaxText {
		id = "" // the beginning of an id could be another id
	}
	e := event.Event{
		Kind: event.Lifecycle, Outcome: event.Success,
		Resource: event.Resource{Kind: o.rule.Resource, ID: id, Action: o.rule.Action},
	}
	if len(o.rule.fields) > 0 {
		object, ok := o.body.object()
		if !ok {
			e.Reason = ChangesUnknown
		}
		e.Changes = o.rule.changes(object)
	}
	if !known {
		e.Outcome, e.Reason = event.Failed, ResultUnknown
	}
	if o.overridden {
		e.Outcome, e.Reason = event.Failed, MethodOverride
	}
	o.act(&e)
	o.info.Emit(e)
}
