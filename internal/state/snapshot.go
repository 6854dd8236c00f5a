// SPDX-License-Identifier: Apache-2.0

// Package state is the knowledge of the operator about the cluster: a Snapshot is plain
// data, and the Observer is the only reader of the cluster.
package state

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// Snapshot is the state of the cluster at one moment, as far as needed. The objects
// belong to the cache, and are never changed.
type Snapshot struct {
	// Now is the time of the snapshot.
	Now time.Time
	// Unconfirmed says that the cache may lack writes of the operator, or may never have
	// caught up since the start, and the API server did not confirm the state. No
	// restriction follows from such a snapshot. ConfirmError is the error of the question
	// to the API server, if the question failed.
	Unconfirmed  bool
	ConfirmError error
	// Policies are all policies, oldest first: the order of precedence.
	Policies []v1alpha1.ControlPlaneNetworkPolicy
	// Nodes are all nodes, sorted by name.
	Nodes []*corev1.Node
	// Enactments are the enactments of all policies, sorted by name. Outlived are the
	// enactments of deleted policies, even if a new policy has the name of the deleted
	// one.
	Enactments, Outlived []v1alpha1.ControlPlaneNodeEnactment
	// NetworkPolicies are the NetworkPolicies that the operator may have created.
	NetworkPolicies []networkingv1.NetworkPolicy
	// Backend is the backend for hosts, with the backend's objects; nil if not known yet.
	// See OnHosts.
	Backend backend.Live
	// Facts are the facts about the kind of cluster.
	Facts profile.Facts
	// Operator holds the facts about the operator's own pods.
	Operator Operator
	// Serving are the Services on which the rest of the cluster relies.
	Serving []Serving

	addresses *Addresses // nil in a snapshot made by hand
	// identity numbers the states of the nodes; 0 in a snapshot made by hand.
	identity uint64
}

// OnHosts returns the backend for hosts. Before the backend is known, no object is
// readable.
func (s Snapshot) OnHosts() backend.Live {
	if s.Backend == nil {
		return backend.Unknown{}
	}
	return s.Backend
}

// SameNodes tells whether two snapshots certainly have the same nodes, apart from the taints
// of the nodes and who manages the taints, and the same addresses of the nodes.
func (s Snapshot) SameNodes(other Snapshot) bool {
	return s.identity != 0 && s.identity == other.identity && s.addresses != nil && s.addresses == other.addresses
}

// Addresses returns the addresses that identify the nodes. With thousands of nodes, the
// computation takes long and many results depend on the addresses, so the result is
// kept.
func (s Snapshot) Addresses() Addresses {
	if s.addresses == nil {
		return AddressesOf(s.Nodes, tunnelsOf(s.OnHosts(), s.Facts.ConfigMaps))
	}
	return *s.addresses
}

// Service is a Service with the facts that decide about the traffic policies.
type Service struct {
	*corev1.Service
	// NamespaceLabels are the labels of the Service's namespace.
	NamespaceLabels labels.Set
	// Endpoints are the nodes with endpoints, if a policy asks for endpoints.
	Endpoints Endpoints
}

// Key returns the namespaced name of the Service.
func (s Service) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}
