// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// apiServer is the Service of the API servers. The API servers maintain the Service.
var apiServer = types.NamespacedName{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}

// IsAPIServerSlice says whether an EndpointSlice is the slice maintained by the API
// servers: the name is fixed (k8s.io/kubernetes/pkg/controlplane/reconcilers). Other slices
// with the label of the Service prove nothing: any writer to the namespace can create such
// a slice.
func IsAPIServerSlice(slice *EndpointSlice) bool {
	return slice.Namespace == apiServer.Namespace && slice.Name == apiServer.Name &&
		slice.Service == apiServer.Name
}

// APIServerAddresses returns the addresses of the API servers in an EndpointSlice; none
// if the slice belongs to another Service.
func APIServerAddresses(slice *EndpointSlice) []netip.AddrPort {
	if !IsAPIServerSlice(slice) {
		return nil
	}
	var servers []netip.AddrPort
	for _, port := range slice.Ports {
		for _, endpoint := range slice.Endpoints {
			for _, text := range endpoint.Addresses {
				address, err := netip.ParseAddr(text)
				if err == nil && port.Port != nil {
					servers = append(servers, netip.AddrPortFrom(address.Unmap(), uint16(*port.Port)))
				}
			}
		}
	}
	return servers
}

// anyNeedsFacts says whether a policy needs to know the kind of cluster, and the addresses
// of the API servers.
func anyNeedsFacts(policies []v1alpha1.ControlPlaneNetworkPolicy) bool {
	return slices.ContainsFunc(policies, func(p v1alpha1.ControlPlaneNetworkPolicy) bool {
		return p.Spec.Network != nil || p.TLSPosture() != nil
	})
}

// +kubebuilder:rbac:groups=apps,resources=daemonsets,verbs=list;watch

func nodesFacts(nodes []*corev1.Node, addresses Addresses) []profile.Node {
	facts := make([]profile.Node, 0, len(nodes))
	for i := range nodes {
		facts = append(facts, nodeFacts(nodes[i], addresses))
	}
	return facts
}

// gatherFacts returns the facts about the kind of cluster, without nodes and ConfigMaps.
func (o Observer) gatherFacts(ctx context.Context) (profile.Facts, error) {
	var facts profile.Facts
	servers, err := o.slicesOf(ctx, apiServer)
	if err != nil {
		return facts, err
	}
	for _, slice := range servers {
		facts.APIServer = append(facts.APIServer, APIServerAddresses(slice)...)
	}
	facts.DaemonSets, err = o.listNames(ctx, appsv1.SchemeGroupVersion.WithKind("DaemonSetList"))
	return facts, err
}

func nodeFacts(node *corev1.Node, addresses Addresses) profile.Node {
	values := map[string]string{}
	for _, key := range profile.EndpointAnnotations() {
		if value, there := node.Annotations[key]; there {
			values[key] = value
		}
	}
	return profile.Node{
		Name: node.Name, Labels: node.Labels, Annotations: slices.Collect(maps.Keys(node.Annotations)),
		Addresses: addresses.OfNode(node.Name), Values: values,
		KubeletVersion: node.Status.NodeInfo.KubeletVersion, OSImage: node.Status.NodeInfo.OSImage, ProviderID: node.Spec.ProviderID,
		WithoutNetworkPolicies: withoutNetworkPolicies(node.Annotations[profile.K3sArguments]),
	}
}

// withoutNetworkPolicies says whether the arguments of k3s switch the network policy
// controller off.
func withoutNetworkPolicies(arguments string) bool {
	const option = "--disable-network-policy"
	var words []string
	if json.Unmarshal([]byte(arguments), &words) != nil {
		return false
	}
	for i, word := range words {
		name, value, given := strings.Cut(word, "=")
		if !given && i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
			value = words[i+1]
		}
		if name == option {
			return value != "false"
		}
	}
	return false
}

// NetworkNotesChanged says whether a node now notes other pod networks, or whether
// enforcement of NetworkPolicies by k3s has changed.
func NetworkNotesChanged(before, after *corev1.Node) bool {
	return before.Annotations[ovnSubnets] != after.Annotations[ovnSubnets] ||
		withoutNetworkPolicies(before.Annotations[profile.K3sArguments]) != withoutNetworkPolicies(after.Annotations[profile.K3sArguments])
}

// listNames returns the names of all cached objects of a kind.
func (o Observer) listNames(ctx context.Context, kind schema.GroupVersionKind) ([]types.NamespacedName, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	if err := o.Cache.List(ctx, list); err != nil {
		return nil, fmt.Errorf("listing %s: %w", kind.Kind, err)
	}
	names := make([]types.NamespacedName, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, types.NamespacedName{Namespace: list.Items[i].Namespace, Name: list.Items[i].Name})
	}
	return names, nil
}
