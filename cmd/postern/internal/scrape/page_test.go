package scrape

import (
	"testing"
	"time"

	"github.com/posterndev/postern/cmd/postern/internal/docpage"
	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// TestOperatingPage: docs/operating.md shows what postern top prints.
func TestOperatingPage(t *testing.T) {
	before := []Pod{pod(t, "a", "accounts", 0, first), pod(t, "b", "orders", 0, first), pod(t, "c", "orders", 0, first)}
	after := []Pod{
		pod(t, "a", "accounts", 10, replaced(`port="8080"} 100`, `port="8080"} 541`, `"failure"} 3`, `"failure"} 391`, `mode="enforce"} 5`, `mode="enforce"} 352`)),
		pod(t, "b", "orders", 10, replaced(`port="8080"} 100`, `port="8080"} 1320`)), pod(t, "c", "orders", 10, replaced(`port="8080"} 100`, `port="8080"} 1297`)),
	}
	v := View{Time: start, Rows: Rows(before, after, false), Lists: &Lists{
		Accounts:  []Counted{{Account: "ada@example.com", Count: 212, Last: start.Add(-2 * time.Second)}, {Account: "bob@example.com", Count: 3, Last: start.Add(-9 * time.Minute)}},
		Addresses: []Counted{{Address: "198.51.100.23", Count: 209, Last: start.Add(-2 * time.Second)}},
		Refused:   []Counted{{Address: "198.51.100.23", Count: 177, Last: start.Add(-2 * time.Second)}},
	}}
	v.Total = Total(v.Rows)
	docpage.Compare(t, "postern top -n shop --once --accounts --addresses", v.Text(screen.Style{}, false, false))
}
