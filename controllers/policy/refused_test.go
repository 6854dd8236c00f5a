// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

const webhookDenial = `admission webhook "x.example" denied the request: no`

func apiError(code int32, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Message: message}}
}

// deleting answers every deletion with an error.
type deleting struct {
	client.Client
	err error
}

func (d deleting) Delete(context.Context, client.Object, ...client.DeleteOption) error { return d.err }

func reverting(uid types.UID) *plan.Policy {
	p := deleted()
	p.UID = uid
	return &plan.Compile([]v1alpha1.ControlPlaneNetworkPolicy{*p})[0]
}

// A NetworkPolicy or enactment that the API server refuses to delete does not block the
// deletion of the policy, and is reported.
func TestRefusedDeletionsDoNotBlockAPolicy(t *testing.T) {
	tries := func(t *testing.T, err error) (r *Reconciler, stays func(*plan.Policy) []string) {
		clock := testingclock.NewFakePassiveClock(time.Now())
		r = &Reconciler{
			Client:   deleting{err: err},
			Repairer: repair.Repairer{Clock: clock, History: drift.NewHistory(), Report: func(string) {}, Retries: &repair.Retries{}},
		}
		enactment := calicotest.Enactment("cp-1", v1alpha1.PhaseEnforced, "")
		network := drift.Write{Object: drift.Object{Kind: drift.KindNetworkPolicy, Namespace: "n", Name: "x"}, Live: &corev1.ConfigMap{}}
		return r, func(p *plan.Policy) []string {
			_, err := r.writeAll(t.Context(), p, []drift.Write{network}, pipeline.Always(true), pipeline.Written{})
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			stay, _, err := r.forgetNodes(t.Context(), p, []*v1alpha1.ControlPlaneNodeEnactment{&enactment})
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			clock.SetTime(clock.Now().Add(timing.IncompleteRetryLast))
			return append(stay, r.waitedFor(pipeline.Assessment{Policy: p, Diff: drift.Diff{Removals: []drift.Write{network}}})...)
		}
	}
	t.Run("the policy is deleted", func(t *testing.T) {
		g := NewWithT(t)
		r, stays := tries(t, apiError(403, webhookDenial))
		p := reverting("1")
		for range repair.MaxRefusals - 1 {
			g.Expect(stays(p)).To(HaveLen(2))
		}
		g.Expect(r.History.Summarize("p", time.Now()).Failures).To(ConsistOf(
			ContainSubstring(webhookDenial), ContainSubstring(webhookDenial)), "it is told that it fails")
		g.Expect(stays(p)).To(BeEmpty())
		g.Expect(r.History.TakeReleases("p").NotRestored).To(ConsistOf(
			HaveField("Object.Kind", drift.KindNetworkPolicy), HaveField("Object.Kind", drift.KindEnactment)))
		g.Expect(stays(reverting("2"))).To(HaveLen(2), "another one of its name has its own tries")
	})
	t.Run("the deletion waits while the API server does not answer", func(t *testing.T) {
		g := NewWithT(t)
		r, _ := tries(t, apiError(500, "etcd has no leader"))
		enactment := calicotest.Enactment("cp-1", v1alpha1.PhaseEnforced, "")
		for range 2 * repair.MaxUnanswered {
			stay, _, err := r.forgetNodes(t.Context(), reverting("1"), []*v1alpha1.ControlPlaneNodeEnactment{&enactment})
			g.Expect(err).To(HaveOccurred())
			g.Expect(stay).To(HaveLen(1))
		}
	})
	t.Run("a policy that stays retries", func(t *testing.T) {
		g := NewWithT(t)
		r, _ := tries(t, apiError(403, webhookDenial))
		p := reverting("1")
		p.DeletionTimestamp = nil
		enactment := calicotest.Enactment("cp-1", v1alpha1.PhaseEnforced, "")
		for range 2 * repair.MaxUnanswered {
			_, _, err := r.forgetNodes(t.Context(), p, []*v1alpha1.ControlPlaneNodeEnactment{&enactment})
			g.Expect(err).To(HaveOccurred())
		}
	})
	t.Run("hosts are waited for", func(t *testing.T) {
		g := NewWithT(t)
		r, _ := tries(t, apiError(403, webhookDenial))
		endpoint := drift.Write{Object: drift.Object{Kind: "HostEndpoint", Name: "x"}, Live: &corev1.ConfigMap{}}
		for range 2 * repair.MaxUnanswered {
			_, err := r.writeAll(t.Context(), reverting("1"), []drift.Write{endpoint}, pipeline.Always(true), pipeline.Written{})
			g.Expect(err).To(HaveOccurred())
		}
		g.Expect(r.waitedFor(pipeline.Assessment{Policy: reverting("1"), HostDiff: drift.Diff{Removals: []drift.Write{endpoint}}})).To(HaveLen(1))
	})
}
