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
	// Live asks the API server. It is used for what is needed too rarely to be
	// kept, the pods of a node that is about to get a NoExecute taint; and where the
	// cache must not be trusted alone.
	Live client.Reader
	// Calico answers what there is of Calico, from memory. CalicoNow asks the API
	// server.
	Calico    func() Calico
	CalicoNow func(context.Context) (Calico, error)
	// ConfigMaps answers what the ConfigMaps say that tell which cluster it is,
	// from memory.
	ConfigMaps ConfigMaps
	// Own is where the operator finds out about itself.
	Own Own
}

// EndpointSlicesByService is the index of EndpointSlices by the namespaced
// name of their Service.
const EndpointSlicesByService = "service"

// IndexEndpointSlice returns the value of that index.
func IndexEndpointSlice(object client.Object) []string {
	service := object.GetLabels()[discoveryv1.LabelServiceName]
	if service == "" {
		return nil
	}
	return []string{types.NamespacedName{Namespace: object.GetNamespace(), Name: service}.String()}
}

// Index is a field that a cache must be able to list objects by.
type Index struct {
	Object client.Object
	Field  string
	Value  client.IndexerFunc
}

// Indexes are those that the Observer needs.
func Indexes() []Index {
	return []Index{
		{&discoveryv1.EndpointSlice{}, EndpointSlicesByService, IndexEndpointSlice},
		{&corev1.Service{}, ExposedServices, IndexExposed},
	}
}

// Policies returns all policies, oldest first; of two that are equally old the
// alphabetically first comes first.
func (o Observer) Policies(ctx context.Context) ([]v1alpha1.ControlPlaneNetworkPolicy, error) {
	var list v1alpha1.ControlPlaneNetworkPolicyList
	if err := o.Cache.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	return inPrecedence(list.Items), nil
}

func inPrecedence(policies []v1alpha1.ControlPlaneNetworkPolicy) []v1alpha1.ControlPlaneNetworkPolicy {
	slices.SortFunc(policies, func(a, b v1alpha1.ControlPlaneNetworkPolicy) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return policies
}

// Nodes returns all nodes, sorted by name.
func (o Observer) Nodes(ctx context.Context) ([]corev1.Node, error) {
	var list corev1.NodeList
	if err := o.Cache.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	// A node is large: moving each once, not at every swap, takes two thirds of the time.
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

// Node returns one node, or an error that apierrors.IsNotFound knows.
func (o Observer) Node(ctx context.Context, name string) (*corev1.Node, error) {
	node := &corev1.Node{}
	if err := o.Cache.Get(ctx, types.NamespacedName{Name: name}, node); err != nil {
		return nil, fmt.Errorf("reading node %s: %w", name, err)
	}
	return node, nil
}

// Snapshot returns what a policy's network policies depend on.
func (o Observer) Snapshot(ctx context.Context) (Snapshot, error) {
	policies, err := o.Policies(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	nodes, err := o.Nodes(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	enactments, outlived, err := o.enactments(ctx, policies)
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
	if snapshot.Operator, err = o.Operator(ctx); err != nil {
		return snapshot, err
	}
	if anyNetwork(policies) {
		if snapshot.Serving, err = o.serving(ctx); err != nil {
			return snapshot, err
		}
		err = o.addFacts(ctx, &snapshot)
	}
	return snapshot, err
}

// addFacts adds which addresses identify the nodes, and what tells which kind of cluster
// it is.
func (o Observer) addFacts(ctx context.Context, snapshot *Snapshot) error {
	configMaps, err := o.ConfigMaps.read(ctx)
	if err != nil {
		return err
	}
	addresses := AddressesOf(snapshot.Nodes, tunnelsOf(snapshot.Calico, configMaps))
	snapshot.addresses = &addresses
	snapshot.Facts, err = o.facts(ctx, snapshot.Nodes, addresses)
	snapshot.Facts.ConfigMaps = configMaps
	return err
}

// enactments returns those of the policies, and those of others before them.
func (o Observer) enactments(ctx context.Context, policies []v1alpha1.ControlPlaneNetworkPolicy) (
	there, outlived []v1alpha1.ControlPlaneNodeEnactment, err error,
) {
	var list v1alpha1.ControlPlaneNodeEnactmentList
	if err := o.Cache.List(ctx, &list); err != nil {
		return nil, nil, fmt.Errorf("listing enactments: %w", err)
	}
	there, outlived = apart(list.Items, policies)
	return there, outlived, nil
}

// apart sorts enactments, and tells those of the policies from those of others before
// them.
func apart(enactments []v1alpha1.ControlPlaneNodeEnactment, policies []v1alpha1.ControlPlaneNetworkPolicy) (
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

// HostNetworkedPods returns the pods of the namespaces that are in their node's
// network.
func (o Observer) HostNetworkedPods(ctx context.Context, namespaces sets.Set[string]) ([]corev1.Pod, error) {
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

// Services returns all Services, sorted by namespace and name. Where each has
// endpoints is found out if asks says so; it is asked in this order.
func (o Observer) Services(ctx context.Context, asks func(*corev1.Service) bool) ([]Service, error) {
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

// Service returns one Service, or an error that apierrors.IsNotFound knows. Where
// it has endpoints is found out if asks says so.
func (o Observer) Service(ctx context.Context, key types.NamespacedName, asks func(*corev1.Service) bool) (Service, error) {
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
	service.Endpoints, err = o.lookUp(ctx, key)
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
