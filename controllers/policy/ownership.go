package policy

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

// errNameTaken is why a document is not written: a person's own ConfigMap has its name. The policy's status says so until
// that is gone; until then its sidecars have no document, and answer 503.
var errNameTaken = errors.New("there is one of that name that is not Postern's: rename or delete it, or rename the policy")

// takenRetry is how long a name that is taken is left alone: the cache does not hold the ConfigMap, so no event says that
// it has gone.
const takenRetry = 15 * time.Second

// owned reports whether the operator may write over a ConfigMap, or remove it: it has the labels of the policy's document,
// or it holds one that was signed for the policy, whatever somebody did to its labels.
func (r *Reconciler) owned(cm *corev1.ConfigMap, name types.NamespacedName) bool {
	labelled := true
	for key, value := range render.ConfigMap(name.Namespace, name.Name, compiled.Signed{}).Labels {
		labelled = labelled && cm.Labels[key] == value
	}
	return labelled || len(r.verify(cm, name)) > 0
}
