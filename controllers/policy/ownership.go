package policy

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

// errNameTaken is returned if a ConfigMap that is not the operator's has the name of the policy's ConfigMap. Until it is
// deleted, the policy's status says so, and the sidecars have no document and respond with 503.
var errNameTaken = errors.New("a ConfigMap of that name exists and does not belong to Postern: rename or delete it, or rename the policy")

// takenRetry is the delay before the next attempt to write a ConfigMap whose name is taken. The cache does not hold the other
// ConfigMap, so there is no event when it is deleted.
const takenRetry = 15 * time.Second

// owned reports whether the operator may overwrite or delete a ConfigMap: it has the labels of the policy's ConfigMap, or it
// holds a document that was signed for the policy, even if its labels were changed.
func (r *Reconciler) owned(cm *corev1.ConfigMap, name types.NamespacedName) bool {
	labelled := true
	for key, value := range render.ConfigMap(name.Namespace, name.Name, compiled.Signed{}).Labels {
		labelled = labelled && cm.Labels[key] == value
	}
	return labelled || len(r.verify(cm, name)) > 0
}
