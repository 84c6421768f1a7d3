package loginprotection

import "net/http"

// ExpiredHeader is true in a login to an account whose password has expired. The stage strip removes it from clients' requests.
const ExpiredHeader = "Postern-Password-Expired"

// tellExpired tells the app that the account's password has expired. The app does not know yet whether the client has the password. In shadow
// mode the app is not told: it would ask users for another password.
func (a *attempt) tellExpired(r *http.Request) {
	if a.cfg.Shadow || a.info.Shadow {
		return
	}
	if a.route.Kind == Login && a.cfg.PasswordExpired != nil && a.cfg.PasswordExpired(r.Context(), a.name) {
		r.Header.Set(ExpiredHeader, "true")
	}
}
