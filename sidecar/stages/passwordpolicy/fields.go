package passwordpolicy

import (
	"net/http"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
)

// fields are the fields of a body. The names are as the policy writes them.
type fields struct {
	password, confirmation, account string
	hasPassword                     bool
	passwordName, confirmationName  string
}

// read reads the fields of a route. The app gets the same bytes.
func (m *Route) read(r *http.Request) (fields, error) {
	body, err := reqbody.Read(r, reqbody.Limits{Bytes: MaxBody})
	if err != nil {
		return fields{}, err
	}
	f := fields{passwordName: nameIn(body, m.Password)}
	if f.password, f.hasPassword, err = body.Field(m.Password); err != nil {
		return fields{}, err
	}
	if m.Confirmation != nil {
		f.confirmationName = nameIn(body, *m.Confirmation)
		if f.confirmation, _, err = body.Field(*m.Confirmation); err != nil {
			return fields{}, err
		}
	}
	if m.Account != nil {
		if f.account, _, err = body.Field(*m.Account); err != nil {
			return fields{}, err
		}
	}
	return f, nil
}

func nameIn(body *reqbody.Body, s reqbody.Selector) string {
	if body.IsForm() && s.Form != "" || len(s.JSON) == 0 {
		return s.Form
	}
	return strings.Join(s.JSON, ".")
}

// failures returns every rule that fails, first those of the password. Without a password only its absence is reported.
func (m *Route) failures(rules passwordrules.Rules, f fields) []httperr.FieldError {
	switch {
	case m.Optional && f.password == "" && f.confirmation == "": // a form that leaves the password as it is sends an empty field
		return nil
	case !f.hasPassword:
		return []httperr.FieldError{{Field: f.passwordName, Code: string(Missing), Detail: "The password is missing."}}
	}
	var failed []httperr.FieldError
	for _, failure := range rules.Judge(f.password, f.account) {
		failed = append(failed, httperr.FieldError{Field: f.passwordName, Code: string(failure.Code), Detail: failure.Detail})
	}
	if m.Confirmation != nil && f.confirmation != f.password {
		failed = append(failed, httperr.FieldError{Field: f.confirmationName, Code: string(ConfirmationMismatch), Detail: "The two passwords differ."})
	}
	return failed
}
