// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// refusing is an API server that refuses every write, and counts them.
type refusing struct {
	client.Client
	asked int
}

var errRefused = errors.New("refused")

func (r *refusing) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	r.asked++
	return errRefused
}

// A stage that could not be written holds up those after it, and is an error:
// else nothing would try it again.
func TestStageThatFailsHoldsUpTheOthersAndIsTriedAgain(t *testing.T) {
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	api := &refusing{}
	r := &PolicyReconciler{
		Client: api, Stages: &Stages{},
		Repairer: Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
	}
	policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}}
	write := func(object client.Object) drift.Write {
		object.SetName("x")
		return drift.Write{Object: drift.Object{Kind: object.GetObjectKind().GroupVersionKind().Kind, Name: "x"}, Desired: object}
	}
	diff := drift.Diff{Writes: []drift.Write{
		write(&v3.GlobalNetworkSet{TypeMeta: metav1.TypeMeta{Kind: v3.KindGlobalNetworkSet}}),
		write(&v3.HostEndpoint{TypeMeta: metav1.TypeMeta{Kind: v3.KindHostEndpoint}}),
	}}
	_, err := r.writeHosts(t.Context(), policy, diff, always(true), never, repaired{})
	g.Expect(err).To(MatchError(errRefused))
	g.Expect(api.asked).To(Equal(1))
}
