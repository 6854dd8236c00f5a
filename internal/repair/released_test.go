// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// A tenant makes Services with forged records, and deletes them again.
func TestReleasesTakeBoundedMemory(t *testing.T) {
	g := NewWithT(t)
	policies := plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{{ObjectMeta: metav1.ObjectMeta{
		Name: "p", Finalizers: []string{v1alpha1.Finalizer}, Annotations: map[string]string{v1alpha1.AnnotationRevert: "because"},
	}}})
	r := &Releases{}
	for i := range 2 * maxReleases {
		object := drift.Object{Kind: "Service", Namespace: "tenant", Name: fmt.Sprint("s", i)}
		r.Record(object, state.Record{"externalTrafficPolicy": {Policy: "p", Applied: "Local"}}, state.Record{}, policies)
	}
	g.Expect(r.of["p"]).To(HaveLen(maxReleases))
}
