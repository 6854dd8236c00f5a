// SPDX-License-Identifier: Apache-2.0

// Package state is what the operator knows of the cluster: a Snapshot, which
// is plain data, and the Observer, which is the only reader of the cluster.
package state

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// Snapshot is what the cluster shows at one moment, as far as the work at hand
// needs it. Its objects belong to the cache: they are never written to.
type Snapshot struct {
	// Now is when it was taken.
	Now time.Time
	// Unconfirmed says that the cache may be behind the operator's own writes, or may
	// never have caught up since it began, and that the API server was not asked.
	// Nothing that restricts follows from it. Unasked is why that failed, if it did.
	Unconfirmed bool
	Unasked     error
	// Policies are all policies, oldest first: the order of precedence.
	Policies []v1alpha1.ControlPlaneNetworkPolicy
	// Nodes are all nodes, sorted by name.
	Nodes []corev1.Node
	// Enactments are how far the protection of nodes is, of all policies, sorted by
	// name. Outlived are those of policies that are gone, perhaps with others of
	// the same name in their place.
	Enactments, Outlived []v1alpha1.ControlPlaneNodeEnactment
	// NetworkPolicies are those that the operator may have made.
	NetworkPolicies []networkingv1.NetworkPolicy
	// Calico is what there is of Calico.
	Calico Calico
	// Facts are what tells which kind of cluster it is.
	Facts profile.Facts
	// Operator is what is known of the operator's own pods.
	Operator Operator
	// Serving are the Services that the rest of the cluster relies on.
	Serving []Serving

	addresses *Addresses // nil in one that was put together by hand
}

// Addresses returns the addresses that identify the nodes. With thousands of nodes it
// takes long to tell them apart, and much depends on them: it is done once.
func (s Snapshot) Addresses() Addresses {
	if s.addresses == nil {
		return AddressesOf(s.Nodes, tunnelsOf(s.Calico, s.Facts.ConfigMaps))
	}
	return *s.addresses
}

// Service is one Service with what decides about its traffic policies.
type Service struct {
	*corev1.Service
	// NamespaceLabels are the labels of its namespace.
	NamespaceLabels labels.Set
	// Endpoints says on which nodes it has endpoints, as far as a policy asks.
	Endpoints Endpoints
}

// Key returns the namespaced name of an object in the form of the cache.
func (s Service) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}
