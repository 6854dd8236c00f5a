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

// Event is a Kubernetes event on the policy.
type Event struct{ Type, Reason, Action, Note string }

// ConditionEvents returns the events between two statuses: transitions of Ready and
// Drifted, and the repairs. All repairs make a single event, so a storm of drift
// is no storm of events.
func ConditionEvents(before, after []metav1.Condition, repairs drift.Summary) []Event {
	var events []Event
	if repairs.Count > 0 {
		events = append(events, repairEvent(repairs))
	}
	for _, kind := range []string{v1alpha1.ConditionDrifted, v1alpha1.ConditionReady} {
		was, is := meta.FindStatusCondition(before, kind), meta.FindStatusCondition(after, kind)
		// Drift makes a policy unready too. Both transitions make a single event.
		if event, happened := transitionEvent(was, is); happened && !slices.Contains(events, event) {
			events = append(events, event)
		}
	}
	return events
}

// CalicoObjectsLeft returns the event of a policy deleted without its Calico objects.
func CalicoObjectsLeft(policy string) Event {
	return Event{corev1.EventTypeWarning, "Orphaned", "Delete", shortNote(fmt.Sprintf(
		"Calico did not answer, so the policy was deleted without its Calico objects. "+
			"Objects with the label %s=%s stay and still restrict hosts: "+
			"when Calico answers again, delete these objects, or create the policy again and delete it", v1alpha1.LabelPolicy, policy))}
}

// UntriedRulesLeft returns the event of a policy deleted while a node keeps rules on
// trial.
func UntriedRulesLeft(policy, node string) Event {
	return Event{corev1.EventTypeWarning, "Orphaned", "Delete", shortNote(fmt.Sprintf(
		"Node %s keeps rules that were still being tried, because the policy is suspended or Calico did not answer: "+
			"delete the node's HostEndpoints with the label %s=%s", node, v1alpha1.LabelPolicy, policy))}
}

// ObjectsWithoutPolicy returns the event of existing objects of a policy that does not
// exist.
func ObjectsWithoutPolicy(policy string, objects []string) Event {
	return Event{corev1.EventTypeWarning, "Orphaned", "Delete", shortNote(fmt.Sprintf(
		"There is no policy %[1]s, but objects that were written for it exist: %[2]s. Unless its deletionPolicy was Orphan, "+
			"create the policy again and delete it; or delete the HostEndpoints with the label %[3]s=%[1]s first, "+
			"then all other objects with the label",
		policy, wording.ListNames(objects), v1alpha1.LabelPolicy))}
}

// ReleaseEvents returns the events about released fields. All restored
// fields make a single event.
func ReleaseEvents(r drift.Releases) []Event {
	var events []Event
	if r.Restored > 0 {
		note := r.Last.DescribeRestored() + ", because the policy no longer declares the field"
		if r.Restored > 1 {
			note = fmt.Sprintf("%d fields were restored, the last of them: %s", r.Restored, note)
		}
		events = append(events, Event{corev1.EventTypeNormal, "Released", "Release", shortNote(note)})
	}
	for _, f := range r.Kept {
		events = append(events, Event{corev1.EventTypeWarning, "StillHeld", "Release", shortNote(f.DescribeKept())})
	}
	for _, f := range r.NotRestored {
		events = append(events, notRestoredEvent(f))
	}
	for _, f := range r.Replaced {
		events = append(events, Event{corev1.EventTypeWarning, "RecordReplaced", "Record", shortNote(recordReplaced(f))})
	}
	return events
}

// recordReplaced returns the message about a record by a foreign writer.
func recordReplaced(f drift.Finding) string {
	if f.Cause != "" {
		return fmt.Sprintf("The annotation %s of %s was changed: its original value of %s was not the value that the operator remembers. "+
			"The operator has restored the annotation: see who may write the Service or its status", v1alpha1.AnnotationRecord, f.Object, f.Field)
	}
	return fmt.Sprintf("The annotation %s of %s was not written by the operator (%s) and is replaced: "+
		"the original values are unknown, so check the traffic policies of the Service when the policy is deleted",
		v1alpha1.AnnotationRecord, f.Object, f.Message)
}

// notRestoredEvent returns the event that the API server did not let the operator
// restore a field, or delete or release an object.
func notRestoredEvent(f drift.Finding) Event {
	reason, note := "NotRestored", fmt.Sprintf(
		"%s %s could not be restored, and the operator does not try again: set the field by hand to the value that it should have",
		f.Object, f.Field)
	switch {
	case f.Field != "":
	case slices.Contains([]string{"Node", "Service"}, f.Object.Kind):
		note = fmt.Sprintf("%s could not be written, and the operator does not try again: the record of policy %s stays there, "+
			"and a later policy of that name would use it", f.Object, f.Policy)
	default:
		reason, note = "Orphaned", fmt.Sprintf("%s could not be deleted, and the operator does not try again: it stays and acts as before. "+
			"Make the API server accept the deletion, and delete it: %s", f.Object, deletionCommand(f.Object))
	}
	return Event{corev1.EventTypeWarning, reason, "Release", shortNote(note + "; the API server answered: " + f.Message)}
}

// deletionCommand returns the command that deletes an object.
func deletionCommand(object drift.Object) string {
	if object.Kind == "NetworkPolicy" { // Calico has a kind of that name too
		return fmt.Sprintf("kubectl delete networkpolicies.networking.k8s.io -n %s %s", object.Namespace, object.Name)
	}
	return fmt.Sprintf("kubectl delete %s %s", strings.ToLower(object.Kind), object.Name)
}

func repairEvent(repairs drift.Summary) Event {
	note := repairs.Last.DescribeRepaired() + "; repaired"
	if repairs.Count > 1 {
		note = fmt.Sprintf("%d drifts repaired, the last of them: %s", repairs.Count, note)
	}
	return Event{corev1.EventTypeWarning, "DriftCorrected", "Repair", shortNote(note)}
}

// transitionEvent returns the event of a condition whose status or reason has changed.
func transitionEvent(was, is *metav1.Condition) (Event, bool) {
	if is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason {
		return Event{}, false
	}
	good := (is.Status == metav1.ConditionTrue) == (is.Type == v1alpha1.ConditionReady)
	if was == nil && good && is.Type == v1alpha1.ConditionDrifted {
		return Event{}, false // A new policy without drift makes no event.
	}
	event := Event{corev1.EventTypeNormal, is.Reason, "Observe", shortNote(is.Message)}
	if !good {
		event.Type = corev1.EventTypeWarning
	}
	return event, true
}

// maxNote is the maximum length of a note (events.k8s.io/v1).
const maxNote = 1024

func shortNote(note string) string { return wording.OneLine(note, maxNote) }
