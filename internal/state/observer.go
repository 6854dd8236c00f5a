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
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// Observer is the only reader of the cluster.
type Observer struct {
	// Cache answers from memory. Stores are the stores of the cache; without stores, lists
	// are copied.
	Cache  client.Reader
	Stores Stores
	// Nodes keeps the results derived from all nodes between snapshots; with nil, every
	// snapshot derives the results anew.
	Nodes *NodeMemory
	// Live asks the API server: for objects needed too rarely to be cached, such as the
	// pods of a node about to get a NoExecute taint, and for answers that the cache
	// alone must not give.
	Live client.Reader
	// Backend returns what protects hosts from memory. BackendNow asks the API server.
	Backend    func() backend.Live
	BackendNow func(context.Context) (backend.Live, error)
	// ConfigMaps returns the ConfigMaps that identify the kind of cluster, from memory.
	ConfigMaps ConfigMaps
	// Own is the source for facts about the operator itself.
	Own Own
	// WithoutPostures tells that the API server does not serve ControlPlaneNodePostures.
	WithoutPostures bool
}

// ListPolicies returns all policies, oldest first; policies of the same age are in
// alphabetical order.
func (o Observer) ListPolicies(ctx context.Context) ([]v1alpha1.ControlPlaneNetworkPolicy, error) {
	objects, err := o.listCached(ctx, &v1alpha1.ControlPlaneNetworkPolicy{}, &v1alpha1.ControlPlaneNetworkPolicyList{}, "", nil)
	if err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	policies := make([]v1alpha1.ControlPlaneNetworkPolicy, 0, len(objects))
	for _, policy := range objectsOf[*v1alpha1.ControlPlaneNetworkPolicy](objects) {
		policies = append(policies, *policy)
	}
	return sortByPrecedence(policies), nil
}

