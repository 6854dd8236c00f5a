// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// The predicates keep heartbeats and similar updates out of the queues: an update counts
// only after a change of a field that a reconciler reads. A periodic resync changes no
// field, but counts, because a resync repairs the effects of missed events.

func onUpdate[T client.Object](changed func(before, after T) bool) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(T)
		after, same := e.ObjectNew.(T)
		return !ok || !same || before.GetResourceVersion() == after.GetResourceVersion() || changed(before, after)
	}}
}

var (
	// IntentChanged passes a policy after a change of spec, deletion or annotations.
	IntentChanged = onUpdate(func(before, after *v1alpha1.ControlPlaneNetworkPolicy) bool {
		return before.Generation != after.Generation || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
			before.UID != after.UID || told(before) != told(after)
	})

	// EnactmentChanged passes an enactment after an answer of an observer, a confirmation by a
	// user, or a foreign change of the operator's fields.
	EnactmentChanged = onUpdate(func(before, after *v1alpha1.ControlPlaneNodeEnactment) bool {
		return !equality.Semantic.DeepEqual(before.Status, after.Status) || !equality.Semantic.DeepEqual(before.Spec, after.Spec) ||
			before.Annotations[v1alpha1.AnnotationConfirm] != after.Annotations[v1alpha1.AnnotationConfirm]
	})

	// PostureChanged passes a posture after a new observation, or a foreign change of the
	// operator's fields.
	PostureChanged = onUpdate(func(before, after *v1alpha1.ControlPlaneNodePosture) bool {
		return !equality.Semantic.DeepEqual(before.Status, after.Status) || !equality.Semantic.DeepEqual(before.Spec, after.Spec)
	})

	// StatusChanged passes a policy after a change of status.
	StatusChanged = onUpdate(func(before, after *v1alpha1.ControlPlaneNetworkPolicy) bool {
		return !equality.Semantic.DeepEqual(before.Status, after.Status)
	})

	// GateChanged passes the same changes as IntentChanged, and also a policy for which writing
	// becomes possible.
	GateChanged = onUpdate(func(before, after *v1alpha1.ControlPlaneNetworkPolicy) bool {
		return before.Generation != after.Generation || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
			before.UID != after.UID || told(before) != told(after) ||
			!slices.Equal(before.Finalizers, after.Finalizers) || plan.VerifiedOffHosts(before) != plan.VerifiedOffHosts(after)
	})

	// NodeChanged passes a node after a change of a field that the operator writes, or that
	// policies use for selection and addresses.
	NodeChanged = onUpdate(func(before, after *corev1.Node) bool {
		return TaintsChanged(before, after) || MembershipChanged(before, after)
	})

	// ServiceChanged passes a Service after a change of labels, annotations, spec or managers.
	ServiceChanged = onUpdate(func(before, after *corev1.Service) bool {
		return !maps.Equal(before.Labels, after.Labels) || !maps.Equal(before.Annotations, after.Annotations) ||
			!equality.Semantic.DeepEqual(before.Spec, after.Spec) || !sameManagers(before, after)
	})

	// PodChanged passes a pod after a change of labels, or when the pod ends.
	PodChanged = onUpdate(func(before, after *state.HostPod) bool {
		return !maps.Equal(before.Labels, after.Labels) || before.Ended != after.Ended
	})

	// EndpointsChanged passes an EndpointSlice after a change of the nodes with ready endpoints.
	EndpointsChanged = onUpdate(func(before, after *state.EndpointSlice) bool {
		wereReady, wereNot := state.EndpointNodes(before)
		areReady, areNot := state.EndpointNodes(after)
		return !slices.Equal(wereReady, areReady) || !slices.Equal(wereNot, areNot)
	})

	// BackendsChanged passes an EndpointSlice after a change of addresses or ports.
	BackendsChanged = onUpdate(func(before, after *state.EndpointSlice) bool { return !state.SameBackends(before, after) })

	// APIServersChanged passes the EndpointSlice of the API servers after a change of addresses.
	APIServersChanged = predicate.And(
		predicate.NewPredicateFuncs(func(o client.Object) bool {
			slice, ok := o.(*state.EndpointSlice)
			return ok && state.IsAPIServerSlice(slice)
		}),
		onUpdate(func(before, after *state.EndpointSlice) bool {
			return !slices.Equal(state.APIServerAddresses(before), state.APIServerAddresses(after))
		}))

	// Existence passes an object on creation and deletion.
	Existence = predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}

	// WebhooksChanged passes a webhook configuration when the API servers are told to call
	// other webhooks. The cache keeps no other field of the configuration.
	WebhooksChanged = onUpdate(func(before, after client.Object) bool {
		b, a := before.DeepCopyObject().(client.Object), after.DeepCopyObject().(client.Object)
		b.SetResourceVersion("")
		a.SetResourceVersion("")
		return !equality.Semantic.DeepEqual(b, a)
	})

	// ConfigMapChanged passes a ConfigMap after a change of data.
	ConfigMapChanged = onUpdate(func(before, after *corev1.ConfigMap) bool { return !maps.Equal(before.Data, after.Data) })

	// ServingChanged passes a node when endpoints of a Service on the node begin or cease to
	// matter. Nodes of the initial list are left out, because every Service considers the nodes
	// at its own first reconciliation.
	ServingChanged = predicate.And(
		predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }},
		onUpdate(func(before, after *corev1.Node) bool {
			return state.UsedByLoadBalancers(before) != state.UsedByLoadBalancers(after) || state.IsNodeReady(before) != state.IsNodeReady(after)
		}))

	// LabelsChanged passes an object after a change of labels.
	LabelsChanged = onUpdate(func(before, after client.Object) bool { return !maps.Equal(before.GetLabels(), after.GetLabels()) })
)

