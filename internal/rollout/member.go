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
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// run is a decision in the making.
type run struct {
	Input
	settings
	now      metav1.Time // in whole seconds, as it is read back
	nodeRuns []*nodeRun
	nextWake time.Time // the earliest time at which something falls due
}

// member is a node on its way through a decision.
type nodeRun struct {
	Node
	desired        *v1alpha1.ControlPlaneNodeEnactment // as it is to be
	persistedPhase string                              // its phase as persisted
	roundRequested bool                                // a round was asked just now
}

func newRun(in Input) *run {
	r := &run{Input: in, settings: settingsOf(in.Rollout, cmp.Or(in.ControlPlaneSize, len(in.Nodes)))}
	r.now = metav1.Time{Time: in.Now.Truncate(granularity)}
	for _, node := range in.Nodes {
		n := &nodeRun{Node: node, persistedPhase: PhaseOf(node.Enactment), desired: node.Enactment.DeepCopy()}
		if n.desired == nil {
			n.desired = &v1alpha1.ControlPlaneNodeEnactment{
				ObjectMeta: metav1.ObjectMeta{Name: EnactmentName(in.Policy, node.Name)},
				Spec:       v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: in.Policy, Node: node.Name},
			}
		}
		r.setOwner(&n.desired.ObjectMeta)
		r.nodeRuns = append(r.nodeRuns, n)
	}
	for _, n := range r.nodeRuns {
		r.repairProbeRequest(n)
	}
	return r
}

// own says whose an enactment is, so that it goes when its policy does.
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
	// A policy that was deleted and made anew must not take its enactments along.
	object.OwnerReferences = []metav1.OwnerReference{owner}
}

// in says whether a node is in a phase, as it is to be.
func (n *nodeRun) inPhase(phase string) bool { return PhaseOf(n.desired) == phase }

// reason returns why a node is in its phase.
func (n *nodeRun) phaseReason() string { return reasonOf(n.desired) }

func reasonOf(e *v1alpha1.ControlPlaneNodeEnactment) string {
	if c := meta.FindStatusCondition(e.Status.Conditions, PhaseOf(e)); c != nil {
		return c.Reason
	}
	return ""
}

func (n *nodeRun) phaseMessage() string {
	if c := meta.FindStatusCondition(n.desired.Status.Conditions, PhaseOf(n.desired)); c != nil {
		return c.Message
	}
	return ""
}

// set moves a node to a phase, or says why it is still in it.
func (r *run) setPhase(n *nodeRun, phase, reason, message string) {
	for _, p := range phasePrecedence {
		c := metav1.Condition{Type: p, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPhaseOver, LastTransitionTime: r.now}
		if p == phase {
			c.Status, c.Reason, c.Message = metav1.ConditionTrue, reason, wording.Line(message, maxMessage)
		}
		meta.SetStatusCondition(&n.desired.Status.Conditions, c)
	}
	// What was written is what the phase before called for.
	wasVersion, wasNarrow := RulesetFor(n.Enactment)
	version, narrow := RulesetFor(n.desired)
	n.Programmed = n.Programmed && version == wasVersion && narrow == wasNarrow
}

// How much is told in a condition, and of a reason that somebody gave, in bytes. What
// is longer than the API takes could not be recorded, and nothing be rolled back then.
const (
	maxMessage = 1536
	maxReason  = 200
)

// maxTargets is how many targets an enactment holds.
const maxTargets = 64

func (n *nodeRun) probeTargets() []v1alpha1.ProbeTarget {
	return n.Targets[:min(len(n.Targets), maxTargets)]
}

// ask asks the observers to try all targets again. While a node is under way
// they stay the same: what was tried before is compared with what is now.
func (r *run) requestRound(n *nodeRun) {
	if n.roundRequested {
		return
	}
	n.roundRequested = true
	n.desired.Spec.Round = ptr.To(n.currentRound() + 1)
	n.desired.Status.AskTime = r.now.DeepCopy()
	if !n.inPhase(v1alpha1.PhaseProgressing) {
		n.desired.Spec.Targets = slices.Clone(n.probeTargets())
	}
	n.desired.Status.AskedRound, n.desired.Status.AskedHash = n.currentRound(), n.desired.Spec.QuestionHash()
}

// repairQuestion asks anew where the enactment does not ask what was decided: somebody
// else has written to it, or the operator ended in between. Nobody answers it as it is.
func (r *run) repairProbeRequest(n *nodeRun) {
	if n.desired.Status.AskedHash == "" || n.desired.AsksAsDecided() || len(n.Targets) == 0 {
		return
	}
	n.desired.Spec.Round, n.desired.Spec.Targets = ptr.To(n.desired.Status.AskedRound), slices.Clone(n.probeTargets())
	r.requestRound(n)
}

func (n *nodeRun) currentRound() int64 { return ptr.Deref(n.desired.Spec.Round, 0) }

// passed says whether a time is so long ago. One that nobody wrote down is.
func (r *run) hasPassed(since *metav1.Time, d time.Duration) bool {
	return since == nil || !r.now.Time.Before(since.Add(d))
}

// wakeAt notes when something falls due.
func (r *run) wakeAfter(since *metav1.Time, d time.Duration) {
	if since == nil || r.hasPassed(since, d) {
		return
	}
	if due := since.Add(d); r.nextWake.IsZero() || due.Before(r.nextWake) {
		r.nextWake = due
	}
}

// confirmed says whether somebody said that the node is to stay as it is.
func (r *run) isConfirmed(n *nodeRun) bool {
	return strings.TrimSpace(n.desired.Annotations[v1alpha1.AnnotationConfirm]) == strconv.FormatInt(r.Generation, 10)
}

// withdraw removes a confirmation: it was given of something else.
func removeConfirmation(e *v1alpha1.ControlPlaneNodeEnactment) {
	delete(e.Annotations, v1alpha1.AnnotationConfirm)
	if len(e.Annotations) == 0 {
		e.Annotations = nil
	}
}
