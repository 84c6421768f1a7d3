package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	http1 "github.com/posterndev/postern/sidecar/conn/http1/client"
	"github.com/posterndev/postern/sidecar/conn/http1/wire"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

var errSwitched = errors.New("switching protocols: the app responded with 101 to a request that did not ask for this upgrade")

// relay sends r to an HTTP/1.1 app, and the app's response to x. The stage hopbyhop has removed the fields of the client's connection, and
// the client package leaves out what remains of them.
func (p *Proxy) relay(x *exchange, r *http.Request, target string) {
	info := request.From(r)
	out := &x.out
	*out = http1.Request{In: r, Target: target, Interim: x}
	if upgrade := r.Header["Upgrade"]; len(upgrade) > 0 && strings.EqualFold(upgrade[0], webSocket) {
		out.Upgrade = upgrade[0]
	}
	if r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody {
		out.Length, out.Close, out.Arrived = r.ContentLength, mayIgnoreBody(r), x.reading == nil
		if r.ContentLength < 0 {
			out.Trailer = announced(r)
		}
		body := newRequestBody(r, r.Body, out.Trailer, x)
		out.Body = body
		defer body.end()
	}
	info.Timing.Asked()
	asked := time.Now()
	res, err := p.transports.http1.Do(out)
	info.Timing.App(asked)
	if err != nil {
		x.err = err
		return
	}
	if res.Status() == http.StatusSwitchingProtocols {
		p.switchProtocols(x, out, res)
		return
	}
	defer res.Close()
	defer x.watch.disarm()
	info.AppFields = x.addFields(res.Fields(), res.Length())
	x.final, x.status = true, res.Status()
	x.WriteHeader(res.Status())
	if x.copyBody(r.Context(), res, info.Timing) {
		x.addTrailer(res)
	}
}

// Inform passes an informational response on.
func (x *exchange) Inform(status int, fields []wire.Field) {
	h := x.Header()
	clear(h)
	for _, f := range fields {
		if !isHopByHop(f.Name) {
			h[f.Name] = append(h[f.Name], f.Value)
		}
	}
	x.inform(interim{status, h})
}

// addFields adds the response's fields to the header, without those of the app's connection, and returns the reserved ones. All values
// share one array. A chunked body says which trailer it has.
func (x *exchange) addFields(fields []wire.Field, length int64) (own http.Header) {
	h := x.ResponseWriter.Header()
	values, named := make([]string, len(fields)), hasConnection(fields)
	for i, f := range fields {
		switch {
		case len(f.Name) > len(reserved) && strings.EqualFold(f.Name[:len(reserved)], reserved):
			if own == nil {
				own = http.Header{}
			}
			own.Add(f.Name, f.Value)
		case f.Name == "Trailer" && length == wire.Chunked:
			x.announce(f.Value)
		case isHopByHop(f.Name) || named && namedByConnection(fields, f.Name):
		case f.Name == "Content-Length" && len(h[f.Name]) > 0:
			h[f.Name] = []string{f.Value} // a repetition: RFC 9110 §8.6
		case len(h[f.Name]) > 0:
			h[f.Name] = append(h[f.Name], f.Value)
		default:
			values[i] = f.Value
			h[f.Name] = values[i : i+1 : i+1]
		}
	}
	if len(x.trailers) > 0 {
		h["Trailer"] = append(h["Trailer"], strings.Join(x.trailers, ", "))
	}
	return own
}

// announce stores the names of a trailer, without those that frame the message and the reserved ones.
func (x *exchange) announce(value string) {
	for name := range strings.SplitSeq(value, ",") {
		if name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); name != "" && maySendTrailer(name) {
			x.trailers = append(x.trailers, name)
		}
	}
}

// maySendTrailer reports whether a trailer field of the app is passed on: what frames a message is not (RFC 9110 §6.5.1).
func maySendTrailer(name string) bool {
	return !isHopByHop(name) && name != "Content-Length" && !(len(name) >= len(reserved) && strings.EqualFold(name[:len(reserved)], reserved))
}

// addTrailer adds the trailer, as net/http's server expects it: announced fields as they are, others with a prefix.
func (x *exchange) addTrailer(res *http1.Response) {
	fields, err := res.Trailer()
	if err != nil {
		x.readErr, x.broken = err, true
		return
	}
	h := x.ResponseWriter.Header()
	for _, name := range x.trailers {
		delete(h, name) // a field of the header is not sent again
	}
	for _, f := range fields {
		if !maySendTrailer(f.Name) {
			continue
		}
		name := http.TrailerPrefix + f.Name
		for _, known := range x.trailers {
			if known == f.Name {
				name = f.Name
			}
		}
		h[name] = append(h[name], f.Value)
	}
}

// copyBody sends the body to the client, and reports whether all of it was sent. What is written is flushed when the body's length is not
// known, and when the next part has yet to arrive.
func (x *exchange) copyBody(ctx context.Context, res *http1.Response, timing *request.Timing) bool {
	unknown := res.Length() < 0
	if unknown {
		defer func() { _ = x.FlushError() }() // so that an empty body gets no length; on an error the client has disconnected
	}
	if unknown && !res.Buffered() {
		x.watch.arm(ctx, res.Abort)
		if x.flush() != nil {
			return false
		}
	}
	for {
		part, more, err := next(res, timing)
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			x.readErr, x.broken = fmt.Errorf("reading the app's response: %w", err), true
			return false
		}
		if len(part) > 0 {
			if _, err := x.Write(part); err != nil {
				x.broken = true
				return false
			}
		}
		if !res.Done() {
			x.watch.arm(ctx, res.Abort)
		}
		if more && x.flush() != nil {
			return false
		}
	}
}

// next returns the next part of the body. Only what was not received yet is waited for.
func next(res *http1.Response, timing *request.Timing) (part []byte, more bool, err error) {
	if !res.Done() && !res.Buffered() {
		defer timing.App(time.Now())
	}
	return res.Next()
}

// flush sends what was written.
func (x *exchange) flush() error {
	err := x.FlushError()
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	if err != nil {
		x.writeErr, x.broken = fmt.Errorf("writing to client: %w", err), true
	}
	return err
}

// isHopByHop reports whether a field of a response concerns only the connection to the app (RFC 9110 §7.6.1).
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// hasConnection reports whether there is a Connection field. Apps rarely send one.
func hasConnection(fields []wire.Field) bool {
	return slices.ContainsFunc(fields, func(f wire.Field) bool { return f.Name == "Connection" })
}

// namedByConnection reports whether Connection names the field.
func namedByConnection(fields []wire.Field, name string) bool {
	for _, f := range fields {
		if f.Name != "Connection" {
			continue
		}
		for element := range strings.SplitSeq(f.Value, ",") {
			if strings.EqualFold(strings.Trim(element, " \t"), name) {
				return true
			}
		}
	}
	return false
}
