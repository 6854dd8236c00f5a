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
	now     metav1.Time // in whole seconds, as it is read back
	members []*member
	wake    time.Time // the earliest time at which something falls due
}

// member is a node on its way through a decision.
type member struct {
	Node
	e     *v1alpha1.ControlPlaneNodeEnactment // as it is to be
	was   string                              // its phase as persisted
	asked bool                                // a round was asked just now
}

func newRun(in Input) *run {
	r := &run{Input: in, settings: settingsOf(in.Rollout, cmp.Or(in.Members, len(in.Nodes)))}
	r.now = metav1.Time{Time: in.Now.Truncate(granularity)}
	for _, node := range in.Nodes {
		m := &member{Node: node, was: PhaseOf(node.Enactment), e: node.Enactment.DeepCopy()}
		if m.e == nil {
			m.e = &v1alpha1.ControlPlaneNodeEnactment{
				ObjectMeta: metav1.ObjectMeta{Name: Name(in.Policy, node.Name)},
				Spec:       v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: in.Policy, Node: node.Name},
			}
		}
		r.own(&m.e.ObjectMeta)
		r.members = append(r.members, m)
	}
	for _, m := range r.members {
		r.repairQuestion(m)
	}
	return r
}

// own says whose an enactment is, so that it goes when its policy does.
func (r *run) own(object *metav1.ObjectMeta) {
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
func (m *member) in(phase string) bool { return PhaseOf(m.e) == phase }

// reason returns why a node is in its phase.
func (m *member) reason() string { return reasonOf(m.e) }

func reasonOf(e *v1alpha1.ControlPlaneNodeEnactment) string {
	if c := meta.FindStatusCondition(e.Status.Conditions, PhaseOf(e)); c != nil {
		return c.Reason
	}
	return ""
}

func (m *member) message() string {
	if c := meta.FindStatusCondition(m.e.Status.Conditions, PhaseOf(m.e)); c != nil {
		return c.Message
	}
	return ""
}

// set moves a node to a phase, or says why it is still in it.
func (r *run) set(m *member, phase, reason, message string) {
	for _, p := range phases {
		c := metav1.Condition{Type: p, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPhaseOver, LastTransitionTime: r.now}
		if p == phase {
			c.Status, c.Reason, c.Message = metav1.ConditionTrue, reason, wording.Line(message, maxMessage)
		}
		meta.SetStatusCondition(&m.e.Status.Conditions, c)
	}
	// What was written is what the phase before called for.
	wasVersion, wasNarrow := Wanted(m.Enactment)
	version, narrow := Wanted(m.e)
	m.Programmed = m.Programmed && version == wasVersion && narrow == wasNarrow
}

// How much is told in a condition, and of a reason that somebody gave, in bytes. What
// is longer than the API takes could not be recorded, and nothing be rolled back then.
const (
	maxMessage = 1536
	maxReason  = 200
)

// maxTargets is how many targets an enactment holds.
const maxTargets = 64

func (m *member) targets() []v1alpha1.ProbeTarget {
	return m.Targets[:min(len(m.Targets), maxTargets)]
}

// ask asks the observers to try all targets again. While a node is under way
// they stay the same: what was tried before is compared with what is now.
func (r *run) ask(m *member) {
	if m.asked {
		return
	}
	m.asked = true
	m.e.Spec.Round = ptr.To(m.round() + 1)
	m.e.Status.AskTime = r.now.DeepCopy()
	if !m.in(v1alpha1.PhaseProgressing) {
		m.e.Spec.Targets = slices.Clone(m.targets())
	}
	m.e.Status.AskedRound, m.e.Status.AskedHash = m.round(), m.e.Spec.QuestionHash()
}

// repairQuestion asks anew where the enactment does not ask what was decided: somebody
// else has written to it, or the operator ended in between. Nobody answers it as it is.
func (r *run) repairQuestion(m *member) {
	if m.e.Status.AskedHash == "" || m.e.AsksAsDecided() || len(m.Targets) == 0 {
		return
	}
	m.e.Spec.Round, m.e.Spec.Targets = ptr.To(m.e.Status.AskedRound), slices.Clone(m.targets())
	r.ask(m)
}

func (m *member) round() int64 { return ptr.Deref(m.e.Spec.Round, 0) }

// passed says whether a time is so long ago. One that nobody wrote down is.
func (r *run) passed(since *metav1.Time, d time.Duration) bool {
	return since == nil || !r.now.Time.Before(since.Add(d))
}

// wakeAt notes when something falls due.
func (r *run) wakeAt(since *metav1.Time, d time.Duration) {
	if since == nil || r.passed(since, d) {
		return
	}
	if due := since.Add(d); r.wake.IsZero() || due.Before(r.wake) {
		r.wake = due
	}
}

// confirmed says whether somebody said that the node is to stay as it is.
func (r *run) confirmed(m *member) bool {
	return strings.TrimSpace(m.e.Annotations[v1alpha1.AnnotationConfirm]) == strconv.FormatInt(r.Generation, 10)
}

// withdraw removes a confirmation: it was given of something else.
func withdraw(e *v1alpha1.ControlPlaneNodeEnactment) {
	delete(e.Annotations, v1alpha1.AnnotationConfirm)
	if len(e.Annotations) == 0 {
		e.Annotations = nil
	}
}
