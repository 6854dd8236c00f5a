// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// Phase returns the phase of a node and why it is in it.
func Phase(node string) func() string {
	return func() string {
		e := EnactmentOf(node)
		if e == nil {
			return "none"
		}
		is := rollout.PhaseOf(e)
		if c := meta.FindStatusCondition(e.Status.Conditions, is); c != nil {
			return is + "/" + c.Reason
		}
		return is
	}
}

// EnactmentOf is the enactment of a node; nil if there is none.
func EnactmentOf(node string) *v1alpha1.ControlPlaneNodeEnactment {
	e := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := Admin.Get(context.Background(), client.ObjectKey{Name: rollout.EnactmentName(PolicyName, node)}, e); err != nil {
		return nil
	}
	return e
}

// Told is what the enactment of a node says of its phase.
func Told(node string) string {
	e := EnactmentOf(node)
	if c := meta.FindStatusCondition(e.Status.Conditions, rollout.PhaseOf(e)); c != nil {
		return c.Message
	}
	return ""
}

// Phases waits until the control-plane nodes, in their order, are in these phases for
// these reasons.
func (f *Field) Phases(want ...string) {
	f.T.Helper()
	for i, phaseAndReason := range want {
		f.Eventually(Phase(fmt.Sprintf("cp-%d", i+1)), Patience, Tick).Should(Equal(phaseAndReason), Enactments)
	}
}

// Touched returns the nodes that ever had an endpoint of ours while the test
// goes on.
func (f *Field) Touched() func() string {
	f.T.Helper()
	seen := map[string]bool{}
	w := f.WatchAPI(func(note func(string)) {
		var list v3.HostEndpointList
		if Admin.List(context.Background(), &list) != nil {
			return
		}
		for _, e := range list.Items {
			if strings.HasPrefix(e.Name, "cpnp-") && !seen[e.Spec.Node] {
				seen[e.Spec.Node] = true
				note(e.Spec.Node)
			}
		}
	})
	return func() string {
		var nodes []string
		for _, note := range w.Stop() {
			nodes = append(nodes, note[strings.LastIndex(note, " ")+1:])
		}
		return strings.Join(nodes, " ")
	}
}
