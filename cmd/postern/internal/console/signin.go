package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	startPath = "/start"
	// secretSize is the size of all secrets, in bytes.
	secretSize = 32
	// maxSignIns bounds the browsers that are signed in at the same time. The oldest is signed out.
	maxSignIns = 8
	// signInLife is how long a browser stays signed in.
	signInLife = 12 * time.Hour
)

// signIn is a browser that has signed in.
type signIn struct {
	// cookie is the hash of the cookie, which is a secret.
	cookie  [sha256.Size]byte
	csrf    string
	expires time.Time
}

// signIns exchanges links for cookies. A link works once: somebody who sees it later, in the history of a browser or in a list of processes,
// can do nothing with it. If somebody else was faster, the person's own link is refused, and the person knows.
type signIns struct {
	now func() time.Time
	// issued is called with each new secret of a link.
	issued func(secret string)

	mu     sync.Mutex
	secret [sha256.Size]byte
	all    []*signIn
}

func newSignIns(now func() time.Time, issued func(string)) *signIns {
	s := &signIns{now: now, issued: issued}
	s.renew()
	return s
}

// newSecret returns 256 random bits as text.
func newSecret() string {
	b := make([]byte, secretSize)
	_, _ = rand.Read(b) // it never fails: crypto/rand ends the process
	return base64.RawURLEncoding.EncodeToString(b)
}

// renew replaces the link.
func (s *signIns) renew() {
	secret := newSecret()
	s.secret = sha256.Sum256([]byte(secret))
	s.issued(secret)
}

// exchange returns the cookie for the secret of a link, and false if the secret is not that of the link.
func (s *signIns) exchange(secret string) (cookie string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := sha256.Sum256([]byte(secret))
	if !equal(string(sum[:]), string(s.secret[:])) {
		return "", false
	}
	cookie = newSecret()
	s.all = append(s.all, &signIn{cookie: sha256.Sum256([]byte(cookie)), csrf: newSecret(), expires: s.now().Add(signInLife)})
	if len(s.all) > maxSignIns {
		s.all = s.all[1:]
	}
	s.renew()
	return cookie, true
}

// of returns the sign-in of a request; nil if there is none.
func (s *signIns) of(r *http.Request, name string) *signIn {
	var found *signIn
	for _, c := range r.CookiesNamed(name) {
		sum := sha256.Sum256([]byte(c.Value))
		s.mu.Lock()
		for _, known := range s.all {
			if equal(string(sum[:]), string(known.cookie[:])) && s.now().Before(known.expires) {
				found = known
			}
		}
		s.mu.Unlock()
	}
	return found
}

type signInKey struct{}

func withSignIn(ctx context.Context, s *signIn) context.Context {
	return context.WithValue(ctx, signInKey{}, s)
}

// csrfOf returns the token of the forms for the browser of a request.
func csrfOf(ctx context.Context) string { return ctx.Value(signInKey{}).(*signIn).csrf }

func (k *Console) link(secret string) string {
	u := url.URL{Scheme: "http", Host: "127.0.0.1:" + strconv.Itoa(k.cfg.Port), Path: startPath, RawQuery: url.Values{"secret": {secret}}.Encode()}
	return u.String()
}

// start exchanges the link for a cookie, and goes to the first page, so that the secret is not in the address bar.
func (k *Console) start(w http.ResponseWriter, r *http.Request) {
	cookie, ok := k.access.exchange(r.URL.Query().Get("secret"))
	if !ok {
		k.refuse(w, r, http.StatusForbidden, "The link is wrong or was used before. Open the newest link that the console prints in your terminal. "+
			"If you did not use the link, somebody else on this machine did: end the console.")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: k.cookieName(), Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
		// A browser does not send a Strict cookie after a redirect if another site began the navigation. This page begins a new one.
		w.Header().Set("Refresh", "0; url=/")
		k.write(w, http.StatusOK, "started", refusedPage{Title: "Signed in"})
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
