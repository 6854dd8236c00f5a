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

// serviceAccountNamespace is the file into which the kubelet writes the namespace of a
// pod.
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// OwnPod returns the name of the pod of this process. Without the downward API, the
// namespace is the namespace of the service account, and the name is the host name,
// which differs from the name of the pod only in the host network. Outside of a cluster
// the result is empty.
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
		pod.Name, _ = os.Hostname() // if no pod has the name, another place reports it
	}
	return pod
}