// told returns the values of the annotations by which users tell a policy something.
func told(policy *v1alpha1.ControlPlaneNetworkPolicy) [3]string {
	return [3]string{
		policy.Annotations[v1alpha1.AnnotationRevert], policy.Annotations[v1alpha1.AnnotationAllowLockout],
		policy.Annotations[v1alpha1.AnnotationEtcdBackupTime],
	}
}

// MembershipChanged tells whether a node changed in a field that policies use for selection and
// addresses.
func MembershipChanged(before, after *corev1.Node) bool {
	return !maps.Equal(before.Labels, after.Labels) ||
		!slices.Equal(state.NodeAddresses(before), state.NodeAddresses(after)) ||
		!slices.Equal(before.Spec.PodCIDRs, after.Spec.PodCIDRs) ||
		state.IsNodeReady(before) != state.IsNodeReady(after) ||
		before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero()
}

// IdentityChanged tells whether a node changed in a field, beside labels, that identifies the
// distribution or the CNI.
func IdentityChanged(before, after *corev1.Node) bool {
	was, is := before.Status.NodeInfo, after.Status.NodeInfo
	return before.Spec.ProviderID != after.Spec.ProviderID ||
		state.NetworkNotesChanged(before, after) ||
		was.KubeletVersion != is.KubeletVersion || was.OSImage != is.OSImage ||
		before.Status.DaemonEndpoints != after.Status.DaemonEndpoints ||
		slices.ContainsFunc(profile.EndpointAnnotations(), func(key string) bool {
			return before.Annotations[key] != after.Annotations[key]
		}) ||
		slices.ContainsFunc(profile.NodeAnnotations(), func(key string) bool {
			_, had := before.Annotations[key]
			_, has := after.Annotations[key]
			return had != has
		})
}

// TaintsChanged tells whether a node changed in a field that the operator writes, or in the
// managers of such a field.
func TaintsChanged(before, after *corev1.Node) bool {
	return !equality.Semantic.DeepEqual(before.Spec.Taints, after.Spec.Taints) || !sameManagers(before, after) ||
		slices.ContainsFunc([]string{v1alpha1.AnnotationRecord, corev1.LastAppliedConfigAnnotation}, func(key string) bool {
			return before.Annotations[key] != after.Annotations[key]
		})
}

// sameManagers tells whether the same managers hold the same fields: a manager may release
// a field without a change of the value.
func sameManagers(before, after client.Object) bool {
	return slices.EqualFunc(before.GetManagedFields(), after.GetManagedFields(), func(a, b managedFields) bool {
		return a.Manager == b.Manager && a.Operation == b.Operation && equality.Semantic.DeepEqual(a.FieldsV1, b.FieldsV1)
	})
}
