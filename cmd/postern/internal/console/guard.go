package console

import (
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxServed bounds the requests that are served at the same time; more wait for maxWait.
	maxServed = 8
	maxWait   = 10 * time.Second
	// maxForm bounds the body of a request, in bytes.
	maxForm = 16 << 10
	// maxQuery bounds the query of a URL, in bytes.
	maxQuery = 4 << 10
)

// policy is the Content-Security-Policy of all responses. It allows neither inline scripts nor inline styles.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guarded refuses requests that no page of the console makes. Each check stands for an attack:
//
//   - Host: a name that an attacker's DNS resolves to 127.0.0.1 (DNS rebinding) makes the attacker's page same-origin with the console.
//   - Sec-Fetch-Site: other sites, and other servers on the same machine, whose ports browsers count as the same site.
//   - Origin and the token of forms: requests that another page sends with the person's cookie.
func (k *Console) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		if status, why := k.refusal(r); status != 0 {
			k.refuse(w, r, status, why)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Embedder-Policy", "require-corp")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
}

// refusal returns why a request is refused for every sender; the status is 0 if it is not.
func (k *Console) refusal(r *http.Request) (status int, why string) {
	port := strconv.Itoa(k.cfg.Port)
	if r.Host != "127.0.0.1:"+port && r.Host != "localhost:"+port {
		return http.StatusMisdirectedRequest, "The name of the host is not that of the console."
	}
	site := r.Header.Get("Sec-Fetch-Site")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		// A click on the link in a web terminal comes from another site. It has the secret of the link, and changes nothing.
		if site != "" && site != "same-origin" && site != "none" && r.URL.Path != startPath {
			return http.StatusForbidden, "Another site sent the request."
		}
	case http.MethodPost:
		if !sameOrigin(r) {
			return http.StatusForbidden, "Another site sent the form."
		}
	default:
		return http.StatusMethodNotAllowed, "The console does not have this method."
	}
	if len(r.URL.RawQuery) > maxQuery {
		return http.StatusRequestURITooLong, "The query is too long."
	}
	return 0, ""
}

// sameOrigin reports whether a page of the console sent a form. Browsers send "Origin: null" for forms of pages with the Referrer-Policy
// no-referrer, so null is accepted if Sec-Fetch-Site, which scripts cannot set, names the same origin.
func sameOrigin(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if site != "" && site != "same-origin" {
		return false
	}
	if origin == "" || origin == "null" {
		return site == "same-origin"
	}
	return origin == "http://"+r.Host
}

// signedIn serves a page to browsers that have signed in.
func (k *Console) signedIn(page func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := k.access.of(r, k.cookieName())
		if s == nil {
			k.refuse(w, r, http.StatusForbidden, "This browser is not signed in. Open the link that the console prints in your terminal.")
			return
		}
		if !k.enter(r) {
			w.Header().Set("Retry-After", "5")
			k.refuse(w, r, http.StatusServiceUnavailable, "The console serves too many requests. Try it again.")
			return
		}
		defer func() { <-k.places }()
		if r.Method == http.MethodPost {
			if err := r.ParseForm(); err != nil {
				k.refuse(w, r, http.StatusBadRequest, "The form cannot be read.")
				return
			}
			if !equal(r.PostForm.Get("csrf"), s.csrf) {
				k.refuse(w, r, http.StatusForbidden, "The form does not have the token of this browser. Load the page again.")
				return
			}
		}
		r = r.WithContext(withSignIn(r.Context(), s))
		if err := page(w, r); err != nil {
			k.failed(w, r, err)
		}
	})
}

// enter waits for a place. The caller leaves it.
func (k *Console) enter(r *http.Request) bool {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case k.places <- struct{}{}:
		return true
	case <-timer.C:
	case <-r.Context().Done():
	}
	return false
}

// equal compares secrets in constant time.
func equal(got, want string) bool {
	return subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// cookieName has the port: browsers send the cookies of 127.0.0.1 to all its ports, and several consoles may run.
func (k *Console) cookieName() string { return "postern-console-" + strconv.Itoa(k.cfg.Port) }

// refuse writes a page that says why. The reason is a constant of the program.
func (k *Console) refuse(w http.ResponseWriter, r *http.Request, status int, why string) {
	k.complain(why, "status", status, "method", r.Method, "path", shortened(r.URL.Path))
	if strings.HasPrefix(r.URL.Path, staticPath) || r.Header.Get(partHeader) != "" {
		http.Error(w, why, status)
		return
	}
	k.write(w, status, "refused", refusedPage{Title: http.StatusText(status), Why: why})
}

// complaintInterval is the time between two lines about refusals for the same reason: other programs that send requests must not flood the terminal.
const complaintInterval = 10 * time.Second

// complaints are the times of the last lines by reason. Reasons are constants.
type complaints struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// complain logs a refusal, unless one for the same reason was logged a moment ago.
func (k *Console) complain(why string, attributes ...any) {
	c, at := &k.complaints, k.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.last[why]; ok && at.Sub(last) < complaintInterval {
		return
	}
	if c.last == nil {
		c.last = map[string]time.Time{}
	}
	c.last[why] = at
	k.cfg.Log.Warn("request refused", append([]any{"reason", why}, attributes...)...)
}
