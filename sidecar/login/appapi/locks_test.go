package appapi

import (
	"context"
	"net/http"
)

// locks are unavailable together with the revocations. Those of the account "alone" are not shared.
type locks struct{ *revocations }

func (l locks) Clear(_ context.Context, account string) (bool, error) {
	if account == "" {
		return false, badRequest(http.StatusUnprocessableEntity, "The account is empty.")
	}
	return account != "alone", l.err
}
