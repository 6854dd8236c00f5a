// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// What follows asks the API server itself, and not the cache. A watch may be behind,
// and a list that begins one may be old: nothing that is not to be made good again
// follows from them alone.

const (
	// pageSize is how many objects are asked for at once.
	pageSize = 500
	// maxPages ends a list that a server never ends.
	maxPages = 2000
)

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
	calico, err := o.CalicoNow(ctx)
	if err != nil {
		return snapshot, err
	}
	snapshot.Policies, snapshot.Calico = inPrecedence(policies.Items), calico
	snapshot.Enactments, snapshot.Outlived = apart(enactments.Items, policies.Items)
	if anyNetwork(snapshot.Policies) {
		addresses := AddressesOf(snapshot.Nodes)
		snapshot.addresses = &addresses
		snapshot.Facts, err = o.facts(ctx, snapshot.Nodes, addresses)
	}
	return snapshot, err
}

// NetworkPoliciesNow returns the NetworkPolicies that the operator may have made, as the
// API server has them now.
func (o Observer) NetworkPoliciesNow(ctx context.Context) ([]networkingv1.NetworkPolicy, error) {
	var found []networkingv1.NetworkPolicy
	err := eachNow[networkingv1.NetworkPolicyList](ctx, o.Live, func(object runtime.Object) {
		if policy, is := object.(*networkingv1.NetworkPolicy); is && strings.HasPrefix(policy.Name, NetworkPolicyPrefix) {
			found = append(found, *policy)
		}
	})
	return found, err
}

// NodesNow returns the nodes of which something is recorded, and the records, as the API
// server has them now.
func (o Observer) NodesNow(ctx context.Context) ([]corev1.Node, NodeRecords, error) {
	records := NodeRecords{}
	err := eachNow[v1alpha1.ControlPlaneNodeRecordList](ctx, o.Live, func(object runtime.Object) {
		if record, is := object.(*v1alpha1.ControlPlaneNodeRecord); is {
			records[record.Name] = record
		}
	})
	if err != nil {
		return nil, nil, err
	}
	var found []corev1.Node
	err = eachNow[corev1.NodeList](ctx, o.Live, func(object runtime.Object) {
		node, is := object.(*corev1.Node)
		if is && (records[node.Name] != nil || node.Annotations[v1alpha1.AnnotationRecord] != "") {
			slim, _ := TransformNode(node) // of a Node, it never fails
			found = append(found, *slim.(*corev1.Node))
		}
	})
	slices.SortFunc(found, func(a, b corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	return found, records, err
}

// ServicesNow returns the Services that carry a record, as the API server has them now.
func (o Observer) ServicesNow(ctx context.Context) ([]Service, error) {
	var found []Service
	err := eachNow[corev1.ServiceList](ctx, o.Live, func(object runtime.Object) {
		if service, is := object.(*corev1.Service); is && service.Annotations[v1alpha1.AnnotationRecord] != "" {
			slim, _ := TransformService(service) // of a Service, it never fails
			found = append(found, Service{Service: slim.(*corev1.Service)})
		}
	})
	slices.SortFunc(found, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return found, err
}

// eachNow asks the API server for a kind page by page: of a large cluster, no more than
// one page is in memory.
func eachNow[L any, P interface {
	*L
	client.ObjectList
}](ctx context.Context, live client.Reader, do func(runtime.Object)) error {
	next := &client.ListOptions{Limit: pageSize}
	for range maxPages {
		list := P(new(L)) // what is kept of a page must not become part of the next one
		if err := live.List(ctx, list, next); err != nil {
			return fmt.Errorf("asking the API server for a %T: %w", *list, err)
		}
		each := func(object runtime.Object) error { do(object); return nil }
		if err := apimeta.EachListItemWithAlloc(list, each); err != nil {
			return err
		}
		if next.Continue = list.GetContinue(); next.Continue == "" {
			return nil
		}
	}
	return errors.New("asking the API server: a list does not end")
}
