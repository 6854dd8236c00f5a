// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/repair"
	"github.com/cpnp-dev/cpnp-operator/internal/reporter"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// recording is an API server that answers every write of an enactment with an error, or
// accepts the write.
type recording struct {
	client.Client
	err error
}

func (r recording) Create(context.Context, client.Object, ...client.CreateOption) error { return r.err }

func (r recording) Status() client.SubResourceWriter { return recordingStatus{err: r.err} }

type recordingStatus struct {
	client.SubResourceWriter
	err error
}

func (r recordingStatus) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return r.err
}

func (r recordingStatus) Patch(context.Context, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
	return r.err
}

// After a failed write of an enactment, the persisted enactment counts, and the failure is
// reported.
func TestPersistedEnactmentCountsAfterAFailedWrite(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, "p.cp-1", context.Canceled)
	for name, test := range map[string]struct {
		err   error
		phase string
		fails bool
	}{
		"written":            {nil, v1alpha1.PhaseEnforced, false},
		"refused":            {apierrors.NewInternalError(context.Canceled), v1alpha1.PhaseProgressing, true},
		"somebody else came": {conflict, v1alpha1.PhaseProgressing, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			now := clocktesting.NewFakePassiveClock(time.Now())
			r := &Reconciler{
				Client: recording{err: test.err}, Reporter: &reporter.Reporter{Recorder: events.NewFakeRecorder(9)},
				Repairer: repair.Repairer{Clock: now, History: drift.NewHistory(), Report: func(string) {}},
			}
			policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{}}
			policy.Name = "p"
			there := []v1alpha1.ControlPlaneNodeEnactment{calicotest.Enactment("cp-1", v1alpha1.PhaseProgressing, "")}
			there[0].ResourceVersion = "7"
			decided := []v1alpha1.ControlPlaneNodeEnactment{calicotest.Enactment("cp-1", v1alpha1.PhaseEnforced, "")}
			o := pipeline.Assessment{Policy: policy, Snapshot: state.Snapshot{Enactments: there}}
			o.Rollout, o.Decided = rollout.Decision{Enactments: decided}, true
			again, err := r.recordRollout(t.Context(), &o)
			g.Expect(err != nil).To(Equal(test.fails))
			g.Expect(rollout.PhaseOf(&o.Rollout.Enactments[0])).To(Equal(test.phase))
			g.Expect(r.History.Summarize("p", now.Now()).Failures).To(HaveLen(map[bool]int{true: 1}[test.fails]))
			g.Expect(again.RequeueAfter > 0).To(Equal(errors.Is(test.err, conflict)))

			now.SetTime(now.Now().Add(time.Hour))
			_, _, err = r.record(t.Context(), policy, decided, state.Snapshot{Enactments: decided})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(r.History.Summarize("p", now.Now()).Failures).To(BeEmpty(), "it is as decided")
		})
	}
	t.Run("a node without an enactment was not started", func(t *testing.T) {
		g := NewWithT(t)
		r := &Reconciler{
			Client:   recording{err: apierrors.NewInternalError(context.Canceled)},
			Repairer: repair.Repairer{Clock: clocktesting.NewFakePassiveClock(time.Now()), History: drift.NewHistory(), Report: func(string) {}},
		}
		policy := &plan.Policy{ControlPlaneNetworkPolicy: &v1alpha1.ControlPlaneNetworkPolicy{}}
		policy.Name = "p"
		persisted, _, _ := r.record(t.Context(), policy, []v1alpha1.ControlPlaneNodeEnactment{calicotest.Enactment("cp-1", v1alpha1.PhaseEnforced, "")}, state.Snapshot{})
		g.Expect(persisted).To(ConsistOf(HaveField("Spec.Node", "cp-1")))
		g.Expect(rollout.PhaseOf(&persisted[0])).To(BeEmpty())
	})
}
