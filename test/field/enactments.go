// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
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
	var nodes []string
	note := func(object runtime.Object) error {
		e, is := object.(*v3.HostEndpoint)
		if is && strings.HasPrefix(e.Name, "cpnp-") && !slices.Contains(nodes, e.Spec.Node) {
			nodes = append(nodes, e.Spec.Node)
		}
		return nil
	}
	ctx, cancel := context.WithCancel(f.T.Context())
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			// It begins with what there is. One that the server ends is begun anew.
			changes, err := Admin.Watch(ctx, &v3.HostEndpointList{})
			if err != nil {
				ended <- err
				return
			}
			for change := range changes.ResultChan() {
				_ = note(change.Object)
			}
			changes.Stop()
		}
		ended <- nil
	}()
	f.T.Cleanup(cancel)
	return func() string {
		f.T.Helper()
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			f.T.Fatalf("watching host endpoints: %v", err)
		}
		// What is there now may still be on its way.
		var now v3.HostEndpointList
		f.Expect(Admin.List(context.Background(), &now)).To(Succeed())
		f.Expect(meta.EachListItem(&now, note)).To(Succeed())
		return strings.Join(nodes, " ")
	}
}
