// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// answer returns the error of an API server that answers with a code.
func answer(code int32, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Message: message}}
}

const deniedByWebhook = `admission webhook "x.example" denied the request: no`

// Admission may refuse with any code, and each such answer is a refusal. A
// missing right or a missing answer is no refusal: the operator waits.
func TestWhichErrorsAreRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"denied by a webhook":                                             {answer(403, deniedByWebhook), MaxRefusals},
		"denied by a webhook, with the code of a conflict":                {answer(409, deniedByWebhook), MaxRefusals},
		"denied by a webhook, with the code of an overload":               {answer(429, deniedByWebhook), MaxRefusals},
		"denied by an admission policy, with the code of a missing login": {answer(401, `services "web" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no`), MaxRefusals},
		"an invalid value":                                                {answer(422, `Service "web" is invalid`), MaxRefusals},
		"an object that is too large":                                     {answer(413, "too large"), MaxRefusals},
		"quota":                                                           {answer(403, `services "web" is forbidden: exceeded quota`), MaxRefusals},
		"a value that was changed on the way":                             {&apply.Incomplete{Left: []string{"spec.x is y"}}, MaxRefusals},
		"a wrapped refusal":                                               {fmt.Errorf("writing: %w", answer(400, "bad")), MaxRefusals},
		"a webhook that does not answer":                                  {answer(500, `Internal error occurred: failed calling webhook "x.example": no endpoints`), MaxUnanswered},
		"no right":                                                        {answer(403, `services "web" is forbidden: User "u" cannot patch resource "services"`), 0},
		"no valid token":                                                  {answer(401, "Unauthorized"), 0},
		"an API server with an internal error":                            {answer(500, "etcd has no leader"), 0},
		"an API server that does not answer":                              {errors.New("connection refused"), 0},
	} {
		t.Run(name, func(t *testing.T) { NewWithT(t).Expect(maxTries(test.err)).To(Equal(test.want)) })
	}
}

// unwilling releases an object for policies, against an API server that refuses.
type unwilling struct {
	Repairer
	clock               *testingclock.FakePassiveClock
	object              drift.Object
	err, whenForgetting error
	writes, given       int
}

func newUnwilling() *unwilling {
	clock := testingclock.NewFakePassiveClock(time.Now())
	return &unwilling{
		Repairer: Repairer{Clock: clock, History: drift.NewHistory(), Report: func(string) {}, Retries: &Retries{}},
		clock:    clock, object: drift.Object{Kind: "Service", Namespace: "n", Name: "web"}, err: answer(422, "no such value"),
	}
}

// try makes so many tries, and returns whether the last one succeeded.
func (r *unwilling) try(t *testing.T, times int, policies ...Owner) (wrote bool) {
	t.Helper()
	for range times {
		job := Job{
			Object: r.object, Version: r.clock.Now().String(), Needed: true, Releasing: policies,
			Write: func(context.Context) error { r.writes++; return r.err },
			WithoutRestoring: func(_ context.Context, given []Owner) error {
				r.given = len(given)
				return r.whenForgetting
			},
		}
		for _, p := range policies {
			job.Policies = append(job.Policies, p.name)
			job.restored = append(job.restored, drift.Finding{Policy: p.name, Object: r.object, Field: "of " + p.name})
		}
		var err error
		wrote, _, err = r.Do(t.Context(), job)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		r.clock.SetTime(r.clock.Now().Add(timing.IncompleteRetryLast))
	}
	return wrote
}

func (r *unwilling) told(policy string) []drift.Finding {
	return r.History.TakeReleases(policy).NotRestored
}

// Every policy that later claims the same object has tries of its own, even a policy of the same name.
func TestEachPolicyHasItsOwnTries(t *testing.T) {
	g := NewWithT(t)
	r := newUnwilling()
	p, again := Owner{"p", "1"}, Owner{"p", "2"}
	r.whenForgetting = answer(403, deniedByWebhook)
	r.try(t, MaxRefusals-1, p)
	g.Expect(r.Retries.Abandoned(r.object, p.UID)).To(BeFalse())
	r.try(t, 3, p)
	g.Expect(r.Retries.Abandoned(r.object, p.UID)).To(BeTrue())
	g.Expect(r.told("p")).To(ConsistOf(And(HaveField("Field", "of p"), HaveField("Message", ContainSubstring("denied")))), "the event is emitted once")

	g.Expect(r.Retries.Abandoned(r.object, again.UID)).To(BeFalse())
	r.try(t, MaxRefusals-1, again)
	g.Expect(r.Retries.Abandoned(r.object, again.UID)).To(BeFalse(), "the recreated policy has its own tries")
	r.try(t, 1, again)
	g.Expect(r.Retries.Abandoned(r.object, again.UID)).To(BeTrue())

	r.Retries.KeepOnly([]plan.Policy{{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{UID: again.UID}}}})
	g.Expect(r.Retries.refusals).To(HaveLen(1), "refusals of deleted policies are forgotten")
	r.settled(r.object)
	g.Expect(r.Retries.refusals).To(BeEmpty())
}

// One policy that abandons its release does not end the tries of other policies.
func TestOnePolicyAbandonsAndOthersContinue(t *testing.T) {
	g := NewWithT(t)
	r := newUnwilling()
	p, q := Owner{"p", "1"}, Owner{"q", "2"}
	r.try(t, MaxRefusals-1, p)
	g.Expect(r.try(t, 1, p, q)).To(BeFalse(), "the original of q is not restored")
	g.Expect(r.given).To(Equal(1))
	g.Expect(r.told("p")).To(HaveLen(1))
	g.Expect(r.told("q")).To(BeEmpty())
	g.Expect(r.try(t, MaxRefusals-2, q)).To(BeFalse())
	g.Expect(r.told("q")).To(BeEmpty())
	g.Expect(r.try(t, 1, q)).To(BeTrue())
	g.Expect(r.told("q")).To(HaveLen(1))
}

// A write that fails without a refusal is no reason to abandon the release.
func TestReleaseIsNotAbandonedWithoutAnAnswer(t *testing.T) {
	g := NewWithT(t)
	r := newUnwilling()
	r.whenForgetting = answer(500, "etcd has no leader")
	r.try(t, 2*MaxRefusals, Owner{"p", "1"})
	g.Expect(r.Retries.Abandoned(r.object, "1")).To(BeFalse())
	g.Expect(r.told("p")).To(BeEmpty())
}
