// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// ServesPostures tells whether the API server serves ControlPlaneNodePostures. After an
// upgrade without the CustomResourceDefinitions, the kind is missing, and a watch of a
// missing kind would end the whole program. If the API server does not answer now, the kind
// counts as served.
func ServesPostures(mgr ctrl.Manager) bool {
	kind := v1alpha1.SchemeGroupVersion.WithKind("ControlPlaneNodePosture")
	_, err := mgr.GetRESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	if !meta.IsNoMatchError(err) {
		return true
	}
	mgr.GetLogger().Info("No TLS is probed, because the API server does not serve ControlPlaneNodePostures: " +
		"apply the CustomResourceDefinitions of this version, and restart this program")
	return false
}
