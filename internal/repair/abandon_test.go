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
		"a webhook's":                        {answer(403, deniedByWebhook), MaxRefusals},
		"a webhook's, as if changed":         {answer(409, deniedByWebhook), MaxRefusals},
		"a webhook's, as if overloaded":      {answer(429, deniedByWebhook), MaxRefusals},
		"a policy's, as if nobody known":     {answer(401, `services "web" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no`), MaxRefusals},
		"a value":                            {answer(422, `Service "web" is invalid`), MaxRefusals},
		"an object with too much":            {answer(413, "too large"), MaxRefusals},
		"quota":                              {answer(403, `services "web" is forbidden: exceeded quota`), MaxRefusals},
		"a change on the way":                {&apply.Incomplete{Left: []string{"spec.x is y"}}, MaxRefusals},
		"wrapped":                            {fmt.Errorf("writing: %w", answer(400, "bad")), MaxRefusals},
		"a webhook that does not answer":     {answer(500, `Internal error occurred: failed calling webhook "x.example": no endpoints`), MaxUnanswered},
		"no right":                           {answer(403, `services "web" is forbidden: User "u" cannot patch resource "services"`), 0},
		"no token":                           {answer(401, "Unauthorized"), 0},
		"an API server that is not well":     {answer(500, "etcd has no leader"), 0},
		"an API server that does not answer": {errors.New("connection refused"), 0},
	} {
		t.Run(name, func(t *testing.T) { NewWithT(t).Expect(maxTries(test.err)).To(Equal(test.want)) })
	}
}

// unwilling tries to have policies release an object, which the API server refuses.
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

// try tries so many times, and says whether the last one was carried out.
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

// Whoever comes later with the same object has tries of their own, another policy of the
// same name too.
func TestEachPolicyHasItsOwnTries(t *testing.T) {
	g := NewWithT(t)
	r := newUnwilling()
	p, again := Owner{"p", "1"}, Owner{"p", "2"}
	r.whenForgetting = answer(403, deniedByWebhook)
	r.try(t, MaxRefusals-1, p)
	g.Expect(r.Retries.Abandoned(r.object, p.UID)).To(BeFalse())
	r.try(t, 3, p)
	g.Expect(r.Retries.Abandoned(r.object, p.UID)).To(BeTrue())
	g.Expect(r.told("p")).To(ConsistOf(And(HaveField("Field", "of p"), HaveField("Message", ContainSubstring("denied")))), "once")

	g.Expect(r.Retries.Abandoned(r.object, again.UID)).To(BeFalse())
	r.try(t, MaxRefusals-1, again)
	g.Expect(r.Retries.Abandoned(r.object, again.UID)).To(BeFalse(), "it has its own tries")
	r.try(t, 1, again)
	g.Expect(r.Retries.Abandoned(r.object, again.UID)).To(BeTrue())

	r.Retries.KeepOnly([]plan.Policy{{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{UID: again.UID}}}})
	g.Expect(r.Retries.refusals).To(HaveLen(1), "nothing is remembered of policies that are gone")
	r.settled(r.object)
	g.Expect(r.Retries.refusals).To(BeEmpty())
}

// One policy that gives up does not end the tries of others.
func TestOneGivesUpAndOthersGoOn(t *testing.T) {
	g := NewWithT(t)
	r := newUnwilling()
	p, q := Owner{"p", "1"}, Owner{"q", "2"}
	r.try(t, MaxRefusals-1, p)
	g.Expect(r.try(t, 1, p, q)).To(BeFalse(), "q has not got its own back")
	g.Expect(r.given).To(Equal(1))
	g.Expect(r.told("p")).To(HaveLen(1))
	g.Expect(r.told("q")).To(BeEmpty())
	g.Expect(r.try(t, MaxRefusals-2, q)).To(BeFalse())
	g.Expect(r.told("q")).To(BeEmpty())
	g.Expect(r.try(t, 1, q)).To(BeTrue())
	g.Expect(r.told("q")).To(HaveLen(1))
}

// What is not refused, but cannot be written now, is no reason to give up.
func TestReleaseIsNotAbandonedWithoutAnAnswer(t *testing.T) {
	g := NewWithT(t)
	r := newUnwilling()
	r.whenForgetting = answer(500, "etcd has no leader")
	r.try(t, 2*MaxRefusals, Owner{"p", "1"})
	g.Expect(r.Retries.Abandoned(r.object, "1")).To(BeFalse())
	g.Expect(r.told("p")).To(BeEmpty())
}
