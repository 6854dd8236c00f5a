// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// What follows asks the API server itself, and not the cache. A watch may be behind,
// and a list that begins one may be old: nothing that is not to be made good again
// follows from them alone.

// Look returns the snapshot with policies, enactments and the objects of Calico as the
// API server has them now.
func (o Observer) Look(ctx context.Context, snapshot Snapshot) (Snapshot, error) {
	// In this order: an enactment of a policy that comes meanwhile is nobody's.
	enactments := v1alpha1.ControlPlaneNodeEnactmentList{}
	if err := o.Live.List(ctx, &enactments); err != nil {
		return snapshot, fmt.Errorf("asking the API server for enactments: %w", err)
	}
	policies := v1alpha1.ControlPlaneNetworkPolicyList{}
	if err := o.Live.List(ctx, &policies); err != nil {
		return snapshot, fmt.Errorf("asking the API server for policies: %w", err)
	}
	snapshot.Policies = inPrecedence(policies.Items)
	snapshot.Calico = o.calicoNow(ctx, snapshot.Calico)
	var err error
	snapshot.Enactments, snapshot.Outlived = apart(enactments.Items, policies.Items)
	if anyNetwork(snapshot.Policies) {
		err = o.addFacts(ctx, &snapshot)
	}
	return snapshot, err
}

// calicoLook is how long the objects of Calico are waited for: its API may be one that
// somebody else serves, and everything else must go on without it.
const calicoLook = 5 * time.Second

// calicoNow returns what the API server answers of Calico. Where it does not answer, what
// was read before cannot be relied on any more.
func (o Observer) calicoNow(ctx context.Context, before Calico) Calico {
	part, done := context.WithTimeout(ctx, calicoLook)
	defer done()
	now, err := o.CalicoNow(part)
	if err == nil {
		return now
	}
	before.Problem, before.Settling = "the API server was asked for the objects of Calico, and did not answer: "+err.Error(), false
	return before
}

// NetworkPoliciesNow returns the NetworkPolicies that the operator may have made, as the
// API server has them now, without their specs.
func (o Observer) NetworkPoliciesNow(ctx context.Context) ([]networkingv1.NetworkPolicy, error) {
	var found []networkingv1.NetworkPolicy
	err := o.eachNow(ctx, networkingv1.SchemeGroupVersion.WithKind("NetworkPolicyList"), func(meta metav1.ObjectMeta) {
		if strings.HasPrefix(meta.Name, NetworkPolicyPrefix) {
			found = append(found, *boundNetworkPolicy(&networkingv1.NetworkPolicy{ObjectMeta: meta}))
		}
	})
	return found, err
}

// NodesNow returns the nodes of which something is recorded, and the records, as the API
// server has them now. Of the nodes it returns what their metadata says.
func (o Observer) NodesNow(ctx context.Context) ([]corev1.Node, NodeRecords, error) {
	list := v1alpha1.ControlPlaneNodeRecordList{} // nobody else makes any
	if err := o.Live.List(ctx, &list); err != nil {
		return nil, nil, fmt.Errorf("asking the API server for the records of nodes: %w", err)
	}
	records := NodeRecords{}
	for i := range list.Items {
		records[list.Items[i].Name] = &list.Items[i]
	}
	var found []corev1.Node
	err := o.eachNow(ctx, corev1.SchemeGroupVersion.WithKind("NodeList"), func(meta metav1.ObjectMeta) {
		if records[meta.Name] != nil || meta.Annotations[v1alpha1.AnnotationRecord] != "" {
			slim, _ := TransformNode(&corev1.Node{ObjectMeta: meta}) // of a Node, it never fails
			found = append(found, *slim.(*corev1.Node))
		}
	})
	slices.SortFunc(found, func(a, b corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	return found, records, err
}

// NodeVersionsNow returns the resource versions of all nodes by name, as the API server
// has them now.
func (o Observer) NodeVersionsNow(ctx context.Context) (map[string]string, error) {
	versions := map[string]string{}
	err := o.eachNow(ctx, corev1.SchemeGroupVersion.WithKind("NodeList"), func(meta metav1.ObjectMeta) {
		versions[meta.Name] = meta.ResourceVersion
	})
	return versions, err
}

// ServicesNow returns the Services that carry a record, as the API server has them now.
// It returns what their metadata says.
func (o Observer) ServicesNow(ctx context.Context) ([]Service, error) {
	var found []Service
	err := o.eachNow(ctx, corev1.SchemeGroupVersion.WithKind("ServiceList"), func(meta metav1.ObjectMeta) {
		if meta.Annotations[v1alpha1.AnnotationRecord] != "" {
			slim, _ := TransformService(&corev1.Service{ObjectMeta: meta}) // of a Service, it never fails
			found = append(found, Service{Service: slim.(*corev1.Service)})
		}
	})
	slices.SortFunc(found, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return found, err
}

// eachNow asks the API server for the metadata of a kind page by page, and nothing of the
// specs.
func (o Observer) eachNow(ctx context.Context, kind schema.GroupVersionKind, do func(metav1.ObjectMeta)) error {
	empty := func() client.ObjectList {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind)
		return list
	}
	err := o.inPages(ctx, empty, func(page client.ObjectList) {
		for _, item := range page.(*metav1.PartialObjectMetadataList).Items {
			do(item.ObjectMeta)
		}
	})
	if err != nil {
		return fmt.Errorf("asking the API server for a %s: %w", kind.Kind, err)
	}
	return nil
}

// PodsOn asks the API server for the pods that run on a node, and returns of each what
// tells whether a taint evicts it.
func (o Observer) PodsOn(ctx context.Context, node string) ([]corev1.Pod, error) {
	var found []corev1.Pod
	err := o.inPages(ctx, func() client.ObjectList { return &corev1.PodList{} }, func(page client.ObjectList) {
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
