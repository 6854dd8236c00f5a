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

// PhaseOf returns a function to read the phase and the reason of a node.
func PhaseOf(node string) func() string {
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

// EnactmentOf returns the enactment of a node, or nil if there is none.
func EnactmentOf(node string) *v1alpha1.ControlPlaneNodeEnactment {
	e := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := Admin.Get(context.Background(), client.ObjectKey{Name: rollout.EnactmentName(PolicyName, node)}, e); err != nil {
		return nil
	}
	return e
}

// PhaseMessage returns the message of the phase in the enactment of a node.
func PhaseMessage(node string) string {
	e := EnactmentOf(node)
	if c := meta.FindStatusCondition(e.Status.Conditions, rollout.PhaseOf(e)); c != nil {
		return c.Message
	}
	return ""
}

// WaitForPhases waits until the control-plane nodes, in order, have the given phases and
// reasons.
func (f *Field) WaitForPhases(want ...string) {
	f.T.Helper()
	for i, phaseAndReason := range want {
		f.Eventually(PhaseOf(fmt.Sprintf("cp-%d", i+1)), Patience, Tick).Should(Equal(phaseAndReason), DescribeEnactments)
	}
}

// RecordTouchedNodes returns a function to list all nodes with a managed endpoint at any
// time during the test.
func (f *Field) RecordTouchedNodes() func() string {
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
			// A watch begins with the existing objects. When the server ends a watch, a new
			// watch is started.
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
			f.T.Fatalf("watch host endpoints: %v", err)
		}
		// Current objects may not have arrived through the watch yet.
		var now v3.HostEndpointList
		f.Expect(Admin.List(context.Background(), &now)).To(Succeed())
		f.Expect(meta.EachListItem(&now, note)).To(Succeed())
		return strings.Join(nodes, " ")
	}
}
