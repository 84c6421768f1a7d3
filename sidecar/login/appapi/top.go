package appapi

import (
	"net/http"
	"strconv"
)

// Bounds of the query's limit.
const (
	defaultTop = 20
	maxTop     = 50
)

// top lists the accounts and addresses with the most failures.
func (a *api) top(w http.ResponseWriter, r *http.Request) error {
	limit := defaultTop
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxTop {
			return badRequest(http.StatusUnprocessableEntity, "The limit must be a number from 1 to 50.")
		}
		limit = n
	}
	return write(w, a.Top(limit))
}
