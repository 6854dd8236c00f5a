// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"maps"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// AddOwnPods adds a cache of the pods in the operator's namespace, and returns how the operator
// finds its own pod. Outside of a cluster, both are empty.
func AddOwnPods(mgr ctrl.Manager, pod types.NamespacedName) (state.Own, cache.Cache, error) {
	if pod.Namespace == "" {
		return state.Own{}, nil, nil
	}
	own := state.Own{Pod: pod}
	server, _, err := rest.DefaultServerUrlFor(mgr.GetConfig())
	if err != nil {
		return own, nil, fmt.Errorf("finding the address of the API server: %w", err)
	}
	if _, err := netip.ParseAddr(server.Hostname()); err != nil {
		own.Server = server.Hostname()
	}
	c, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		ReaderFailOnMissingInformer: true, DefaultUnsafeDisableDeepCopy: ptr.To(true),
		ByObject: map[client.Object]cache.ByObject{&corev1.Pod{}: {
			Namespaces: map[string]cache.Config{pod.Namespace: {}}, Transform: state.TransformOwnPod,
		}},
	})
	if err != nil {
		return own, nil, fmt.Errorf("making a cache of the pods in %s: %w", pod.Namespace, err)
	}
	own.Pods = c
	return own, c, addCache(mgr, "pods-"+pod.Namespace, c)
}

// OwnPodChanged passes a pod of the operator's namespace after a change of labels, phase or
// node: a NetworkPolicy may select the pod differently, or the pod has moved.
var OwnPodChanged = onUpdate(func(before, after *corev1.Pod) bool {
	return !maps.Equal(before.Labels, after.Labels) || before.Status.Phase != after.Status.Phase || before.Spec.NodeName != after.Spec.NodeName
})
