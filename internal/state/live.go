// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// The functions below ask the API server, and not the cache. A watch may be delayed,
// and the list at the start of a watch may be old. A write that cannot be undone never
// depends on the cache alone.

// RefreshSnapshot returns the snapshot with the policies, enactments and objects of
// the backend as the API server has them now.
func (o Observer) RefreshSnapshot(ctx context.Context, snapshot Snapshot) (Snapshot, error) {
	// Enactments come first: an enactment of a policy created in between would
	// otherwise count as outlived.
	enactments := v1alpha1.ControlPlaneNodeEnactmentList{}
	if err := o.Live.List(ctx, &enactments); err != nil {
		return snapshot, fmt.Errorf("asking the API server for enactments: %w", err)
	}
	policies := v1alpha1.ControlPlaneNetworkPolicyList{}
	if err := o.Live.List(ctx, &policies); err != nil {
		return snapshot, fmt.Errorf("asking the API server for policies: %w", err)
	}
	snapshot.Policies = sortByPrecedence(policies.Items)
	snapshot.Backend = o.refreshBackend(ctx, snapshot.OnHosts())
	var err error
	snapshot.Enactments, snapshot.Outlived = splitByOwner(enactments.Items, policies.Items)
	if anyNeedsFacts(snapshot.Policies) {
		err = o.addFacts(ctx, &snapshot)
	}
	return snapshot, err
}

// refreshBackend returns the state of the backend as the API server answers. Without an
// answer, the state read before is no longer reliable.
func (o Observer) refreshBackend(ctx context.Context, before backend.Live) backend.Live {
	part, done := context.WithTimeout(ctx, timing.CalicoAnswer)
	defer done()
	now, err := o.BackendNow(part)
	if err == nil {
		return now
	}
	return before.WithProblem("the API server does not answer the request for the objects of Calico: " + err.Error())
}

// NetworkPoliciesNow returns, without specs, the NetworkPolicies that the operator may have
// created, in the present state of the API server.
func (o Observer) NetworkPoliciesNow(ctx context.Context) ([]networkingv1.NetworkPolicy, error) {
	var found []networkingv1.NetworkPolicy
	err := o.forEachNow(ctx, networkingv1.SchemeGroupVersion.WithKind("NetworkPolicyList"), func(meta metav1.ObjectMeta) {
		if strings.HasPrefix(meta.Name, NetworkPolicyPrefix) {
			found = append(found, *boundNetworkPolicy(&networkingv1.NetworkPolicy{ObjectMeta: meta}))
		}
	})
	return found, err
}

// NodesNow returns the recorded nodes and the records as the API server has them now.
// Of the nodes, only the metadata is read.
func (o Observer) NodesNow(ctx context.Context) ([]*corev1.Node, NodeRecords, error) {
	list := v1alpha1.ControlPlaneNodeRecordList{} // only the operator creates records
	if err := o.Live.List(ctx, &list); err != nil {
		return nil, nil, fmt.Errorf("asking the API server for the records of nodes: %w", err)
	}
	records := NodeRecords{}
	for i := range list.Items {
		records[list.Items[i].Name] = &list.Items[i]
	}
	var found []*corev1.Node
	err := o.forEachNow(ctx, corev1.SchemeGroupVersion.WithKind("NodeList"), func(meta metav1.ObjectMeta) {
		if records[meta.Name] != nil || meta.Annotations[v1alpha1.AnnotationRecord] != "" {
			slim, _ := TransformNode(&corev1.Node{ObjectMeta: meta}) // no error for a Node
			found = append(found, slim.(*corev1.Node))
		}
	})
	slices.SortFunc(found, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	return found, records, err
}

// NodeVersionsNow returns the resource versions of all nodes by name, as the API server
// has them now.
func (o Observer) NodeVersionsNow(ctx context.Context) (map[string]string, error) {
	versions := map[string]string{}
	err := o.forEachNow(ctx, corev1.SchemeGroupVersion.WithKind("NodeList"), func(meta metav1.ObjectMeta) {
		versions[meta.Name] = meta.ResourceVersion
	})
	return versions, err
}

// ServicesNow returns the Services with a record, as the API server has them now. Only
// the metadata is read.
func (o Observer) ServicesNow(ctx context.Context) ([]Service, error) {
	var found []Service
	err := o.forEachNow(ctx, corev1.SchemeGroupVersion.WithKind("ServiceList"), func(meta metav1.ObjectMeta) {
		if meta.Annotations[v1alpha1.AnnotationRecord] != "" {
			slim, _ := TransformService(&corev1.Service{ObjectMeta: meta}) // no error for a Service
			found = append(found, Service{Service: slim.(*corev1.Service)})
		}
	})
	slices.SortFunc(found, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return found, err
}

// forEachNow calls a function with the metadata of every object of a kind, and reads
// page by page, without specs.
func (o Observer) forEachNow(ctx context.Context, kind schema.GroupVersionKind, do func(metav1.ObjectMeta)) error {
	empty := func() client.ObjectList {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		return list
	}
	err := ListPages(ctx, o.Live, empty, func(page client.ObjectList) {
		for _, item := range page.(*metav1.PartialObjectMetadataList).Items {
			do(item.ObjectMeta)
		}
	})
	if err != nil {
		return fmt.Errorf("asking the API server for a %s: %w", kind.Kind, err)
	}
	return nil
}

// PodsOn asks the API server for the pods on a node, and returns the fields that decide
// whether a taint evicts a pod.
func (o Observer) PodsOn(ctx context.Context, node string) ([]corev1.Pod, error) {
	var found []corev1.Pod
	err := ListPages(ctx, o.Live, func() client.ObjectList { return &corev1.PodList{} }, func(page client.ObjectList) {
		for _, pod := range page.(*corev1.PodList).Items {
			slim := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, DeletionTimestamp: pod.DeletionTimestamp}}
			if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
				slim.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: ""}
			}
			slim.Spec.Tolerations, slim.Status.Phase = pod.Spec.Tolerations, pod.Status.Phase
			found = append(found, slim)
		}
	}, client.MatchingFields{"spec.nodeName": node})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of node %s: %w", node, err)
	}
	return found, nil
}
