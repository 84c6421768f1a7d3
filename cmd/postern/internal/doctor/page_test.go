package doctor

import (
	"testing"

	"github.com/posterndev/postern/cmd/postern/internal/docpage"
	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// TestOperatingPage: docs/operating.md shows what postern doctor prints.
func TestOperatingPage(t *testing.T) {
	f := healthy(t)
	f.Operator.Value = operatorDeployment(2, 1)
	f.Namespaces.Value[0].Labels["istio-injection"] = "enabled"
	f.Namespaces.Value[1].Labels["postern.dev/injecton"] = "enabled"
	f.DryRun.Err, f.OperatorRights.Err = forbidden, forbidden
	f.Redis.Value = Redis{}
	egress(toOperator(), toRedis(7000))(t, f)
	docpage.Compare(t, "postern doctor", Text(Examine(f, nil), screen.Style{}))
}
