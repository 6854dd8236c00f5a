// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// A policy that protects hosts is verified only after Calico was read, because before the
// foreign policies are unknown. Writes to other objects than hosts continue.
func TestVerdictOnHostsWaitsForCalico(t *testing.T) {
	const reading = "the operator is still reading the objects of Calico"
	for name, test := range map[string]struct {
		calico           calico.Live
		change           func(*v1alpha1.ControlPlaneNetworkPolicy)
		holds, unknown   bool
		reason, says     string
		hostsAreRendered bool
	}{
		"Calico was read":            {calico: calico.Live{Mode: calico.Native}, holds: true, reason: v1alpha1.ReasonVerified, hostsAreRendered: true},
		"Calico is being read":       {calico: calico.Live{Mode: calico.Native, Problem: reading, Settling: true}, unknown: true, reason: v1alpha1.ReasonCalicoUnavailable, says: reading},
		"Calico does not answer":     {calico: calico.Live{Mode: calico.Native, Problem: "no answer"}, unknown: true, reason: v1alpha1.ReasonCalicoUnavailable, says: "no answer"},
		"nobody knows Calico's mode": {calico: calico.Live{}, unknown: true, reason: v1alpha1.ReasonCalicoUnavailable, says: "found out"},
		"Calico is not installed":    {calico: calico.Live{Mode: calico.Absent}, holds: true, reason: v1alpha1.ReasonVerified, says: "objects for hosts are not judged"},
		"Calico does not answer, and an override is declared": {
			calico: calico.Live{Mode: calico.Native, Problem: "no answer"}, unknown: true, reason: v1alpha1.ReasonCalicoUnavailable,
			change: func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				p.Annotations = map[string]string{v1alpha1.AnnotationAllowLockout: "tried by hand"}
			},
		},
		"Calico does not answer, and nothing is for hosts": {
			calico: calico.Live{Mode: calico.Native, Problem: "no answer"}, holds: true, reason: v1alpha1.ReasonVerified,
			change: func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Network = nil },
		},
		"Calico does not answer, and no node is selected": {
			calico: calico.Live{Mode: calico.Native, Problem: "no answer"}, reason: v1alpha1.ReasonNoMatchingNodes,
			change: func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				p.Spec.NodeSelector.MatchLabels = map[string]v1alpha1.LabelValue{"none": ""}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if test.change == nil {
				test.change = func(*v1alpha1.ControlPlaneNetworkPolicy) {}
			}
			snapshot := calicotest.Snapshot(test.change)
			snapshot.Backend = test.calico
			policies := plan.Compile(snapshot.Policies)
			o := assess(&policies[0], policies, snapshot)
			g.Expect(o.Verdict.Holds).To(Equal(test.holds), o.Verdict.Message)
			g.Expect(o.Verdict.Unknown).To(Equal(test.unknown), o.Verdict.Message)
			g.Expect(o.Verdict.Reason).To(Equal(test.reason))
			g.Expect(o.Verdict.Message).To(ContainSubstring(test.says))
			g.Expect(o.Verdict.HoldsOffHosts()).To(Equal(test.holds || test.unknown))
			g.Expect(o.Hosts.Rendered()).To(Equal(test.hostsAreRendered))
		})
	}
}

// While Calico is read again, the last report of the generation stays as it is. A new
// generation is reported at once.
func TestReportWaitsWhileCalicoIsReadAgain(t *testing.T) {
	g := NewWithT(t)
	snapshot := calicotest.Snapshot(func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Status.ObservedGeneration = 1 })
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Problem, c.Settling = "being read", true })
	policies := plan.Compile(snapshot.Policies)
	o := assess(&policies[0], policies, snapshot)
	g.Expect(o.Settling()).To(BeTrue())
	policies[0].Generation = 2
	g.Expect(o.Settling()).To(BeFalse())
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Settling = false })
	policies[0].Generation = 1
	g.Expect(assess(&policies[0], policies, snapshot).Settling()).To(BeFalse(), "that Calico does not answer is told")
}
