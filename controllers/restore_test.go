// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// answer returns what an API server answers with a code.
func answer(code int32, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Message: message}}
}

const deniedByWebhook = `admission webhook "x.example" denied the request: no`

// Admission may answer with whatever code it likes; who has no right yet, and who gets no
// answer, waits.
func TestWhatIsARefusal(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"a webhook's":                        {answer(403, deniedByWebhook), maxRefusals},
		"a webhook's, as if changed":         {answer(409, deniedByWebhook), maxRefusals},
		"a webhook's, as if overloaded":      {answer(429, deniedByWebhook), maxRefusals},
		"a policy's, as if nobody known":     {answer(401, `services "web" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no`), maxRefusals},
		"a value":                            {answer(422, `Service "web" is invalid`), maxRefusals},
		"an object with too much":            {answer(413, "too large"), maxRefusals},
		"quota":                              {answer(403, `services "web" is forbidden: exceeded quota`), maxRefusals},
		"a change on the way":                {&apply.Incomplete{Left: []string{"spec.x is y"}}, maxRefusals},
		"wrapped":                            {fmt.Errorf("writing: %w", answer(400, "bad")), maxRefusals},
		"a webhook that does not answer":     {answer(500, `Internal error occurred: failed calling webhook "x.example": no endpoints`), maxUnanswered},
		"no right":                           {answer(403, `services "web" is forbidden: User "u" cannot patch resource "services"`), 0},
		"no token":                           {answer(401, "Unauthorized"), 0},
		"an API server that is not well":     {answer(500, "etcd has no leader"), 0},
		"an API server that does not answer": {errors.New("connection refused"), 0},
	} {
		t.Run(name, func(t *testing.T) { NewWithT(t).Expect(maxTries(test.err)).To(Equal(test.want)) })
	}
}

// unwilling tries to have policies let go of an object, which the API server refuses.
type unwilling struct {
	Repairer
	clock         *testingclock.FakePassiveClock
	object        drift.Object
	err, giveUp   error
	writes, given int
}

func newUnwilling() *unwilling {
	clock := testingclock.NewFakePassiveClock(time.Now())
	return &unwilling{
		Repairer: Repairer{Clock: clock, History: drift.NewHistory(), Report: func(string) {}, Retries: &Retries{}},
		clock:    clock, object: drift.Object{Kind: "Service", Namespace: "n", Name: "web"}, err: answer(422, "no such value"),
	}
}

// try tries so many times, and says whether the last one was carried out.
func (r *unwilling) try(t *testing.T, times int, policies ...owner) (wrote bool) {
	t.Helper()
	for range times {
		job := repair{
			object: r.object, version: r.clock.Now().String(), needed: true, releasing: policies,
			write: func(context.Context) error { r.writes++; return r.err },
			withoutRestoring: func(_ context.Context, given []owner) error {
				r.given = len(given)
				return r.giveUp
			},
		}
		for _, p := range policies {
			job.policies = append(job.policies, p.name)
			job.restored = append(job.restored, drift.Finding{Policy: p.name, Object: r.object, Field: "of " + p.name})
		}
		var err error
		wrote, _, err = r.do(t.Context(), job)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		r.clock.SetTime(r.clock.Now().Add(lastRetry))
	}
	return wrote
}

func (r *unwilling) told(policy string) []drift.Finding {
	return r.History.TakeReleases(policy).NotRestored
}

// Whoever comes later with the same object has tries of their own, another policy of the
// same name too.
func TestEachPolicyHasItsOwnTries(t *testing.T) {
	g := NewWithT(t)
	r := newUnwilling()
	p, again := owner{"p", "1"}, owner{"p", "2"}
	r.giveUp = answer(403, deniedByWebhook)
	r.try(t, maxRefusals-1, p)
	g.Expect(r.Retries.abandoned(r.object, p.uid)).To(BeFalse())
	r.try(t, 3, p)
	g.Expect(r.Retries.abandoned(r.object, p.uid)).To(BeTrue())
	g.Expect(r.told("p")).To(ConsistOf(And(HaveField("Field", "of p"), HaveField("Message", ContainSubstring("denied")))), "once")

	g.Expect(r.Retries.abandoned(r.object, again.uid)).To(BeFalse())
	r.try(t, maxRefusals-1, again)
	g.Expect(r.Retries.abandoned(r.object, again.uid)).To(BeFalse(), "it has its own tries")
	r.try(t, 1, again)
	g.Expect(r.Retries.abandoned(r.object, again.uid)).To(BeTrue())

	r.Retries.keep([]plan.Policy{{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{UID: again.uid}}}})
	g.Expect(r.Retries.refusals).To(HaveLen(1), "nothing is remembered of policies that are gone")
	r.settled(r.object)
	g.Expect(r.Retries.refusals).To(BeEmpty())
}

