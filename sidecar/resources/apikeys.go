package resources

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/apikey"
	"github.com/posterndev/postern/sidecar/keys/htpasswd"
	"github.com/posterndev/postern/sidecar/keys/keyfile"
	"github.com/posterndev/postern/sidecar/pool"
	stage "github.com/posterndev/postern/sidecar/stages/apikey"
)

// APIKeys returns the policy's key file. Documents with the same reference share it, so that a reload does not read it again, and keeps
// the record of use.
func (a *Acquirer) APIKeys(k *compiled.APIKeys) (stage.Keys, error) {
	return hashes(a, a.shared.apiKeys, k.Keys, (*Acquirer).openKeys)
}

// BasicUsers returns the policy's file of users. Documents with the same reference share it, and what it remembers of correct passwords.
func (a *Acquirer) BasicUsers(k *compiled.APIKeys) (stage.Users, error) {
	return hashes(a, a.shared.users, k.Users, (*Acquirer).openUsers)
}

// hashes acquires the file of hashes that ref names. open gets an acquirer whose values live as long as the file.
func hashes[S interface{ Close() }](a *Acquirer, files *pool.Pool[string, S], ref *compiled.SecretRef, open func(*Acquirer, *compiled.SecretRef) (S, error)) (S, error) {
	return shared(a, files, []any{ref, a.policy.Vault}, func(own *Acquirer) (S, error) { return open(own, ref) })
}

func (a *Acquirer) openKeys(ref *compiled.SecretRef) (*apikey.Store, error) {
	source, err := a.keyFile(ref)
	if err != nil {
		return nil, err
	}
	return apikey.Open(source), nil
}

// usersHash configures the hasher of users. It only verifies, and the hashes of a file have their own costs.
var usersHash = compiled.Passwords{Algorithm: "Bcrypt", Cost: 12}

func (a *Acquirer) openUsers(ref *compiled.SecretRef) (*htpasswd.Store, error) {
	hash := usersHash
	hasher, err := a.Hasher(&hash)
	if err != nil {
		return nil, err
	}
	source, err := a.keyFile(ref)
	if err != nil {
		return nil, err
	}
	return htpasswd.Open(source, hasher, a.shared.cfg.Now)
}

// keyFile returns the source of a file of hashes.
func (a *Acquirer) keyFile(ref *compiled.SecretRef) (keyfile.Source, error) {
	source, err := a.secret(ref)
	return keyfile.Source{Name: titleOf(ref), Source: source, Revocable: ref.VaultPath != "", Logger: a.shared.cfg.Logger}, err
}

// keyFileProblems returns the problems with the files of API keys and users.
func (r *Resources) keyFileProblems() []compiled.Problem {
	var problems []compiled.Problem
	add := func(err error, unavailable bool) {
		if err == nil {
			return
		}
		reason := "RefreshFails"
		if unavailable {
			reason = "Unavailable"
		}
		problems = append(problems, compiled.Problem{Reason: reason, Message: short(compiled.ProblemAPIKeys + ": " + err.Error())})
	}
	for _, s := range r.apiKeys.InUse() {
		_, err := s.File()
		add(s.Err(), err != nil)
	}
	for _, s := range r.users.InUse() {
		_, err := s.File()
		add(s.Err(), err != nil)
	}
	return problems
}
