// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"flag"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/fixture"
)

var update = flag.Bool("update", false, "rewrite the fixtures")

// Other tests read the fixtures: test/gitops runs kstatus and Argo CD's health
// check on the fixtures, and writes the table of docs/status.md.
func TestFixturesAreWhatIsRecorded(t *testing.T) {
	created := inState(v1alpha1.PhasePending, v1alpha1.ReasonQueued)
	created.Status = v1alpha1.ControlPlaneNodeEnactmentStatus{ObservedGeneration: -1}
	objects := map[string]any{"new": fixtureOf(created)}
	for _, state := range states {
		e := inState(state.phase, state.reason)
		e.Status.ObservedGeneration = 7
		objects[state.phase+" "+state.reason] = fixtureOf(e)
	}
	fixture.CompareAll(t, "../../examples/gitops/argo-cd/resource_customizations/cpnp.dev/ControlPlaneNodeEnactment/testdata", objects, *update)
}

func fixtureOf(e *v1alpha1.ControlPlaneNodeEnactment) *v1alpha1.ControlPlaneNodeEnactment {
	e.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ControlPlaneNodeEnactment"}
	e.Generation, e.ResourceVersion, e.OwnerReferences = 7, "", nil
	return e
}
