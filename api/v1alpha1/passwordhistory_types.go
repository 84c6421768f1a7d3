package v1alpha1

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Age is a length of time in whole days, such as 90d, or a Duration, such as 2160h.
// +kubebuilder:validation:XValidation:rule=`self.matches(r"^([1-9][0-9]{0,3}d|([0-9]{1,9}(ms|s|m|h))+)$")`,message="not an age: write whole days, such as 90d, or a duration, such as 2160h"
// +kubebuilder:validation:MaxLength=32
type Age string

// Std returns the age; the empty one is 0. A malformed or negative one is an error.
func (a Age) Std() (time.Duration, error) {
	malformed := fmt.Errorf("%q is not an age such as 90d or 2160h", string(a))
	text, inDays := strings.CutSuffix(string(a), "d")
	if !inDays {
		v, err := Duration(a).Std()
		if err != nil {
			return 0, malformed
		}
		return v, nil
	}
	days, err := strconv.ParseUint(text, 10, 16)
	if err != nil || days == 0 || days > 9999 {
		return 0, malformed
	}
	return time.Duration(days) * 24 * time.Hour, nil
}

// Defaults of the rules about old passwords.
const (
	DefaultAccountClaim     = "sub"
	DefaultHistoryOnFailure = FailDeny
)

func (p *PasswordPolicy) setHistoryDefaults() {
	set(&p.OnFailure, DefaultHistoryOnFailure)
	set(&p.Rules.AccountClaim, DefaultAccountClaim)
}
