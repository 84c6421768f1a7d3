package vault

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Bounds of what an engine issues, in bytes. PostgreSQL truncates longer names.
const (
	maxAccountUser     = 63
	maxAccountPassword = 1024
)

// issued is an account that Vault has made, with its lease. It is immutable.
type issued struct {
	user     string
	password secret.Value
	// id is the lease; empty if the engine gives none, as for the static roles of the database engine. Then the account is read
	// again, and is valid for as long as a secret.
	id string
	// term is the time of the lease. Its client has the token that made it: the lease ends with that token.
	term lease
}

// expires returns when the account ends unless it is renewed.
func (i *issued) expires(cfg Config) time.Time {
	if i.id == "" {
		return i.term.at.Add(cfg.MaxStale)
	}
	return i.term.at.Add(i.term.ttl)
}

// spent reports whether the maximum lifetime has limited the renewal: the next lease should begin soon.
func (i *issued) spent() bool { return i.term.ttl < i.term.full*9/10 }

// errNoAccount reports a response without an account.
var errNoAccount = errors.New("the response has no user name and password of printable text")

// parseIssued reads the response of an engine.
func parseIssued(s *api.Secret, at time.Time) (*issued, error) {
	if s == nil {
		return nil, errNotFound
	}
	user, _ := s.Data["username"].(string)
	password, _ := s.Data["password"].(string)
	if !printable(user, maxAccountUser) || !printable(password, maxAccountPassword) {
		return nil, errNoAccount
	}
	if s.LeaseDuration < 0 || s.LeaseDuration > maxTTL || s.LeaseID != "" && s.LeaseDuration == 0 {
		return nil, errors.New("the lifetime of the account is implausible")
	}
	ttl := time.Duration(s.LeaseDuration) * time.Second
	i := &issued{user: user, password: secret.New([]byte(password)), id: s.LeaseID}
	i.term = lease{grant: grant{ttl: ttl, renewable: s.Renewable}, since: at, at: at, full: ttl}
	return i, nil
}

func printable(text string, most int) bool {
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// obtain asks for another account.
func (h *heldAccount) obtain(ctx context.Context) (*issued, error) {
	at := h.client.cfg.Now()
	var by *api.Client
	s, err := h.client.do(ctx, h.path, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		by = c
		s, err := c.Logical().ReadWithDataWithContext(ctx, h.path, nil)
		var response *api.ResponseError
		if errors.As(err, &response) && response.StatusCode == http.StatusInternalServerError && !response.RawError {
			err = newError(h.path, Refused, err, c.Token()) // Vault works; the database behind it may not
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	i, err := parseIssued(s, at)
	if err != nil {
		failure := newError(h.path, Refused, err)
		h.client.health.failed(h.path, failure)
		return nil, failure
	}
	i.term.client = by
	return i, nil
}

// renew renews the lease of i. It reports false if Vault refuses that, so that another account is needed.
func (h *heldAccount) renew(ctx context.Context, i *issued) (next *issued, possible bool, err error) {
	at := h.client.cfg.Now()
	l, err := h.client.session.current(ctx)
	if err != nil {
		return i, true, err
	}
	body := map[string]any{"lease_id": i.id, "increment": int(i.term.full.Seconds())}
	s, err := l.client.Logical().WriteWithContext(ctx, "sys/leases/renew", body)
	if err == nil && (s == nil || s.LeaseID != i.id || s.LeaseDuration <= 0 || s.LeaseDuration > maxTTL) {
		err = &Error{State: Unreachable, Target: h.path, Detail: "the response is not from Vault"}
	}
	if err != nil {
		failure := newError(h.path, stateOf(err), err, l.client.Token(), i.id)
		h.client.cfg.Metrics.leases.WithLabelValues(string(failure.State)).Inc()
		refused := failure.Status != 0 && failure.State != Sealed && failure.State != Throttled
		if !refused && ctx.Err() == nil {
			h.client.health.failed(h.path, failure)
		}
		return i, !refused, failure
	}
	h.client.cfg.Metrics.leases.WithLabelValues(string(OK)).Inc()
	h.client.health.worked(h.path)
	renewed := *i
	renewed.term.at, renewed.term.ttl, renewed.term.renewable = at, time.Duration(s.LeaseDuration)*time.Second, s.Renewable
	return &renewed, true, nil
}

// revoke ends an account, if Vault responds and allows it. Otherwise it ends with its lease, or with the client's token.
func (h *heldAccount) revoke(i *issued) {
	if i.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.client.pace.revoke)
	defer cancel()
	h.client.session.mu.Lock()
	l := h.client.session.lease
	h.client.session.mu.Unlock()
	if l != nil {
		_, _ = l.client.Logical().WriteWithContext(ctx, "sys/leases/revoke", map[string]any{"lease_id": i.id})
	}
}
