// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

const tooMuch = "the first 40 objects of the kind GlobalNetworkPolicy take more than the 18 MiB"

// tooLargeCalico is a cluster with every node Enforced, and with more foreign objects than the
// operator can keep: only the managed objects are known.
func tooLargeCalico(t *testing.T) state.Snapshot {
	w := newLoop(t, 22)
	w.comesToRest()
	calicotest.Edit(&w.there.Backend, func(c *calico.Live) { c.TooLarge = tooMuch })
	return w.there
}

// While foreign objects are too large to be judged, nothing is written for hosts, enforced
// rules stay, and the policy is not verified. All other work continues.
func TestNothingRestrictsWhileCalicoIsTooLarge(t *testing.T) {
	g := NewWithT(t)
	snapshot := tooLargeCalico(t)
	g.Expect(calico.Of(snapshot.Backend).Endpoints).NotTo(BeEmpty())
	// Someone has deleted a managed policy.
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Policies = c.Policies[1:] })
	snapshot.Policies[0].Annotations = map[string]string{v1alpha1.AnnotationAllowLockout: "nobody can know"}
	policies := plan.Compile(snapshot.Policies)
	o := assess(&policies[0], policies, snapshot)
	g.Expect(o.Hosts.Rendered()).To(BeFalse())
	g.Expect(o.HostDiff.Writes).To(BeEmpty())
	g.Expect(o.HostDiff.Removals).To(BeEmpty())
	g.Expect(o.Verdict.Holds).To(BeFalse())
	g.Expect(o.Verdict.Unknown).To(BeTrue())
	g.Expect(o.Verdict.HoldsOffHosts()).To(BeTrue())
	g.Expect(o.Verdict.Reason).To(Equal(v1alpha1.ReasonCalicoTooLarge))
	g.Expect(o.Verdict.Message).To(ContainSubstring(tooMuch))
	g.Expect(o.Hosts.Unprotected).To(HaveField("Reason", v1alpha1.ReasonCalicoTooLarge))

	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.TooLarge = "" })
	o = assess(&policies[0], policies, snapshot)
	g.Expect(o.HostDiff.Writes).NotTo(BeEmpty(), "as soon as it can be judged, it is put right")
}

// A rollback continues, because the managed objects are known. The tier stays, because the
// tier may contain unknown foreign policies.
func TestRollbackWhileCalicoIsTooLarge(t *testing.T) {
	for name, ends := range map[string]func(*v1alpha1.ControlPlaneNetworkPolicy){
		"deletion": func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: time.Now()}, []string{v1alpha1.Finalizer}
		},
		"annotation": func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Annotations = map[string]string{v1alpha1.AnnotationRevert: "a flood"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := tooLargeCalico(t)
			ends(&snapshot.Policies[0])
			policies := plan.Compile(snapshot.Policies)
			o := assess(&policies[0], policies, snapshot)
			var removed []drift.Object
			for _, w := range o.HostDiff.Removals {
				removed = append(removed, w.Object)
			}
			c := calico.Of(snapshot.Backend)
			g.Expect(removed).To(HaveLen(len(c.Endpoints)+len(c.Policies)+len(c.Sets)+len(c.Felix)), "everything that is the operator's")
			g.Expect(removed).NotTo(ContainElement(drift.Object{Kind: v3.KindTier, Name: calico.TierName}))
			g.Expect(c.Availability().Settling || IsUnread(&policies[0], c)).To(BeFalse(), "nothing is waited for")

			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.TooLarge = "" })
			o = assess(&policies[0], policies, snapshot)
			g.Expect(o.HostDiff.Removals).To(ContainElement(HaveField("Object", drift.Object{Kind: v3.KindTier, Name: calico.TierName})))
		})
	}
}
