package v1alpha1

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
)

// Mode is whether requests are refused, or refusals are only counted and logged.
// +kubebuilder:validation:Enum=Enforce;Shadow
type Mode string

const (
	// ModeEnforce refuses.
	ModeEnforce Mode = "Enforce"
	// ModeShadow counts and logs what ModeEnforce would refuse, and lets requests pass.
	ModeShadow Mode = "Shadow"
)

// FailureMode is what happens if a rule cannot be decided, for example because its store is unavailable.
// +kubebuilder:validation:Enum=Deny;Allow
type FailureMode string

const (
	// FailDeny refuses the request.
	FailDeny FailureMode = "Deny"
	// FailAllow lets the request pass. For a rate limit, each pod then counts by itself.
	FailAllow FailureMode = "Allow"
)

// Duration is a length of time as Go writes it: "30s", "15m", "168h", "1h30m".
// +kubebuilder:validation:XValidation:rule=`self.matches(r"^([0-9]{1,9}(ms|s|m|h))+$")`,message="not a duration: write numbers with the unit ms, s, m or h, such as 30s, 15m or 168h"
// +kubebuilder:validation:MaxLength=32
type Duration string

// Std returns the duration; the empty one is 0. A malformed or negative one is an error.
func (d Duration) Std() (time.Duration, error) {
	if d == "" {
		return 0, nil
	}
	v, err := time.ParseDuration(string(d))
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%q is not a duration such as 30s, 15m or 168h", string(d))
	}
	return v, nil
}

// Rate is a number of requests in a period: "5/minute" (second, minute, hour, day) or "100/15m".
// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[1-9][0-9]{0,8}/(second|minute|hour|day|[1-9][0-9]{0,5}(s|m|h))$")`,message="not a rate: write a number of requests and second, minute, hour, day or a period, such as 5/minute or 100/15m"
// +kubebuilder:validation:MaxLength=32
type Rate string

// Parse returns the number of requests and their period, within the bounds of check.ParseRate.
func (r Rate) Parse() (count int, period time.Duration, err error) { return check.ParseRate(string(r)) }

// Size is a number of bytes: "512", "1KiB", "2MiB".
// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[0-9]{1,9}(B|KiB|MiB)?$")`,message="not a size: write a number of bytes, KiB or MiB, such as 512, 64KiB or 2MiB"
// +kubebuilder:validation:MaxLength=16
type Size string

// Bytes returns the number of bytes, at most 1 GiB; the empty size is 0.
func (s Size) Bytes() (int, error) {
	if s == "" {
		return 0, nil
	}
	digits, scale := string(s), 1
	for suffix, factor := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20, "B": 1} {
		if rest := strings.TrimSuffix(string(s), suffix); rest != string(s) && strings.TrimRight(rest, "0123456789") == "" {
			digits, scale = rest, factor
		}
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || int(n) > 1<<30/scale {
		return 0, fmt.Errorf("%q is not a size such as 512, 1KiB or 2MiB (at most 1024MiB)", string(s))
	}
	return int(n) * scale, nil
}
