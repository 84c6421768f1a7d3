package document

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestLongestReportIsAccepted: the operator accepts the longest report, whatever its texts contain. They include
// errors of other programs.
func TestLongestReportIsAccepted(t *testing.T) {
	for name, text := range map[string]string{"HTML": "<>", "quotes": `"\`, "control": "\x00\x1b\u2028", "accents": "äöü", "broken": "\xff\xfe"} {
		k := NewKeeper(Config{Namespace: "shop", Policy: "orders", Version: strings.Repeat("v", 64), Logger: slog.New(slog.DiscardHandler)})
		k.refuse(strings.Repeat("a", 64), errors.New(strings.Repeat(text, 500)))
		message := Short(strings.Repeat(text, 500), 400)
		k.SetProblems([]compiled.Problem{
			{Kind: compiled.ProblemVault, Reason: "PermissionDenied", Message: message}, {Kind: compiled.ProblemRedis, Reason: "Unavailable", Message: message},
			{Kind: compiled.ProblemSigningKey, Reason: "Unavailable", Message: message},
		})
		k.SetReachable(strings.Split(strings.Repeat("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535,", 19)+"x", ","))
		report, _ := k.Report()
		b, err := encode(report)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := compiled.DecodeReport(b.Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
