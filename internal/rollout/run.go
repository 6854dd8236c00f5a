// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// run is a single call of Decide: the input, and the nodes on the way to the decision.
type run struct {
	Input
	settings
	now      metav1.Time // in whole seconds, as enactments keep times
	nodeRuns []*nodeRun
	nextWake time.Time // the earliest time at which to decide again
}

// nodeRun is a node during a run.
type nodeRun struct {
	Node
	desired        *v1alpha1.ControlPlaneNodeEnactment // the enactment to persist
	persistedPhase string                              // the phase in the persisted enactment
	roundRequested bool                                // a probe round was requested during the run
}

func newRun(in Input) *run {
	r := &run{Input: in, settings: settingsOf(in.Rollout, cmp.Or(in.EtcdSize, len(in.Nodes)))}
	r.now = metav1.Time{Time: in.Now.Truncate(timing.Granularity)}
	for _, node := range in.Nodes {
		n := &nodeRun{Node: node, persistedPhase: PhaseOf(node.Enactment), desired: node.Enactment.DeepCopy()}
		if n.desired == nil {
			n.desired = &v1alpha1.ControlPlaneNodeEnactment{
				ObjectMeta: metav1.ObjectMeta{Name: EnactmentName(in.Policy, node.Name)},
				Spec:       v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: in.Policy, Node: node.Name},
			}
		}
		r.setOwner(&n.desired.ObjectMeta)
		r.correctTimes(&n.desired.Status)
		r.nodeRuns = append(r.nodeRuns, n)
	}
	for _, n := range r.nodeRuns {
		r.repairProbeRequest(n)
	}
	return r
}

// correctTimes replaces times after the present: the clock was set back, or the operator that
// recorded them had another clock. Otherwise no timeout would end a trial until the clock has
// caught up.
func (r *run) correctTimes(status *v1alpha1.ControlPlaneNodeEnactmentStatus) {
	latest := r.now.Add(timing.Granularity)
	times := []*metav1.Time{
		status.StartTime, status.SoakTime, status.FailsafesScopedTime, status.ProbeRequestTime, status.AdoptedTime,
		status.PreviousFailsafesScopedTime,
	}
	for i := range status.Conditions {
		times = append(times, &status.Conditions[i].LastTransitionTime)
	}
	for _, t := range times {
		if t != nil && t.After(latest) {
			*t = r.now
		}
	}
}

// setOwner sets the label and the owner of an enactment, so that Kubernetes deletes the
// enactment together with the policy.
func (r *run) setOwner(object *metav1.ObjectMeta) {
	if object.Labels == nil {
		object.Labels = map[string]string{}
	}
	object.Labels[v1alpha1.LabelPolicy] = r.Policy
	owner := metav1.OwnerReference{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ControlPlaneNetworkPolicy",
		Name: r.Policy, UID: r.UID, Controller: ptr.To(true),
	}
	if slices.ContainsFunc(object.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == r.UID }) {
		return
	}
	// If a policy is deleted and created again, its enactments get the new owner. With
	// the old owner, Kubernetes would delete the enactments.
	object.OwnerReferences = []metav1.OwnerReference{owner}
}

// inPhase tells whether the enactment to persist is in a phase.
func (n *nodeRun) inPhase(phase string) bool { return PhaseOf(n.desired) == phase }

// phaseReason returns why a node is in its phase.
func (n *nodeRun) phaseReason() string { return reasonOf(n.desired) }

func (n *nodeRun) phaseMessage() string {
	if c := meta.FindStatusCondition(n.desired.Status.Conditions, PhaseOf(n.desired)); c != nil {
		return c.Message
	}
	return ""
}

// setPhase moves a node to a phase, or reports why the node is still in the phase.
func (r *run) setPhase(n *nodeRun, phase, reason, message string) {
	for _, p := range phasePrecedence {
		c := metav1.Condition{Type: p, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPhaseOver, LastTransitionTime: r.now}
		if p == phase {
			c.Status, c.Reason, c.Message = metav1.ConditionTrue, reason, wording.OneLine(message, maxMessage)
		}
		meta.SetStatusCondition(&n.desired.Status.Conditions, c)
	}
	// The caller has written the ruleset of the phase before.
	n.Programmed = n.Programmed && RulesetFor(n.desired) == RulesetFor(n.Enactment)
}

// Limits in bytes of the message of a condition, and of a reason given by a user.
// The API would refuse a longer message, and a roll back could not be persisted then.
const (
	maxMessage = 1536
	maxReason  = 200
)

func (n *nodeRun) probeTargets() []v1alpha1.ProbeTarget {
	return n.Targets[:min(len(n.Targets), v1alpha1.MaxProbeTargets)]
}

// requestRound requests a probe round, in which the observers try all targets. While a
// node is in flight the targets stay the same, to be compared with the baseline.
func (r *run) requestRound(n *nodeRun) {
	if n.roundRequested {
		return
	}
	n.roundRequested = true
	n.desired.Spec.ProbeRound = ptr.To(n.currentRound() + 1)
	n.desired.Status.ProbeRequestTime = r.now.DeepCopy()
	if !n.inPhase(v1alpha1.PhaseProgressing) {
		n.desired.Spec.Targets = slices.Clone(n.probeTargets())
	}
	n.desired.Status.RequestedProbeRound, n.desired.Status.ProbeRequestHash = n.currentRound(), n.desired.Spec.ProbeRequestHash()
}

// repairProbeRequest requests a new round where the request in the enactment is not as
// decided: another writer has changed the enactment, or the operator ended between two
// writes. No observer answers such a request.
func (r *run) repairProbeRequest(n *nodeRun) {
	if n.desired.Status.ProbeRequestHash == "" || n.desired.HasOperatorsProbeRequest() || len(n.Targets) == 0 {
		return
	}
	n.desired.Spec.ProbeRound, n.desired.Spec.Targets = ptr.To(n.desired.Status.RequestedProbeRound), slices.Clone(n.probeTargets())
	r.requestRound(n)
}

func (n *nodeRun) currentRound() int64 { return ptr.Deref(n.desired.Spec.ProbeRound, 0) }

// hasPassed tells whether a duration has passed since a time. A time without a record
// has passed.
func (r *run) hasPassed(since *metav1.Time, d time.Duration) bool {
	return since == nil || !r.now.Time.Before(since.Add(d))
}

// wakeAfter makes the next decision happen at the latest when a duration has passed
// since a time.
func (r *run) wakeAfter(since *metav1.Time, d time.Duration) {
	if since == nil || r.hasPassed(since, d) {
		return
	}
	if due := since.Add(d); r.nextWake.IsZero() || due.Before(r.nextWake) {
		r.nextWake = due
	}
}

// isConfirmed tells whether a user has confirmed the node for the present generation.
func (r *run) isConfirmed(n *nodeRun) bool {
	return strings.TrimSpace(n.desired.Annotations[v1alpha1.AnnotationConfirm]) == strconv.FormatInt(r.Generation, 10)
}

// removeConfirmation removes the confirmation of an earlier state.
func removeConfirmation(e *v1alpha1.ControlPlaneNodeEnactment) {
	delete(e.Annotations, v1alpha1.AnnotationConfirm)
	if len(e.Annotations) == 0 {
		e.Annotations = nil
	}
}