// One policy that gives up does not end the tries of others.
func TestOneGivesUpAndOthersGoOn(t *testing.T) {
	g := NewWithT(t)
	r := newUnwilling()
	p, q := owner{"p", "1"}, owner{"q", "2"}
	r.try(t, maxRefusals-1, p)
	g.Expect(r.try(t, 1, p, q)).To(BeFalse(), "q has not got its own back")
	g.Expect(r.given).To(Equal(1))
	g.Expect(r.told("p")).To(HaveLen(1))
	g.Expect(r.told("q")).To(BeEmpty())
	g.Expect(r.try(t, maxRefusals-2, q)).To(BeFalse())
	g.Expect(r.told("q")).To(BeEmpty())
	g.Expect(r.try(t, 1, q)).To(BeTrue())
	g.Expect(r.told("q")).To(HaveLen(1))
}

// What is not refused, but cannot be written now, is no reason to give up.
func TestNothingIsGivenUpThatIsNotAnswered(t *testing.T) {
	g := NewWithT(t)
	r := newUnwilling()
	r.giveUp = answer(500, "etcd has no leader")
	r.try(t, 2*maxRefusals, owner{"p", "1"})
	g.Expect(r.Retries.abandoned(r.object, "1")).To(BeFalse())
	g.Expect(r.told("p")).To(BeEmpty())
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

// What the API server does not let the operator delete holds up no deletion of a policy,
// and is told: NetworkPolicies, and records of nodes.
func TestRefusedDeletionsHoldUpNoPolicy(t *testing.T) {
	tries := func(t *testing.T, err error) (r *PolicyReconciler, stays func(*plan.Policy) []string) {
		clock := testingclock.NewFakePassiveClock(time.Now())
		r = &PolicyReconciler{
			Client:   deleting{err: err},
			Repairer: Repairer{Clock: clock, History: drift.NewHistory(), Report: func(string) {}, Retries: &Retries{}},
		}
		enactment := enactmentIn("cp-1", v1alpha1.PhaseEnforced, "")
		network := drift.Write{Object: drift.Object{Kind: kindNetworkPolicy, Namespace: "n", Name: "x"}, Live: &corev1.ConfigMap{}}
		return r, func(p *plan.Policy) []string {
			_, err := r.writeAll(t.Context(), p, []drift.Write{network}, always(true), repaired{})
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			stay, _, err := r.forgetNodes(t.Context(), p, []*v1alpha1.ControlPlaneNodeEnactment{&enactment})
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			clock.SetTime(clock.Now().Add(lastRetry))
			return append(stay, r.waitedFor(p, written{networkPolicies: []drift.Write{network}})...)
		}
	}
	t.Run("one that is deleted", func(t *testing.T) {
		g := NewWithT(t)
		r, stays := tries(t, answer(403, deniedByWebhook))
		p := reverting("1")
		for range maxRefusals - 1 {
			g.Expect(stays(p)).To(HaveLen(2))
		}
		g.Expect(r.History.Summary("p", time.Now()).Failures).To(ConsistOf(
			ContainSubstring(deniedByWebhook), ContainSubstring(deniedByWebhook)), "it is told that it fails")
		g.Expect(stays(p)).To(BeEmpty())
		g.Expect(r.History.TakeReleases("p").NotRestored).To(ConsistOf(
			HaveField("Object.Kind", kindNetworkPolicy), HaveField("Object.Kind", kindEnactment)))
		g.Expect(stays(reverting("2"))).To(HaveLen(2), "another one of its name has its own tries")
	})
	t.Run("where the API server does not answer, it waits", func(t *testing.T) {
		g := NewWithT(t)
		r, _ := tries(t, answer(500, "etcd has no leader"))
		enactment := enactmentIn("cp-1", v1alpha1.PhaseEnforced, "")
		for range 2 * maxUnanswered {
			stay, _, err := r.forgetNodes(t.Context(), reverting("1"), []*v1alpha1.ControlPlaneNodeEnactment{&enactment})
			g.Expect(err).To(HaveOccurred())
			g.Expect(stay).To(HaveLen(1))
		}
	})
	t.Run("one that stays goes on trying", func(t *testing.T) {
		g := NewWithT(t)
		r, _ := tries(t, answer(403, deniedByWebhook))
		p := reverting("1")
		p.DeletionTimestamp = nil
		enactment := enactmentIn("cp-1", v1alpha1.PhaseEnforced, "")
		for range 2 * maxUnanswered {
			_, _, err := r.forgetNodes(t.Context(), p, []*v1alpha1.ControlPlaneNodeEnactment{&enactment})
			g.Expect(err).To(HaveOccurred())
		}
	})
	t.Run("hosts are waited for", func(t *testing.T) {
		g := NewWithT(t)
		r, _ := tries(t, answer(403, deniedByWebhook))
		endpoint := drift.Write{Object: drift.Object{Kind: "HostEndpoint", Name: "x"}, Live: &corev1.ConfigMap{}}
		for range 2 * maxUnanswered {
			_, err := r.writeAll(t.Context(), reverting("1"), []drift.Write{endpoint}, always(true), repaired{})
			g.Expect(err).To(HaveOccurred())
		}
		g.Expect(r.waitedFor(reverting("1"), written{hosts: drift.Diff{Removals: []drift.Write{endpoint}}})).To(HaveLen(1))
	})
}