func sortByPrecedence(policies []v1alpha1.ControlPlaneNetworkPolicy) []v1alpha1.ControlPlaneNetworkPolicy {
	slices.SortFunc(policies, func(a, b v1alpha1.ControlPlaneNetworkPolicy) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return policies
}

// ListNodes returns all nodes, sorted by name. Nobody may change the list.
func (o Observer) ListNodes(ctx context.Context) ([]*corev1.Node, error) {
	nodes, _, err := o.listNodes(ctx)
	return nodes, err
}

// listNodes returns all nodes, and the number of their state in the memory.
func (o Observer) listNodes(ctx context.Context) (nodes []*corev1.Node, identity uint64, err error) {
	cached, memory, err := o.cachedNodes(ctx)
	if err != nil {
		return nil, 0, err
	}
	return memory.update(cached)
}

// cachedNodes returns the cache of the nodes, and the memory of the results derived from the
// nodes.
func (o Observer) cachedNodes(ctx context.Context) (cached nodeCache, memory *NodeMemory, err error) {
	cached.list = func() ([]any, error) {
		objects, err := o.listCached(ctx, &corev1.Node{}, &corev1.NodeList{}, "", nil)
		if err != nil {
			return nil, fmt.Errorf("listing nodes: %w", err)
		}
		return objects, nil
	}
	if o.Nodes == nil {
		return cached, &NodeMemory{}, nil
	}
	if o.Stores != nil {
		store, err := o.Stores(ctx, &corev1.Node{})
		if err != nil {
			return nodeCache{}, nil, err
		}
		cached.version = store.LastStoreSyncResourceVersion
	}
	return cached, o.Nodes, nil
}

// GetNode returns one node, or an error for apierrors.IsNotFound.
func (o Observer) GetNode(ctx context.Context, name string) (*corev1.Node, error) {
	node := &corev1.Node{}
	if err := o.Cache.Get(ctx, types.NamespacedName{Name: name}, node); err != nil {
		return nil, fmt.Errorf("reading node %s: %w", name, err)
	}
	return node, nil
}

// TakeSnapshot returns the state on which the network policies of a policy depend.
func (o Observer) TakeSnapshot(ctx context.Context) (Snapshot, error) {
	policies, err := o.ListPolicies(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	nodes, identity, err := o.listNodes(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	enactments, outlived, err := o.listEnactments(ctx, policies)
	if err != nil {
		return Snapshot{}, err
	}
	networkPolicies, err := o.listNetworkPolicies(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	snapshot := Snapshot{
		Policies: policies, Nodes: nodes, Enactments: enactments, Outlived: outlived,
		NetworkPolicies: networkPolicies, Backend: o.Backend(), identity: identity,
	}
	if snapshot.Operator, err = o.FindOperator(ctx); err != nil {
		return snapshot, err
	}
	if anyNeedsFacts(policies) {
		if snapshot.Serving, err = o.listServing(ctx); err != nil {
			return snapshot, err
		}
		err = o.addFacts(ctx, &snapshot)
	}
	return snapshot, err
}

// listNetworkPolicies returns the NetworkPolicies with names of the operator. The objects are
// those of the cache, and nobody may change them.
func (o Observer) listNetworkPolicies(ctx context.Context) ([]networkingv1.NetworkPolicy, error) {
	objects, err := o.listCached(ctx, &networkingv1.NetworkPolicy{}, &networkingv1.NetworkPolicyList{}, "", nil)
	if err != nil {
		return nil, fmt.Errorf("listing network policies: %w", err)
	}
	var found []networkingv1.NetworkPolicy
	for _, policy := range objectsOf[*networkingv1.NetworkPolicy](objects) {
		if strings.HasPrefix(policy.Name, NetworkPolicyPrefix) {
			found = append(found, *policy)
		}
	}
	return found, nil
}

// addFacts adds the addresses that identify nodes, and the facts about the kind of
// cluster.
func (o Observer) addFacts(ctx context.Context, snapshot *Snapshot) error {
	configMaps, err := o.ConfigMaps.readData(ctx)
	if err != nil {
		return err
	}
	tunnels := tunnelsOf(snapshot.OnHosts(), configMaps)
	work := func() derived {
		addresses := AddressesOf(snapshot.Nodes, tunnels)
		return derived{&addresses, nodesFacts(snapshot.Nodes, addresses)}
	}
	known := derived{}
	if o.Nodes != nil {
		known = o.Nodes.derive(snapshot.identity, tunnels, work)
	} else {
		known = work()
	}
	snapshot.addresses = known.addresses
	snapshot.Facts, err = o.gatherFacts(ctx)
	snapshot.Facts.Nodes, snapshot.Facts.Shared = known.facts, known.addresses.SharedAddresses()
	snapshot.Facts.ConfigMaps = configMaps
	return err
}

// listEnactments returns the enactments of the policies, and the enactments of deleted
// policies.
func (o Observer) listEnactments(ctx context.Context, policies []v1alpha1.ControlPlaneNetworkPolicy) (
	there, outlived []v1alpha1.ControlPlaneNodeEnactment, err error,
) {
	var list v1alpha1.ControlPlaneNodeEnactmentList
	if err := o.Cache.List(ctx, &list); err != nil {
		return nil, nil, fmt.Errorf("listing enactments: %w", err)
	}
	there, outlived = splitByOwner(list.Items, policies)
	return there, outlived, nil
}

// splitByOwner sorts enactments, and separates the enactments of the policies from the
// enactments of deleted policies.
func splitByOwner(enactments []v1alpha1.ControlPlaneNodeEnactment, policies []v1alpha1.ControlPlaneNetworkPolicy) (
	there, outlived []v1alpha1.ControlPlaneNodeEnactment,
) {
	slices.SortFunc(enactments, func(a, b v1alpha1.ControlPlaneNodeEnactment) int { return cmp.Compare(a.Name, b.Name) })
	for _, e := range enactments {
		owned := slices.ContainsFunc(policies, func(p v1alpha1.ControlPlaneNetworkPolicy) bool {
			return p.Name == e.Spec.Policy &&
				slices.ContainsFunc(e.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == p.UID })
		})
		if owned {
			there = append(there, e)
		} else {
			outlived = append(outlived, e)
		}
	}
	return there, outlived
}

// ListHostNetworkedPods returns the pods of the namespaces that use the network of the
// node.
func (o Observer) ListHostNetworkedPods(ctx context.Context, namespaces sets.Set[string]) ([]*HostPod, error) {
	var pods []*HostPod
	for _, namespace := range sets.List(namespaces) {
		objects, err := o.listCached(ctx, &corev1.Pod{}, &corev1.PodList{}, namespace, TransformPod)
		if err != nil {
			return nil, fmt.Errorf("listing host-networked pods: %w", err)
		}
		for _, object := range objects {
			if pod, ok := object.(*HostPod); ok {
				pods = append(pods, pod)
			}
		}
	}
	return pods, nil
}

// ListServices returns all Services, sorted by namespace and name. The endpoints of a
// Service are looked up if asks returns true; asks is called in the order of the
// result.
func (o Observer) ListServices(ctx context.Context, asks func(*corev1.Service) bool) ([]Service, error) {
	objects, err := o.CachedServices(ctx)
	if err != nil {
		return nil, err
	}
	namespaces, err := o.NamespaceLabels(ctx)
	if err != nil {
		return nil, err
	}
	services := make([]Service, 0, len(objects))
	for _, one := range objects {
		services = append(services, Service{Service: one, NamespaceLabels: namespaces[one.Namespace]})
	}
	slices.SortFunc(services, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return services, o.AddEndpoints(ctx, services, asks)
}

// CachedServices returns the Services in the cache, in no particular order.
func (o Observer) CachedServices(ctx context.Context) ([]*corev1.Service, error) {
	objects, err := o.listCached(ctx, &corev1.Service{}, &corev1.ServiceList{}, "", nil)
	if err != nil {
		return nil, fmt.Errorf("listing services: %w", err)
	}
	return objectsOf[*corev1.Service](objects), nil
}

// GetService returns one Service, or an error for apierrors.IsNotFound. The endpoints
// are looked up if asks returns true.
func (o Observer) GetService(ctx context.Context, key types.NamespacedName, asks func(*corev1.Service) bool) (Service, error) {
	service := Service{Service: &corev1.Service{}}
	if err := o.Cache.Get(ctx, key, service.Service); err != nil {
		return Service{}, fmt.Errorf("reading service %s: %w", key, err)
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := o.Cache.Get(ctx, types.NamespacedName{Name: key.Namespace}, namespace); err != nil {
		return Service{}, fmt.Errorf("reading namespace %s: %w", key.Namespace, err)
	}
	service.NamespaceLabels = namespace.Labels
	if asks == nil || !asks(service.Service) {
		return service, nil
	}
	var err error
	service.Endpoints, err = o.findEndpoints(ctx, key)
	return service, err
}

// NamespaceLabels returns the labels of all namespaces by name. Nobody may change the labels.
func (o Observer) NamespaceLabels(ctx context.Context) (map[string]labels.Set, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := o.Cache.List(ctx, list); err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	namespaces := make(map[string]labels.Set, len(list.Items))
	for i := range list.Items {
		namespaces[list.Items[i].Name] = list.Items[i].Labels
	}
	return namespaces, nil
}
