// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
)

// A node in flight is rolled back when a required flow is cut, also while a component of pods
// holds the writes of the policy.
func TestCutFlowsAreSeenWhileAComponentOfPodsIsHeld(t *testing.T) {
	for name, held := range map[string]bool{"nothing is held": false, "a peer of pods has no address": true} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := calicotest.Snapshot(func(p *v1alpha1.ControlPlaneNetworkPolicy) {
				if held {
					p.Spec.Network.Components = append(p.Spec.Network.Components, v1alpha1.Component{
						Name: "x", Ports: []v1alpha1.Port{{Protocol: "TCP", Port: 80}}, AllowFrom: []v1alpha1.PeerReference{{Peer: "gone"}},
						Pods: &v1alpha1.PodSelector{Namespace: "ns", Selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"a": "b"}}},
					})
				}
			})
			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) {
				c.Tiers = append(c.Tiers, v3.Tier{
					ObjectMeta: metav1.ObjectMeta{Name: "first"}, Spec: v3.TierSpec{Order: ptr.To(1.0), DefaultAction: ptr.To(v3.Pass)},
				})
				c.Policies = append(c.Policies, v3.GlobalNetworkPolicy{
					ObjectMeta: metav1.ObjectMeta{Name: "first.deny"}, Spec: v3.GlobalNetworkPolicySpec{
						Tier: "first", Selector: "has(cpnp.dev/policy)", Types: []v3.PolicyType{v3.PolicyTypeIngress},
						Ingress: []v3.Rule{{Action: v3.Deny}},
					},
				})
			})
			policies := plan.Compile(snapshot.Policies)
			version := plan.HostProtection(&policies[0], policies, snapshot).Whole.Version
			for node, phase := range map[string]string{
				"cp-1": v1alpha1.PhaseProgressing, "cp-2": v1alpha1.PhasePending, "cp-3": v1alpha1.PhasePending,
			} {
				e := calicotest.Enactment(node, phase, "")
				e.Status.Ruleset = version
				snapshot.Enactments = append(snapshot.Enactments, e)
			}
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			assessor := &Assessor{Judge: judge.Calico{}}
			a := assessor.AssessOnce(&policies[0], policies, snapshot)
			rollouts := Rollouts{Stages: &schedule.Stages{Time: time.Millisecond, Started: now.Add(-time.Hour)}}
			rollouts.Decide(&a, now)

			g.Expect(a.Cut).To(ContainSubstring("first.deny"))
			if held {
				g.Expect(a.Verdict.Reason).To(Equal(v1alpha1.ReasonAddressesUnknown))
			}
			first := a.Rollout.Enactments[0] // in the order of the nodes
			g.Expect(rollout.PhaseOf(&first)).To(Equal(v1alpha1.PhaseReverted))
			g.Expect(first.Status.Conditions).To(ContainElement(HaveField("Reason", v1alpha1.ReasonRequiredFlowCut)))
		})
	}
}
