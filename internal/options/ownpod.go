// SPDX-License-Identifier: Apache-2.0

package options

import (
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// The variables are set by the downward API.
const (
	podNamespaceVariable = "POD_NAMESPACE"
	podNameVariable      = "POD_NAME"
)

// serviceAccountNamespace is where the kubelet puts the namespace of a pod.
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// OwnPod returns the pod that this process is in. Where the downward API does not say,
// the namespace is that of the service account, and the name that of the host, which
// only a pod in its node's network does not have. It is empty outside of a cluster.
func OwnPod() types.NamespacedName { return ownPod(serviceAccountNamespace) }

func ownPod(namespaceFile string) types.NamespacedName {
	pod := types.NamespacedName{Namespace: os.Getenv(podNamespaceVariable), Name: os.Getenv(podNameVariable)}
	if pod.Namespace == "" {
		text, err := os.ReadFile(namespaceFile)
		if err != nil {
			return types.NamespacedName{}
		}
		pod.Namespace = strings.TrimSpace(string(text))
	}
	if pod.Name == "" {
		pod.Name, _ = os.Hostname() // one that is not found is told
	}
	return pod
}
