// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// ConfigMaps are the readers of single ConfigMaps, by name. Each reader has a separate
// cache, because a role can permit the watch of a named object only for a watch of this
// single object. The Roles are in config/configmaps.
type ConfigMaps map[types.NamespacedName]client.Reader

// readData returns the data of the existing ConfigMaps.
func (c ConfigMaps) readData(ctx context.Context) (map[types.NamespacedName]map[string]string, error) {
	found := map[types.NamespacedName]map[string]string{}
	for name, reader := range c {
		var configMap corev1.ConfigMap
		if err := reader.Get(ctx, name, &configMap); err == nil {
			found[name] = configMap.Data
		} else if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading ConfigMap %s: %w", name, err)
		}
	}
	return found, nil
}

// maxConfigValue is the length of the longest used value of a ConfigMap, in bytes. The
// values of kubeadm and OpenShift have a tenth of the length.
const maxConfigValue = 64 << 10

// TransformConfigMap keeps the values that identify the kind of cluster.
func TransformConfigMap(object any) (any, error) {
	configMap, ok := object.(*corev1.ConfigMap)
	if !ok {
		return object, nil
	}
	name := types.NamespacedName{Namespace: configMap.Namespace, Name: configMap.Name}
	slim := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: name.Namespace, Name: name.Name, ResourceVersion: configMap.ResourceVersion,
	}}
	for _, key := range profile.ConfigMapKeys(name) {
		if value, there := configMap.Data[key]; there && len(value) <= maxConfigValue {
			if slim.Data == nil {
				slim.Data = map[string]string{}
			}
			slim.Data[key] = value
		}
	}
	return slim, nil
}
