// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// Event is something worth an event on the policy.
type Event struct{ Type, Reason, Action, Note string }

// Events returns what has happened between two statuses: transitions of Ready
// and Drifted, and the repairs. However many repairs there were, they make one
// event, so that a storm of drift is no storm of events.
func ConditionEvents(before, after []metav1.Condition, repairs drift.Summary) []Event {
	var events []Event
	if repairs.Count > 0 {
		events = append(events, repairEvent(repairs))
	}
	for _, kind := range []string{v1alpha1.ConditionDrifted, v1alpha1.ConditionReady} {
		was, is := meta.FindStatusCondition(before, kind), meta.FindStatusCondition(after, kind)
		// What makes a policy drifted makes it unready: that is one event.
		if event, happened := transitionEvent(was, is); happened && !slices.Contains(events, event) {
			events = append(events, event)
		}
	}
	return events
}

// LeftBehind returns the event that a policy went without what it wrote to
// Calico.
func CalicoObjectsLeft(policy string) Event {
	return Event{corev1.EventTypeWarning, "LeftBehind", "Delete", shortNote(fmt.Sprintf(
		"Calico does not answer, and the deletion did not wait any longer: its objects with the label %s=%s stay, and restrict hosts as before; "+
			"when it answers again, delete them, or create the policy again and delete it then", v1alpha1.LabelPolicy, policy))}
}

// LeftUntried returns the event that a policy went, and left rules on a node that
// were still being tried.
func UntriedRulesLeft(policy, node string) Event {
	return Event{corev1.EventTypeWarning, "LeftBehind", "Delete", shortNote(fmt.Sprintf(
		"Node %s keeps rules that were still being tried, because the policy is suspended, or Calico did not answer: "+
			"delete the node's HostEndpoints with the label %s=%s", node, v1alpha1.LabelPolicy, policy))}
}

// Abandoned returns the event that objects are there of a policy that is not.
func ObjectsWithoutPolicy(policy string, objects []string) Event {
	return Event{corev1.EventTypeWarning, "LeftBehind", "Delete", shortNote(fmt.Sprintf(
		"There is no policy %[1]s, and these were written for it: %[2]s. Unless its deletionPolicy was Orphan, to leave them on purpose, "+
			"create the policy again and delete it, or delete first its HostEndpoints, then everything else with the label %[3]s=%[1]s",
		policy, wording.Names(objects), v1alpha1.LabelPolicy))}
}

// Releases returns what there is to tell of fields that a policy let go. However many
// got back what was there before, they make one event.
func ReleaseEvents(r drift.Releases) []Event {
	var events []Event
	if r.Restored > 0 {
		note := r.Last.Restored() + ", because the policy does not declare it any more"
		if r.Restored > 1 {
			note = fmt.Sprintf("%d fields were restored, the last of them: %s", r.Restored, note)
		}
		events = append(events, Event{corev1.EventTypeNormal, "Released", "Release", shortNote(note)})
	}
	for _, f := range r.Kept {
		events = append(events, Event{corev1.EventTypeWarning, "StillHeld", "Release", shortNote(f.Stays())})
	}
	for _, f := range r.NotRestored {
		events = append(events, notRestored(f))
	}
	for _, f := range r.Replaced {
		events = append(events, Event{corev1.EventTypeWarning, "RecordReplaced", "Record", shortNote(fmt.Sprintf(
			"The annotation %s of %s was not written by the operator (%s) and is replaced: what the Service had before is not known from it",
			v1alpha1.AnnotationRecord, f.Object, f.Message))})
	}
	return events
}

// notRestored returns the event that the API server did not let the operator restore a
// field, or delete or release an object.
func notRestored(f drift.Finding) Event {
	reason, note := "NotRestored", fmt.Sprintf(
		"%s %s could not be restored, and the operator has given up: see what it should be, and set it there", f.Object, f.Field)
	switch {
	case f.Field != "":
	case slices.Contains([]string{"Node", "Service"}, f.Object.Kind):
		note = fmt.Sprintf("%s could not be written, and the operator has given up: what is recorded there of policy %s stays, "+
			"and a later policy of that name would go by it", f.Object, f.Policy)
	default:
		reason, note = "LeftBehind", fmt.Sprintf("%s could not be deleted, and the operator has given up: it stays and works as before. "+
			"See to it that the API server lets it go, and delete it: %s", f.Object, deletionOf(f.Object))
	}
	return Event{corev1.EventTypeWarning, reason, "Release", shortNote(note + "; the API server said: " + f.Message)}
}

// deletionOf returns the command that deletes an object.
func deletionOf(object drift.Object) string {
	if object.Kind == "NetworkPolicy" { // Calico has a kind of that name too
		return fmt.Sprintf("kubectl delete networkpolicies.networking.k8s.io -n %s %s", object.Namespace, object.Name)
	}
	return fmt.Sprintf("kubectl delete %s %s", strings.ToLower(object.Kind), object.Name)
}

func repairEvent(repairs drift.Summary) Event {
	note := repairs.Last.Repaired() + "; repaired"
	if repairs.Count > 1 {
		note = fmt.Sprintf("%d drifts repaired, the last of them: %s", repairs.Count, note)
	}
	return Event{corev1.EventTypeWarning, "DriftCorrected", "Repair", shortNote(note)}
}

// transition returns the event of a condition that has changed its status or
// its reason.
func transitionEvent(was, is *metav1.Condition) (Event, bool) {
	if is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason {
		return Event{}, false
	}
	good := (is.Status == metav1.ConditionTrue) == (is.Type == v1alpha1.ConditionReady)
	if was == nil && good && is.Type == v1alpha1.ConditionDrifted {
		return Event{}, false // a policy that begins without drift is no news
	}
	event := Event{corev1.EventTypeNormal, is.Reason, "Observe", shortNote(is.Message)}
	if !good {
		event.Type = corev1.EventTypeWarning
	}
	return event, true
}

// maxNote is the longest note that the API server takes (events.k8s.io/v1).
const maxNote = 1024

func shortNote(note string) string { return wording.Line(note, maxNote) }
