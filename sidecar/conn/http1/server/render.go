package server

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// render returns refusal as a complete HTTP/1.1 response.
func render(refusal *httperr.Error) []byte {
	title := http.StatusText(refusal.Status)
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{httperr.TypePrefix + string(refusal.Code), title, refusal.Status, refusal.Detail})
	if err != nil {
		body = []byte(`{}`)
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n"+
		"Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n%s",
		refusal.Status, title, len(body), body)
}
