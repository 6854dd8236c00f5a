// SPDX-License-Identifier: Apache-2.0

package state

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Observer is the only reader of the cluster.
type Observer struct {
	// Cache answers from memory.
	Cache client.Reader
	// Live asks the API server: for objects needed too rarely to be cached, such as the
	// pods of a node about to get a NoExecute taint, and for answers that the cache
	// alone must not give.
	Live client.Reader
	// Calico returns the state of Calico from memory. CalicoNow asks the API server.
	Calico    func() Calico
	CalicoNow func(context.Context) (Calico, error)
	// ConfigMaps returns the ConfigMaps that identify the kind of cluster, from memory.
	ConfigMaps ConfigMaps
	// Own is the source for facts about the operator itself.
	Own Own
}

// EndpointSlicesByService is the index of EndpointSlices by the namespaced name of the
// Service.
const EndpointSlicesByService = "service"

// IndexEndpointSlice returns the values of an EndpointSlice in the index.
func IndexEndpointSlice(object client.Object) []string {
	service := object.GetLabels()[discoveryv1.LabelServiceName]
	if service == "" {
		return nil
	}
	return []string{types.NamespacedName{Namespace: object.GetNamespace(), Name: service}.String()}
}

// Index is a field by which a cache must be able to list objects.
type Index struct {
	Object client.Object
	Field  string
	Value  client.IndexerFunc
}

// RequiredIndexes returns the indexes that the Observer needs.
func RequiredIndexes() []Index {
	return []Index{
		{&discoveryv1.EndpointSlice{}, EndpointSlicesByService, IndexEndpointSlice},
		{&corev1.Service{}, ExposedIndex, IndexExposed},
	}
}

// ListPolicies returns all policies, oldest first; policies of the same age are in
// alphabetical order.
func (o Observer) ListPolicies(ctx context.Context) ([]v1alpha1.ControlPlaneNetworkPolicy, error) {
	var list v1alpha1.ControlPlaneNetworkPolicyList
	if err := o.Cache.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	return sortByPrecedence(list.Items), nil
}

func sortByPrecedence(policies []v1alpha1.ControlPlaneNetworkPolicy) []v1alpha1.ControlPlaneNetworkPolicy {
	slices.SortFunc(policies, func(a, b v1alpha1.ControlPlaneNetworkPolicy) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return policies
}

// ListNodes returns all nodes, sorted by name.
func (o Observer) ListNodes(ctx context.Context) ([]corev1.Node, error) {
	var list corev1.NodeList
	if err := o.Cache.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	// A node is large: to move each node once, instead of at every swap, takes two
	// thirds of the time.
	inOrder := make([]*corev1.Node, 0, len(list.Items))
	for i := range list.Items {
		inOrder = append(inOrder, &list.Items[i])
	}
	slices.SortFunc(inOrder, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	nodes := make([]corev1.Node, 0, len(inOrder))
	for _, node := range inOrder {
		nodes = append(nodes, *node)
	}
	return nodes, nil
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
	nodes, err := o.ListNodes(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	enactments, outlived, err := o.listEnactments(ctx, policies)
	if err != nil {
		return Snapshot{}, err
	}
	var networkPolicies networkingv1.NetworkPolicyList
	if err := o.Cache.List(ctx, &networkPolicies); err != nil {
		return Snapshot{}, fmt.Errorf("listing network policies: %w", err)
	}
	snapshot := Snapshot{
		Policies: policies, Nodes: nodes, Enactments: enactments, Outlived: outlived,
		NetworkPolicies: networkPolicies.Items, Calico: o.Calico(),
	}
	if snapshot.Operator, err = o.FindOperator(ctx); err != nil {
		return snapshot, err
	}
	if anyDeclaresNetwork(policies) {
		if snapshot.Serving, err = o.listServing(ctx); err != nil {
			return snapshot, err
		}
		err = o.addFacts(ctx, &snapshot)
	}
	return snapshot, err
}

// addFacts adds the addresses that identify nodes, and the facts about the kind of
// cluster.
func (o Observer) addFacts(ctx context.Context, snapshot *Snapshot) error {
	configMaps, err := o.ConfigMaps.readData(ctx)
	if err != nil {
		return err
	}
	addresses := AddressesOf(snapshot.Nodes, tunnelsOf(snapshot.Calico, configMaps))
	snapshot.addresses = &addresses
	snapshot.Facts, err = o.gatherFacts(ctx, snapshot.Nodes, addresses)
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
func (o Observer) ListHostNetworkedPods(ctx context.Context, namespaces sets.Set[string]) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	for _, namespace := range sets.List(namespaces) {
		var list corev1.PodList
		if err := o.Cache.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("listing host-networked pods: %w", err)
		}
		pods = append(pods, list.Items...)
	}
	return pods, nil
}

// ListServices returns all Services, sorted by namespace and name. The endpoints of a
// Service are looked up if asks returns true; asks is called in the order of the
// result.
func (o Observer) ListServices(ctx context.Context, asks func(*corev1.Service) bool) ([]Service, error) {
	var list corev1.ServiceList
	if err := o.Cache.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing services: %w", err)
	}
	namespaces, err := o.namespaceLabels(ctx)
	if err != nil {
		return nil, err
	}
	services := make([]Service, 0, len(list.Items))
	for i := range list.Items {
		services = append(services, Service{Service: &list.Items[i], NamespaceLabels: namespaces[list.Items[i].Namespace]})
	}
	slices.SortFunc(services, func(a, b Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return services, o.addEndpoints(ctx, services, asks)
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

func (o Observer) namespaceLabels(ctx context.Context) (map[string]labels.Set, error) {
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
